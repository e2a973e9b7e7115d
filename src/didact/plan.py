"""What to roll out next."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property


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

    def __bool__(self) -> bool:
        return bool(self.groups)

    @property
    def part(self) -> int:
        """A number that no other plan has: the `part` of an outcome that holds all of a planned group."""
        return self.step << 32 | self.round

    @cached_property
    def num_rollouts(self) -> int:
        return sum(group.num_rollouts for group in self.groups)


@dataclass(frozen=True, slots=True)
class AdmittedGroup:
    """A group that trains this step; `rollouts` are positions within the group, in the order they were observed.

    `baseline` is the reward to subtract for the advantage where it is not the mean of these rollouts, because others of
    the group do not train (Reinforce-Ada); None everywhere else. `weight` is what the group counts in the loss: k for a
    prompt that was drawn k times (CurES with replacement), 1 everywhere else; `loss_weights` takes it.
    """

    group_id: int
    prompt_id: str
    rollouts: tuple[int, ...]
    baseline: float | None = None
    weight: float = 1.0
