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

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from math import fsum, tanh
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didact.bounds import MAX_REWARD, two
from didact.memory import derived, kept
from didact.method import NONE, Arrivals, Draft, Method, Positions, Run, Turn, option


def next_target(
    target: float,
    reward: float,
    *,
    beta: float = 0.5,
    alpha: float = 2.0,
    eta: float = 50.0,
    difficulty_range: tuple[float, float] = (0.0, 100.0),
) -> float:
    """The target difficulty after a batch with this mean reward."""
    low, high = difficulty_range
    return min(max(target + eta * tanh(alpha * (reward - beta)), low), high)


@dataclass
class Memory:
    """The target, and the rewards since it moved."""

    target: float
    origin: float  # where d_min lies on the scale of the pool
    unit: float = kept(1.0, least=1e-300)  # how much of the range one unit of the pool's scale is
    rewards: list[float] = kept([])  # of the outcomes since the last update
    order: NDArray[np.int32] | Positions = derived(lambda: NONE)  # the pool by difficulty
    difficulty: NDArray[Any] = derived(lambda: np.zeros(0))  # in that order

    def sort(self, difficulty: NDArray[Any]) -> None:
        self.order = np.argsort(difficulty, kind="stable").astype(np.int32)
        self.difficulty = difficulty[self.order]


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
        memory = Memory(low, least if scaled else low, (high - low) / (most - least) if scaled else 1.0)
        memory.sort(difficulty)
        return memory

    def draft(self, turn: Turn, memory: Memory) -> Draft:
        if len(memory.order) < len(turn.pool):
            memory.sort(self._difficulty(turn))
        if memory.rewards:
            # fsum: the order in which outcomes arrive must not show in the target.
            mean = fsum(memory.rewards) / len(memory.rewards)
            rule = {name: getattr(self, name) for name in ("beta", "alpha", "eta", "difficulty_range")}
            memory.target, memory.rewards = next_target(memory.target, mean, **rule), []
        return turn.equal(self._nearest(turn.batch, memory, turn.rng))

    def observed(self, arrivals: Arrivals, run: Run, memory: Memory) -> None:
        for rewards in arrivals.rewards:
            memory.rewards += rewards

    def resume(self, run: Run, memory: Memory) -> None:
        low, high = self.difficulty_range
        if not low <= memory.target <= high:
            raise ValueError(f"the target must be from {low} to {high}, got {memory.target}")

    def _nearest(self, num: int, memory: Memory, rng: np.random.Generator) -> Positions:
        """The `num` positions nearest to the target, by bisection: a step costs as much as its batch."""
        order, size = memory.order, len(memory.order)
        target = (memory.target - self.difficulty_range[0]) / memory.unit + memory.origin

        def offset(index: int) -> float:
            return float(memory.difficulty[index]) - target

        start = bisect_left(range(size - num), True, key=lambda index: offset(index) + offset(index + num) >= 0)
        reach = max(abs(offset(start)), abs(offset(start + num - 1)))
        # All strictly within reach are in; of those exactly at it, on either side, as many as fit.
        begin, first = (side(range(size), -reach, key=offset) for side in (bisect_left, bisect_right))
        last, end = (side(range(size), reach, key=offset) for side in (bisect_left, bisect_right))
        first = min(first, last)  # reach 0: nothing is strictly within
        missing, left, right = num - (last - first), first - begin, end - last
        if self.as_released:
            sides = order[begin : begin + min(left, missing)], order[last : last + min(right, missing)]
            ties = np.sort(np.concatenate(sides))[:missing]
        else:
            drawn = rng.choice(left + right, size=missing, replace=False)
            ties = order[np.where(drawn < left, begin + drawn, last + drawn - left)]
        return np.concatenate([order[first:last], ties]).astype(np.int64)

    def _difficulty(self, run: Run) -> NDArray[Any]:
        difficulty = run.column("difficulty", self.name, complete=True)
        if difficulty is None and (rate := run.column("pass_rate", self.name, complete=True)) is not None:
            difficulty = 100 * (1 - rate)
        if difficulty is None:
            raise ValueError(
                "adarft needs every prompt's difficulty, or how often another model passes it: "
                "PromptPool(ids, difficulty=...) or PromptPool(ids, pass_rate=...)"
            )
        return difficulty
