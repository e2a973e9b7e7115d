"""A prompt pool in shards, for pools of 10^7 to 10^8 prompts: what grows with the pool is spread, the rest stays.

    pool = ShardedPool.split(ids, 16)                               # in this process: fewer bytes a prompt
    pool = ShardedPool([partial(read_part, path) for path in paths])  # each shard makes its own prompts
    pool = ShardedPool(RayShards([...]))                            # each in an actor, see didact.adapters.ray.shards
    curriculum = make("cures", pool, prompts_per_step=1024, rollouts_per_step=8192)

Three things grow with a pool: its ids and columns, the belief, and what a draw walks through (the weight tree and the
order of the shuffled pass). A shard holds its part of all three. What asks for them (`tree`, `passes`, `belief`,
`columns`) keeps the laws of an unsharded pool, and a belief its values, bit for bit.

The numbers drawn differ from those of an unsharded pool and of another number of shards; those of a pool over Ray are
those of the same shards in one process. Prompts that join go to the last shard.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didact.arrays import Positions
from didact.pool import Pool
from didact.pool_columns import as_length
from didact.prompt_ids import refuse_single
from didact.sharded.belief import ShardedBelief
from didact.sharded.columns import ShardedColumns
from didact.sharded.passes import ShardedPasses
from didact.sharded.rows import Rows
from didact.sharded.shards import PROMPTS, Call, LocalShards, Shards, Source
from didact.sharded.spread import Spread
from didact.sharded.tree import ShardedTree
from didact.sharded.view import view

_HASHES = 1 << 20  # about so many hashes are compared at a time


class ShardedPool(Pool):
    """A pool whose prompts live in shards.

    Args:
        shards: `Shards`, or for each shard a function without arguments that gives its prompts:
            {"ids": ..., "prompt_tokens": ...}, the columns those of `PromptPool`, the same for all shards. Ids may be
            a numpy array of bytes (dtype "S").
        states: a folder that every shard can write to and read from. With it a curriculum's state holds the names of
            files, one for each shard, instead of all that is known about the prompts; keep them with the checkpoint.
        check_unique: look for ids that two shards hold: 8 bytes of hash a prompt pass through this process, about a
            million at a time. Within a shard ids are always checked.

    Raises:
        ValueError: no shards, shards with different columns, or an id in two shards.
    """

    sharded = True

    def __init__(
        self,
        shards: Shards | Iterable[Source],
        *,
        states: str | os.PathLike[str] | None = None,
        check_unique: bool = True,
    ) -> None:
        super().__init__()
        self.shards = shards if isinstance(shards, Shards) else LocalShards(shards)
        self.states = None if states is None else str(Path(states).resolve())
        if len(self.shards) == 0:
            raise ValueError("a sharded pool needs at least one shard")
        about = self.shards.ask_each("about")
        if len({frozenset(columns) for _, columns in about}) > 1:
            listed = "; ".join(f"shard {index}: {', '.join(columns)}" for index, (_, columns) in enumerate(about))
            raise ValueError(f"all shards need the same columns, got {listed}")
        #: What is wrong with each column, or None.
        self._faults: dict[str, str | None] = dict.fromkeys(about[0][1])
        for shard, (_, columns) in enumerate(about):
            self._faults |= {name: f"shard {shard}: {fault}" for name, fault in columns.items() if fault}
        self._spread = Spread(self.shards, [size for size, _ in about])
        self._rows = Rows(self._spread)
        self._ids = view(self, self._rows.ids, lambda position: self._rows.one(position)[0], self._all_ids)
        if check_unique and len(self.shards) > 1:
            self._refuse_repeated()

    @classmethod
    def split(
        cls, ids: Sequence[str], num_shards: int, *, states: str | os.PathLike[str] | None = None, **columns: Any
    ) -> "ShardedPool":
        """A pool in this process out of lists that are at hand; no more shards than prompts."""
        refuse_single(ids)
        if num_shards < 1:
            raise ValueError(f"num_shards must be at least 1, got {num_shards}")
        for name, column in columns.items():
            if column is not None and len(column) != len(ids):
                raise ValueError(f"column {name!r} has {len(column)} rows for {len(ids)} prompts")
        given = {"ids": ids, **{name: column for name, column in columns.items() if column is not None}}
        edges = np.linspace(0, len(ids), max(min(num_shards, len(ids)), 1) + 1).astype(int).tolist()
        sources = [partial(_slice, given, start, stop) for start, stop in pairwise(edges)]
        return cls(sources, states=states)

    def __len__(self) -> int:
        return len(self._spread)

    def __repr__(self) -> str:
        columns = ", ".join(self._faults) or "none"
        return f"ShardedPool({len(self)} prompts in {len(self.shards)} shards, columns: {columns})"

    @property
    def ids(self) -> NDArray[np.object_]:
        """All ids by position. A view: `ids[positions]` asks the shards for those, a loop for one shard at a time."""
        return self._ids

    def given(self, name: str) -> NDArray[Any] | None:
        def read(positions: Positions) -> NDArray[Any]:
            return self._spread.gather(positions, lambda local: Call(PROMPTS, "column", (name, local)))

        return view(self, read) if name in self._faults else None

    def prompt_length(self, position: int) -> int | None:
        return as_length(self._rows.one(position)[1]) if "prompt_tokens" in self._faults else None

    def belief(self, **options: Any) -> ShardedBelief:
        return ShardedBelief(self._spread, self._rows, self.states, self.known_rates, **options)

    def columns(self, **start: Any) -> ShardedColumns:
        return ShardedColumns(self._spread, start)

    def weight_tree(self) -> ShardedTree:
        return ShardedTree(self._spread)

    def passes(self, seed: int) -> ShardedPasses:
        return ShardedPasses(self._spread, seed)

    def _names(self) -> Collection[str]:
        return self._faults

    def _column(self, name: str) -> NDArray[Any] | None:
        if (fault := self._faults.get(name)) is not None:
            raise ValueError(fault)
        return self.given(name)

    def _find(self, ids: Sequence[str]) -> Positions:
        found = np.full(len(ids), -1, dtype=np.int64)
        for start, local in zip(self._spread.starts, self.shards.ask_each("find", list(ids)), strict=True):
            found = np.where(local >= 0, local + start, found)
        return found

    def _append(self, ids: Sequence[str], columns: Mapping[str, Any]) -> None:
        known = self._find(ids)
        if (known >= 0).any():
            raise ValueError(f"duplicate prompt id {ids[int(np.argmax(known >= 0))]!r}: ids must be unique")
        last = len(self.shards) - 1
        self.shards.ask({last: Call(PROMPTS, "extend", (list(ids), columns), writes=True)})
        self._spread.join(len(ids))

    def _fingerprint(self, size: int) -> str:
        """Of how the prompts are spread over shards, too."""
        sizes = self._spread.sizes(size)
        calls = {shard: Call(PROMPTS, "fingerprint", (num,)) for shard, num in enumerate(sizes.tolist()) if num > 0}
        text = "/".join(f"{sizes[shard]}:{each}" for shard, each in sorted(self.shards.ask(calls).items()))
        return blake2b(text.encode(), digest_size=16).hexdigest()

    def _all_ids(self) -> Iterator[str]:
        for shard in range(len(self.shards)):
            yield from self.shards.ask({shard: Call(PROMPTS, "ids")})[shard]

    def _refuse_repeated(self) -> None:
        num_parts = max(len(self) // _HASHES, 1)
        for part in range(num_parts):
            hashes = np.sort(np.concatenate(self.shards.ask_each("hashes", part, num_parts)))
            same = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
            if len(same) == 0:
                continue
            ids = sorted(prompt_id for listed in self.shards.ask_each("with_hashes", same) for prompt_id in listed)
            for one, other in pairwise(ids):
                if one == other:
                    raise ValueError(f"duplicate prompt id {one!r}: two shards hold it, and ids must be unique")


def _slice(columns: Mapping[str, Any], start: int, stop: int) -> dict[str, Any]:
    return {name: column[start:stop] for name, column in columns.items()}
