"""The variance of gradient estimates, and the allocation of rollouts that makes its sum over prompts least.

Nguyen et al., "Adaptive Rollout Allocation for Online Reinforcement Learning with Verifiable Rewards" (VIP),
arXiv:2602.01601. Of a prompt of pass rate p, v = 4 p (1-p), in a group of n rollouts:

    variance     RLOO  v / (n-1),   Dr.GRPO  v (n-1) / n^2
    allocation   minimise the sum of variances   subject to   sum n = total,   low <= n <= high

RLOO has n = 1 + sqrt(v / lambda); Dr.GRPO the larger root of v (n-2) / n^3 = lambda. lambda comes from bisection,
floors are taken, and what remains goes one rollout at a time to the largest decrease.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.allocation import greedy, largest_remainder
from didact.arrays import Floats


def gradient_variance(pass_rate: ArrayLike, num_rollouts: ArrayLike, estimator: str = "rloo") -> Floats:
    """Variance of a prompt's gradient estimate, up to the square of the gradient's length: n >= 2 rollouts."""
    p, num = np.asarray(pass_rate, dtype=np.float64), np.asarray(num_rollouts, dtype=np.float64)
    return np.asarray(4 * p * (1 - p) * _noise(num, estimator))


def allocate_by_variance(
    pass_rate: ArrayLike, total: int, minimum: int, maximum: int, estimator: str = "rloo"
) -> NDArray[np.int64]:
    """Rollouts by prompt, shape (n,), that minimise the sum of variances and add up to `total`.

    Raises:
        ValueError: bounds that cannot add up to `total`, or a minimum below 2.
    """
    p = np.asarray(pass_rate, dtype=np.float64)
    if minimum < 2 or not minimum * len(p) <= total <= maximum * len(p):
        raise ValueError(f"cannot split {total} over {len(p)} prompts with {minimum} to {maximum} rollouts each")
    variance = 4 * p * (1 - p)
    if not variance.any():
        return largest_remainder(np.ones(len(p)), total)

    def sizes(multiplier: float) -> Floats:
        ratio = variance / multiplier
        wanted = 1 + np.sqrt(ratio) if estimator == "rloo" else _cubic_root(ratio)
        return np.clip(wanted, minimum, maximum)

    low, high = 1e-12, float(variance.max())  # between all at the maximum and all at the minimum
    for _ in range(80):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if sizes(middle).sum() > total else (low, middle)
    parts = np.floor(sizes(high) + 1e-9).astype(np.int64)
    scale: list[float] = variance.tolist()

    def gain(index: int, have: int) -> float:
        return float(scale[index] * _noise(have, estimator) - scale[index] * _noise(have + 1, estimator))

    return greedy(gain, total, parts, np.full(len(p), maximum, dtype=np.int64))


def _noise(num: Any, estimator: str) -> Any:
    """What a group of n rollouts, or of each n of an array, leaves of the variance."""
    return 1 / (num - 1) if estimator == "rloo" else (num - 1) / num**2


def _cubic_root(ratio: Floats) -> Floats:
    """The largest n with ratio (n - 2) = n^3, that is v (n-2) / n^3 = lambda; 0 where there is none (ratio < 27)."""
    safe = np.maximum(ratio, 27.0)
    angle = np.arccos(np.clip(-3 * np.sqrt(3 / safe), -1.0, 1.0)) / 3
    return np.where(ratio < 27, 0.0, 2 * np.sqrt(safe / 3) * np.cos(angle))
