"""A curriculum out of stages: pass rates -> selection -> allocation -> context length -> plan, and admission."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from didact.allocation import largest_remainder
from didact.bounds import shortened
from didact.curriculum import Curriculum, Draft, describe
from didact.pass_rates import PassRates
from didact.prompts import PromptPool


class Selection(Protocol):
    """Which prompts: distinct positions, from a snapshot of the belief."""

    def choose(self, pass_rates: PassRates, num_prompts: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """At most `num_prompts` distinct positions."""


class Allocation(Protocol):
    """How many rollouts for each chosen prompt."""

    def split(self, pass_rates: PassRates, num_rollouts: int) -> NDArray[np.int64]:
        """One whole number per row of `pass_rates`, adding up to `num_rollouts`."""


@dataclass(frozen=True)
class EqualGroups:
    """The same number of rollouts for every prompt, up to the one left over."""

    def split(self, pass_rates: PassRates, num_rollouts: int) -> NDArray[np.int64]:
        return largest_remainder(np.ones(len(pass_rates)), num_rollouts)


class StagedCurriculum(Curriculum):
    """One round a step: select, allocate, set the context length. A new method is often one Selection and this.

    It passes over the whole pool at each step; a method for very large pools drafts from its own structure instead.
    """

    name = "staged"
    one_round = True

    def __init__(
        self, pool: PromptPool, *, selection: Selection, allocation: Allocation | None = None, **common: Any
    ) -> None:
        self.selection = selection
        self.allocation = EqualGroups() if allocation is None else allocation
        for what, stage, method in (("selection", selection, "choose"), ("allocation", self.allocation, "split")):
            if isinstance(stage, type | str) or not callable(getattr(stage, method, None)):
                raise TypeError(f"{what} must be an object with a method {method}, got {shortened(stage)}")
        stages = {"selection": describe(selection), "allocation": describe(self.allocation)}
        options = {**stages, **common.pop("options", {})}
        super().__init__(pool, options=options, **common)
        self.uneven = not isinstance(self.allocation, EqualGroups) or self._divides_unevenly()

    def _draft(self, step: int, round: int, rng: np.random.Generator) -> Draft | None:
        if round > 0:
            return None
        pass_rates = self.pass_rates()
        positions = np.asarray(self.selection.choose(pass_rates, self._batch_size(), rng))
        if len(positions) == 0:
            return None
        return Draft(positions, self.allocation.split(pass_rates.take(positions), self.rollouts_per_step))
