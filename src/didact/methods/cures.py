"""CurES: sample prompts by how much there is to gain, and give each the rollouts its variance deserves.

Zeng, Sun et al., "CurES: From Gradient Analysis to Efficient Curriculum Learning for Reasoning LLMs", arXiv:2510.01037.

    distribution   rho(x) ~ exp( sqrt(p(1-p)) / temperature )                                          eq. 14
    allocation     n_i = N sigma_i / sum_j sigma_j,   sigma_i^2 = trace of the covariance of A g       eqs. 17-21
    posterior      alpha += passes, beta += failures; p = alpha / (alpha + beta)                       eq. 23

In iterations: a disjoint subset of the pool, a pilot of `pilot_rollouts` for each of its prompts, then
`steps_per_iteration` steps that draw from rho, allocate, and update the posterior; then everything is forgotten and the
next subset begins. Pilot rollouts are counted like all others, and train only if asked to.

The pilot's counts are alpha and beta themselves (eqs. 22-23): no pseudo-counts, so a prompt at 0 of 4 has sigma 0, and
gets no rollouts if it is drawn. Where all drawn prompts have sigma 0, for which the paper gives 0 / 0, they are rolled
out in equal groups: a step that trains on nothing must not be the last word on pilots that were unanimous by chance.

Where this departs from the paper: batches are drawn without replacement (as in the released code; `with_replacement`
gives the paper's draw, a prompt drawn k times having k shares of the allocation and k times the weight in the loss, eq.
16); integers come from largest remainders, where the paper says nothing. The paper prints no temperature. For rewards
other than 0 and 1 the standard deviation of the reward stands in for sqrt(p(1-p)), which it equals for those.

`as_released=True` does what the published repository (ZexuSun/CurES) does instead, which differs much: see
`didact.methods.cures_released`. This file is longer than others for its options, of which that one is a second method.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from didact.advantage import AdvantageKind, WeightMode
from didact.allocation import without_singles
from didact.bounds import MAX_PER_STEP, MAX_STEP
from didact.ledger import OpenGroup
from didact.memory import derived
from didact.method import Arrivals, Draft, Run, Turn, option
from didact.methods import cures_released
from didact.methods.gradient_moments import allocation_scale as allocation_scale
from didact.methods.gradient_moments import believed_scale, gradient_moments
from didact.rounds.bounds import check_bounds
from didact.rounds.iterations import IteratedMethod, IterationOfSteps
from didact.spread_tree import SpreadTree
from didact.spread_tree import sampling_distribution as sampling_distribution
from didact.weight_tree import WeightTree


@dataclass
class Memory(IterationOfSteps):
    """What is known of the iteration."""

    moments: dict[int, list[float]] = field(default_factory=dict)  # of gradients, by position
    accepted: dict[int, int] = field(default_factory=dict)  # passes of the pilot, by position, for the released code
    rho: SpreadTree = derived(lambda: SpreadTree(WeightTree(0), 1.0))


@dataclass(frozen=True, kw_only=True)
class CurES(IteratedMethod):
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

    def prompts_of(self, run: Run) -> int:
        return self.subset_size or super().prompts_of(run)

    def largest_batch(self, run: Run) -> int:
        return cures_released.largest_batch(run) if self.as_released else run.rollouts_per_step

    def init(self, run: Run) -> Memory:
        self.check_pilots(run)
        check_bounds(run, self.min_rollouts, self.max_rollouts)
        return Memory(rho=SpreadTree(run.pool.weight_tree(), self.temperature))

    def begin(self, turn: Turn, memory: Memory) -> None:
        memory.begin(turn, self.prompts_of(turn), self.pilot_rollouts, forget=self.reset)
        if self.reset:
            memory.moments = {}
        memory.rho.enter(memory.subset, turn)

    def batch(self, turn: Turn, memory: Memory) -> Draft | None:
        if not self.as_released and not turn.fitting(1, turn.rollouts_per_step):
            return None
        memory.steps_done += 1
        if self.as_released:
            return cures_released.draft(turn, memory.subset, memory.accepted, self.pilot_rollouts)
        drawn = turn.batch_of(max(self.min_rollouts, 2))
        positions, times = memory.rho.draw(drawn, turn, with_replacement=self.with_replacement)
        sigma = believed_scale(positions, turn, memory.moments if self.gradient_norms else None)
        sizes = without_singles(times * sigma, turn.rollouts_per_step, self.min_rollouts, self.max_rollouts)
        kept = sizes > 0
        return Draft(positions[kept], sizes[kept], weights=times[kept] if self.weighs_groups else None, then="none")

    def observed(self, arrivals: Arrivals, run: Run, memory: Memory) -> None:
        if self.as_released:
            cures_released.note(memory.accepted, arrivals)
        else:
            memory.rho.follow(memory.inside(np.unique(arrivals.positions)), run)

    def forgot(self, group: OpenGroup, memory: Memory) -> bool:
        return self.reset and group.step < memory.first and len(memory.inside(np.array([group.position]))) > 0

    def gradients(self, position: int, gram: ArrayLike, passed: ArrayLike, memory: Memory) -> None:
        memory.moments[position] = [float(moment) for moment in gradient_moments(gram, passed)]

    def resume(self, run: Run, memory: Memory) -> None:
        memory.check(run)
        memory.rho.enter(memory.subset, run)
