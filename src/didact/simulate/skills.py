"""Prompts that share skills: what is learned at one prompt helps all that need the same skills, held-out ones included.

    p_i = sigmoid(x_i . theta - d_i)          theta: one strength for each skill, 0 at the start
    theta += optimiser step along  sum over rollouts of  w_j A_j ((passed_j - p_i) x_i + noise_j)

x_i has a few skills of the prompt's own family, with positive weights of norm one; d_i is set so that the prompt starts
at its initial rate. Prompts with easy skills tend to have high initial rates: half of the variance of the rank is the
skills', so that sources, features and the like can tell something. Held-out prompts come from the same families and the
same initial rates, and are never planned.

It models no language model: no text, no exploration beyond chance, no overfitting to prompts seen often, no skill that
harms another, and no forgetting but by noise. What it has is what curricula act on: groups without signal, pass rates
that drift as others train, prompts out of reach that come into reach, and gradient noise.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from didact.arrays import Floats, Positions
from didact.seeding import generator
from didact.simulate.learner import SimulatedLearner, log_odds, sigmoid
from didact.simulate.pools import InitialRates

_BETAS, _EPSILON = (0.9, 0.99), 1e-8


@dataclass(frozen=True)
class _Needs:
    """The skills of prompts, as sparse rows, and how hard the prompts are."""

    skill: NDArray[np.int32]  # shape (prompts, skills of a prompt); a skill may come twice
    weight: NDArray[np.float32]
    hardness: Floats

    def rates(self, theta: Floats, rows: Positions | slice = slice(None)) -> Floats:
        strength = (self.weight[rows] * theta[self.skill[rows]]).sum(axis=1)
        return sigmoid(strength - self.hardness[rows])

    def pulled(self, pull: Floats, rows: Positions, num_skills: int) -> Floats:
        """Sum over some rows of `pull` times x."""
        shares = (pull[:, None] * self.weight[rows]).ravel()
        return np.bincount(self.skill[rows].ravel(), weights=shares, minlength=num_skills).astype(np.float64)


class SharedSkills(SimulatedLearner):
    """A logistic policy over shared skills.

    Args:
        num_skills: skills in all, divided evenly among the sources of the pool.
        skills_per_prompt: how many a prompt needs.
        learning_rate: of the optimiser.
        optimiser: "adam" (betas 0.9 and 0.99), as real trainers use, or "sgd".
        num_held_out: prompts of the evaluation.
        num_features: columns of `pool.features`: a random projection of the skills a prompt needs, with noise. Not what
            the learner can do: a method has to find out from rollouts which skills are easy.

    Further options: those of `SimulatedLearner`.

    Raises:
        ValueError: an option out of range.
    """

    def __init__(
        self,
        initial: InitialRates,
        *,
        num_skills: int = 64,
        skills_per_prompt: int = 3,
        learning_rate: float = 0.04,
        optimiser: Literal["adam", "sgd"] = "adam",
        score_noise: float = 1.0,
        num_held_out: int = 1024,
        num_features: int = 16,
        **common: Any,
    ) -> None:
        if optimiser not in ("adam", "sgd"):
            raise ValueError(f"optimiser must be 'adam' or 'sgd', got {optimiser!r}")
        if num_skills < len(initial.names):
            raise ValueError(f"num_skills={num_skills} is less than one for each of {len(initial.names)} sources")
        for what, value, most in (
            ("num_skills", num_skills, 100_000),
            ("skills_per_prompt", skills_per_prompt, 1000),
            ("num_held_out", num_held_out, 1_000_000),
            ("num_features", num_features, 1000),
        ):
            if not 1 <= value <= most:
                raise ValueError(f"{what} must be 1 to {most:,}, got {value}")
        self._optimiser, self._num_skills, self._per_prompt = optimiser, num_skills, skills_per_prompt
        self._num_held_out, self._num_features = num_held_out, num_features
        self._theta, self._first, self._second = np.zeros((3, num_skills))
        super().__init__(initial, learning_rate=learning_rate, score_noise=score_noise, **common)

    def evaluate(self) -> float:
        return float(self._held_out.rates(self._theta).mean())

    def pass_rates(self) -> Floats:
        return self._needs.rates(self._theta)

    def _rates(self, positions: Positions) -> Floats:
        return self._needs.rates(self._theta, positions)

    def _ascend(self, positions: Positions, pull: Floats, weight_squares: Floats) -> None:
        noise = self._noise.normal(np.arange(self._num_skills), np.full(self._num_skills, self._updates))
        gradient = self._needs.pulled(pull, positions, self._num_skills)
        gradient += self.score_noise * np.sqrt(weight_squares.sum()) * noise
        if self._optimiser == "sgd":
            self._theta += self.learning_rate * gradient
            return
        (beta_1, beta_2), count = _BETAS, self._updates
        self._first += (1 - beta_1) * (gradient - self._first)
        self._second += (1 - beta_2) * (gradient**2 - self._second)
        spread = np.sqrt(self._second / (1 - beta_2**count)) + _EPSILON
        self._theta += self.learning_rate * self._first / (1 - beta_1**count) / spread

    def _describe(self, initial: InitialRates) -> NDArray[np.float32]:
        strength = generator(self.seed, "strength").normal(size=self._num_skills)
        self._needs = self._drawn(initial, self._start, strength, generator(self.seed, "needs"))
        rng = generator(self.seed, "held-out")
        rows = rng.integers(len(initial), size=self._num_held_out)
        others = InitialRates(initial.rate[rows], initial.source[rows], initial.names)
        start = log_odds(others.rate, self.floor, rng.random(len(rows)))
        self._held_out = self._drawn(others, start, strength, rng)
        projection = generator(self.seed, "projection").normal(size=(self._num_skills, self._num_features))
        features = 0.3 * generator(self.seed, "features").normal(size=(len(initial), self._num_features))
        for skill, weight in zip(self._needs.skill.T, self._needs.weight.T, strict=True):
            features += weight[:, None] * projection[skill]
        return features.astype(np.float32)

    def _drawn(self, initial: InitialRates, start: Floats, strength: Floats, rng: np.random.Generator) -> _Needs:
        """Skills for every prompt: drawn at random, then dealt out so that easy prompts tend to need easy skills."""
        size, names = len(initial), len(initial.names)
        first = initial.source * self._num_skills // names
        count = (initial.source + 1) * self._num_skills // names - first
        skill = first[:, None] + (rng.random((size, self._per_prompt)) * count[:, None]).astype(np.int64)
        weight = rng.uniform(0.5, 1.5, size=skill.shape)
        weight /= np.linalg.norm(weight, axis=1, keepdims=True)
        ease = (weight * strength[skill]).sum(axis=1) + rng.normal(size=size)
        dealt = np.empty(size, dtype=np.int64)
        dealt[np.lexsort((start, initial.source))] = np.lexsort((ease, initial.source))
        return _Needs(skill[dealt].astype(np.int32), weight[dealt].astype(np.float32), -start)
