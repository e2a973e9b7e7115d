"""A belief shared between prompts: what the pool knows about them predicts their pass rates, own outcomes correct it.

    logit p_i(t) = x_i . w(t) + u_i(t)        w(t) = w(t-1) + noise        u_i(t) = decay u_i(t-1) + noise

x holds what is known of a prompt before any rollout. The weights w drift with the policy, so the shared part moves
under every prompt, those included that nobody rolled out for long. The own deviation u_i is learnt from the prompt's
own outcomes and shrinks back to 0 as the policy that made them grows old. Both are Gaussian; a batch of outcomes moves
them by a Laplace approximation: the mode and the curvature of

    sum_i [k_i log p_i + (n_i - k_i) log(1 - p_i)] + log N(w) + sum_i log N(u_i)

Each prompt's own deviation is eliminated from the Newton steps, so a batch of B prompts with d numbers each costs
B d^2 + d^3, whatever the size of the pool. (Logistic regression by Laplace: Spiegelhalter and Lauritzen, 1990; the
dynamic model: West, Harrison and Migon, 1985.)
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from didact.arrays import Floats, Positions
from didact.columns import Columns
from didact.pool import Pool

_NEWTON_STEPS, _CLOSE_ENOUGH, _LONGEST_STEP = 12, 1e-4, 3.0
_FURTHEST = 15.0  # logits beyond are as good as certain
_NODES, _MASSES = np.polynomial.hermite_e.hermegauss(9)
_MASSES = _MASSES / _MASSES.sum()


class SharedBelief:
    """Logits of pass rates, shared and own.

    Args:
        width: numbers in a row x, of which the first is the constant 1.
        own: columns "shift", "certainty" and "told" over the pool, see `own_columns`.
        spread: standard deviation of own deviations where nothing is known.
        prior, constant: standard deviations of a weight and of that of the constant at the start.
        drift: variance that a weight gains per policy version, in units of its prior's.
        decay: what is left of an own deviation after a policy version.
    """

    def __init__(
        self,
        width: int,
        own: Columns,
        *,
        spread: float = 1.5,
        prior: float = 1.0,
        constant: float = 2.0,
        drift: float = 0.003,
        decay: float = 0.995,
    ) -> None:
        self.own, self.spread, self.drift, self.decay = own, spread, drift, decay
        self._start = constant**2, prior**2
        self.weights: Floats = np.zeros(width)
        self.covariance: Floats = np.diag(self._variances(width))
        self.step = 0

    def logits(self, rows: Floats, positions: Positions, step: int) -> tuple[Floats, Floats]:
        """Mean and variance, each of shape (n,), of the logits of n prompts with rows x, shape (n, d)."""
        shift, variance = self._own(positions, step)
        drifted = rows**2 @ self._gained(step)
        return rows @ self.weights + shift, ((rows @ self.covariance) * rows).sum(axis=1) + drifted + variance

    def drawn(self, rows: Floats, positions: Positions, step: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """As `logits`, with weights that are drawn once for all: kinds are believed better or worse as a whole."""
        shift, variance = self._own(positions, step)
        deviations = np.linalg.cholesky(self.covariance + np.diag(self._gained(step)))
        return rows @ (self.weights + deviations @ rng.standard_normal(len(self.weights))) + shift, variance

    def learn(self, rows: Floats, positions: Positions, passes: Floats, trials: Floats, step: int) -> None:
        """Take in passes among trials of n distinct prompts with rows x, shape (n, d), each tried more than 0 times."""
        if len(positions) == 0:
            return
        self.covariance = self.covariance + np.diag(self._gained(step))
        self.step = max(step, self.step)
        before, variance = self._own(positions, step)
        precision = np.linalg.inv(self.covariance)
        weights, shift = self.weights.copy(), before.copy()
        for _ in range(_NEWTON_STEPS):
            rates = sigmoid(np.clip(rows @ weights + shift, -_FURTHEST, _FURTHEST))
            curvature, gap = trials * rates * (1 - rates) + 1e-9, passes - trials * rates
            own_curvature = curvature + 1 / variance
            own_gap = gap - (shift - before) / variance
            shared = curvature / (1 + curvature * variance)  # what is left of it for w when u is free
            hessian = precision + (rows * shared[:, None]).T @ rows
            pull = rows.T @ (gap - curvature / own_curvature * own_gap) - precision @ (weights - self.weights)
            step_weights = np.linalg.solve(hessian, pull)
            step_shift = (own_gap - curvature * (rows @ step_weights)) / own_curvature
            longest = max(float(np.abs(step_weights).max()), float(np.abs(step_shift).max()))
            part = min(1.0, _LONGEST_STEP / max(longest, 1e-9))
            weights, shift = weights + part * step_weights, shift + part * step_shift
            if longest < _CLOSE_ENOUGH:
                break
        covariance = np.asarray(np.linalg.inv(hessian), dtype=np.float64)
        self.weights, self.covariance = weights, (covariance + covariance.T) / 2  # symmetric to the last digit
        self.own.put("shift", positions, shift)
        self.own.put("certainty", positions, own_curvature - 1 / self.spread**2)
        self.own.put("told", positions, step)

    def _variances(self, width: int) -> Floats:
        """Of the weights at the start."""
        return np.where(np.arange(width) == 0, *self._start)

    def _gained(self, step: int) -> Floats:
        """What the variances of the weights gained since the latest outcomes."""
        return self._variances(len(self.weights)) * self.drift * max(step - self.step, 0)

    def _own(self, positions: Positions, step: int) -> tuple[Floats, Floats]:
        """Mean and variance of own deviations."""
        told = self.own.get("told", positions)
        left = np.where(told >= 0, self.decay ** np.maximum(step - told, 0), 1.0)
        prior = self.spread**2
        known = 1 / (self.own.get("certainty", positions) + 1 / prior)
        return left * self.own.get("shift", positions), prior - left**2 * (prior - known)

    def state_dict(self) -> dict[str, Any]:
        return {
            "weights": self.weights.copy(),
            "covariance": self.covariance.copy(),
            "step": self.step,
            "own": self.own.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state. Rows have its width from then on: a pool that has grown is described as it was at the start.

        Raises:
            ValueError: a covariance that is none, or of another width than the weights.
        """
        weights, covariance, step = state["weights"], state["covariance"], state["step"]
        if weights.ndim != 1 or covariance.shape != 2 * weights.shape:
            raise ValueError(f"weights of shape {weights.shape} have no covariance of shape {covariance.shape}")
        if not np.isfinite(weights).all() or not np.isfinite(covariance).all() or not (np.diag(covariance) > 0).all():
            raise ValueError("weights and their covariance must be finite, and variances positive")
        if type(step) is not int or step < 0:
            raise ValueError(f"step must be a whole number of at least 0, got {step!r}")
        self.own.load_state_dict(state["own"])
        self.weights, self.covariance, self.step = weights.copy(), covariance.copy(), step


def own_columns(pool: Pool) -> Columns:
    """What is kept of each prompt: its own deviation, the precision of it beyond the prior's, and when they were so."""
    return pool.columns(shift=np.float32(0), certainty=np.float32(0), told=np.int32(-1))


def sigmoid(logits: Floats) -> Floats:
    """The rates that have these logits."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)))


def over_logits(mean: Floats, variance: Floats) -> tuple[Floats, Floats]:
    """Pass rates at the nodes of a quadrature, shape (n, 9), and the masses of the nodes."""
    nodes = mean[:, None] + np.sqrt(np.maximum(variance, 0.0))[:, None] * _NODES
    return sigmoid(nodes), _MASSES
