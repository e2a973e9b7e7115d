"""The rate of each prompt's latest visit: what came back for the groups of the last step at which it was planned.

For methods that look at the last epoch or the last pilot only. Nothing is averaged over visits: an outcome of a later
step replaces what an earlier step said, parts of one step add up, and what comes late for an older step is left out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didact.belief.beta import BetaBelief
from didact.ledger import OpenGroup
from didact.outcomes import GroupOutcome, Truncated
from didact.state import in_order

Floats = NDArray[np.float64]
Positions = NDArray[np.int64]
_COLUMNS = {"steps": np.int32, "passes": np.float64, "rollouts": np.int32}


class LatestVisit:
    """Passes and rollouts of the latest visit, for `size` prompts.

    Args:
        size: number of prompts.
        truncated: as in `Curriculum`: "exclude" leaves truncated rollouts out.
    """

    def __init__(self, size: int, truncated: Truncated = "exclude") -> None:
        self._truncated = truncated
        self._columns: dict[str, NDArray[Any]] = {name: np.zeros(0, dtype) for name, dtype in _COLUMNS.items()}
        self.grow(size)

    def grow(self, size: int) -> None:
        """Make room for prompts that joined the pool."""
        extra = max(size - len(self._columns["steps"]), 0)
        for name, column in self._columns.items():
            fill = -1 if name == "steps" else 0
            self._columns[name] = np.concatenate([column, np.full(extra, fill, column.dtype)])

    def observe(self, fresh: Sequence[tuple[OpenGroup, GroupOutcome]], belief: BetaBelief) -> Positions:
        """Take in outcomes; `belief` says what a pass is. Returns the distinct positions that they tell of."""
        steps = self._columns["steps"]
        positions: list[int] = []
        rewards: list[float] = []
        for group, outcome in fresh:
            usable = outcome.usable(self._truncated)
            if not usable or group.step < steps[group.position]:
                continue
            if group.step > steps[group.position]:
                for name in ("passes", "rollouts"):
                    self._columns[name][group.position] = 0
                steps[group.position] = group.step
            positions += [group.position] * len(usable)
            rewards += usable
        where = np.array(positions, dtype=np.int64)
        np.add.at(self._columns["passes"], where, belief.passes(np.array(rewards, dtype=np.float64)))
        np.add.at(self._columns["rollouts"], where, 1)
        return np.unique(where)

    def counts(self, positions: Positions) -> tuple[Floats, Floats]:
        """Passes and rollouts of the latest visit; 0 of 0 where there was none."""
        return self._columns["passes"][positions], self._columns["rollouts"][positions].astype(np.float64)

    def rate(self, positions: Positions) -> Floats:
        """Passes / rollouts of the latest visit, nan where there was none."""
        passes, rollouts = self.counts(positions)
        return np.asarray(np.divide(passes, rollouts, out=np.full(len(passes), np.nan), where=rollouts > 0))

    def steps(self, positions: Positions) -> NDArray[np.int32]:
        """Step of the latest visit, -1 where there was none."""
        return self._columns["steps"][positions]

    def state_dict(self) -> dict[str, Any]:
        """Only prompts that were visited are stored."""
        seen = np.flatnonzero(self._columns["steps"] >= 0)
        return {"seen": seen, **{name: column[seen] for name, column in self._columns.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state.

        Raises:
            ValueError: visits that cannot be, or of prompts beyond this size.
        """
        seen, size = state["seen"], len(self._columns["steps"])
        columns = {name: np.full(size, -1 if name == "steps" else 0, dtype) for name, dtype in _COLUMNS.items()}
        if not in_order(seen, size) or any(state[name].shape != seen.shape for name in columns):
            raise ValueError(f"visits must be of some of {size} prompts in order, with one entry for each")
        if not ((state["steps"] >= 0) & (state["passes"] >= 0) & (state["passes"] <= state["rollouts"])).all():
            raise ValueError("a visit has a step, and no more passes than rollouts")
        for name, column in columns.items():
            column[seen] = state[name]
        self._columns = columns
