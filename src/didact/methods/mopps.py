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

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from didact.allocation import largest_remainder
from didact.bounds import MAX_STEP, one_of, real, whole
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
from didact.selection import ShuffledPasses, thompson
from didact.state import in_order


def within_band(draws: Floats, num: int, low: float, high: float, rng: np.random.Generator) -> Positions:
    """A random `num` of the draws in [low, high]; where they are fewer, the `num` nearest to the band."""
    inside = np.flatnonzero((draws >= low) & (draws <= high))
    if len(inside) >= num:
        return rng.choice(inside, num, replace=False)
    distance = np.maximum(np.maximum(low - draws, draws - high), 0.0)
    return np.argsort(distance, kind="stable")[:num]


class MoPPS(Curriculum):
    """Thompson sampling among candidates.

    Args:
        candidate_ratio: candidates per prompt that trains; 16 in the paper's runs on mathematics, 8 on countdown and
            geometry. 1 is no selection at all.
        target: pass rate to aim for.
        mode: "top" takes the draws nearest to `target`; "band" a random choice of those in [low, high].
        low, high: the band.
        lam: how much of the evidence a visit leaves; 1 forgets nothing (mathematics), 0.5 in their other runs.
        offline_rates: pass rates measured before the run, one per prompt (nan where unknown), as numbers or as the path
            of an .npy array or .json list. They take the place of the pool's `pass_rate`.
        offline_weight: pseudo-rollouts an offline rate counts for; the released code counts each offline rollout three
            times, so give 3 k for rates out of k rollouts.

    Further options: those of `Curriculum`.
    """

    name = "mopps"
    one_round = True
    advantage = "grpo"
    loss_weighting = "token"

    def __init__(
        self,
        pool: PromptPool,
        *,
        candidate_ratio: int = 16,
        target: float = 0.5,
        mode: Literal["top", "band"] = "top",
        low: float = 0.3,
        high: float = 0.7,
        lam: float = 1.0,
        offline_rates: ArrayLike | str | None = None,
        offline_weight: float = 3.0,
        **common: Any,
    ) -> None:
        low, high = real("low", low), real("high", high)
        if not low < high:
            raise ValueError(f"a band needs low < high, got {low} and {high}")
        offline = None if offline_rates is None else pass_rate_column("offline_rates", offline_rates, len(pool))
        options = {
            "candidate_ratio": whole("candidate_ratio", candidate_ratio, 1, MAX_STEP),
            "target": real("target", target, 0, 1),
            "mode": one_of("mode", mode, ("top", "band")),
            "low": low,
            "high": high,
            "lam": real("lam", lam, 0, 1),
            "offline_rates": fingerprint(offline),
            "offline_weight": real("offline_weight", offline_weight, 0),
        }
        super().__init__(pool, options=options, **common)
        self.uneven = self._divides_unevenly()
        self._offline = offline
        self._passes = ShuffledPasses(self.seed)
        self._evidence = StepEvidence()
        self._counts = self._initial(0, len(pool))  # alpha and beta, shape (2, pool)

    def _draft(self, step: int, round: int, rng: np.random.Generator) -> Draft | None:
        if round > 0:
            return None
        self._fold()
        num = self._batch_size()
        candidates = self._passes.take(self.options["candidate_ratio"] * num, len(self.pool))
        alpha, beta = np.maximum(self._counts[:, candidates], 1e-9)
        draws = np.asarray(rng.beta(alpha, beta))
        if self.options["mode"] == "top":
            chosen = thompson(draws, num, target=self.options["target"])
        else:
            chosen = within_band(draws, num, self.options["low"], self.options["high"], rng)
        return Draft(candidates[chosen], largest_remainder(np.ones(num), self.rollouts_per_step))

    def _observed(self, positions: Positions, fresh: Sequence[tuple[OpenGroup, GroupOutcome]]) -> None:
        self._evidence.add(positions, fresh, self.belief, truncated=self._truncated)

    def _fold(self) -> None:
        """Bring the counts up to date with the pool and with the visits of the step before."""
        missing = len(self.pool) - self._counts.shape[1]
        if missing:
            self._counts = np.concatenate([self._counts, self._initial(self._counts.shape[1], len(self.pool))], axis=1)
        positions, passes, sizes = self._evidence.take()
        lam, prior = self.options["lam"], self._prior(positions)
        new = np.stack([passes, sizes - passes])
        self._counts[:, positions] = lam * self._counts[:, positions] + (1 - lam) * prior + new

    def _initial(self, start: int, stop: int) -> Singles:
        counts = self._prior(np.arange(start, stop)).astype(np.float32)
        if self._offline is not None:
            rates = fitted(self._offline, stop)[start:]
            counts += np.nan_to_num(self.options["offline_weight"] * np.stack([rates, 1 - rates])).astype(np.float32)
        return counts

    def _prior(self, positions: Positions) -> Floats:
        """The pseudo-counts these prompts start from, shape (2, n). Offline rates take the place of the pool's."""
        pair = self.belief.prior if self._offline is not None else self.belief.prior_at(positions)
        return np.stack([np.broadcast_to(counts, len(positions)) for counts in pair])

    def _own_state(self) -> dict[str, Any]:
        seen = np.flatnonzero(self.belief.last_seen(slice(self._counts.shape[1])) >= 0)
        return {
            "passes": self._passes.state_dict(),
            "evidence": self._evidence.state_dict(),
            "size": self._counts.shape[1],
            "seen": seen,
            "counts": self._counts[:, seen],
        }

    def _load_own_state(self, state: Mapping[str, Any]) -> None:
        self._passes.load_state_dict(state["passes"])
        self._evidence.load_state_dict(state["evidence"], len(self.pool))
        if state["size"] > len(self.pool) or not in_order(state["seen"], state["size"]):
            raise ValueError(f"counts of {state['size']} prompts do not fit a pool of {len(self.pool)}")
        if not ((state["counts"] >= 0) & (state["counts"] < np.inf)).all():
            raise ValueError("counts must be finite and not negative")
        self._counts = self._initial(0, state["size"])
        self._counts[:, state["seen"]] = state["counts"]
