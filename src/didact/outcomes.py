"""What the verifier said about the rollouts of one group."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class GroupOutcome:
    """The outcome of one planned group, or of a part of it.

    Args:
        group_id: the id from the plan.
        prompt_id: the prompt id from the plan (checked, so that mixed-up groups are noticed).
        rewards: one number per rollout. `None` or a number that is not finite marks the rollout as errored.
        num_tokens: response tokens per rollout.
        truncated: per rollout, whether it was cut off by the context length.
        errored: per rollout, whether it was aborted or its verifier failed; its reward is ignored.
        policy_version: the version of the policy that made the rollouts, counted in steps trained. None: the step of
            the latest plan that named the group.
        prompt_tokens: tokens of the prompt as it was rolled out; None takes the pool's.
        part: a label for this delivery when a group comes in several; the same (group, part) counts once.

    Raises:
        ValueError: columns of different lengths, or a policy version that is no whole number from 0 on. TypeError: a
            reward that is not a number.
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
        rewards = tuple(self._reward(reward) for reward in self.rewards)
        marked = self._column("errored", self.errored, len(rewards)) or (False,) * len(rewards)
        errored = tuple(bool(mark) or not math.isfinite(r) for mark, r in zip(marked, rewards, strict=True))
        num_tokens = self._column("num_tokens", self.num_tokens, len(rewards))
        if num_tokens is not None and any(tokens < 0 for tokens in num_tokens):
            raise ValueError(f"group {self.group_id}: num_tokens must not be negative, got {min(num_tokens)}")
        truncated = self._column("truncated", self.truncated, len(rewards))
        set_field = object.__setattr__
        if self.policy_version is not None:
            set_field(self, "policy_version", self._version(self.policy_version))
        set_field(self, "rewards", rewards)
        set_field(self, "num_tokens", None if num_tokens is None else tuple(int(tokens) for tokens in num_tokens))
        set_field(self, "truncated", None if truncated is None else tuple(bool(cut) for cut in truncated))
        set_field(self, "errored", errored if any(errored) else None)

    def _reward(self, reward: object) -> float:
        if reward is None:
            return math.nan
        try:
            return float(reward)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            raise TypeError(f"group {self.group_id}: a reward must be a number, got {reward!r}") from None

    def _version(self, version: object) -> int:
        if isinstance(version, bool) or not isinstance(version, int | np.integer) or not 0 <= version < 2**31:
            raise ValueError(f"group {self.group_id}: policy_version must be a whole number from 0 on, got {version!r}")
        return int(version)

    def _column(self, name: str, column: Iterable[T] | None, size: int) -> tuple[T, ...] | None:
        if column is None:
            return None
        values = tuple(column)
        if len(values) != size:
            raise ValueError(f"group {self.group_id}: {name} has {len(values)} entries for {size} rewards")
        return values
