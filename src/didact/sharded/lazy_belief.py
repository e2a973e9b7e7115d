"""The shard's part of a belief: a row for each prompt that was rolled out, and one for all others."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didact.arrays import Floats, Positions
from didact.belief import BetaBelief
from didact.sharded.prompts import Prompts
from didact.sharded.shards import Store
from didact.state import digest, in_order, load_state, save_state


class LazyBelief(Store):
    """A BetaBelief that gives a row only to prompts which were rolled out; all others are one row at the prior.

    The values are those of a BetaBelief over all prompts, bit for bit: its prompts are independent.
    """

    _BLOCK = 256

    def __init__(self, prompts: Prompts, size: int, **options: Any) -> None:
        self._options, self._known = options, prompts.known_rates
        self._belief = self._new(self._BLOCK)
        self._row = np.zeros(size, dtype=np.int32)  # 0: never rolled out
        self._positions = np.full(self._BLOCK, -1, dtype=np.int32)  # by row
        self._used = 1

    def grow(self, size: int) -> None:
        extra = max(size - len(self._row), 0)
        self._row = np.concatenate([self._row, np.zeros(extra, np.int32)]) if extra else self._row

    def observe(
        self, positions: Positions, sizes: Positions, rewards: Floats, *, step: int, versions: Positions | None = None
    ) -> None:
        self._belief.observe(self._rows(positions), sizes, rewards, step=step, versions=versions)

    def count(self, positions: Positions, num_rollouts: Positions, tokens: Positions, *, step: int) -> None:
        self._belief.count(self._rows(positions), num_rollouts, tokens, step=step)

    def reset(self, positions: Positions) -> None:
        rows = self._row[positions]
        self._belief.reset(rows[rows > 0].astype(np.int64))

    def table(self, positions: Positions, step: int) -> dict[str, NDArray[Any]]:
        """All that a step reads of prompts, by the name of the method of `BetaBelief`."""
        rows = self._row[positions].astype(np.int64)
        belief = self._belief
        table: dict[str, NDArray[Any]] = {
            "mean": belief.mean(rows, step=step),
            "spread": belief.spread(rows, step=step),
            "evidence": belief.evidence(rows, step=step),
            "num_rollouts": belief.num_rollouts(rows),
            "last_seen": belief.last_seen(rows),
        }
        if self._belief.prior_weight > 0 and (rows == 0).any():
            unseen = self._unseen(positions[rows == 0])
            table["mean"][rows == 0], table["spread"][rows == 0] = unseen.mean(), unseen.spread()
        return table

    def spent(self) -> tuple[int, int, int]:
        return self._belief.spent()

    def all_rates(self, *, step: int) -> dict[str, NDArray[Any]]:
        """The columns of `PassRates` for all of the shard's prompts, but for their ids."""
        inner = self._belief.pass_rates(np.empty(len(self._belief), dtype=object), step=step)
        columns = {name: column[self._row] for name, column in vars(inner).items() if name != "ids"}
        if self._belief.prior_weight > 0:
            rest = np.flatnonzero(self._row == 0)
            unseen = self._unseen(rest).pass_rates(np.empty(len(rest), dtype=object))
            for name in ("mean", "std"):
                columns[name][rest] = getattr(unseen, name)
        return columns

    def state_dict(self) -> dict[str, Any]:
        """Only prompts that were ever rolled out are stored."""
        positions = self._positions[1 : self._used].astype(np.int64)
        return {"size": len(self._row), "positions": positions, "rows": self._belief.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        size, positions, rows = state["size"], state["positions"], state["rows"]["size"]
        used = len(positions) + 1
        if size > len(self._row) or not in_order(np.sort(positions), size):
            raise ValueError(f"rolled-out prompts must be among the {len(self._row)} of the shard, each once")
        if not used <= rows <= used * 9 // 8 + self._BLOCK:
            raise ValueError(f"a belief about {len(positions)} prompts does not have {rows} rows")
        belief = self._new(rows)
        belief.load_state_dict(state["rows"])
        self._belief, self._used = belief, used
        self._row = np.zeros(size, dtype=np.int32)
        self._row[positions] = np.arange(1, self._used)
        self._positions = np.full(rows, -1, dtype=np.int32)
        self._positions[1 : self._used] = positions

    def save(self, folder: str, name: str) -> dict[str, str]:
        """Write the state into a file of its own, named after what it holds: no state is ever overwritten."""
        state = self.state_dict()
        file = f"{name}-{digest(state)}.npz"
        if not (Path(folder) / file).exists():
            save_state(Path(folder) / file, state)
        return {"file": file}

    def load(self, folder: str, file: str) -> None:
        """Read what `save` wrote. Raises as `load_state`, and ValueError for a file under another's name."""
        state = load_state(Path(folder) / Path(file).name)
        if not file.endswith(f"-{digest(state)}.npz"):
            raise ValueError(f"{Path(folder) / file} does not hold what its name says")
        self.load_state_dict(state)

    def snapshot(self) -> dict[str, Any]:
        return {"size": len(self._row), "options": self._options, "state": self.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.load_state_dict(state["state"])

    def _new(self, size: int) -> BetaBelief:
        """A belief about rows, which starts each at what is known about its prompt."""
        return BetaBelief(size, known=lambda rows: self._known(self._positions[rows].astype(np.int64)), **self._options)

    def _unseen(self, positions: Positions) -> BetaBelief:
        """What is believed about prompts that were never rolled out."""
        return BetaBelief(len(positions), known=lambda rows: self._known(positions[rows]), **self._options)

    def _rows(self, positions: Positions) -> Positions:
        new = np.unique(positions[self._row[positions] == 0])
        if len(new):
            end = self._used + len(new)
            if end > len(self._positions):
                # By an eighth more each time, so that growing costs little and holds little that is empty.
                size = max(end, len(self._positions) * 9 // 8 + self._BLOCK)
                self._belief.grow(size)
                self._positions = np.concatenate(
                    [self._positions, np.full(size - len(self._positions), -1, dtype=np.int32)]
                )
            self._row[new] = np.arange(self._used, end)
            self._positions[self._used : end] = new
            self._used = end
        return self._row[positions].astype(np.int64)
