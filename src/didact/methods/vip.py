"""VIP: predict pass rates from what prompts look like, and give each prompt the rollouts its variance deserves.

Nguyen et al., "Adaptive Rollout Allocation for Online Reinforcement Learning with Verifiable Rewards",
arXiv:2602.01601; code HieuNT91/VIP.

    prediction   logit p ~ Gaussian process over the prompts' features, RBF kernel exp(-d^2 / 2 w^2), w the median
                 distance; conditioned on the logit of each prompt's latest rate
    variance     v = 4 p (1-p);   RLOO  v / (n-1),   Dr.GRPO  v (n-1) / n^2
    allocation   minimise the sum of variances   subject to   sum n = budget,   low <= n <= high

RLOO has n = 1 + sqrt(v / lambda); Dr.GRPO the larger root of v (n-2) / n^3 = lambda. lambda comes from bisection,
floors are taken, and what remains goes one rollout at a time to the largest decrease. VIP chooses no prompts: they come
in shuffled passes.

Where this departs from paper and code: observed logits are smoothed by half a pass and half a failure and have a
variance of 4 / n (the code clips at 1e-6, so that 0 of 8 reads as -13.8, and takes it as exact); the process is
conditioned on the batch's own latest visits and on the `history` prompts visited last, not on the whole pool, so
that a step costs as much as these. A prompt's later visit replaces its earlier one; nothing else fades.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.advantage import AdvantageKind, WeightMode
from didact.allocation import greedy, largest_remainder
from didact.belief.gaussian_process import described, process, sigmoid, spread_of_rates
from didact.belief.latest import LatestVisit
from didact.bounds import MAX_PER_STEP
from didact.memory import kept
from didact.method import NONE, Arrivals, Draft, Floats, Method, Positions, Run, Turn, option
from didact.rounds.bounds import check_bounds
from didact.state import in_order

_MAX_LOGIT = 100.0  # of the prior: a pass rate of 1e-44
_BLOCK = 256  # prompts that are predicted together, where a batch is not larger


def gradient_variance(pass_rate: ArrayLike, num_rollouts: ArrayLike, estimator: str = "rloo") -> Floats:
    """Variance of a prompt's gradient estimate, up to the square of the gradient's length: n >= 2 rollouts."""
    p, num = np.asarray(pass_rate, dtype=np.float64), np.asarray(num_rollouts, dtype=np.float64)
    return np.asarray(4 * p * (1 - p) * _noise(num, estimator))


def allocate_by_variance(
    pass_rate: ArrayLike, total: int, minimum: int, maximum: int, estimator: str = "rloo"
) -> NDArray[np.int64]:
    """Rollouts by prompt, shape (n,), that minimise the sum of variances and add up to `total`.

    Raises:
        ValueError: bounds that cannot add up to `total`, or a minimum below 2.
    """
    p = np.asarray(pass_rate, dtype=np.float64)
    if minimum < 2 or not minimum * len(p) <= total <= maximum * len(p):
        raise ValueError(f"cannot split {total} over {len(p)} prompts with {minimum} to {maximum} rollouts each")
    variance = 4 * p * (1 - p)
    if not variance.any():
        return largest_remainder(np.ones(len(p)), total)

    def sizes(multiplier: float) -> Floats:
        ratio = variance / multiplier
        wanted = 1 + np.sqrt(ratio) if estimator == "rloo" else _cubic_root(ratio)
        return np.clip(wanted, minimum, maximum)

    low, high = 1e-12, float(variance.max())  # between all at the maximum and all at the minimum
    for _ in range(80):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if sizes(middle).sum() > total else (low, middle)
    parts = np.floor(sizes(high) + 1e-9).astype(np.int64)
    scale: list[float] = variance.tolist()

    def gain(index: int, have: int) -> float:
        return float(scale[index] * _noise(have, estimator) - scale[index] * _noise(have + 1, estimator))

    return greedy(gain, total, parts, np.full(len(p), maximum, dtype=np.int64))


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
        if all(run.column(name, self.name) is None for name in ("features", "source", "difficulty", "prompt_tokens")):
            raise ValueError(
                "vip predicts pass rates from what prompts look like, and this pool has nothing but ids: give "
                "PromptPool features= (embeddings), or source=, difficulty= or prompt_tokens="
            )
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
        seen = np.union1d(memory.recent, told)
        # Ties go by a hash of the position: a pool sorted by source must not leave one source out of the history.
        order = np.lexsort(((seen * 2654435761) % 2**32, -memory.visits.steps(seen).astype(np.int64)))
        memory.recent = np.sort(seen[order[: self.history]])

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
        passes, rollouts = memory.visits.counts(known)
        logits = np.log((passes + 0.5) / (np.maximum(rollouts - passes, 0.0) + 0.5))
        # The variance of a logit at p = 1/2. That at the observed rate would discount 0 of 8 against 1 of 8, and so
        # predict hard prompts as easier than they are.
        features = described(run.pool, np.concatenate([known, positions]))
        return process(features, logits, 4 / rollouts, self.prior_mean, self.prior_std, spread=spread)


def _noise(num: Any, estimator: str) -> Any:
    """What a group of n rollouts, or of each n of an array, leaves of the variance."""
    return 1 / (num - 1) if estimator == "rloo" else (num - 1) / num**2


def _cubic_root(ratio: Floats) -> Floats:
    """The largest n with ratio (n - 2) = n^3, that is v (n-2) / n^3 = lambda; 0 where there is none (ratio < 27)."""
    safe = np.maximum(ratio, 27.0)
    angle = np.arccos(np.clip(-3 * np.sqrt(3 / safe), -1.0, 1.0)) / 3
    return np.where(ratio < 27, 0.0, 2 * np.sqrt(safe / 3) * np.cos(angle))
