"""AdaRFT: train on the prompts whose difficulty is nearest to a target that follows the reward.

Shi et al., "Efficient Reinforcement Finetuning via Adaptive Curriculum Learning", arXiv:2504.05520, algorithm 1.

    select    the B prompts with the smallest |d_i - T|
    update    T <- clip(T + eta tanh(alpha (R - beta)), d_min, d_max),   R = mean reward of the batch

d_i is a number known before training (in the paper 100 times the failure rate of another model, over 128 tries). T
climbs while rewards are above beta and falls while they are below, by at most eta tanh(alpha / 2) = 38 for the
published numbers and rewards of 0 or 1.

The paper leaves ties open. Here the prompts at the largest distance that still fits are drawn at random among their
equals, which matters where difficulties are labels: all else is the same batch for as long as T stands still, also at
T = 0, where the run begins. `as_released=True` takes equals in the order of the pool, as a sort does. Released code
(uscnlp-lime/verl) feeds the reward after a KL penalty to the controller; here it is the verifier's reward.

It estimates no difficulty, and has no memory of what was drawn.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from math import fsum, isfinite, tanh
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didact.allocation import largest_remainder
from didact.bounds import MAX_REWARD, flag, one_of, real, two
from didact.curriculum import Curriculum, Draft
from didact.ledger import OpenGroup
from didact.outcomes import GroupOutcome
from didact.prompts import PromptPool

_SCALES = ("none", "range")


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


class AdaRFT(Curriculum):
    """AdaRFT as the paper has it; the pool needs `difficulty`, or `pass_rate`, of which it takes 100 (1 - p).

    Args:
        beta: mean reward that the target steers toward.
        alpha: sensitivity to the distance of the reward from beta.
        eta: step size, in units of difficulty.
        difficulty_range: d_min and d_max, bounds of the target; the run begins at d_min.
        scale: "none" takes difficulties as they are, as in the paper; "range" maps those of the pool linearly onto
            `difficulty_range`, for labels such as 1 to 5.
        as_released: break ties by order in the pool instead of at random.

    Further options: those of `Curriculum`. `truncated="exclude"` keeps truncated rollouts out of the mean reward too.
    """

    name = "adarft"
    one_round = True
    advantage = "grpo"
    loss_weighting = "token"

    def __init__(
        self,
        pool: PromptPool,
        *,
        beta: float = 0.5,
        alpha: float = 2.0,
        eta: float = 50.0,
        difficulty_range: tuple[float, float] = (0.0, 100.0),
        scale: str = "none",
        as_released: bool = False,
        **common: Any,
    ) -> None:
        alpha, eta = real("alpha", alpha), real("eta", eta)
        for what, value in {"alpha": alpha, "eta": eta}.items():
            if not value > 0:
                raise ValueError(f"{what} must be positive, got {value}")
        low, high = two("difficulty_range", difficulty_range, "(lowest, highest)")
        if not low < high:
            raise ValueError(f"difficulty_range must be (lowest, highest), got {difficulty_range}")
        options = {
            "beta": real("beta", beta, -MAX_REWARD, MAX_REWARD),
            "alpha": alpha,
            "eta": eta,
            "difficulty_range": [low, high],
            "scale": one_of("scale", scale, _SCALES),
            "as_released": flag("as_released", as_released),
        }
        super().__init__(pool, options=options, **common)
        self.uneven = self._divides_unevenly()
        self._target = low
        self._rewards: list[float] = []  # of the outcomes since the last update
        self._origin, self._unit = self._scaling()
        self._sort()

    @property
    def target(self) -> float:
        """The target difficulty T, within `difficulty_range`."""
        return self._target

    def _draft(self, step: int, round: int, rng: np.random.Generator) -> Draft | None:
        if round > 0:
            return None
        if len(self._order) < len(self.pool):
            self._sort()
        if self._rewards:
            # fsum: the order in which outcomes arrive must not show in the target.
            mean = fsum(self._rewards) / len(self._rewards)
            rule = {name: self.options[name] for name in ("beta", "alpha", "eta", "difficulty_range")}
            self._target, self._rewards = next_target(self._target, mean, **rule), []
        positions = self._nearest(self._batch_size(), rng)
        return Draft(positions, largest_remainder(np.ones(len(positions)), self.rollouts_per_step))

    def _nearest(self, num: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """The `num` positions nearest to the target, by bisection: a step costs as much as its batch."""
        target: float = (self._target - self.options["difficulty_range"][0]) / self._unit + self._origin
        size = len(self._sorted)

        def offset(index: int) -> float:
            return float(self._sorted[index]) - target

        start = _first(size - num, lambda index: offset(index) + offset(index + num) >= 0)
        reach = max(abs(offset(start)), abs(offset(start + num - 1)))
        # All strictly within reach are in; of those exactly at it, on either side, as many as fit.
        outer = bisect_left(range(size), -reach, key=offset), bisect_right(range(size), reach, key=offset)
        first, last = bisect_right(range(size), -reach, key=offset), bisect_left(range(size), reach, key=offset)
        first = min(first, last)  # reach 0: nothing is strictly within
        missing, left, right = num - (last - first), first - outer[0], outer[1] - last
        if self.options["as_released"]:
            sides = (
                self._order[outer[0] : outer[0] + min(left, missing)],
                self._order[last : last + min(right, missing)],
            )
            ties = np.sort(np.concatenate(sides))[:missing]
        else:
            drawn = rng.choice(left + right, size=missing, replace=False)
            ties = self._order[np.where(drawn < left, outer[0] + drawn, last + drawn - left)]
        return np.concatenate([self._order[first:last], ties]).astype(np.int64)

    def _sort(self) -> None:
        difficulty = self._difficulty()
        self._order = np.argsort(difficulty, kind="stable").astype(np.int32)
        self._sorted = difficulty[self._order]

    def _difficulty(self) -> NDArray[Any]:
        difficulty = self._column("difficulty", complete=True)
        if difficulty is None and (rate := self._column("pass_rate", complete=True)) is not None:
            difficulty = 100 * (1 - rate)
        if difficulty is None:
            raise ValueError(
                "adarft needs the difficulty of every prompt, published from 0 to 100, or how often another model "
                "passes it: PromptPool(ids, difficulty=...) or PromptPool(ids, pass_rate=...)"
            )
        return difficulty

    def _scaling(self) -> tuple[float, float]:
        """Where d_min lies on the scale of the pool, and how much of the range one unit of it is."""
        low, high = self.options["difficulty_range"]
        difficulty = self._difficulty()
        least, most = float(difficulty.min()), float(difficulty.max())
        if self.options["scale"] == "none" or least == most:
            return low, 1.0
        return least, (high - low) / (most - least)

    def _observed(self, positions: NDArray[np.int64], fresh: Sequence[tuple[OpenGroup, GroupOutcome]]) -> None:
        for _, outcome in fresh:
            self._rewards += outcome.usable(self._truncated)

    def _own_state(self) -> dict[str, Any]:
        return {
            "target": self._target,
            "rewards": list(self._rewards),
            "origin": self._origin,
            "unit": self._unit,
        }

    def _load_own_state(self, state: Mapping[str, Any]) -> None:
        self._target, self._rewards = state["target"], list(state["rewards"])
        self._origin, self._unit = state["origin"], state["unit"]
        low, high = self.options["difficulty_range"]
        if not (low <= self._target <= high and self._unit > 0 and isfinite(self._origin)):
            raise ValueError(
                f"the target must be from {low} to {high}, got {self._target}, on a scale of units above 0"
            )
        if not all(map(isfinite, self._rewards)):
            raise ValueError("rewards must be finite")


def _first(size: int, holds: Callable[[int], bool]) -> int:
    """The first index below `size` for which `holds` is true, or `size`; it must not turn false again."""
    return bisect_left(range(size), True, key=holds)
