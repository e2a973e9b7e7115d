"""How well a run predicts: what was believed when groups were planned, against what came back."""

import math
from collections.abc import Sequence

import numpy as np

from didact.arrays import Floats, Positions

_BINS = 10


class Calibration:
    """Rollouts, predicted passes and passes, by predicted pass rate in ten bins."""

    def __init__(self) -> None:
        self._sums = np.zeros((3, _BINS))

    def observe(self, predicted: Sequence[float], sizes: Positions, passed: Floats) -> None:
        """Take in groups: the pass rate that was predicted of each, and how much of a pass its rollouts were, `sizes`
        of them, laid end to end."""
        mean = np.repeat(np.array(predicted), sizes)
        bins = np.minimum((mean * _BINS).astype(np.int64), _BINS - 1)
        for row, values in enumerate((np.ones(len(mean)), mean, passed)):
            self._sums[row] += np.bincount(bins, weights=values, minlength=_BINS)

    @property
    def error(self) -> float:
        """Expected calibration error: mean distance of passes from predicted ones over bins, by their rollouts."""
        weight, predicted, passed = self._sums
        seen = weight > 0
        return float(np.abs(predicted[seen] - passed[seen]).sum() / weight.sum()) if seen.any() else 0.0

    def state_dict(self) -> Floats:
        return self._sums.copy()

    def load_state_dict(self, state: Floats) -> None:
        """Restore a state.

        Raises:
            ValueError: not three rows of numbers of at least 0, one for each bin.
        """
        if state.shape != (3, _BINS):
            raise ValueError(f"what was predicted and what came back are numbers for {_BINS} bins, got {state.shape}")
        if not ((state >= 0) & (state < math.inf)).all():
            raise ValueError("what was predicted and what came back are numbers of at least 0")
        self._sums = np.array(state, dtype=np.float64)
