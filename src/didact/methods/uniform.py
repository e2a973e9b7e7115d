"""Uniform: shuffled passes through the pool, equal groups, every group trains. The baseline of every comparison."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from didact.allocation import largest_remainder
from didact.curriculum import Curriculum, Draft
from didact.prompts import PromptPool


class Uniform(Curriculum):
    """Every prompt equally often. Options: those of `Curriculum`."""

    name = "uniform"
    shardable = True
    one_round = True

    def __init__(self, pool: PromptPool, **common: Any) -> None:
        super().__init__(pool, **common)
        self.uneven = self._divides_unevenly()
        self._passes = pool.passes(self.seed)

    def _draft(self, step: int, round: int, rng: np.random.Generator) -> Draft | None:
        if round > 0:
            return None
        positions = self._passes.take(self._batch_size(), len(self.pool))
        return Draft(positions, largest_remainder(np.ones(len(positions)), self.rollouts_per_step))

    def _own_state(self) -> dict[str, Any]:
        return {"passes": self._passes.state_dict()}

    def _load_own_state(self, state: Mapping[str, Any]) -> None:
        self._passes.load_state_dict(state["passes"])
