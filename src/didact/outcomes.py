"""What the verifier said about the rollouts of one group."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from didact.bounds import MAX_REWARD, MAX_STEP, MAX_TOKENS, MAX_WHOLE, flag, listed, plain, shortened, whole

#: What the belief does with rollouts that were cut off: see `Curriculum`.
Truncated = Literal["exclude", "observe"]


@dataclass(frozen=True, slots=True)
class GroupOutcome:
    """The outcome of one planned group, or of a part of it.

    Args:
        group_id: the id from the plan.
        prompt_id: the prompt id from the plan (checked, so that mixed-up groups are noticed).
        rewards: one number (or bool) per rollout, from -1e15 to 1e15. `None`, nan and infinity mark it as errored.
        num_tokens: response tokens per rollout, each less than 2**31, as all that counts tokens or versions.
        truncated: per rollout, whether it was cut off by the context length.
        errored: per rollout, whether it was aborted or its verifier failed; its reward is ignored.
        policy_version: the version of the policy that made the rollouts, counted in steps trained. None: the step of
            the latest plan that named the group.
        prompt_tokens: tokens of the prompt as it was rolled out; None takes the pool's.
        part: a label from 0 to 2**63 - 1 for this delivery when a group comes in several; the same (group, part) counts
            once.

    Raises:
        ValueError: columns of different lengths, or a value out of range. TypeError: a reward that is not a number, or
            a column that is none.
    """

    group_id: int
    prompt_id: str
    rewards: Sequence[float]
    num_tokens: Sequence[int] | None = None
    truncated: Sequence[bool] | None = None
    errored: Sequence[bool] | None = None
    policy_version: int | None = None
    part: int | None = None
    prompt_tokens: int | None = None

    def __post_init__(self) -> None:
        rewards = self._column("rewards", float, MAX_REWARD)
        marked = self._beside(rewards, "errored", bool, 1) or (False,) * len(rewards)
        errored = tuple(mark or not math.isfinite(reward) for mark, reward in zip(marked, rewards, strict=True))
        fields: dict[str, Any] = {
            "rewards": rewards,
            "num_tokens": self._beside(rewards, "num_tokens", int, MAX_TOKENS),
            "truncated": self._beside(rewards, "truncated", bool, 1),
            "errored": errored if any(errored) else None,
        }
        for name, most in {"policy_version": MAX_STEP, "prompt_tokens": MAX_TOKENS, "part": MAX_WHOLE}.items():
            value = getattr(self, name)
            if value is not None:
                fields[name] = whole(f"{self._name}: {name}", value, 0, most)
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def usable(self, truncated: Truncated) -> Sequence[float]:
        """The rewards that say how often the prompt passes: not those of errored rollouts, and of truncated ones as
        asked (see `Curriculum`)."""
        hidden = self.truncated if truncated == "exclude" else None
        if self.errored is None and not (hidden and any(hidden)):
            return self.rewards
        size = len(self.rewards)
        errored, hidden = self.errored or (False,) * size, hidden or (False,) * size
        return [reward for reward, bad, cut in zip(self.rewards, errored, hidden, strict=True) if not bad and not cut]

    def _beside(self, rewards: Sequence[float], name: str, kind: type, most: float) -> tuple[Any, ...] | None:
        """A column that goes with the rewards."""
        if getattr(self, name) is None:
            return None
        values = self._column(name, kind, most)
        if len(values) != len(rewards):
            raise ValueError(f"{self._name}: {name} has {len(values)} entries for {len(rewards)} rewards")
        return values

    def _column(self, name: str, kind: type, most: float) -> tuple[Any, ...]:
        what = f"{self._name}: {name}"
        values = tuple(listed(what, getattr(self, name), "per rollout"))
        if set(map(type, values)) == {kind} and (kind is float or min(values) >= 0) and max(map(abs, values)) <= most:
            return values  # as nearly always: no need to look at each
        if kind is float:
            return tuple(self._reward(each) for each in values)
        return tuple(flag(what, each) if kind is bool else whole(what, each, 0, MAX_TOKENS) for each in values)

    def _reward(self, reward: object) -> float:
        number = plain(reward)
        if number is None:
            return math.nan
        if not isinstance(number, int | float):
            raise TypeError(f"{self._name}: a reward must be a number, got {shortened(reward)}")
        if MAX_REWARD < abs(number) < math.inf:
            raise ValueError(
                f"{self._name}: a reward must be from -{MAX_REWARD:g} to {MAX_REWARD:g}, got {shortened(reward)}"
            )
        return float(number)

    @property
    def _name(self) -> str:
        return f"group {shortened(self.group_id)}"
