"""CDAS: competence, difficulties, and the window around it."""

import math
from typing import Any

import numpy as np
import pytest

from didact import Curriculum, GroupOutcome, PromptPool, make
from didact.methods.cdas import window
from didact.testing import CurriculumContract, SimulatedPolicy, outcomes_of, play, pool_of

pytestmark = pytest.mark.filterwarnings("ignore::didact.silence.NothingLearnt")
SIZES: dict[str, Any] = {"prompts_per_step": 4, "rollouts_per_step": 32}


class TestCDAS(CurriculumContract):
    keeps_budget = True

    @staticmethod
    def build(pool: PromptPool, **options: Any) -> Curriculum:
        return make("cdas", pool, **options)


class TestCDASWithoutWarmUp(CurriculumContract):
    keeps_budget = True

    @staticmethod
    def build(pool: PromptPool, **options: Any) -> Curriculum:
        return make("cdas", pool, warm_up=False, **options)


def answer(curriculum: Curriculum, step: int, passes: dict[str, int]) -> list[int]:
    """A step in which so many of a prompt's rollouts pass; the positions of its plan."""
    plan = curriculum.plan(step)
    curriculum.observe(
        GroupOutcome(
            group.group_id,
            group.prompt_id,
            [float(index < passes.get(group.prompt_id, 0)) for index in range(group.num_rollouts)],
        )
        for group in plan
    )
    curriculum.admitted(step)
    return curriculum.pool.positions([group.prompt_id for group in plan]).tolist()


def difficulty(curriculum: Curriculum) -> list[float]:
    return curriculum.memory.prompts.get("difficulty", np.arange(len(curriculum.pool))).tolist()


def test_a_visit_moves_difficulty_and_competence() -> None:
    """The first visit, at C = d = 0: e = 1/2 and m = 2, so q = 1 gives d = -1/4, q = 0 gives 1/4, 6 of 8 -1/8. The mean
    change over the pool of 8 moves C by the opposite. The second: e = sig(C - d), m = 3."""
    curriculum = make("cdas", pool_of(8), warm_up=False, **SIZES)
    counts = {f"prompt-{index}": passes for index, passes in enumerate([8, 0, 6, 4, 8, 0, 6, 4])}
    gave = {8: -0.25, 0: 0.25, 6: -0.125, 4: 0.0}
    first = answer(curriculum, 0, counts)
    assert set(difficulty(curriculum)) == {0.0}  # until the next plan
    answer(curriculum, 1, counts)
    expected = [gave[counts[f"prompt-{index}"]] if index in first else 0.0 for index in range(8)]
    assert difficulty(curriculum) == pytest.approx(expected)
    ability = curriculum.memory.ability
    assert ability == pytest.approx(-sum(expected) / 8)
    again = answer(curriculum, 2, counts)
    assert len(again) == 4
    visits = curriculum.memory.prompts.get("visits", np.arange(8))
    twice = int(np.argmax(visits == 2))
    assert visits[twice] == 2
    before = expected[twice]
    rate = counts[f"prompt-{twice}"] / 8
    e = 1 / (1 + math.exp(before - ability))
    assert difficulty(curriculum)[twice] == pytest.approx((2 / 3) * before + (1 / 3) * (e - rate))


def test_a_pool_that_always_passes_raises_competence() -> None:
    curriculum = make("cdas", pool_of(16), **SIZES)
    abilities = []
    for step in range(20):
        play(curriculum, SimulatedPolicy(default=1.0), [step])
        abilities.append(curriculum.memory.ability)
    assert (np.diff(abilities) > 0).all()
    play(curriculum, SimulatedPolicy(default=0.0), range(20, 60))
    assert curriculum.memory.ability < abilities[-1]


def test_the_window_takes_half_from_either_side() -> None:
    rng = np.random.default_rng(0)
    values = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    assert sorted(window(values, 0.35, 4, rng)) == [2, 3, 4, 5]
    assert sorted(window(values, 0.35, 3, rng)) == [2, 3, 4]
    assert sorted(window(values, 0.3, 4, rng)) == [2, 3, 4, 5]  # d = C is not above it
    assert sorted(window(values, 0.65, 4, rng)) == [4, 5, 6, 7]  # one above, so three below
    assert sorted(window(values, -1.0, 4, rng)) == [0, 1, 2, 3]
    assert sorted(window(values, 2.0, 4, rng)) == [4, 5, 6, 7]
    assert sorted(window(values, 0.1, 8, rng)) == list(range(8))


def test_equals_are_drawn_at_random() -> None:
    rng = np.random.default_rng(0)
    drawn = np.bincount(np.concatenate([window(np.zeros(20), 0.0, 5, rng) for _ in range(400)]), minlength=20)
    assert drawn.min() > 60  # of 100


def test_a_shuffled_pass_comes_first() -> None:
    curriculum = make("cdas", pool_of(22), **SIZES)
    seen = [position for step in range(6) for position in answer(curriculum, step, {})]
    assert set(seen) == set(range(22))
    assert curriculum.memory.warmed
    uniform = make("uniform", pool_of(22), **SIZES)
    assert seen == [position for step in range(6) for position in answer(uniform, step, {})]


def test_prompts_that_join_begin_in_the_middle() -> None:
    curriculum = make("cdas", pool_of(8), warm_up=False, **SIZES)
    play(curriculum, SimulatedPolicy(default=0.0), range(4))
    curriculum.pool.extend(["late-0", "late-1"])
    answer(curriculum, 4, {})
    assert difficulty(curriculum)[8:] == [0.0, 0.0]
    assert curriculum.memory.ability < 0


def test_rollouts_gather_where_the_policy_is_neither_sure_nor_lost() -> None:
    """A pool of three kinds: those of which half pass stay near the competence, while the others drift off."""
    rates = np.repeat([0.98, 0.5, 0.02], 100)
    pool = pool_of(300)
    policy = SimulatedPolicy(dict(zip(pool.ids, rates.tolist(), strict=True)))
    curriculum = make("cdas", pool, prompts_per_step=20, rollouts_per_step=160)
    play(curriculum, policy, range(15))  # the warm-up
    before = curriculum.pass_rates().num_rollouts.copy()
    play(curriculum, policy, range(15, 60))
    spent = (curriculum.pass_rates().num_rollouts - before).reshape(3, 100).sum(axis=1)
    assert spent[1] / spent.sum() > 0.8


def test_parts_of_a_group_are_one_visit_if_they_come_before_the_next_plan() -> None:
    curriculum = make("cdas", pool_of(4), **SIZES)
    plan = curriculum.plan(0)
    for part, rewards in ((1, [1.0] * 4), (2, [0.0] * 4)):
        curriculum.observe(GroupOutcome(each.group_id, each.prompt_id, rewards, part=part) for each in plan)
    curriculum.plan(1)
    assert curriculum.memory.prompts.get("visits", np.arange(4)).tolist() == [1] * 4
    assert difficulty(curriculum) == [0.0] * 4  # half passed


def test_bad_options() -> None:
    with pytest.raises(ValueError, match="warm_up must be true or false"):
        make("cdas", pool_of(8), warm_up="no", **SIZES)


def test_what_is_cut_off_is_no_visit() -> None:
    curriculum = make("cdas", pool_of(4), **SIZES)
    outcomes = outcomes_of(curriculum.plan(0), lambda num: [1.0] * num)
    curriculum.observe(
        GroupOutcome(each.group_id, each.prompt_id, each.rewards, truncated=[True] * 8) for each in outcomes
    )
    curriculum.plan(1)
    assert curriculum.memory.prompts.get("visits", np.arange(4)).tolist() == [0] * 4
