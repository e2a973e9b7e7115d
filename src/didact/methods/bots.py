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

from didact.belief.beta import moments
from didact.belief.latest import StepEvidence
from didact.belief.reference import ReferenceRates, Singles
from didact.columns import Columns
from didact.memory import kept
from didact.method import Arrivals, Draft, Floats, Method, Positions, Run, Turn, option

_CAP_MEMORY = 0.9
_GUARD = 1e-6  # the released code's, against reference models that agree
_TOLERATED = 0.25  # mean absolute error of the interpolation above which adaptive_rho halves rho
_NAMES = ("passes", "failures")


@dataclass
class Memory:
    """Evidence about each prompt beyond the prior, and what interpolates."""

    counts: Columns  # "passes" and "failures"
    evidence: StepEvidence
    rho: float = kept(0.0, least=0)
    cap: float | None = kept(None)


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

    def init(self, run: Run) -> Memory:
        for rates in filter(None, (self.weak, self.strong)):
            rates.check(len(run.pool))
        counts = run.pool.columns(passes=np.float32(0), failures=np.float32(0))
        return Memory(counts, StepEvidence(run.pool.__len__), rho=self.rho)

    def resume(self, run: Run, memory: Memory) -> None:
        if any(memory.counts.count(name, 0) < len(run.pool) for name in _NAMES):
            raise ValueError("counts must be two numbers of at least 0 for each prompt of the pool")
        if memory.rho > self.rho or not (memory.cap is None or (self.weak and type(memory.cap) is float)):
            raise ValueError(f"rho must be from 0 to {self.rho}, got {memory.rho}, and cap a number, got {memory.cap}")

    def draft(self, turn: Turn, memory: Memory) -> Draft:
        counts = self._counts(slice(None), turn, memory)
        for name, values in zip(_NAMES, counts, strict=True):
            memory.counts.put(name, slice(None), values)
        memory.cap, memory.rho = self._learnt(turn, memory)
        memory.evidence.take()
        alpha, beta = self._posterior(counts, slice(None), turn)
        scores = -np.abs((turn.rng.beta(alpha, beta) if self.thompson else alpha / (alpha + beta)) - self.target)
        if self.tau > 0:  # Gumbel noise on the logits draws from the soft-max without replacement
            scores = scores / self.tau + turn.rng.gumbel(size=len(scores))
        return turn.equal(best(scores, turn.batch, turn.rng))

    def observed(self, arrivals: Arrivals, run: Run, memory: Memory) -> None:
        memory.evidence.add(arrivals.groups, arrivals.rewards, run.belief)

    def predict(self, positions: Positions, run: Run, memory: Memory) -> tuple[Floats, Floats]:
        alpha, beta = self._posterior(self._counts(positions, run, memory), positions, run)
        return moments(alpha.astype(np.float64), beta.astype(np.float64))

    def _counts(self, where: Positions | slice, run: Run, memory: Memory) -> Singles:
        """The counts at some positions after the running step, shape (2, n): all fade, and what came back is added.

        A step of which nothing came back moves none.
        """
        counts: Singles = np.stack([memory.counts.get(name, where) for name in _NAMES])
        told, passes, sizes = memory.evidence.gathered()
        if len(told) == 0:
            return counts
        rows, passes, sizes = (told, passes, sizes) if isinstance(where, slice) else memory.evidence.among(where)
        counts *= np.float32(1 - self.lam)
        cap, rho = self._learnt(run, memory)
        if cap is not None:
            expected = self._expected(where, cap, run)
            weight = np.float32(rho * run.share)
            expected *= weight
            spared = np.isnan(expected)  # no rates, no evidence
            spared[rows] = True  # own evidence counts instead
            counts[0] += np.where(spared, 0, expected)
            counts[1] += np.where(spared, 0, weight - expected)
        counts[:, rows] += np.stack([passes, sizes - passes]).astype(np.float32)
        return counts

    def _learnt(self, run: Run, memory: Memory) -> tuple[float | None, float]:
        """Capability and rho after the running step."""
        told, passes, sizes = memory.evidence.gathered()
        cap, rho = memory.cap, memory.rho
        if self.weak is None or len(told) == 0:
            return cap, rho
        size, rates = len(run.pool), passes / sizes
        weak = self.weak.of(size)[told]
        apart = (self.strong.of(size)[told] - weak).astype(np.float64)
        known = np.isfinite(apart)
        gap = apart[known].mean() + _GUARD if known.any() else 0.0
        if gap != 0:
            estimate = float((rates - weak.astype(np.float64))[known].mean() / gap)
            cap = estimate if cap is None else _CAP_MEMORY * cap + (1 - _CAP_MEMORY) * estimate
        if self.adaptive_rho and cap is not None and known.any():
            error = np.abs(self._expected(told, cap, run) - rates)[known]
            rho = rho / 2 if error.mean() >= _TOLERATED else rho
        return cap, rho

    def _expected(self, where: Positions | slice, cap: float, run: Run) -> Singles:
        """Interpolated pass rates, shape (n,); nan where a reference is unknown."""
        weak, strong = (rates.of(len(run.pool))[where] for rates in (self.weak, self.strong))
        expected: Singles = (strong - weak) * np.float32(cap) + weak
        return np.clip(expected, 0.0, 1.0, out=expected)

    def _posterior(self, counts: Singles, where: Positions | slice, run: Run) -> Singles:
        """alpha and beta, shape (2, n)."""
        prior = np.stack([np.float32(each) for each in run.belief.prior_at(where)]).reshape(2, -1)
        return np.asarray(np.maximum(counts + prior, np.float32(1e-9)))


def best(scores: Floats | Singles, num: int, rng: np.random.Generator) -> Positions:
    """Positions of the `num` largest scores, best first; among equal ones at the edge, a random choice."""
    cut = np.partition(scores, len(scores) - num)[len(scores) - num]
    above, tied = np.flatnonzero(scores > cut), np.flatnonzero(scores == cut)
    above = above[np.argsort(-scores[above], kind="stable")]
    return np.concatenate([above, rng.choice(tied, num - len(above), replace=False)])
