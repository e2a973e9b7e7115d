"""The target that follows the reward, against the published numbers."""

import math

import pytest

from didact.reward_target import next_target


def test_the_target_moves_by_the_published_step() -> None:
    """eta tanh(alpha (R - beta)) with eta 50, alpha 2, beta 0.5: 50 tanh(1) = 38.08 from a batch that always passes."""
    assert next_target(0, 1.0) == pytest.approx(38.0797, abs=1e-4)
    assert next_target(50, 0.75) == pytest.approx(50 + 50 * math.tanh(0.5))
    assert next_target(50, 0.5) == 50
    assert next_target(90, 1.0) == 100
    assert next_target(10, 0.0) == 0
    assert next_target(2, 1.0, beta=0.4, alpha=1, eta=1, difficulty_range=(1, 5)) == pytest.approx(2 + math.tanh(0.6))
