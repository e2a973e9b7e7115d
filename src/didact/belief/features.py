"""A value head over features: what prompts look like predicts how often they pass, seen or not.

    V(x) = 1 / (1 + exp(-w . z)),   z = (standardised features, 1) / sqrt(d + 1)
    step   w <- w + rate * mean over prompts of (q - V(x)) z

This is the step of a logistic regression; that of the squared error has a factor V (1 - V) more, which stalls where V
is sure. The features are standardised by a sample of the pool at the start, and z has a length of about 1, so that one
rate fits any features: above 8 it can diverge.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from didact.arrays import Floats

_MEMORY = 0.9  # of the running error, by step


class ValueHead:
    """Predicts pass rates from features; it begins at one half everywhere.

    Args:
        sample: features of some prompts, shape (n, d) or (n,), n >= 1, finite.

    Attributes:
        error: root of the running mean of squared distances between predictions and what came back, the chance in
            groups of a few rollouts included; one half at first.
    """

    def __init__(self, sample: ArrayLike) -> None:
        rows = as_rows(sample)
        self.center, self.scale = rows.mean(axis=0), rows.std(axis=0)
        self.scale[self.scale < 1e-12] = 1.0  # a feature that is the same everywhere says nothing
        self.weights = np.zeros(rows.shape[1] + 1)
        self.error = 0.5

    def predict(self, features: ArrayLike) -> Floats:
        """Pass rates, shape (n,), of prompts with such features, shape (n, d)."""
        return self._value(self._inputs(features))

    def learn(self, features: ArrayLike, rates: ArrayLike, rate: float) -> None:
        """One step towards observed pass rates, shape (n,), n >= 1, of prompts with such features, shape (n, d)."""
        inputs = self._inputs(features)
        gap = np.asarray(rates, dtype=np.float64) - self._value(inputs)
        self.error = float(np.sqrt(_MEMORY * self.error**2 + (1 - _MEMORY) * (gap**2).mean()))
        self.weights = self.weights + rate * gap @ inputs / len(gap)

    def state_dict(self) -> dict[str, Any]:
        names = ("weights", "center", "scale")
        return {"error": self.error, **{name: getattr(self, name).copy() for name in names}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state.

        Raises:
            ValueError: one of another number of features, or numbers that are none.
        """
        for name in ("weights", "center", "scale"):
            saved, mine = state[name], getattr(self, name)
            if saved.dtype != mine.dtype or saved.shape != mine.shape or not np.isfinite(saved).all():
                raise ValueError(f"{name} must be {len(mine)} finite numbers, one for each feature, got {saved!r}")
        if not (state["scale"] > 0).all() or type(state["error"]) is not float or not 0 <= state["error"] <= 1:
            raise ValueError(f"a scale is positive, and an error of pass rates at most 1, got {state}")
        self.weights, self.center, self.scale = (state[name].copy() for name in ("weights", "center", "scale"))
        self.error = state["error"]

    def _inputs(self, features: ArrayLike) -> Floats:
        rows = (as_rows(features) - self.center) / self.scale
        return np.asarray(np.pad(rows, ((0, 0), (0, 1)), constant_values=1.0) / np.sqrt(len(self.weights)))

    def _value(self, inputs: Floats) -> Floats:
        return np.asarray(1 / (1 + np.exp(-np.clip(inputs @ self.weights, -30, 30))))


def as_rows(features: ArrayLike) -> Floats:
    """Features as a float array of shape (n, d).

    Raises:
        ValueError: another shape, no number, or one that is not finite.
    """
    rows = np.asarray(features, dtype=np.float64)
    rows = rows[:, None] if rows.ndim == 1 else rows
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise ValueError(f"features must be finite numbers in shape (prompts, features), got shape {rows.shape}")
    return rows
