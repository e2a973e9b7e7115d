"""Ids and prompt lengths of the latest prompts, kept here so that outcomes cost no question."""

from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didact.arrays import Positions
from didact.sharded.shards import PROMPTS, Call
from didact.sharded.spread import Spread

#: Rows that are kept, about.
REMEMBERED = 1 << 17


class Rows:
    """Rows by position: an id, and a prompt length if the pool has any."""

    def __init__(self, spread: Spread) -> None:
        self._spread = spread
        self._rows: dict[int, tuple[str, Any]] = {}

    def one(self, position: int) -> tuple[str, Any]:
        """The row of a prompt."""
        return self._rows.get(position) or self._at(np.array([position]))[0]

    def ids(self, positions: Positions) -> NDArray[np.object_]:
        """The ids of some prompts."""
        ids = np.empty(len(positions), dtype=object)
        for start in range(0, len(positions), REMEMBERED // 4):  # no more at once than are remembered
            some = slice(start, start + REMEMBERED // 4)
            ids[some] = [prompt_id for prompt_id, _ in self._at(positions[some])]
        return ids

    def unknown(self, positions: Positions) -> Positions:
        """Those of `positions` that would have to be asked for; makes room for them."""
        if len(self._rows) > REMEMBERED:
            for oldest in list(islice(self._rows, REMEMBERED // 2)):
                del self._rows[oldest]
        return np.array([each for each in np.unique(positions).tolist() if each not in self._rows], dtype=np.int64)

    def remember(self, positions: Positions, rows: tuple[list[str], Any]) -> None:
        """Keep what a shard answered to `rows`."""
        ids, tokens = rows
        lengths = [None] * len(ids) if tokens is None else tokens.tolist()
        self._rows.update(zip(positions.tolist(), zip(ids, lengths, strict=True), strict=True))

    def forget(self) -> None:
        """Keep nothing."""
        self._rows.clear()

    def _at(self, positions: Positions) -> list[tuple[str, Any]]:
        unknown = self.unknown(positions)
        if len(unknown):
            parts = self._spread.parts(unknown)
            answers = self._spread.shards.ask({shard: Call(PROMPTS, "rows", (local,)) for shard, _, local in parts})
            for shard, mine, _ in parts:
                self.remember(unknown[mine], answers[shard])
        return [self._rows[position] for position in positions.tolist()]
