"""Confidence intervals for proportions, in closed form.

wilson            score interval of one proportion (Wilson 1927); stays inside [0, 1] and is sane at 0 and n
difference        difference of two independent proportions from their Wilson intervals (Newcombe 1998, method 10)
paired_difference difference of two proportions on the same items: Wald with half a count added to each of the
                  four cells (Agresti and Min 2005), so identical answers do not give an interval of width zero
zero_pass_bound   one-sided upper bound after n failures and no pass: 1 - alpha^(1/n), about 3/n ("rule of three")

No continuity corrections, and nothing here corrects for looking at many prompts at once.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Z95 = 1.959963984540054


def wilson(
    num_passed: ArrayLike, num_trials: ArrayLike, *, z: float = Z95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper end; (0, 1) where there are no trials. Counts may be fractional (effective sample sizes)."""
    passed, trials = np.asarray(num_passed, dtype=float), np.asarray(num_trials, dtype=float)
    safe = np.maximum(trials, 1e-12)
    rate = passed / safe
    centre = (rate + z * z / (2 * safe)) / (1 + z * z / safe)
    half = z / (1 + z * z / safe) * np.sqrt(np.maximum(rate * (1 - rate), 0) / safe + z * z / (4 * safe * safe))
    # Clipped to the rate as well: at 0 and n rounding leaves the bound a hair on the wrong side of it.
    low = np.where(trials > 0, np.clip(centre - half, 0, np.clip(rate, 0, 1)), 0.0)
    high = np.where(trials > 0, np.clip(centre + half, np.clip(rate, 0, 1), 1), 1.0)
    return low, high


def difference(
    first_passed: float, first_trials: float, last_passed: float, last_trials: float
) -> tuple[float, float, float]:
    """Last minus first, low, high, for two separate sets of items."""
    (low_1, high_1), (low_2, high_2) = wilson(first_passed, first_trials), wilson(last_passed, last_trials)
    rate_1, rate_2 = first_passed / first_trials, last_passed / last_trials
    gap = rate_2 - rate_1
    below = math.hypot(rate_2 - float(low_2), float(high_1) - rate_1)
    above = math.hypot(float(high_2) - rate_2, rate_1 - float(low_1))
    return gap, gap - below, gap + above


def paired_difference(first: ArrayLike, last: ArrayLike, *, z: float = Z95) -> tuple[float, float, float]:
    """Last minus first, low, high, for the same items answered twice; answers are 0 or 1."""
    change = np.asarray(last, dtype=float) - np.asarray(first, dtype=float)
    num, gained, lost = len(change), float((change > 0).sum()) + 0.5, float((change < 0).sum()) + 0.5
    centre = (gained - lost) / (num + 2)
    half = z * math.sqrt(gained + lost - (gained - lost) ** 2 / (num + 2)) / (num + 2)
    gap = float(change.mean())
    return gap, max(-1.0, min(centre - half, gap)), min(1.0, max(centre + half, gap))


def zero_pass_bound(num_trials: int, *, alpha: float = 0.05) -> float:
    """The largest pass rate that would still give no pass in `num_trials` rollouts with probability `alpha`."""
    return 1.0 - alpha ** (1.0 / num_trials) if num_trials > 0 else 1.0
