"""GVM: rollouts for each prompt of an iteration by how hard it is to reach an accepted response.

Yao et al., "Optimizing Chain-of-Thought Reasoners via Gradient Variance Minimization in Rejection Sampling and RL",
arXiv:2505.02391; code RLHFlow/GVM.

    minimise   sum_i G_i^2 / (p_i n_i) / (1 + alpha / p_i^beta)      subject to   sum_i n_i = N
    n_i = N w_i / sum_j w_j,    w_i = G_i / sqrt(p_i + alpha / p_i^(beta - 1)),    w_i = 0 where p_i = 0 or G_i = 0

In iterations: a subset of the pool, a pilot of `pilot_rollouts` for each of its prompts, the split of the whole
iteration's budget over them, then steps that go through the subset once, in order. p is the raw rate of the pilot and G
the mean gradient length of its accepted responses; both stay as they are until the next iteration. The pilot trains
nobody and is counted.

Where this departs from the paper: its steps hold so many prompts and about so many rollouts; here a step holds exactly
`rollouts_per_step`, so a prompt whose rollouts lie across the border of two steps trains in both. Gradients are off
unless asked for (G = 1). Integers come from largest remainders, as in the code; the paper gives what is left over to
the lowest rates. Each prompt that is not dropped gets at least 2 rollouts.

`cures` has a pilot too, but draws from its subset with a belief that moves at each step. This file is longer than
others for the queue of an iteration, which is cut into steps where their budgets end.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from didact.allocation import largest_remainder
from didact.belief.latest import LatestVisit
from didact.bounds import MAX_PER_STEP, MAX_STEP
from didact.memory import kept
from didact.method import NONE, Arrivals, Draft, Floats, Positions, Run, Turn, option
from didact.methods.gradient_moments import as_gram
from didact.rounds.iterations import IteratedMethod, Iteration

_MIN_ROLLOUTS = 2
_MAX_BETA = 100.0  # the smallest rate of a pilot, to this power, is still a number


def allocation_weights(
    pass_rate: ArrayLike, gradient_norm: ArrayLike | None = None, alpha: float = 1e-3, beta: float = 2.0
) -> Floats:
    """w of the paper's split, shape (n,), not normalised.

    Args:
        pass_rate: p, shape (n,).
        gradient_norm: G, shape (n,); None takes all gradients as equally long.
        alpha, beta: the penalty on very hard prompts; w is largest at p = sqrt(alpha) for beta = 2.

    Raises:
        ValueError: a pass rate outside [0, 1], a negative norm, or alpha or beta negative.
    """
    p = np.asarray(pass_rate, dtype=np.float64)
    norm = np.ones(p.shape) if gradient_norm is None else np.asarray(gradient_norm, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("pass rates must be in [0, 1]")
    if not (norm >= 0).all():
        raise ValueError("gradient norms must not be negative")
    if not (alpha >= 0 and beta >= 0):
        raise ValueError(f"alpha and beta must not be negative, got {alpha} and {beta}")
    safe = np.where(p > 0, p, 1.0)
    return np.where(p > 0, norm / np.sqrt(safe + alpha * safe ** (1 - beta)), 0.0)


@dataclass(kw_only=True)
class Memory(Iteration):
    """What is known of the iteration."""

    pilots: LatestVisit
    queue: Positions = kept(NONE, holds="positions")  # prompts still to train in this iteration
    left: Positions = kept(NONE, least=1)  # the rollouts left for each of these
    split: bool = kept(True)  # whether the iteration's budget is split: nothing is left to split before the first
    norms: dict[int, float] = kept({}, least=0)  # gradient lengths by position

    def is_over(self, steps: int) -> bool:
        return self.split and not len(self.queue)


@dataclass(frozen=True, kw_only=True)
class GVM(IteratedMethod):
    """Rollouts of an iteration by how hard prompts are to get right, after a pilot of each."""

    name = "gvm"
    paper = "arXiv:2505.02391"
    shardable = True
    advantage = "grpo"

    pilot_rollouts: int = option(8, "N' of each prompt; the paper tries 8, 16 and 32", least=1, most=MAX_PER_STEP)
    steps_per_iteration: int = option(10, "steps between pilots; a subset is as many batches", least=1, most=MAX_STEP)
    alpha: float = option(1e-3, "of the penalty on very hard prompts; larger spends less on them", least=0)
    beta: float = option(2.0, "its steepness", least=0, most=_MAX_BETA)
    max_pass_rate: float = option(1.0, "prompts above this pilot rate are dropped; 1 drops none", above=0, most=1)
    gradient_norms: bool = option(False, "weigh by gradient lengths; the trainer must report those of pilot groups")

    def init(self, run: Run) -> Memory:
        self.check_pilots(run)
        return Memory(pilots=LatestVisit(run.pool.columns))

    def resume(self, run: Run, memory: Memory) -> None:
        if len(memory.queue) != len(memory.left):
            raise ValueError("the prompts in the queue of an iteration have rollouts left, one number for each")
        if not np.isin([*memory.pending, *memory.queue, *memory.norms], memory.subset).all():
            raise ValueError("a prompt without a pilot, in the queue, or with gradients, is one of the iteration's")

    def begin(self, turn: Turn, memory: Memory) -> None:
        memory.subset = memory.pending = turn.walk(self.steps_per_iteration * turn.batch)
        memory.split, memory.norms = False, {}

    def batch(self, turn: Turn, memory: Memory) -> Draft | None:
        if not turn.fitting(1, turn.rollouts_per_step):
            return None
        if not memory.split:
            self._split_budget(turn, memory)
        return _next_batch(turn.rollouts_per_step, memory)

    def observed(self, arrivals: Arrivals, run: Run, memory: Memory) -> None:
        pilots = [pair for pair in zip(arrivals.groups, arrivals.rewards, strict=True) if pair[0].reason == "pilot"]
        memory.pilots.observe([group for group, _ in pilots], [rewards for _, rewards in pilots], run.belief)

    def gradients(self, position: int, gram: ArrayLike, passed: ArrayLike, memory: Memory) -> None:
        products, accepted = as_gram(gram, passed)
        if accepted.any():
            memory.norms[position] = float(np.sqrt(np.diag(products)[accepted]).mean())

    def _split_budget(self, run: Run, memory: Memory) -> None:
        """Rollouts of the whole iteration for each prompt of the subset; those without a share leave the queue."""
        rate = np.nan_to_num(memory.pilots.rate(memory.subset))  # a pilot that never came back accepted nothing
        rate[rate > self.max_pass_rate] = 0.0
        norms = None
        if memory.norms:
            typical = float(np.median(list(memory.norms.values())))
            norms = np.array([memory.norms.get(position, typical) for position in memory.subset.tolist()])
        weights = allocation_weights(rate, norms, self.alpha, self.beta)
        if not weights.any():
            weights = np.ones(len(weights))  # the paper leaves this open; equal shares are the way to find out
        total = max(len(memory.subset) // run.batch, 1) * run.rollouts_per_step
        taken = weights > 0
        memory.queue = memory.subset[taken]
        memory.left = largest_remainder(weights[taken], total, _MIN_ROLLOUTS)
        memory.split = True


def _next_batch(budget: int, memory: Memory) -> Draft:
    """The head of the queue, cut where the budget of a step ends; no piece of a group is a single rollout."""
    queue, left, ends = memory.queue, memory.left, np.cumsum(memory.left)
    if ends[-1] < 1.5 * budget:  # the last step takes what there is, whole
        memory.queue = memory.left = NONE
        most = budget // _MIN_ROLLOUTS
        return Draft(queue[:most], largest_remainder(left[:most], budget, _MIN_ROLLOUTS), then="none")
    num = int(np.searchsorted(ends, budget)) + 1
    positions, sizes = queue[:num], left[:num].copy()
    rest = int(ends[num - 1]) - budget
    sizes[-1] -= rest
    if sizes[-1] < _MIN_ROLLOUTS:  # one rollout of the next prompt: the one before takes it
        rest = max(rest, _MIN_ROLLOUTS)
        sizes[-2] += sizes[-1]
        positions, sizes = positions[:-1], sizes[:-1]
    # What is left of the prompt at the border opens the next step.
    first = num - 1 if rest >= _MIN_ROLLOUTS else num
    memory.queue, memory.left = queue[first:], left[first:].copy()
    if first < num:
        memory.left[0] = rest
    return Draft(positions, sizes, then="none")
