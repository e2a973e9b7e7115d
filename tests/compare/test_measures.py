from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from statsmodels.stats.multitest import multipletests

from didact.compare.measures import (
    PairedDifference,
    area_under,
    cut_at,
    final_accuracy,
    holm,
    paired_difference,
    paired_ratio,
    share_of_way,
    sign_flip_p,
    to_target,
    verdict,
)

NAN, INF = math.nan, math.inf


def test_target_is_met_between_evaluations() -> None:
    assert to_target([0, 100, 200], [0.2, 0.3, 0.5], 0.4) == pytest.approx(150)
    assert to_target([0, 100, 200], [0.2, 0.3, 0.5], 0.3) == 100
    assert to_target([0, 100, 200], [0.2, 0.3, 0.5], 0.1) == 0
    assert math.isnan(to_target([0, 100, 200], [0.2, 0.3, 0.5], 0.6))


def test_target_is_met_at_the_first_crossing() -> None:
    assert to_target([0, 1, 2, 3], [0.0, 1.0, 0.0, 1.0], 0.5) == 0.5


def test_area_is_the_mean_accuracy() -> None:
    assert area_under([0, 100], [0.2, 0.4], 100) == pytest.approx(0.3)
    assert area_under([0, 100], [0.2, 0.4], 50) == pytest.approx(0.25)
    assert area_under([0, 50, 100], [0.0, 1.0, 1.0], 100) == pytest.approx(0.75)
    assert area_under([0, 100], [0.2, 0.4], 200) == pytest.approx(0.35)  # stopped: the last accuracy stands
    with pytest.raises(ValueError, match="beyond the start"):
        area_under([0, 100], [0.2, 0.4], 0)


def test_cutting_interpolates_every_column_and_lets_the_last_stand() -> None:
    curve = {"rollouts": np.array([0.0, 100, 200]), "tokens": np.array([0.0, 10, 30])}
    assert cut_at(curve, 150)["tokens"].tolist() == [0, 10, 20]
    assert cut_at(curve, 200)["tokens"].tolist() == [0, 10, 30]
    longer = cut_at(curve, 300)
    assert longer["rollouts"].tolist() == [0, 100, 200, 300]
    assert longer["tokens"].tolist() == [0, 10, 30, 30]


def test_final_is_the_last_three_and_never_the_start() -> None:
    assert final_accuracy([0.0, 0.1, 0.3, 0.4, 0.5]) == pytest.approx(0.4)
    assert final_accuracy([0.0, 0.6]) == pytest.approx(0.6)


def test_ratio_of_runs_that_all_arrived() -> None:
    ratio = paired_ratio([50, 60, 70, 80, 90, 100], [100] * 6)
    assert (ratio.low, ratio.high) == (pytest.approx(0.75), pytest.approx(0.75))
    assert (ratio.num_pairs, ratio.num_known, ratio.wins) == (6, 6, 5)
    assert ratio.interval is not None
    assert 0.5 <= ratio.interval[0] < 0.75 < ratio.interval[1] <= 1.0


def test_a_minority_that_never_arrives_leaves_the_median_a_number() -> None:
    ratio = paired_ratio([50, 50, 50, 50, NAN, NAN, 50], [100] * 7, variant_end=[400] * 7)
    assert ratio.low == ratio.high == 0.5
    assert ratio.num_known == 5
    assert ratio.interval is not None
    assert ratio.interval[1] == INF


def test_a_majority_that_never_arrives_leaves_a_bound() -> None:
    slower = paired_ratio([NAN] * 6, [100] * 6, variant_end=[400] * 6)
    assert (slower.low, slower.high, slower.interval) == (4.0, INF, (4.0, INF))
    faster = paired_ratio([100] * 6, [NAN] * 6, variant_end=[400] * 6, baseline_end=[400] * 6)
    assert (faster.low, faster.high, faster.interval) == (0.0, 0.25, (0.0, 0.25))
    assert faster.wins == 6


def test_pairs_of_which_neither_arrived_say_nothing() -> None:
    ratio = paired_ratio([NAN] * 6, [NAN] * 6, variant_end=[400] * 6, baseline_end=[400] * 6)
    assert (ratio.low, ratio.high, ratio.num_known, ratio.wins) == (0.0, INF, 0, 0)


def test_an_expense_of_nothing_has_no_ratio() -> None:
    ratio = paired_ratio([0.0], [0.0])
    assert (ratio.low, ratio.high) == (0.0, INF)


def test_one_pair_has_a_median_and_no_interval() -> None:
    assert paired_ratio([50], [100]).low == 0.5
    assert paired_ratio([50], [100]).interval is None
    difference = paired_difference([0.4], [0.3])
    assert difference.median == difference.mean == pytest.approx(0.1)
    assert difference.interval is None
    assert difference.p == 1.0
    assert verdict(difference, 0.001) == "cannot tell"


@pytest.mark.parametrize(
    ("interval", "mean", "p", "word"),
    [
        ((0.01, 0.03), 0.02, 0.049, "better"),
        ((-0.03, -0.01), -0.02, 0.049, "worse"),
        ((0.01, 0.03), 0.02, 0.05, "cannot tell"),  # the corrected test does not bear it
        ((0.0, 0.03), 0.02, 0.001, "cannot tell"),
        ((-0.01, 0.03), 0.02, 0.001, "cannot tell"),
        (None, 0.02, 0.001, "cannot tell"),
        ((0.01, 0.03), -0.02, 0.001, "cannot tell"),  # the test is of the mean, which says the opposite
        ((-0.03, -0.01), 0.02, 0.001, "cannot tell"),
        ((0.01, 0.03), -0.00001, 0.001, "cannot tell"),
    ],
)
def test_a_word_needs_the_test_the_interval_and_one_sign(
    interval: tuple[float, float] | None, mean: float, p: float, word: str
) -> None:
    median = sum(interval) / 2 if interval else 0.02
    assert verdict(PairedDifference(median, mean, interval, num_pairs=8, wins=6, p=p / 10), p) == word


def test_mean_and_median_that_differ_in_sign() -> None:
    base = np.zeros(7)
    assert paired_difference([0.01] * 6 + [-0.2], base).signs_differ
    assert not paired_difference([0.01] * 6 + [-0.05], base).signs_differ
    assert not paired_difference([0.01] * 6 + [-0.0601], base).signs_differ  # a mean of -0.00001 is none
    assert not paired_difference([0.0] * 6 + [-0.2], base).signs_differ


def test_pairs_must_match() -> None:
    with pytest.raises(ValueError, match="equally long"):
        paired_difference([0.1, 0.2], [0.1])
    with pytest.raises(ValueError, match="at least one"):
        paired_ratio([], [])


def test_sign_flip_p_is_exact() -> None:
    assert sign_flip_p([1.0] * 10) == 2 / 1024
    assert sign_flip_p([0.0] * 10) == 1.0
    assert sign_flip_p([1.0, 2.0, -3.0]) == 1.0
    assert sign_flip_p([3.0, 2.0, -1.0]) == 4 / 8  # |4| and |6|, either sign
    assert 0 < sign_flip_p([1.0] * 30) < 1e-4


def test_holm_keeps_the_order_and_never_falls() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.5, 0.9]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


def test_share_of_the_way_to_the_oracle() -> None:
    base = np.linspace(0.2, 0.3, 8)
    share, interval = share_of_way(base + 0.03, base, base + 0.06)
    assert share == pytest.approx(0.5)
    assert interval == (pytest.approx(0.5), pytest.approx(0.5))
    assert share_of_way([0.3], [0.2], [0.4])[1] is None


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=12))
def test_identical_runs_have_ratio_one_and_no_verdict(costs: list[float]) -> None:
    ratio = paired_ratio(costs, costs, variant_end=costs, baseline_end=costs)
    assert ratio.low == ratio.high == 1.0
    assert ratio.interval in ((1.0, 1.0), None)
    difference = paired_difference(costs, costs)
    assert (difference.median, difference.mean, difference.p) == (0.0, 0.0, 1.0)
    assert verdict(difference, 0.0) == "cannot tell"


def test_intervals_cover_what_they_promise() -> None:
    rng = np.random.default_rng(0)
    found = [paired_difference(rng.normal(size=10), np.zeros(10)).interval for _ in range(600)]
    assert np.mean([interval is not None and interval[0] <= 0 <= interval[1] for interval in found]) > 0.90  # is 0.94


# The same figures by scipy and statsmodels.

_SAMPLES = {
    "normal": lambda rng, num: rng.normal(0.01, 0.02, num),
    "heavy": lambda rng, num: 0.01 * rng.standard_t(2, num),
    "skewed": lambda rng, num: rng.exponential(0.02, num) - 0.01,
    "tied": lambda rng, num: rng.integers(-3, 5, num) / 256,
}


@pytest.mark.parametrize("kind", _SAMPLES)
@pytest.mark.parametrize("num", [6, 7, 10, 13, 20])
def test_intervals_are_those_of_scipys_bootstrap(kind: str, num: int) -> None:
    """Both draw resamples at random, so an end of ours is to lie between those that cut off 2 and 3% of theirs."""
    change = _SAMPLES[kind](np.random.default_rng(num), num)
    ours = paired_difference(change, np.zeros(num)).interval
    theirs = stats.bootstrap(
        (change,),
        np.median,
        confidence_level=0.96,
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(1),
    )
    narrower = stats.bootstrap(
        (change,), np.median, confidence_level=0.94, method="percentile", n_resamples=0, bootstrap_result=theirs
    )
    wide, narrow = theirs.confidence_interval, narrower.confidence_interval
    assert ours is not None
    assert wide.low - 1e-12 <= ours[0] <= narrow.low + 1e-12
    assert narrow.high - 1e-12 <= ours[1] <= wide.high + 1e-12


@pytest.mark.parametrize("num", [7, 9, 11, 13, 15, 17, 19, 21])
def test_intervals_are_those_of_all_resamples(num: int) -> None:
    """The median of an odd resample is at most the k-th observation where more than half of its draws are."""
    ours = paired_difference(np.arange(1.0, num + 1), np.zeros(num)).interval
    at_most = stats.binom.sf(num // 2, num, np.arange(num + 1) / num)
    assert ours is not None
    low, high = (int(end) for end in ours)
    assert at_most[low - 1] <= 0.025 + 0.005  # 10,000 resamples know a tail of 0.025 to 0.0016
    assert at_most[low] >= 0.025 - 0.005
    assert at_most[high - 1] <= 0.975 + 0.005
    assert at_most[high] >= 0.975 - 0.005


@pytest.mark.parametrize("num", range(6, 31))
def test_intervals_lie_within_the_exact_ones(num: int) -> None:
    """The exact interval between two observations covers at least 95%, ours a little less; inside it, never beyond."""
    change = np.arange(1.0, num + 1)
    ours, exact = (
        paired_difference(change, np.zeros(num)).interval,
        stats.quantile_test(change, p=0.5).confidence_interval(0.95),
    )
    assert ours is not None
    assert exact.low <= ours[0] <= exact.low + 2
    assert exact.high - 2 <= ours[1] <= exact.high


@pytest.mark.parametrize("kind", _SAMPLES)
@pytest.mark.parametrize("num", [2, 5, 6, 10, 13])
def test_the_sign_flip_p_is_that_of_scipys_permutation_test(kind: str, num: int) -> None:
    change = _SAMPLES[kind](np.random.default_rng(num), num)
    theirs = stats.permutation_test((change,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_p(change) == pytest.approx(theirs.pvalue, abs=1e-12)


def test_the_sign_flip_p_of_many_pairs_is_near_scipys() -> None:
    change = np.random.default_rng(0).normal(0.4, 1, 24)
    theirs = stats.permutation_test(
        (change,), np.mean, permutation_type="samples", n_resamples=100_000, rng=np.random.default_rng(1)
    )
    assert 0.01 < theirs.pvalue < 0.2
    assert sign_flip_p(change) == pytest.approx(theirs.pvalue, rel=0.1)


@pytest.mark.parametrize("num", [1, 2, 6, 15])
def test_holm_is_that_of_statsmodels(num: int) -> None:
    rng = np.random.default_rng(num)
    for p_values in (rng.random(num) ** 4, rng.integers(1, 8, num) / 1024, np.ones(num)):
        assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1], abs=1e-12)


def test_the_area_is_scipys_trapezoids() -> None:
    rng = np.random.default_rng(0)
    x, y = np.cumsum(rng.integers(1, 500, 12)), rng.random(12)
    assert area_under(x, y, x[-1]) == pytest.approx(integrate.trapezoid(y, x) / (x[-1] - x[0]))
