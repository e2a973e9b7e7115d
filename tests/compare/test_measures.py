from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from didact.compare.measures import (
    area_under,
    cut_at,
    final_accuracy,
    holm,
    paired_difference,
    paired_ratio,
    share_of_way,
    sign_flip_p,
    to_target,
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
    assert difference.median == pytest.approx(0.1)
    assert difference.interval is None
    assert difference.verdict == "cannot tell"
    assert difference.p == 1.0


def test_verdicts() -> None:
    base = np.linspace(0.2, 0.3, 8)
    assert paired_difference(base + 0.01, base).verdict == "better"
    assert paired_difference(base - 0.01, base).verdict == "worse"
    assert paired_difference(base + 0.01 * np.array([1, -1] * 4), base).verdict == "cannot tell"


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
    assert (difference.median, difference.verdict, difference.p) == (0.0, "cannot tell", 1.0)


def test_intervals_cover_what_they_promise() -> None:
    rng = np.random.default_rng(0)
    found = [paired_difference(rng.normal(size=10), np.zeros(10)).interval for _ in range(600)]
    assert np.mean([interval is not None and interval[0] <= 0 <= interval[1] for interval in found]) > 0.90  # is 0.94
