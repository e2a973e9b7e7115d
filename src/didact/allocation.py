"""How many rollouts each prompt gets: integers that add up to the budget exactly."""

import heapq
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.arrays import Floats


def largest_remainder(
    shares: ArrayLike, total: int, minimum: ArrayLike = 0, maximum: ArrayLike | None = None
) -> NDArray[np.int64]:
    """Split `total` in proportion to `shares`, within per-prompt bounds, as integers that sum to `total` exactly.

    The real-valued split is c * share clipped to the bounds, with c chosen so that the parts add up (water-filling);
    floors are taken and the units left go to the largest remainders, ties to the lower index (Hamilton's rule). Shares
    that are all zero count as equal. This is Neyman allocation when the shares are standard deviations
    (CurES, arXiv:2510.01037, eqs. 17-21).

    Args:
        shares: array of shape (n,), finite and not negative.
        total: units to hand out.
        minimum, maximum: bounds, a number or an array of shape (n,).

    Raises:
        ValueError: bad shares, or bounds that cannot add up to `total`.
    """
    shares = np.asarray(shares, dtype=np.float64)
    if shares.ndim != 1 or len(shares) == 0:
        raise ValueError(f"shares must be a non-empty list of numbers, got shape {shares.shape}")
    if not np.isfinite(shares).all() or (shares < 0).any():
        raise ValueError("shares must be finite and not negative")
    total = int(total)
    low = np.broadcast_to(np.asarray(minimum, dtype=np.int64), shares.shape)
    high = np.broadcast_to(np.asarray(total if maximum is None else maximum, dtype=np.int64), shares.shape)
    high = np.maximum(high, low) if maximum is None else high
    if (low < 0).any() or (high < low).any():
        raise ValueError("bounds must satisfy 0 <= minimum <= maximum")
    if not low.sum() <= total <= high.sum():
        raise ValueError(
            f"cannot split {total} over {len(shares)} prompts: their bounds allow {low.sum()} to {high.sum()}"
        )
    quota = _water_fill(shares / (shares.max() or 1.0), total, low, high)  # so that extreme shares cannot overflow
    parts = np.floor(quota + 1e-9).astype(np.int64)
    # Rounding to nine places makes ties of equal shares real ties, so that they go by index on every machine.
    remainder = np.round(np.where(parts < high, quota - parts, -1.0), 9)
    missing = total - int(parts.sum())
    parts[np.argsort(-remainder, kind="stable")[:missing]] += 1
    return parts


def without_singles(shares: ArrayLike, total: int, minimum: int = 0, maximum: int | None = None) -> NDArray[np.int64]:
    """Split `total` as `largest_remainder` does, but with no part of 1 unless `minimum` asks for it.

    A single rollout has no advantage over its group: it goes to the others.

    Args:
        minimum, maximum: bounds of a part; of a maximum that is too small for `total`, as much more as it takes.
    """
    shares = np.asarray(shares, dtype=np.float64)
    parts, kept = np.zeros(len(shares), dtype=np.int64), np.ones(len(shares), dtype=np.bool_)
    while True:
        most = None if maximum is None else max(maximum, -(-total // int(kept.sum())))
        parts[kept] = largest_remainder(shares[kept], total, minimum, most)
        alone = parts == 1
        if minimum > 0 or not alone.any():
            return parts
        parts[alone], kept[alone] = 0, False


def greedy(
    gain: Callable[[int, int], float], total: int, minimum: NDArray[np.int64], maximum: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Hand out units one at a time, each where it gains most, ties to the lower index; less if the bounds allow less.

    The exact optimum where the gain of each prompt falls with what it has (concave values); O((n + total) log n).

    Args:
        gain: gain(index, have) is what one unit more is worth to prompt `index` that has `have`.
        total: units to hand out, the minimum included.
        minimum, maximum: bounds, arrays of shape (n,).

    Raises:
        ValueError: minimum above maximum, or above `total` in sum.
    """
    if (minimum > maximum).any() or minimum.sum() > total:
        raise ValueError(f"cannot split {total}: the bounds ask for at least {minimum.sum()}, or cross")
    parts, limits = minimum.tolist(), maximum.tolist()
    heap = [(-gain(index, have), index) for index, have in enumerate(parts) if have < limits[index]]
    heapq.heapify(heap)
    for _ in range(total - sum(parts)):
        if not heap:
            break
        index = heap[0][1]
        parts[index] += 1
        if parts[index] < limits[index]:
            heapq.heapreplace(heap, (-gain(index, parts[index]), index))
        else:
            heapq.heappop(heap)
    return np.array(parts, dtype=np.int64)


def _water_fill(shares: Floats, total: int, low: NDArray[np.int64], high: NDArray[np.int64]) -> Floats:
    quota = np.zeros(len(shares))
    free = np.ones(len(shares), dtype=bool)
    while free.any():
        left = total - quota[~free].sum()
        weight = shares[free].sum()
        wanted = shares * (left / weight) if weight > 0 else np.full(len(shares), left / free.sum())
        below, above = free & (wanted < low), free & (wanted > high)
        if not below.any() and not above.any():
            quota[free] = wanted[free]
            break
        # Only the side that binds harder is certain to be bound in the end; the other side is looked at again.
        lacking, spare = (low - wanted)[below].sum(), (wanted - high)[above].sum()
        bound, value = (below, low) if lacking >= spare else (above, high)
        quota[bound] = value[bound]
        free &= ~bound
    return quota
