"""What the simulated learners share: rollouts that pass or fail by a known rate, and the policy gradient they give.

    gradient = sum over rollouts of  w_j A_j score_j,        score_j = (passed_j - p) x + noise_j

A_j and w_j are those that the trainers use (`didact.advantage`). The score of a Bernoulli(logistic) policy is
(passed - p) x. A real response's gradient has parts that have nothing to do with passing; `noise_j`, Gaussian and
independent of the reward, stands for them. Its mean effect is nil, and it is what makes gradients of few or lucky
rollouts worth less. A group without signal has A = 0 and gives nothing at all.

Every random number has an address (see `variates`): the n-th rollout of a prompt draws the same luck in every run with
the same seed, so runs of different methods are paired.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from didact.advantage import AdvantageKind, WeightMode, group_advantages, loss_weights
from didact.arrays import Floats, Positions
from didact.compare.learner import CLIP, mini_batches
from didact.outcomes import GroupOutcome
from didact.plan import AdmittedGroup, Plan
from didact.prompts import PromptPool
from didact.seeding import generator
from didact.simulate.pools import InitialRates
from didact.simulate.variates import Stream

_LENGTH_SPREAD = 0.4  # standard deviation of a response's log length about its prompt's


@dataclass(slots=True)
class _Rollouts:
    """What came of a group so far, in order."""

    position: int
    passed: list[float] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    num_tokens: list[int] = field(default_factory=list)


class SimulatedLearner(ABC):
    """Base of the learners. A subclass says what a prompt's pass rate is, and what a gradient does to it.

    Args:
        initial: the pass rates to start from, one for each prompt.
        learning_rate: of the optimiser.
        score_noise: standard deviation of the part of a rollout's score that has nothing to do with passing.
        seed: root of all randomness.
        floor: a prompt whose initial rate is 0 starts with log-odds between those of `floor` and twice as far out, and
            one whose rate is 1 likewise at the other end: observing 0 passes only bounds a rate, and some of those
            prompts are further off than others. Other rates are taken as they are, and at least `floor`.
        response_tokens: median response length at a pass rate of one half; harder prompts take longer responses.
        context_length: response tokens allowed where the plan says nothing; None: no limit.

    Raises:
        ValueError: an option out of range.
    """

    def __init__(
        self,
        initial: InitialRates,
        *,
        learning_rate: float,
        score_noise: float,
        seed: int = 0,
        floor: float = 0.005,
        response_tokens: int = 1000,
        context_length: int | None = None,
    ) -> None:
        if not 0 < floor < 0.5:
            raise ValueError(f"floor must lie between 0 and 0.5, both excluded, got {floor}")
        for what, value in {"learning_rate": learning_rate, "score_noise": score_noise}.items():
            if not (value >= 0 and math.isfinite(value)):
                raise ValueError(f"{what} must be a number of at least 0, got {value}")
        if response_tokens < 1 or (context_length is not None and context_length < 1):
            raise ValueError(
                f"response_tokens and context_length are whole numbers of at least 1, got {response_tokens} and "
                f"{context_length}"
            )
        self.seed, self.learning_rate, self.score_noise, self.floor = int(seed), learning_rate, score_noise, floor
        self._context_length = context_length
        self._luck, self._length_luck = Stream(self.seed, "rewards"), Stream(self.seed, "lengths")
        self._noise = Stream(self.seed, "score noise")
        self._groups: dict[int, _Rollouts] = {}
        self._visits = np.zeros(len(initial), dtype=np.int32)
        self._updates = 0
        every = np.arange(len(initial))
        self._start = log_odds(initial.rate, floor, Stream(self.seed, "floor").uniform(every))
        hardness, label = np.clip(-self._start, -6.0, 6.0), Stream(self.seed, "labels")
        self._log_length = np.log(response_tokens) + 0.12 * hardness + 0.3 * label.normal(every, every * 0)
        # Five levels from 0 to 100, as data sets have them: cuts through a label that knows about half of the hardness.
        noisy = hardness + 5.0 * label.normal(every, every * 0 + 1)
        self.pool = PromptPool(
            [f"prompt-{index}" for index in every.tolist()],
            source=np.array(initial.names, dtype=object)[initial.source].tolist(),
            difficulty=25 * np.clip(np.round(2 + noisy / 5), 0, 4),
            prompt_tokens=np.ceil(80 * np.exp(0.03 * noisy + 0.4 * label.normal(every, every * 0 + 2))),
            features=self._describe(initial),
        )

    def roll_out(self, plan: Plan) -> list[GroupOutcome]:
        """One outcome for each planned group; a response that the context cuts off fails."""
        positions = self.pool.positions([group.prompt_id for group in plan])
        sizes = np.array([group.num_rollouts for group in plan], dtype=np.int64)
        limits = np.array([group.context_length or self._context_length or np.inf for group in plan])
        row = np.repeat(np.arange(len(positions)), sizes)
        place = positions[row]
        visit = self._visits[place] + np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        self._visits[positions] += sizes.astype(np.int32)
        passed = self._luck.uniform(place, visit) < self._rates(positions)[row]
        length = np.exp(self._log_length[place] + _LENGTH_SPREAD * self._length_luck.normal(place, visit))
        cut = np.ceil(length) > limits[row]
        tokens = np.minimum(np.ceil(length), limits[row]).astype(np.int64).tolist()
        rewards, solved, truncated = (passed & ~cut).astype(float).tolist(), passed.astype(float).tolist(), cut.tolist()
        for group, position, stop in zip(plan, positions.tolist(), np.cumsum(sizes).tolist(), strict=True):
            part = slice(stop - group.num_rollouts, stop)
            book = self._groups.setdefault(group.group_id, _Rollouts(position))
            book.passed += solved[part]
            book.rewards += rewards[part]
            book.num_tokens += tokens[part]
        return plan.outcomes(rewards, num_tokens=tokens, truncated=truncated)

    def update(
        self, groups: Sequence[AdmittedGroup], advantage: AdvantageKind, weighting: WeightMode, num_updates: int = 1
    ) -> int:
        """Optimiser steps on groups rolled out before, see `didact.compare.learner.Learner`.

        Rollouts of an older policy are trained as if they were of the policy at the beginning of the step.

        Raises:
            ValueError: a group that was never rolled out here, or was not kept.
        """
        for group in groups:
            if group.group_id not in self._groups:
                raise ValueError(f"group {group.group_id} was not rolled out by this learner, or was not kept")
        books = [self._groups[group.group_id] for group in groups]
        sizes = [len(group.rollouts) for group in groups]
        if sum(sizes) == 0:
            return 0
        rows = [(book, index) for book, group in zip(books, groups, strict=True) for index in group.rollouts]
        rewards = np.array([book.rewards[index] for book, index in rows])
        passed = np.array([book.passed[index] for book, index in rows])
        tokens = np.array([book.num_tokens[index] for book, index in rows])
        ids = np.repeat([group.group_id for group in groups], sizes)
        baselines = [group.baseline for group in groups for _ in group.rollouts]
        advantages = group_advantages(rewards, ids, advantage, tokens, singleton="zero", baselines=baselines)
        shares = [group.weight for group in groups for _ in group.rollouts]
        weights = advantages * loss_weights(ids, tokens, weighting, weights=shares)
        # A prompt can come in two groups, a late one and a fresh one: gradients are summed by prompt.
        places = np.repeat([book.position for book in books], sizes)
        batches = mini_batches(len(rows), num_updates, generator(self.seed, "mini-batches", self._updates))
        before = self._rates(places)
        for rows_of in batches:
            positions, which = np.unique(places[rows_of], return_inverse=True)
            rates, then, hit = self._rates(positions)[which], before[rows_of], passed[rows_of] > 0
            ratio = np.where(hit, rates / np.maximum(then, 1e-300), (1 - rates) / np.maximum(1 - then, 1e-300))
            pushed = weights[rows_of] * len(batches)
            clipped = np.where(pushed > 0, ratio > CLIP[1], ratio < CLIP[0])  # nothing more to gain from this rollout
            pushed *= np.where(clipped, 0.0, ratio)
            pull, squares = (
                np.bincount(which, weights=values).astype(np.float64)
                for values in (pushed * (passed[rows_of] - rates), pushed**2)
            )
            self._updates += 1
            self._ascend(positions, pull, squares)
        return len(batches)

    def keep(self, group_ids: Sequence[int]) -> None:
        """Forget the rollouts of all other groups: only these may still train."""
        self._groups = {group_id: self._groups[group_id] for group_id in group_ids if group_id in self._groups}

    @abstractmethod
    def evaluate(self) -> float:
        """Accuracy on held-out prompts: their mean pass rate, without sampling noise."""

    @abstractmethod
    def pass_rates(self) -> Floats:
        """The true pass rate of every prompt of the pool now, at full length: a short context is not counted in."""

    @abstractmethod
    def _rates(self, positions: Positions) -> Floats:
        """True pass rates of some prompts now."""

    @abstractmethod
    def _ascend(self, positions: Positions, pull: Floats, weight_squares: Floats) -> None:
        """One step along the gradient: `pull` times x for each of the (distinct) prompts, and noise.

        The noise of a sum of rollouts is Gaussian with variance score_noise^2 times the sum of (w_j A_j)^2, which
        `weight_squares` has by prompt; so it is drawn once a step and not once a rollout.
        """

    def _describe(self, initial: InitialRates) -> NDArray[np.float32] | None:
        """Make up what the prompts need, and say what the pool may tell about it: its features."""
        return None


def sigmoid(log_odds: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * log_odds)))


def log_odds(rate: Floats, floor: float, place: Floats) -> Floats:
    """Log-odds of initial rates; those of 0 and 1 lie from the floor's (`place` 0) to twice them (`place` 1)."""
    inner = np.clip(rate, floor, 1 - floor)
    bound = math.log((1 - floor) / floor)
    odds = np.log(inner / (1 - inner))
    odds = np.where(rate == 0, -bound * (1 + place), odds)
    return np.asarray(np.where(rate == 1, bound * (1 + place), odds))
