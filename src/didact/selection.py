"""Which prompts come next: draws and scores over the pool, and shuffled passes through it.

The functions are stateless and cost one pass over the pool; `WeightTree` is the way to draw when only a few weights
change between steps.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.arrays import Floats, Positions
from didact.seeding import generator
from didact.state import in_order


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


class ShuffledPasses:
    """Walks through the pool in shuffled passes: every prompt once, then reshuffled, and so on.

    Prompts that join the pool during a pass are shuffled into a tail of that pass. A batch that spans two passes still
    holds distinct prompts: those it already has are moved to the end of the new pass.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._pass = -1
        self._cursor = 0
        self._sizes: list[int] = []  # pool sizes this pass has known: the first, then one for each growth
        self._postponed: Positions = np.zeros(0, dtype=np.int64)
        self._order: Positions | NDArray[np.int32] = np.zeros(0, dtype=np.int64)

    def take(self, num: int, size: int) -> Positions:
        """The next `num` distinct positions of a pool of `size` prompts (all of them if `num` is larger)."""
        num = min(num, size)
        self._grow(size)
        batch = self._advance(num)
        if len(batch) < num:
            self._pass, self._cursor, self._sizes, self._postponed = self._pass + 1, 0, [size], batch
            self._order = self._shuffle()
            batch = np.concatenate([batch, self._advance(num - len(batch))])
        return batch.astype(np.int64)

    def state_dict(self) -> dict[str, Any]:
        return {
            "pass": self._pass,
            "cursor": self._cursor,
            "sizes": list(self._sizes),
            "postponed": np.asarray(self._postponed, dtype=np.int64),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state.

        Raises:
            ValueError: a pass that cannot be.
        """
        self._pass, self._cursor, self._sizes = state["pass"], state["cursor"], list(state["sizes"])
        self._postponed = state["postponed"].copy()
        if {type(number) for number in (self._pass, self._cursor, *self._sizes)} != {int}:
            raise ValueError(f"passes, places and sizes are whole numbers, got {state}")
        if not (in_order(np.array([0, *self._sizes]), 1 << 62) and 0 <= self._cursor <= sum(self._sizes[-1:])):
            raise ValueError(f"a pass through a pool of sizes {self._sizes} cannot be at {self._cursor}")
        if (self._pass < 0) != (not self._sizes) or not in_order(np.sort(self._postponed), sum(self._sizes[:1])):
            raise ValueError(f"pass {self._pass} cannot postpone {self._postponed.tolist()}, its sizes {self._sizes}")
        self._order = self._shuffle() if self._sizes else np.zeros(0, dtype=np.int64)

    def _advance(self, num: int) -> Positions:
        batch = self._order[self._cursor : self._cursor + num]
        self._cursor += len(batch)
        return batch.astype(np.int64)

    def _grow(self, size: int) -> None:
        if self._sizes and size > self._sizes[-1]:
            self._sizes.append(size)
            self._order = np.concatenate([self._order, self._tail(len(self._sizes) - 1)])

    def _shuffle(self) -> Positions | NDArray[np.int32]:
        order = generator(self._seed, "pass", self._pass).permutation(np.arange(self._sizes[0], dtype=np.int32))
        if len(self._postponed):
            late = np.isin(order, self._postponed)
            order = np.concatenate([order[~late], order[late]])
        return np.concatenate([order, *(self._tail(index) for index in range(1, len(self._sizes)))])

    def _tail(self, index: int) -> NDArray[np.int32]:
        joined = np.arange(self._sizes[index - 1], self._sizes[index], dtype=np.int32)
        return generator(self._seed, "pass", self._pass, "joined", index).permutation(joined)
