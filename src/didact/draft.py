"""What a method answers: the draft of a round, and a verdict on a group that came back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

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

    def rows(self, method: str, pool_size: int, ledger: Ledger, *, weighs: bool) -> list["Drafted"]:
        """Its groups one by one; `weighs` is whether the method of this name declared that it gives weights.

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
        reasons = [self.reason] * num if isinstance(self.reason, str) else self.reason
        known = [None] * num if self.group_ids is None else self.group_ids
        lengths = [len(column) for column in (positions, sizes, reasons, known, weights)]
        if len(set(lengths)) > 1:
            raise ValueError(f"method {method!r} drafted columns of different lengths: {lengths}")
        if len(np.unique(positions)) < num:
            raise ValueError(f"method {method!r} drafted the same prompt twice in one plan")
        if positions.min() < 0 or positions.max() >= pool_size:
            raise ValueError(f"method {method!r} drafted a prompt that is not in the pool of {pool_size}")
        if sizes.min() < 1:
            raise ValueError(f"method {method!r} drafted a group of {sizes.min()} rollouts")
        columns = positions.tolist(), sizes.tolist(), reasons, known, weights.astype(np.float64).tolist()
        rows = list(map(Drafted._make, zip(*columns, strict=True)))
        for row in rows if self.group_ids is not None else ():
            group = None if row.group_id is None else ledger.find(row.group_id)
            if row.group_id is not None and (group is None or group.settled or group.position != row.position):
                raise ValueError(
                    f"method {method!r} continues group {row.group_id}, which is not an open one of its prompt"
                )
        return rows


class Drafted(NamedTuple):
    """A group of a draft; the id is that of an open group that it continues."""

    position: int
    num_rollouts: int
    reason: str
    group_id: int | None
    weight: float


@dataclass(frozen=True)
class Verdict:
    """What becomes of a group that came back.

    Attributes:
        fate: it "trains" now; it "waits" for a later step (or for more of its rollouts); or it is "discarded".
        rollouts: which of its rollouts train, as positions in the group; None: all that have a reward.
        baseline: what is subtracted from its rewards, where that is not the mean of the rollouts that train; a method
            that gives one declares `own_baseline` or, if the mean would do as well, `offers_baseline`.
    """

    fate: Fate
    rollouts: Sequence[int] | None = None
    baseline: float | None = None
