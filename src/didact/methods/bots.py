"""BOTS: Bayesian online selection from own outcomes and from what two reference models say about every prompt.

Shen et al., "BOTS: A Unified Framework for Bayesian Online Task Selection in LLM Reinforcement Finetuning",
arXiv:2510.26374; constants of the released run (modelscope/Trinity-RFT, examples/bots).

    capability   cap <- 0.9 cap + 0.1 (mean pass rate - mean weak) / (mean strong - mean weak)   over the step's prompts
    implicit     p_i = clip(weak_i + cap (strong_i - weak_i), 0, 1)          prompts that were not visited
    update       alpha <- (1 - lam) alpha + lam alpha_0 + passes             visited
                 alpha <- (1 - lam) alpha + lam alpha_0 + rho m p_i          all others;  beta the same with failures
    select       score = -|target - p|, p drawn from Beta(alpha, beta) or its mean; the best B, or soft-max(score / tau)

m is the group size, rollouts_per_step // prompts_per_step; (alpha_0, beta_0) is the option `prior`. For a visited
prompt the paper's (1 - rho) s + rho m q is its own passes, since q = s / m.

Every prompt moves in every step, so a step costs two vectorised passes over the pool: this rule cannot cost less.
Without `weak` and `strong` there is no implicit evidence: what is left is a discounted Beta belief per prompt.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from didact.arrays import Floats, Positions
from didact.belief.beta import moments
from didact.belief.interpolation import InterpolatedCounts, Interpolation
from didact.belief.reference import ReferenceRates, Singles
from didact.method import Arrivals, Draft, Method, Run, Turn, option
from didact.selection import best as best


@dataclass(frozen=True, kw_only=True)
class BOTS(Method):
    """Posteriors fed by own rollouts and by two reference models, for all prompts."""

    name = "bots"
    paper = "arXiv:2510.26374"
    one_round = True  # and not shardable: every prompt moves in every step
    advantage = "grpo"
    loss_weighting = "token"

    weak: Any = option(None, "pass rates of a weak reference model, one per prompt or nan; numbers, .npy or .json")
    strong: Any = option(None, "those of a strong one; both or neither")
    lam: float = option(0.1, "share of the evidence that a step forgets", least=0, most=1)
    rho: float = option(0.1, "weight of implicit evidence", least=0, most=1)
    adaptive_rho: bool = option(False, "halve `rho` after a step whose interpolation missed by 0.25 or more on average")
    target: float = option(0.5, "pass rate to aim for", least=0, most=1)
    tau: float = option(0.0, "temperature of the draw; 0 takes the best", least=0)
    thompson: bool = option(True, "score a draw from the posterior, as in the released run; false scores its mean")

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.weak is None) != (self.strong is None):
            raise ValueError("bots interpolates between two reference models: give weak and strong, or neither")
        for what in ("weak", "strong"):
            object.__setattr__(self, what, ReferenceRates.given(what, getattr(self, what)))

    def recorded(self) -> dict[str, Any]:
        pair = {"weak": self.weak, "strong": self.strong}
        return {**super().recorded(), **{what: rates and rates.fingerprint for what, rates in pair.items()}}

    def init(self, run: Run) -> InterpolatedCounts:
        for rates in filter(None, (self.weak, self.strong)):
            rates.check(len(run.pool))
        memory = InterpolatedCounts.of(run.pool)
        memory.rho = self.rho
        return memory

    def resume(self, run: Run, memory: InterpolatedCounts) -> None:
        memory.check(len(run.pool))
        if memory.rho > self.rho or not (memory.cap is None or (self.weak and type(memory.cap) is float)):
            raise ValueError(f"rho must be from 0 to {self.rho}, got {memory.rho}, and cap a number, got {memory.cap}")

    def draft(self, turn: Turn, memory: InterpolatedCounts) -> Draft:
        interpolation = self._interpolation(turn)
        counts = interpolation.counts(slice(None), memory)
        memory.cap, memory.rho = interpolation.learnt(memory)
        memory.settle(slice(None), counts)
        alpha, beta = self._posterior(counts, slice(None), turn)
        scores = -np.abs((turn.rng.beta(alpha, beta) if self.thompson else alpha / (alpha + beta)) - self.target)
        if self.tau > 0:  # Gumbel noise on the logits draws from the soft-max without replacement
            scores = scores / self.tau + turn.rng.gumbel(size=len(scores))
        return turn.equal(best(scores, turn.batch, turn.rng))

    def observed(self, arrivals: Arrivals, run: Run, memory: InterpolatedCounts) -> None:
        memory.evidence.add(arrivals.groups, arrivals.rewards, run.belief)

    def predict(self, positions: Positions, run: Run, memory: InterpolatedCounts) -> tuple[Floats, Floats]:
        counts = self._interpolation(run).counts(positions, memory)
        alpha, beta = self._posterior(counts, positions, run)
        return moments(alpha.astype(np.float64), beta.astype(np.float64))

    def _interpolation(self, run: Run) -> Interpolation:
        return Interpolation(self.weak, self.strong, self.lam, self.adaptive_rho, run.share, len(run.pool))

    def _posterior(self, counts: Singles, where: Positions | slice, run: Run) -> Singles:
        """alpha and beta, shape (2, n)."""
        prior = np.array(run.belief.prior_at(where), dtype=np.float32).reshape(2, -1)
        return np.asarray(np.maximum(counts + prior, np.float32(1e-9)))
