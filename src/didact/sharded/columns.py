"""Columns whose rows live in the shards of a pool."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.arrays import Positions
from didact.columns import ArrayColumns, Columns
from didact.sharded.prompts import Prompts
from didact.sharded.shards import Call, Store
from didact.sharded.spread import Spread


class ShardedColumns(Columns):
    """`Columns` over a sharded pool; each method asks, or tells, the shards concerned."""

    def __init__(self, spread: Spread, start: Mapping[str, Any]) -> None:
        self._spread = spread
        options = {"start": {name: np.asarray(value) for name, value in start.items()}}
        self._key = spread.new_store(self, ShardColumns, [options] * len(spread.shards))

    def get(self, name: str, positions: Positions | slice) -> NDArray[Any]:
        return self._spread.gather(self._named(positions), lambda local: Call(self._key, "get", (name, local)))

    def put(self, name: str, positions: Positions | slice, values: ArrayLike) -> None:
        rows, named = np.asarray(values), self._named(positions)
        each = rows.ndim > 0 and len(rows) == len(named)
        for shard, mine, local in self._spread.parts(named):
            self._spread.shards.tell({shard: Call(self._key, "put", (name, local, rows[mine] if each else rows))})

    def count(self, name: str, least: float) -> int:
        sizes = self._spread.sizes(len(self._spread)).tolist()
        calls = {shard: Call(self._key, "count", (name, least, size)) for shard, size in enumerate(sizes)}
        return sum(self._spread.shards.ask(calls).values())

    def clear(self, name: str) -> None:
        self._spread.shards.tell(dict.fromkeys(range(len(self._spread.shards)), Call(self._key, "clear", (name,))))

    def state_dict(self) -> dict[str, Any]:
        return {"shards": self._spread.shards.ask_each("state_dict", target=self._key)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state.

        Raises:
            ValueError: a part that cannot be, or another number of parts than shards.
        """
        if set(state) != {"shards"} or len(state["shards"]) != len(self._spread.shards):
            raise ValueError(f"columns in {len(self._spread.shards)} shards have so many parts, got {sorted(state)}")
        sizes = self._spread.sizes(len(self._spread)).tolist()
        parts = enumerate(zip(state["shards"], sizes, strict=True))
        self._spread.shards.ask(
            {shard: Call(self._key, "load", (part, size), writes=True) for shard, (part, size) in parts}
        )

    def _named(self, positions: Positions | slice) -> Positions:
        return np.arange(len(self._spread))[positions] if isinstance(positions, slice) else positions


class ShardColumns(ArrayColumns, Store):
    """The shard's rows of some columns. It learns of prompts that joined when they are named."""

    def __init__(self, prompts: Prompts, size: int, *, start: Mapping[str, Any]) -> None:
        self._options, self._rows = {"start": dict(start)}, size
        super().__init__(lambda: self._rows, start)

    def get(self, name: str, positions: Positions | slice) -> NDArray[Any]:
        self._reach(positions)
        return super().get(name, positions)

    def put(self, name: str, positions: Positions | slice, values: ArrayLike) -> None:
        self._reach(positions)
        super().put(name, positions, values)

    def count(self, name: str, least: float, size: int | None = None) -> int:
        self._rows = max(self._rows, size or 0)
        return super().count(name, least)

    def load(self, state: Mapping[str, Any], size: int) -> None:
        self._rows = max(self._rows, size)
        self.load_state_dict(state)

    def snapshot(self) -> dict[str, Any]:
        return {"size": self._rows, "options": self._options, "state": self.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.load_state_dict(state["state"])

    def _reach(self, positions: Positions | slice) -> None:
        if not isinstance(positions, slice):
            self._rows = max(self._rows, int(positions.max(initial=-1)) + 1)
