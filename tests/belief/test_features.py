"""The value head: one step, what it learns, and what it refuses."""

import math

import numpy as np
import pytest

from didact.belief.features import ValueHead


def test_it_begins_at_one_half_and_takes_one_step() -> None:
    """Features -1 and 1 are standardised as they are, z = (x, 1) / sqrt(2). Rates 1 and 0 at V = 1/2 give a gap of 1/2
    each way: w = 4 * mean(gap z) = 4 * (-1/2, 0) / sqrt(2), and V(-1) = sig(w . z) = sig(1)."""
    head = ValueHead([-1.0, 1.0])
    assert head.predict([[-1.0], [0.0], [5.0]]).tolist() == [0.5] * 3
    head.learn([-1.0, 1.0], [1.0, 0.0], 4.0)
    assert head.weights.tolist() == pytest.approx([-2 / math.sqrt(2), 0.0])
    assert head.predict([-1.0, 1.0, 0.0]) == pytest.approx([1 / (1 + math.exp(-1)), 1 / (1 + math.exp(1)), 0.5])
    assert head.error == pytest.approx(0.5)  # of predictions that were wrong by one half


def test_units_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    rows, rates = rng.normal(size=(50, 3)), rng.random(50)
    plain, other = ValueHead(rows), ValueHead(rows * [1000, 0.001, 1] + [5, 0, -70])
    for _ in range(20):
        plain.learn(rows, rates, 4.0)
        other.learn(rows * [1000, 0.001, 1] + [5, 0, -70], rates, 4.0)
    assert other.weights == pytest.approx(plain.weights)


def test_it_finds_pass_rates_that_follow_from_features_and_tells_its_error() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, 2))
    rates = 1 / (1 + np.exp(-(2 * rows[:, 0] - 1)))
    head = ValueHead(rows)
    for _ in range(100):
        seen = rng.integers(0, 400, 32)
        head.learn(rows[seen], rates[seen], 4.0)
    assert np.abs(head.predict(rows[400:]) - rates[400:]).mean() < 0.05  # of prompts it never saw
    assert head.error < 0.1


def test_it_stays_finite_whatever_comes() -> None:
    head = ValueHead(np.ones((4, 2)))  # features that say nothing
    for _ in range(1000):
        head.learn(np.ones((3, 2)), [1.0, 1.0, 1.0], 8.0)
    assert np.isfinite(head.predict(np.full((1, 2), 1e15))).all()
    assert head.predict(np.ones((1, 2)))[0] > 0.95


@pytest.mark.parametrize("features", [[[math.nan]], np.zeros((2, 2, 2)), [[math.inf]]])
def test_features_that_are_none(features: object) -> None:
    with pytest.raises(ValueError, match="features must be finite numbers"):
        ValueHead(features)  # type: ignore[arg-type]


def test_a_state_is_the_same_head_and_one_of_other_features_is_refused() -> None:
    head = ValueHead([[0.0, 1.0], [1.0, 0.0]])
    head.learn([[0.0, 1.0]], [1.0], 4.0)
    again = ValueHead([[3.0, 4.0], [9.0, 1.0]])
    again.load_state_dict(head.state_dict())
    assert again.predict([[0.3, 0.7]]) == head.predict([[0.3, 0.7]])
    with pytest.raises(ValueError, match="weights must be 2 finite numbers"):
        ValueHead([1.0, 2.0]).load_state_dict(head.state_dict())
    with pytest.raises(ValueError, match="a scale is positive"):
        again.load_state_dict({**head.state_dict(), "scale": np.zeros(2)})
