"""Prompts that share nothing: each has a log-odds of its own, and learns only from its own rollouts.

    p_i = sigmoid(theta_i),    theta_i += learning_rate * sum_j w_j A_j ((passed_j - p_i) + noise_j)

It is the lower bound of sharing: what is learned at one prompt helps no other, so beliefs shared between prompts are
worth nothing, and a hopeless prompt stays hopeless. There are no held-out prompts to generalise to: accuracy is the
mean pass rate of the pool itself.
"""

from typing import Any

import numpy as np

from didact.arrays import Floats, Positions
from didact.simulate.learner import SimulatedLearner, sigmoid
from didact.simulate.pools import InitialRates


class IndependentPrompts(SimulatedLearner):
    """One log-odds for each prompt, by stochastic gradient ascent.

    Args:
        learning_rate: large, because a prompt weighs one batch-th: at 100, eight rollouts in a batch of 64 prompts move
            a prompt of pass rate one half by 0.4 in log-odds.

    Further options: those of `SimulatedLearner`.
    """

    def __init__(
        self, initial: InitialRates, *, learning_rate: float = 100.0, score_noise: float = 0.5, **common: Any
    ) -> None:
        super().__init__(initial, learning_rate=learning_rate, score_noise=score_noise, **common)
        self._theta = self._start.copy()

    def evaluate(self) -> float:
        return float(self.pass_rates().mean())

    def pass_rates(self) -> Floats:
        return sigmoid(self._theta)

    def _rates(self, positions: Positions) -> Floats:
        return sigmoid(self._theta[positions])

    def _ascend(self, positions: Positions, pull: Floats, weight_squares: Floats) -> None:
        noise = self._noise.normal(positions, np.full(len(positions), self._updates))
        self._theta[positions] += self.learning_rate * (pull + self.score_noise * np.sqrt(weight_squares) * noise)
