"""Shuffled passes over shards: each place goes to a shard in proportion to the prompts left in it.

The shard fills it with the next of its own shuffled order: a uniformly random order of the whole pool.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didact.arrays import Positions
from didact.passes import Passes
from didact.seeding import generator
from didact.sharded.prompts import Prompts
from didact.sharded.shards import Call, Store
from didact.sharded.spread import Spread


class ShardedPasses(Passes):
    """Shuffled passes through all shards: which shard comes next is drawn here, the rest is its own."""

    def __init__(self, spread: Spread, seed: int) -> None:
        super().__init__(seed)
        self._spread = spread
        options = [{"seed": seed, "index": index} for index in range(len(spread.shards))]
        self._key = spread.new_store(self, ShardPasses, options)
        self._taken = np.zeros(len(spread.shards), dtype=np.int64)  # prompts of this pass so far, by shard
        self._left: list[Positions] = []  # still to come, by shard: most, then those postponed, then those who joined

    def state_dict(self) -> dict[str, Any]:
        known = np.count_nonzero(self._spread.sizes(sum(self._sizes[-1:])))  # shards that are new follow at the end
        return {**super().state_dict(), "taken": self._taken[:known].copy()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._taken = np.zeros(len(self._spread.shards), dtype=np.int64)
        self._taken[: len(state["taken"])] = state["taken"]
        most = self._spread.sizes(sum(state["sizes"][-1:]))
        if not ((self._taken >= 0) & (self._taken <= most)).all() or self._taken.sum() != state["cursor"]:
            raise ValueError(f"shards that gave {self._taken.tolist()} prompts cannot have given {state['cursor']}")
        super().load_state_dict(state)

    def __deepcopy__(self, memo: dict[int, Any]) -> "ShardedPasses":
        """The shards copy their orders too."""
        twin = copy.copy(self)
        twin._sizes, twin._taken = list(self._sizes), self._taken.copy()
        twin._left = [left.copy() for left in self._left]
        twin._key = self._spread.copy_store(twin, self._key)
        return twin

    def _advance(self, num: int) -> Positions:
        batches = [np.zeros(0, dtype=np.int64)]
        for left in self._left:
            batches.append(self._advance_among(left, min(num - sum(map(len, batches)), int(left.sum()))))
        return np.concatenate(batches)

    def _advance_among(self, left: Positions, num: int) -> Positions:
        if num == 0:
            return np.zeros(0, dtype=np.int64)
        rng = generator(self._seed, "pass", self._pass, "shards", self._cursor)
        counts = rng.multivariate_hypergeometric(left, num)
        shard = rng.permutation(np.repeat(np.arange(len(left)), counts))
        calls = {
            index: Call(self._key, "take", (int(counts[index]),), writes=True)
            for index in np.flatnonzero(counts).tolist()
        }
        batch = np.empty(num, dtype=np.int64)
        for index, local in self._spread.shards.ask(calls).items():
            batch[shard == index] = local + self._spread.starts[index]
        left -= counts
        self._taken += counts
        self._cursor += num
        return batch

    def _join(self) -> None:
        before, after = (self._spread.sizes(size) for size in self._sizes[-2:])
        self._left.append(after - before)
        for shard, each in enumerate(after.tolist()):
            self._spread.shards.tell({shard: Call(self._key, "join", (each,))})

    def _shuffle(self) -> None:
        """Let every shard shuffle its part; the order stays there."""
        if self._cursor == 0:
            self._taken = np.zeros(len(self._spread.shards), dtype=np.int64)
        sizes = [self._spread.sizes(size) for size in self._sizes]
        late = {shard: local for shard, _, local in self._spread.parts(self._postponed)}
        postponed = np.array([len(late.get(shard, ())) for shard in range(len(self._spread.shards))], dtype=np.int64)
        self._left = [sizes[0] - postponed, postponed, *np.diff(np.array(sizes), axis=0)]
        gone = self._taken.copy()
        for left in self._left:
            part = np.minimum(gone, left)
            left -= part
            gone -= part
        for shard in range(len(self._spread.shards)):
            known = [int(each[shard]) for each in sizes]
            begin = (self._pass, late.get(shard, self._postponed[:0]), known, int(self._taken[shard]))
            self._spread.shards.tell({shard: Call(self._key, "begin", begin)})


class ShardPasses(Store):
    """The shard's order in the current pass, and how far it has been walked through."""

    def __init__(self, prompts: Prompts, size: int, *, seed: int, index: int) -> None:
        self._options = {"seed": seed, "index": index}
        self._order: NDArray[np.int32] = np.zeros(0, dtype=np.int32)
        self._pass, self._sizes, self._cursor = -1, [0], 0
        self._late: Positions = np.zeros(0, dtype=np.int64)

    def begin(self, number: int, late: Positions, sizes: Sequence[int], cursor: int) -> None:
        """Shuffle anew: those in `late` come last, then, for each time the shard grew, those that joined."""
        self._order = np.zeros(0, dtype=np.int32)
        self._pass, self._sizes, self._cursor, self._late = number, list(sizes), cursor, late
        order = self._generator().permutation(np.arange(sizes[0], dtype=np.int32))
        if len(late):
            last = np.isin(order, late)
            order = np.concatenate([order[~last], order[last]])
        self._order = np.concatenate([order, *(self._tail(index) for index in range(1, len(sizes)))])

    def join(self, size: int) -> None:
        """Prompts joined: they are shuffled into a tail of this pass."""
        self._sizes.append(size)
        self._order = np.concatenate([self._order, self._tail(len(self._sizes) - 1)])

    def take(self, num: int) -> Positions:
        self._cursor += num
        return self._order[self._cursor - num : self._cursor].astype(np.int64)

    def snapshot(self) -> dict[str, Any]:
        began = (self._pass, self._late, list(self._sizes), self._cursor)
        return {"size": 0, "options": self._options, "begin": began}

    def restore(self, state: Mapping[str, Any]) -> None:
        if state["begin"][0] >= 0:
            self.begin(*state["begin"])

    def _tail(self, index: int) -> NDArray[np.int32]:
        joined = np.arange(self._sizes[index - 1], self._sizes[index], dtype=np.int32)
        return self._generator("joined", index).permutation(joined)

    def _generator(self, *parts: object) -> np.random.Generator:
        seed, index = self._options["seed"], self._options["index"]
        return generator(seed, "pass", self._pass, "shard", index, *parts)
