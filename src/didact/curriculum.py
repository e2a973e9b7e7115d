"""The curriculum: asked for plans, told outcomes, and never in charge of the loop.

    for step in range(num_steps):
        while plan := curriculum.plan(step):          # an empty plan is false: nothing more to roll out
            curriculum.observe(roll_out(plan))        # one GroupOutcome per planned group
        train_on(curriculum.admitted(step))

`Curriculum` keeps the books that every method needs: which groups are open, what came back (late, in parts, twice, or
not at all), what it cost, and the belief. A method adds `_draft`: the next round of a step. `StagedCurriculum` builds
one out of stages.
"""

import copy
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from didact import silence
from didact.admission import Admission, AdmitAll, as_admission, has_signal
from didact.advantage import AdvantageKind, WeightMode
from didact.bounds import MAX_PER_STEP, MAX_STEP, flag, one_of, real, whole
from didact.context import ContextSchedule, FixedContext, as_context, as_length
from didact.ledger import Ledger, OpenGroup
from didact.listener import Listener
from didact.outcomes import GroupOutcome, Truncated
from didact.pass_rates import PassRates
from didact.plan import AdmittedGroup, Plan, PlannedGroup
from didact.prompts import PromptPool
from didact.seeding import generator
from didact.state import check_seal, digest, in_order, seal

SCHEMA = 2
_BINS = 10
#: Of rollouts_per_step, that a step may take by default: SPEED's took up to 13 in benchmarks/results/main.
_MOST_BATCHES = 20
#: Reasons of rollouts that are made to learn about a prompt before the rest of its group, if any.
PROBES = ("pilot", "screen")


@dataclass(frozen=True)
class Draft:
    """One round as a method sees it: distinct positions, rollouts for each, and why (one word, or one for each).

    `group_ids` names open groups to continue instead of starting new ones; None among them starts a new one. `weights`,
    shape (n,), is what each group counts in the loss (`AdmittedGroup.weight`), from above 0 to 2**20; None: all 1. A
    method that gives them declares `weighs_groups`.
    """

    positions: NDArray[np.int64]
    num_rollouts: NDArray[np.int64]
    reason: str | Sequence[str] = "train"
    group_ids: Sequence[int | None] | None = None
    weights: NDArray[Any] | None = None


class Curriculum(ABC):
    """Base of all methods.

    Args:
        pool: the prompts; it may grow during the run.
        prompts_per_step: groups that train in a step. A smaller pool gives smaller plans (a prompt is planned once in
            a plan), with the whole budget.
        rollouts_per_step: rollout budget of a plan. Both are at most 2**20.
        max_rollouts_per_step: most rollouts of all rounds of a step, for methods that draw again until a batch is full:
            a step that comes to it trains on what it has. None is 20 * rollouts_per_step, or what the method's own
            options make a step take if that is more (a pilot of a whole subset).
        seed: root of all randomness.
        context: context length: tokens, [[steps, tokens], ...] for stages, a ContextSchedule, or None for the trainer's
            own setting.
        admission: which groups train: "all", "signal", a band [low, high] of mean rewards, or an Admission; None is the
            method's own rule.
        prior, discount, window, pass_above: how the belief counts, see BetaBelief.
        prior_weight: pseudo-rollouts that the pool's `pass_rate` counts for where it is known, in place of `prior`.
            None is the method's own, 4 for most; without such a column it is nothing.
        truncated: "exclude" keeps truncated rollouts out of the belief (they say little about the pass rate at full
            length); "observe" takes their rewards as they are. They are counted either way.
        options: the method's own options, for the record and for the check when a state is loaded.

    Raises:
        ValueError: an option out of range.
    """

    name = "custom"
    #: Whether groups of one step may differ in size.
    uneven = False
    #: Whether a step has one round and no more, whatever comes back.
    one_round = False
    #: Whether it gives baselines of its own (`AdmittedGroup.baseline`).
    own_baseline = False
    #: Whether its groups may count differently in the loss (`AdmittedGroup.weight`).
    weighs_groups = False
    #: Whether all that grows with the pool is in the stores that the pool gives out (`belief`, `weight_tree`,
    #: `passes`), and no step passes over all of it: then the pool may be sharded.
    shardable = False
    #: The default of `prior_weight`.
    own_prior_weight = 4.0
    #: The objective the method is meant for; adapters read these.
    advantage: AdvantageKind = "rloo"
    loss_weighting: WeightMode = "prompt"

    def __init__(
        self,
        pool: PromptPool,
        *,
        prompts_per_step: int,
        rollouts_per_step: int,
        seed: int = 0,
        max_rollouts_per_step: int | None = None,
        context: ContextSchedule | int | Sequence[Sequence[int]] | None = None,
        admission: Admission | str | Sequence[float] | None = None,
        prior: tuple[float, float] = (1.0, 1.0),
        prior_weight: float | None = None,
        discount: float = 1.0,
        window: int | None = None,
        pass_above: float | None = None,
        truncated: Truncated = "exclude",
        options: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(pool, PromptPool):
            raise TypeError(f"pool must be a PromptPool, got {type(pool).__name__}; write PromptPool(ids)")
        if pool.sharded and not self.shardable:
            raise ValueError(
                f"method {self.name!r} keeps or passes over figures of the whole pool, so the pool cannot be sharded; "
                f"methods that work on a {type(pool).__name__}: {', '.join(_shardable())}"
            )
        prompts_per_step = whole("prompts_per_step", prompts_per_step, 1, MAX_PER_STEP)
        rollouts_per_step = whole("rollouts_per_step", rollouts_per_step, 1, MAX_PER_STEP)
        seed = whole("seed", seed, -(2**128), 2**128)
        if rollouts_per_step < 2 * min(prompts_per_step, len(pool)):
            raise ValueError(
                f"rollouts_per_step={rollouts_per_step} is less than 2 rollouts for each of {prompts_per_step} "
                "prompts: a group of one has no advantage; raise rollouts_per_step or lower prompts_per_step"
            )
        if max_rollouts_per_step is not None:
            max_rollouts_per_step = whole("max_rollouts_per_step", max_rollouts_per_step, 1)
            if max_rollouts_per_step < rollouts_per_step:
                raise ValueError(
                    f"max_rollouts_per_step={max_rollouts_per_step} has no room for a plan of rollouts_per_step="
                    f"{rollouts_per_step}; give at least that, or leave it out"
                )
        one_of("truncated", truncated, ("exclude", "observe"))
        self.pool = pool
        self.prompts_per_step = prompts_per_step
        self.rollouts_per_step = rollouts_per_step
        self.seed = seed
        self.context = as_context(context)
        self.admission: Admission = AdmitAll() if admission is None else as_admission(admission)
        weight = self._checked_weight(prior_weight)
        self.belief = pool.belief(
            prior=prior, discount=discount, window=window, pass_above=pass_above, prior_weight=weight
        )
        self._max_rollouts = max_rollouts_per_step
        self._truncated = truncated
        self.options: dict[str, Any] = {
            "prompts_per_step": self.prompts_per_step,
            "rollouts_per_step": self.rollouts_per_step,
            "seed": self.seed,
            "context": self.context.length if isinstance(self.context, FixedContext) else describe(self.context),
            "admission": None if admission is None else describe(self.admission),
            "prior": list(self.belief.prior),
            "discount": self.belief.discount,
            "window": self.belief.window,
            "pass_above": self.belief.pass_above,
            "truncated": truncated,
            **(options or {}),
        }
        # Options that are later than others stand here where they matter: earlier states load.
        later = {"max_rollouts_per_step": max_rollouts_per_step, "prior_weight": weight or None}
        self.options |= {name: value for name, value in later.items() if value is not None}
        self.listener = Listener()
        self._step = -1
        self._round = 0
        self._ledger = Ledger()
        self._admitted: list[AdmittedGroup] = []
        self._totals: dict[str, float] = dict.fromkeys(_TOTALS, 0.0)
        self._now: dict[str, float] = {}
        # What was said already, in this process: no part of the state, since it changes nothing.
        self._said_at, self._out_of_range = 0, False
        self._calibration = np.zeros((3, _BINS))  # rollouts, predicted passes, passes, by predicted pass rate

    @property
    def step(self) -> int:
        """The step of the latest plan, -1 before the first."""
        return self._step

    @property
    def num_admitted(self) -> int:
        """Groups admitted at the current step so far."""
        return len(self._admitted)

    @property
    def max_rollouts_per_step(self) -> int:
        """Most rollouts that all plans of a step can hold together."""
        return self._max_rollouts or max(_MOST_BATCHES * self.rollouts_per_step, self._usual_most())

    @property
    def next_round(self) -> Literal["none", "now", "later"]:
        """Whether the current step has another round: "none" for certain, "now" (outcomes that are still out do not
        matter to it), or "later": that depends on what comes back. Asynchronous callers wait for "later" alone.
        """
        return "none" if self.one_round and self._round > 0 else "later"

    def listen(self, listener: Listener) -> None:
        """Have `listener` told of all that happens from now on; it adds to the state what it has to remember.

        Raises:
            ValueError: somebody listens already; or whatever the listener raises.
        """
        if type(self.listener) is not Listener:
            raise ValueError(f"a {type(self.listener).__name__} listens to this curriculum already: build another one")
        listener.begins(self)
        self.listener = listener

    # The loop ---------------------------------------------------------------------------------------------------

    def plan(self, step: int) -> Plan:
        """The next round of rollouts for `step`; an empty plan (false) when the step needs no more.

        Rollouts that nobody answered for in LOST_STEPS steps are given up at the first plan of a step: they count as
        lost, and as found when they come after all (see `lost`).

        Raises:
            ValueError: a step before the current one, or of 2**31 and more. Whatever a method raises, the step and the
                round stay what they were.
        """
        step = self._checked_step(step)
        before = self._step, self._round, self._admitted, self._now
        silent = self._silence() if step > self._step else {}
        if silent.get("silent_steps", 0.0) > self._now.get("silent_steps", 0.0):
            self._said_at = silence.say(silent, self._said_at)
        self._advance(step)
        try:
            draft = self._draft(step, self._round, generator(self.seed, "plan", step, self._round))
            planned = [] if draft is None or len(draft.positions) == 0 else self._open_groups(draft)
            if not planned:
                return Plan(step, self._round)
            plan = Plan(step, self._round, planned)
        except BaseException:
            self._step, self._round, self._admitted, self._now = before
            raise
        self._round += 1
        self.listener.planned(self, plan)
        return plan

    def observe(self, outcomes: Iterable[GroupOutcome]) -> list[range]:
        """Take in outcomes, in any order. A bad one raises before anything is taken in.

        Returns:
            For each outcome the positions that its rollouts have in their group, as `admitted` will name them; an empty
            range for one that repeats others.

        Raises:
            ValueError: an unknown group or prompt id, or more rewards than were planned. TypeError: not a GroupOutcome.
        """
        given = list(outcomes)
        placed = self._take_in(given)
        self.listener.observed(self, given, placed)
        return placed

    def _take_in(self, given: list[GroupOutcome]) -> list[range]:
        groups = self._ledger.screen(given, self.pool)
        fresh = [(group, outcome) for group, outcome in zip(groups, given, strict=True) if group is not None]
        if self.belief.pass_above is None and not self._out_of_range:  # said before anything is taken in
            verdicts = [reward for _, outcome in fresh for reward in outcome.usable("observe")]
            self._out_of_range = silence.out_of_range(verdicts)
        self._totals["outcomes_duplicate"] += len(given) - len(fresh)
        if not fresh:
            return [range(0)] * len(given)
        believed: list[Sequence[float]] = []
        scored: list[float] = []
        positions, sizes, tokens, versions, placed = [], [], [], [], []
        for group, outcome in fresh:
            placed.append(range(len(group.rewards), len(group.rewards) + len(outcome.rewards)))
            usable = self._record(group, outcome)
            believed.append([] if self._forgotten(group) else usable)
            scored.extend(group.rewards[len(group.rewards) - len(outcome.rewards) :])
            positions.append(group.position)
            versions.append(group.asked if outcome.policy_version is None else outcome.policy_version)
            sizes.append(len(outcome.rewards))
            tokens.append(sum(outcome.num_tokens or ()))
            if outcome.prompt_tokens is not None:
                self._totals["prompt_tokens"] += outcome.prompt_tokens * len(outcome.rewards)
            elif (length := self.pool.prompt_length(group.position)) is not None:
                self._totals["prompt_tokens"] += length * len(outcome.rewards)
        where, counts = np.array(positions, dtype=np.int64), np.array(sizes, dtype=np.int64)
        self._spend(where, counts, np.array(tokens, dtype=np.int64))
        graded = np.array([reward for reward in scored if not math.isnan(reward)])
        self._now["passes"] = self._now.get("passes", 0.0) + float(self.belief.passes(graded).sum())
        self._now["scored"] = self._now.get("scored", 0.0) + len(graded)
        kept = np.array([len(usable) for usable in believed], dtype=np.int64)
        rewards = np.fromiter((reward for usable in believed for reward in usable), np.float64, int(kept.sum()))
        self._calibrate([group.predicted for group, _ in fresh], kept, rewards)
        self.belief.observe(where, kept, rewards, step=self._step, versions=np.array(versions, dtype=np.int64))
        self._observed(where, fresh)
        ranges = iter(placed)
        return [range(0) if group is None else next(ranges) for group in groups]

    def lost(self, group_id: int, num_rollouts: int, *, again: bool = False) -> None:
        """Write off rollouts that were planned and will not come; with `again`, as many are made in their place.

        A group that waits for nothing else is complete. Rollouts that come after all are evidence that was paid for:
        say `found`, then observe them.

        Raises:
            ValueError: a group that is not open, or more rollouts than it has outstanding.
        """
        num_rollouts, again = whole("num_rollouts", num_rollouts, 1), flag("again", again)
        group = self._ledger.find(group_id)
        if group is None or num_rollouts > group.in_flight:
            left = "is not open" if group is None else f"waits for {group.in_flight}"
            raise ValueError(f"{num_rollouts} rollouts of group {group_id} cannot be lost: it {left}")
        if again:
            group.again += num_rollouts
            self._totals["rollouts_planned"] += num_rollouts
        self._write_off(group, num_rollouts)
        self.listener.lost(self, group.group_id, num_rollouts, again)

    def found(self, group_id: int, num_rollouts: int) -> None:
        """Take `lost` back for rollouts that come after all; nothing happens where the group was given up long ago.

        Where nobody says so, `observe` takes as many for found as a group with all its rollouts cannot have lost.

        Raises:
            ValueError: an unknown group id, or more rollouts than were lost.
        """
        num_rollouts = whole("num_rollouts", num_rollouts, 1)
        group = self._ledger.find(group_id)
        if group is not None:
            if num_rollouts > group.lost:
                raise ValueError(f"{num_rollouts} rollouts of group {group_id} cannot be found: {group.lost} are lost")
            group.lost -= num_rollouts
            self._totals["rollouts_lost"] -= num_rollouts
        self.listener.found(self, int(group_id), num_rollouts)

    def overdue(self, step: int) -> list[int]:
        """Ids of the groups whose missing rollouts `plan(step)` gives up; empty unless it begins a step."""
        step = self._checked_step(step)
        return [group.group_id for group in self._ledger.overdue(step)] if step > self._step else []

    def admitted(self, step: int, *, complete: bool = False) -> list[AdmittedGroup]:
        """The groups that train at `step`: those that came back by now and pass the admission rule.

        Asking again at the same step gives the same list, longer if more came back since. A group that came back after
        its step is considered at the step at which it is asked for. A group trains once; what arrives for it later
        still informs the belief. With `complete`, a group of which rollouts are still to come is not considered yet;
        without, it trains on what it has.
        """
        complete = flag("complete", complete)
        if whole("step", step, -1, MAX_STEP) != self._step:
            raise ValueError(f"admitted({step}) was asked at step {self._step}: ask for the step of the latest plan")
        fresh = [group for group in self._ledger.waiting() if group.completed >= 0 or not complete]
        chosen = {
            group.group_id: AdmittedGroup(
                group.group_id,
                self.pool.ids[group.position],
                tuple(self._kept(group)),
                self._baseline(group),
                group.weight,
            )
            for group in self._admit(fresh)
        }
        self._settle([group for group in fresh if group.group_id in chosen or not self._held(group)], chosen)
        before = len(self._admitted)
        self._admitted += chosen.values()
        self.listener.admitted(self, self._admitted, before, complete)
        return list(self._admitted)

    def held(self) -> list[int]:
        """Ids of groups that came back and wait for a later step, oldest first: keep their rollouts till then."""
        return [group.group_id for group in self._ledger.waiting() if self._held(group)]

    def open_groups(self) -> list[int]:
        """Ids of groups that may still train, oldest first: the rollouts of all others are not needed any more."""
        return [group.group_id for group in self._ledger if not group.settled]

    def pass_rates(self) -> PassRates:
        """A read-only snapshot of the belief over the whole pool."""
        self.belief.grow(len(self.pool))
        return self.belief.pass_rates(self.pool.ids, step=max(self._step, 0))

    def metrics(self) -> dict[str, float]:
        """Counters of the whole run and figures of the current step, flat; see docs/metrics.md for each name."""
        totals, now = self._totals, self._now
        missing = sum(group.in_flight for group in self._ledger if group.step < self._step)
        weight, predicted, passed = self._calibration
        seen = weight > 0
        error = np.abs(predicted[seen] - passed[seen]).sum() / weight.sum() if seen.any() else 0.0
        groups, done = now.get("groups", 0.0), now.get("scored", 0.0)
        return {
            **{name: float(totals[name]) for name in _TOTALS if not name.startswith("_")},
            "rollouts_missing": float(missing),
            "rollouts_held": float(sum(len(group.rewards) for group in self._ledger.waiting() if self._held(group))),
            "share_with_signal": now.get("with_signal", 0.0) / groups if groups else 0.0,
            "share_with_signal_so_far": totals["groups_with_signal"] / max(totals["groups"], 1.0),
            "pass_rate": now.get("passes", 0.0) / done if done else 0.0,
            "evidence_age": now.get("evidence_age", 0.0),
            "lag": now.get("lag", 0.0) / max(now.get("lag_count", 0.0), 1.0),
            "calibration_error": float(error),
            "effective_prompts": totals["rollouts"] ** 2 / max(totals["_rollout_squares"], 1.0),
            "context_length": now.get("context_length", 0.0),
            "steps_without_signal": now.get("silent_steps", 0.0),
            "capped_steps": now.get("capped_steps", 0.0),
            "pool_size": float(len(self.pool)),
            "rounds": float(self._round),
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything, as numbers, strings, lists, dicts and numpy arrays: saving and loading changes nothing."""
        return self.listener.saved(seal(self._contents()))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state made by the same method with the same options on the same pool (which may have grown since).

        What is loaded is what was saved, or nothing: all of it goes into fresh objects, which take the place of the old
        ones once they have been found to say the same again.

        Raises:
            ValueError: a state of another schema, method, pool or options; one that was altered, or that cannot be.
        """
        with self.listener.loading(state) as state:
            self._check_state(state)
            try:
                fresh = self._fresh()
                fresh._take_over(state)
                fresh._check_books()
                if digest({**fresh._contents(), "pool": state["pool"]}) != state["digest"]:
                    raise ValueError("loaded, it would be another")
            except (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError) as error:
                raise ValueError(f"this is no state that method {self.name!r} could have saved: {error}") from error
            vars(self).update(vars(fresh))

    # What a method says -----------------------------------------------------------------------------------------

    @abstractmethod
    def _draft(self, step: int, round: int, rng: np.random.Generator) -> Draft | None:
        """The next round of this step, or None when it needs no more."""

    def _observed(self, positions: NDArray[np.int64], fresh: Sequence[tuple[OpenGroup, GroupOutcome]]) -> None:
        """Called after the belief took in outcomes of the prompts at `positions`."""

    def _forgotten(self, group: OpenGroup) -> bool:
        """Whether the method forgot all about the group's prompt since it was planned: then its outcomes are counted
        and not believed, as if they had come in time and been forgotten."""
        return False

    def _admit(self, groups: Sequence[OpenGroup]) -> list[OpenGroup]:
        """Which of the groups that came back train now; the others are discarded (and stay counted)."""
        return [
            group
            for group in groups
            if self.admission.admits(np.array([group.rewards[index] for index in group.usable]))
        ]

    def _kept(self, group: OpenGroup) -> list[int]:
        """Which rollouts of an admitted group train, as positions in the group."""
        return group.usable

    def _baseline(self, group: OpenGroup) -> float | None:
        """What to subtract from an admitted group's rewards, where it is not the mean of the rollouts that train."""
        return None

    def _held(self, group: OpenGroup) -> bool:
        """Whether a group that came back and was not admitted waits for a later step, instead of being discarded."""
        return False

    def _batch_size(self, min_rollouts: int = 2) -> int:
        """Prompts of a full batch: a pool that outgrew the budget gets no group smaller than `min_rollouts`."""
        return min(self.prompts_per_step, len(self.pool), self.rollouts_per_step // min_rollouts)

    def _divides_unevenly(self) -> bool:
        """Whether equal shares of the budget can differ: a smaller pool shares out the budget of the whole batch."""
        return self.rollouts_per_step % self.prompts_per_step > 0 or len(self.pool) < self.prompts_per_step

    def _own_state(self) -> dict[str, Any]:
        """The method's own state."""
        return {}

    def _load_own_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `_own_state` gave."""

    def _usual_most(self) -> int:
        """Most rollouts that the method's own options make a full step take, where that is not a matter of luck."""
        return self.rollouts_per_step

    def _fitting(self, num: int, total: int) -> int:
        """How many of `num` groups alike, of `total` rollouts in all, the step has room for. A method that draws again
        asks before it takes prompts off their pass; what is drafted beyond the room is cut off."""
        if self._fits(total):
            return num
        room = self.max_rollouts_per_step - int(self._now.get("planned", 0.0))
        if not self._now.get("capped"):
            self._now["capped"] = 1.0
            self._now["capped_steps"] = self._now.get("capped_steps", 0.0) + 1
        return num * room // total

    def _fits(self, num_rollouts: int) -> bool:
        """Whether the step has room for so many rollouts more, for `next_round`, which changes nothing."""
        return self._now.get("planned", 0.0) + num_rollouts <= self.max_rollouts_per_step

    def _column(self, name: str, *, complete: bool = False) -> NDArray[Any] | None:
        """A column of the pool; with `complete`, one without a gap.

        Raises:
            ValueError: it cannot be worked with, or has a gap: says method, column and row.
        """
        try:
            column: NDArray[Any] | None = getattr(self.pool, name)
        except ValueError as error:
            raise ValueError(f"method {self.name!r} reads {name!r}: {error}") from None
        if column is not None and complete and np.isnan(column).any():
            row = int(np.argmax(np.isnan(column)))
            raise ValueError(
                f"method {self.name!r} needs {name!r} of every prompt, and that of {self.pool.ids[row]!r} in row {row} "
                "is unknown: give it a guess, such as the median, or leave the prompt out"
            )
        return column

    # The books --------------------------------------------------------------------------------------------------

    def _checked_weight(self, given: float | None) -> float:
        """The weight of the pool's pass rates, 0 where there are none to use."""
        weight = self.own_prior_weight if given is None else real("prior_weight", given, 0)
        try:
            return weight if weight > 0 and self.pool.pass_rate is not None else 0.0
        except ValueError as error:
            if given is None:
                warnings.warn(f"{error}; the belief starts at its prior everywhere", stacklevel=4)
                return 0.0
            raise

    def _cut(self, positions: NDArray[np.int64], counts: NDArray[np.int64], *columns: Any) -> tuple[Any, ...]:
        """The groups that the step has room for: a method that draws more has not asked."""
        if self._fitting(1, int(counts.sum())):
            return positions, counts, *columns
        room = self.max_rollouts_per_step - self._now.get("planned", 0.0)
        num = int(np.searchsorted(counts.cumsum(), room, side="right"))
        return tuple(column[:num] for column in (positions, counts, *columns))

    def _silence(self) -> dict[str, float]:
        """What steps in a row up to the current one, which gave nothing to train on, add up to; empty if it did."""
        now = self._now
        errored, scored = now.get("errored", 0.0), now.get("scored", 0.0)
        if now.get("admitted_with_signal") and errored <= scored:
            return {}
        before = {name: now.get(name, 0.0) for name in silence.FIGURES}
        if errored + scored == 0:  # nothing came back, so nothing can be said
            return {name: value for name, value in before.items() if value}
        figures = {"silent_steps": 1.0, "silent_rollouts": errored + scored, "silent_errored": errored}
        figures |= {"silent_cut_off": now.get("truncated", 0.0), "silent_passed": now.get("passes", 0.0)}
        figures["silent_with_signal"] = now.get("with_signal", 0.0)
        return {name: before[name] + figures[name] for name in silence.FIGURES}

    def _carried(self) -> dict[str, float]:
        """Figures of the step that go on with the next one."""
        capped = self._now.get("capped_steps", 0.0)
        return {**self._silence(), **({"capped_steps": capped} if capped else {})}

    def _checked_step(self, step: int) -> int:
        checked = whole("step", step, 0, MAX_STEP)
        if checked < self._step:
            raise ValueError(f"step {checked} comes after step {self._step}: steps do not go back")
        return checked

    def _advance(self, step: int) -> None:
        if step > self._step:
            self._step, self._round, self._admitted, self._now = step, 0, [], self._carried()
            for group in self._ledger.overdue(step):
                self._write_off(group, group.in_flight)
            # A trainer that never asks what to train on must not make the books grow.
            unclaimed = [group for group in self._ledger if 0 <= group.completed < step - 1]
            self._settle([group for group in unclaimed if not group.settled and not self._held(group)], {})
            self._ledger.forget(self._step)
        self.belief.grow(len(self.pool))

    def _open_groups(self, draft: Draft) -> list[PlannedGroup]:
        positions, counts, known, weights = self._cut(*self._checked_draft(draft))
        context = as_length(self.context.context_length(self._step, self._now))
        self._now["context_length"] = float(context or 0)
        last_seen = self.belief.last_seen(positions)
        ages = self._step - last_seen[last_seen >= 0]
        self._now["evidence_age"] = float(ages.mean()) if len(ages) else 0.0
        predicted = self.belief.mean(positions, step=self._step).tolist()
        ids = self.pool.ids[positions]
        reasons = [draft.reason] * len(positions) if isinstance(draft.reason, str) else draft.reason
        planned = []
        for position, prompt_id, count, group_id, reason, mean, weight in zip(
            positions.tolist(),
            ids,
            counts.tolist(),
            known,
            reasons[: len(ids)],
            predicted,
            weights.tolist(),
            strict=True,
        ):
            if group_id is None:
                group = self._ledger.open(position, self._step, reason, mean, count, weight)
            else:
                group = self._ledger.extend(group_id, count, self._step, reason, weight)
            planned.append(PlannedGroup(group.group_id, prompt_id, count, context, reason, mean))
        self._totals["rollouts_planned"] += float(counts.sum())
        self._now["planned"] = self._now.get("planned", 0.0) + float(counts.sum())
        return planned

    def _checked_draft(
        self, draft: Draft
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], Sequence[int | None], NDArray[np.float64]]:
        """The columns of a draft, all but the reasons; what cannot be planned is refused before a group is opened."""
        given = np.asarray(draft.positions), np.asarray(draft.num_rollouts)
        known = [None] * len(given[0]) if draft.group_ids is None else draft.group_ids
        if any(each.ndim != 1 or each.dtype.kind not in "iu" for each in given):
            raise ValueError(f"method {self.name!r} drafted positions or rollouts that are no lists of whole numbers")
        positions, counts = (each.astype(np.int64) for each in given)
        weights = np.ones(len(positions)) if draft.weights is None else np.asarray(draft.weights)
        numbers = weights.ndim == 1 and weights.dtype.kind in "iuf"
        if not numbers or not ((weights > 0) & (weights <= MAX_PER_STEP)).all():
            raise ValueError(f"method {self.name!r} drafted weights that are no list of numbers above 0 up to 2**20")
        if draft.weights is not None and not self.weighs_groups:
            raise ValueError(f"method {self.name!r} drafted weights: it must declare weighs_groups = True")
        lengths = [len(positions), len(counts), len(known), len(weights)]
        if not isinstance(draft.reason, str):
            lengths.append(len(draft.reason))
        if len(set(lengths)) > 1:
            raise ValueError(f"method {self.name!r} drafted columns of different lengths: {lengths}")
        if len(np.unique(positions)) < len(positions):
            raise ValueError(f"method {self.name!r} drafted the same prompt twice in one plan")
        if positions.min() < 0 or positions.max() >= len(self.pool):
            raise ValueError(f"method {self.name!r} drafted a prompt that is not in the pool of {len(self.pool)}")
        if counts.min() < 1:
            raise ValueError(f"method {self.name!r} drafted a group of {counts.min()} rollouts")
        for group_id, position in zip(known, positions.tolist(), strict=True):
            group = None if group_id is None else self._ledger.find(group_id)
            if group_id is not None and (group is None or group.settled or group.position != position):
                raise ValueError(
                    f"method {self.name!r} continues group {group_id}, which is not an open one of its prompt"
                )
        return positions, counts, known, weights.astype(np.float64)

    def _write_off(self, group: OpenGroup, num_rollouts: int) -> None:
        group.lost += num_rollouts
        self._totals["rollouts_lost"] += num_rollouts
        if group.done and group.completed < 0:
            group.completed = self._step

    def _record(self, group: OpenGroup, outcome: GroupOutcome) -> Sequence[float]:
        """Write an outcome into its group and the counters; return the rewards that the belief may use."""
        totals, now = self._totals, self._now
        size = len(outcome.rewards)
        errored = outcome.errored or (False,) * size
        truncated = outcome.truncated or (False,) * size
        group.record(outcome, self._step)
        found = max(-group.in_flight, 0)  # it was given up and comes after all, and nobody said so
        group.lost -= found
        totals["rollouts_lost"] -= found
        self._ledger.close(group)
        totals["outcomes"] += 1
        totals["outcomes_partial"] += size < group.planned and len(group.rewards) < group.planned
        totals["outcomes_late"] += group.step < self._step
        totals["rollouts_errored"] += sum(errored)
        totals["rollouts_truncated"] += sum(truncated)
        for name, marks in {"errored": errored, "truncated": truncated}.items():
            now[name] = now.get(name, 0.0) + sum(marks)
        totals["rollouts_pilot"] += size if group.reason in PROBES else 0
        if group.settled:
            totals["rollouts_discarded"] += size
        version = group.asked if outcome.policy_version is None else outcome.policy_version
        now["lag"] = now.get("lag", 0.0) + (self._step - version)
        now["lag_count"] = now.get("lag_count", 0.0) + 1
        return outcome.usable(self._truncated)

    def _spend(self, positions: NDArray[np.int64], rollouts: NDArray[np.int64], tokens: NDArray[np.int64]) -> None:
        unique, index = np.unique(positions, return_inverse=True)
        before = self.belief.num_rollouts(unique).astype(np.float64)
        added = np.bincount(index, weights=rollouts)
        totals = self._totals
        totals["_rollout_squares"] += float(((before + added) ** 2 - before**2).sum())
        totals["rollouts"] += float(rollouts.sum())
        totals["response_tokens"] += float(tokens.sum())
        totals["prompts_seen"] += float(((before == 0) & (added > 0)).sum())
        self.belief.count(positions, rollouts, tokens, step=self._step)

    def _calibrate(self, predicted: Sequence[float], sizes: NDArray[np.int64], rewards: NDArray[np.float64]) -> None:
        """Compare what was believed when a group was planned with what came back."""
        mean = np.repeat(np.array(predicted), sizes)
        bins = np.minimum((mean * _BINS).astype(np.int64), _BINS - 1)
        passes = self.belief.passes(rewards)
        for row, values in enumerate((np.ones(len(mean)), mean, passes)):
            self._calibration[row] += np.bincount(bins, weights=values, minlength=_BINS)

    def _settle(self, groups: Sequence[OpenGroup], admitted: Mapping[int, AdmittedGroup]) -> None:
        totals, now = self._totals, self._now
        for group in groups:
            rewards = np.array([group.rewards[index] for index in group.usable])
            group.settled = True
            kept = len(admitted[group.group_id].rollouts) if group.group_id in admitted else 0
            totals["rollouts_trained"] += kept
            totals["rollouts_discarded"] += len(group.rewards) - kept
            totals["groups"] += 1
            totals["groups_trained"] += kept > 0
            now["groups"] = now.get("groups", 0.0) + 1
            if has_signal(rewards):
                totals["groups_with_signal"] += 1
                now["with_signal"] = now.get("with_signal", 0.0) + 1
                now["admitted_with_signal"] = now.get("admitted_with_signal", 0.0) + (kept > 0)
            elif len(rewards):
                passed = self.belief.passes(rewards).mean() >= 0.5
                totals["groups_all_pass" if passed else "groups_all_fail"] += 1
            self._ledger.close(group)

    # States -----------------------------------------------------------------------------------------------------

    def _contents(self) -> dict[str, Any]:
        """A state without its seal."""
        return {
            "schema": SCHEMA,
            "method": self.name,
            "options": dict(self.options),
            "pool": {"size": len(self.pool), "fingerprint": self.pool.fingerprint()},
            "step": self._step,
            "round": self._round,
            "ledger": self._ledger.state_dict(),
            "admitted": [
                [group.group_id, group.prompt_id, list(group.rollouts), group.baseline, group.weight]
                for group in self._admitted
            ],
            "totals": dict(self._totals),
            "now": dict(self._now),
            "calibration": self._calibration.copy(),
            "belief": self.belief.state_dict(),
            "own": self._own_state(),
        }

    def _check_state(self, state: Mapping[str, Any]) -> None:
        check_seal(state, "curriculum", _STATE, SCHEMA)
        if state["method"] != self.name:
            raise ValueError(f"state of method {state['method']!r}, this curriculum is {self.name!r}")
        options, pool = state["options"], state["pool"]
        if not isinstance(options, Mapping) or not isinstance(pool, Mapping) or type(pool.get("size")) is not int:
            raise ValueError(f"a state says what options and what pool it was made with, this one {options} and {pool}")
        for name in sorted(set(options) | set(self.options)):
            saved, mine = options.get(name, "unset"), self.options.get(name, "unset")
            if saved != mine:
                raise ValueError(f"state made with {name}={saved!r}, this curriculum has {name}={mine!r}")
        size = pool["size"]
        if size > len(self.pool) or self.pool.fingerprint(size) != pool.get("fingerprint"):
            raise ValueError(
                f"state of another pool: it knew {size} prompts, and the first {min(size, len(self.pool))} of this "
                f"pool's {len(self.pool)} are not the same; load it with its own prompts in their own order (and "
                "shards)"
            )

    def _fresh(self) -> Self:
        """A curriculum that shares what stays the same with this one, and nothing that a state is loaded into."""
        fresh = copy.copy(self)
        how = {name: self.options[name] for name in ("prior", "discount", "window", "pass_above")}
        how["prior_weight"] = self.options.get("prior_weight", 0.0)
        fresh.belief, fresh._ledger = self.pool.belief(**how), Ledger()
        for name, part in vars(self).items():
            if hasattr(part, "load_state_dict") and part not in (self, self.belief, self._ledger):
                setattr(fresh, name, copy.deepcopy(part))
        return fresh

    def _take_over(self, state: Mapping[str, Any]) -> None:
        self._step, self._round = state["step"], state["round"]
        self._ledger.load_state_dict(state["ledger"])
        self._admitted = [
            AdmittedGroup(group, prompt, tuple(rows), baseline, weight)
            for group, prompt, rows, baseline, weight in state["admitted"]
        ]
        self._totals, self._now = dict(state["totals"]), dict(state["now"])
        self._calibration = np.array(state["calibration"], dtype=np.float64)
        self.belief.load_state_dict(state["belief"])
        self._load_own_state(state["own"])

    def _check_books(self) -> None:
        """Raises ValueError where figures that are kept in two places differ, or point to nothing."""
        totals, groups, size = self._totals, list(self._ledger), len(self.pool)
        if {type(self._step), type(self._round)} != {int} or self._step < -1 or self._round < 0:
            raise ValueError(f"steps and rounds are whole numbers, got step {self._step!r}, round {self._round!r}")
        if set(totals) != set(_TOTALS) or not all(
            isinstance(x, float) for x in [*totals.values(), *self._now.values()]
        ):
            raise ValueError(f"totals must be one number for each of {', '.join(_TOTALS)}, got {totals}")
        if not all(0 <= total < math.inf for total in totals.values()):
            raise ValueError(f"totals must be finite and not negative, got {totals}")
        if not all(map(math.isfinite, self._now.values())) or self._calibration.shape != (3, _BINS):
            raise ValueError(f"the figures of the step must be finite, got {self._now}")
        if not ((self._calibration >= 0) & (self._calibration < math.inf)).all():
            raise ValueError("what was predicted and what came back are numbers of at least 0")
        out = sum(group.outstanding - group.lost for group in groups)
        planned = totals["rollouts"] + out + totals["rollouts_lost"]
        if planned != totals["rollouts_planned"]:
            raise ValueError(f"{totals['rollouts_planned']:g} rollouts were planned, {planned:g} came, are out or lost")
        counted = [totals[name] for name in ("rollouts", "response_tokens", "prompts_seen")]
        spent = self.belief.spent()
        if not all(math.isclose(total, known, rel_tol=1e-12) for total, known in zip(counted, spent, strict=True)):
            raise ValueError(f"rollouts, response tokens and prompts: {counted} came, the belief has {spent}")
        done = totals["rollouts_trained"] + totals["rollouts_discarded"]
        if done > totals["rollouts"] or totals["groups_trained"] > totals["groups"]:
            raise ValueError(f"{done:g} of {totals['rollouts']:g} rollouts cannot have trained or been discarded")
        if any(group.position >= size or group.step > self._step for group in groups):
            raise ValueError(f"an open group is of a step after {self._step}, or of no prompt among {size}")
        ids = [group.group_id for group in self._admitted]
        if len(set(ids)) < len(ids) or not all(self._ledger.gave_out(group_id) for group_id in ids):
            raise ValueError(f"admitted groups must be groups that were planned, each once, got {ids}")
        self.pool.positions([group.prompt_id for group in self._admitted])
        for group in self._admitted:
            rows, baseline = np.array(group.rollouts), group.baseline
            if rows.dtype.kind != "i" or not in_order(rows, 1 << 31) or not math.isfinite(baseline or 0.0):
                raise ValueError(f"no group can be admitted like this: {group}")
            if type(group.weight) is not float or not 0 < group.weight <= MAX_PER_STEP:
                raise ValueError(f"no group can weigh like this: {group}")


_STATE: tuple[str, ...] = ("schema", "method", "options", "pool", "step", "round", "ledger", "admitted")
_STATE += ("totals", "now", "calibration", "belief", "own")
_TOTALS = (
    "rollouts",
    "rollouts_planned",
    "rollouts_trained",
    "rollouts_discarded",
    "rollouts_pilot",
    "rollouts_errored",
    "rollouts_truncated",
    "rollouts_lost",
    "response_tokens",
    "prompt_tokens",
    "groups",
    "groups_trained",
    "groups_with_signal",
    "groups_all_pass",
    "groups_all_fail",
    "outcomes",
    "outcomes_late",
    "outcomes_partial",
    "outcomes_duplicate",
    "prompts_seen",
    "_rollout_squares",
)


def _shardable() -> list[str]:
    from didact.methods import METHODS  # which import this module

    return [name for name, method in METHODS.items() if method.shardable]


def describe(stage: object) -> str:
    """A stage's own repr; the default one holds an address, which no state of another process would match."""
    return type(stage).__qualname__ if type(stage).__repr__ is object.__repr__ else repr(stage)
