"""Reinforce-Ada: keep sampling a prompt, round by round, until its group is worth training on; train on a part of it.

Xiong et al., "Reinforce-Ada: An Adaptive Sampling Framework for Reinforce-Style LLM Training", arXiv:2510.04996, and
the released code, RLHFlow/Reinforce-Ada.

    all prompts of the batch are active; up to max_rounds times:
        rollouts_per_round more for each active prompt, added to its group
        retire it with keep/2 passes and keep/2 failures ("balance"), or with one pass ("positive")
    train on keep rollouts of each, first come first, as near to half and half as the group allows
    advantage = reward - mean reward of the whole group, not of the part that is kept; no standard deviation

A rollout passes when its reward is greater than `threshold`. Every prompt of the batch trains; a group whose rewards
are all the same has zero advantages. Nothing is remembered across steps. The advantages of what is kept need not add up
to zero, and a balanced group weighs hard and easy prompts up by about 1 / (2 min(p, 1-p)): that is the method.

Departures: a round whose rollouts exceed the budget of a plan takes several plans; `keep` is the group size,
rollouts_per_step // prompts_per_step, 4 in the paper; the mean is of the rewards, where the code takes the share above
the threshold, which is the same for 0 and 1.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from didact.bounds import MAX_PER_STEP, MAX_REWARD, one_of, real, whole, whole_or_none
from didact.curriculum import Curriculum, Draft
from didact.ledger import OpenGroup
from didact.prompts import PromptPool
from didact.state import in_order


class ReinforceAda(Curriculum):
    """Successive elimination within a step.

    Args:
        mode: when a prompt has enough: "balance" (half of `keep` passes and half fail) or "positive" (one passes).
        rollouts_per_round: for each active prompt; no more than the budget of a plan.
        max_rounds: rounds of a prompt.
        keep: rollouts of each prompt that train. None is the group size, rollouts_per_step // prompts_per_step;
            published 4.
        threshold: a rollout passes when its reward is greater.

    Further options: those of `Curriculum`.
    """

    name = "reinforce_ada"
    shardable = True
    own_baseline = True
    advantage = "dr_grpo"
    loss_weighting = "token"

    def __init__(
        self,
        pool: PromptPool,
        *,
        mode: Literal["balance", "positive"] = "balance",
        rollouts_per_round: int = 8,
        max_rounds: int = 4,
        keep: int | None = None,
        threshold: float = 0.7,
        **common: Any,
    ) -> None:
        one_of("mode", mode, ("balance", "positive"))
        rollouts_per_round = whole("rollouts_per_round", rollouts_per_round, 2, MAX_PER_STEP)
        max_rounds = whole("max_rounds", max_rounds, 1, MAX_PER_STEP)
        keep = whole_or_none("keep", keep, 2)
        threshold = real("threshold", threshold, -MAX_REWARD, MAX_REWARD)
        options = {
            "mode": mode,
            "rollouts_per_round": rollouts_per_round,
            "max_rounds": max_rounds,
            "keep": keep,
            "threshold": threshold,
        }
        super().__init__(pool, options=options, **common)
        self._per_round = min(rollouts_per_round, self.rollouts_per_step)
        self._most = self._per_round * max_rounds
        self._keep = max(self.rollouts_per_step // self.prompts_per_step, 2) if keep is None else keep
        if not 2 <= self._keep <= self._most:
            raise ValueError(
                f"keep={self._keep} must be from 2 to rollouts_per_round * max_rounds = {self._most}; "
                "give keep, or raise rollouts_per_round"
            )
        self._positive = mode == "positive"
        self._threshold = threshold
        self._passes = pool.passes(self.seed)
        self._pending: NDArray[np.int64] = np.zeros(0, dtype=np.int64)  # prompts of the batch still to start
        self._drawn = -1  # the step whose batch was drawn

    @property
    def next_round(self) -> Literal["none", "now", "later"]:
        return "now" if len(self._pending) and self._fits(self._per_round) else "later"

    def _usual_most(self) -> int:
        """All rounds of all prompts."""
        return self.prompts_per_step * self._most

    def _draft(self, step: int, round: int, rng: np.random.Generator) -> Draft | None:
        if self._drawn < step:
            self._drawn, self._pending = step, self._passes.take(self._batch_size(), len(self.pool))
        most = self.rollouts_per_step // self._per_round
        if num := min(len(self._pending), most):
            batch, self._pending = np.split(self._pending, [self._fitting(num, num * self._per_round)])
            return Draft(batch, np.full(len(batch), self._per_round))
        active = [group for group in self._ledger.waiting() if group.step == step and self._wants_more(group)]
        fewest = min((group.planned for group in active), default=0)  # one round after the other
        active = [group for group in active if group.planned == fewest][:most]
        active = active[: self._fitting(len(active), len(active) * self._per_round)]
        return Draft(
            np.array([group.position for group in active], dtype=np.int64),
            np.full(len(active), self._per_round),
            reason="continue",
            group_ids=[group.group_id for group in active],
        )

    def _wants_more(self, group: OpenGroup) -> bool:
        passed, failed = self._sides(group)
        half = self._keep // 2
        done = len(passed) > 0 if self._positive else len(passed) >= half and len(failed) >= self._keep - half
        return group.completed >= 0 and group.planned < self._most and not done

    def _sides(self, group: OpenGroup) -> tuple[list[int], list[int]]:
        passed = [index for index in group.usable if group.rewards[index] > self._threshold]
        return passed, [index for index in group.usable if not group.rewards[index] > self._threshold]

    def _kept(self, group: OpenGroup) -> list[int]:
        passed, failed = self._sides(group)
        num_failed = min(self._keep - min(self._keep // 2, len(passed)), len(failed))
        return sorted(passed[: self._keep - num_failed] + failed[:num_failed])

    def _baseline(self, group: OpenGroup) -> float | None:
        return float(np.mean([group.rewards[index] for index in group.usable]))

    def _own_state(self) -> dict[str, Any]:
        return {"passes": self._passes.state_dict(), "pending": self._pending.copy(), "drawn": self._drawn}

    def _load_own_state(self, state: Mapping[str, Any]) -> None:
        self._passes.load_state_dict(state["passes"])
        self._pending, self._drawn = state["pending"].copy(), state["drawn"]
        if not in_order(np.sort(self._pending), len(self.pool)):
            raise ValueError(f"prompts still to start must be of the pool, each once, got {self._pending.tolist()}")
        if not -1 <= self._drawn <= self._step:
            raise ValueError(f"at step {self._step}, no batch can have been drawn at {self._drawn}")
