"""What a method answers: the draft of a round, and a verdict on a group that came back."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.arrays import Floats, Positions
from didact.bounds import MAX_PER_STEP
from didact.group import OpenGroup
from didact.ledger import Ledger

Then = Literal["none", "now", "later"]
Fate = Literal["trains", "waits", "discarded"]
NONE: Positions = np.zeros(0, dtype=np.int64)
NONE.flags.writeable = False


@dataclass(frozen=True)
class Draft:
    """One round as a method answers it: distinct positions, rollouts for each, and why (one word, or one for each).

    Attributes:
        group_ids: open groups to continue instead of starting new ones; None among them starts a new one.
        weights: shape (n,), what each group counts in the loss (`AdmittedGroup.weight`), from above 0 to 2**20; None:
            all 1. A method that gives them declares `weighs_groups`.
        context_length: of this round, for a method that `sets_context`.
        then: whether the step has another round: "none", "now" (outcomes that are still out do not matter to it) or
            "later", which depends on what comes back. None is "none" for a method with `one_round`, else "later".
        predicted: shape (n,), the pass rates it was drafted by, where `Method.predict` would work them out once more.
        dropped: groups that came back and will never train, to be discarded now and not when the step ends.
    """

    positions: Positions
    num_rollouts: NDArray[np.int64]
    reason: str | Sequence[str] = "train"
    group_ids: Sequence[int | None] | None = None
    weights: NDArray[Any] | None = None
    context_length: int | None = None
    then: Then | None = None
    predicted: Floats | None = None
    dropped: Sequence[OpenGroup] = ()

    @classmethod
    def nothing(cls, then: Then = "none", dropped: Sequence[OpenGroup] = ()) -> "Draft":
        """No rollouts now; with "none", not at this step any more."""
        return cls(NONE, NONE, then=then, dropped=dropped)

    @classmethod
    def further(cls, groups: Sequence[OpenGroup], num_rollouts: ArrayLike, **draft: Any) -> "Draft":
        """So many more rollouts, one number for all or one for each, of open groups."""
        positions = np.array([group.position for group in groups], dtype=np.int64)
        sizes = np.broadcast_to(np.asarray(num_rollouts, dtype=np.int64), positions.shape)
        ids = [group.group_id for group in groups]
        return cls(positions, sizes, reason="continue", group_ids=ids, **draft)

    def rows(self, method: str, pool_size: int, ledger: Ledger, *, weighs: bool) -> "Rows":
        """What a plan is made of, nothing left out; there must be some.

        Args:
            method: its name, for the error.
            weighs: whether it declared that it gives weights.

        Raises:
            ValueError: a draft that no plan can hold.
        """
        positions, sizes = np.asarray(self.positions), np.asarray(self.num_rollouts)
        if any(each.ndim != 1 or each.dtype.kind not in "iu" for each in (positions, sizes)):
            raise ValueError(f"method {method!r} drafted positions or rollouts that are no lists of whole numbers")
        num = len(positions)
        weights = np.ones(num) if self.weights is None else np.asarray(self.weights)
        numbers = weights.ndim == 1 and weights.dtype.kind in "iuf"
        if not numbers or not ((weights > 0) & (weights <= MAX_PER_STEP)).all():
            raise ValueError(f"method {method!r} drafted weights that are no list of numbers above 0 up to 2**20")
        if self.weights is not None and not weighs:
            raise ValueError(f"method {method!r} drafted weights: it must declare weighs_groups = True")
        rows = Rows(
            positions.astype(np.int64),
            sizes.astype(np.int64),
            [None] * num if self.group_ids is None else self.group_ids,
            [self.reason] * num if isinstance(self.reason, str) else self.reason,
            weights.astype(np.float64),
        )
        if fault := rows.fault(pool_size, ledger):
            raise ValueError(f"method {method!r} {fault}")
        return rows


@dataclass(frozen=True)
class Rows:
    """The columns of a draft, one row for each group."""

    positions: Positions
    num_rollouts: NDArray[np.int64]
    group_ids: Sequence[int | None]
    reasons: Sequence[str]
    weights: Floats

    def __iter__(self) -> Iterator[tuple[int, int, int | None, str, float]]:
        """Position, rollouts, group id, reason and weight of each group."""
        numbers = self.positions.tolist(), self.num_rollouts.tolist(), self.weights.tolist()
        for position, num_rollouts, weight, group_id, reason in zip(
            *numbers, self.group_ids, self.reasons, strict=True
        ):
            yield position, num_rollouts, group_id, reason, weight

    def fault(self, pool_size: int, ledger: Ledger) -> str | None:
        """Why no plan of this pool can hold them, as the rest of a sentence about their method; None if one can."""
        columns = (self.positions, self.num_rollouts, self.group_ids, self.reasons, self.weights)
        if len({len(column) for column in columns}) > 1:
            return f"drafted columns of different lengths: {[len(column) for column in columns]}"
        if len(np.unique(self.positions)) < len(self.positions):
            return "drafted the same prompt twice in one plan"
        if self.positions.min() < 0 or self.positions.max() >= pool_size:
            return f"drafted a prompt that is not in the pool of {pool_size}"
        if self.num_rollouts.min() < 1:
            return f"drafted a group of {self.num_rollouts.min()} rollouts"
        for group_id, position in zip(self.group_ids, self.positions.tolist(), strict=True):
            group = None if group_id is None else ledger.find(group_id)
            if group_id is not None and (group is None or group.settled or group.position != position):
                return f"continues group {group_id}, which is not an open one of its prompt"
        return None

    def within(self, num_rollouts: int) -> "Rows":
        """The first of them, of no more rollouts in all than these."""
        num = int(np.searchsorted(self.num_rollouts.cumsum(), num_rollouts, side="right"))
        return Rows(
            self.positions[:num],
            self.num_rollouts[:num],
            self.group_ids[:num],
            self.reasons[:num],
            self.weights[:num],
        )


@dataclass(frozen=True)
class Verdict:
    """What becomes of a group that came back.

    Attributes:
        fate: it "trains" now; it "waits" for a later step (or for more of its rollouts); or it is "discarded".
        rollouts: which of its rollouts train, as positions in the group; None: all that have a reward.
        baseline: what is subtracted from its rewards, where that is not the mean of the rollouts that train; a method
            that gives one declares `own_baseline`.
    """

    fate: Fate
    rollouts: Sequence[int] | None = None
    baseline: float | None = None
