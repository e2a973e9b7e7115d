"""MoPPS: Thompson sampling of prompts whose pass rate may be one half.

Qu et al., "Can Prompt Difficulty be Online Predicted for Accelerating RL Finetuning of Reasoning Models?",
arXiv:2507.04632 (Algorithm 1).

    visit    alpha <- lam alpha + (1 - lam) alpha_0 + passes,   beta the same with failures
    select   one draw p ~ Beta(alpha, beta) for each of candidate_ratio * B candidates;
             train on the B with the smallest (p - target)^2

Candidates come in shuffled passes. The prior (alpha_0, beta_0) is the option `prior`. Nothing is rolled out to choose:
a step costs what a uniform one does.

Where this departs from the released code (thu-rllab/MoPPS): a prompt with a single rollout is updated like any other
(an operator-precedence slip sets both counts to 8 there); rewards may be fractions of a pass; a group that comes in
parts within a step is one visit.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from didact.arrays import Floats, Positions
from didact.belief.beta import moments
from didact.belief.counts import PassCounts
from didact.belief.reference import ReferenceRates
from didact.bounds import MAX_STEP
from didact.method import Arrivals, Draft, Method, Run, Turn, option
from didact.selection import thompson
from didact.selection import within_band as within_band


@dataclass(frozen=True, kw_only=True)
class MoPPS(Method):
    """Draw pass rates from the beliefs about candidates, take those nearest to one half."""

    name = "mopps"
    paper = "arXiv:2507.04632"
    one_round = True
    shardable = True
    advantage = "grpo"
    loss_weighting = "token"

    candidate_ratio: int = option(16, "candidates per prompt that trains; 1 selects nothing", least=1, most=MAX_STEP)
    target: float = option(0.5, "pass rate to aim for", least=0, most=1)
    mode: str = option("top", '"top": nearest to `target`; "band": any in [low, high]', choices=("top", "band"))
    low: float = option(0.3, "lower end of the band")
    high: float = option(0.7, "upper end of the band")
    lam: float = option(1.0, "how much of the evidence a visit leaves; 1 forgets nothing", least=0, most=1)
    offline_rates: Any = option(None, "pass rates from before the run, in place of the pool's; numbers, .npy or .json")
    offline_weight: float = option(3.0, "pseudo-rollouts that an offline rate counts for", least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.low < self.high:
            raise ValueError(f"a band needs low < high, got {self.low} and {self.high}")
        object.__setattr__(self, "offline_rates", ReferenceRates.given("offline_rates", self.offline_rates))

    def recorded(self) -> dict[str, Any]:
        return {**super().recorded(), "offline_rates": self.offline_rates and self.offline_rates.fingerprint}

    def init(self, run: Run) -> PassCounts:
        if self.offline_rates is None:
            return PassCounts.of(run.pool)
        self.offline_rates.check(len(run.pool))
        return PassCounts.of(run.pool, left=np.float32(1))  # the share that visits left of them

    def resume(self, run: Run, memory: PassCounts) -> None:
        memory.check(len(run.pool))

    def draft(self, turn: Turn, memory: PassCounts) -> Draft:
        told, _, _ = memory.evidence.gathered()  # the visits of the step before are over
        memory.settle(told, self._counts(told, memory))
        candidates = turn.walk(self.candidate_ratio * turn.batch)
        draws = np.asarray(turn.rng.beta(*self._posterior(candidates, turn, memory)))
        if self.mode == "top":
            chosen = thompson(draws, turn.batch, target=self.target)
        else:
            chosen = within_band(draws, turn.batch, self.low, self.high, turn.rng)
        return turn.equal(candidates[chosen])

    def observed(self, arrivals: Arrivals, run: Run, memory: PassCounts) -> None:
        memory.evidence.add(arrivals.groups, arrivals.rewards, run.belief)

    def predict(self, positions: Positions, run: Run, memory: PassCounts) -> tuple[Floats, Floats]:
        return moments(*self._posterior(positions, run, memory))

    def _counts(self, positions: Positions, memory: PassCounts) -> Floats:
        """The columns with the visits of the running step, shape (2 or 3, n)."""
        counts = memory.get(positions).astype(np.float64)
        rows, passes, sizes = memory.evidence.among(positions)
        counts[:, rows] *= self.lam
        counts[:2, rows] += [passes, sizes - passes]
        return counts

    def _posterior(self, positions: Positions, run: Run, memory: PassCounts) -> Floats:
        """alpha and beta, shape (2, n). Offline rates take the place of the pool's."""
        counts = self._counts(positions, memory)
        if self.offline_rates is None:
            start = np.array(run.belief.prior_at(positions)).reshape(2, -1)
        else:
            rates = self.offline_rates.of(len(run.pool))[positions].astype(np.float64)
            offline = np.nan_to_num(self.offline_weight * np.stack([rates, 1 - rates]))
            start = np.array(run.belief.prior)[:, None] + counts[2] * offline
        return np.asarray(np.maximum(start + counts[:2], 1e-9))
