"""DAPO's dynamic sampling (arXiv:2503.14476): draw groups until enough of them have signal, discard the rest.

    keep a group iff 0 < passes < G (its rewards differ); redraw until prompts_per_step groups are kept;
    train on the first prompts_per_step of them.

Prompts come in shuffled passes; nothing is remembered about them. A discarded group has cost as much as a kept one and
stays counted. Unlike the published code, which raises after ten rounds, a step that cannot be filled trains on what it
has (metric `rounds` shows it): a thin pool must not end a run.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from didact.admission import AdmitWithSignal
from didact.allocation import largest_remainder
from didact.bounds import MAX_PER_STEP, MAX_STEP, whole, whole_or_none
from didact.curriculum import Curriculum, Draft
from didact.ledger import OpenGroup
from didact.prompts import PromptPool


class DAPO(Curriculum):
    """Redraw until the batch is full.

    Args:
        prompts_per_round: prompts drawn in a round. None draws prompts_per_step, so that no plan exceeds the budget
            of a step; the paper draws 1,536 for 512 that train (three times as many).
        max_rounds: rounds after which a step goes ahead with the groups it has; the published code allows 10.

    Further options: those of `Curriculum`; `admission` defaults to groups with signal.
    """

    name = "dapo"
    shardable = True
    advantage = "grpo"
    loss_weighting = "token"

    def __init__(
        self, pool: PromptPool, *, prompts_per_round: int | None = None, max_rounds: int = 10, **common: Any
    ) -> None:
        prompts_per_round = whole_or_none("prompts_per_round", prompts_per_round, 1, MAX_PER_STEP)
        max_rounds = whole("max_rounds", max_rounds, 1, MAX_STEP)
        options = {"prompts_per_round": prompts_per_round, "max_rounds": max_rounds}
        common = {**common, "admission": AdmitWithSignal() if common.get("admission") is None else common["admission"]}
        super().__init__(pool, options=options, **common)
        self.uneven = self.rollouts_per_step % self.prompts_per_step > 0
        self._prompts_per_round = prompts_per_round
        self._max_rounds = max_rounds
        self._passes = pool.passes(self.seed)

    def _draft(self, step: int, round: int, rng: np.random.Generator) -> Draft | None:
        if round >= self._max_rounds or len(self._admitted) + len(self._with_signal()) >= self.prompts_per_step:
            return None
        batch = min(self.prompts_per_step, self.rollouts_per_step // 2)  # a group needs two rollouts to have signal
        num = self._prompts_per_round or batch
        positions = self._passes.take(self._fitting(num, self.rollouts_per_step * num // batch), len(self.pool))
        groups = max(batch, len(positions))
        per_group = largest_remainder(np.ones(groups), self.rollouts_per_step * groups // batch)
        return Draft(positions, per_group[: len(positions)])

    def _with_signal(self) -> list[OpenGroup]:
        return super()._admit(self._ledger.waiting())

    def _admit(self, groups: Sequence[OpenGroup]) -> list[OpenGroup]:
        return super()._admit(groups)[: self.prompts_per_step - len(self._admitted)]

    def _own_state(self) -> dict[str, Any]:
        return {"passes": self._passes.state_dict()}

    def _load_own_state(self, state: Mapping[str, Any]) -> None:
        self._passes.load_state_dict(state["passes"])
