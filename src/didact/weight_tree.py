"""Weighted draws without replacement whose cost grows with the draw and not with the pool.

Leaves hold the weights; each inner node holds the sum of its 32 children. A draw walks down from the top: O(log N) for
a prompt, against O(N) for a pass over the pool. Changing k weights costs O(k log N). A node is always summed anew from
its children, never adjusted, so no rounding error builds up and the same weights give the same tree, bit for bit, in
whatever order they were set.
"""

import numpy as np
from numpy.typing import NDArray

_FANOUT = 32


class WeightTree:
    """Non-negative weights over `size` positions, all zero at the start."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._levels: list[NDArray[np.float64]] = []
        width = size
        while True:
            blocks = -(-width // _FANOUT)
            self._levels.append(np.zeros((blocks, _FANOUT)))
            if blocks == 1:
                break
            width = blocks

    def __len__(self) -> int:
        return self._size

    @property
    def total(self) -> float:
        """The sum of all weights."""
        return float(self._levels[-1].sum())

    @property
    def weights(self) -> NDArray[np.float64]:
        """The weight of every position; read-only."""
        view = self._levels[0].reshape(-1)[: self._size]
        view.flags.writeable = False
        return view

    def set(self, positions: NDArray[np.int64], weights: NDArray[np.float64] | float) -> None:
        """Set the weights of some (distinct) positions."""
        self._levels[0].reshape(-1)[positions] = weights
        blocks = positions
        for lower, upper in zip(self._levels, self._levels[1:], strict=False):
            blocks = np.unique(blocks // _FANOUT)
            upper.reshape(-1)[blocks] = lower[blocks].sum(axis=1)

    def draw(self, num: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw `num` distinct positions one after the other, each with probability in proportion to its weight among
        those not drawn yet (successive sampling, the law of the Gumbel top-k trick). Fewer, if fewer have weight.

        Independent draws with the repeats struck out follow that law exactly; what has come up is taken out of the tree
        between rounds so that a few heavy prompts cannot make the rounds many.
        """
        drawn: list[NDArray[np.int64]] = []
        saved: list[NDArray[np.float64]] = []
        missing = num
        while missing > 0 and self.total > 0:
            found = self.descend(rng.random(missing))
            _, first = np.unique(found, return_index=True)
            fresh = found[np.sort(first)]
            drawn.append(fresh)
            saved.append(self._levels[0].reshape(-1)[fresh])
            missing -= len(fresh)
            if missing > 0:
                self.set(fresh, 0.0)
        positions = np.concatenate([np.zeros(0, np.int64), *drawn])
        if len(drawn) > 1 or (drawn and missing > 0):
            self.set(positions, np.concatenate(saved))
        return positions

    def descend(self, uniform: NDArray[np.float64]) -> NDArray[np.int64]:
        """Independent draws, with repeats: a position for each number in [0, 1). Some weight must be positive."""
        node = np.zeros(len(uniform), dtype=np.int64)
        for level in reversed(self._levels):
            cumulative = level[node].cumsum(axis=1)
            target = uniform * cumulative[:, -1]
            child = (cumulative <= target[:, None]).sum(axis=1)
            # Rounding can push a target onto the total: step back to the last child that has weight.
            overflow = child >= _FANOUT
            if overflow.any():
                child[overflow] = _FANOUT - 1 - np.argmax(level[node[overflow]][:, ::-1] > 0, axis=1)
            row = np.arange(len(node))
            below = np.where(child > 0, cumulative[row, child - 1], 0.0)
            uniform = np.clip((target - below) / level[node, child], 0.0, np.nextafter(1.0, 0.0))
            node = node * _FANOUT + child
        return node
