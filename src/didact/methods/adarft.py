"""AdaRFT: train on the prompts whose difficulty is nearest to a target that follows the reward.

Shi et al., "Efficient Reinforcement Finetuning via Adaptive Curriculum Learning", arXiv:2504.05520, algorithm 1.

    select    the B prompts with the smallest |d_i - T|
    update    T <- clip(T + eta tanh(alpha (R - beta)), d_min, d_max),   R = mean reward of the batch

d_i is a number known before training (in the paper 100 times the failure rate of another model, over 128 tries). T
climbs while rewards are above beta and falls while they are below, by at most eta tanh(alpha / 2) = 38 for the
published numbers and rewards of 0 or 1.

Departures: the paper leaves ties open, and here those at the largest distance that still fits are drawn at random,
which is the whole choice where difficulties are labels; `as_released=True` takes them in the order of the pool, as a
sort does. Released code (uscnlp-lime/verl) feeds the reward after a KL penalty to the controller; here it is the
verifier's. A bisection takes the place of a sort of the pool in each step.

It estimates no difficulty, and has no memory of what was drawn.
"""

from dataclasses import dataclass
from math import fsum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didact.bounds import MAX_REWARD, two
from didact.memory import derived, kept
from didact.method import Arrivals, Draft, Method, Run, Turn, option
from didact.ranking import Ranking
from didact.reward_target import next_target as next_target


@dataclass
class Memory:
    """The target, and the rewards since it moved."""

    target: float
    origin: float  # where d_min lies on the scale of the pool
    unit: float = kept(1.0, least=1e-300)  # how much of the range one unit of the pool's scale is
    rewards: list[float] = kept([])  # of the outcomes since the last update
    ranking: Ranking = derived(lambda: Ranking(np.zeros(0)))  # the pool by difficulty


@dataclass(frozen=True, kw_only=True)
class AdaRFT(Method):
    """Prompts whose difficulty is nearest to a target that follows the reward.

    The pool needs `difficulty`, or `pass_rate`, of which it takes 100 (1 - p). `truncated="exclude"` keeps truncated
    rollouts out of the mean reward too. Not for sharded pools: it sorts the whole pool.
    """

    name = "adarft"
    paper = "arXiv:2504.05520"
    one_round = True
    advantage = "grpo"
    loss_weighting = "token"

    beta: float = option(0.5, "mean reward that the target steers toward", least=-MAX_REWARD, most=MAX_REWARD)
    alpha: float = option(2.0, "sensitivity to the distance of the reward from beta", above=0)
    eta: float = option(50.0, "step size, in units of difficulty", above=0)
    difficulty_range: tuple[float, float] = option((0.0, 100.0), "d_min, where T begins, and d_max: bounds of T")
    scale: str = option("none", '"range" maps difficulties onto difficulty_range', choices=("none", "range"))
    as_released: bool = option(False, "break ties by order in the pool instead of at random")

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = two("difficulty_range", self.difficulty_range, "(lowest, highest)")
        if not low < high:
            raise ValueError(f"difficulty_range must be (lowest, highest), got {self.difficulty_range}")
        object.__setattr__(self, "difficulty_range", (low, high))

    def recorded(self) -> dict[str, Any]:
        return {**super().recorded(), "difficulty_range": list(self.difficulty_range)}

    def init(self, run: Run) -> Memory:
        difficulty, (low, high) = self._difficulty(run), self.difficulty_range
        least, most = float(difficulty.min()), float(difficulty.max())
        scaled = self.scale == "range" and least < most
        origin, unit = (least, (high - low) / (most - least)) if scaled else (low, 1.0)
        return Memory(low, origin, unit, ranking=Ranking(difficulty))

    def draft(self, turn: Turn, memory: Memory) -> Draft:
        if len(memory.ranking) < len(turn.pool):
            memory.ranking = Ranking(self._difficulty(turn))
        if memory.rewards:
            # fsum: the order in which outcomes arrive must not show in the target.
            mean = fsum(memory.rewards) / len(memory.rewards)
            rule = {name: getattr(self, name) for name in ("beta", "alpha", "eta", "difficulty_range")}
            memory.target, memory.rewards = next_target(memory.target, mean, **rule), []
        target = (memory.target - self.difficulty_range[0]) / memory.unit + memory.origin
        return turn.equal(memory.ranking.nearest(target, turn.batch, None if self.as_released else turn.rng))

    def observed(self, arrivals: Arrivals, run: Run, memory: Memory) -> None:
        for rewards in arrivals.rewards:
            memory.rewards += rewards

    def resume(self, run: Run, memory: Memory) -> None:
        low, high = self.difficulty_range
        if not low <= memory.target <= high:
            raise ValueError(f"the target must be from {low} to {high}, got {memory.target}")

    def _difficulty(self, run: Run) -> NDArray[Any]:
        why = "adarft needs every prompt's difficulty, or how often another model passes it"
        known = run.needed("difficulty", "pass_rate", method=self.name, because=why, complete=True)
        return 100 * (1 - known) if run.pool.difficulty is None else known
