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
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from numpy.typing import ArrayLike

from didact.admission import AdmitAll
from didact.advantage import AdvantageKind, WeightMode
from didact.arrays import Floats, Positions
from didact.comparison import Comparison
from didact.draft import NONE, Draft, Fate, Then, Verdict
from didact.group import OpenGroup, rewards_of
from didact.options import checked, option
from didact.turn import Arrivals, Run, Turn

#: All that the author of a method needs, from one place.
__all__ = ["NONE", "Arrivals", "Comparison", "Draft", "Fate", "Floats", "Method", "Positions", "Run", "Then", "Turn"]
__all__ += ["Verdict", "admits", "option", "rewards_of"]


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
    #: Whether it gives baselines of its own (`Verdict.baseline`), without which its groups cannot be trained on.
    own_baseline: bool = False
    #: Whether it offers baselines, pass rates between 0 and 1, that a trainer may leave aside for the group's own mean.
    offers_baseline: bool = False
    #: Whether all that grows with the pool is in what the pool gives out (belief, columns, trees, passes), and no step
    #: passes over all of it: then the pool may be sharded.
    shardable: bool = False
    #: Whether it learns from what prompts look like: who sees their text gives the pool features of its words.
    wants_words: bool = False
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

    def compared(self, run: Run, memory: Any) -> Comparison | None:
        """What its latest draft looked at, and by which figures it chose, for `didact explain`.

        None is a method that does not say, or one without a draft since its memory was made or loaded.
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
