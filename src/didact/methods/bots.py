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

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from didact.allocation import largest_remainder
from didact.bounds import flag, real
from didact.curriculum import Curriculum, Draft
from didact.ledger import OpenGroup
from didact.methods.references import (
    Floats,
    Positions,
    Singles,
    StepEvidence,
    fingerprint,
    fitted,
    pass_rate_column,
)
from didact.outcomes import GroupOutcome
from didact.prompts import PromptPool

_CAP_MEMORY = 0.9
_GUARD = 1e-6  # the released code's, against reference models that agree
_TOLERATED = 0.25  # mean absolute error of the interpolation above which adaptive_rho halves rho


class BOTS(Curriculum):
    """Beta beliefs that move for every prompt in every step.

    Args:
        weak, strong: pass rates of a weak and a strong reference model, one per prompt (nan where unknown), as numbers
            or as the path of an .npy array or .json list; both or neither. More than the pool has are for prompts that
            join later.
        lam: share of the evidence that a step forgets.
        rho: weight of implicit evidence.
        adaptive_rho: halve `rho` after each step in which the interpolation missed by 0.25 or more on average.
        target: pass rate to aim for.
        tau: temperature of the draw; 0 takes the best.
        thompson: score a draw from the posterior, as in the released run; false scores its mean.

    Further options: those of `Curriculum`.
    """

    name = "bots"
    one_round = True
    advantage = "grpo"
    loss_weighting = "token"

    def __init__(
        self,
        pool: PromptPool,
        *,
        weak: ArrayLike | str | None = None,
        strong: ArrayLike | str | None = None,
        lam: float = 0.1,
        rho: float = 0.1,
        adaptive_rho: bool = False,
        target: float = 0.5,
        tau: float = 0.0,
        thompson: bool = True,
        **common: Any,
    ) -> None:
        if (weak is None) != (strong is None):
            raise ValueError("bots interpolates between two reference models: give weak and strong, or neither")
        pair = {"weak": weak, "strong": strong}
        columns = {what: pass_rate_column(what, rates, len(pool)) for what, rates in pair.items() if rates is not None}
        options: dict[str, Any] = {
            **{what: fingerprint(columns.get(what)) for what in pair},
            "lam": real("lam", lam, 0, 1),
            "rho": real("rho", rho, 0, 1),
            "adaptive_rho": flag("adaptive_rho", adaptive_rho),
            "target": real("target", target, 0, 1),
            "tau": real("tau", tau, 0),
            "thompson": flag("thompson", thompson),
        }
        super().__init__(pool, options=options, **common)
        self.uneven = self._divides_unevenly()
        self._given = columns
        self._rho = float(options["rho"])
        self._cap: float | None = None
        self._evidence = StepEvidence()
        self._counts: Singles = np.zeros((2, 0), dtype=np.float32)  # alpha and beta beyond the prior
        self._weak: Singles = np.zeros(0, dtype=np.float32)
        self._grow()

    def _draft(self, step: int, round: int, rng: np.random.Generator) -> Draft | None:
        if round > 0:
            return None
        self._grow()
        self._update()
        scores = -np.abs(self._pass_rates(rng) - self.options["target"])
        if self.options["tau"] > 0:  # Gumbel noise on the logits draws from the soft-max without replacement
            scores = scores / self.options["tau"] + rng.gumbel(size=len(scores))
        positions = best(scores, self._batch_size(), rng)
        return Draft(positions, largest_remainder(np.ones(len(positions)), self.rollouts_per_step))

    def _observed(self, positions: Positions, fresh: Sequence[tuple[OpenGroup, GroupOutcome]]) -> None:
        self._evidence.add(positions, fresh, self.belief, truncated=self._truncated)

    def _grow(self) -> None:
        extra = max(len(self.pool) - self._counts.shape[1], 0)
        self._counts = np.concatenate([self._counts, np.zeros((2, extra), np.float32)], axis=1)
        if self._given and len(self._weak) < len(self.pool):
            weak, strong = (fitted(self._given[what], len(self.pool)) for what in ("weak", "strong"))
            self._weak, self._apart = weak, strong - weak
            self._unknown = np.flatnonzero(np.isnan(self._apart))

    def _update(self) -> None:
        """The step before moves every prompt. A step of which nothing came back moves none."""
        positions, passes, sizes = self._evidence.take()
        if len(positions) == 0:
            return
        self._counts *= np.float32(1 - self.options["lam"])
        if self._given:
            self._add_implicit(positions, passes / sizes)
        self._counts[:, positions] += np.stack([passes, sizes - passes]).astype(np.float32)

    def _add_implicit(self, positions: Positions, rates: Floats) -> None:
        weak, apart = self._weak[positions].astype(np.float64), self._apart[positions].astype(np.float64)
        known = np.isfinite(apart)
        gap = apart[known].mean() + _GUARD if known.any() else 0.0
        if gap != 0:
            estimate = float((rates - weak)[known].mean() / gap)
            self._cap = estimate if self._cap is None else _CAP_MEMORY * self._cap + (1 - _CAP_MEMORY) * estimate
        if self._cap is None:
            return
        expected = self._apart * np.float32(self._cap)
        expected += self._weak
        np.clip(expected, 0.0, 1.0, out=expected)
        error = np.abs(expected[positions] - rates)[known]
        if self.options["adaptive_rho"] and len(error) and error.mean() >= _TOLERATED:
            self._rho /= 2
        spared = np.concatenate([positions, self._unknown])  # own evidence counts instead; and no rates, no evidence
        before = self._counts[:, spared]
        weight = np.float32(self._rho * (self.rollouts_per_step // self.prompts_per_step))
        expected *= weight
        self._counts[0] += expected
        self._counts[1] += weight - expected
        self._counts[:, spared] = before

    def _pass_rates(self, rng: np.random.Generator) -> Floats | Singles:
        alpha, beta = self._counts + np.stack([np.float32(each) for each in self.belief.prior_at()]).reshape(2, -1)
        if self.options["thompson"]:
            return np.asarray(rng.beta(np.maximum(alpha, 1e-9), np.maximum(beta, 1e-9)))
        return np.asarray(alpha / np.maximum(alpha + beta, np.float32(1e-9)))

    def _own_state(self) -> dict[str, Any]:
        return {
            "counts": self._counts.copy(),
            "evidence": self._evidence.state_dict(),
            "cap": self._cap,
            "rho": self._rho,
        }

    def _load_own_state(self, state: Mapping[str, Any]) -> None:
        self._counts = np.array(state["counts"], dtype=np.float32)
        self._evidence.load_state_dict(state["evidence"], len(self.pool))
        self._cap, self._rho = state["cap"], state["rho"]
        if self._counts.shape[1] > len(self.pool) or not ((self._counts >= 0) & (self._counts < np.inf)).all():
            raise ValueError("counts must be two numbers of at least 0 for each prompt of the pool")
        if not (0 <= self._rho <= self.options["rho"] and np.isfinite(self._cap or 0)):
            raise ValueError(
                f"rho must be from 0 to {self.options['rho']}, got {self._rho}, and cap {self._cap} finite"
            )


def best(scores: Floats | Singles, num: int, rng: np.random.Generator) -> Positions:
    """Positions of the `num` largest scores, best first; among equal ones at the edge, a random choice."""
    cut = np.partition(scores, len(scores) - num)[len(scores) - num]
    above, tied = np.flatnonzero(scores > cut), np.flatnonzero(scores == cut)
    above = above[np.argsort(-scores[above], kind="stable")]
    return np.concatenate([above, rng.choice(tied, num - len(above), replace=False)])
