"""A method: a published rule as a frozen dataclass of options. The curriculum keeps the books and runs the loop.

    @dataclass(frozen=True, kw_only=True)
    class Half(Method):
        '''Prompts believed nearest to one half, in equal groups.'''

        name = "half"
        one_round = True
        candidates: int = option(4, "prompts looked at for each that trains", least=1)

        def draft(self, turn, memory):
            drawn = turn.walk(self.candidates * turn.batch)
            believed = turn.belief.mean(drawn, step=turn.step)
            return turn.equal(drawn[top_k(-np.abs(believed - 0.5), turn.batch)])

A method holds nothing that changes. What it remembers beside the belief is a dataclass that `init` makes (see
`didact.memory`), which the curriculum hands to it, saves and loads. It knows data and no curriculum.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.admission import Admission, AdmitAll
from didact.advantage import AdvantageKind, WeightMode
from didact.allocation import largest_remainder
from didact.belief import Belief
from didact.ledger import OpenGroup
from didact.options import checked
from didact.options import option as option
from didact.outcomes import GroupOutcome, Truncated
from didact.pool import Pool

Floats = NDArray[np.float64]
Positions = NDArray[np.int64]
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
    #: Groups of which something came back, and that are not settled, oldest first.
    waiting: Sequence[OpenGroup] = ()
    #: walk(n): the next n distinct prompts of the shuffled passes through the pool, all of it if n is larger.
    walk: Callable[[int], Positions] = lambda num: NONE
    #: fitting(n, total): how many of n groups alike, of `total` rollouts in all, the step has room for. A method that
    #: draws again asks before it takes prompts off their pass; what is drafted beyond the room is cut off.
    fitting: Callable[[int, int], int] = lambda num, total: num
    #: fits(total): whether the step has room for so many rollouts in all its rounds to come, this one included.
    fits: Callable[[int], bool] = lambda total: True

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

    @property
    def positions(self) -> Positions:
        """The prompt of each outcome, shape (n,); one can come up several times."""
        return np.array([group.position for group in self.groups], dtype=np.int64)

    @property
    def came_back(self) -> list[OpenGroup]:
        """Those groups, each once and by its id, of which nothing is still to come and something can be used."""
        distinct = {group.group_id: group for group in self.groups}
        return [group for _, group in sorted(distinct.items()) if group.completed >= 0 and group.usable]


class Method(ABC):
    """A rule that says what a round holds. Subclasses are frozen dataclasses, their fields made by `option`.

    What stands below is said of a method once and looked up by the engine and by adapters.
    """

    name: str = "custom"
    paper: str = "-"
    #: Whether a step has one round and no more, whatever comes back.
    one_round: bool = False
    #: Whether its groups can grow in later rounds (`Draft.further`), whatever they were planned for at first.
    continues: bool = False
    #: Whether it gives baselines of its own (`Verdict.baseline`).
    own_baseline: bool = False
    #: Whether all that grows with the pool is in what the pool gives out (belief, columns, trees, passes), and no step
    #: passes over all of it: then the pool may be sharded.
    shardable: bool = False
    #: Whether its drafts set the context length.
    sets_context: bool = False
    #: What becomes of groups that would train beyond prompts_per_step: they train too, wait, or are discarded.
    surplus: Fate = "trains"
    #: The default of `admission`: which groups train, if the method does not say otherwise.
    admission: str = "all"
    #: The defaults of `prior` and `prior_weight`.
    prior: tuple[float, float] = (1.0, 1.0)
    prior_weight: float = 4.0
    #: The objective the method is meant for.
    advantage: AdvantageKind = "rloo"
    loss_weighting: WeightMode = "prompt"

    def __post_init__(self) -> None:
        for name, value in checked(self).items():
            object.__setattr__(self, name, value)

    @property
    def objective(self) -> tuple[AdvantageKind, WeightMode]:
        """Advantage and loss weighting that adapters should use."""
        return self.advantage, self.loss_weighting

    def uneven(self, run: Run) -> bool:
        """Whether groups of one step may differ in size."""
        return not run.divides

    def chooses(self, run: Run) -> bool:
        """Whether some of what came back may not train, or not at the step at which it came."""
        return type(self).verdict is not Method.verdict or not isinstance(run.admission, AdmitAll)

    @property
    def weighs_groups(self) -> bool:
        """Whether its groups may count differently in the loss (`Draft.weights`)."""
        return False

    @property
    def wants_gradients(self) -> bool:
        """Whether trainers should report the gradients of groups planned with reason "pilot", see `gradients`."""
        return False

    def longest_context(self, run: Run) -> int | None:
        """The largest context length that can come up, for a method that `sets_context`."""
        return None

    def most_rollouts(self, run: Run) -> int:
        """Most rollouts that its own options make a full step take, where that is not a matter of luck."""
        return run.rollouts_per_step

    def recorded(self) -> dict[str, Any]:
        """The options as they stand in states and journals: plain values."""
        return {each.name: getattr(self, each.name) for each in fields(self)}  # type: ignore[arg-type]

    def init(self, run: Run) -> Any:
        """What it remembers at the start of a run beside the belief, or None.

        Raises:
            ValueError: options that do not fit the run, a column that is missing.
        """
        return None

    @abstractmethod
    def draft(self, turn: Turn, memory: Any) -> Draft | None:
        """The next round of this step; None when it needs no more as things are."""

    def observed(self, arrivals: Arrivals, run: Run, memory: Any) -> None:
        """After the belief took in what came back."""

    def predict(self, positions: Positions, run: Run, memory: Any) -> tuple[Floats, Floats] | None:
        """Mean and standard deviation of the pass rates at `positions`, by a belief of the method's own.

        None is the belief in own outcomes that the curriculum keeps. What it says is what plans, `pass_rates()`, the
        journal, calibration and the report say.
        """
        return None

    def verdict(self, group: OpenGroup, run: Run, memory: Any) -> Verdict:
        """What becomes of a group of which something came back."""
        return Verdict("trains" if admits(group, run) else "discarded")

    def forgot(self, group: OpenGroup, memory: Any) -> bool:
        """Whether it forgot all about the group's prompt since the group was planned: then its outcomes are counted and
        not believed, as if they had come in time and been forgotten."""
        return False

    def gradients(self, position: int, gram: ArrayLike, passed: ArrayLike, memory: Any) -> None:
        """Take in how the gradients of a prompt's rollouts relate, for a method that `wants_gradients`.

        Args:
            gram: inner products of the rollouts' gradients of the sequence log-probability, shape (n, n).
            passed: which rollouts passed, shape (n,).
        """

    def resume(self, run: Run, memory: Any) -> None:
        """After a memory was loaded: make again what follows from the rest of the run.

        Raises:
            ValueError: a memory that no run can have led to.
        """


def admits(group: OpenGroup, run: Run, rollouts: Sequence[int] | None = None) -> bool:
    """Whether the run's admission rule takes a group, or some rollouts of it."""
    chosen = group.usable if rollouts is None else rollouts
    return len(chosen) > 0 and run.admission.admits(rewards_of(group, chosen))


def rewards_of(group: OpenGroup, rollouts: Sequence[int] | None = None) -> Floats:
    """The rewards of some rollouts of a group, or of all that have one."""
    return np.array([group.rewards[index] for index in (group.usable if rollouts is None else rollouts)])
