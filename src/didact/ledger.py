"""The ledger: every group the trainer was asked for, until it is settled and complete.

Outcomes come late, out of order, in parts, twice, or not at all. A group id is a whole number given out once, so an id
below the next one that is no longer in the ledger is a closed group, and its outcome a repetition.

Rollouts of a worker that died are written off (`lost`), perhaps with as many asked for in their place (`again`), and so
are those that nobody answered for in LOST_STEPS steps. They may come after all, until LATE_STEPS: every rollout is one
that was asked for, so planned = observed + in flight + lost, and the ledger holds no more than so many steps.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from didact.bounds import MAX_PER_STEP, plain, shortened
from didact.outcomes import GroupOutcome
from didact.pool import Pool
from didact.state import pieces

_COLUMNS = {"group_id": int, "position": int, "step": int, "predicted": float, "planned": int}
_COLUMNS |= {"completed": int, "settled": bool, "asked": int, "again": int, "lost": int, "weight": float}
#: Steps since a group was last asked for after which what is missing of it is written off.
LOST_STEPS = 50
#: Steps after which rollouts that were written off are no longer waited for: when they come now, they are a repetition.
LATE_STEPS = 100


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

    def record(self, outcome: GroupOutcome, step: int) -> None:
        """Write an outcome down."""
        errored = outcome.errored or (False,) * len(outcome.rewards)
        self.rewards += [math.nan if bad else reward for bad, reward in zip(errored, outcome.rewards, strict=True)]
        if outcome.part is not None:
            self.parts.append(outcome.part)
        if self.done:
            self.completed = step


class Ledger:
    """Open groups by id."""

    def __init__(self) -> None:
        self._groups: dict[int, OpenGroup] = {}
        self._next_id = 0

    def __iter__(self) -> Iterator[OpenGroup]:
        return iter(self._groups.values())

    def gave_out(self, group_id: int) -> bool:
        """Whether a group was ever opened under this id."""
        return type(group_id) is int and 0 <= group_id < self._next_id

    def open(
        self, position: int, step: int, reason: str, predicted: float, planned: int, weight: float = 1.0
    ) -> OpenGroup:
        """A new group under a new id."""
        group = OpenGroup(self._next_id, position, step, reason, predicted, planned, asked=step, weight=weight)
        self._groups[self._next_id] = group
        self._next_id += 1
        return group

    def find(self, group_id: object) -> OpenGroup | None:
        """A group by its id; None if it is closed.

        Raises:
            ValueError: an id that was never given out.
        """
        number = plain(group_id)
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < self._next_id:
            known = f"plans so far gave out 0 to {self._next_id - 1}" if self._next_id else "no plan gave one out yet"
            raise ValueError(f"unknown group id {shortened(group_id)}: {known}")
        return self._groups.get(int(number))

    def extend(self, group_id: int, num_rollouts: int, step: int, reason: str, weight: float = 1.0) -> OpenGroup:
        """Plan further rollouts of an open group."""
        group = self._groups[group_id]
        group.reason, group.asked, group.weight = reason, step, weight
        group.planned += num_rollouts
        group.completed = -1
        return group

    def close(self, group: OpenGroup) -> None:
        """Strike out a group that is settled and complete; keep it otherwise."""
        if group.settled and group.outstanding <= 0:
            del self._groups[group.group_id]

    def overdue(self, step: int) -> list[OpenGroup]:
        """Groups of which rollouts are in flight that were asked for more than LOST_STEPS steps before `step`."""
        return [group for group in self if group.asked < step - LOST_STEPS and group.in_flight > 0]

    def forget(self, step: int) -> None:
        """Strike out settled groups that have waited for nothing but lost rollouts for LATE_STEPS steps."""
        old = [group for group in self if group.settled and group.lost and group.asked < step - LATE_STEPS]
        for group in old:
            if group.in_flight <= 0:
                del self._groups[group.group_id]

    def waiting(self) -> list[OpenGroup]:
        """Groups that have something to train on and are not settled, oldest first."""
        return [group for group in self if not group.settled and group.usable]

    def screen(self, outcomes: Sequence[GroupOutcome], pool: Pool) -> list[OpenGroup | None]:
        """The group of each outcome that tells something new; None for one that repeats others. Changes nothing.

        Raises:
            ValueError: an unknown group or prompt id, or more rewards than planned. TypeError: not a GroupOutcome.
        """
        fresh: list[OpenGroup | None] = []
        pending: dict[int, int] = {}
        labels: set[tuple[int, int]] = set()
        for outcome in outcomes:
            if not isinstance(outcome, GroupOutcome):
                raise TypeError(f"observe takes GroupOutcome objects, got {type(outcome).__name__}")
            group = self._find(outcome, pool)
            fresh.append(None)
            if group is None:
                continue
            known = len(group.rewards) + pending.get(group.group_id, 0)
            size, most = len(outcome.rewards), group.planned + group.again
            label = None if outcome.part is None else (group.group_id, outcome.part)
            if label is not None and (label in labels or outcome.part in group.parts):
                continue
            if known > 0 and known + size > most:
                continue
            if size > most:
                raise ValueError(f"group {group.group_id} came back with {size} rewards, {most} were planned")
            if label is not None:
                labels.add(label)
            pending[group.group_id] = pending.get(group.group_id, 0) + size
            fresh[-1] = group
        return fresh

    def state_dict(self) -> dict[str, Any]:
        groups = list(self)
        return {
            "next_id": self._next_id,
            **{
                name: np.array([getattr(group, name) for group in groups], dtype=kind)
                for name, kind in _COLUMNS.items()
            },
            "reason": [group.reason for group in groups],
            "num_rewards": np.array([len(group.rewards) for group in groups], dtype=np.int64),
            "rewards": np.array([reward for group in groups for reward in group.rewards], dtype=np.float64),
            "num_parts": np.array([len(group.parts) for group in groups], dtype=np.int64),
            "parts": np.array([part for group in groups for part in group.parts], dtype=np.int64),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state.

        Raises:
            ValueError: groups that cannot be: ids given out twice or not at all, more rewards than were asked for.
        """
        columns = [[kind(value) for value in state[name]] for name, kind in _COLUMNS.items()]
        rewards = [part.tolist() for part in pieces(state["rewards"], state["num_rewards"])]
        parts = [part.tolist() for part in pieces(state["parts"], state["num_parts"])]
        groups = [
            OpenGroup(reason=reason, rewards=rewards, parts=parts, **dict(zip(_COLUMNS, row, strict=True)))
            for reason, rewards, parts, *row in zip(state["reason"], rewards, parts, *columns, strict=True)
        ]
        ids = [group.group_id for group in groups]
        if ids != sorted(set(ids)) or (ids and not 0 <= ids[0] <= ids[-1] < state["next_id"]):
            raise ValueError(f"open groups must have ids from 0 to {state['next_id'] - 1}, each once, in order")
        for group in groups:
            if not group.possible:
                raise ValueError(f"no group can be as this one: {group}")
        self._groups, self._next_id = {group.group_id: group for group in groups}, int(state["next_id"])

    def _find(self, outcome: GroupOutcome, pool: Pool) -> OpenGroup | None:
        """The open group of an outcome; None if the group is closed."""
        group, prompt_id = self.find(outcome.group_id), outcome.prompt_id
        if not isinstance(prompt_id, str) or (group is None and prompt_id not in pool):
            raise ValueError(f"unknown prompt id {shortened(prompt_id)} in the outcome of group {outcome.group_id}")
        if group is not None and pool.ids[group.position] != prompt_id:
            expected = pool.ids[group.position]
            raise ValueError(f"group {group.group_id} is of prompt {expected!r}, its outcome says {prompt_id!r}")
        return group
