"""The curriculum: asked for plans, told outcomes, and never in charge of the loop.

    for step in range(num_steps):
        while plan := curriculum.plan(step):          # an empty plan is false: nothing more to roll out
            curriculum.observe(roll_out(plan))        # one GroupOutcome per planned group
        train_on(curriculum.admitted(step))

It keeps what every method needs: which groups are open, what came back (late, in parts, twice, or not at all), what it
cost, and the belief. What a round holds and which groups train is the method's to say, see `didact.method`. Nobody
subclasses it.
"""

import copy
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact import memory, silence
from didact.admission import Admission, as_admission
from didact.books import Books
from didact.bounds import MAX_PER_STEP, MAX_STEP, flag, one_of, real, whole
from didact.context import ContextSchedule, DraftedContext, FixedContext, as_context, as_length
from didact.ledger import Ledger, OpenGroup
from didact.listener import Listener
from didact.method import Arrivals, Draft, Method, Run, Then, Turn, Verdict
from didact.outcomes import GroupOutcome, Truncated
from didact.pass_rates import PassRates
from didact.plan import AdmittedGroup, Plan, PlannedGroup
from didact.pool import Pool
from didact.seeding import generator
from didact.state import check_seal, digest, in_order, seal

SCHEMA = 3
#: Of rollouts_per_step, that a step may take by default: SPEED's took up to 13 in benchmarks/results/main.
_MOST_BATCHES = 20
_STATE: tuple[str, ...] = ("schema", "method", "options", "pool", "step", "round", "then", "ledger", "admitted")
_STATE += ("books", "belief", "walk", "memory")


@final
class Curriculum:
    """A method at work on a pool; `make` builds one by the method's name.

    Args:
        pool: the prompts; it may grow during the run.
        method: what a round holds, and which groups train.
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
        prior, discount, window, pass_above: how the belief counts, see Belief; a prior of None is the method's own,
            (1, 1) for most.
        prior_weight: pseudo-rollouts that the pool's `pass_rate` counts for where it is known, in place of `prior`.
            None is the method's own, 4 for most; without such a column it is nothing.
        truncated: "exclude" keeps truncated rollouts out of the belief (they say little about the pass rate at full
            length); "observe" takes their rewards as they are. They are counted either way.

    Raises:
        ValueError: an option out of range, or one that does not fit the method or the pool.
    """

    def __init__(
        self,
        pool: Pool,
        method: Method,
        *,
        prompts_per_step: int,
        rollouts_per_step: int,
        seed: int = 0,
        max_rollouts_per_step: int | None = None,
        context: ContextSchedule | int | Sequence[Sequence[int]] | None = None,
        admission: Admission | str | Sequence[float] | None = None,
        prior: tuple[float, float] | None = None,
        prior_weight: float | None = None,
        discount: float = 1.0,
        window: int | None = None,
        pass_above: float | None = None,
        truncated: Truncated = "exclude",
    ) -> None:
        if not isinstance(pool, Pool):
            raise TypeError(f"pool must be a PromptPool, got {type(pool).__name__}; write PromptPool(ids)")
        if not isinstance(method, Method):
            raise TypeError(f"method must be a Method, got {method!r}; by name, write make(name, pool, ...)")
        if pool.sharded and not method.shardable:
            raise ValueError(
                f"method {method.name!r} keeps or passes over figures of the whole pool, so the pool cannot be a "
                f"{type(pool).__name__}; docs/scale.md says which methods can"
            )
        if method.sets_context and context is not None:
            raise ValueError(f"method {method.name!r} sets the context length by its own options: do not give context")
        self.pool = pool
        self.method = method
        self.name = method.name
        self.prompts_per_step = whole("prompts_per_step", prompts_per_step, 1, MAX_PER_STEP)
        self.rollouts_per_step = whole("rollouts_per_step", rollouts_per_step, 1, MAX_PER_STEP)
        self.seed = whole("seed", seed, -(2**128), 2**128)
        if self.rollouts_per_step < 2 * min(self.prompts_per_step, len(pool)):
            raise ValueError(
                f"rollouts_per_step={rollouts_per_step} is less than 2 rollouts for each of {prompts_per_step} "
                "prompts: a group of one has no advantage; raise rollouts_per_step or lower prompts_per_step"
            )
        if max_rollouts_per_step is not None:
            max_rollouts_per_step = whole("max_rollouts_per_step", max_rollouts_per_step, 1)
            if max_rollouts_per_step < self.rollouts_per_step:
                raise ValueError(
                    f"max_rollouts_per_step={max_rollouts_per_step} has no room for a plan of rollouts_per_step="
                    f"{rollouts_per_step}; give at least that, or leave it out"
                )
        one_of("truncated", truncated, ("exclude", "observe"))
        own_rule = admission is None and method.admission == "all"
        self.admission = as_admission(method.admission if admission is None else admission)
        self.context = as_context(context)
        self._how = {
            "prior": method.prior if prior is None else prior,
            "discount": discount,
            "window": window,
            "pass_above": pass_above,
            "prior_weight": self._checked_weight(prior_weight),
        }
        self.belief = pool.belief(**self._how)
        self._max_rollouts = max_rollouts_per_step
        self._truncated: Truncated = truncated
        self.listener = Listener()
        self._step, self._round = -1, 0
        self._then: Then = "later"  # whether the current step has another round
        self._ledger = Ledger()
        self._books = Books(self.belief.passes)
        self._admitted: list[AdmittedGroup] = []
        self._walk = pool.passes(self.seed)
        # What was said already, in this process: no part of the state, since it changes nothing.
        self._said_at, self._out_of_range = 0, False
        run = self._run()
        self.memory = method.init(run)
        #: Traits of the method in this run, which adapters look up; see `Method`.
        self.uneven, self.chooses = method.uneven(run), method.chooses(run)
        self.one_round, self.own_baseline = method.one_round, method.own_baseline
        self.weighs_groups, self.wants_gradients = method.weighs_groups, method.wants_gradients
        self.advantage, self.loss_weighting = method.objective
        self.options: dict[str, Any] = {
            "prompts_per_step": self.prompts_per_step,
            "rollouts_per_step": self.rollouts_per_step,
            "seed": self.seed,
            "context": self.context.length if isinstance(self.context, FixedContext) else describe(self.context),
            "admission": None if own_rule else describe(self.admission),
            "prior": list(self.belief.prior),
            "discount": self.belief.discount,
            "window": self.belief.window,
            "pass_above": self.belief.pass_above,
            "truncated": truncated,
            **method.recorded(),
        }
        rare = {"max_rollouts_per_step": max_rollouts_per_step, "prior_weight": self._how["prior_weight"] or None}
        self.options |= {name: value for name, value in rare.items() if value is not None}
        if method.sets_context:  # not among the options: it follows from the method's own
            self.context = DraftedContext(method.longest_context(run))

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
        most = _MOST_BATCHES * self.rollouts_per_step
        return self._max_rollouts or max(most, self.method.most_rollouts(self._run()))

    @property
    def next_round(self) -> Then:
        """Whether the current step has another round: "none" for certain, "now" (outcomes that are still out do not
        matter to it), or "later": that depends on what comes back. Asynchronous callers wait for "later" alone.
        """
        return self._then

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
        before = self._step, self._round, self._then, self._admitted, self._books.now
        silent = self._books.silence() if step > self._step else {}
        if silent.get("silent_steps", 0.0) > self._books.now.get("silent_steps", 0.0):
            self._said_at = silence.say(silent, self._said_at)
        self._advance(step)
        if self._then == "none":
            return Plan(step, self._round)
        try:
            draft = self.method.draft(self._turn(), self.memory)
            planned = [] if draft is None else self._taken(draft)
            plan = Plan(step, self._round, planned)
        except BaseException:
            self._step, self._round, self._then, self._admitted, self._books.now = before
            raise
        if plan:
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
        self._books.totals["outcomes_duplicate"] += len(given) - len(fresh)
        if not fresh:
            return [range(0)] * len(given)
        placed = []
        for group, outcome in fresh:
            placed.append(range(len(group.rewards), len(group.rewards) + len(outcome.rewards)))
            length = self.pool.prompt_length(group.position) if outcome.prompt_tokens is None else outcome.prompt_tokens
            self._books.came(group, outcome, self._step, length or 0)
            self._ledger.close(group)
        arrivals = Arrivals([group for group, _ in fresh], [outcome for _, outcome in fresh], self._truncated)
        self._spend(arrivals)
        self._books.scored(
            [group.rewards[index] for (group, _), rows in zip(fresh, placed, strict=True) for index in rows]
        )
        self._believe(arrivals)
        self.method.observed(arrivals, self._run(), self.memory)
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
            self._books.totals["rollouts_planned"] += num_rollouts
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
            self._books.totals["rollouts_lost"] -= num_rollouts
        self.listener.found(self, int(group_id), num_rollouts)

    def overdue(self, step: int) -> list[int]:
        """Ids of the groups whose missing rollouts `plan(step)` gives up; empty unless it begins a step."""
        step = self._checked_step(step)
        return [group.group_id for group in self._ledger.overdue(step)] if step > self._step else []

    def admitted(self, step: int, *, complete: bool = False) -> list[AdmittedGroup]:
        """The groups that train at `step`: those that came back by now and that the method lets train.

        Asking again at the same step gives the same list, longer if more came back since. A group that came back after
        its step is considered at the step at which it is asked for. A group trains once; what arrives for it later
        still informs the belief. With `complete`, a group of which rollouts are still to come is not considered yet;
        without, it trains on what it has.
        """
        complete = flag("complete", complete)
        if whole("step", step, -1, MAX_STEP) != self._step:
            raise ValueError(f"admitted({step}) was asked at step {self._step}: ask for the step of the latest plan")
        room = self.prompts_per_step - len(self._admitted)
        chosen: list[AdmittedGroup] = []
        for group, verdict in self._verdicts():
            if complete and group.completed < 0:
                continue
            fate = verdict.fate
            if fate == "trains" and len(chosen) >= room:
                fate = self.method.surplus
            if fate == "trains":
                rows = group.usable if verdict.rollouts is None else verdict.rollouts
                chosen.append(
                    AdmittedGroup(
                        group.group_id, self.pool.ids[group.position], tuple(rows), verdict.baseline, group.weight
                    )
                )
            if fate != "waits":
                self._settle(group, chosen[-1] if fate == "trains" else None)
        before = len(self._admitted)
        self._admitted += chosen
        self.listener.admitted(self, self._admitted, before, complete)
        return list(self._admitted)

    def held(self) -> list[int]:
        """Ids of groups that came back and wait for a later step, oldest first: keep their rollouts till then."""
        return [group.group_id for group, verdict in self._verdicts() if self._waits(verdict)]

    def open_groups(self) -> list[int]:
        """Ids of groups that may still train, oldest first: the rollouts of all others are not needed any more."""
        return [group.group_id for group in self._ledger if not group.settled]

    def observe_gradients(self, prompt_id: str, gram: ArrayLike, passed: ArrayLike) -> None:
        """Tell how the gradients of a prompt's rollouts relate; arguments as in `Method.gradients`.

        Raises:
            ValueError: an unknown prompt, a matrix that is none, or a method that does not ask for gradients.
        """
        if not self.wants_gradients:
            raise ValueError(f"method {self.name!r}, with its options, makes no use of gradients")
        self.method.gradients(int(self.pool.positions([prompt_id])[0]), gram, passed, self.memory)

    def pass_rates(self) -> PassRates:
        """A read-only snapshot of the belief over the whole pool."""
        self.belief.grow(len(self.pool))
        believed = self.belief.pass_rates(self.pool.ids, step=max(self._step, 0))
        own = self.method.predict(np.arange(len(self.pool)), self._run(), self.memory)
        return believed if own is None else replace(believed, mean=own[0], std=own[1])

    def metrics(self) -> dict[str, float]:
        """Counters of the whole run and figures of the current step, flat; see docs/metrics.md for each name."""
        missing = sum(group.in_flight for group in self._ledger if group.step < self._step)
        held = sum(len(group.rewards) for group, verdict in self._verdicts() if self._waits(verdict))
        return {
            **self._books.metrics(),
            "rollouts_missing": float(missing),
            "rollouts_held": float(held),
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

    # What the method is shown -----------------------------------------------------------------------------------

    def _run(self) -> Run:
        return Run(**self._shown())

    def _turn(self) -> Turn:
        return Turn(
            **self._shown(),
            round=self._round,
            rng=generator(self.seed, "plan", self._step, self._round),
            waiting=self._ledger.waiting(),
            walk=lambda num: self._walk.take(num, len(self.pool)),
            fitting=self._fitting,
            fits=lambda total: total <= self._books.room(self.max_rollouts_per_step),
        )

    def _shown(self) -> dict[str, Any]:
        return {
            "pool": self.pool,
            "prompts_per_step": self.prompts_per_step,
            "rollouts_per_step": self.rollouts_per_step,
            "seed": self.seed,
            "truncated": self._truncated,
            "admission": self.admission,
            "belief": self.belief,
            "step": self._step,
            "num_admitted": len(self._admitted),
            "num_planned": int(self._books.totals["rollouts_planned"]),
        }

    def _fitting(self, num: int, total: int) -> int:
        room = self._books.room(self.max_rollouts_per_step)
        if total <= room:
            return num
        self._books.capped()
        return num * room // total

    def _verdicts(self) -> list[tuple[OpenGroup, Verdict]]:
        """What becomes of each group of which something came back, oldest first."""
        run = self._run()
        return [(group, self.method.verdict(group, run, self.memory)) for group in self._ledger.waiting()]

    def _waits(self, verdict: Verdict) -> bool:
        """Whether a group with this verdict outlives its step."""
        return verdict.fate == "waits" or (verdict.fate == "trains" and self.method.surplus == "waits")

    # The loop, inside -------------------------------------------------------------------------------------------

    def _checked_weight(self, given: float | None) -> float:
        """The weight of the pool's pass rates, 0 where there are none to use."""
        weight = self.method.prior_weight if given is None else real("prior_weight", given, 0)
        try:
            return weight if weight > 0 and self.pool.pass_rate is not None else 0.0
        except ValueError as error:
            if given is None:
                warnings.warn(f"{error}; the belief starts at its prior everywhere", stacklevel=4)
                return 0.0
            raise

    def _checked_step(self, step: int) -> int:
        checked = whole("step", step, 0, MAX_STEP)
        if checked < self._step:
            raise ValueError(f"step {checked} comes after step {self._step}: steps do not go back")
        return checked

    def _advance(self, step: int) -> None:
        if step > self._step:
            self._step, self._round, self._then, self._admitted = step, 0, "later", []
            self._books.next_step()
            for group in self._ledger.overdue(step):
                self._write_off(group, group.in_flight)
            # A trainer that never asks what to train on must not make the books grow.
            unclaimed = [group for group in self._ledger if 0 <= group.completed < step - 1 and not group.settled]
            run = self._run()
            for group in unclaimed:
                if not group.usable or not self._waits(self.method.verdict(group, run, self.memory)):
                    self._settle(group, None)
            self._ledger.forget(self._step)
        self.belief.grow(len(self.pool))

    def _taken(self, draft: Draft) -> list[PlannedGroup]:
        """The groups of a draft, opened; what cannot be planned is refused before."""
        planned = self._open_groups(draft) if len(draft.positions) else []
        for group in draft.dropped:
            self._settle(group, None)
        self._then = draft.then or ("none" if self.method.one_round else "later")
        return planned

    def _open_groups(self, draft: Draft) -> list[PlannedGroup]:
        columns = self._checked_draft(draft)
        total = int(columns[1].sum())
        if not self._fitting(1, total):  # a method that draws more than there is room for has not asked
            room = self._books.room(self.max_rollouts_per_step)
            num = int(np.searchsorted(columns[1].cumsum(), room, side="right"))
            columns = tuple(column[:num] for column in columns)  # type: ignore[assignment]
        positions, counts, known, reasons, weights = columns
        now = self._books.now
        length = draft.context_length if self.method.sets_context else self.context.context_length(self._step, now)
        context = as_length(length)
        now["context_length"] = float(context or 0)
        last_seen = self.belief.last_seen(positions)
        ages = self._step - last_seen[last_seen >= 0]
        now["evidence_age"] = float(ages.mean()) if len(ages) else 0.0
        predicted = self._predicted(positions) if draft.predicted is None else draft.predicted[: len(positions)]
        planned = []
        rows = (positions.tolist(), self.pool.ids[positions], counts.tolist(), known, reasons)
        for position, prompt_id, count, group_id, reason, mean, weight in zip(
            *rows, predicted.tolist(), weights.tolist(), strict=True
        ):
            if group_id is None:
                group = self._ledger.open(position, self._step, reason, mean, count, weight)
            else:
                group = self._ledger.extend(group_id, count, self._step, reason, weight)
            planned.append(PlannedGroup(group.group_id, prompt_id, count, context, reason, mean))
        self._books.planned(int(counts.sum()))
        return planned

    def _predicted(self, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        own = self.method.predict(positions, self._run(), self.memory)
        return self.belief.mean(positions, step=self._step) if own is None else own[0]

    def _checked_draft(
        self, draft: Draft
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], Sequence[int | None], Sequence[str], NDArray[np.float64]]:
        """The columns of a draft."""
        given = np.asarray(draft.positions), np.asarray(draft.num_rollouts)
        known = [None] * len(given[0]) if draft.group_ids is None else draft.group_ids
        if any(each.ndim != 1 or each.dtype.kind not in "iu" for each in given):
            raise ValueError(f"method {self.name!r} drafted positions or rollouts that are no lists of whole numbers")
        positions, counts = (each.astype(np.int64) for each in given)
        reasons = [draft.reason] * len(positions) if isinstance(draft.reason, str) else draft.reason
        weights = np.ones(len(positions)) if draft.weights is None else np.asarray(draft.weights)
        numbers = weights.ndim == 1 and weights.dtype.kind in "iuf"
        if not numbers or not ((weights > 0) & (weights <= MAX_PER_STEP)).all():
            raise ValueError(f"method {self.name!r} drafted weights that are no list of numbers above 0 up to 2**20")
        if draft.weights is not None and not self.weighs_groups:
            raise ValueError(f"method {self.name!r} drafted weights: it must declare weighs_groups = True")
        lengths = [len(each) for each in (positions, counts, known, reasons, weights)]
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
        return positions, counts, known, reasons, weights.astype(np.float64)

    def _write_off(self, group: OpenGroup, num_rollouts: int) -> None:
        group.lost += num_rollouts
        self._books.totals["rollouts_lost"] += num_rollouts
        if group.done and group.completed < 0:
            group.completed = self._step

    def _settle(self, group: OpenGroup, admitted: AdmittedGroup | None) -> None:
        self._books.settle(group, admitted)
        self._ledger.close(group)

    def _spend(self, arrivals: Arrivals) -> None:
        positions = arrivals.positions
        rollouts = np.array([len(outcome.rewards) for outcome in arrivals.outcomes], dtype=np.int64)
        tokens = np.array([sum(outcome.num_tokens or ()) for outcome in arrivals.outcomes], dtype=np.int64)
        unique, index = np.unique(positions, return_inverse=True)
        before = self.belief.num_rollouts(unique).astype(np.float64)
        added = np.bincount(index, weights=rollouts).astype(np.float64)
        self._books.spent(before, added, int(tokens.sum()))
        self.belief.count(positions, rollouts, tokens, step=self._step)

    def _believe(self, arrivals: Arrivals) -> None:
        used = [
            [] if self.method.forgot(group, self.memory) else usable
            for group, usable in zip(arrivals.groups, arrivals.rewards, strict=True)
        ]
        sizes = np.array([len(usable) for usable in used], dtype=np.int64)
        rewards = np.fromiter((reward for usable in used for reward in usable), np.float64, int(sizes.sum()))
        self._books.calibrate([group.predicted for group in arrivals.groups], sizes, rewards)
        versions = [
            group.asked if outcome.policy_version is None else outcome.policy_version for group, outcome in arrivals
        ]
        self.belief.observe(
            arrivals.positions, sizes, rewards, step=self._step, versions=np.array(versions, dtype=np.int64)
        )

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
            "then": self._then,
            "ledger": self._ledger.state_dict(),
            "admitted": [
                [group.group_id, group.prompt_id, list(group.rollouts), group.baseline, group.weight]
                for group in self._admitted
            ],
            "books": self._books.state_dict(),
            "belief": self.belief.state_dict(),
            "walk": self._walk.state_dict(),
            "memory": memory.save(self.memory),
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
        fresh.belief, fresh._ledger = self.pool.belief(**self._how), Ledger()
        fresh._books, fresh._walk = Books(fresh.belief.passes), self.pool.passes(self.seed)
        fresh._step, fresh._round, fresh._then, fresh._admitted = -1, 0, "later", []
        fresh.memory = self.method.init(fresh._run())
        return fresh

    def _take_over(self, state: Mapping[str, Any]) -> None:
        self._step, self._round, self._then = state["step"], state["round"], state["then"]
        if {type(self._step), type(self._round)} != {int} or self._step < -1 or self._round < 0:
            raise ValueError(f"steps and rounds are whole numbers, got step {self._step!r}, round {self._round!r}")
        one_of("then", self._then, ("none", "now", "later"))
        self._ledger.load_state_dict(state["ledger"])
        self._admitted = [
            AdmittedGroup(group, prompt, tuple(rows), baseline, weight)
            for group, prompt, rows, baseline, weight in state["admitted"]
        ]
        self._books.load_state_dict(state["books"])
        self.belief.load_state_dict(state["belief"])
        self._walk.load_state_dict(state["walk"])
        memory.load(self.memory, state["memory"], pool_size=len(self.pool), step=self._step)
        self.method.resume(self._run(), self.memory)

    def _check_books(self) -> None:
        """Raises ValueError where figures that are kept in two places differ, or point to nothing."""
        totals, groups, size = self._books.totals, list(self._ledger), len(self.pool)
        out = sum(group.outstanding - group.lost for group in groups)
        planned = totals["rollouts"] + out + totals["rollouts_lost"]
        if planned != totals["rollouts_planned"]:
            raise ValueError(f"{totals['rollouts_planned']:g} rollouts were planned, {planned:g} came, are out or lost")
        counted = [totals[name] for name in ("rollouts", "response_tokens", "prompts_seen")]
        spent = self.belief.spent()
        if not all(math.isclose(total, known, rel_tol=1e-12) for total, known in zip(counted, spent, strict=True)):
            raise ValueError(f"rollouts, response tokens and prompts: {counted} came, the belief has {spent}")
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


def describe(stage: object) -> str:
    """A stage's own repr; the default one holds an address, which no state of another process would match."""
    return type(stage).__qualname__ if type(stage).__repr__ is object.__repr__ else repr(stage)
