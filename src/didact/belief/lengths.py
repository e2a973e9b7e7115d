"""How long a response will be: a regression of the log of its tokens on what is known of the prompt.

    log tokens = x . b + noise         b ~ N(0, 100 s^2), what was learnt fading by 0.99 with each batch

The expected length is exp(x.b + s^2 / 2), s the deviation of the noise, so that long tails are paid for. A response
that was cut off counts with the tokens that it has: it cost no more.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from didact.arrays import Floats

_RIDGE = 0.01
_MEMORY = 0.99
_LONGEST = 20.0  # of logs: e^20 tokens are more than any context


class ResponseLengths:
    """The regression, of rows with `width` numbers."""

    def __init__(self, width: int) -> None:
        self.precision, self.moment = np.eye(width) * _RIDGE, np.zeros(width)
        self.squares, self.count = 0.0, 0.0

    def learn(self, rows: Floats, tokens: Floats) -> None:
        """Take in the mean length, shape (n,), of the responses of n prompts with such rows, shape (n, width)."""
        if len(tokens) == 0:
            return
        logs, fresh = np.log(np.maximum(tokens, 1.0)), np.eye(len(self.moment)) * _RIDGE
        gaps = logs - rows @ self._weights() if self.count else np.zeros(len(logs))
        self.precision = fresh + _MEMORY * (self.precision - fresh) + rows.T @ rows
        self.moment = _MEMORY * self.moment + rows.T @ logs
        self.squares, self.count = _MEMORY * self.squares + float(gaps @ gaps), _MEMORY * self.count + len(logs)

    def expected(self, rows: Floats) -> Floats:
        """Expected tokens of a response, shape (n,), up to a factor; 1 for all before anything was learnt."""
        if self.count == 0:
            return np.ones(len(rows))
        return np.exp(np.clip(rows @ self._weights() + self.squares / self.count / 2, 0.0, _LONGEST))

    def state_dict(self) -> dict[str, Any]:
        return {
            "precision": self.precision.copy(),
            "moment": self.moment.copy(),
            "squares": self.squares,
            "count": self.count,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state. Rows have its width from then on.

        Raises:
            ValueError: numbers that no regression has.
        """
        precision, moment = state["precision"], state["moment"]
        if moment.ndim != 1 or precision.shape != 2 * moment.shape:
            raise ValueError(f"moments of shape {moment.shape} have no precision of shape {precision.shape}")
        numbers = [*precision.ravel().tolist(), *moment.tolist(), state["squares"], state["count"]]
        if not np.isfinite(numbers).all() or min(state["squares"], state["count"]) < 0:
            raise ValueError("the sums of a regression must be finite, and squares and counts at least 0")
        self.precision, self.moment = precision.copy(), moment.copy()
        self.squares, self.count = float(state["squares"]), float(state["count"])

    def _weights(self) -> Floats:
        return np.asarray(np.linalg.solve(self.precision, self.moment))
