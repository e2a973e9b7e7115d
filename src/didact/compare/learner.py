"""What a comparison trains: anything that rolls out plans, takes one optimiser step, and can be examined."""

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from didact.advantage import AdvantageKind, WeightMode
from didact.outcomes import GroupOutcome
from didact.plan import AdmittedGroup, Plan
from didact.prompts import PromptPool

#: Of the ratio to the policy at the beginning of a step, in steps of several updates.
CLIP: Final = (0.8, 1.2)


class Learner(Protocol):
    """A policy with its prompts. Two learners built alike behave alike: randomness depends on the seed and the plan."""

    pool: PromptPool

    def roll_out(self, plan: Plan) -> list[GroupOutcome]:
        """One outcome for each planned group."""

    def update(
        self, groups: Sequence[AdmittedGroup], advantage: AdvantageKind, weighting: WeightMode, num_updates: int = 1
    ) -> int:
        """Optimiser steps on groups rolled out before, on as many mini-batches of their rollouts.

        Advantages and weights are those of the whole step. With more than one, later mini-batches meet a policy that
        has moved: the ratio to the policy at the beginning of the step is clipped as by PPO (arXiv:1707.06347, eq. 7).

        Returns:
            Optimiser steps made: no more than there are rollouts.
        """

    def keep(self, group_ids: Sequence[int]) -> None:
        """Forget the rollouts of all other groups: only these may still train."""

    def evaluate(self) -> float:
        """Accuracy on held-out prompts, outside the budget."""

    def pass_rates(self) -> NDArray[np.float64]:
        """The pass rate of every prompt of the pool under the current policy, outside the budget: for the oracle."""


def mini_batches(num_rollouts: int, num_updates: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """The rollouts of a step dealt into mini-batches whose sizes differ by one at most; all in order if into one."""
    num = min(num_updates, num_rollouts)
    return np.array_split(np.arange(num_rollouts) if num == 1 else rng.permutation(num_rollouts), num)
