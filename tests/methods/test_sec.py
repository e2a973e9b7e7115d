"""SEC and DUMP: what sources are paid, and which prompts that draws."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from didact import Curriculum, PromptPool, make
from didact.state import seal
from didact.testing import CurriculumContract, SimulatedPolicy, outcomes_of, play, pool_of

SIZES: dict[str, Any] = {"prompts_per_step": 8, "rollouts_per_step": 64}


def sources(ids: Sequence[str]) -> dict[str, Any]:
    """One of three sources for each prompt."""
    return {"source": [f"source-{ord(name[-1]) % 3}" for name in ids]}


class TestSEC(CurriculumContract):
    keeps_budget = True
    columns = staticmethod(sources)

    @staticmethod
    def build(pool: PromptPool, **options: Any) -> Curriculum:
        return make("sec", pool, **options)


class TestDUMP(CurriculumContract):
    keeps_budget = True
    columns = staticmethod(sources)

    @staticmethod
    def build(pool: PromptPool, **options: Any) -> Curriculum:
        return make("dump", pool, advantage_window=40, **options)


def two_sources(method: str, **options: Any) -> Curriculum:
    pool = pool_of(400, source=["mixed"] * 200 + ["silent"] * 200)
    return make(method, pool, **SIZES, **options)


def step(curriculum: Curriculum, number: int) -> list[str]:
    """A step in which half of "mixed" passes and all of "silent" fails; the sources of its prompts."""
    policy = {f"prompt-{index}": index < 200 for index in range(400)}
    plan = curriculum.plan(number)
    outcomes = [
        outcome
        for group in plan
        for outcome in outcomes_of(
            type(plan)(plan.step, plan.round, [group]),
            lambda num, mixed=policy[group.prompt_id]: [float(mixed and index % 2) for index in range(num)],
        )
    ]
    curriculum.observe(outcomes)
    curriculum.admitted(number)
    return ["mixed" if policy[group.prompt_id] else "silent" for group in plan]


def test_sec_replaces_a_part_of_its_values_in_each_step() -> None:
    """alpha 1/2, payments 1 and 0: Q of "mixed" is 1/2, 3/4, 7/8, that of "silent" 0."""
    curriculum = two_sources("sec")
    for number, expected in enumerate([0.0, 0.5, 0.75, 0.875]):
        step(curriculum, number)
        assert curriculum.memory.value.tolist() == [expected, 0.0]


@pytest.mark.parametrize(("fades", "expected"), [(True, 0.25), (False, 0.5)])
def test_a_source_that_did_not_come_fades_as_released(fades: bool, expected: float) -> None:
    curriculum = two_sources("sec", fades=fades)
    step(curriculum, 0)
    plan = curriculum.plan(1)
    assert curriculum.memory.value.tolist() == [0.5, 0.0]
    silent = [group for group in plan if int(group.prompt_id.removeprefix("prompt-")) >= 200]
    curriculum.observe(outcomes_of(type(plan)(plan.step, plan.round, silent), lambda num: [0.0] * num))
    curriculum.plan(2)
    assert curriculum.memory.value.tolist() == [expected, 0.0]


def test_nothing_that_came_moves_nothing() -> None:
    curriculum = two_sources("sec")
    step(curriculum, 0)
    for number in range(1, 4):
        curriculum.plan(number)
        assert curriculum.memory.value.tolist() == [0.5, 0.0]


@pytest.mark.parametrize(("temperature", "share"), [(1.0, math.e / (1 + math.e)), (0.2, 0.993)])
def test_sec_draws_sources_by_the_exponential_of_their_value(temperature: float, share: float) -> None:
    """At Q of 1 and 0: e / (1 + e) = 0.73 of the places at temperature 1, e^5 / (1 + e^5) = 0.993 at 0.2."""
    curriculum = two_sources("sec", temperature=temperature, alpha=1.0)
    came = [source for number in range(150) for source in step(curriculum, number)][8:]
    assert came.count("mixed") / len(came) == pytest.approx(share, abs=0.03)


def test_dump_adds_a_bonus_for_what_it_has_seen_little_of() -> None:
    """64 rollouts in the first step, n of each source: mean + sqrt(2 ln 65 / (n + 1)), over the temperature 0.1."""
    curriculum = two_sources("dump")
    came = step(curriculum, 0)
    curriculum.plan(1)
    counts = np.array([8 * came.count("mixed"), 8 * came.count("silent")])
    assert curriculum.memory.rollouts.tolist() == counts.tolist()
    bonus = np.sqrt(2 * math.log(65) / (counts + 1))
    mean = np.array([1.0, 0.0]) * (counts > 0)
    assert curriculum.method.scores(curriculum.memory) == pytest.approx((mean + bonus) / 0.1)


def test_dump_looks_at_the_latest_rollouts_only() -> None:
    curriculum = two_sources("dump", advantage_window=20)
    curriculum.plan(0)
    curriculum.method.pay([[1.0] * 15, [0.0]], curriculum.memory)
    curriculum.method.pay([[0.0] * 10, []], curriculum.memory)
    assert curriculum.memory.paid == [[1.0] * 10 + [0.0] * 10, [0.0]]
    assert curriculum.memory.rollouts.tolist() == [25, 1]


@pytest.mark.parametrize(("method", "least"), [("sec", 0.4), ("dump", 0.5)])
def test_most_rollouts_go_to_the_source_that_is_neither_easy_nor_hopeless(method: str, least: float) -> None:
    rates = {"easy": 0.98, "middling": 0.5, "hopeless": 0.01}
    sources = [name for name in rates for _ in range(300)]
    pool = pool_of(900, source=sources)
    policy = SimulatedPolicy({prompt: rates[name] for prompt, name in zip(pool.ids, sources, strict=True)})
    curriculum, _ = play(make(method, pool, seed=1, **SIZES), policy, range(60))
    rollouts = curriculum.pass_rates().num_rollouts.reshape(3, 300).sum(axis=1)
    assert rollouts[1] / rollouts.sum() > least
    assert (rollouts > 0).all()


@pytest.mark.parametrize("method", ["sec", "dump"])
def test_a_single_source_is_uniform_over_its_prompts(method: str) -> None:
    pool = pool_of(20, source=["one"] * 20)
    curriculum, _ = play(make(method, pool, **SIZES), SimulatedPolicy(), range(60))
    rollouts = curriculum.pass_rates().num_rollouts
    assert rollouts.sum() == 60 * 64
    assert (rollouts > 0.5 * rollouts.mean()).all()


@pytest.mark.parametrize("method", ["sec", "dump"])
def test_sources_that_join_are_arms_of_their_own_and_unknown_ones_too(method: str) -> None:
    pool = pool_of(40, source=["a"] * 30 + [None] * 10)
    curriculum, _ = play(make(method, pool, **SIZES), SimulatedPolicy(), range(3))
    saved = curriculum.state_dict()
    pool.extend([f"late-{index}" for index in range(20)], source=["late"] * 20)
    curriculum, _ = play(curriculum, SimulatedPolicy(), range(3, 30))
    assert curriculum.memory.arms.labels == ["a", "None", "late"]
    assert curriculum.pass_rates().num_rollouts[40:].sum() > 200
    resumed = make(method, pool, **SIZES)
    resumed.load_state_dict(saved)  # of a time at which the source was not there
    resumed.plan(3)
    assert len(resumed.memory.value) == 3


@pytest.mark.parametrize("method", ["sec", "dump"])
def test_a_pool_without_sources_says_how_to_give_them(method: str) -> None:
    with pytest.raises(ValueError, match=rf"{method} chooses among the sources.*PromptPool\(ids, source="):
        make(method, pool_of(8), **SIZES)


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        ("sec", {"alpha": 0}, "alpha must be more than 0"),
        ("sec", {"alpha": 1.5}, "alpha must be more than 0 and at most 1, got 1.5"),
        ("sec", {"temperature": 0}, "temperature must be more than 0"),
        ("dump", {"advantage_window": 0}, "advantage_window must be a whole number from 1"),
        ("dump", {"temperature": -1}, "temperature"),
    ],
)
def test_bad_options(method: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        two_sources(method, **options)


def test_a_state_of_other_sources_is_refused() -> None:
    curriculum = two_sources("sec")
    state = curriculum.state_dict()
    state["memory"]["news"] = {"0": [1e6, 1.0]}
    del state["digest"]
    with pytest.raises(ValueError, match="news of group 0 must be a prompt among 400"):
        curriculum.load_state_dict(seal(state))
