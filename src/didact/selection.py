"""Which prompts come next: draws and scores over the pool.

The functions are stateless and cost one pass over the pool; `WeightTree` is the way to draw when only a few weights
change between steps.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.arrays import Floats, Positions
from didact.passes import ShuffledPasses as ShuffledPasses


def draw(weights: ArrayLike, num: int, rng: np.random.Generator) -> Positions:
    """Weighted draw of `num` distinct positions without replacement, by the Gumbel top-k trick.

    Adding Gumbel noise to the log weights and keeping the largest is the same as drawing one after the other with
    probability in proportion to the weights left (Efraimidis and Spirakis 2006; Kool et al., arXiv:1903.06059).
    Positions with weight 0 are never drawn; fewer than `num` come back if fewer have weight.

    Raises:
        ValueError: a weight that is negative, nan or infinite, or all weights 0.
    """
    weights = np.asarray(weights, dtype=np.float64)
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError("weights must be finite and not negative")
    num = min(num, int(np.count_nonzero(weights)))
    if num == 0:
        raise ValueError("no prompt has a positive weight: there is nothing to draw from")
    with np.errstate(divide="ignore"):
        keys = np.log(weights) + rng.gumbel(size=len(weights))
    return top_k(keys, num)


def top_k(scores: ArrayLike, num: int) -> Positions:
    """Positions of the `num` largest scores, best first, ties by position."""
    scores = np.asarray(scores, dtype=np.float64)
    num = min(num, len(scores))
    if num == 0:
        return np.zeros(0, dtype=np.int64)
    cut = np.partition(scores, len(scores) - num)[len(scores) - num]
    candidates = np.flatnonzero(scores >= cut)
    return candidates[np.argsort(-scores[candidates], kind="stable")[:num]]


def best(scores: NDArray[np.floating[Any]], num: int, rng: np.random.Generator) -> Positions:
    """Positions of the `num` largest scores, best first; among equal ones at the edge, a random choice."""
    cut = np.partition(scores, len(scores) - num)[len(scores) - num]
    above, tied = np.flatnonzero(scores > cut), np.flatnonzero(scores == cut)
    above = above[np.argsort(-scores[above], kind="stable")]
    return np.concatenate([above, rng.choice(tied, num - len(above), replace=False)])


def thompson(sampled_pass_rates: ArrayLike, num: int, *, target: float = 0.5) -> Positions:
    """Positions whose pass rate, drawn from its posterior, is nearest to `target` (MoPPS, arXiv:2507.04632)."""
    return top_k(-np.abs(np.asarray(sampled_pass_rates, dtype=np.float64) - target), num)


def band(mean: ArrayLike, low: float, high: float) -> NDArray[np.bool_]:
    """Which prompts have a pass rate strictly between `low` and `high`."""
    if not low < high:
        raise ValueError(f"a band needs low < high, got {low} and {high}")
    mean = np.asarray(mean, dtype=np.float64)
    return (mean > low) & (mean < high)


def within_band(draws: Floats, num: int, low: float, high: float, rng: np.random.Generator) -> Positions:
    """A random `num` of the draws in [low, high]; where they are fewer, the `num` nearest to the band."""
    distance = np.maximum(np.maximum(low - draws, draws - high), 0.0)
    inside = np.flatnonzero(distance == 0)
    return rng.choice(inside, num, replace=False) if len(inside) >= num else np.argsort(distance, kind="stable")[:num]
