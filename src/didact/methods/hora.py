"""HORA: probe every prompt of the batch, then send the rest of the budget where a first hit is likeliest.

Wang et al., "Where to Spend Rollouts: Hit-Utility Optimal Rollout Allocation for Group-Based RLVR", arXiv:2605.07114.

    belief     p ~ Beta(1 + s, 1 + f)      after s passes and f failures among the probes of this step
    utility    U(m) = 1 - E[(1-p)^m]       chance of at least one hit in m more rollouts
    gain       U(l+1) - U(l) = E[p (1-p)^l] = a/(a+b) prod_{j<l} (b+j) / (a+b+j+1)

The gain falls with l, so handing out one rollout at a time where it gains most is the optimum. Both rounds make up one
group, all of it trains, and the total is that of the uniform run. Nothing is remembered across steps.

Where this departs from the paper: the number of probes and the cap are given as parts of the equal share, since the
notes this was written from name neither; what a cap leaves over in a small pool lifts the cap.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.allocation import greedy
from didact.bounds import MAX_PER_STEP, whole_or_none
from didact.curriculum import Curriculum, Draft
from didact.prompts import PromptPool


def hit_gain(passes: float, failures: float, extra: int) -> float:
    """What one rollout more adds to the chance of a hit, after `extra` more have been planned: E[p (1-p)^extra]."""
    a, b = 1.0 + passes, 1.0 + failures
    log = math.lgamma(a + b) - math.lgamma(b) + math.lgamma(b + extra) - math.lgamma(a + b + extra + 1)
    return a * math.exp(log)


def allocate_hits(passes: ArrayLike, failures: ArrayLike, total: int, minimum: int, maximum: int) -> NDArray[np.int64]:
    """Extra rollouts by prompt, shape (n,), between `minimum` and `maximum` each, that make the most of the hits."""
    counts = list(zip(np.asarray(passes, float).tolist(), np.asarray(failures, float).tolist(), strict=True))
    bounds = (np.full(len(counts), bound, dtype=np.int64) for bound in (minimum, maximum))
    return greedy(lambda index, have: hit_gain(*counts[index], have), total, *bounds)


class HORA(Curriculum):
    """Probes, then the rest by hit utility.

    Args:
        probe_rollouts: G0, rollouts of every prompt in the first round. None takes half of the equal share.
        max_rollouts: most rollouts of a prompt, probes included: hopeless prompts would take all they can get. None
            takes four times the equal share.

    Further options: those of `Curriculum`.
    """

    name = "hora"
    shardable = True
    uneven = True
    advantage = "grpo"

    def __init__(
        self, pool: PromptPool, *, probe_rollouts: int | None = None, max_rollouts: int | None = None, **common: Any
    ) -> None:
        probe_rollouts = whole_or_none("probe_rollouts", probe_rollouts, 1, MAX_PER_STEP)
        max_rollouts = whole_or_none("max_rollouts", max_rollouts, 1, MAX_PER_STEP)
        options = {"probe_rollouts": probe_rollouts, "max_rollouts": max_rollouts}
        super().__init__(pool, options=options, **common)
        share = self.rollouts_per_step // min(self.prompts_per_step, len(pool))
        if probe_rollouts is not None and probe_rollouts > share:
            raise ValueError(f"probe_rollouts={probe_rollouts} exceeds the equal share of {share} rollouts a prompt")
        if max_rollouts is not None and max_rollouts * self.prompts_per_step < self.rollouts_per_step:
            raise ValueError(
                f"max_rollouts={max_rollouts} for {self.prompts_per_step} prompts cannot use up "
                f"rollouts_per_step={self.rollouts_per_step}"
            )
        self._passes = pool.passes(self.seed)
        self._probed = 0  # prompts probed at this step
        self._ended = -1  # the latest step that got all its rollouts

    @property
    def next_round(self) -> Literal["none", "now", "later"]:
        return "none" if self._ended == self._step else "later"

    def _draft(self, step: int, round: int, rng: np.random.Generator) -> Draft | None:
        if self._ended == step:
            return None
        if round == 0:
            positions = self._passes.take(self._batch_size(), len(self.pool))
            self._probed = len(positions)
            return Draft(positions, np.full(self._probed, self._probes(), dtype=np.int64), reason="screen")
        self._ended = step
        return self._continue(step)

    def _probes(self) -> int:
        share = self.rollouts_per_step // self._probed
        return min(self.options["probe_rollouts"] or max(share // 2, 1), share)

    def _continue(self, step: int) -> Draft | None:
        """More rollouts for the probed groups that came back; the others have no belief to go by."""
        groups = [group for group in self._ledger.waiting() if group.step == step]
        if not groups:
            return None
        probes = self._probes()
        passes = [float(self.belief.passes(np.array(group.rewards)[group.usable]).sum()) for group in groups]
        failures = [len(group.usable) - hits for group, hits in zip(groups, passes, strict=True)]
        cap = self.options["max_rollouts"] or 4 * (self.rollouts_per_step // self.prompts_per_step)
        cap = max(cap, -(-self.rollouts_per_step // self._probed))  # a small pool still uses its budget
        least = max(2 - probes, 0)  # a group of one has no advantage
        extra = allocate_hits(
            passes, failures, self.rollouts_per_step - probes * self._probed, least, max(cap - probes, least)
        )
        chosen = np.flatnonzero(extra)
        return Draft(
            np.array([groups[index].position for index in chosen], dtype=np.int64),
            extra[chosen],
            reason="continue",
            group_ids=[groups[index].group_id for index in chosen],
        )

    def _own_state(self) -> dict[str, Any]:
        return {"passes": self._passes.state_dict(), "probed": self._probed, "ended": self._ended}

    def _load_own_state(self, state: Mapping[str, Any]) -> None:
        self._passes.load_state_dict(state["passes"])
        self._probed, self._ended = state["probed"], state["ended"]
        if not (0 <= self._probed <= self.prompts_per_step and -1 <= self._ended <= self._step):
            raise ValueError(f"{self._probed} prompts probed, step {self._ended} ended, at step {self._step}")
