"""The variance of gradients, and its allocation against brute force."""

from itertools import product

import pytest

from didact.gradient_variance import allocate_by_variance, gradient_variance


def test_identity_4() -> None:
    assert gradient_variance(0.5, 5) == pytest.approx(1 / 4)
    assert gradient_variance(0.5, 5, "dr_grpo") == pytest.approx(4 / 25)
    assert gradient_variance([0.0, 1.0], 5).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("estimator", ["rloo", "dr_grpo"])
@pytest.mark.parametrize("rates", [[0.5, 0.1, 0.02], [0.9, 0.9, 0.3], [0.5, 0.0, 1.0], [0.4, 0.4, 0.4]])
@pytest.mark.parametrize("total", [9, 15, 24, 30])
def test_the_sum_of_variances_is_least(estimator: str, rates: list[float], total: int) -> None:
    """From 3 rollouts on both variances are convex, and the split is the best there is."""
    parts = allocate_by_variance(rates, total, 3, 12, estimator)
    best = min(
        gradient_variance(rates, split, estimator).sum()
        for split in product(range(3, 13), repeat=3)
        if sum(split) == total
    )
    assert parts.sum() == total
    assert gradient_variance(rates, parts, estimator).sum() == pytest.approx(best, abs=1e-12)


def test_rloo_is_neyman_in_the_rollouts_beyond_the_first() -> None:
    parts = allocate_by_variance([0.5, 0.1], 1002, 2, 1000)
    assert (parts[0] - 1) / (parts[1] - 1) == pytest.approx(0.5 / 0.3, rel=0.01)


def test_bounds_bind() -> None:
    assert allocate_by_variance([0.5, 0.0, 1.0, 0.5], 32, 2, 14).tolist() == [14, 2, 2, 14]
    assert allocate_by_variance([0.5, 1e-6], 32, 2, 20).tolist() == [20, 12]
    assert allocate_by_variance([0.0, 1.0, 0.0], 16, 2, 20).tolist() == [6, 5, 5]
    assert allocate_by_variance([0.5, 0.2], 4, 2, 8).tolist() == [2, 2]
    assert allocate_by_variance([0.5, 0.2], 16, 2, 8).tolist() == [8, 8]
    for bad in ((3, 2, 8), (17, 2, 8), (16, 1, 8)):
        with pytest.raises(ValueError, match="cannot split"):
            allocate_by_variance([0.5, 0.2], *bad)
