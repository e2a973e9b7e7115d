"""The rate of each prompt's latest visit, and the evidence of the running step, for methods with a belief of their own.

A visit is what came back for the groups of one step at which a prompt was planned. `LatestVisit` averages nothing over
visits: an outcome of a later step replaces what an earlier step said, parts of one step add up, and what comes late for
an older step is left out. `StepEvidence` gathers what comes in until the next plan, whatever step it was made for.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from didact.arrays import Floats, Positions
from didact.belief.base import Belief
from didact.columns import Columns, parts_of

if TYPE_CHECKING:
    from didact.ledger import OpenGroup


class LatestVisit:
    """Passes and rollouts of the latest visit.

    Args:
        columns: makes columns over the prompts, `Pool.columns`.
    """

    def __init__(self, columns: Callable[..., Columns]) -> None:
        self._columns = columns(steps=np.int32(-1), passes=np.float64(0), rollouts=np.int32(0))

    def observe(self, groups: Sequence["OpenGroup"], rewards: Sequence[Sequence[float]], belief: Belief) -> Positions:
        """Take in rewards, a list for each group; `belief` says what a pass is.

        Returns:
            The distinct positions that they tell of.
        """
        positions, passes, sizes = counted(groups, rewards, belief)
        steps = np.array([group.step for group, usable in zip(groups, rewards, strict=True) if usable], dtype=np.int32)
        told, index = np.unique(positions, return_inverse=True)
        before = self.steps(told)
        latest = before.copy()
        np.maximum.at(latest, index, steps)
        now = steps == latest[index]
        for name, values in (("passes", passes), ("rollouts", sizes)):
            added = np.bincount(index[now], weights=values[now], minlength=len(told))
            same = np.where(latest == before, self._columns.get(name, told), 0)
            self._columns.put(name, told, same + added)
        self._columns.put("steps", told, latest)
        return np.unique(positions[now])

    def counts(self, positions: Positions) -> tuple[Floats, Floats]:
        """Passes and rollouts of the latest visit; 0 of 0 where there was none."""
        return self._columns.get("passes", positions), self._columns.get("rollouts", positions).astype(np.float64)

    def rate(self, positions: Positions) -> Floats:
        """Passes / rollouts of the latest visit, nan where there was none."""
        passes, rollouts = self.counts(positions)
        return np.asarray(np.divide(passes, rollouts, out=np.full(len(passes), np.nan), where=rollouts > 0))

    def steps(self, positions: Positions) -> NDArray[np.int32]:
        """Step of the latest visit, -1 where there was none."""
        return self._columns.get("steps", positions)

    def last(self, positions: Positions, num: int) -> Positions:
        """Those `num` of some distinct positions that were visited last, in order."""
        # Ties go by a hash of the position: a pool sorted by source must not leave one source out.
        order = np.lexsort(((positions * 2654435761) % 2**32, -self.steps(positions).astype(np.int64)))
        return np.sort(positions[order[:num]])

    def state_dict(self) -> dict[str, Any]:
        """Only prompts that were visited are stored."""
        return self._columns.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state.

        Raises:
            ValueError: visits that cannot be, or of prompts that are not here.
        """
        for part in parts_of(state):
            if any(part[name].shape != part["seen"].shape for name in ("steps", "passes", "rollouts")):
                raise ValueError("visits must have one entry for each prompt that was seen")
            if not ((part["steps"] >= 0) & (part["passes"] >= 0) & (part["passes"] <= part["rollouts"])).all():
                raise ValueError("a visit has a step, and no more passes than rollouts")
        self._columns.load_state_dict(state)


class StepEvidence:
    """Passes and rollouts by prompt, gathered until they are taken: a group that comes in parts is one visit.

    Args:
        size: gives the number of prompts.
    """

    def __init__(self, size: Callable[[], int]) -> None:
        self._size = size
        self._parts: list[tuple[Positions, Floats, Floats]] = []

    def add(self, groups: Sequence["OpenGroup"], rewards: Sequence[Sequence[float]], belief: Belief) -> None:
        """Take in rewards, a list for each group; `belief` says what a pass is."""
        self._parts.append(counted(groups, rewards, belief))

    def gathered(self) -> tuple[Positions, Floats, Floats]:
        """Distinct prompts in order, their passes and their rollouts since they were taken last."""
        positions, *counts = self._joined()
        unique, index = np.unique(positions, return_inverse=True)
        passes, sizes = (np.bincount(index, weights=each).astype(np.float64) for each in counts)
        return unique, passes, sizes

    def among(self, positions: Positions) -> tuple[Positions, Floats, Floats]:
        """What was gathered about some distinct positions: which of them it is about, their passes and rollouts."""
        told, passes, sizes = self.gathered()
        if len(told) == 0:  # as in every draft that has taken in what came
            return told, passes, sizes
        _, rows, index = np.intersect1d(positions, told, assume_unique=True, return_indices=True)
        return rows, passes[index], sizes[index]

    def take(self) -> tuple[Positions, Floats, Floats]:
        """What was gathered, which is forgotten."""
        taken, self._parts = self.gathered(), []
        return taken

    def state_dict(self) -> dict[str, Any]:
        return dict(zip(("positions", "passes", "sizes"), self._joined(), strict=True))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state.

        Raises:
            ValueError: evidence that cannot be, or of prompts that are not here.
        """
        positions, passes, sizes = (state[name] for name in ("positions", "passes", "sizes"))
        if not positions.shape == passes.shape == sizes.shape == (len(positions),):
            raise ValueError("the evidence of a step needs passes and rollouts for each position")
        inside = (positions >= 0) & (positions < self._size())
        if not (inside & (passes >= 0) & (passes <= sizes) & (sizes < np.inf)).all():
            raise ValueError("the evidence of a prompt is no fewer than 0 passes and no more than its rollouts")
        self._parts = [(positions.copy(), passes.copy(), sizes.copy())]

    def _joined(self) -> tuple[Positions, Floats, Floats]:
        parts = [(np.zeros(0, np.int64), np.zeros(0), np.zeros(0)), *self._parts]
        positions, passes, sizes = (np.concatenate(column) for column in zip(*parts, strict=True))
        return positions, passes, sizes


def counted(
    groups: Sequence["OpenGroup"], rewards: Sequence[Sequence[float]], belief: Belief
) -> tuple[Positions, Floats, Floats]:
    """Position, passes and rollouts of each group with rewards, shape (n,) each."""
    sizes = np.array([len(usable) for usable in rewards], dtype=np.int64)
    passes = belief.passes(np.array([reward for usable in rewards for reward in usable], dtype=np.float64))
    summed = np.bincount(np.repeat(np.arange(len(sizes)), sizes), weights=passes, minlength=len(sizes))
    positions, kept = np.array([group.position for group in groups], dtype=np.int64), sizes > 0
    return positions[kept], summed[kept].astype(np.float64), sizes[kept].astype(np.float64)
