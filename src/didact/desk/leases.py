"""The leases of a desk: who has what and until when, and the receipts of those that are closed.

They are books and decide nothing: what is handed out, given up or waited for is the `Dispatcher`'s affair.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any, Literal

from didact.bounds import whole
from didact.plan import PlannedGroup

#: Closed leases whose receipts are kept, for reports that are repeated because their answer got lost.
RECEIPTS = 4096
MAX_PARTS = 1 << 16
_MAX_LEASE = 1 << 46  # times the parts of a lease still a 64-bit label
_PLAIN = ("number", "step", "attempt", "version", "worker", "request", "deadline", "done", "status")

#: out: with a worker. queued: to be handed out again. lost: handed out again. abandoned: given up.
Status = Literal["out", "queued", "lost", "abandoned"]


@dataclass(frozen=True, slots=True)
class Assignment:
    """Roll `group.prompt_id` out `group.num_rollouts` times, and report under `lease`.

    `group.num_rollouts` is this lease's share of the group; `step` is the step it was planned for.
    """

    lease: int
    group: PlannedGroup
    step: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a report: `positions` are those of its rollouts in the group, as `AdmittedGroup.rollouts` names
    them. A `duplicate` was not counted again, and has the positions of the first report if that is not long ago.
    """

    lease: int
    group_id: int
    positions: range
    duplicate: bool = False


@dataclass(slots=True)
class Lease:
    number: int
    group: PlannedGroup
    step: int
    attempt: int
    version: int  # the desk's when it was handed out
    worker: str
    request: str | None
    deadline: float
    done: int = 0
    status: Status = "out"
    parts: dict[int, range] = field(default_factory=dict)

    @property
    def rest(self) -> int:
        return self.group.num_rollouts - self.done


class Leases:
    """Every lease that is not closed, in the order of their numbers, which are given out once."""

    def __init__(self) -> None:
        self.next_number = 0
        self._open: dict[int, Lease] = {}
        self._workers: dict[str, list[int]] = {}  # leases that are out, by worker
        self._receipts: dict[int, tuple[int, dict[int, range]]] = {}  # of closed leases: group and parts
        self._next_due = math.inf

    def __iter__(self) -> Iterator[Lease]:
        return iter(self._open.values())

    def get(self, number: int) -> Lease | None:
        return self._open.get(number)

    def __getitem__(self, number: int) -> Lease:
        return self._open[number]

    def of(self, worker: str) -> list[Lease]:
        """What is out with a worker."""
        return [self._open[number] for number in self._workers.get(worker, ())]

    def out(self) -> list[Lease]:
        return [lease for lease in self if lease.status == "out"]

    def due(self, now: float) -> list[Lease]:
        """What is out and has run out; it is asked for once, and then to leave its worker."""
        if now < self._next_due:
            return []
        out = self.out()
        self._next_due = min((lease.deadline for lease in out if lease.deadline > now), default=math.inf)
        return [lease for lease in out if lease.deadline <= now]

    def reported(self, number: int) -> tuple[int, dict[int, range]]:
        """Group and parts of a lease, closed ones included; -1 and none where no receipt is kept."""
        held = self._open.get(number)
        return self._receipts.get(number, (-1, {})) if held is None else (held.group.group_id, held.parts)

    def hand_out(
        self,
        group: PlannedGroup,
        step: int,
        attempt: int,
        *,
        version: int,
        worker: str,
        request: str | None,
        deadline: float,
    ) -> Lease:
        lease = Lease(self.next_number, group, step, attempt, version, worker, request, deadline)
        self._open[lease.number] = lease
        self._workers.setdefault(worker, []).append(lease.number)
        self.next_number += 1
        self._next_due = min(self._next_due, deadline)
        return lease

    def leave(self, lease: Lease) -> None:
        """The lease is no longer with its worker."""
        numbers = self._workers[lease.worker]
        numbers.remove(lease.number)
        if not numbers:
            del self._workers[lease.worker]

    def close(self, lease: Lease) -> None:
        """Everything was reported: a receipt is what is left."""
        if lease.status == "out":
            self.leave(lease)
        self.remove(lease)
        self._receipts[lease.number] = (lease.group.group_id, lease.parts)
        if len(self._receipts) > RECEIPTS:
            del self._receipts[next(iter(self._receipts))]

    def remove(self, lease: Lease) -> None:
        del self._open[lease.number]

    # State ------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        return {
            "next_lease": self.next_number,
            "leases": [_packed(lease) for lease in self],
            "receipts": [[number, group, _rows(parts)] for number, (group, parts) in self._receipts.items()],
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> "Leases":
        """Leases from what `state` gave.

        Raises:
            ValueError, TypeError, LookupError: a damaged state.
        """
        leases = cls()
        leases.next_number = whole("next_lease", state["next_lease"], 0, _MAX_LEASE)
        leases._open = {row["number"]: _unpacked(row) for row in state["leases"]}
        leases._receipts = {number: (group, _parts(rows)) for number, group, rows in state["receipts"]}
        if max(leases._open, default=-1) >= leases.next_number or len(leases._open) < len(state["leases"]):
            raise ValueError("a lease has a number that was not given out, or another's")
        for lease in leases.out():
            leases._workers.setdefault(lease.worker, []).append(lease.number)
            leases._next_due = min(leases._next_due, lease.deadline)
        return leases


def _rows(parts: Mapping[int, range]) -> list[list[int]]:
    return [[part, where.start, where.stop] for part, where in parts.items()]


def _parts(rows: Sequence[Sequence[int]]) -> dict[int, range]:
    return {part: range(start, stop) for part, start, stop in rows}


def _packed(lease: Lease) -> dict[str, Any]:
    plain = {name: getattr(lease, name) for name in _PLAIN}
    return {**plain, "group": list(astuple(lease.group)), "parts": _rows(lease.parts)}


def _unpacked(row: Mapping[str, Any]) -> Lease:
    plain = {name: row[name] for name in _PLAIN}
    return Lease(**plain, group=PlannedGroup(*row["group"]), parts=_parts(row["parts"]))
