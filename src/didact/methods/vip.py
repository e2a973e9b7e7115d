"""VIP: predict pass rates from what prompts look like, and give each prompt the rollouts its variance deserves.

Nguyen et al., "Adaptive Rollout Allocation for Online Reinforcement Learning with Verifiable Rewards",
arXiv:2602.01601; code HieuNT91/VIP.

    prediction   logit p ~ Gaussian process over the prompts' features, RBF kernel exp(-d^2 / 2 w^2), w the median
                 distance; conditioned on the logit of each prompt's latest rate
    variance     v = 4 p (1-p);   RLOO  v / (n-1),   Dr.GRPO  v (n-1) / n^2
    allocation   minimise the sum of variances   subject to   sum n = budget,   low <= n <= high

`didact.gradient_variance` has the allocation. VIP chooses no prompts: they come in shuffled passes.

Where this departs from paper and code: observed logits are smoothed by half a pass and half a failure and have a
variance of 4 / n (the code clips at 1e-6, so that 0 of 8 reads as -13.8, and takes it as exact); the process is
conditioned on the batch's own latest visits and on the `history` prompts visited last, not on the whole pool, so
that a step costs as much as these. A prompt's later visit replaces its earlier one; nothing else fades.
"""

from dataclasses import dataclass

import numpy as np

from didact.advantage import AdvantageKind, WeightMode
from didact.arrays import Floats, Positions
from didact.belief.gaussian_process import described, process, sigmoid, smoothed, spread_of_rates
from didact.belief.latest import LatestVisit
from didact.bounds import MAX_PER_STEP
from didact.gradient_variance import allocate_by_variance as allocate_by_variance
from didact.gradient_variance import gradient_variance as gradient_variance
from didact.memory import kept
from didact.method import NONE, Arrivals, Draft, Method, Run, Turn, option
from didact.rounds.bounds import check_bounds
from didact.state import in_order

_MAX_LOGIT = 100.0  # of the prior: a pass rate of 1e-44
_BLOCK = 256  # prompts that are predicted together, where a batch is not larger


@dataclass
class Memory:
    """What predictions rest on."""

    visits: LatestVisit
    recent: Positions = kept(NONE, holds="positions")  # prompts visited last, in order


@dataclass(frozen=True, kw_only=True)
class VIP(Method):
    """Predict pass rates from what prompts look like, allocate rollouts by variance."""

    name = "vip"
    paper = "arXiv:2602.01601"
    one_round = True
    shardable = True

    estimator: str = option("rloo", "the advantage, whose variance is minimised", choices=("rloo", "dr_grpo"))
    min_rollouts: int = option(2, "least rollouts of a prompt; one has no advantage", least=2, most=MAX_PER_STEP)
    max_rollouts: int | None = option(None, "most; None is four times the equal share", least=2, most=MAX_PER_STEP)
    history: int = option(512, "prompts visited last that predictions rest on, besides those of the batch", least=1)
    prior_mean: float = option(0.0, "of the logit where nothing is known", least=-_MAX_LOGIT, most=_MAX_LOGIT)
    prior_std: float = option(2.0, "its standard deviation", above=0, most=_MAX_LOGIT)

    @property
    def objective(self) -> tuple[AdvantageKind, WeightMode]:
        return self.estimator, self.loss_weighting  # type: ignore[return-value]

    def uneven(self, run: Run) -> bool:
        return True

    def init(self, run: Run) -> Memory:
        why = "vip predicts pass rates from what prompts look like (features are embeddings)"
        run.needed("features", "source", "difficulty", "prompt_tokens", method=self.name, because=why)
        check_bounds(run, self.min_rollouts, self.max_rollouts)
        return Memory(LatestVisit(run.pool.columns))

    def resume(self, run: Run, memory: Memory) -> None:
        if not in_order(memory.recent, len(run.pool)) or not (memory.visits.steps(memory.recent) >= 0).all():
            raise ValueError("prompts visited last must be in order, and visited")

    def draft(self, turn: Turn, memory: Memory) -> Draft:
        positions = turn.walk(turn.batch_of(self.min_rollouts))
        high = self.max_rollouts or 4 * turn.share
        high = max(high, -(-turn.rollouts_per_step // len(positions)))  # a small pool still uses its budget
        rates = sigmoid(self._logits(positions, turn, memory)[0])
        sizes = allocate_by_variance(rates, turn.rollouts_per_step, self.min_rollouts, high, self.estimator)
        return Draft(positions, sizes, predicted=rates)

    def observed(self, arrivals: Arrivals, run: Run, memory: Memory) -> None:
        told = memory.visits.observe(arrivals.groups, arrivals.rewards, run.belief)
        memory.recent = memory.visits.last(np.union1d(memory.recent, told), self.history)

    def predict(self, positions: Positions, run: Run, memory: Memory) -> tuple[Floats, Floats]:
        """In blocks, each as if it were the next batch: a process over the whole pool would not fit in memory."""
        size = max(_BLOCK, run.batch)
        blocks = [positions[start : start + size] for start in range(0, len(positions), size)]
        logits = [self._logits(block, run, memory, spread=True) for block in blocks]
        mean, variance = (np.concatenate(column) for column in zip(*logits, strict=True))
        return sigmoid(mean), spread_of_rates(mean, variance)

    def _logits(self, positions: Positions, run: Run, memory: Memory, *, spread: bool = False) -> tuple[Floats, Floats]:
        """Mean and, if asked for, variance of the logits of a batch, shape (n,)."""
        known = np.union1d(memory.recent, positions[memory.visits.steps(positions) >= 0])
        logits, noise = smoothed(*memory.visits.counts(known))
        features = described(run.pool, np.concatenate([known, positions]))
        return process(features, logits, noise, self.prior_mean, self.prior_std, spread=spread)
