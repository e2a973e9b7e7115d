"""Iterations: a pilot of every prompt of a subset, steps on the subset, then the next. What CurES and GVM share."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from didact.ledger import OpenGroup
from didact.memory import kept
from didact.method import NONE, Draft, Method, Positions, Run, Turn, Verdict


@dataclass
class Iteration(ABC):
    """What is known of the iteration, as the first part of a memory."""

    subset: Positions = kept(NONE, holds="positions")
    pending: Positions = kept(NONE, holds="positions")  # prompts of the subset still without a pilot

    @abstractmethod
    def is_over(self, steps: int) -> bool:
        """Whether the next subset is due, where an iteration has so many steps."""

    def next_pilots(self, turn: Turn, rollouts: int) -> Draft:
        """The next pilots, as many as fit the budget.

        While more are still to come, the next round waits for nothing; then it waits for the pilots.
        """
        num = min(max(turn.rollouts_per_step // rollouts, 1), len(self.pending))
        batch, self.pending = np.split(self.pending, [turn.fitting(num, num * rollouts)])
        more = len(self.pending) > 0 and turn.fits((len(batch) + 1) * rollouts)
        sizes = np.full(len(batch), rollouts, dtype=np.int64)
        return Draft(batch, sizes, reason="pilot", then="now" if more else "later")


@dataclass
class IterationOfSteps(Iteration):
    """An iteration of so many steps, its subset in the order of the pool."""

    steps_done: int = kept(0, least=0)
    first: int = kept(-1, holds="step")  # the step at which it began; -1 before any has

    def is_over(self, steps: int) -> bool:
        return self.first < 0 or self.steps_done >= steps

    def begin(self, turn: Turn, num: int, rollouts: int, *, forget: bool) -> None:
        """Begin with the next `num` prompts of the passes.

        Args:
            rollouts: of a pilot.
            forget: forget the evidence on all of them, which are piloted anew; else those with less of it are piloted.
        """
        self.subset = self.pending = np.sort(turn.walk(num))
        self.steps_done, self.first = 0, turn.step
        if forget:
            turn.belief.reset(self.subset)
        else:
            self.pending = self.subset[turn.belief.evidence(self.subset, step=turn.step) < rollouts]

    def inside(self, positions: Positions) -> Positions:
        """Those of the positions that are of the subset."""
        index = np.minimum(np.searchsorted(self.subset, positions), len(self.subset) - 1)
        return positions[self.subset[index] == positions] if len(self.subset) else positions[:0]

    def check(self, run: Run) -> None:
        """After a state was loaded.

        Raises:
            ValueError: an iteration that no run can have led to.
        """
        if (np.diff(self.subset) < 0).any() or not np.isin(self.pending, self.subset).all():
            raise ValueError("the prompts of an iteration are in order, and those without a pilot among them")
        if (self.first < 0) != (len(self.subset) == 0) or self.steps_done > run.step - self.first + 1:
            raise ValueError(f"an iteration from step {self.first} cannot have had {self.steps_done} steps")


class IteratedMethod(Method):
    """A method in iterations; its memory is an `Iteration`. What is annotated here are options of the subclasses."""

    pilot_rollouts: int
    steps_per_iteration: int
    gradient_norms: bool
    train_on_pilot: bool = False

    @property
    def wants_gradients(self) -> bool:
        return self.gradient_norms

    def uneven(self, run: Run) -> bool:
        return True

    def prompts_of(self, run: Run) -> int:
        """Prompts of a subset, if the pool has as many."""
        return self.steps_per_iteration * run.prompts_per_step

    def largest_batch(self, run: Run) -> int:
        """Most rollouts of a step without its pilots."""
        return run.rollouts_per_step

    def most_rollouts(self, run: Run) -> int:
        """The pilot of a subset and a batch."""
        return self.prompts_of(run) * self.pilot_rollouts + self.largest_batch(run)

    def check_pilots(self, run: Run) -> None:
        """Refuse pilots that no plan has room for.

        Raises:
            ValueError: says both numbers.
        """
        if self.pilot_rollouts > run.rollouts_per_step:
            raise ValueError(f"pilot_rollouts={self.pilot_rollouts} exceeds rollouts_per_step={run.rollouts_per_step}")

    def draft(self, turn: Turn, memory: Any) -> Draft | None:
        if memory.is_over(self.steps_per_iteration):
            self.begin(turn, memory)
        if not len(memory.pending):
            return self.batch(turn, memory)
        pilots: Draft = memory.next_pilots(turn, self.pilot_rollouts)
        return replace(pilots, then="none") if self.train_on_pilot else pilots

    @abstractmethod
    def begin(self, turn: Turn, memory: Any) -> None:
        """Go on to the next subset."""

    @abstractmethod
    def batch(self, turn: Turn, memory: Any) -> Draft | None:
        """A round that trains, once the pilots are back."""

    def verdict(self, group: OpenGroup, run: Run, memory: Any) -> Verdict:
        if group.reason == "pilot" and not self.train_on_pilot:
            return Verdict("discarded")
        return super().verdict(group, run, memory)
