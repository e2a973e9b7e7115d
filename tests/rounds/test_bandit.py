"""What a bandit over sources is paid for a group."""

import math

import numpy as np
import pytest

from didact.rounds.bandit import payments


@pytest.mark.parametrize(("passes", "expected"), [(0, 0.0), (1, 0.6614), (2, 0.8660), (4, 1.0), (7, 0.6614), (8, 0.0)])
def test_a_group_pays_twice_the_spread_of_its_pass_rate(passes: int, expected: float) -> None:
    """2 sqrt(q (1 - q)) for 8 rollouts: identity 2 of the notes."""
    rewards = np.array([1.0] * passes + [0.0] * (8 - passes))
    assert payments(rewards).mean() == pytest.approx(expected, abs=1e-4)
    q = passes / 8
    assert payments(rewards).mean() == pytest.approx(2 * math.sqrt(q * (1 - q)))


@pytest.mark.parametrize(("p", "expected"), [(0.05, 0.235), (0.1, 0.419), (0.2, 0.674), (0.5, 0.928)])
def test_what_a_group_of_eight_pays_on_average(p: float, expected: float) -> None:
    """The expectation given the pass rate, not the value at it: 0.235 at 0.05, and not 0.436."""
    paid = [payments(np.repeat([1.0, 0.0], [num, 8 - num])).mean() for num in range(9)]
    chances = [math.comb(8, num) * p**num * (1 - p) ** (8 - num) for num in range(9)]
    assert np.dot(paid, chances) == pytest.approx(expected, abs=1e-3)
