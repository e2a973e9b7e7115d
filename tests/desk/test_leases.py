"""The books of leases: who has what, what has run out, and what is left of closed ones."""

import pytest

from didact.desk.leases import RECEIPTS, Leases
from didact.plan import PlannedGroup


def handed_out(leases: Leases, worker: str = "w", deadline: float = 10.0, num_rollouts: int = 4):
    group = PlannedGroup(leases.next_number, "prompt", num_rollouts)
    return leases.hand_out(group, 0, 1, version=0, worker=worker, request=None, deadline=deadline)


def test_what_is_out_is_known_by_worker_and_by_when_it_runs_out() -> None:
    leases = Leases()
    first, second, third = (handed_out(leases, worker, 10.0 * due) for due, worker in enumerate("vww", 1))
    assert leases.of("w") == [second, third]
    assert leases.due(9.0) == []
    assert leases.due(20.0) == [first, second]
    for lease in (first, second):
        leases.leave(lease)
        lease.status = "queued"
    assert (leases.of("v"), leases.of("w"), leases.out()) == ([], [third], [third])
    assert leases.due(29.0) == []
    assert leases.due(30.0) == [third]


def test_a_closed_lease_leaves_a_receipt_and_the_oldest_of_too_many_goes() -> None:
    leases = Leases()
    for _ in range(RECEIPTS + 1):
        lease = handed_out(leases)
        lease.parts[0] = range(4)
        leases.close(lease)
    assert (list(leases), leases.of("w"), leases.next_number) == ([], [], RECEIPTS + 1)
    assert leases.reported(0) == (-1, {})
    assert leases.reported(1) == (1, {0: range(4)})


def test_a_state_gives_the_same_leases() -> None:
    leases = Leases()
    for lease in [handed_out(leases, worker) for worker in "vww"][:2]:
        lease.done, lease.parts[3] = 1, range(2, 3)
    leases.close(leases[0])
    again = Leases.restored(leases.state())
    assert again.state() == leases.state()
    assert (again.of("w"), again.due(10.0)) == (leases.of("w"), leases.due(10.0))
    assert again.reported(0) == (0, {3: range(2, 3)})


@pytest.mark.parametrize("change", [{"next_lease": 1}, {"next_lease": -1}, {"leases": [{}]}, {"receipts": [3]}])
def test_a_damaged_state_is_refused(change) -> None:
    leases = Leases()
    handed_out(leases), handed_out(leases)
    with pytest.raises((ValueError, TypeError, LookupError)):
        Leases.restored({**leases.state(), **change})
