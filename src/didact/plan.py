"""What to roll out next."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

from didact.bounds import listed
from didact.outcomes import GroupOutcome


@dataclass(frozen=True, slots=True)
class PlannedGroup:
    """Roll `prompt_id` out `num_rollouts` times and report the outcome under `group_id`.

    A group id that an earlier plan named already *continues* that group: these are further rollouts of it.
    `context_length` is the number of response tokens allowed (None: the trainer's own setting), `reason` a word for
    people and reports, such as "train" or "pilot"; `pass_rate` is what was believed when the plan was made.
    """

    group_id: int
    prompt_id: str
    num_rollouts: int
    context_length: int | None = None
    reason: str = "train"
    pass_rate: float | None = None


@dataclass(frozen=True)
class Plan:
    """The groups of one round; false when there is nothing more to roll out at this step."""

    step: int
    round: int
    groups: Sequence[PlannedGroup] = ()

    def __iter__(self) -> Iterator[PlannedGroup]:
        return iter(self.groups)

    def __len__(self) -> int:
        return len(self.groups)

    @property
    def part(self) -> int:
        """A number that no other plan has: the `part` of an outcome that holds all of a planned group."""
        return self.step << 32 | self.round

    @cached_property
    def num_rollouts(self) -> int:
        return sum(group.num_rollouts for group in self.groups)

    def outcomes(
        self,
        rewards: Iterable[Any],
        *,
        num_tokens: Iterable[Any] | None = None,
        truncated: Iterable[Any] | None = None,
        errored: Iterable[Any] | None = None,
        policy_version: int | None = None,
        prompt_tokens: Iterable[Any] | None = None,
    ) -> list[GroupOutcome]:
        """The outcomes of all groups, out of flat columns, so that what was rolled out as one batch is told as one.

        Args:
            rewards, num_tokens, truncated, errored: lists or arrays with one entry per rollout, those of the first
                group first; what they hold, see `GroupOutcome`.
            policy_version: of the policy that made all of them. None: the plan's step.
            prompt_tokens: one entry per group.

        Raises:
            ValueError: a column of another length, or what `GroupOutcome` refuses. TypeError: a column that is none.
        """
        given = {"rewards": rewards, "num_tokens": num_tokens, "truncated": truncated, "errored": errored}
        columns = {
            name: _column(name, values, self.num_rollouts, "rollouts")
            for name, values in given.items()
            if values is not None or name == "rewards"
        }
        asked: Sequence[Any] = [None] * len(self)
        if prompt_tokens is not None:
            asked = _column("prompt_tokens", prompt_tokens, len(self), "groups")
        version = self.step if policy_version is None else policy_version
        ends = accumulate(group.num_rollouts for group in self)
        return [
            GroupOutcome(
                group.group_id,
                group.prompt_id,
                **{name: values[end - group.num_rollouts : end] for name, values in columns.items()},
                policy_version=version,
                part=self.part,
                prompt_tokens=tokens,
            )
            for group, end, tokens in zip(self, ends, asked, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class AdmittedGroup:
    """A group that trains this step; `rollouts` are positions within the group, in the order they were observed.

    `baseline` is the reward to subtract for the advantage where it is not the mean of these rollouts: because others of
    the group do not train (Reinforce-Ada), or because more is believed than so few of them tell (Didact, which offers
    it, see `Method.offers_baseline`); None everywhere else. `weight` is what the group counts in the loss: k for a
    prompt that was drawn k times (CurES with replacement), 1 everywhere else; `loss_weights` takes it.
    """

    group_id: int
    prompt_id: str
    rollouts: tuple[int, ...]
    baseline: float | None = None
    weight: float = 1.0


def _column(name: str, values: Any, size: int, unit: str) -> Sequence[Any]:
    column = list(listed(name, values, f"for each of the plan's {unit}"))
    if len(column) != size:
        raise ValueError(
            f"{name} has {len(column)} entries, and the plan has {size} {unit}: give one for each, in the order "
            "of the plan, as one flat list"
        )
    return column
