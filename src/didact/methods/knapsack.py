"""Knapsack RL: the batch's budget as a knapsack, each prompt an item whose value grows with its rollouts.

Li et al., "Knapsack RL: Unlocking Exploration of LLMs via Optimizing Budget Allocation", arXiv:2509.25849; code
liziniu/KnapsackRL.

    value of N rollouts of a prompt    (1 - p^N - (1-p)^N) * p (1-p)^2
    maximise the sum of values         subject to  sum N = budget,  2 <= N <= 128

The first factor is the chance that the group has signal, the second what it gains. p is the rate of the prompt's last
16 rewards, known from 8 on, as in the released class and its run script (the paper speaks of the last epoch, whose rate
is 0 or 1 for many a middling prompt when groups are of 8). One rollout more adds (p^N (1-p) + (1-p)^N p) * p (1-p)^2,
which falls with N for every p: the value is concave, and handing out rollouts where they add most is the exact optimum
that the paper's dynamic programme finds, without its table.

A prompt at 0 or 1 has no value at any N. As in the code: the mixed prompts of the batch are taken to need
log(1 - 0.9) / log(max(p, 1-p)) rollouts beyond the minimum each (signal with a chance of 0.9); what the budget has
beyond that goes to the prompts at 0 in equal parts, or to those at 1 if there are none. Prompts never seen get the
equal share, as the whole first epoch does.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.allocation import greedy, largest_remainder
from didact.bounds import MAX_PER_STEP, real, whole, whole_or_none
from didact.curriculum import Curriculum, Draft
from didact.ledger import OpenGroup
from didact.methods.recent import RecentRewards
from didact.outcomes import GroupOutcome
from didact.prompts import PromptPool
from didact.selection import ShuffledPasses

Floats = NDArray[np.float64]
Positions = NDArray[np.int64]


def group_value(pass_rate: ArrayLike, num_rollouts: ArrayLike) -> Floats:
    """Value of a group of N rollouts of a prompt with pass rate p: (1 - p^N - (1-p)^N) p (1-p)^2."""
    p, num = np.asarray(pass_rate, dtype=np.float64), np.asarray(num_rollouts)
    return np.asarray((1 - p**num - (1 - p) ** num) * p * (1 - p) ** 2)


def knapsack(pass_rate: ArrayLike, total: int, minimum: int, maximum: int) -> NDArray[np.int64]:
    """Rollouts by prompt, shape (n,), with the largest sum of values; less than `total` if the bounds allow less."""
    rates: list[float] = np.asarray(pass_rate, dtype=np.float64).tolist()

    def gain(index: int, have: int) -> float:
        p, q = rates[index], 1 - rates[index]
        return float((p**have * q + q**have * p) * p * q * q)

    low, high = (np.full(len(rates), bound, dtype=np.int64) for bound in (minimum, maximum))
    return greedy(gain, total, low, high)


def split_budget(
    pass_rate: ArrayLike, total: int, minimum: int, maximum: int, confidence: float = 0.9
) -> NDArray[np.int64]:
    """The knapsack with the fallback for prompts at 0 and 1, shape (n,), summing to `total`.

    Raises:
        ValueError: bounds that cannot add up to `total`.
    """
    rate = np.asarray(pass_rate, dtype=np.float64)
    if not minimum * len(rate) <= total <= maximum * len(rate):
        raise ValueError(f"cannot split {total} over {len(rate)} prompts with {minimum} to {maximum} rollouts each")
    parts = np.full(len(rate), minimum, dtype=np.int64)
    mixed = (rate > 0) & (rate < 1)
    heirs = rate == 0 if (rate == 0).any() else rate == 1
    spare = total - minimum * len(rate)
    if heirs.any():
        wider = np.maximum(rate, 1 - rate)[mixed]
        need = np.minimum(np.log(1 - confidence) / np.log(wider), maximum).astype(np.int64)
        given = spare - min(int(need.sum()), spare, int(mixed.sum()) * (maximum - minimum))
        given = min(given, int(heirs.sum()) * (maximum - minimum))
        parts[heirs] += largest_remainder(np.ones(int(heirs.sum())), given)
        spare -= given
    if mixed.any():
        parts[mixed] = knapsack(rate[mixed], spare + int(parts[mixed].sum()), minimum, maximum)
    left = total - int(parts.sum())  # the mixed and the heirs are full: the rest goes to whoever has room
    return parts if left == 0 else parts + largest_remainder(maximum - parts, left, 0, maximum - parts)


class Knapsack(Curriculum):
    """Knapsack RL.

    Args:
        min_rollouts: least rollouts of a prompt.
        max_rollouts: most rollouts of a prompt. None takes 16 times the equal share, which is the paper's 128 for 8.
        confidence: chance of signal from which a mixed prompt counts as served when the rest is given to the others.
        recent: rewards of a prompt that its rate is taken from, the last so many.
        known_from: rewards from which a prompt has a rate.

    Further options: those of `Curriculum`.
    """

    name = "knapsack"
    one_round = True
    uneven = True
    advantage = "grpo"
    loss_weighting = "token"

    def __init__(
        self,
        pool: PromptPool,
        *,
        min_rollouts: int = 2,
        max_rollouts: int | None = None,
        confidence: float = 0.9,
        recent: int = 16,
        known_from: int = 8,
        **common: Any,
    ) -> None:
        min_rollouts = whole("min_rollouts", min_rollouts, 2, MAX_PER_STEP)  # a group of one has no advantage
        max_rollouts = whole_or_none("max_rollouts", max_rollouts, 2, MAX_PER_STEP)
        confidence = real("confidence", confidence, 0, 1)
        if not 0 < confidence < 1:
            raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
        recent = whole("recent", recent, 1, 4096)
        known_from = whole("known_from", known_from, 1, 4096)
        if known_from > recent:
            raise ValueError(f"known_from={known_from} is more than recent={recent}: no prompt would have a rate")
        options = {
            "min_rollouts": min_rollouts,
            "max_rollouts": max_rollouts,
            "confidence": confidence,
            "recent": recent,
            "known_from": known_from,
        }
        super().__init__(pool, options=options, **common)
        if min_rollouts * min(self.prompts_per_step, len(pool)) > self.rollouts_per_step:
            raise ValueError(
                f"min_rollouts={min_rollouts} for {self.prompts_per_step} prompts exceeds "
                f"rollouts_per_step={self.rollouts_per_step}"
            )
        if max_rollouts is not None and max_rollouts * self.prompts_per_step < self.rollouts_per_step:
            raise ValueError(
                f"max_rollouts={max_rollouts} for {self.prompts_per_step} prompts cannot use up "
                f"rollouts_per_step={self.rollouts_per_step}"
            )
        self._passes = ShuffledPasses(self.seed)
        self._recent = RecentRewards(len(pool), recent, known_from, self._truncated)

    def _draft(self, step: int, round: int, rng: np.random.Generator) -> Draft | None:
        if round > 0:
            return None
        self._recent.grow(len(self.pool))
        low = self.options["min_rollouts"]
        positions = self._passes.take(self._batch_size(low), len(self.pool))
        sizes = largest_remainder(np.ones(len(positions)), self.rollouts_per_step)
        rate = self._recent.rate(positions)
        known = np.isfinite(rate)
        if known.any():
            high = self.options["max_rollouts"] or 16 * (self.rollouts_per_step // self.prompts_per_step)
            high = max(high, int(sizes.max()))  # a small pool still uses its budget
            sizes[known] = split_budget(rate[known], int(sizes[known].sum()), low, high, self.options["confidence"])
        return Draft(positions, sizes)

    def _observed(self, positions: Positions, fresh: Sequence[tuple[OpenGroup, GroupOutcome]]) -> None:
        self._recent.observe(fresh, self.belief)

    def _own_state(self) -> dict[str, Any]:
        return {"passes": self._passes.state_dict(), "recent": self._recent.state_dict()}

    def _load_own_state(self, state: Mapping[str, Any]) -> None:
        self._passes.load_state_dict(state["passes"])
        self._recent.grow(len(self.pool))
        self._recent.load_state_dict(state["recent"])
