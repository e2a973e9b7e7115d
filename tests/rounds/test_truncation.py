"""What the context cut off: group by group, in parts and in any order."""

import itertools

import pytest

from didact import GroupOutcome
from didact.belief import BetaBelief
from didact.ledger import OpenGroup
from didact.method import Arrivals
from didact.rounds.truncation import Cuts, check_cuts, note_cuts, shares_cut

PARTS = [
    GroupOutcome(0, "a", [1.0, 0.0], truncated=[False, True]),
    GroupOutcome(1, "b", [0.0, 0.0], truncated=[True, True]),
    GroupOutcome(0, "a", [0.0, 0.0], truncated=[True, False]),
]


def noted(order: tuple[int, ...]) -> Cuts:
    """What is known after the parts came in this order, the rewards of a group in its ledger's entry by then."""
    groups = [OpenGroup(index, index, 3, "train", 0.5, 4) for index in range(2)]
    cuts: Cuts = {}
    for outcome in (PARTS[index] for index in order):
        group = groups[outcome.group_id]
        group.rewards.extend(outcome.rewards)
        note_cuts(cuts, Arrivals([group], [outcome], "exclude"), BetaBelief(2))
    return cuts


def test_parts_add_up_in_any_order() -> None:
    for order in itertools.permutations(range(3)):
        cuts = noted(order)
        assert cuts == {0: [3, 4, 2, 1], 1: [3, 2, 2, 0]}
        assert shares_cut(cuts) == (4 / 6, 2 / 6)


@pytest.mark.parametrize("cuts", [{0: [1, 2, 3]}, {"x": [1, 2, 3, 4]}])
def test_what_is_no_record_is_refused(cuts: Cuts) -> None:
    with pytest.raises(ValueError, match="four numbers for each group, got"):
        check_cuts(cuts)
