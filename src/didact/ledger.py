"""The ledger: every group the trainer was asked for, until it is settled and complete.

Outcomes come late, out of order, in parts, twice, or not at all. A group id is a whole number given out once, so an id
below the next one that is no longer in the ledger is a closed group, and its outcome a repetition.

Rollouts of a worker that died are written off (`lost`), perhaps with as many asked for in their place (`again`), and so
are those that nobody answered for in LOST_STEPS steps. They may come after all, until LATE_STEPS: every rollout is one
that was asked for, so planned = observed + in flight + lost, and the ledger holds no more than so many steps.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from didact.bounds import plain, shortened
from didact.group import OpenGroup as OpenGroup
from didact.outcomes import GroupOutcome
from didact.pool import Pool
from didact.state import pieces

#: Those fields of a group that are columns of a state.
_COLUMNS: dict[str, Any] = {each.name: each.type for each in fields(OpenGroup) if each.type in (int, float, bool)}
#: Steps since a group was last asked for after which what is missing of it is written off.
LOST_STEPS = 50
#: Steps after which rollouts that were written off are no longer waited for: when they come now, they are a repetition.
LATE_STEPS = 100


class Ledger:
    """Open groups by id."""

    def __init__(self) -> None:
        self._groups: dict[int, OpenGroup] = {}
        self._next_id = 0

    def __iter__(self) -> Iterator[OpenGroup]:
        return iter(self._groups.values())

    def gave_out(self, group_id: object) -> bool:
        """Whether a group was ever opened under this id."""
        return type(group_id) is int and 0 <= group_id < self._next_id

    def open(self, position: int, step: int, reason: str, predicted: float, planned: int, weight: float) -> OpenGroup:
        """A new group under a new id."""
        group = OpenGroup(self._next_id, position, step, reason, predicted, planned, asked=step, weight=weight)
        self._groups[self._next_id] = group
        self._next_id += 1
        return group

    def find(self, group_id: object) -> OpenGroup | None:
        """A group by its id; None if it is closed. Raises ValueError for an id that was never given out."""
        number = plain(group_id)
        if not self.gave_out(number):
            known = f"plans so far gave out 0 to {self._next_id - 1}" if self._next_id else "no plan gave one out yet"
            raise ValueError(f"unknown group id {shortened(group_id)}: {known}")
        return self._groups.get(number)

    def extend(self, group_id: int, num_rollouts: int, step: int, reason: str, weight: float) -> OpenGroup:
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

    def lose(self, group_id: int, num_rollouts: int, step: int, *, again: bool) -> OpenGroup:
        """Write off rollouts of a group, as `Curriculum.lost` says."""
        group = self.find(group_id)
        if group is None or num_rollouts > group.in_flight:
            left = "is not open" if group is None else f"waits for {group.in_flight}"
            raise ValueError(f"{num_rollouts} rollouts of group {group_id} cannot be lost: it {left}")
        group.again += num_rollouts if again else 0
        group.write_off(num_rollouts, step)
        return group

    def regain(self, group_id: int, num_rollouts: int) -> int:
        """Expect lost rollouts after all, as `Curriculum.found` says; returns how many: none of a closed group."""
        group = self.find(group_id)
        if group is None:
            return 0
        if num_rollouts > group.lost:
            raise ValueError(f"{num_rollouts} rollouts of group {group_id} cannot be found: {group.lost} are lost")
        group.lost -= num_rollouts
        return num_rollouts

    def overdue(self, step: int) -> list[OpenGroup]:
        """Groups of which rollouts are in flight that were asked for more than LOST_STEPS steps before `step`."""
        return [group for group in self if group.asked < step - LOST_STEPS and group.in_flight > 0]

    def give_up(self, step: int) -> int:
        """Write off what is overdue; returns how many rollouts that are."""
        overdue = self.overdue(step)
        lost = sum(group.in_flight for group in overdue)
        for group in overdue:
            group.write_off(group.in_flight, step)
        return lost

    def forget(self, step: int) -> None:
        """Strike out settled groups that have waited for nothing but lost rollouts for LATE_STEPS steps."""
        for group in list(self):
            if group.settled and group.lost and group.in_flight <= 0 and group.asked < step - LATE_STEPS:
                del self._groups[group.group_id]

    def unclaimed(self, step: int) -> list[OpenGroup]:
        """Groups that were complete before the step before `step`, and are not settled."""
        return [group for group in self if 0 <= group.completed < step - 1 and not group.settled]

    def waiting(self) -> list[OpenGroup]:
        """Groups that have something to train on and are not settled, oldest first."""
        return [group for group in self if not group.settled and group.usable]

    def screen(self, outcomes: Sequence[GroupOutcome], pool: Pool) -> list[OpenGroup | None]:
        """The group of each outcome that tells something new; None for one that repeats others.

        Changes nothing, and raises what `Curriculum.observe` raises.
        """
        fresh: list[OpenGroup | None] = []
        pending: Counter[int] = Counter()
        labels: set[tuple[int, int | None]] = set()
        for outcome in outcomes:
            group = self._find(outcome, pool)
            if group is not None:
                label, size = (group.group_id, outcome.part), len(outcome.rewards)
                known, most = len(group.rewards) + pending[group.group_id], group.planned + group.again
                told = outcome.part is not None and (label in labels or outcome.part in group.parts)
                if told or 0 < known > most - size:
                    group = None
                elif size > most:
                    raise ValueError(f"group {group.group_id} came back with {size} rewards, {most} were planned")
                else:
                    labels.add(label)
                    pending[group.group_id] += size
            fresh.append(group)
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
        """Restore a state. Raises ValueError for ids given out twice or not at all, and for groups that cannot be."""
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
        if not isinstance(outcome, GroupOutcome):
            raise TypeError(f"observe takes GroupOutcome objects, got {type(outcome).__name__}")
        group, prompt_id = self.find(outcome.group_id), outcome.prompt_id
        if not isinstance(prompt_id, str) or (group is None and prompt_id not in pool):
            raise ValueError(f"unknown prompt id {shortened(prompt_id)} in the outcome of group {outcome.group_id}")
        if group is not None and pool.ids[group.position] != prompt_id:
            expected = pool.ids[group.position]
            raise ValueError(f"group {group.group_id} is of prompt {expected!r}, its outcome says {prompt_id!r}")
        return group
