"""Measures of learning curves, and what pairs of runs say.

A curve is held-out accuracy against something spent: rollouts, tokens, updates or seconds.

    to_target          where the straight lines between evaluations first meet the target
    area_under         mean accuracy from the start to `upto`: every evaluation counts, and no target is needed
    final_accuracy     mean of the last three evaluations
    paired_ratio       median over pairs of (variant to target) / (baseline to target); below 1 is cheaper
    paired_difference  median over pairs of variant minus baseline
    verdict            "better", "worse" or "cannot tell": the only place where one of these words is chosen

Curves are taken raw. A noisy curve crosses a target a little early, the earlier the more often it is evaluated, so
compare runs that were evaluated equally often; the area hardly minds, and the verdict rests on it.

**Intervals** are 95% percentile bootstraps of the median, 10,000 resamples of pairs. Below six pairs there is none: the
widest there could be, least to largest, covers the median with probability 1 - 2^(1-n), less than 95%. Measured
coverage with 6 to 20 pairs is 0.93 to 0.94 for normal, heavy-tailed and skewed differences alike; that of the
bootstrap of the *mean* is 0.74 to 0.93. **p-values** are of the sign-flip permutation test of the mean difference,
two-sided; `holm` corrects several of them (Holm 1979). The test is of the mean and the interval of the median, which on
few pairs can point to opposite sides; then there is no verdict.

**A run that never reaches the target** is not dropped, which would flatter whoever fails most. Its cost is known to
exceed what it spent, so its pair has a ratio between two bounds; see `paired_ratio`.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.compare.records import Curve

Interval = tuple[float, float]
Verdict = Literal["better", "worse", "cannot tell"]

LEVEL = 0.05
MIN_PAIRS = 6
RESAMPLES = 10_000
_AS_GOOD_AS_ZERO = 0.0005  # of an accuracy: half a held-out prompt in a thousand
_EXACT = 16  # pairs up to which all sign flips are tried: 2^16


def cut_at(curve: Curve, rollouts: float) -> Curve:
    """The curve up to `rollouts`, its last point interpolated, so that all runs end at the same expense.

    A run that stopped before has stopped learning and spending: its last figures stand until then.
    """
    x = curve["rollouts"]
    inside = x < rollouts
    cut = {name: np.append(values[inside], np.interp(rollouts, x, values)) for name, values in curve.items()}
    return {**cut, "rollouts": np.append(x[inside], rollouts)}


def to_target(x: ArrayLike, accuracy: ArrayLike, target: float) -> float:
    """The expense at which accuracy first meets the target, nan if it never does."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(accuracy, dtype=np.float64)
    reached = np.flatnonzero(y >= target)
    if not len(reached):
        return float("nan")
    at = int(reached[0])
    if at == 0:
        return float(x[0])
    share = (target - y[at - 1]) / (y[at] - y[at - 1])
    return float(x[at - 1] + share * (x[at] - x[at - 1]))


def area_under(x: ArrayLike, accuracy: ArrayLike, upto: float) -> float:
    """Mean accuracy from the first point to `upto`, by trapezoids; linear between evaluations, the last one stands.

    Raises:
        ValueError: `upto` is not beyond the first point.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(accuracy, dtype=np.float64)
    if not x[0] < upto:
        raise ValueError(f"upto must lie beyond the start of the curve at {x[0]:g}, got {upto:g}")
    inside = x < upto
    x, y = np.append(x[inside], upto), np.append(y[inside], np.interp(upto, x, y))
    return float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum() / (x[-1] - x[0]))


def final_accuracy(accuracy: ArrayLike, *, last: int = 3) -> float:
    """Mean of the last evaluations; the one before training is never among them."""
    return float(np.asarray(accuracy, dtype=np.float64)[1:][-last:].mean())


@dataclass(frozen=True)
class PairedRatio:
    """Variant over baseline in what it took to reach the target.

    `low` and `high` are equal where the median is known; otherwise it lies between them, and `high` may be infinite.
    `wins` counts the pairs in which the variant was cheaper for certain, `num_known` those in which both arrived.
    """

    low: float
    high: float
    interval: Interval | None
    num_pairs: int
    num_known: int
    wins: int


def paired_ratio(
    variant: ArrayLike, baseline: ArrayLike, *, variant_end: ArrayLike = 0.0, baseline_end: ArrayLike = np.inf
) -> PairedRatio:
    """Median ratio of paired costs to the target, nan where a run did not arrive.

    With c the cost to target and e the end of a run, a pair's ratio is

        both arrived          c / c                   neither         between 0 and infinity
        variant only          between 0 and c / e     baseline only   between e / c and infinity

    All pairs at their lower bound, then all at their upper bound, give `low` and `high` and the ends of the interval.
    So the median stays a number as long as enough pairs are known, and becomes a bound, never a guess, beyond.

    Raises:
        ValueError: no pairs, or numbers of runs that differ.
    """
    top, bottom = _pairs(variant, baseline)
    ended, base_ended = np.broadcast_to(variant_end, top.shape), np.broadcast_to(baseline_end, top.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        low = np.where(np.isnan(bottom), 0.0, np.where(np.isnan(top), ended / bottom, top / bottom))
        high = np.where(np.isnan(top), np.inf, np.where(np.isnan(bottom), top / base_ended, top / bottom))
    low, high = np.where(np.isnan(low), 0.0, low), np.where(np.isnan(high), np.inf, high)  # an expense of nothing
    lower, upper = _bootstrap(low), _bootstrap(high)
    return PairedRatio(
        low=float(np.median(low)),
        high=float(np.median(high)),
        interval=None if lower is None or upper is None else (lower[0], upper[1]),
        num_pairs=len(top),
        num_known=int((~np.isnan(top) & ~np.isnan(bottom)).sum()),
        wins=int((high < 1).sum()),
    )


@dataclass(frozen=True)
class PairedDifference:
    """Variant minus baseline: median and mean, the median's interval, pairs in which the variant was higher, and the
    sign-flip p of the mean, not corrected."""

    median: float
    mean: float
    interval: Interval | None
    num_pairs: int
    wins: int
    p: float

    @property
    def signs_differ(self) -> bool:
        """Median and mean lie on different sides of zero, neither so near that it is as good as zero."""
        return self.median * self.mean < 0 and min(abs(self.median), abs(self.mean)) >= _AS_GOOD_AS_ZERO


def verdict(difference: PairedDifference, p: float) -> Verdict:
    """A word only where test and interval both bear it; "cannot tell" everywhere else.

    Args:
        p: of the mean difference, corrected for whatever else was tried; it must be below 0.05. The interval of the
            median must leave zero out, on the side on which the mean lies.
    """
    low, high = difference.interval or (0.0, 0.0)
    if p >= LEVEL or low <= 0 <= high or difference.median * difference.mean <= 0:
        return "cannot tell"
    return "better" if low > 0 else "worse"


def paired_difference(variant: ArrayLike, baseline: ArrayLike) -> PairedDifference:
    """Median of paired differences, higher being better.

    Raises:
        ValueError: no pairs, or numbers of runs that differ.
    """
    first, second = _pairs(variant, baseline)
    change = first - second
    return PairedDifference(
        median=float(np.median(change)),
        mean=float(change.mean()),
        interval=_bootstrap(change),
        num_pairs=len(change),
        wins=int((change > 0).sum()),
        p=sign_flip_p(change),
    )


def share_of_way(variant: ArrayLike, baseline: ArrayLike, oracle: ArrayLike) -> tuple[float, Interval | None]:
    """Median gain of a variant over the baseline, as a share of the oracle's. Ask only where the oracle gains."""
    gain, full = np.subtract(*_pairs(variant, baseline)), np.subtract(*_pairs(oracle, baseline))
    share = float(np.median(gain) / np.median(full))
    if len(gain) < MIN_PAIRS:
        return share, None
    chosen = _resamples(len(gain))
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.median(gain[chosen], axis=1) / np.median(full[chosen], axis=1)
    return share, _central(shares[np.isfinite(shares)])


def sign_flip_p(differences: ArrayLike) -> float:
    """Two-sided p of a mean this far from zero if each difference could as well have had the other sign.

    Exact up to 16 pairs (all 2^n flips, so never below 2 / 2^n), from 100,000 random flips beyond.
    """
    change = np.asarray(differences, dtype=np.float64)
    num = len(change)
    if num <= _EXACT:
        signs = 1.0 - 2.0 * (np.arange(2**num)[:, None] >> np.arange(num) & 1)
    else:
        signs = 1.0 - 2.0 * np.random.default_rng(0).integers(0, 2, (100_000, num))
        signs[0] = 1.0  # what was seen is one of the flips: p is never zero
    sums, seen = np.abs(signs @ change), abs(change.sum())
    return float((sums >= seen * (1 - 1e-9)).mean())


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Holm's adjusted p-values, in the order given: all below a level hold together at that level."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return adjusted


def _pairs(first: ArrayLike, second: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(f"pairs need two equally long lists of at least one run, got {a.shape} and {b.shape}")
    return a, b


def _bootstrap(values: NDArray[np.float64]) -> Interval | None:
    """95% interval of the median. The middle of a resample has the middle rank, so no resample is sorted twice."""
    if len(values) < MIN_PAIRS:
        return None
    below, above = _middle_ranks(len(values))
    ordered = np.sort(values)
    return _central((ordered[below] + ordered[above]) / 2)


@lru_cache(maxsize=8)
def _middle_ranks(num: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    ranks = np.sort(_resamples(num), axis=1)
    return ranks[:, (num - 1) // 2].copy(), ranks[:, num // 2].copy()


@lru_cache(maxsize=8)
def _resamples(num: int) -> NDArray[np.int64]:
    return np.random.default_rng(0).integers(0, num, (RESAMPLES, num))


def _central(draws: NDArray[np.float64]) -> Interval:
    """The middle 95%, without interpolation, which infinities would not survive."""
    ordered = np.sort(draws)
    tail = int(0.025 * len(ordered))
    return float(ordered[tail]), float(ordered[-1 - tail])
