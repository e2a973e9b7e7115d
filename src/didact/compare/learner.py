"""What a comparison trains: anything that rolls out plans, takes one optimiser step, and can be examined."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from didact.advantage import AdvantageKind, WeightMode
from didact.outcomes import GroupOutcome
from didact.plan import AdmittedGroup, Plan
from didact.prompts import PromptPool


class Learner(Protocol):
    """A policy with its prompts. Two learners built alike behave alike: randomness depends on the seed and the plan."""

    pool: PromptPool

    def roll_out(self, plan: Plan) -> list[GroupOutcome]:
        """One outcome for each planned group."""

    def update(self, groups: Sequence[AdmittedGroup], advantage: AdvantageKind, weighting: WeightMode) -> None:
        """One optimiser step on groups rolled out before. Those of them that are not trained again may be forgotten."""

    def keep(self, group_ids: Sequence[int]) -> None:
        """Forget the rollouts of all other groups: only these may still train."""

    def evaluate(self) -> float:
        """Accuracy on held-out prompts, outside the budget."""

    def pass_rates(self) -> NDArray[np.float64]:
        """The pass rate of every prompt of the pool under the current policy, outside the budget: for the oracle."""
