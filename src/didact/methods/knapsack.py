"""Knapsack RL: the batch's budget as a knapsack, each prompt an item whose value grows with its rollouts.

Li et al., "Knapsack RL: Unlocking Exploration of LLMs via Optimizing Budget Allocation", arXiv:2509.25849; code
liziniu/KnapsackRL.

    value of N rollouts of a prompt    (1 - p^N - (1-p)^N) * p (1-p)^2
    maximise the sum of values         subject to  sum N = budget,  2 <= N <= 128

The first factor is the chance that the group has signal, the second what it gains. p is the rate of the prompt's last
16 rewards, known from 8 on, as in the released class and its run script (the paper speaks of the last epoch, whose rate
is 0 or 1 for many a middling prompt when groups are of 8). Prompts never seen get the equal share, as the whole first
epoch does. `didact.knapsack` has the exact optimum, and what goes to prompts at 0 or 1, which have no value at any N.
"""

from dataclasses import dataclass

import numpy as np

from didact.allocation import largest_remainder
from didact.belief.recent import RecentRewards
from didact.bounds import MAX_PER_STEP
from didact.knapsack import group_value as group_value
from didact.knapsack import knapsack as knapsack
from didact.knapsack import split_budget as split_budget
from didact.method import Arrivals, Draft, Method, Run, Turn, option
from didact.rounds.bounds import check_bounds


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
