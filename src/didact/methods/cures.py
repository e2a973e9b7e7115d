"""CurES: sample prompts by how much there is to gain, and give each the rollouts its variance deserves.

Zeng, Sun et al., "CurES: From Gradient Analysis to Efficient Curriculum Learning for Reasoning LLMs", arXiv:2510.01037.

    distribution   rho(x) ~ exp( sqrt(p(1-p)) / temperature )                                          eq. 14
    allocation     n_i = N sigma_i / sum_j sigma_j,   sigma_i^2 = trace of the covariance of A g       eqs. 17-21
    posterior      alpha += passes, beta += failures; p = alpha / (alpha + beta)                       eq. 23

In iterations: a disjoint subset of the pool, a pilot of `pilot_rollouts` for each of its prompts, then
`steps_per_iteration` steps that draw from rho, allocate, and update the posterior; then everything is forgotten and the
next subset begins. Pilot rollouts are counted like all others, and train only if asked to.

The pilot's counts are alpha and beta themselves (eqs. 22-23): no pseudo-counts, so a prompt at 0 of 4 has sigma 0, is
drawn with the weight exp(0) against exp(0.5 / temperature) at 2 of 4, and gets no rollouts if it is drawn. Where all
drawn prompts have sigma 0, for which the paper gives 0 / 0, they are rolled out in equal groups: four rollouts can be
unanimous by chance, and a step that trains on nothing must not be the last word on them.

Where this departs from the paper: batches are drawn without replacement (as in the released code; `with_replacement`
gives the paper's draw, a prompt drawn k times having k shares of the allocation and k times the weight in the loss, eq.
16); integers come from largest remainders, where the paper says nothing. The paper prints no temperature. For rewards
other than 0 and 1 the standard deviation of the reward stands in for sqrt(p(1-p)), which it equals for those.

`as_released=True` does what the published repository (ZexuSun/CurES) does instead, which differs much: see
`didact.methods.cures_released`.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.advantage import AdvantageKind, WeightMode
from didact.allocation import largest_remainder
from didact.bounds import MAX_PER_STEP, MAX_STEP
from didact.ledger import OpenGroup
from didact.memory import derived, kept
from didact.method import NONE, Arrivals, Draft, Floats, Method, Positions, Run, Turn, Verdict, option
from didact.methods import cures_released
from didact.methods.gradient_moments import gradient_moments
from didact.rounds.bounds import check_bounds
from didact.rounds.iterations import next_pilots
from didact.weight_tree import WeightTree


def sampling_distribution(pass_rate: ArrayLike, temperature: float = 0.05) -> Floats:
    """Probabilities rho over prompts with the given pass rates, shape (n,): exp(sqrt(p(1-p)) / temperature), eq. 14.

    Raises:
        ValueError: a pass rate outside [0, 1], or a temperature that is not positive.
    """
    p = np.asarray(pass_rate, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("pass rates must be in [0, 1]")
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    weights = _weights(np.sqrt(p * (1 - p)), temperature)
    return np.asarray(weights / weights.sum())


def allocation_scale(
    pass_rate: ArrayLike, gradient_moments: ArrayLike | None = None, *, spread: ArrayLike | None = None
) -> Floats:
    """sigma of eq. 21, shape (n,): the spread of advantage times gradient for one rollout of each prompt.

        sigma^2 = p q^2 E[|g|^2 | r=1] + p^2 q E[|g|^2 | r=0] - p^2 q^2 |E[g|r=1] - E[g|r=0]|^2

    Args:
        pass_rate: p, shape (n,).
        gradient_moments: the three expectations in this order, shape (n, 3), see `gradient_moments`. Without them, or
            where they are nan, gradients count as equally long and sigma = sqrt(p q).
        spread: standard deviation of the reward, shape (n,), in place of sqrt(p q) where rewards are not 0 or 1.
    """
    p = np.asarray(pass_rate, dtype=np.float64)
    plain = np.sqrt(p * (1 - p)) if spread is None else np.asarray(spread, dtype=np.float64)
    if gradient_moments is None:
        return plain
    moments = np.asarray(gradient_moments, dtype=np.float64)
    known = np.isfinite(moments).all(axis=1)
    passed, failed, apart = np.nan_to_num(moments).T
    variance = p * (1 - p) ** 2 * passed + p**2 * (1 - p) * failed - (p * (1 - p)) ** 2 * apart
    sigma = np.sqrt(np.maximum(variance, 0.0))
    # Prompts without moments take the typical gradient length of the others, so that both kinds share one scale.
    typical = np.median(sigma[known] / np.maximum(plain[known], 1e-12)) if known.any() else 1.0
    return np.where(known, sigma, plain * typical)


@dataclass
class Memory:
    """What is known of the iteration."""

    subset: Positions = kept(NONE, holds="positions")  # in order
    pending: Positions = kept(NONE, holds="positions")  # prompts of the subset still without a pilot
    steps_done: int = kept(0, least=0)
    first: int = kept(-1, holds="step")  # the step at which it began; -1 before any has
    moments: dict[int, list[float]] = field(default_factory=dict)  # of gradients, by position
    accepted: dict[int, int] = field(default_factory=dict)  # passes of the pilot, by position, for the released code
    tree: WeightTree = derived(lambda: WeightTree(0))  # rho, which follows from the belief

    def inside(self, positions: Positions) -> Positions:
        """Those of the positions that are of the subset."""
        index = np.minimum(np.searchsorted(self.subset, positions), len(self.subset) - 1)
        return positions[self.subset[index] == positions] if len(self.subset) else positions[:0]


@dataclass(frozen=True, kw_only=True)
class CurES(Method):
    """Pilot, then sample by sqrt(p(1-p)) and allocate rollouts by variance.

    `prior` and `prior_weight`, of the pool's pass rates, are 0 here: the pilot alone says. Neither counts as a pilot.
    """

    name = "cures"
    paper = "arXiv:2510.01037"
    shardable = True
    prior = (0.0, 0.0)
    prior_weight = 0.0

    temperature: float = option(0.05, "tau of eq. 14", above=0)
    pilot_rollouts: int = option(4, "N', per prompt of a new subset; published 4", least=1, most=MAX_PER_STEP)
    steps_per_iteration: int = option(10, "M, steps between pilots; published 10", least=1, most=MAX_STEP)
    subset_size: int | None = option(None, "of an iteration; None: steps_per_iteration * prompts_per_step", least=1)
    train_on_pilot: bool = option(False, "train on the pilot, in steps of its own, instead of discarding it")
    reset: bool = option(True, "forget a subset's evidence when its iteration begins, as published")
    min_rollouts: int = option(0, "of a drawn prompt; the paper has no bound", least=0, most=MAX_PER_STEP)
    max_rollouts: int | None = option(None, "of a drawn prompt; the paper has no bound", least=1, most=MAX_PER_STEP)
    with_replacement: bool = option(False, "draw with replacement: a prompt drawn k times weighs k times in the loss")
    gradient_norms: bool = option(False, "weight the allocation by gradients, which the trainer reports of pilots")
    advantage: AdvantageKind = option("rloo", "the estimator to use", choices=("rloo", "grpo", "reinforce_pp"))
    as_released: bool = option(False, "do what the published repository does instead, which differs much")

    @property
    def objective(self) -> tuple[AdvantageKind, WeightMode]:
        return ("grpo", "token") if self.as_released else (self.advantage, self.loss_weighting)

    @property
    def weighs_groups(self) -> bool:
        return self.with_replacement and not self.as_released

    @property
    def wants_gradients(self) -> bool:
        return self.gradient_norms

    def uneven(self, run: Run) -> bool:
        return True

    def most_rollouts(self, run: Run) -> int:
        """The pilot of a subset and a batch; of the released code, eight shards with 4 rollouts for each unit."""
        batch = run.rollouts_per_step
        if self.as_released:
            batch = cures_released.most(run.prompts_per_step, batch)
        return self._size(run) * self.pilot_rollouts + batch

    def init(self, run: Run) -> Memory:
        if self.pilot_rollouts > run.rollouts_per_step:
            raise ValueError(f"pilot_rollouts={self.pilot_rollouts} exceeds rollouts_per_step={run.rollouts_per_step}")
        check_bounds(run, self.min_rollouts, self.max_rollouts)
        return Memory(tree=run.pool.weight_tree())

    def draft(self, turn: Turn, memory: Memory) -> Draft | None:
        if memory.first < 0 or memory.steps_done >= self.steps_per_iteration:
            self._begin_iteration(turn, memory)
        if len(memory.pending):
            return self._pilot(turn, memory)
        if not self.as_released and not turn.fitting(1, turn.rollouts_per_step):
            return None
        memory.steps_done += 1
        return self._released(turn, memory) if self.as_released else self._batch(turn, memory)

    def observed(self, arrivals: Arrivals, run: Run, memory: Memory) -> None:
        if not self.as_released:
            self._weigh(memory.inside(np.unique(arrivals.positions)), run, memory)
            return
        for group in arrivals.groups:
            if group.reason == "pilot":  # all parts so far
                memory.accepted[group.position] = sum(reward > 0.5 for reward in group.rewards)

    def verdict(self, group: OpenGroup, run: Run, memory: Memory) -> Verdict:
        if group.reason == "pilot" and not self.train_on_pilot:
            return Verdict("discarded")
        return super().verdict(group, run, memory)

    def forgot(self, group: OpenGroup, memory: Memory) -> bool:
        return self.reset and group.step < memory.first and len(memory.inside(np.array([group.position]))) > 0

    def gradients(self, position: int, gram: ArrayLike, passed: ArrayLike, memory: Memory) -> None:
        memory.moments[position] = [float(moment) for moment in gradient_moments(gram, passed)]

    def resume(self, run: Run, memory: Memory) -> None:
        if (np.diff(memory.subset) < 0).any() or not np.isin(memory.pending, memory.subset).all():
            raise ValueError("the prompts of an iteration are in order, and those without a pilot among them")
        if (memory.first < 0) != (len(memory.subset) == 0) or memory.steps_done > run.step - memory.first + 1:
            raise ValueError(f"an iteration from step {memory.first} cannot have had {memory.steps_done} steps")
        if not _forgetful(run):  # they follow from the belief; one that forgets is asked again at each draw
            self._weigh(memory.subset, run, memory)

    def _size(self, run: Run) -> int:
        return self.subset_size or self.steps_per_iteration * run.prompts_per_step

    def _begin_iteration(self, turn: Turn, memory: Memory) -> None:
        if len(memory.tree) < len(turn.pool):
            memory.tree = turn.pool.weight_tree()
        else:
            memory.tree.set(np.unique(memory.subset), 0.0)
        memory.subset = memory.pending = np.sort(turn.walk(self._size(turn)))
        memory.steps_done, memory.first = 0, turn.step
        if self.reset:
            turn.belief.reset(memory.subset)
            memory.moments = {}
        else:
            memory.pending = memory.subset[turn.belief.evidence(memory.subset, step=turn.step) < self.pilot_rollouts]
        self._weigh(memory.subset, turn, memory)

    def _pilot(self, turn: Turn, memory: Memory) -> Draft:
        batch, memory.pending, more = next_pilots(turn, memory.pending, self.pilot_rollouts)
        sizes = np.full(len(batch), self.pilot_rollouts, dtype=np.int64)
        return Draft(batch, sizes, reason="pilot", then="none" if self.train_on_pilot else more)

    def _released(self, turn: Turn, memory: Memory) -> Draft:
        accepted = np.array([memory.accepted.get(position, 0) for position in memory.subset.tolist()])
        prompts, budget = turn.prompts_per_step, turn.rollouts_per_step
        chosen, sizes = cures_released.batch(accepted, self.pilot_rollouts, prompts, budget, turn.rng)
        return Draft(memory.subset[chosen], sizes, then="none")

    def _batch(self, turn: Turn, memory: Memory) -> Draft:
        num = min(turn.batch_of(max(self.min_rollouts, 2)), len(memory.subset))
        if _forgetful(turn):
            self._weigh(memory.subset, turn, memory)  # forgetting moves every weight, not only those observed
        if self.with_replacement:
            weights = memory.tree.weights[memory.subset]
            drawn = turn.rng.choice(memory.subset, size=num, p=weights / weights.sum())
            positions, times = np.unique(drawn, return_counts=True)
        else:
            positions = memory.tree.draw(num, turn.rng)
            times = np.ones(len(positions), dtype=np.int64)
        moments = None
        if self.gradient_norms:
            moments = np.array([memory.moments.get(position, [np.nan] * 3) for position in positions.tolist()])
        spread = turn.belief.spread(positions, step=turn.step)
        sigma = allocation_scale(turn.belief.mean(positions, step=turn.step), moments, spread=spread)
        sizes = _split(times * sigma, turn.rollouts_per_step, self.min_rollouts, self.max_rollouts)
        kept = sizes > 0
        weighed = times[kept] if self.weighs_groups else None
        return Draft(positions[kept], sizes[kept], weights=weighed, then="none")

    def _weigh(self, positions: Positions, run: Run, memory: Memory) -> None:
        memory.tree.set(positions, _weights(run.belief.spread(positions, step=run.step), self.temperature))


def _forgetful(run: Run) -> bool:
    return run.belief.discount < 1 or run.belief.window is not None


def _split(shares: Floats, total: int, low: int, high: int | None) -> NDArray[np.int64]:
    """Rollouts for each prompt. Without a minimum, a single one goes to the others: a group of one has no advantage."""
    sizes, kept = np.zeros(len(shares), dtype=np.int64), np.ones(len(shares), dtype=np.bool_)
    while True:
        most = None if high is None else max(high, -(-total // int(kept.sum())))  # a small pool still uses its budget
        sizes[kept] = largest_remainder(shares[kept], total, low, most)
        alone = sizes == 1
        if low > 0 or not alone.any():
            return sizes
        sizes[alone], kept[alone] = 0, False


def _weights(spread: Floats, temperature: float) -> Floats:
    # Relative to the largest value of 0/1 rewards, and never 0: tiny temperatures neither overflow nor lose prompts.
    return np.clip(np.exp(np.minimum((spread - 0.5) / temperature, 600.0)), 1e-290, None)
