"""The contract suite can fail: each broken curriculum here is caught by the test that is there for it."""

import runpy
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from didact import METHODS, Curriculum, Draft, PromptPool, Turn, make
from didact.memory import derived, kept
from didact.method import Arrivals, Run
from didact.methods.uniform import Uniform
from didact.seeding import generator
from didact.testing import (
    BooksContract,
    CurriculumContract,
    MethodContract,
    SimulatedPolicy,
    TaskContract,
    VariantContract,
    fixed_pass_rates,
    play,
    pool_of,
)
from didact.testing.contract import same_state


@dataclass(frozen=True, kw_only=True)
class Overspends(Uniform):
    def draft(self, turn: Turn, memory: Any) -> Draft:
        draft = super().draft(turn, memory)
        return replace(draft, num_rollouts=draft.num_rollouts + 1)


@dataclass
class Walked:
    prompts: int = derived(int)


@dataclass(frozen=True, kw_only=True)
class Forgets(Uniform):
    """Does not save how far it has come."""

    def init(self, run: Run) -> Any:
        return Walked()

    def draft(self, turn: Turn, memory: Any) -> Draft:
        memory.prompts += 1
        draft = super().draft(turn, memory)
        return replace(draft, positions=np.roll(draft.positions, memory.prompts))


@dataclass(frozen=True, kw_only=True)
class Unseeded(Uniform):
    def draft(self, turn: Turn, memory: Any) -> Draft:
        draft = super().draft(turn, memory)
        return replace(draft, positions=np.random.default_rng().permutation(draft.positions))


@dataclass(frozen=True, kw_only=True)
class HashSeeded(Uniform):
    """Two processes disagree about `hash` of a string."""

    def draft(self, turn: Turn, memory: Any) -> Draft:
        draft = super().draft(turn, memory)
        return replace(draft, positions=generator(hash("seed") % 999, turn.step).permutation(draft.positions))


@dataclass
class Last:
    position: int = kept(-1)


@dataclass(frozen=True, kw_only=True)
class GoesByArrival(Uniform):
    """Takes the prompts that were answered last out of the next plan."""

    def init(self, run: Run) -> Any:
        return Last()

    def observed(self, arrivals: Arrivals, run: Run, memory: Any) -> None:
        memory.position = int(arrivals.positions[-1])

    def draft(self, turn: Turn, memory: Any) -> Draft:
        draft = super().draft(turn, memory)
        return replace(draft, positions=np.roll(draft.positions, memory.position))


@dataclass(frozen=True, kw_only=True)
class CountsErrors(Uniform):
    """Plans by what came back, failed verdicts too."""

    def observed(self, arrivals: Arrivals, run: Run, memory: Any) -> None:
        passes = np.array([sum(outcome.rewards) for outcome in arrivals.outcomes])
        if not np.isfinite(passes).all():
            raise ValueError("nan")


def loses_rollouts(pool: PromptPool, **options: Any) -> Curriculum:
    """The books do not add up."""
    curriculum = make("uniform", pool, **options)
    books = curriculum._state.books
    settle = books.settle

    def badly(group: Any, admitted: Any) -> None:
        settle(group, admitted)
        books.totals["rollouts_trained"] -= 1

    books.settle = badly  # type: ignore[method-assign]
    return curriculum


def loads_at_once(pool: PromptPool, **options: Any) -> Curriculum:
    """Begins to load before it knows whether it can."""
    curriculum = make("uniform", pool, **options)
    load = curriculum.load_state_dict

    def badly(state: Any) -> None:
        curriculum._state.step = state.get("step", 0)
        load(state)

    curriculum.load_state_dict = badly  # type: ignore[method-assign]
    return curriculum


class HashSeededContract(CurriculumContract):
    build = partial(make, HashSeeded)


class TestArithmeticTask(TaskContract):
    """The lightest task there is, to see that the suite for tasks runs."""

    @staticmethod
    def build() -> Any:
        from didact.tasks import task

        return task("arithmetic")


def contract(builder: Callable[..., Curriculum]) -> CurriculumContract:
    return type("Contract", (CurriculumContract,), {"build": staticmethod(builder), "keeps_budget": True})()


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (partial(make, Overspends), CurriculumContract.test_plans_keep_to_the_budget),
        (partial(make, Forgets), CurriculumContract.test_saving_and_loading_between_any_two_calls_changes_nothing),
        (partial(make, Unseeded), CurriculumContract.test_same_seed_and_history_give_the_same_run),
        (partial(make, GoesByArrival), CurriculumContract.test_how_outcomes_are_delivered_does_not_matter),
        (partial(make, GoesByArrival), CurriculumContract.test_order_does_not_matter),
        (partial(make, CountsErrors), CurriculumContract.test_an_error_is_not_a_wrong_answer),
        (loses_rollouts, CurriculumContract.test_every_rollout_is_counted),
        (loads_at_once, CurriculumContract.test_a_mutated_state_is_refused_or_says_the_same),
    ],
)
def test_a_broken_curriculum_is_caught(
    broken: Callable[..., Curriculum], test: Callable[[CurriculumContract], None]
) -> None:
    test(contract(partial(make, "uniform")))
    with pytest.raises((AssertionError, ValueError)):
        test(contract(broken))


def test_a_curriculum_that_depends_on_the_process_is_caught() -> None:
    with pytest.raises(AssertionError):
        HashSeededContract().test_another_process_gives_the_same_run()


def test_the_tiers_are_all_of_the_contract() -> None:
    """Nothing is asked twice, and an author who inherits one class is asked everything."""
    method, books, everything = (
        {name for name in dir(suite) if name.startswith("test_")}
        for suite in (MethodContract, BooksContract, CurriculumContract)
    )
    assert method | books == everything
    assert not method & books
    assert {name for name in dir(VariantContract) if name.startswith("test_")} < method


def test_every_method_is_asked_what_a_method_can_break() -> None:
    """By one of its builds, at the least; for the others VariantContract will do."""
    asked = set()
    for path in (Path(__file__).parents[1] / "methods").glob("test_*.py"):
        for each in runpy.run_path(str(path)).values():
            if isinstance(each, type) and issubclass(each, MethodContract) and each.build is not MethodContract.build:
                asked.add(each().new().name)
    assert asked >= set(METHODS)


_THEIRS = """
from functools import partial

from didact import make
from didact.testing import CurriculumContract


class TestMine(CurriculumContract):
    build = partial(make, "adarft")  # which refuses a pool without difficulties
    keeps_budget = True

    @staticmethod
    def columns(ids):
        return {"difficulty": [len(name) * 7 % 5 * 25 for name in ids]}
"""


def test_another_project_needs_no_marker_and_may_have_columns(tmp_path: Path) -> None:
    """Its markers are strict, and ours are not among them: all cases are collected, and a few are run."""
    (tmp_path / "test_mine.py").write_text(_THEIRS, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "--strict-markers", "--strict-config", "-W", "error", "-c"]
    command += ["/dev/null", "-p", "no:cacheprovider", "-k", "grows or bad_calls or budget", "test_mine.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 passed" in done.stdout


def test_the_policy_is_what_it_says() -> None:
    policy = SimulatedPolicy({"prompt-0": 0.0, "prompt-1": 1.0}, default=0.25)
    curriculum = make("uniform", pool_of(3), prompts_per_step=3, rollouts_per_step=3 * 2000)
    rates = {outcome.prompt_id: np.mean(outcome.rewards) for outcome in policy.roll_out(curriculum.plan(0))}
    assert rates["prompt-0"] == 0
    assert rates["prompt-1"] == 1
    assert rates["prompt-2"] == pytest.approx(0.25, abs=0.04)  # four standard deviations


def test_the_policy_learns_what_it_trains_on() -> None:
    policy = SimulatedPolicy({"prompt-0": 0.0}, default=0.2, learning_rate=0.5)
    play(
        make("uniform", PromptPool(["prompt-0", "prompt-1"]), prompts_per_step=2, rollouts_per_step=8),
        policy,
        range(10),
    )
    assert policy.pass_rate("prompt-0") == 0.0
    assert policy.pass_rate("prompt-1") > 0.9


def test_fixed_pass_rates_leave_their_input_alone() -> None:
    mean = np.array([0.2, 0.8])
    snapshot = fixed_pass_rates(mean, evidence=[0, 8])
    mean[0] = 1.0
    assert snapshot.mean.tolist() == [0.2, 0.8]
    assert np.isnan(snapshot.reward_mean[0])


def test_same_state() -> None:
    state = {"a": np.array([1.0, np.nan]), "b": [1, "x", {"c": float("nan")}]}
    assert same_state(state, {"a": np.array([1.0, np.nan]), "b": [1, "x", {"c": float("nan")}]})
    assert not same_state(state, {**state, "b": [1, "x", {"c": 0.0}]})
    assert not same_state({"a": 1}, {"a": 1.0})
