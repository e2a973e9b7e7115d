"""Shuffled passes: every prompt of the pool once, then reshuffled, and so on.

Prompts that join the pool during a pass are shuffled into a tail of that pass. A batch that spans two passes still
holds distinct prompts: those it already has are moved to the end of the new pass.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didact.arrays import Positions
from didact.seeding import generator
from didact.state import in_order


class Passes(ABC):
    """How far a walk through the pool has come, wherever the order of the pass is kept."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._pass = -1
        self._cursor = 0
        self._sizes: list[int] = []  # pool sizes this pass has known: the first, then one for each growth
        self._postponed: Positions = np.zeros(0, dtype=np.int64)

    def take(self, num: int, size: int) -> Positions:
        """The next `num` distinct positions of a pool of `size` prompts (all of them if `num` is larger)."""
        num = min(num, size)
        if self._sizes and size > self._sizes[-1]:
            self._sizes.append(size)
            self._join()
        batch = self._advance(num) if self._sizes else np.zeros(0, dtype=np.int64)
        if len(batch) < num:
            self._pass, self._cursor, self._sizes, self._postponed = self._pass + 1, 0, [size], batch
            self._shuffle()
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
        if self._sizes:
            self._shuffle()

    @abstractmethod
    def _shuffle(self) -> None:
        """Make the order of this pass: the first size, what was postponed last, then a tail for each growth."""

    @abstractmethod
    def _join(self) -> None:
        """Add the tail of those that have just joined."""

    @abstractmethod
    def _advance(self, num: int) -> Positions:
        """The next `num` positions of this pass, or what is left of it, and move on."""


class ShuffledPasses(Passes):
    """Passes whose order is in this process."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._order: NDArray[np.int32] = np.zeros(0, dtype=np.int32)

    def _shuffle(self) -> None:
        order = generator(self._seed, "pass", self._pass).permutation(np.arange(self._sizes[0], dtype=np.int32))
        if len(self._postponed):
            late = np.isin(order, self._postponed)
            order = np.concatenate([order[~late], order[late]])
        self._order = np.concatenate([order, *(self._tail(index) for index in range(1, len(self._sizes)))])

    def _join(self) -> None:
        self._order = np.concatenate([self._order, self._tail(len(self._sizes) - 1)])

    def _advance(self, num: int) -> Positions:
        batch = self._order[self._cursor : self._cursor + num]
        self._cursor += len(batch)
        return batch.astype(np.int64)

    def _tail(self, index: int) -> NDArray[np.int32]:
        joined = np.arange(self._sizes[index - 1], self._sizes[index], dtype=np.int32)
        return generator(self._seed, "pass", self._pass, "joined", index).permutation(joined)
