"""Draws by the spread of the rewards: rho(x) ~ exp(spread / temperature), in a weight tree that follows the belief.

The rule is CurES's (arXiv:2510.01037, eq. 14), where the spread is sqrt(p(1-p)).
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.weight_tree import Weights

if TYPE_CHECKING:
    from didact.method import Run, Turn

Floats = NDArray[np.float64]
Positions = NDArray[np.int64]


def sampling_distribution(pass_rate: ArrayLike, temperature: float = 0.05) -> Floats:
    """Probabilities rho over prompts with the given pass rates, shape (n,): exp(sqrt(p(1-p)) / temperature), eq. 14.

    Raises:
        ValueError: a pass rate outside [0, 1], or a temperature that is not positive.
    """
    p = np.asarray(pass_rate, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("pass rates must be in [0, 1]")
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    weights = _weights(np.sqrt(p * (1 - p)), temperature)
    return np.asarray(weights / weights.sum())


class SpreadTree:
    """rho over a subset of the pool. All other prompts have the weight 0.

    Args:
        tree: over the whole pool, all zero; another takes its place when the pool has grown.
    """

    def __init__(self, tree: Weights, temperature: float) -> None:
        self._tree, self._temperature = tree, temperature
        self._subset: Positions = np.zeros(0, dtype=np.int64)

    def enter(self, subset: Positions, run: "Run") -> None:
        """Another subset, weighed by the belief."""
        if len(self._tree) < len(run.pool):
            self._tree = run.pool.weight_tree()
        else:
            self._tree.set(self._subset, 0.0)
        self._subset = subset
        self.follow(subset, run)

    def follow(self, positions: Positions, run: "Run") -> None:
        """Weigh some prompts of the subset anew, after the belief in them has moved."""
        spread = run.belief.spread(positions, step=run.step)
        self._tree.set(positions, _weights(spread, self._temperature))

    def draw(self, num: int, turn: "Turn", *, with_replacement: bool = False) -> tuple[Positions, Positions]:
        """Distinct prompts, and how often each was drawn: `num` draws in all, or fewer where they are distinct and the
        subset is smaller."""
        if turn.belief.discount < 1 or turn.belief.window is not None:
            self.follow(self._subset, turn)  # forgetting moves every weight, not only those observed
        num = min(num, len(self._subset))
        if not with_replacement:
            positions = self._tree.draw(num, turn.rng)
            return positions, np.ones(len(positions), dtype=np.int64)
        weights = self._tree.weights[self._subset]
        return np.unique(turn.rng.choice(self._subset, size=num, p=weights / weights.sum()), return_counts=True)


def _weights(spread: Floats, temperature: float) -> Floats:
    # Relative to the largest value of 0/1 rewards, and never 0: tiny temperatures neither overflow nor lose prompts.
    return np.clip(np.exp(np.minimum((spread - 0.5) / temperature, 600.0)), 1e-290, None)
