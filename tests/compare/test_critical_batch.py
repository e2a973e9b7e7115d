from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from didact.compare.critical_batch import (
    BedNoise,
    CostFit,
    NoiseScale,
    ceiling,
    ceiling_table,
    critical_batch_of_costs,
    noise_scale,
    variance_ratio,
)
from didact.compare.summary import summarise
from tests.compare.written import record, straight, write


@pytest.mark.parametrize(("x", "saved"), [(1 / 4, 2.59), (1, 1.62), (4, 1.18), (16, 1.05)])
def test_ceilings_of_a_variance_four_times_smaller(x: float, saved: float) -> None:
    assert ceiling(128 * x, 128, 4.3) == pytest.approx((1 + 1 / x) / (1 + 1 / (4.3 * x)))
    assert round(ceiling(128 * x, 128, 4.3), 2) == saved


def test_small_batches_save_all_of_the_ratio_and_large_ones_nothing() -> None:
    assert ceiling(1, math.inf, 4.3) == 4.3
    assert ceiling(1, 1e9, 4.3) == pytest.approx(4.3)
    assert ceiling(1e9, 1, 4.3) == pytest.approx(1.0)
    assert ceiling(1, 0, 4.3) == 1.0
    assert ceiling(32, 100, 0.5) < 1  # more variance than uniform costs more


@pytest.mark.parametrize("given", [(0, 1, 1), (1, -1, 1), (1, 1, 0), (math.nan, 1, 1)])
def test_ceilings_of_nonsense_are_refused(given: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        ceiling(*given)


def test_noise_of_two_groups_by_hand() -> None:
    alike = noise_scale(1.0 + 1.0, 4.0, 2)  # (1, 0) twice
    assert (alike, alike.critical) == (NoiseScale(signal=1.0, noise=0.0), 0.0)
    crossed = noise_scale(1.0 + 1.0, 2.0, 2)  # (1, 0) and (0, 1)
    assert (crossed, crossed.critical) == (NoiseScale(signal=0.0, noise=1.0), math.inf)
    with pytest.raises(ValueError, match="two groups"):
        noise_scale(1.0, 1.0, 1)


def test_the_noise_scale_of_gaussian_gradients_is_unbiased() -> None:
    rng = np.random.default_rng(0)
    # Mean (3, 4) and variances 100 and 200: signal 25, noise 300. Eight groups a time, so each estimate is poor.
    gradients = np.array([3.0, 4.0]) + rng.normal(size=(40_000, 8, 2)) * np.sqrt([100.0, 200.0])
    found = [noise_scale(float((each**2).sum()), float((each.sum(axis=0) ** 2).sum()), 8) for each in gradients]
    assert np.mean([each.signal for each in found]) == pytest.approx(25, rel=0.05)
    assert np.mean([each.noise for each in found]) == pytest.approx(300, rel=0.02)
    # The squared length of the mean of eight, which nobody corrected, is 25 + 300 / 8.
    assert (gradients.mean(axis=1) ** 2).sum(axis=1).mean() == pytest.approx(62.5, rel=0.05)


def test_groups_that_a_selector_would_draw_by_weighted_sums_over_uniforms() -> None:
    # Half of the groups are silent, the others have mean 3 and variance 4. Drawing those alone is w = 2 and w = 0.
    gradients = np.random.default_rng(0).normal(3, 2, 10_000) * (np.arange(10_000) % 2)
    weighted = 2 * gradients
    second = float((2 * gradients**2).mean())
    drawn = noise_scale(float((weighted**2).sum()), float(weighted.sum() ** 2), 10_000, second_moment=second)
    assert (drawn.signal, drawn.noise) == pytest.approx((9, 4), rel=0.05)
    uniform = noise_scale(float((gradients**2).sum()), float(gradients.sum() ** 2), 10_000)
    assert (uniform.signal, uniform.noise) == pytest.approx((9 / 4, 13 / 2 - 9 / 4), rel=0.05)


def test_silent_groups_count() -> None:
    speaking = noise_scale(200.0, 10_000.0, 100)
    all_of_them = noise_scale(200.0, 10_000.0, 200)  # as many have no gradient: half the mean, a quarter of the signal
    assert speaking.signal == pytest.approx(0.99, abs=0.001)
    assert all_of_them.signal == pytest.approx(speaking.signal / 4, rel=0.01)
    assert all_of_them.critical > speaking.critical


def pool(dead: float, solved: float) -> np.ndarray:
    """1,000 pass rates; those that are neither spread evenly over 0 to 1."""
    never, always = round(1000 * dead), round(1000 * solved)
    between = 1000 - never - always
    return np.concatenate([np.zeros(never), np.ones(always), (np.arange(between) + 0.5) / between])


@pytest.mark.parametrize(
    ("dead", "solved", "ratio"), [(0.75, 0.05, 5.4), (0.55, 0.2, 4.3), (0.15, 0.45, 2.7), (0, 0, 1.08)]
)
def test_variance_ratios_of_known_pass_rates(dead: float, solved: float, ratio: float) -> None:
    assert variance_ratio(pool(dead, solved)) == pytest.approx(ratio, rel=0.01)


def test_variance_ratios_of_measured_pass_rates_have_the_right_expectations() -> None:
    # Of p = 1/2, four rollouts pass 0 to 4 times in 1, 4, 6, 4 and 1 of 16 cases.
    half = np.repeat([0, 1, 2, 3, 4], [1, 4, 6, 4, 1]) / 4
    assert variance_ratio(half, 4) == pytest.approx(1.0)
    assert variance_ratio(np.concatenate([half, np.zeros(16)]), 4) == pytest.approx(2.0)


def test_a_measured_ratio_is_an_upper_bound_and_not_far_above() -> None:
    true = pool(0.75, 0.05)
    measured = np.random.default_rng(0).binomial(8, np.tile(true, 100)) / 8
    assert variance_ratio(measured, 8) == pytest.approx(6.0, rel=0.02)
    assert variance_ratio(true) == pytest.approx(5.4, rel=0.01)


def test_pass_rates_that_say_nothing() -> None:
    assert variance_ratio([0.0, 1.0]) == math.inf
    assert variance_ratio([0.0, 1.0], 8) == math.inf
    with pytest.raises(ValueError, match="4 whole rollouts"):
        variance_ratio([0.5], 2)
    with pytest.raises(ValueError, match="got 8 rollouts"):
        variance_ratio([0.3], 8)


def test_the_critical_batch_of_costs_on_a_line() -> None:
    fit = critical_batch_of_costs([32, 128, 512], [1160, 1640, 3560])  # 1000 (1 + B / 200)
    assert (fit.least, fit.updates, fit.critical) == pytest.approx((1000, 5, 200))


def test_costs_that_do_not_rise_or_rise_too_fast() -> None:
    flat = critical_batch_of_costs([32, 128], [1000, 1000])
    assert flat.least == pytest.approx(1000)
    assert flat.critical > 1e12
    falling = critical_batch_of_costs([32, 128], [1000, 900])
    assert (falling, falling.critical) == (CostFit(pytest.approx(945, abs=1), 0.0), math.inf)
    steep = critical_batch_of_costs([100, 200], [1000, 4000])
    assert (steep.least, steep.critical) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("batches", "costs"), [([32, 32], [1, 2]), ([32], [1]), ([32, 64], [1, math.nan]), ([0, 1], [1, 2])]
)
def test_costs_that_cannot_be_fitted_are_refused(batches: list[float], costs: list[float]) -> None:
    with pytest.raises(ValueError):
        critical_batch_of_costs(batches, costs)


def comparison(folder: Path) -> Path:
    """Uniform needs 100 (1 + B / 200) rollouts, the oracle half; at 512 one seed of eight never arrives."""
    cells = {f"hard, {batch} a step": batch for batch in (512, 32, 128)}
    records = []
    for name, batch in cells.items():
        for seed in range(8):
            cost = 100 * (1 + batch / 200)
            never = batch == 512 and seed == 7
            records.append(record("uniform", seed, straight(0.01 if never else 100 / cost), cell=name))
            records.append(record("oracle", seed, straight(200 / cost), cell=name))
    settings = [
        {"name": name, "learner": "policy", "task": "arithmetic", "pool": "hard-heavy", "rollouts_per_step": batch}
        for name, batch in cells.items()
    ]
    return write(folder, records, variants=("uniform", "oracle"), cells=tuple(settings))


def test_the_table_of_a_comparison(tmp_path: Path) -> None:
    summary = summarise(comparison(tmp_path))
    lines = ceiling_table(summary, {("arithmetic", "hard-heavy"): BedNoise(critical=128, ratio=4)}).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert [line.split(" | ")[0] for line in lines[2:]] == [f"| hard, {batch} a step" for batch in (32, 128, 512)]
    # (32 + 128) / (32 + 128 / 4) = 2.5, and (32 + 200) / (32 + 50) = 2.83
    assert "| 32 | 0.25 | 2.50 | 1.58 | 0.16 | 2.83 | 1.68 | 116 | 2.00 [2.00, 2.00] |" in lines[2]
    assert "| 128 | 1 | 1.60 | 1.26 |" in lines[3]
    assert lines[4].endswith("| 356 | 2.00 [2.00, 2.00] |")


def test_another_bed_predicts_nothing(tmp_path: Path) -> None:
    lines = ceiling_table(summarise(comparison(tmp_path)), {("chain_sum", "hard-heavy"): BedNoise(128, 4)}).splitlines()
    assert lines[2].replace("–", "?").endswith("| 32 | ? | ? | ? | 0.16 | ? | ? | 116 | 2.00 [2.00, 2.00] |")  # noqa: RUF001
