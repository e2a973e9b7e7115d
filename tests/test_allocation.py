"""Largest remainders with bounds: whole numbers that add up, whatever the shares."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from didact.allocation import greedy, largest_remainder, without_singles

shares_of_any_size = st.lists(st.floats(0, 1e308, allow_nan=False), min_size=1, max_size=40)
whole_shares = st.lists(st.integers(0, 1000), min_size=1, max_size=30)


@given(shares_of_any_size, st.integers(0, 100_000))
def test_the_sum_is_exact_and_each_part_is_within_one_of_its_quota(shares: list[float], total: int) -> None:
    parts = largest_remainder(shares, total)
    assert parts.dtype == np.int64
    assert parts.sum() == total
    assert (parts >= 0).all()
    scaled = np.array(shares) / (max(shares) or 1)
    quota = total * (scaled / scaled.sum() if scaled.any() else np.full(len(shares), 1 / len(shares)))
    assert (np.abs(parts - quota) < 1 + 1e-6).all()


@given(whole_shares, st.integers(1, 1000))
def test_a_larger_share_never_gets_less_and_ties_go_by_index(shares: list[int], total: int) -> None:
    parts = largest_remainder(shares, total)
    for i in range(len(shares)):
        for j in range(i):
            if shares[i] == shares[j]:
                assert 0 <= parts[j] - parts[i] <= 1
            else:
                assert (parts[i] - parts[j]) * (shares[i] - shares[j]) >= 0


@given(st.data())
def test_bounds_hold_and_the_sum_is_exact(data: st.DataObject) -> None:
    shares = data.draw(whole_shares)
    low = data.draw(st.lists(st.integers(0, 20), min_size=len(shares), max_size=len(shares)))
    high = [bound + data.draw(st.integers(0, 20)) for bound in low]
    total = data.draw(st.integers(sum(low), sum(high)))
    parts = largest_remainder(shares, total, low, high)
    assert parts.sum() == total
    assert (parts >= low).all()
    assert (parts <= high).all()
    # Water-filling: prompts that no bound holds back stand in the proportion of their shares.
    free = [i for i in range(len(shares)) if shares[i] and low[i] + 1 < parts[i] < high[i] - 1]
    for i in free:
        assert (
            abs(parts[i] / shares[i] - parts[free[0]] / shares[free[0]]) <= 1 / shares[i] + 1 / shares[free[0]] + 1e-9
        )


@given(whole_shares, st.integers(0, 1000))
def test_bounds_that_do_not_bind_change_nothing(shares: list[int], total: int) -> None:
    parts = largest_remainder(shares, total)
    assert np.array_equal(largest_remainder(shares, total, 0, total + 1), parts)


def test_water_filling_by_hand() -> None:
    assert largest_remainder([1, 1, 8], 20, 0, 10).tolist() == [5, 5, 10]
    assert largest_remainder([0, 1, 1], 10, 2).tolist() == [2, 4, 4]
    assert largest_remainder([1, 0], 10, 0, [5, 10]).tolist() == [5, 5]
    assert largest_remainder([0, 0, 0], 7).tolist() == [3, 2, 2]
    assert largest_remainder([1e308] * 3, 3).tolist() == [1, 1, 1]
    assert largest_remainder([5e-324, 5e-324], 3).tolist() == [2, 1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([], 3), "non-empty"),
        (([[1.0]], 3), "non-empty"),
        (([1.0, -1.0], 3), "not negative"),
        (([1.0, np.nan], 3), "finite"),
        (([1.0, np.inf], 3), "finite"),
        (([1.0], -1), "cannot split"),
        (([1.0, 1.0], 3, 2), "allow 4 to"),
        (([1.0, 1.0], 5, 0, 2), "allow 0 to 4"),
        (([1.0, 1.0], 5, 3, 2), "minimum <= maximum"),
        (([1.0, 1.0], 5, -1), "minimum <= maximum"),
    ],
)
def test_bad_shares_and_bounds(arguments: tuple, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        largest_remainder(*arguments)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8), st.integers(0, 40))
def test_greedy_on_logarithms_gives_equal_ratios(weights: list[int], total: int) -> None:
    """The value w log(1 + n) is concave: no unit can move from one prompt to another and gain."""
    bounds = np.zeros(len(weights), dtype=np.int64), np.full(len(weights), 12)
    parts = greedy(lambda index, have: weights[index] * np.log((2 + have) / (1 + have)), total, *bounds)
    assert parts.sum() == min(total, 12 * len(weights))
    last = [w * np.log((1 + n) / n) for w, n in zip(weights, parts, strict=True) if n]
    more = [w * np.log((2 + n) / (1 + n)) for w, n in zip(weights, parts, strict=True) if n < 12]
    assert not last or not more or min(last) >= max(more) - 1e-12


def test_greedy_keeps_to_its_bounds_and_gives_ties_to_the_lower_index() -> None:
    low, high = np.array([1, 0, 0]), np.array([2, 9, 2])
    assert greedy(lambda index, have: 1.0, 5, low, high).tolist() == [2, 3, 0]
    assert greedy(lambda index, have: -have, 5, low, high).tolist() == [2, 2, 1]
    with pytest.raises(ValueError, match="cannot split"):
        greedy(lambda index, have: 1.0, 0, low, high)
    with pytest.raises(ValueError, match="cannot split"):
        greedy(lambda index, have: 1.0, 5, high, low)


def test_a_share_of_one_rollout_goes_to_the_others() -> None:
    shares = np.array([0.5, 0.5, 0.02, 0.0])
    assert without_singles(shares, 40, 0, None).tolist() == [20, 20, 0, 0]
    assert without_singles(shares, 40, 1, None).tolist() == [19, 19, 1, 1]
    assert without_singles(shares, 40, 2, None).tolist() == [18, 18, 2, 2]
    assert without_singles(shares, 40, 0, 12).tolist() == [12, 12, 12, 4]
