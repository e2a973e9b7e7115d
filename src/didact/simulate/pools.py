"""Pass rates to start from: shapes of pools that occur, or rates of your own.

A pool has a share of prompts that never pass, a share that always pass, and the rest between, Beta distributed:

    easy-heavy   10% never, 55% always     a model that is nearly done with its data
    hard-heavy   75% never,  5% always     a weak model on hard data
    mixed        40% never, 20% always     the U shape that warm-started small models show
    sources      four sources of equal size: an easy, a hard, a mixed one, and one whose prompts lie mostly between

Shares are exact to one prompt; which prompt has which rate is random. A rate of exactly 0 or 1 stands for what finitely
many rollouts cannot tell apart from it; where such a prompt starts is the learner's option `floor`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.allocation import largest_remainder
from didact.arrays import Floats
from didact.naming import nearest_or_all
from didact.seeding import generator

FAMILIES = ("family-0", "family-1", "family-2", "family-3")


@dataclass(frozen=True)
class Shape:
    """Share of prompts that never pass, share that always pass, and the Beta distribution of the others."""

    never: float
    always: float
    between: tuple[float, float] = (1.0, 1.0)

    def rates(self, size: int, rng: np.random.Generator) -> Floats:
        shares = (self.never, self.always, max(1 - self.never - self.always, 0.0))
        never, always, rest = largest_remainder(shares, size)
        rates = np.concatenate([np.zeros(never), np.ones(always), rng.beta(*self.between, size=rest)])
        return rng.permutation(rates)


_EASY, _HARD, _MIXED = Shape(0.10, 0.55, (1.5, 1.0)), Shape(0.75, 0.05, (1.0, 1.5)), Shape(0.40, 0.20)

#: The shape of each source of a pool; a pool of one shape has four families of prompts alike.
POOLS: dict[str, dict[str, Shape]] = {
    "easy-heavy": dict.fromkeys(FAMILIES, _EASY),
    "hard-heavy": dict.fromkeys(FAMILIES, _HARD),
    "mixed": dict.fromkeys(FAMILIES, _MIXED),
    "sources": {"easy": _EASY, "hard": _HARD, "mixed": _MIXED, "between": Shape(0.10, 0.10)},
}


@dataclass(frozen=True)
class InitialRates:
    """A pass rate for each prompt, and its source as an index into `names`.

    Raises:
        ValueError: no rates, rates outside 0 to 1, or sources that do not match.
    """

    rate: Floats
    source: NDArray[np.int64]
    names: tuple[str, ...] = FAMILIES

    def __post_init__(self) -> None:
        if self.rate.ndim != 1 or len(self.rate) == 0:
            raise ValueError(f"initial pass rates must be a non-empty list of numbers, got shape {self.rate.shape}")
        bad = ~((self.rate >= 0) & (self.rate <= 1))  # nan is bad too
        if bad.any():
            raise ValueError(f"initial pass rates must lie between 0 and 1, got {self.rate[bad][0]}")
        if self.source.shape != self.rate.shape or not ((self.source >= 0) & (self.source < len(self.names))).all():
            raise ValueError(f"expected a source for each of {len(self.rate)} rates, out of {len(self.names)} names")

    def __len__(self) -> int:
        return len(self.rate)


def pool_rates(kind: str, size: int, *, seed: int = 0) -> InitialRates:
    """Initial rates of one of the `POOLS`.

    Raises:
        ValueError: an unknown kind (names the nearest), or a size below 1.
    """
    if kind not in POOLS:
        raise ValueError(f"unknown pool {kind!r}{nearest_or_all(kind, POOLS)}")
    _check_size(size)
    rng = generator(seed, "pool", kind)
    shapes = POOLS[kind]
    source = rng.permutation(np.arange(size) % len(shapes))
    rate = np.empty(size)
    for index, shape in enumerate(shapes.values()):
        rate[source == index] = shape.rates(int((source == index).sum()), rng)
    return InitialRates(rate, source, tuple(shapes))


def given_rates(
    rates: ArrayLike, size: int | None = None, *, source: Sequence[str] | None = None, seed: int = 0
) -> InitialRates:
    """Your own rates: in your order, or `size` prompts drawn from their distribution.

    The draw is stratified: it takes every quantile, so a small pool keeps the shape of a large one.

    Raises:
        ValueError: rates that are none, or sources of another number.
    """
    rate = np.array(rates, dtype=np.float64)
    labels = np.zeros(rate.shape, dtype=np.int64)
    names: tuple[str, ...] = ("all",)
    if source is not None:
        unique, found = np.unique(np.asarray(list(source), dtype=np.str_), return_inverse=True)
        names, labels = tuple(unique.tolist()), found.astype(np.int64)
    initial, rng = InitialRates(rate, labels, names), generator(seed, "given rates")
    if size is not None and size != len(initial):
        _check_size(size)
        places = (np.arange(size) + rng.random(size)) / size * len(initial)
        rows = rng.permutation(np.lexsort((rate, labels))[places.astype(np.int64)])
        initial = InitialRates(rate[rows], labels[rows], names)
    if source is not None:
        return initial
    return InitialRates(initial.rate, rng.permutation(np.arange(len(initial)) % len(FAMILIES)))


def _check_size(size: int) -> None:
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
        raise ValueError(f"size must be a whole number of at least 1, got {size!r}")
