"""A group that the trainer was asked for: what came back of it, what is still to come, and what is not expected."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from didact.arrays import Floats
from didact.bounds import MAX_PER_STEP
from didact.outcomes import GroupOutcome


@dataclass(slots=True)
class OpenGroup:
    """A group that is not settled, or not complete."""

    group_id: int
    position: int
    step: int
    reason: str
    predicted: float  # pass rate believed when it was planned
    planned: int
    rewards: list[float] = field(default_factory=list)  # nan where errored; in the order observed
    parts: list[int] = field(default_factory=list)
    completed: int = -1  # the step at which the last planned rollout came back
    settled: bool = False  # admitted or discarded; kept while rollouts of it are still to come
    asked: int = -1  # the step of the latest plan that named it
    again: int = 0  # rollouts asked for in place of lost ones, beyond those planned
    lost: int = 0  # rollouts written off that have not come after all
    weight: float = 1.0  # what it counts in the loss

    @property
    def outstanding(self) -> int:
        """Rollouts that were asked for and are not back, lost ones included."""
        return self.planned + self.again - len(self.rewards)

    @property
    def in_flight(self) -> int:
        """Rollouts that are still to come."""
        return self.outstanding - self.lost

    @property
    def done(self) -> bool:
        """Whether it has all the rollouts it can be expected to have."""
        return len(self.rewards) >= self.planned - max(self.lost - self.again, 0)

    @property
    def usable(self) -> list[int]:
        """Positions of the rollouts that have a reward."""
        return [index for index, reward in enumerate(self.rewards) if not math.isnan(reward)]

    @property
    def possible(self) -> bool:
        """Whether a group can be like this at all."""
        return (
            min(self.position, self.step, self.again, self.lost, *self.parts, 0) >= 0
            and min(self.planned, self.asked - self.step + 1) >= 1
            and self.completed >= -1
            and 0 <= self.predicted <= 1
            and 0 < self.weight <= MAX_PER_STEP
            and self.lost <= self.outstanding
            and len(set(self.parts)) == len(self.parts)
            and not any(map(math.isinf, self.rewards))
        )

    def record(self, outcome: GroupOutcome, step: int) -> int:
        """Write an outcome down; returns how many of its rollouts were given up, and come after all unannounced."""
        errored = outcome.errored or (False,) * len(outcome.rewards)
        self.rewards += [math.nan if bad else reward for bad, reward in zip(errored, outcome.rewards, strict=True)]
        if outcome.part is not None:
            self.parts.append(outcome.part)
        if self.done:
            self.completed = step
        found = max(-self.in_flight, 0)
        self.lost -= found
        return found

    def write_off(self, num_rollouts: int, step: int) -> None:
        """Expect so many rollouts no more; a group that waits for nothing else is complete."""
        self.lost += num_rollouts
        if self.done and self.completed < 0:
            self.completed = step


def rewards_of(group: OpenGroup, rollouts: Sequence[int] | None = None) -> Floats:
    """The rewards of some rollouts of a group, or of all that have one."""
    return np.array([group.rewards[index] for index in (group.usable if rollouts is None else rollouts)])
