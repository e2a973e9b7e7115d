"""Ids and columns of one shard. Positions count from 0 within it."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didact.arrays import Positions
from didact.pool_columns import COLUMNS, Column, as_column
from didact.sharded.compact_ids import CompactIds


class Prompts:
    """Ids and columns of a shard. They are not part of a snapshot, but for what joined later."""

    def __init__(self, columns: Mapping[str, Any]) -> None:
        if unknown := set(columns) - {"ids", *COLUMNS}:
            raise ValueError(f"a shard's source gave {sorted(unknown)}; it can give ids, {', '.join(COLUMNS)}")
        self._ids = CompactIds(columns["ids"])
        if len(self._ids) == 0:
            raise ValueError("an empty shard: each needs at least one prompt id")
        self._columns: dict[str, Column] = {
            name: as_column(name, column, len(self._ids))
            for name, column in columns.items()
            if name != "ids" and column is not None
        }
        self._joined: list[tuple[list[str], dict[str, Any]]] = []

    def __len__(self) -> int:
        return len(self._ids)

    def about(self) -> tuple[int, dict[str, str | None]]:
        """Prompts, and columns by name, each with what is wrong with it."""
        return len(self), {name: column.fault for name, column in self._columns.items()}

    def rows(self, positions: Positions) -> tuple[list[str], Any]:
        """Ids and prompt lengths, the two columns that a step asks for."""
        tokens = self._columns.get("prompt_tokens")
        return self._ids.take(positions), None if tokens is None else tokens.values[positions]

    def ids(self) -> list[str]:
        return self._ids.take()

    def column(self, name: str, positions: Positions) -> Any:
        return self._columns[name].values[positions]

    def known_rates(self, positions: Positions) -> NDArray[np.float32]:
        return self._columns["pass_rate"].values[positions]

    def find(self, ids: Sequence[str]) -> Positions:
        return self._ids.find(ids)

    def hashes(self, part: int, num_parts: int) -> NDArray[np.uint64]:
        return self._ids.hashes(part, num_parts)

    def with_hashes(self, hashes: NDArray[np.uint64]) -> list[str]:
        return self._ids.with_hashes(hashes)

    def fingerprint(self, size: int) -> str:
        printed = self._ids.fingerprint(size)
        if (rates := self._columns.get("pass_rate")) is not None:
            digest = blake2b(printed.encode(), digest_size=16)
            rates.hash_into(digest, size)
            printed = digest.hexdigest()
        return printed

    def extend(self, ids: list[str], columns: Mapping[str, Any]) -> None:
        added = {name: as_column(name, column, len(ids)) for name, column in columns.items()}
        merged = {name: self._columns[name].joined(column) for name, column in added.items()}
        self._ids.extend(ids)
        self._columns = merged
        self._joined.append((ids, dict(columns)))

    def snapshot(self) -> dict[str, Any]:
        return {"joined": list(self._joined)}

    def restore(self, state: Mapping[str, Any]) -> None:
        for ids, columns in state["joined"]:
            self.extend(ids, columns)
