"""Draws by the spread of the rewards: the distribution, and a tree that follows the belief."""

from typing import Any

import numpy as np
import pytest

from didact.admission import AdmitAll
from didact.method import Turn
from didact.prompts import PromptPool
from didact.spread_tree import SpreadTree, sampling_distribution
from didact.testing import pool_of


def test_the_distribution_is_a_bell() -> None:
    p = np.linspace(0, 1, 101)
    rho = sampling_distribution(p, 0.1)
    assert rho.sum() == pytest.approx(1)
    assert rho.argmax() == 50
    assert (np.diff(rho[:51]) > 0).all()
    assert rho == pytest.approx(rho[::-1])


def test_extreme_temperatures_neither_overflow_nor_lose_prompts() -> None:
    for temperature in (1e-9, 1e9):
        rho = sampling_distribution([0.0, 0.5, 1.0], temperature)
        assert np.isfinite(rho).all()
        assert (rho > 0).all()
        assert rho.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("p", "temperature"), [([1.2], 0.1), ([-0.1], 0.1), ([np.nan], 0.1), ([0.5], 0.0), ([0.5], np.nan)]
)
def test_bad_pass_rates_and_temperatures(p: list[float], temperature: float) -> None:
    with pytest.raises(ValueError):
        sampling_distribution(p, temperature)


def turn_of(pool: PromptPool, **belief: Any) -> Turn:
    """At step 1, prompts of even positions have passed 2 of 4 at step 0, and the others 4 of 4."""
    turn = Turn(pool, 2, 8, 0, "exclude", AdmitAll(), pool.belief(prior=(0.0, 0.0), **belief), step=1)
    rewards = np.concatenate([[1.0, 1.0, index % 2, index % 2] for index in range(len(pool))])
    turn.belief.observe(np.arange(len(pool)), np.full(len(pool), 4), rewards, step=0)
    return turn


def shares(tree: SpreadTree, turn: Turn, size: int) -> np.ndarray:
    """Of 4,000 draws with replacement, the share of each prompt of the pool."""
    counts = np.zeros(size)
    for _ in range(2000):
        positions, times = tree.draw(2, turn, with_replacement=True)
        assert times.sum() == 2
        counts[positions] += times
    return counts / counts.sum()


@pytest.mark.parametrize("belief", [{}, {"discount": 0.5}])
def test_it_draws_from_the_subset_alone_and_by_its_spread(belief: dict[str, float]) -> None:
    pool = pool_of(6)
    turn, tree = turn_of(pool, **belief), SpreadTree(pool.weight_tree(), 0.5)
    tree.enter(np.array([0, 1]), turn)
    tree.enter(np.array([2, 3, 4]), turn)
    expected = [0, 0, *sampling_distribution([0.5, 1.0, 0.5], 0.5), 0]
    assert shares(tree, turn, 6) == pytest.approx(expected, abs=0.03)
    positions, times = tree.draw(8, turn)
    assert sorted(positions.tolist()) == [2, 3, 4]
    assert times.tolist() == [1, 1, 1]


def test_it_follows_the_belief_and_the_pool() -> None:
    pool = pool_of(2)
    turn, tree = turn_of(pool), SpreadTree(pool.weight_tree(), 0.1)
    tree.enter(np.array([0, 1]), turn)
    turn.belief.observe(np.array([1]), np.array([4]), np.zeros(4), step=1)
    tree.follow(np.array([1]), turn)
    assert shares(tree, turn, 2) == pytest.approx([0.5, 0.5], abs=0.03)
    pool.extend(["later"])
    tree.enter(np.array([2]), turn_of(pool))
    assert tree.draw(3, turn_of(pool))[0].tolist() == [2]
