"""A ledger that is loaded holds groups that can be, or is refused as a whole."""

from typing import Any

import numpy as np
import pytest

from didact.ledger import Ledger
from didact.outcomes import GroupOutcome
from didact.testing.contract import same_state


def ledger() -> Ledger:
    """Group 0 came back in two parts, the second errored in part; of group 1 one of three is lost; 2 is closed."""
    books = Ledger()
    first, second, third = (books.open(position, 4, "train", 0.5, 3) for position in (7, 2, 7))
    first.record(GroupOutcome(0, "7", [1.0], part=3), 4)
    first.record(GroupOutcome(0, "7", [0.0, None], part=4), 4)
    second.lost = 1
    third.record(GroupOutcome(2, "7", [1.0] * 3), 5)
    third.settled = True
    books.close(third)
    return books


def test_it_comes_back_as_it_was() -> None:
    again = Ledger()
    again.load_state_dict(ledger().state_dict())
    assert same_state(again.state_dict(), ledger().state_dict())
    assert [group.group_id for group in again.waiting()] == [0]
    assert again.gave_out(2)
    assert not again.gave_out(3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"next_id": 1}, "ids from 0 to 0, each once, in order"),
        ({"group_id": [1, 0]}, "each once, in order"),
        ({"group_id": [1, 1]}, "each once, in order"),
        ({"group_id": [-1, 1]}, "each once, in order"),
        ({"position": [-1, 2]}, "no group can be as this one"),
        ({"planned": [0, 3]}, "no group can be as this one"),
        ({"planned": [2, 3]}, "no group can be as this one"),  # three came
        ({"lost": [0, 4]}, "no group can be as this one"),  # three are out
        ({"lost": [0, -1]}, "no group can be as this one"),
        ({"again": [-1, 0]}, "no group can be as this one"),
        ({"asked": [4, 3]}, "no group can be as this one"),  # before it was planned
        ({"completed": [4, -2]}, "no group can be as this one"),
        ({"predicted": [0.5, np.nan]}, "no group can be as this one"),
        ({"predicted": [0.5, 1.5]}, "no group can be as this one"),
        ({"rewards": [1.0, np.inf, np.nan]}, "no group can be as this one"),
        ({"parts": [3, 3]}, "no group can be as this one"),
        ({"rewards": [1.0, 0.0]}, "pieces of 3 in all do not make up 2 values"),
        ({"num_rewards": [4, -1]}, "do not make up"),
        ({"reason": ["train"]}, "zip"),
        ({"step": [4]}, "zip"),
    ],
)
def test_groups_that_cannot_be_are_refused(changes: dict[str, Any], words: str) -> None:
    books, before = ledger(), ledger().state_dict()
    plain = {name: value if name in ("next_id", "reason") else np.array(value) for name, value in changes.items()}
    with pytest.raises(ValueError, match=words):
        books.load_state_dict({**before, **plain})
    assert same_state(books.state_dict(), before)
