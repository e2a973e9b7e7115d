"""Weighted draws without replacement whose cost grows with the draw and not with the pool.

Leaves hold the weights; each inner node holds the sum of its 32 children. A draw walks down from the top: O(log N) for
a prompt, against O(N) for a pass over the pool. Changing k weights costs O(k log N). A node is always summed anew from
its children, never adjusted, so no rounding error builds up and the same weights give the same tree, bit for bit, in
whatever order they were set.
"""

from abc import ABC, abstractmethod

import numpy as np

from didact.arrays import Floats, Positions

_FANOUT = 32


class Weights(ABC):
    """A non-negative weight for each prompt of a pool, which `Pool.weight_tree` makes, and draws by it."""

    @abstractmethod
    def __len__(self) -> int:
        """Prompts of the pool when it was made."""

    @property
    @abstractmethod
    def weights(self) -> Floats:
        """The weight of every position; read-only."""

    @abstractmethod
    def set(self, positions: Positions, weights: Floats | float) -> None:
        """Set the weights of some (distinct) positions."""

    @abstractmethod
    def draw(self, num: int, rng: np.random.Generator) -> Positions:
        """Draw `num` distinct positions one after the other, each with probability in proportion to its weight among
        those not drawn yet (successive sampling, the law of the Gumbel top-k trick). Fewer, if fewer have weight.
        """


class WeightTree(Weights):
    """Weights over `size` positions in this process, all zero at the start."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._levels: list[Floats] = []
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
    def weights(self) -> Floats:
        view = self._levels[0].reshape(-1)[: self._size]
        view.flags.writeable = False
        return view

    def set(self, positions: Positions, weights: Floats | float) -> None:
        self._levels[0].reshape(-1)[positions] = weights
        blocks = positions
        for lower, upper in zip(self._levels, self._levels[1:], strict=False):
            blocks = np.unique(blocks // _FANOUT)
            upper.reshape(-1)[blocks] = lower[blocks].sum(axis=1)

    def draw(self, num: int, rng: np.random.Generator) -> Positions:
        """See `Weights`. Independent draws with the repeats struck out follow that law exactly; what has come up is
        taken out of the tree between rounds so that a few heavy prompts cannot make the rounds many.
        """
        drawn: list[Positions] = []
        saved: list[Floats] = []
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

    def descend(self, uniform: Floats) -> Positions:
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
