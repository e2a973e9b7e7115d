"""Weighted draws over shards: a shard in proportion to the weight left in it, and a prompt within it the same way.

That is the same as picking among all prompts: successive sampling, one level on top of `WeightTree`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from didact.arrays import Floats, Positions
from didact.sharded.prompts import Prompts
from didact.sharded.shards import Call, Store
from didact.sharded.spread import Spread
from didact.sharded.view import view
from didact.weight_tree import Weights, WeightTree


class ShardedTree(Weights):
    """Weights whose trees live in shards."""

    def __init__(self, spread: Spread) -> None:
        self._spread, self._size = spread, len(spread)
        self._key = spread.new_store(self, ShardTree, [{}] * len(spread.shards))

    def __len__(self) -> int:
        return self._size

    @property
    def weights(self) -> Floats:
        """A view: `weights[positions]` asks the shards for those."""

        def read(positions: Positions) -> Floats:
            return self._spread.gather(positions, lambda local: Call(self._key, "weights", (local,)))

        return view(self, read)

    def set(self, positions: Positions, weights: Floats | float) -> None:
        values = np.broadcast_to(np.asarray(weights, dtype=np.float64), np.shape(positions))
        for shard, mine, local in self._spread.parts(np.asarray(positions)):
            self._spread.shards.tell({shard: Call(self._key, "set", (local, values[mine]))})

    def draw(self, num: int, rng: np.random.Generator) -> Positions:
        drawn: list[Positions] = []
        totals, asked, missing = self._totals(), set[int](), num
        while missing > 0 and totals.sum() > 0:
            shard, rest = pick(totals, rng.random(missing))
            calls = {
                index: Call(self._key, "take", (rest[shard == index],), writes=True)
                for index in np.unique(shard).tolist()
            }
            fresh = np.full(missing, -1, dtype=np.int64)
            for index, (local, first, total) in self._spread.shards.ask(calls).items():
                fresh[np.flatnonzero(shard == index)[first]] = local + self._spread.starts[index]
                totals[index] = total
            asked |= set(calls)
            fresh = fresh[fresh >= 0]
            drawn.append(fresh)
            missing -= len(fresh)
        self._spread.shards.tell(dict.fromkeys(asked, Call(self._key, "put_back")))
        return np.concatenate([np.zeros(0, np.int64), *drawn])

    def _totals(self) -> Floats:
        return np.array(self._spread.shards.ask_each("total", target=self._key))


class ShardTree(Store):
    """The shard's part of a weight tree; a draw takes prompts out round by round, and puts them back at its end."""

    def __init__(self, prompts: Prompts, size: int) -> None:
        self._tree = WeightTree(size)
        self._taken: list[Positions] = []
        self._weights: list[Floats] = []

    def set(self, positions: Positions, weights: Floats) -> None:
        self._tree.set(positions, weights)

    def weights(self, positions: Positions) -> Floats:
        return self._tree.weights[positions]

    def total(self) -> float:
        return self._tree.total

    def take(self, uniform: Floats) -> tuple[Positions, Positions, float]:
        """Draw with these uniform numbers and take out what came up.

        Returns:
            Distinct positions; which number drew each first; the total of the weights left.
        """
        found = self._tree.descend(uniform)
        _, first = np.unique(found, return_index=True)
        first = np.sort(first)
        fresh = found[first]
        self._taken.append(fresh)
        self._weights.append(self._tree.weights[fresh])
        self._tree.set(fresh, 0.0)
        return fresh, first, self._tree.total

    def put_back(self) -> None:
        if self._taken:
            self._tree.set(np.concatenate(self._taken), np.concatenate(self._weights))
        self._taken, self._weights = [], []

    def snapshot(self) -> dict[str, Any]:
        positions = np.flatnonzero(self._tree.weights)
        state = {
            "size": len(self._tree),
            "options": {},
            "positions": positions,
            "weights": self._tree.weights[positions],
        }
        return {**state, "taken": list(self._taken), "taken_weights": list(self._weights)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._tree.set(state["positions"], state["weights"])
        self._taken, self._weights = list(state["taken"]), list(state["taken_weights"])


def pick(totals: Floats, uniform: Floats) -> tuple[Positions, Floats]:
    """Draw a shard for each number in [0, 1), in proportion to the totals, and what is left of the number.

    Given the shard, the rest is again uniform on [0, 1), so that one number draws the shard and the prompt in it.
    """
    cumulative = totals.cumsum()
    target = uniform * cumulative[-1]
    shard = np.searchsorted(cumulative, target, side="right")
    # Rounding can push a target onto the total: step back to the last shard that has weight.
    shard = np.minimum(shard, np.flatnonzero(totals > 0)[-1])
    below = np.where(shard > 0, cumulative[shard - 1], 0.0)
    return shard, np.clip((target - below) / totals[shard], 0.0, np.nextafter(1.0, 0.0))
