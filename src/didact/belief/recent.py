"""The rate of each prompt's last rewards, whatever visits they came from: the last 16, say, once there are 8.

For methods that average over more than the latest visit and forget what is older by count and not by age.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from didact.arrays import Floats, Positions
from didact.belief.base import Belief
from didact.columns import Columns, parts_of

if TYPE_CHECKING:
    from didact.ledger import OpenGroup


class RecentRewards:
    """The last `keep` rewards of each prompt, in the order in which they came.

    Args:
        columns: makes columns over the prompts, `Pool.columns`.
        keep: rewards that are remembered; each takes 4 bytes a prompt.
        known_from: rewards from which a prompt has a rate.
    """

    def __init__(self, columns: Callable[..., Columns], keep: int, known_from: int) -> None:
        self._keep, self._known_from = keep, known_from
        self._columns = columns(passes=np.zeros(keep, dtype=np.float32), counts=np.int64(0))

    def observe(self, groups: Sequence["OpenGroup"], rewards: Sequence[Sequence[float]], belief: Belief) -> None:
        """Take in rewards, a list for each group; `belief` says what a pass is."""
        told, rows = np.unique(np.array([group.position for group in groups], dtype=np.int64), return_inverse=True)
        kept, counts = self._columns.get("passes", told), self._columns.get("counts", told)
        for row, usable in zip(rows.tolist(), rewards, strict=True):
            passes = belief.passes(np.array(usable, dtype=np.float64))
            places = (counts[row] + np.arange(len(passes))) % self._keep
            kept[row, places[-self._keep :]] = passes[-self._keep :]
            counts[row] += len(passes)
        self._columns.put("passes", told, kept)
        self._columns.put("counts", told, counts)

    def rate(self, positions: Positions) -> Floats:
        """Passes / rewards among those remembered, nan where there are too few."""
        num = np.minimum(self._columns.get("counts", positions), self._keep)
        passes = self._columns.get("passes", positions).sum(axis=1, dtype=np.float64)
        return np.where(num >= self._known_from, passes / np.maximum(num, 1), np.nan)

    def state_dict(self) -> dict[str, Any]:
        """Only prompts that have rewards are stored."""
        return self._columns.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state.

        Raises:
            ValueError: rewards that cannot be, or of prompts that are not here.
        """
        for part in parts_of(state):
            seen, passes, counts = part["seen"], part["passes"], part["counts"]
            if counts.shape != seen.shape or passes.shape != (len(seen), self._keep) or (counts < 1).any():
                raise ValueError(
                    f"a prompt that was seen has {self._keep} places for passes, and a count of at least 1"
                )
            if not ((passes >= 0) & (passes <= 1)).all():
                raise ValueError("passes must be from 0 to 1")
        self._columns.load_state_dict(state)
