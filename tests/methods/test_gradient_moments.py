"""sigma of CurES against vectors worked out from its formulas (CV4 to CV9), and the moments of gradients it takes."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from didact.allocation import largest_remainder
from didact.methods.gradient_moments import allocation_scale, gradient_moments


def test_cv4_equal_norms() -> None:
    sigma = allocation_scale([0, 0.25, 0.5, 0.75, 1])
    assert sigma == pytest.approx([0, 0.433013, 0.5, 0.433013, 0], abs=5e-7)
    assert 40 * sigma / sigma.sum() == pytest.approx([0, 12.679492, 14.641016, 12.679492, 0], abs=5e-7)
    assert largest_remainder(sigma, 40).tolist() == [0, 13, 14, 13, 0]


def test_cv5_scalar_norms() -> None:
    """Norms that all point the same way are a Gram matrix of rank one; then eq. 21 is the code's formula."""
    cases = [(0.25, [4], [2, 2, 5]), (0.5, [3, 1], [2, 4]), (0.75, [1, 2, 3], [6])]
    moments = []
    for _, correct, wrong in cases:
        norms = np.array(correct + wrong, dtype=float)
        moments.append(of_all(norms[:, None], [True] * len(correct) + [False] * len(wrong)))
    sigma = allocation_scale([*(p for p, _, _ in cases), 0.0], [*moments, [1.0, 1.0, 0.0]])
    assert sigma == pytest.approx([1.652413, 1.346291, 2.172268, 0], abs=5e-7)
    assert 32 * sigma / sigma.sum() == pytest.approx([10.225778, 8.331376, 13.442846, 0], abs=5e-7)
    assert largest_remainder(sigma, 32).tolist() == [10, 8, 14, 0]


def test_cv6_vectors() -> None:
    """sigma^2 = .625, which is also the trace of the covariance of A g computed by hand."""
    gradients = np.array([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0]])
    passed = np.array([True, True, False])
    moments = of_all(gradients, passed)
    assert moments.tolist() == [5.0, 4.0, 8.0]
    assert allocation_scale([0.5], [moments]) ** 2 == pytest.approx([0.625])
    probability = np.array([0.25, 0.25, 0.5])
    weighted = np.where(passed, 0.5, -0.5)[:, None] * gradients
    centred = weighted - probability @ weighted
    assert (probability * (centred**2).sum(axis=1)).sum() == pytest.approx(0.625)


def of_all(gradients: np.ndarray, passed: Sequence[bool]) -> np.ndarray:
    """The three expectations where these rollouts are all there are, and not a sample."""
    kinds = [gradients[np.array(passed)], gradients[~np.array(passed)]]
    apart = kinds[0].mean(axis=0) - kinds[1].mean(axis=0)
    return np.array([*((kind**2).sum(axis=1).mean() for kind in kinds), (apart**2).sum()])


def test_the_distance_of_the_gradients_is_estimated_without_bias() -> None:
    """Over all samples of four from five responses, by how many passed; p = 1/2, and gradients have mean 0."""
    gradients = np.array([[2.0, 1.0], [0.0, 3.0], [-1.0, -1.0], [-1.0, -3.0], [0.0, -1.0]])
    passed, chance = np.array([True, True, False, False, False]), np.array([0.25, 0.25, 0.2, 0.2, 0.1])
    gradients -= chance @ gradients
    means = [chance[kind] @ gradients[kind] / chance[kind].sum() for kind in (passed, ~passed)]
    truth = float(((means[0] - means[1]) ** 2).sum())
    found: dict[int, list[tuple[float, float, float]]] = {1: [], 2: [], 3: []}
    for sample in itertools.product(range(5), repeat=4):
        rows = list(sample)
        num = int(passed[rows].sum())
        if num in found:
            moments = gradient_moments(gradients[rows] @ gradients[rows].T, passed[rows])
            found[num].append((chance[rows].prod(), moments[2], of_all(gradients[rows], passed[rows].tolist())[2]))
    for num, rows in found.items():
        weight, estimates, plugged_in = np.array(rows).T
        estimate, plain = (weight @ values / weight.sum() for values in (estimates, plugged_in))
        assert truth <= estimate + 1e-9 < plain
        assert num != 2 or estimate == pytest.approx(truth)


def test_cv8_a_batch() -> None:
    assert largest_remainder(allocation_scale([0.25, 0.5, 0]), 24).tolist() == [11, 13, 0]
    sigma = allocation_scale([1 / 3, 1 / 2, 1 / 6])
    assert 24 * sigma / sigma.sum() == pytest.approx([8.417, 8.928, 6.655], abs=5e-4)
    assert largest_remainder(sigma, 24).tolist() == [8, 9, 7]


def test_cv9_neyman_is_optimal() -> None:
    sigma = np.array([1.0, 2.0, 3.0])
    sizes = largest_remainder(sigma, 6)
    assert sizes.tolist() == [1, 2, 3]
    assert (sigma**2 / sizes).sum() == pytest.approx(6)
    assert (sigma**2 / 2).sum() == pytest.approx(7)


def test_prompts_without_moments_share_the_scale_of_the_others() -> None:
    sigma = allocation_scale([0.5, 0.5, 0.2], [[4, 4, 0], [np.nan] * 3, [np.nan] * 3])
    assert sigma == pytest.approx([1.0, 1.0, 0.8])


def test_moments_of_a_unanimous_pilot_and_of_none() -> None:
    assert gradient_moments(np.diag([1.0, 3.0]), [True, True]).tolist() == [2.0, 2.0, 0.0]
    assert np.isnan(gradient_moments(np.zeros((0, 0)), [])).all()
    with pytest.raises(ValueError, match="Gram"):
        gradient_moments(np.eye(3), [True, False])
