"""A ranking: positions in the order of a number that each has, so that the nearest to a target need no sort."""

from bisect import bisect_left, bisect_right
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didact.arrays import Positions


class Ranking:
    """Positions by their values.

    Args:
        values: shape (n,), not nan.
    """

    def __init__(self, values: NDArray[Any]) -> None:
        self._order = np.argsort(values, kind="stable").astype(np.int32)
        self._values = values[self._order]

    def __len__(self) -> int:
        return len(self._order)

    def nearest(self, target: float, num: int, rng: np.random.Generator | None) -> Positions:
        """The `num` positions nearest to the target, 0 < num <= n, by bisection: it costs as much as what it gives.

        Args:
            rng: draws among those at the largest distance that still fits; None takes the lowest positions of them.
        """
        order, size = self._order, len(self._order)

        def offset(index: int) -> float:
            return float(self._values[index]) - target

        start = bisect_left(range(size - num), True, key=lambda index: offset(index) + offset(index + num) >= 0)
        reach = max(abs(offset(start)), abs(offset(start + num - 1)))
        # All strictly within reach are in; of those exactly at it, on either side, as many as fit.
        begin, first = (side(range(size), -reach, key=offset) for side in (bisect_left, bisect_right))
        last, end = (side(range(size), reach, key=offset) for side in (bisect_left, bisect_right))
        first = min(first, last)  # reach 0: nothing is strictly within
        missing, left, right = num - (last - first), first - begin, end - last
        if rng is None:
            sides = order[begin : begin + min(left, missing)], order[last : last + min(right, missing)]
            ties = np.sort(np.concatenate(sides))[:missing]
        else:
            drawn = rng.choice(left + right, size=missing, replace=False)
            ties = order[np.where(drawn < left, begin + drawn, last + drawn - left)]
        return np.concatenate([order[first:last], ties]).astype(np.int64)
