"""The last rewards of a prompt: a ring of so many, by count and not by visit."""

from typing import Any

import numpy as np
import pytest

from didact import GroupOutcome
from didact.belief import BetaBelief
from didact.ledger import Ledger
from didact.methods.recent import RecentRewards
from didact.testing.contract import same_state


def seen(rewards: dict[int, list[float]], keep: int = 4, known_from: int = 2) -> RecentRewards:
    recent, ledger, belief = RecentRewards(4, keep, known_from), Ledger(), BetaBelief(4)
    for position, values in rewards.items():
        for value in values:
            group = ledger.open(position, 0, "train", 0.5, 1)
            recent.observe([(group, GroupOutcome(group.group_id, str(position), [value]))], belief)
    return recent


def test_the_last_so_many_count() -> None:
    rewards = {0: [1.0, 1.0, 0.0, 0.0, 0.0, 1.0], 1: [1.0], 2: [0.0, 1.0]}
    assert seen(rewards).rate(np.arange(4)) == pytest.approx([0.25, np.nan, 0.5, np.nan], nan_ok=True)


def test_a_delivery_of_more_than_are_kept() -> None:
    recent, ledger = RecentRewards(1, 4, 2), Ledger()
    for rewards, rate in (([1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0], 0.25), ([1.0, 1.0], 0.75), ([0.0] * 9, 0.0)):
        group = ledger.open(0, 0, "train", 0.5, len(rewards))
        recent.observe([(group, GroupOutcome(group.group_id, "0", rewards))], BetaBelief(1))
        assert recent.rate(np.array([0])).tolist() == [rate]


def test_errors_and_truncated_rollouts_are_left_out() -> None:
    recent, ledger = RecentRewards(1, 4, 2), Ledger()
    group = ledger.open(0, 0, "train", 0.5, 4)
    outcome = GroupOutcome(0, "0", [1.0, None, 0.0, 1.0], truncated=[False, False, True, False])
    recent.observe([(group, outcome)], BetaBelief(1))
    assert recent.rate(np.array([0])).tolist() == [1.0]


def test_it_comes_back_as_it_was_and_has_room_for_more() -> None:
    recent, again = seen({0: [1.0] * 5, 2: [0.0]}), RecentRewards(4, 4, 2)
    again.load_state_dict(recent.state_dict())
    assert same_state(again.state_dict(), recent.state_dict())
    again.grow(6)
    assert again.rate(np.arange(6)) == pytest.approx([1.0, *[np.nan] * 5], nan_ok=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"seen": [2, 0]},
        {"seen": [0, 4]},
        {"counts": [5]},
        {"counts": [0, 1]},
        {"passes": [[0.5] * 3] * 2},
        {"passes": [[1.5] * 4] * 2},
        {"passes": [[np.nan] * 4] * 2},
    ],
)
def test_rewards_that_cannot_be_are_refused(changes: dict[str, Any]) -> None:
    recent = seen({0: [1.0] * 5, 2: [0.0]})
    before = recent.state_dict()
    with pytest.raises(ValueError, match=r"rewards must be of|places for passes"):
        recent.load_state_dict({**before, **{name: np.array(value) for name, value in changes.items()}})
    assert same_state(recent.state_dict(), before)
