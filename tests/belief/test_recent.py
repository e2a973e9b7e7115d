"""The last rewards of a prompt: a ring of so many, by count and not by visit."""

from typing import Any

import numpy as np
import pytest

from didact import PromptPool
from didact.belief import BetaBelief
from didact.belief.recent import RecentRewards
from didact.ledger import OpenGroup
from didact.sharded.pool import ShardedPool
from didact.testing import pool_of
from didact.testing.contract import same_state


def told(recent: RecentRewards, position: int, *rewards: list[float]) -> None:
    """One delivery of a group for each list of rewards."""
    groups = [OpenGroup(0, position, 0, "train", 0.5, len(each)) for each in rewards]
    recent.observe(groups, rewards, BetaBelief(4))


def seen(rewards: dict[int, list[float]], pool: PromptPool | None = None) -> RecentRewards:
    recent = RecentRewards((pool or pool_of(4)).columns, 4, 2)
    for position, values in rewards.items():
        for value in values:
            told(recent, position, [value])
    return recent


@pytest.mark.parametrize("pool", [pool_of(4), ShardedPool.split([f"prompt-{index}" for index in range(4)], 3)])
def test_the_last_so_many_count(pool: PromptPool) -> None:
    rewards = {0: [1.0, 1.0, 0.0, 0.0, 0.0, 1.0], 1: [1.0], 2: [0.0, 1.0]}
    recent = seen(rewards, pool)
    assert recent.rate(np.arange(4)) == pytest.approx([0.25, np.nan, 0.5, np.nan], nan_ok=True)
    again = RecentRewards(pool.columns, 4, 2)
    again.load_state_dict(recent.state_dict())
    assert again.rate(np.arange(4)) == pytest.approx([0.25, np.nan, 0.5, np.nan], nan_ok=True)


def test_a_delivery_of_more_than_are_kept() -> None:
    recent = RecentRewards(pool_of(1).columns, 4, 2)
    for rewards, rate in (([1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0], 0.25), ([1.0, 1.0], 0.75), ([0.0] * 9, 0.0)):
        told(recent, 0, rewards)
        assert recent.rate(np.array([0])).tolist() == [rate]


def test_groups_of_one_prompt_in_one_delivery_follow_each_other() -> None:
    recent = RecentRewards(pool_of(1).columns, 4, 2)
    told(recent, 0, [1.0, 1.0, 1.0], [], [0.0, 0.0])
    assert recent.rate(np.array([0])).tolist() == [0.5]


def test_it_comes_back_as_it_was_and_has_room_for_more() -> None:
    pool = pool_of(4)
    recent, again = seen({0: [1.0] * 5, 2: [0.0]}), RecentRewards(pool.columns, 4, 2)
    again.load_state_dict(recent.state_dict())
    assert same_state(again.state_dict(), recent.state_dict())
    pool.extend(["one", "more"])
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
    with pytest.raises(ValueError, match=r"columns .* in order|places for passes|passes must be"):
        recent.load_state_dict({**before, **{name: np.array(value) for name, value in changes.items()}})
    assert same_state(recent.state_dict(), before)
