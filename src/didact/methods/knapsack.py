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

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.allocation import greedy, largest_remainder
from didact.belief.recent import RecentRewards
from didact.bounds import MAX_PER_STEP
from didact.method import Arrivals, Draft, Floats, Method, Run, Turn, option
from didact.rounds.bounds import check_bounds


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


@dataclass
class Memory:
    """The last rewards of each prompt."""

    recent: RecentRewards


@dataclass(frozen=True, kw_only=True)
class Knapsack(Method):
    """The batch's rollouts as a knapsack, valued by chance of signal and p(1-p)^2."""

    name = "knapsack"
    paper = "arXiv:2509.25849"
    one_round = True
    shardable = True
    advantage = "grpo"
    loss_weighting = "token"

    min_rollouts: int = option(2, "least rollouts of a prompt", least=2, most=MAX_PER_STEP)  # one has no advantage
    max_rollouts: int | None = option(None, "most of a prompt; None: 16 equal shares", least=2, most=MAX_PER_STEP)
    confidence: float = option(0.9, "chance of signal that serves a mixed prompt", above=0, below=1)
    recent: int = option(16, "rewards of a prompt that its rate is taken from, the last so many", least=1, most=4096)
    known_from: int = option(8, "rewards from which a prompt has a rate", least=1, most=4096)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.known_from > self.recent:
            raise ValueError(f"known_from={self.known_from} is more than recent={self.recent}: no rate would be known")

    def uneven(self, run: Run) -> bool:
        return True

    def init(self, run: Run) -> Memory:
        check_bounds(run, self.min_rollouts, self.max_rollouts)
        return Memory(RecentRewards(run.pool.columns, self.recent, self.known_from))

    def draft(self, turn: Turn, memory: Memory) -> Draft:
        positions = turn.walk(turn.batch_of(self.min_rollouts))
        sizes = largest_remainder(np.ones(len(positions)), turn.rollouts_per_step)
        rate = memory.recent.rate(positions)
        known = np.isfinite(rate)
        if known.any():
            high = max(self.max_rollouts or 16 * turn.share, int(sizes.max()))  # a small pool still uses its budget
            sizes[known] = split_budget(rate[known], int(sizes[known].sum()), self.min_rollouts, high, self.confidence)
        return Draft(positions, sizes)

    def observed(self, arrivals: Arrivals, run: Run, memory: Memory) -> None:
        memory.recent.observe(arrivals.groups, arrivals.rewards, run.belief)
