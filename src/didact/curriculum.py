"""The curriculum: asked for plans, told outcomes, and never in charge of the loop.

    for step in range(num_steps):
        while plan := curriculum.plan(step):          # an empty plan is false: nothing more to roll out
            curriculum.observe(roll_out(plan))        # one GroupOutcome per planned group
        train_on(curriculum.admitted(step))

It keeps what every method needs: which groups are open, what came back (late, in parts, twice, or not at all), what it
cost, and the belief. What a round holds and which groups train is the method's to say, see `didact.method`. Nobody
subclasses it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike

from didact import silence
from didact.admission import Admission, as_admission
from didact.belief import Belief
from didact.bounds import MAX_STEP, flag, one_of, whole, whole_or_none
from didact.comparison import Comparison
from didact.context import ContextSchedule, DraftedContext, as_context, as_length
from didact.draft import Draft, Then, Verdict
from didact.group import OpenGroup
from didact.listener import Listener
from didact.method import Method
from didact.outcomes import GroupOutcome, Truncated
from didact.pass_rates import PassRates
from didact.plan import AdmittedGroup, Plan, PlannedGroup
from didact.pool import Pool
from didact.run_setup import budget, check_fit, check_same, described, weight_of_pass_rates
from didact.run_state import RunState
from didact.seeding import generator
from didact.state import check_seal, digest, seal
from didact.turn import Arrivals, Run, Turn

SCHEMA = 3
#: Of rollouts_per_step, that a step may take by default: SPEED's took up to 13 in benchmarks/results/main.
_MOST_BATCHES = 20
_STATE = ("schema", "method", "options", "pool", *RunState.KEYS)


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
        check_fit(pool, method, context)
        self.pool, self.method, self.name = pool, method, method.name
        most = whole_or_none("max_rollouts_per_step", max_rollouts_per_step, 1)
        self.prompts_per_step, self.rollouts_per_step = budget(prompts_per_step, rollouts_per_step, most, len(pool))
        self.seed = whole("seed", seed, -(2**128), 2**128)
        one_of("truncated", truncated, ("exclude", "observe"))
        self.admission = as_admission(method.admission if admission is None else admission)
        self.context = as_context(context)
        start = method.prior if prior is None else prior
        weight = weight_of_pass_rates(pool, method, prior_weight)
        self._new_belief = partial(
            pool.belief, prior=start, discount=discount, window=window, pass_above=pass_above, prior_weight=weight
        )
        self._max_rollouts, self._truncated = most, truncated
        self._setting = partial(
            Run, pool, self.prompts_per_step, self.rollouts_per_step, self.seed, truncated, self.admission
        )
        self.listener = Listener()
        # What was said already, in this process: no part of the state, since it changes nothing.
        self._said_at, self._out_of_range = 0, False
        self._state = self._begun()
        run = self._run()
        #: Traits of the method in this run, which adapters look up; see `Method`.
        self.uneven, self.chooses = method.uneven(run), method.chooses(run)
        self.one_round, self.own_baseline = method.one_round, method.own_baseline
        self.weighs_groups, self.wants_gradients = method.weighs_groups, method.wants_gradients
        self.advantage, self.loss_weighting = method.objective
        own_rule = admission is None and method.admission == "all"
        self.options: dict[str, Any] = {
            "prompts_per_step": self.prompts_per_step,
            "rollouts_per_step": self.rollouts_per_step,
            "seed": self.seed,
            "context": described(self.context),
            "admission": None if own_rule else described(self.admission),
            "prior": list(self.belief.prior),
            "discount": self.belief.discount,
            "window": self.belief.window,
            "pass_above": self.belief.pass_above,
            "truncated": truncated,
            **method.recorded(),
        }
        rare = {"max_rollouts_per_step": most, "prior_weight": self.belief.prior_weight or None}
        self.options |= {name: value for name, value in rare.items() if value is not None}
        if method.sets_context:  # not among the options: it follows from the method's own
            self.context = DraftedContext(method.longest_context(run))

    @property
    def step(self) -> int:
        """The step of the latest plan, -1 before the first."""
        return self._state.step

    @property
    def belief(self) -> Belief:
        """What is believed from own outcomes, and what was spent on each prompt."""
        return self._state.belief

    @property
    def memory(self) -> Any:
        """What the method remembers."""
        return self._state.memory

    @property
    def num_admitted(self) -> int:
        """Groups admitted at the current step so far."""
        return len(self._state.admitted)

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
        return self._state.then

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
        step, state = self._checked_step(step), self._state
        if step > state.step:
            self._said_at = silence.say(state.books.now, self._said_at)
        with state.staying_if_refused():
            self._advance(step)
            draft = None if state.then == "none" else self.method.draft(self._turn(), state.memory)
            plan = Plan(step, state.round, [] if draft is None else self._taken(draft))
        if plan:
            state.round += 1
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
        given, state = list(outcomes), self._state
        groups = state.ledger.screen(given, self.pool)
        new = [(group, outcome) for group, outcome in zip(groups, given, strict=True) if group is not None]
        arrivals = Arrivals([group for group, _ in new], [outcome for _, outcome in new], self._truncated)
        if self.belief.pass_above is None and not self._out_of_range:  # said before anything is taken in
            self._out_of_range = silence.out_of_range(arrivals.verdicts)
        state.books.totals["outcomes_duplicate"] += len(given) - len(new)
        ranges: Iterator[range] = iter(())
        if new:
            ranges = iter(state.spent(arrivals, self.pool))
            state.believe(arrivals, [self.method.forgot(group, state.memory) for group in arrivals.groups])
            self.method.observed(arrivals, self._run(), state.memory)
        placed = [range(0) if group is None else next(ranges) for group in groups]
        self.listener.observed(self, given, placed)
        return placed

    def lost(self, group_id: int, num_rollouts: int, *, again: bool = False) -> None:
        """Write off rollouts that were planned and will not come; with `again`, as many are made in their place.

        A group that waits for nothing else is complete. Rollouts that come after all are evidence that was paid for:
        say `found`, then observe them.

        Raises:
            ValueError: a group that is not open, or more rollouts than it has outstanding.
        """
        num_rollouts, again = whole("num_rollouts", num_rollouts, 1), flag("again", again)
        group = self._state.ledger.lose(group_id, num_rollouts, self.step, again=again)
        self._state.books.lost(num_rollouts, again=again)
        self.listener.lost(self, group.group_id, num_rollouts, again)

    def found(self, group_id: int, num_rollouts: int) -> None:
        """Take `lost` back for rollouts that come after all; nothing happens where the group was given up long ago.

        Where nobody says so, `observe` takes as many for found as a group with all its rollouts cannot have lost.

        Raises:
            ValueError: an unknown group id, or more rollouts than were lost.
        """
        num_rollouts = whole("num_rollouts", num_rollouts, 1)
        self._state.books.lost(-self._state.ledger.regain(group_id, num_rollouts))
        self.listener.found(self, int(group_id), num_rollouts)

    def overdue(self, step: int) -> list[int]:
        """Ids of the groups whose missing rollouts `plan(step)` gives up; empty unless it begins a step."""
        step = self._checked_step(step)
        return [group.group_id for group in self._state.ledger.overdue(step)] if step > self.step else []

    def admitted(self, step: int, *, complete: bool = False) -> list[AdmittedGroup]:
        """The groups that train at `step`: those that came back by now and that the method lets train.

        Asking again at the same step gives the same list, longer if more came back since. A group that came back after
        its step is considered at the step at which it is asked for. A group trains once; what arrives for it later
        still informs the belief. With `complete`, a group of which rollouts are still to come is not considered yet;
        without, it trains on what it has.
        """
        complete, state = flag("complete", complete), self._state
        if whole("step", step, -1, MAX_STEP) != state.step:
            raise ValueError(f"admitted({step}) was asked at step {state.step}: ask for the step of the latest plan")
        before = len(state.admitted)
        for group, verdict in self._verdicts():
            if complete and group.completed < 0:
                continue
            fate = verdict.fate
            if fate == "trains" and len(state.admitted) >= self.prompts_per_step:
                fate = self.method.surplus
            if fate == "trains":
                rows = group.usable if verdict.rollouts is None else verdict.rollouts
                prompt_id = self.pool.ids[group.position]
                chosen = AdmittedGroup(group.group_id, prompt_id, tuple(rows), verdict.baseline, group.weight)
                state.settle(group, chosen)
            elif fate != "waits":
                state.settle(group, None)
        self.listener.admitted(self, state.admitted, before, complete)
        return list(state.admitted)

    def held(self) -> list[int]:
        """Ids of groups that came back and wait for a later step, oldest first: keep their rollouts till then."""
        return [group.group_id for group, verdict in self._verdicts() if self._waits(verdict)]

    def open_groups(self) -> list[int]:
        """Ids of groups that may still train, oldest first: the rollouts of all others are not needed any more."""
        return [group.group_id for group in self._state.ledger if not group.settled]

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
        believed = self.belief.pass_rates(self.pool.ids, step=max(self.step, 0))
        own = self.method.predict(np.arange(len(self.pool)), self._run(), self.memory)
        return believed if own is None else replace(believed, mean=own[0], std=own[1])

    def compared(self) -> Comparison | None:
        """What the method looked at for the latest plan, see `Method.compared`."""
        return self.method.compared(self._run(), self.memory)

    def metrics(self) -> dict[str, float]:
        """Counters of the whole run and figures of the current step, flat; see docs/metrics.md for each name."""
        state = self._state
        missing = sum(group.in_flight for group in state.ledger if group.step < state.step)
        held = sum(len(group.rewards) for group, verdict in self._verdicts() if self._waits(verdict))
        return {
            **state.books.metrics(),
            "rollouts_missing": float(missing),
            "rollouts_held": float(held),
            "pool_size": float(len(self.pool)),
            "rounds": float(state.round),
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything, as numbers, strings, lists, dicts and numpy arrays: saving and loading changes nothing."""
        return self.listener.saved(seal(self._contents(self._state)))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state made by the same method with the same options on the same pool (which may have grown since).

        What is loaded is what was saved, or nothing: all of it goes into fresh objects, which take the place of the old
        ones once they have been found to say the same again.

        Raises:
            ValueError: a state of another schema, method, pool or options; one that was altered, or that cannot be.
        """
        with self.listener.loading(state) as state:
            check_seal(state, "curriculum", _STATE, SCHEMA)
            check_same(state, self.name, self.options, self.pool)
            try:
                fresh = self._begun()
                fresh.load_state_dict(state, self.pool)
                self.method.resume(self._run(fresh), fresh.memory)
                fresh.check(self.pool)
                if digest({**self._contents(fresh), "pool": state["pool"]}) != state["digest"]:
                    raise ValueError("loaded, it would be another")
            except (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError) as error:
                raise ValueError(f"this is no state that method {self.name!r} could have saved: {error}") from error
            self._state = fresh

    # What the method is shown -----------------------------------------------------------------------------------

    def _run(self, state: RunState | None = None) -> Run:
        state = state or self._state
        planned = int(state.books.totals["rollouts_planned"])
        return self._setting(state.belief, step=state.step, num_admitted=len(state.admitted), num_planned=planned)

    def _turn(self) -> Turn:
        state = self._state
        return Turn(
            **vars(self._run()),
            round=state.round,
            rng=generator(self.seed, "plan", state.step, state.round),
            listed=state.ledger.waiting,
            walk=lambda num: state.walk.take(num, len(self.pool)),
            fitting=lambda num, total: state.books.fitting(num, total, self.max_rollouts_per_step),
            fits=lambda total: total <= state.books.room(self.max_rollouts_per_step),
        )

    def _verdicts(self) -> list[tuple[OpenGroup, Verdict]]:
        """What becomes of each group of which something came back, oldest first."""
        run, state = self._run(), self._state
        return [(group, self.method.verdict(group, run, state.memory)) for group in state.ledger.waiting()]

    def _waits(self, verdict: Verdict) -> bool:
        """Whether a group with this verdict outlives its step."""
        return verdict.fate == "waits" or (verdict.fate == "trains" and self.method.surplus == "waits")

    # The loop, inside -------------------------------------------------------------------------------------------

    def _checked_step(self, step: int) -> int:
        checked = whole("step", step, 0, MAX_STEP)
        if checked < self.step:
            raise ValueError(f"step {checked} comes after step {self.step}: steps do not go back")
        return checked

    def _advance(self, step: int) -> None:
        state = self._state
        if step > state.step:
            state.begin(step)
            # A trainer that never asks what to train on must not make the books grow.
            run = self._run()
            for group in state.ledger.unclaimed(step):
                if not group.usable or not self._waits(self.method.verdict(group, run, state.memory)):
                    state.settle(group, None)
            state.ledger.forget(step)
        state.belief.grow(len(self.pool))

    def _taken(self, draft: Draft) -> list[PlannedGroup]:
        """The groups of a draft, opened; what cannot be planned is refused before."""
        planned = self._opened(draft) if len(draft.positions) else []
        for group in draft.dropped:
            self._state.settle(group, None)
        self._state.then = draft.then or ("none" if self.method.one_round else "later")
        return planned

    def _opened(self, draft: Draft) -> list[PlannedGroup]:
        state, most = self._state, self.max_rollouts_per_step
        rows = draft.rows(self.name, len(self.pool), state.ledger, weighs=self.weighs_groups)
        if not state.books.fitting(1, sum(row.num_rollouts for row in rows), most):
            # A method that draws more than there is room for has not asked.
            room, ends = state.books.room(most), accumulate(row.num_rollouts for row in rows)
            rows = [row for row, end in zip(rows, ends, strict=True) if end <= room]
        schedule = self.context.context_length(state.step, state.books.now)
        context = as_length(draft.context_length if self.method.sets_context else schedule)
        positions = np.array([row.position for row in rows], dtype=np.int64)
        predicted = draft.predicted
        if predicted is None:
            own = self.method.predict(positions, self._run(), state.memory)
            predicted = state.belief.mean(positions, step=state.step) if own is None else own[0]
        return state.planned(rows, self.pool.ids[positions], predicted[: len(rows)], context)

    # States -----------------------------------------------------------------------------------------------------

    def _begun(self) -> RunState:
        """A run at its beginning."""
        state = RunState(self._new_belief(), self.pool.passes(self.seed))
        state.memory = self.method.init(self._run(state))
        return state

    def _contents(self, state: RunState) -> dict[str, Any]:
        """What is saved of a state, without the seal."""
        return {
            "schema": SCHEMA,
            "method": self.name,
            "options": dict(self.options),
            "pool": {"size": len(self.pool), "fingerprint": self.pool.fingerprint()},
            **state.state_dict(),
        }
