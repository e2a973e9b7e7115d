"""What every curriculum has to keep, as suites to inherit.

    from didact.testing import CurriculumContract

    class TestFrontier(CurriculumContract):
        build = staticmethod(frontier)          # (pool, *, prompts_per_step, rollouts_per_step, seed) -> Curriculum

pytest collects the subclass and runs it through everything below. A class attribute says what a method does not promise
(`within_budget = False`), `columns` what its prompts have to come with. Passing says that a method keeps its books, its
seed and its budget; it says nothing about whether its plans are any good: that takes training, with every rollout
counted.

`CurriculumContract` is two suites, of which each can be inherited by itself:

* `MethodContract` is what a method can break. Of it, `VariantContract` is what other options could break again: for
  further builds of a method of which one has passed all.
* `BooksContract` is what `Curriculum` sees to whatever the method: steps, bad calls and bad outcomes, foreign states,
  every way of delivery by itself, counters. Didact's own tests run it on a few builds.
"""

import contextlib
import functools
import importlib.util
import inspect
import itertools
import math
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import pytest

from didact.curriculum import Curriculum
from didact.ledger import LATE_STEPS, LOST_STEPS
from didact.outcomes import GroupOutcome
from didact.plan import Plan
from didact.pool import Pool
from didact.prompts import PromptPool
from didact.state import load_state, save_state, seal
from didact.testing.fakes import SimulatedPolicy, Trace, outcomes_of, play, pool_of
from didact.testing.mutations import mutated

_STEPS = 8
#: What may differ when the same rollouts are delivered in another way.
_DELIVERY = {"outcomes", "outcomes_partial", "outcomes_late", "outcomes_duplicate", "lag"}
#: What a failure and a pass may be rewarded with.
_REWARDS = [(0.25, 0.75), (-1.0, 1.0), (3.0, 7.0), (0.1, 0.1), (1e6, -1e6)]

Deliver = Callable[[Curriculum, list[GroupOutcome]], object]


class _Contract:
    """How curricula and pools are built, and what more than one suite asks of a run."""

    #: Runs that learn nothing are looked at here on purpose.
    pytestmark = pytest.mark.filterwarnings("ignore::didact.silence.NothingLearnt")
    #: No plan holds more rollouts than rollouts_per_step.
    within_budget: ClassVar[bool] = True
    #: Every plan whose groups have the reason "train" holds exactly rollouts_per_step.
    keeps_budget: ClassVar[bool] = False
    #: The size of the test pool; subsets, bands and the like should fit into it.
    pool_size: ClassVar[int] = 40
    #: The size of the pool that shows how a method scales; about two seconds at a million.
    large_pool_size: ClassVar[int] = 1_000_000
    prompts_per_step: ClassVar[int] = 4
    rollouts_per_step: ClassVar[int] = 32
    #: How a pool is made of ids and columns; another kind of pool can be put through the same.
    pool_type: ClassVar[Callable[..., Pool]] = PromptPool

    @staticmethod
    def build(pool: Pool, **options: Any) -> Curriculum:
        """What has to be said: a new curriculum from `prompts_per_step`, `rollouts_per_step` and `seed`."""
        raise NotImplementedError("set build = staticmethod(your_method)")

    @staticmethod
    def columns(ids: Sequence[str]) -> dict[str, Any]:
        """Columns of `PromptPool` for the prompts of these ids, one row each; the same id always gets the same row."""
        return {}

    def pool_of(self, size: int, *, prefix: str = "prompt") -> Pool:
        """A pool of `size` prompts called prompt-0, prompt-1, ..."""
        ids = [f"{prefix}-{index}" for index in range(size)]
        return type(self).pool_type(ids, **self.columns(ids))

    def extend(self, pool: Pool, ids: Sequence[str]) -> None:
        """Prompts of these ids join, with their columns."""
        pool.extend(ids, **self.columns(ids))

    def new(self, pool: Pool | int | None = None, *, seed: int = 0, **options: Any) -> Curriculum:
        if not isinstance(pool, Pool):
            pool = self.pool_of(self.pool_size if pool is None else pool)
        sizes = {"prompts_per_step": self.prompts_per_step, "rollouts_per_step": self.rollouts_per_step}
        return self.build(pool, **{**sizes, "seed": seed, **options})

    def trace(self, seed: int = 0) -> Trace:
        """A run to compare with."""
        return play(self.new(seed=seed), _policy(), range(_STEPS))[1]

    def _agrees(self, deliver: Deliver) -> None:
        """The run is the one that orderly delivery gives, but for the counters of deliveries."""
        curriculum, trace = play(self.new(), _policy(), range(_STEPS), deliver=deliver)
        assert _without_delivery(trace) == _without_delivery(self.trace())
        _check_books(curriculum, trace)

    def _errors(self, reward: Any) -> None:
        """All rollouts come back with this for a reward."""

        def deliver(curriculum: Curriculum, outcomes: list[GroupOutcome]) -> None:
            curriculum.observe(replace(outcome, rewards=[reward] * len(outcome.rewards)) for outcome in outcomes)

        curriculum, trace = play(self.new(), _policy(), range(3), deliver=deliver)
        # A belief may grow less sure with versions, by which a mean that stays moves in its last digit.
        assert np.allclose(curriculum.pass_rates().mean, self.new().pass_rates().mean, rtol=0, atol=1e-12)
        assert curriculum.metrics()["rollouts_errored"] == curriculum.metrics()["rollouts"] > 0
        assert not any(entry[2:] for entry in trace if entry[0] == "admitted")
        _check_books(curriculum, trace)

    def _scored(self, rewards: Callable[[GroupOutcome], tuple[float, float]]) -> None:
        """A failure and a pass are rewarded as `rewards` says."""

        def deliver(curriculum: Curriculum, outcomes: list[GroupOutcome]) -> None:
            curriculum.observe(
                replace(outcome, rewards=[rewards(outcome)[int(reward)] for reward in outcome.rewards])
                for outcome in outcomes
            )

        curriculum, trace = play(self.new(), _policy(), range(_STEPS), deliver=deliver)
        _check_books(curriculum, trace)
        seen = curriculum.pass_rates()
        known = seen.evidence > 0
        assert np.isfinite(seen.reward_mean[known]).all()
        assert np.isfinite(seen.reward_std[known]).all()
        assert np.isnan(seen.reward_mean[~known]).all()

    def _grows(self, start: int) -> None:
        """New prompts join every other step; the state of a smaller pool loads on the larger one."""
        runs = []
        for reloads in (False, True):
            pool = self.pool_of(start)
            curriculum, trace = self.new(pool), []
            for step in range(2 * _STEPS):
                curriculum, entries = play(curriculum, _policy(), [step])
                trace += entries
                state = curriculum.state_dict()
                if step % 2:
                    self.extend(pool, [f"joined-{step}-{index}" for index in range(5)])
                if reloads:
                    curriculum = self.new(pool)
                    curriculum.load_state_dict(state)
            _check_books(curriculum, trace)
            assert len(curriculum.pass_rates()) == len(pool) == start + 5 * _STEPS
            assert any(group[1].startswith("joined") for entry in trace if entry[0] == "plan" for group in entry[3:])
            runs.append(trace)
        assert runs[0] == runs[1]


class VariantContract(_Contract):
    """What the options of a method can break."""

    # The plan ---------------------------------------------------------------------------------------------------

    def test_plans_keep_to_the_budget(self) -> None:
        for plan in _plans(self.new()):
            if self.within_budget:
                assert plan.num_rollouts <= self.rollouts_per_step
            if self.keeps_budget and all(group.reason == "train" for group in plan):
                assert plan.num_rollouts == self.rollouts_per_step

    def test_an_empty_plan_is_false_and_stays_empty(self) -> None:
        curriculum = self.new()
        for step in range(3):
            assert len(_finish(curriculum, step)) == 0
            for _ in range(3):
                plan = curriculum.plan(step)
                assert not plan
                assert len(plan) == 0
                assert plan.num_rollouts == 0
            curriculum.admitted(step)
            assert not curriculum.plan(step), "admitted() must not bring an ended step back"

    def test_next_round_keeps_its_word(self) -> None:
        """Asynchronous callers go by it: nothing follows "none", and "now" gives a plan without any outcome."""
        curriculum, silent = self.new(), self.new()
        for step in range(_STEPS):
            for other, deliver in ((curriculum, True), (silent, False)):
                while True:
                    said = other.next_round if other.step == step else "later"
                    plan = other.plan(step)
                    assert bool(plan) or said != "now"
                    assert not plan or said != "none"
                    if not plan:
                        break
                    if deliver:
                        other.observe(_policy().roll_out(plan))
                other.admitted(step)

    def test_admitted_again_gives_the_same_list(self) -> None:
        curriculum = self.new()
        observed: dict[int, int] = defaultdict(int)  # over all steps: a group may have waited
        for step in range(_STEPS):
            while plan := curriculum.plan(step):
                outcomes = _policy().roll_out(plan)
                curriculum.observe(outcomes)
                for outcome in outcomes:
                    observed[outcome.group_id] += len(outcome.rewards)
            admitted = curriculum.admitted(step)
            before, kept = curriculum.metrics(), list(admitted)
            admitted.clear()  # the caller's list is the caller's
            assert curriculum.admitted(step) == kept
            assert curriculum.metrics() == before
            groups = [group.group_id for group in kept]
            assert len(set(groups)) == len(groups)
            assert set(groups) <= set(observed)
            for group in kept:
                assert list(group.rollouts) == sorted(set(group.rollouts))
                assert all(0 <= rollout < observed[group.group_id] for rollout in group.rollouts)

    # Same seed, same history, same plan -------------------------------------------------------------------------

    def test_same_seed_and_history_give_the_same_run(self) -> None:
        assert self.trace(seed=5) == self.trace(seed=5)

    def test_saving_and_loading_between_any_two_calls_changes_nothing(self) -> None:
        def reload(curriculum: Curriculum) -> Curriculum:
            fresh = self.new()
            fresh.load_state_dict(curriculum.state_dict())
            return fresh

        assert play(self.new(), _policy(), range(_STEPS), between=reload)[1] == self.trace()

    def test_the_state_survives_a_file(self, tmp_path: Path) -> None:
        """Before every fifth call, which is another one in each step."""
        calls = itertools.count()

        def reload(curriculum: Curriculum) -> Curriculum:
            if next(calls) % 5:
                return curriculum
            save_state(tmp_path / "state", curriculum.state_dict())
            fresh = self.new()
            fresh.load_state_dict(load_state(tmp_path / "state"))
            return fresh

        assert play(self.new(), _policy(), range(_STEPS), between=reload)[1] == self.trace()

    # Outcomes as they come --------------------------------------------------------------------------------------

    def test_how_outcomes_are_delivered_does_not_matter(self) -> None:
        """The last first, in halves, everything twice; those of one plan one by one, those of the next all at once."""
        labels, plans = itertools.count(), itertools.count()

        def deliver(curriculum: Curriculum, outcomes: list[GroupOutcome]) -> None:
            pieces = [_piece(outcome, half, next(labels)) for half in (0, 1) for outcome in outcomes[::-1]]
            for some in [pieces] if next(plans) % 2 else [[piece] for piece in pieces]:
                curriculum.observe([*some, *some])

        self._agrees(deliver)

    def test_late_and_missing_outcomes_do_not_stop_the_run(self) -> None:
        """A third of the groups comes at once, a third within the next step, a third never; then none at all."""
        held: list[GroupOutcome] = []

        def deliver(curriculum: Curriculum, outcomes: list[GroupOutcome]) -> None:
            late = [outcome for outcome in held if outcome.policy_version != outcomes[0].policy_version]
            held[:] = [outcome for outcome in held if outcome not in late]
            held.extend(outcome for outcome in outcomes if outcome.group_id % 3 == 1)
            curriculum.observe([*late, *(outcome for outcome in outcomes if outcome.group_id % 3 == 2)])

        curriculum, trace = play(self.new(), _policy(), range(_STEPS), deliver=deliver)
        assert curriculum.metrics()["outcomes_late"] > 0
        assert curriculum.metrics()["rollouts_missing"] > 0
        _check_books(curriculum, trace)
        silent, trace = play(self.new(), _policy(), range(3), deliver=lambda curriculum, outcomes: None)
        assert silent.metrics()["rollouts"] == 0
        _check_books(silent, trace)

    def test_an_error_is_not_a_wrong_answer(self) -> None:
        self._errors(None)

    def test_marked_rollouts_stay_out_of_training_and_of_the_belief(self) -> None:
        """The first rollout of every group is errored and scored 0, the last is truncated."""

        def deliver(curriculum: Curriculum, outcomes: list[GroupOutcome]) -> None:
            curriculum.observe(
                replace(
                    outcome,
                    rewards=[0.0, *outcome.rewards[1:]],
                    errored=[True, *[False] * (len(outcome.rewards) - 1)],
                    truncated=[*[False] * (len(outcome.rewards) - 1), True],
                )
                for outcome in outcomes
            )

        always = SimulatedPolicy(default=1.0)
        curriculum, trace = play(self.new(), always, range(_STEPS), deliver=deliver)
        assert (curriculum.pass_rates().mean >= self.new().pass_rates().mean).all()
        assert not any(0 in rollouts for entry in trace if entry[0] == "admitted" for _, _, rollouts, *_ in entry[2:])
        metrics = curriculum.metrics()
        assert metrics["rollouts_errored"] > 0
        assert metrics["rollouts_truncated"] > 0
        _check_books(curriculum, trace)

    def test_rewards_need_not_be_0_or_1(self) -> None:
        """Each group is scored in another way."""
        self._scored(lambda outcome: _REWARDS[outcome.group_id % len(_REWARDS)])

    # Pools ------------------------------------------------------------------------------------------------------

    def test_a_few_dead_prompts_do_not_drain_the_pool(self) -> None:
        """One prompt in five never passes; the others pass half of the time, and still train after a long run."""
        pool = self.pool_of(10)
        policy = SimulatedPolicy({"prompt-0": 0.0, "prompt-1": 0.0}, default=0.5)
        curriculum = self.new(pool, prompts_per_step=2, rollouts_per_step=16)
        trained: list[int] = []
        for step in range(100):
            while plan := curriculum.plan(step):
                curriculum.observe(policy.roll_out(plan))
            groups = curriculum.admitted(step)
            declared = curriculum.own_baseline or curriculum.method.offers_baseline
            assert declared or all(group.baseline is None for group in groups), "declare own_baseline, or the other"
            trained.append(sum(group.prompt_id not in ("prompt-0", "prompt-1") for group in groups))
        assert sum(trained[-25:]) >= 15, f"groups that trained, step by step: {trained}"

    @pytest.mark.parametrize("rate", [0.0, 1.0])
    def test_pools_without_signal_still_give_plans(self, rate: float) -> None:
        """Two passes through half of the pool."""
        steps = range(2 * math.ceil(self.pool_size / 2 / self.prompts_per_step))
        curriculum, trace = play(self.new(self.pool_size // 2), SimulatedPolicy(default=rate), steps)
        _check_books(curriculum, trace)
        planned: dict[int, int] = defaultdict(int)
        for _, step, _, *groups in _plans_of(trace):
            planned[step] += sum(group[2] for group in groups)
        assert any(planned.values()) or not self.keeps_budget
        assert max(planned.values()) <= curriculum.max_rollouts_per_step
        assert np.isfinite(curriculum.pass_rates().mean).all()

    def test_a_pool_never_seen_has_a_belief(self) -> None:
        pass_rates = self.new().pass_rates()
        assert len(pass_rates) == self.pool_size
        assert np.isfinite(pass_rates.mean).all()
        assert np.isfinite(pass_rates.std).all()
        assert (pass_rates.num_rollouts == 0).all()
        assert (pass_rates.last_seen == -1).all()

    @pytest.mark.parametrize("size", [1, 2, 3])
    def test_a_pool_smaller_than_a_batch(self, size: int) -> None:
        curriculum, trace = play(self.new(size), _policy(), range(_STEPS))
        _check_books(curriculum, trace)
        for entry in trace:
            if entry[0] == "plan":
                assert len(entry[3:]) <= size
                assert not self.within_budget or sum(group[2] for group in entry[3:]) <= self.rollouts_per_step

    def test_a_pool_that_grows(self) -> None:
        """From a single prompt."""
        self._grows(1)

    @pytest.mark.parametrize(("size", "rollouts_per_step"), [(2, 4), (2, 8), (40, 8)])
    def test_a_budget_of_two_rollouts_a_prompt(self, size: int, rollouts_per_step: int) -> None:
        """Also when the pool outgrows what the budget can cover."""
        pool = self.pool_of(size)
        curriculum, trace = play(self.new(pool, rollouts_per_step=rollouts_per_step), _policy(), range(4))
        self.extend(pool, [f"joined-{index}" for index in range(20)])
        curriculum, more = play(curriculum, _policy(), range(4, 10))
        _check_books(curriculum, trace + more)
        sizes: dict[int, int] = defaultdict(int)
        for group_id, _, num_rollouts, *_ in (group for entry in _plans_of(trace + more) for group in entry[3:]):
            sizes[group_id] += num_rollouts
        assert min(sizes.values()) >= 2 or not self.within_budget, "a group of one has no advantage"


class MethodContract(VariantContract):
    """What a method can break: all that its options can, and what one build of it shows for all."""

    def test_another_process_gives_the_same_run(self) -> None:
        """The class is loaded from its file in a fresh interpreter with another hash seed."""
        cls = type(self)
        path = inspect.getsourcefile(cls)
        if "<locals>" in cls.__qualname__ or path is None:
            pytest.skip("the class is defined inside a function, so that no other process can load it")
        environment = {**os.environ, "PYTHONHASHSEED": "4242", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-c", _OTHER_PROCESS, str(Path(path).resolve()), cls.__qualname__]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == repr(self.trace())

    def test_a_state_is_a_snapshot(self) -> None:
        """What happens after saving does not show in the state, and loading it twice starts the same run twice."""
        curriculum, _ = play(self.new(), _policy(), range(3))
        state = curriculum.state_dict()
        _, first = play(curriculum, _policy(), range(3, _STEPS))
        for _ in range(2):
            fresh = self.new()
            fresh.load_state_dict(state)
            assert play(fresh, _policy(), range(3, _STEPS))[1] == first

    def test_a_mutated_state_is_refused_or_says_the_same(self) -> None:
        """One change to a state, anywhere: it is refused and nothing has happened, or it changed nothing. Sealed anew
        by whoever forged it, it may also be a state that another run could have saved, and is then loaded as it is."""
        rng = np.random.default_rng(0)
        state = play(self.new(), _policy(), range(2))[0].state_dict()
        other = play(self.new(), _policy(), range(1))[0]
        before = other.state_dict()
        for forged in [False] * 12 + [True] * 4:
            changed, what = mutated({name: state[name] for name in state if name != "digest" or not forged}, rng)
            with contextlib.suppress(TypeError):  # not even a state can hold it
                changed = seal(changed) if forged else changed
            try:
                other.load_state_dict(changed)
            except ValueError:
                assert same_state(before, other.state_dict()), f"refused but left a trace: {what}"
            else:
                after = other.state_dict()
                assert same_state(after, state) or (forged and same_state(after, changed)), f"loaded as another: {what}"
                other.load_state_dict(before)

    def test_a_pool_larger_than_a_batch_grows(self) -> None:
        self._grows(10)

    def test_a_million_prompts(self) -> None:
        pool = _large_pool(type(self).pool_type, self.columns, self.large_pool_size)
        curriculum = self.new(pool, prompts_per_step=1024, rollouts_per_step=8192)
        policy = _policy()
        plan = curriculum.plan(0)
        assert plan
        curriculum.observe(policy.roll_out(plan))
        _check_metrics(curriculum.metrics())


class BooksContract(_Contract):
    """What the books keep, whatever the method."""

    # Calls ------------------------------------------------------------------------------------------------------

    def test_a_plan_holds_known_and_distinct_prompts_and_no_empty_group(self) -> None:
        curriculum = self.new()
        for plan in _plans(curriculum):
            prompts = [group.prompt_id for group in plan]
            assert len(set(prompts)) == len(prompts)
            assert all(prompt in curriculum.pool for prompt in prompts)
            assert all(isinstance(group.num_rollouts, int) and group.num_rollouts >= 1 for group in plan)
            assert plan.num_rollouts == sum(group.num_rollouts for group in plan)

    def test_steps_do_not_go_back(self) -> None:
        curriculum = self.new()
        _finish(curriculum, 3)
        before = curriculum.state_dict()
        for step in (2, -1, 1.5):
            with pytest.raises(ValueError, match="step"):
                curriculum.plan(step)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="step"):
            curriculum.admitted(4)
        assert same_state(before, curriculum.state_dict())

    def test_numpy_steps_and_seeds_are_numbers_like_any_other(self) -> None:
        numpy_run = play(self.new(seed=np.int64(0)), _policy(), np.arange(_STEPS))[1]  # type: ignore[arg-type]
        assert _plans_of(numpy_run) == _plans_of(self.trace())

    def test_bad_calls_raise_and_change_nothing(self) -> None:
        curriculum, _ = play(self.new(), _policy(), range(1))
        plan = curriculum.plan(1)
        group = max(plan, key=lambda group: group.group_id)
        fit, size = (group.group_id, group.prompt_id, [1.0] * group.num_rollouts), group.num_rollouts
        bad: list[Callable[[], object]] = [
            lambda: curriculum.plan(2**31),
            lambda: curriculum.plan(True),
            lambda: curriculum.plan("3"),  # type: ignore[arg-type]
            lambda: curriculum.admitted(True),
            lambda: curriculum.admitted(1, complete="no"),  # type: ignore[arg-type]
            lambda: curriculum.observe([GroupOutcome(*fit, num_tokens=[2**62] * size)]),
            lambda: curriculum.observe([GroupOutcome(*fit, prompt_tokens=10**400)]),
            lambda: curriculum.observe([GroupOutcome(*fit[:2], [1e308] * size)]),
            lambda: curriculum.lost(group.group_id, size + 1),
            lambda: curriculum.lost(group.group_id, 0.5),  # type: ignore[arg-type]
            lambda: curriculum.lost(group.group_id, 1, again="no"),  # type: ignore[arg-type]
            lambda: curriculum.lost(10**6, 1),
            lambda: curriculum.found(group.group_id, 1),
            lambda: curriculum.found(10**6, 1),
            lambda: self.extend(curriculum.pool, [group.prompt_id]),
            lambda: self.extend(curriculum.pool, ["\ud800"]),
        ]
        before = curriculum.state_dict()
        for index, call in enumerate(bad):
            with pytest.raises((ValueError, TypeError)):
                call()
            assert same_state(before, curriculum.state_dict()), f"bad call {index} was refused but left a trace"
        curriculum.observe(_policy().roll_out(plan))
        _check_metrics(play(curriculum, _policy(), [2])[0].metrics())

    def test_bad_outcomes_raise_and_change_nothing(self) -> None:
        curriculum, _ = play(self.new(), _policy(), range(2))
        plan = curriculum.plan(2)
        waiting = set(curriculum.held())  # too many rewards for one of these cannot be told from a repetition
        good = sorted(_policy().roll_out(plan), key=lambda outcome: outcome.group_id in waiting)
        first, size = good[0], len(good[0].rewards)
        unknown = "no such prompt"
        bad: list[Any] = [
            replace(first, group_id=10**6),
            replace(first, group_id=-1),
            replace(first, group_id="0"),  # type: ignore[arg-type]
            replace(first, prompt_id=unknown),
            replace(good[0], prompt_id=good[-1].prompt_id) if len(good) > 1 else replace(first, prompt_id=unknown),
            GroupOutcome(first.group_id, first.prompt_id, [1.0] * (size + 1)),
            (first.group_id, first.prompt_id, [1.0]),
        ]
        before = curriculum.state_dict()
        for outcome in bad:
            with pytest.raises((ValueError, TypeError)):
                curriculum.observe([*good[1:], outcome])
            assert same_state(before, curriculum.state_dict()), f"{outcome} was refused but left a trace"
        curriculum.observe(good)
        assert curriculum.metrics()["rollouts"] - before["books"]["totals"]["rollouts"] == plan.num_rollouts

    def test_states_that_do_not_fit_are_refused_and_change_nothing(self) -> None:
        state = play(self.new(), _policy(), range(2))[0].state_dict()
        renamed = self.pool_of(self.pool_size, prefix="other")
        for other in (self.new(renamed), self.new(self.pool_size - 1), self.new(seed=1)):
            before = other.state_dict()
            with pytest.raises(ValueError):
                other.load_state_dict(state)
            assert same_state(before, other.state_dict())
        curriculum = self.new()
        unknown = {**state, "surprise": 1}
        missing = {key: value for key, value in state.items() if key != "belief"}
        for bad in ({}, unknown, missing, {**state, "method": "another"}, {**state, "schema": -1}):
            with pytest.raises(ValueError):
                curriculum.load_state_dict(bad)

    def test_no_input_is_written_to(self) -> None:
        prompt_tokens = np.arange(self.pool_size)
        difficulty = np.linspace(0, 1, self.pool_size)
        ids = pool_of(self.pool_size).ids.tolist()
        columns = {**self.columns(ids), "prompt_tokens": prompt_tokens, "difficulty": difficulty}
        curriculum = self.new(type(self).pool_type(ids, **columns))
        plan = curriculum.plan(0)
        rewards = [np.linspace(0, 1, group.num_rollouts) for group in plan]
        copies = [row.copy() for row in rewards]
        curriculum.observe(
            GroupOutcome(group.group_id, group.prompt_id, cast(Any, row))
            for group, row in zip(plan, rewards, strict=True)
        )
        _finish(curriculum, 0)
        curriculum.admitted(0)
        assert all(np.array_equal(row, copy) for row, copy in zip(rewards, copies, strict=True))
        assert np.array_equal(prompt_tokens, np.arange(self.pool_size))
        assert np.array_equal(difficulty, np.linspace(0, 1, self.pool_size))
        pass_rates = curriculum.pass_rates()
        for column in vars(pass_rates).values():
            with pytest.raises(ValueError, match="read-only"):
                column[0] = column[0]

    # Outcomes as they come, each way by itself ------------------------------------------------------------------

    def test_order_does_not_matter(self) -> None:
        self._agrees(lambda curriculum, outcomes: curriculum.observe(outcomes[::-1]))

    def test_one_at_a_time_or_all_at_once(self) -> None:
        def deliver(curriculum: Curriculum, outcomes: list[GroupOutcome]) -> None:
            for outcome in outcomes:
                curriculum.observe([outcome])

        self._agrees(deliver)

    def test_what_comes_twice_counts_once(self) -> None:
        def deliver(curriculum: Curriculum, outcomes: list[GroupOutcome]) -> None:
            curriculum.observe([*outcomes, *outcomes])
            curriculum.observe(outcomes[::-1])

        self._agrees(deliver)

    @pytest.mark.parametrize("labelled", [False, True])
    def test_parts_make_a_whole(self, labelled: bool) -> None:
        labels = itertools.count()

        def deliver(curriculum: Curriculum, outcomes: list[GroupOutcome]) -> None:
            for half in (0, 1):
                label = next(labels) if labelled else None
                pieces = [_piece(outcome, half, label) for outcome in outcomes]
                for _ in range(2 if labelled else 1):  # without a label a repeated half looks like the other half
                    curriculum.observe(pieces)

        self._agrees(deliver)

    def test_late_outcomes_are_taken_in(self) -> None:
        """All outcomes of a step come in the middle of the next."""
        held: list[GroupOutcome] = []

        def deliver(curriculum: Curriculum, outcomes: list[GroupOutcome]) -> None:
            now = [outcome for outcome in held if outcome.policy_version != outcomes[0].policy_version]
            held[:] = [outcome for outcome in held if outcome not in now] + outcomes
            curriculum.observe(now)

        curriculum, trace = play(self.new(), _policy(), range(_STEPS), deliver=deliver)
        assert curriculum.metrics()["outcomes_late"] > 0
        _check_books(curriculum, trace)

    def test_outcomes_that_never_come_do_not_stop_the_run(self) -> None:
        def deliver(curriculum: Curriculum, outcomes: list[GroupOutcome]) -> None:
            curriculum.observe(outcome for outcome in outcomes if outcome.group_id % 3)

        curriculum, trace = play(self.new(), _policy(), range(_STEPS), deliver=deliver)
        assert curriculum.metrics()["rollouts_missing"] > 0
        _check_books(curriculum, trace)
        silent, trace = play(self.new(), _policy(), range(3), deliver=lambda curriculum, outcomes: None)
        assert silent.metrics()["rollouts"] == 0
        _check_books(silent, trace)

    def test_what_nobody_answers_for_is_given_up_and_may_still_come(self) -> None:
        curriculum = self.new()
        plan = curriculum.plan(0)
        late, too_late, *others = _policy().roll_out(plan)
        curriculum.observe(others)
        curriculum.admitted(0)
        missing = len(late.rewards) + len(too_late.rewards)
        assert curriculum.overdue(LOST_STEPS) == []
        assert curriculum.overdue(LOST_STEPS + 1) == [late.group_id, too_late.group_id]
        curriculum.plan(LOST_STEPS + 1)
        assert curriculum.metrics()["rollouts_lost"] == missing
        _check_flight(curriculum)
        assert curriculum.observe([late]) == [range(len(late.rewards))]
        assert curriculum.metrics()["rollouts_lost"] == len(too_late.rewards)
        assert curriculum.metrics()["rollouts"] == plan.num_rollouts - len(too_late.rewards)
        _check_flight(curriculum)
        curriculum.plan(LATE_STEPS + 1)
        assert too_late.group_id not in curriculum.state_dict()["ledger"]["group_id"].tolist()
        assert curriculum.observe([too_late]) == [range(0)]
        assert curriculum.metrics()["rollouts_lost"] == len(too_late.rewards)
        _check_flight(curriculum)

    @pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf])
    def test_what_is_no_number_is_an_error(self, reward: float) -> None:
        self._errors(reward)

    @pytest.mark.parametrize("rewards", _REWARDS)
    def test_rewards_may_be_any_two_numbers(self, rewards: tuple[float, float]) -> None:
        self._scored(lambda outcome: rewards)

    # What is counted --------------------------------------------------------------------------------------------

    def test_every_rollout_is_counted(self) -> None:
        delivered = 0

        def deliver(curriculum: Curriculum, outcomes: list[GroupOutcome]) -> None:
            nonlocal delivered
            delivered += sum(len(outcome.rewards) for outcome in outcomes)
            curriculum.observe(outcomes)

        curriculum, trace = play(self.new(), _policy(), range(_STEPS), deliver=deliver)
        metrics = curriculum.metrics()
        assert metrics["rollouts"] == metrics["rollouts_planned"] == delivered
        assert metrics["rollouts_missing"] == 0
        assert metrics["response_tokens"] == 100 * delivered
        assert curriculum.pass_rates().num_rollouts.sum() == delivered
        _check_books(curriculum, trace)

    def test_metrics_are_flat_and_finite(self) -> None:
        curriculum = self.new()
        _check_metrics(curriculum.metrics())
        names = set(curriculum.metrics())
        curriculum, _ = play(curriculum, _policy(), range(2))
        _check_metrics(curriculum.metrics())
        assert set(curriculum.metrics()) == names


class CurriculumContract(MethodContract, BooksContract):
    """Everything: inherit, say how to build, and pytest does the rest."""


def same_state(left: Any, right: Any) -> bool:
    """Whether two states are equal; nan equals nan."""
    if isinstance(left, dict):
        return (
            isinstance(right, dict) and left.keys() == right.keys() and all(same_state(left[k], right[k]) for k in left)
        )
    if isinstance(left, list | tuple):
        same_length = isinstance(right, list | tuple) and len(left) == len(right)
        return same_length and all(same_state(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and np.array_equal(left, right, equal_nan=left.dtype.kind == "f")
    return type(left) is type(right) and (left == right or (left != left and right != right))


def load_contract(path: str, name: str) -> CurriculumContract:
    """A contract out of a test file, for another process."""
    spec = importlib.util.spec_from_file_location("contract_under_test", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part)
    contract: CurriculumContract = found()
    return contract


_OTHER_PROCESS = """
import sys
from didact.testing.contract import load_contract
print(repr(load_contract(*sys.argv[1:]).trace()))
"""


@functools.lru_cache(maxsize=1)
def _large_pool(pool_type: Callable[..., Pool], columns: Callable[[Sequence[str]], dict[str, Any]], size: int) -> Pool:
    """Made once for builds in a row that want the same: it takes longer than the rest of the test. It never grows."""
    ids = [f"prompt-{index}" for index in range(size)]
    return pool_type(ids, **columns(ids))


def _policy() -> SimulatedPolicy:
    """Ten prompts in forty never pass, ten always do, and those between learn; prompts that join have a rate of 0.5."""
    rates = np.clip(np.linspace(-0.5, 1.5, 40), 0, 1)[np.random.default_rng(0).permutation(40)]
    return SimulatedPolicy({f"prompt-{index}": float(rate) for index, rate in enumerate(rates)}, learning_rate=0.05)


def _plans(curriculum: Curriculum) -> Iterable[Plan]:
    policy = _policy()
    for step in range(_STEPS):
        while plan := curriculum.plan(step):
            yield plan
            curriculum.observe(policy.roll_out(plan))
        curriculum.admitted(step)


def _finish(curriculum: Curriculum, step: int) -> Plan:
    """Play a step to its empty plan."""
    while plan := curriculum.plan(step):
        curriculum.observe(outcomes_of(plan, lambda num: [float(index % 2) for index in range(num)]))
    return plan


def _piece(outcome: GroupOutcome, which: int, label: int | None) -> GroupOutcome:
    half = slice(len(outcome.rewards) // 2, None) if which else slice(None, len(outcome.rewards) // 2)
    tokens = outcome.num_tokens
    return replace(
        outcome,
        rewards=outcome.rewards[half],
        num_tokens=None if tokens is None else tokens[half],
        errored=None,
        part=label,
    )


def _plans_of(trace: Trace) -> Trace:
    return [entry for entry in trace if entry[0] == "plan"]


def _without_delivery(trace: Trace) -> Trace:
    """Metrics without the counters of deliveries, and without the last digits, which depend on the order of sums."""
    cleaned: Trace = []
    for entry in trace:
        if entry[0] == "metrics":
            entry = tuple((name, round(value, 9)) for name, value in entry[2:] if name not in _DELIVERY)
        cleaned.append(entry)
    return cleaned


def _check_metrics(metrics: dict[str, float]) -> None:
    assert all(isinstance(name, str) and type(value) is float for name, value in metrics.items()), metrics
    assert all(math.isfinite(value) for value in metrics.values()), metrics


def _check_flight(curriculum: Curriculum) -> None:
    """Planned = observed + in flight + lost."""
    ledger, metrics = curriculum.state_dict()["ledger"], curriculum.metrics()
    in_flight = sum((ledger["planned"] + ledger["again"] - ledger["num_rewards"] - ledger["lost"]).tolist())
    assert metrics["rollouts_planned"] == metrics["rollouts"] + in_flight + metrics["rollouts_lost"]


def _check_books(curriculum: Curriculum, trace: Trace) -> None:
    """Nothing is lost: what came back trained, was discarded, or waits, and all figures are finite."""
    for entry in trace:
        if entry[0] == "metrics":
            _check_metrics(dict(entry[2:]))
    pass_rates = curriculum.pass_rates()
    assert ((pass_rates.mean >= 0) & (pass_rates.mean <= 1)).all()
    assert np.isfinite(pass_rates.std).all()
    metrics = curriculum.metrics()
    _check_flight(curriculum)
    trained = sum(len(rollouts) for entry in trace if entry[0] == "admitted" for _, _, rollouts, *_ in entry[2:])
    assert metrics["rollouts_trained"] == trained
    assert pass_rates.num_rollouts.sum() == metrics["rollouts"] <= metrics["rollouts_planned"]
    # Groups whose rollouts all failed to be scored can wait for more; two steps later they are written off.
    step = max(entry[1] for entry in trace)
    for later in (step + 1, step + 2, step + 3):
        curriculum.plan(later)
        curriculum.admitted(later)
    settled = curriculum.metrics()
    late = settled["rollouts_trained"] - trained
    assert trained + late + settled["rollouts_discarded"] + settled["rollouts_held"] == settled["rollouts"]
