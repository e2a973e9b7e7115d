"""The knapsack against brute force and the dynamic programme, and its fallback by hand."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from didact.knapsack import group_value, knapsack, split_budget


def test_the_value_peaks_where_the_notes_say() -> None:
    p = np.linspace(0, 1, 1001)
    assert p[group_value(p, 8).argmax()] == pytest.approx(0.36, abs=0.01)
    assert p[group_value(p, 10_000).argmax()] == pytest.approx(1 / 3, abs=1e-3)
    assert group_value([0.0, 1.0], 8).tolist() == [0.0, 0.0]


def test_the_value_is_concave_in_the_rollouts() -> None:
    num = np.arange(1, 200)
    for p in np.linspace(0.001, 0.999, 99):
        assert (np.diff(group_value(p, num), n=2) <= 1e-15).all()


def brute_force(rates: list[float], total: int, low: int, high: int) -> float:
    return max(
        float(group_value(rates, split).sum())
        for split in product(range(low, high + 1), repeat=len(rates))
        if sum(split) == total
    )


def dynamic_programme(rates: list[float], total: int, low: int, high: int) -> float:
    """The paper's way."""
    best = {0: 0.0}
    for p in rates:
        grown: dict[int, float] = {}
        for spent, value in best.items():
            for num in range(low, high + 1):
                if spent + num <= total:
                    grown[spent + num] = max(grown.get(spent + num, -1.0), value + float(group_value(p, num)))
        best = grown
    return best[total]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0.01, 0.99), min_size=1, max_size=4), st.integers(2, 3), st.integers(4, 9), st.data())
def test_greedy_is_the_optimum(rates: list[float], low: int, high: int, data: st.DataObject) -> None:
    total = data.draw(st.integers(low * len(rates), high * len(rates)))
    parts = knapsack(rates, total, low, high)
    assert parts.sum() == total
    assert ((parts >= low) & (parts <= high)).all()
    assert group_value(rates, parts).sum() == pytest.approx(brute_force(rates, total, low, high), rel=1e-12)


def test_greedy_is_the_optimum_of_a_batch() -> None:
    rates = np.random.default_rng(0).uniform(0.02, 0.98, 12).round(2).tolist()
    parts = knapsack(rates, 96, 2, 40)
    assert group_value(rates, parts).sum() == pytest.approx(dynamic_programme(rates, 96, 2, 40), rel=1e-12)


def test_what_the_mixed_do_not_need_goes_to_the_zeros() -> None:
    """p = 1/2 needs int(log 0.1 / log 0.5) = 3 beyond the minimum; of 32 - 8 - 3 = 21 two zeros get 11 and 10."""
    assert split_budget([0.5, 0.0, 0.0, 1.0], 32, 2, 128).tolist() == [5, 13, 12, 2]
    assert split_budget([0.5, 1.0, 1.0, 1.0], 32, 2, 128).tolist() == [5, 9, 9, 9]
    assert split_budget([0.0, 0.0, 1.0, 1.0], 32, 2, 128).tolist() == [14, 14, 2, 2]
    assert split_budget([1.0, 1.0], 16, 2, 128).tolist() == [8, 8]
    assert split_budget([0.5, 0.5], 16, 2, 128).tolist() == [8, 8]
    # p = 0.1 needs 21 of the 24: with p = 0.05 (44) nothing is left over.
    assert split_budget([0.1, 0.0, 0.0, 1.0], 32, 2, 128).tolist() == [23, 4, 3, 2]
    assert split_budget([0.05, 0.0, 0.0, 1.0], 32, 2, 128).tolist() == [26, 2, 2, 2]


@given(
    st.lists(st.sampled_from([0.0, 0.01, 0.125, 0.5, 0.9, 1.0]), min_size=1, max_size=30),
    st.integers(2, 5),
    st.integers(5, 40),
    st.floats(0, 1),
)
def test_the_split_adds_up_within_bounds(rates: list[float], low: int, high: int, fill: float) -> None:
    total = int(len(rates) * (low + fill * (high - low)))
    parts = split_budget(rates, total, low, high)
    assert parts.sum() == total
    assert ((parts >= low) & (parts <= high)).all()


def test_bounds_that_cannot_add_up_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot split"):
        split_budget([0.5, 0.5], 3, 2, 8)
