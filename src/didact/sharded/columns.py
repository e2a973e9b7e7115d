"""Columns whose rows live in the shards of a pool."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.columns import Columns
from didact.sharded.shards import Call

if TYPE_CHECKING:
    from didact.sharded.pool import ShardedPool

Positions = NDArray[np.int64]


class ShardedColumns(Columns):
    """`Columns` over a sharded pool; each method asks, or tells, the shards concerned."""

    def __init__(self, pool: "ShardedPool", start: Mapping[str, Any]) -> None:
        self._pool = pool
        options = {"start": {name: np.asarray(value) for name, value in start.items()}}
        self._key = pool.new_store(self, "ShardColumns", [options] * len(pool.shards))

    def get(self, name: str, positions: Positions | slice) -> NDArray[Any]:
        return self._pool.gather(positions, lambda local: Call(self._key, "get", (name, local)))

    def put(self, name: str, positions: Positions, values: ArrayLike) -> None:
        rows = np.asarray(values)
        each = rows.ndim > 0 and len(rows) == len(positions)
        for shard, mine, local in self._pool.parts(positions):
            self._pool.shards.tell({shard: Call(self._key, "put", (name, local, rows[mine] if each else rows))})

    def count(self, name: str, least: float) -> int:
        sizes = self._pool.sizes(len(self._pool)).tolist()
        calls = {shard: Call(self._key, "count", (name, least, size)) for shard, size in enumerate(sizes)}
        return sum(self._pool.shards.ask(calls).values())

    def clear(self, name: str) -> None:
        self._pool.shards.tell(dict.fromkeys(range(len(self._pool.shards)), Call(self._key, "clear", (name,))))

    def state_dict(self) -> dict[str, Any]:
        return {"shards": self._pool.shards.ask_each("state_dict", target=self._key)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state.

        Raises:
            ValueError: a part that cannot be, or another number of parts than shards.
        """
        if set(state) != {"shards"} or len(state["shards"]) != len(self._pool.shards):
            raise ValueError(f"columns in {len(self._pool.shards)} shards have so many parts, got {sorted(state)}")
        sizes = self._pool.sizes(len(self._pool)).tolist()
        parts = enumerate(zip(state["shards"], sizes, strict=True))
        self._pool.shards.ask(
            {shard: Call(self._key, "load", (part, size), writes=True) for shard, (part, size) in parts}
        )
