"""What a method is shown: the run at one moment, a round that is to be drafted, and what came back."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didact.admission import Admission
from didact.allocation import largest_remainder
from didact.arrays import Positions
from didact.belief import Belief
from didact.draft import NONE, Draft
from didact.group import OpenGroup
from didact.outcomes import GroupOutcome, Truncated
from didact.pool import Pool


@dataclass(frozen=True)
class Run:
    """The run as its method sees it, at one moment. A method writes nothing here."""

    pool: Pool
    prompts_per_step: int
    rollouts_per_step: int
    seed: int
    truncated: Truncated
    admission: Admission
    belief: Belief
    step: int = -1  # of the latest plan
    num_admitted: int = 0  # groups admitted at this step so far
    num_planned: int = 0  # rollouts planned in the whole run so far

    @property
    def batch(self) -> int:
        """Prompts of a full batch, none of whose groups is smaller than 2."""
        return self.batch_of(2)

    def batch_of(self, min_rollouts: int) -> int:
        """Prompts of a full batch: a pool that outgrew the budget gets no group smaller than `min_rollouts`."""
        return min(self.prompts_per_step, len(self.pool), self.rollouts_per_step // max(min_rollouts, 1))

    @property
    def share(self) -> int:
        """Rollouts of a prompt when a full batch shares the budget equally, what is left over aside."""
        return self.rollouts_per_step // self.prompts_per_step

    @property
    def divides(self) -> bool:
        """Whether the whole budget in equal parts makes groups of one size: a smaller pool shares out all of it."""
        return self.rollouts_per_step % self.prompts_per_step == 0 and len(self.pool) >= self.prompts_per_step

    def column(self, name: str, method: str, *, complete: bool = False) -> NDArray[Any] | None:
        """A column of the pool; with `complete`, one without a gap.

        Raises:
            ValueError: it cannot be worked with, or has a gap: says method, column and row.
        """
        try:
            column: NDArray[Any] | None = getattr(self.pool, name)
        except ValueError as error:
            raise ValueError(f"method {method!r} reads {name!r}: {error}") from None
        if column is not None and complete and np.isnan(column).any():
            row = int(np.argmax(np.isnan(column)))
            raise ValueError(
                f"method {method!r} needs {name!r} of every prompt, and that of {self.pool.ids[row]!r} in row {row} "
                "is unknown: give it a guess, such as the median, or leave the prompt out"
            )
        return column

    def needed(self, *names: str, method: str, because: str, complete: bool = False) -> NDArray[Any]:
        """The first of these columns that the pool has, see `column`; `because` says what it is for.

        Raises:
            ValueError: as `column`, or the pool has none of them.
        """
        for name in names:
            if (column := self.column(name, method, complete=complete)) is not None:
                return column
        given = " or ".join(f"{name}=..." for name in names)
        raise ValueError(f"{because}, and this pool has no such column: PromptPool(ids, {given})")


@dataclass(frozen=True)
class Turn(Run):
    """A round that is to be drafted: the run, and what a method can do with it."""

    round: int = 0
    rng: np.random.Generator = field(default_factory=np.random.default_rng)  # of this step and round
    #: Gives `waiting`, which most methods never ask for and which passes over all open groups.
    listed: Callable[[], Sequence[OpenGroup]] = lambda: ()
    #: walk(n): the next n distinct prompts of the shuffled passes through the pool, all of it if n is larger.
    walk: Callable[[int], Positions] = lambda num: NONE
    #: fitting(n, total): how many of n groups alike, of `total` rollouts in all, the step has room for. A method that
    #: draws again asks before it takes prompts off their pass; what is drafted beyond the room is cut off.
    fitting: Callable[[int, int], int] = lambda num, total: num
    #: fits(total): whether the step has room for so many rollouts in all its rounds to come, this one included.
    fits: Callable[[int], bool] = lambda total: True

    @cached_property
    def waiting(self) -> Sequence[OpenGroup]:
        """Groups of which something came back, and that are not settled, oldest first."""
        return self.listed()

    def equal(self, positions: Positions, **draft: Any) -> Draft:
        """The whole budget in equal groups, up to the one left over."""
        return Draft(positions, largest_remainder(np.ones(len(positions)), self.rollouts_per_step), **draft)


@dataclass(frozen=True)
class Arrivals:
    """Outcomes that came in together, all of them new; the groups hold their rewards already."""

    groups: Sequence[OpenGroup]
    outcomes: Sequence[GroupOutcome]
    truncated: Truncated

    def __iter__(self) -> Iterator[tuple[OpenGroup, GroupOutcome]]:
        return iter(zip(self.groups, self.outcomes, strict=True))

    @cached_property
    def rewards(self) -> list[Sequence[float]]:
        """Of each outcome, the rewards that may inform a belief."""
        return [outcome.usable(self.truncated) for outcome in self.outcomes]

    @cached_property
    def verdicts(self) -> list[float]:
        """The rewards of all rollouts that have one."""
        return [reward for outcome in self.outcomes for reward in outcome.usable("observe")]

    @property
    def positions(self) -> Positions:
        """The prompt of each outcome, shape (n,); one can come up several times."""
        return np.array([group.position for group in self.groups], dtype=np.int64)

    @property
    def came_back(self) -> list[OpenGroup]:
        """Those groups, each once and by its id, of which nothing is still to come and something can be used."""
        distinct = {group.group_id: group for group in self.groups}
        return [group for _, group in sorted(distinct.items()) if group.completed >= 0 and group.usable]
