from __future__ import annotations

import numpy as np
import pytest

from didact.report.intervals import difference, paired_difference, wilson, zero_pass_bound


def test_wilson_published_value() -> None:
    low, high = wilson(81, 263)  # Newcombe 1998, table I: 0.2553 to 0.3662
    assert (low, high) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))


def test_wilson_at_the_ends_and_without_trials() -> None:
    low, high = wilson([0, 10, 0], [10, 10, 0])
    assert low.tolist() == [0.0, pytest.approx(0.7225, abs=1e-4), 0.0]
    assert high.tolist() == [pytest.approx(0.2775, abs=1e-4), 1.0, 1.0]


def test_difference_published_value() -> None:
    # Newcombe 1998, 56/70 against 48/80, method 10: 0.0524 to 0.3339
    assert difference(48, 80, 56, 70) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


def test_paired_difference_contains_the_gap_and_is_narrower_than_unpaired() -> None:
    first = np.array([0] * 60 + [1] * 40)
    last = np.array([0] * 45 + [1] * 55)
    gap, low, high = paired_difference(first, last)
    assert gap == pytest.approx(0.15)
    assert 0.07 < low < gap < high < 0.23
    assert high - low < difference(40, 100, 55, 100)[2] - difference(40, 100, 55, 100)[1]


def test_paired_difference_of_identical_answers_has_width() -> None:
    gap, low, high = paired_difference([1, 0, 1], [1, 0, 1])
    assert gap == 0
    assert low < 0 < high


def test_paired_coverage() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        ability = rng.random((2, 100))
        first, last = (ability[0] < 0.4), np.where(ability[1] < 0.3, True, ability[0] < 0.4)
        _, low, high = paired_difference(first, last)
        hits += low <= 0.18 <= high  # 0.3 of the 0.6 that failed
    assert 0.92 <= hits / 400 <= 0.98


def test_rule_of_three() -> None:
    assert zero_pass_bound(100) == pytest.approx(3 / 100, abs=0.001)
    assert zero_pass_bound(0) == 1.0
