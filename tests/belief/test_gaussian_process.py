"""The Gaussian process against its algebra, and the spread of a rate against draws."""

import numpy as np
import pytest

from didact.belief.gaussian_process import described, process, sigmoid, smoothed, spread_of_rates
from didact.testing import pool_of


def test_one_observation_by_hand() -> None:
    """Prior variance 4, noise 1: at the place itself 4/5 of the logit is believed, and 4 - 16/5 of variance stays."""
    features = np.array([[0.0], [0.0], [1.0]])  # the one observed, and two that are asked for
    mean, variance = process(features, np.array([2.0]), np.array([1.0]), 0.0, 2.0, spread=True)
    near = np.exp(-0.5)  # the only distance is the median one
    assert mean == pytest.approx([1.6, 1.6 * near])
    assert variance == pytest.approx([4 - 16 / 5, 4 - 16 * near**2 / 5])


def test_without_observations_the_prior_speaks() -> None:
    mean, variance = process(np.zeros((2, 1)), np.zeros(0), np.zeros(0), -1.0, 3.0, spread=True)
    assert (mean.tolist(), variance.tolist()) == ([-1.0, -1.0], [9.0, 9.0])


def test_no_rate_is_certain() -> None:
    logits, noise = smoothed(np.array([0.0, 2.0, 8.0]), np.array([8.0, 8.0, 8.0]))
    assert logits == pytest.approx(np.log([0.5 / 8.5, 2.5 / 6.5, 8.5 / 0.5]))
    assert noise.tolist() == [0.5] * 3


def test_the_spread_of_a_rate_is_that_of_draws() -> None:
    mean, variance = np.array([0.0, -2.0, 3.0]), np.array([4.0, 0.5, 1.0])
    draws = sigmoid(mean[:, None] + np.sqrt(variance)[:, None] * np.random.default_rng(0).normal(size=200_000))
    assert spread_of_rates(mean, variance) == pytest.approx(draws.std(axis=1), rel=0.01)
    assert spread_of_rates(np.array([-1e6, 1e6]), np.array([1e4, 0.0])).tolist() == [0.0, 0.0]


def test_columns_that_describe_where_there_are_no_features() -> None:
    pool = pool_of(4, source=["a", "b", "a", "b"], difficulty=[1.0, 3.0, np.nan, 1.0])
    assert described(pool, np.array([0, 1, 2])).tolist() == [[-1.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    assert described(pool_of(2), np.arange(2)).tolist() == [[0.0], [0.0]]
    assert described(pool_of(2, features=[[1.0, 2.0], [3.0, 4.0]]), np.array([1])).tolist() == [[3.0, 4.0]]
