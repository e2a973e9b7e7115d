"""The rate of each prompt's last rewards, whatever visits they came from: the last 16, say, once there are 8.

For methods that average over more than the latest visit and forget what is older by count and not by age.
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


class RecentRewards:
    """The last `keep` rewards of each of `size` prompts, in the order in which they came.

    Args:
        size: number of prompts.
        keep: rewards that are remembered; each takes 4 bytes a prompt.
        known_from: rewards from which a prompt has a rate.
        truncated: as in `Curriculum`: "exclude" leaves truncated rollouts out.
    """

    def __init__(self, size: int, keep: int, known_from: int, truncated: Truncated = "exclude") -> None:
        self._keep, self._known_from, self._truncated = keep, known_from, truncated
        self._passes = np.zeros((0, keep), dtype=np.float32)
        self._counts = np.zeros(0, dtype=np.int64)
        self.grow(size)

    def grow(self, size: int) -> None:
        """Make room for prompts that joined the pool."""
        extra = max(size - len(self._counts), 0)
        self._passes = np.concatenate([self._passes, np.zeros((extra, self._keep), dtype=np.float32)])
        self._counts = np.concatenate([self._counts, np.zeros(extra, dtype=np.int64)])

    def observe(self, fresh: Sequence[tuple[OpenGroup, GroupOutcome]], belief: BetaBelief) -> None:
        """Take in outcomes; `belief` says what a pass is."""
        for group, outcome in fresh:
            passes = belief.passes(np.array(outcome.usable(self._truncated), dtype=np.float64))
            places = (self._counts[group.position] + np.arange(len(passes))) % self._keep
            self._passes[group.position, places[-self._keep :]] = passes[-self._keep :]
            self._counts[group.position] += len(passes)

    def rate(self, positions: Positions) -> Floats:
        """Passes / rewards among those remembered, nan where there are too few."""
        num = np.minimum(self._counts[positions], self._keep)
        known = num >= self._known_from
        return np.where(known, self._passes[positions].sum(axis=1, dtype=np.float64) / np.maximum(num, 1), np.nan)

    def state_dict(self) -> dict[str, Any]:
        """Only prompts that have rewards are stored."""
        seen = np.flatnonzero(self._counts)
        return {"seen": seen, "passes": self._passes[seen], "counts": self._counts[seen]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state.

        Raises:
            ValueError: rewards that cannot be, or of prompts beyond this size.
        """
        seen, passes, counts = state["seen"], state["passes"], state["counts"]
        fresh = RecentRewards(len(self._counts), self._keep, self._known_from, self._truncated)
        if not in_order(seen, len(self._counts)) or counts.shape != seen.shape:
            raise ValueError(f"rewards must be of some of {len(self._counts)} prompts in order, with a count for each")
        if passes.shape != (len(seen), self._keep) or not ((passes >= 0) & (passes <= 1)).all() or (counts < 1).any():
            raise ValueError(f"a prompt has {self._keep} places for passes from 0 to 1, and a count of at least 1")
        fresh._passes[seen], fresh._counts[seen] = passes, counts
        self._passes, self._counts = fresh._passes, fresh._counts
