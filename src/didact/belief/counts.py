"""Passes and failures of every prompt beyond its prior, for methods with a Beta belief that fades in a way of its own.

What came back since the last plan stays beside them: a method can say what it believes in the middle of a step, and
counts a group that comes in parts once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from didact.arrays import Positions
from didact.belief.latest import StepEvidence
from didact.columns import Columns
from didact.memory import derived
from didact.pool import Pool


@dataclass
class PassCounts:
    """A memory, or the base of one. `evidence` is that of the running step, not yet among the counts."""

    counts: Columns  # "passes", "failures" and others that fade with them, in single precision
    evidence: StepEvidence
    names: Sequence[str] = derived(tuple)  # of the columns

    @classmethod
    def of(cls, pool: Pool, **others: np.float32) -> Self:
        """Counts of nothing; `others` are further columns, with what stands in them at the start."""
        start = {"passes": np.float32(0), "failures": np.float32(0), **others}
        return cls(pool.columns(**start), StepEvidence(pool.__len__), names=tuple(start))

    def get(self, where: Positions | slice) -> NDArray[np.float32]:
        """The columns at some positions, shape (columns, n): a copy."""
        return np.stack([self.counts.get(name, where) for name in self.names])

    def settle(self, where: Positions | slice, values: NDArray[Any]) -> None:
        """Write the columns at some distinct positions, and forget the evidence of the step that has ended."""
        for name, column in zip(self.names, values, strict=True):
            self.counts.put(name, where, column)
        self.evidence.take()

    def check(self, size: int) -> None:
        """Refuse counts of a pool of `size` prompts that no run can have led to.

        Raises:
            ValueError: one is negative.
        """
        if any(self.counts.count(name, 0) < size for name in self.names):
            raise ValueError(f"counts must be numbers of at least 0 for each of {size} prompts of the pool")
