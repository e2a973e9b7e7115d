"""GRESO: skip what was silent, and ask for as many prompts as fill the batch."""

from typing import Any

import numpy as np
import pytest

from didact.methods.dapo import DAPO
from didact.methods.greso import GRESO
from didact.outcomes import GroupOutcome
from didact.testing import CurriculumContract, SimulatedPolicy, outcomes_of, play, pool_of

SIZES: dict[str, Any] = {"prompts_per_step": 4, "rollouts_per_step": 32}


class TestGRESO(CurriculumContract):
    @staticmethod
    def build(pool: PromptPool, **options: Any) -> Curriculum:
        return make("greso", pool, **options)


class TestGRESOWithLargeRounds(CurriculumContract):
    within_budget = False  # the paper draws half as many again as it trains on

    @staticmethod
    def build(pool: PromptPool, **options: Any) -> Curriculum:
        return make("greso", pool, prompts_per_round=3 * options["prompts_per_step"] // 2, max_rounds=3, **options)


class TestGRESOAsReleased(CurriculumContract):
    @staticmethod
    def build(pool: PromptPool, **options: Any) -> Curriculum:
        return make("greso", pool, as_released=True, **options)


def visit(curriculum: Curriculum, step: int, rewards: dict[str, list[float]]) -> None:
    """One round in which each prompt gets the rewards given, by default those of a group with signal."""
    plan = curriculum.plan(step)
    curriculum.observe(
        GroupOutcome(group.group_id, group.prompt_id, rewards.get(group.prompt_id, [1.0, *[0.0] * 7])) for group in plan
    )
    curriculum.admitted(step)


def test_the_probability_of_being_kept_falls_with_silent_visits_in_a_row() -> None:
    """max(0.5^z, 0.01), and 1 again after a visit with signal."""
    curriculum = make("greso", pool_of(2), prompts_per_step=2, rollouts_per_step=16, base_step=1e-9, min_keep=0.2)
    always, never = {"prompt-0": [1.0] * 8, "prompt-1": [0.0] * 8}, {"prompt-0": [0.0] * 8, "prompt-1": [1.0] * 8}
    for step in range(60):
        visit(curriculum, step, always)
    assert curriculum.keep_probability() == pytest.approx([0.2, 0.2])  # the floor
    assert curriculum._runs.tolist()[0] > 2 > -2 > curriculum._runs.tolist()[1]
    visited = curriculum.pass_rates().num_rollouts.copy()
    step = 60
    while (curriculum.pass_rates().num_rollouts == visited).any():
        visit(curriculum, step, never)
        step += 1
    assert set(np.sign(curriculum._runs)) <= {-1, 1}, "another kind of silence begins a new run"
    assert curriculum._runs[0] < 0 < curriculum._runs[1]


@pytest.mark.parametrize(
    ("rewards", "runs"),
    [
        ([1.0] * 8, [1, 2, 3]),
        ([0.98] * 8, [1, 2, 3]),
        ([0.0] * 8, [-1, -2, -3]),
        ([0.11] * 8, [-1, -2, -3]),
        ([1.0] + [0.0] * 7, [0, 0, 0]),  # a mean of 0.125
        ([1.0] * 7 + [0.0], [0, 0, 0]),
    ],
)
def test_what_counts_as_easy_and_hard(rewards: list[float], runs: list[int]) -> None:
    curriculum = make("greso", pool_of(1), prompts_per_step=1, rollouts_per_step=8, max_rounds=1)
    for step, run in enumerate(runs):
        visit(curriculum, step, {"prompt-0": rewards})
        assert curriculum._runs.tolist() == [run]
        assert curriculum.keep_probability()[0] == pytest.approx(max(curriculum.bases[run < 0] ** abs(run), 0.01))


def test_the_bases_follow_the_silent_shares_after_the_first_pass() -> None:
    """Targets 1/12 easy and 1/6 hard; a step of 0.01; nothing in the first pass."""
    curriculum = make("greso", pool_of(8), prompts_per_step=8, rollouts_per_step=64, max_rounds=1)
    easy = {"prompt-0": [1.0] * 8}  # 1/8 of groups: at or above 1/12
    visit(curriculum, 0, easy)
    assert curriculum.bases == (0.5, 0.5)
    visit(curriculum, 1, {})
    assert curriculum.bases == (0.49, 0.51)  # by step 0, as its pass was then over
    visit(curriculum, 2, {})
    assert curriculum.bases == (0.5, 0.52)
    fresh = make("greso", pool_of(9), prompts_per_step=8, rollouts_per_step=64, max_rounds=1)
    visit(fresh, 0, easy)
    visit(fresh, 1, easy)
    assert fresh.bases == (0.5, 0.5), "the first pass was not over at step 1"


def test_the_bases_stay_within_their_bounds() -> None:
    curriculum = make("greso", pool_of(4), base_step=0.2, max_rounds=1, **SIZES)
    for step in range(8):
        visit(curriculum, step, {})
    assert curriculum.bases == (0.95, 0.95)
    all_hard = {f"prompt-{index}": [0.0] * 8 for index in range(4)}
    for step in range(8, 40):
        visit(curriculum, step, all_hard)
    assert curriculum.bases == (0.95, 0.05)


@pytest.mark.parametrize(
    ("silent", "options", "asked"),
    [
        (2, {}, 4),  # ceil(1.25 * 2 / (1 - 2/16)) = 3, at least a quarter of 16
        (8, {}, 16),  # ceil(1.25 * 8 / (1 - 8/16)) = 20, at most 16
        (12, {"prompts_per_round": 24}, 10),  # ceil(1.25 * 4 / (1 - 12/24))
        (4, {"min_request": 1}, 7),  # ceil(1.25 * 4 / (1 - 4/16))
        (16, {}, 16),  # all silent: nothing to reckon with
    ],
)
def test_a_request_is_what_should_fill_the_batch(silent: int, options: dict[str, int], asked: int) -> None:
    curriculum = make("greso", pool_of(100), prompts_per_step=16, rollouts_per_step=128, **options)
    plan = curriculum.plan(0)
    rewards = [[0.0] * 8] * silent + [[1.0] + [0.0] * 7] * (len(plan) - silent)
    curriculum.observe(GroupOutcome(g.group_id, g.prompt_id, r) for g, r in zip(plan, rewards, strict=True))
    again = curriculum.plan(0)
    assert len(again) == asked
    assert all(group.num_rollouts == 8 for group in again)
    assert not {group.prompt_id for group in again} & {group.prompt_id for group in plan}


def test_as_released_stops_after_the_request_that_should_have_filled_the_batch() -> None:
    rounds = {}
    for as_released in (False, True):
        curriculum = make("greso", pool_of(200), prompts_per_step=16, rollouts_per_step=128, as_released=as_released)
        plan, rounds[as_released] = curriculum.plan(0), 0
        while plan:
            rewards = [[0.0] * 8] * len(plan) if rounds[as_released] else [[0.0] * 8] * 4 + [[1.0] + [0.0] * 7] * 12
            curriculum.observe(GroupOutcome(g.group_id, g.prompt_id, r) for g, r in zip(plan, rewards, strict=True))
            rounds[as_released] += 1
            plan = curriculum.plan(0)
        assert len(curriculum.admitted(0)) == 12
    assert rounds == {False: 10, True: 2}


def test_it_spends_less_than_dynamic_sampling_on_a_pool_of_which_most_is_silent() -> None:
    pool = pool_of(200)
    rates = {name: (0.0, 0.0, 0.5, 1.0)[index % 4] for index, name in enumerate(pool.ids)}
    cost = {}
    for method in (DAPO, GRESO):
        curriculum = method(pool, prompts_per_step=16, rollouts_per_step=128)
        play(curriculum, SimulatedPolicy(rates), range(60))
        assert curriculum.metrics()["groups_trained"] >= 0.95 * 60 * 16
        cost[method] = curriculum.metrics()["rollouts"] / curriculum.metrics()["groups_trained"]
    assert cost[GRESO] < 0.7 * cost[DAPO]


def test_a_group_that_lost_rollouts_is_no_visit() -> None:
    curriculum = make("greso", pool_of(4), **SIZES)
    plan = curriculum.plan(0)
    curriculum.observe(GroupOutcome(group.group_id, group.prompt_id, [1.0] * 7) for group in plan)
    assert not curriculum._runs.any()
    curriculum.observe(GroupOutcome(group.group_id, group.prompt_id, [1.0]) for group in plan)
    assert (curriculum._runs == 1).all()


def test_nothing_is_taken_off_a_pass_without_being_looked_at() -> None:
    """Every prompt with signal comes once in each pass, whatever is skipped between."""
    pool = pool_of(60)
    rates = {name: 0.5 if index % 3 == 0 else 0.0 for index, name in enumerate(pool.ids)}
    curriculum = make("greso", pool, prompts_per_step=4, rollouts_per_step=128)
    play(curriculum, SimulatedPolicy(rates), range(30))
    visits = curriculum.pass_rates().num_rollouts[::3] / 32
    assert visits.max() - visits.min() <= 1
    assert visits.min() >= 3


@pytest.mark.parametrize(
    "option",
    [
        {"base_easy": 0.99},
        {"base_low": 0.0},
        {"hard_at": 1.0},
        {"silent_target": 0.0},
        {"base_step": 2.0},
        {"min_keep": 0.0},
        {"request_margin": 0.5},
        {"min_request": 0},
        {"prompts_per_round": 0},
        {"max_rounds": 0},
    ],
)
def test_bad_options(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        make("greso", pool_of(8), **SIZES, **option)


def test_the_generator_that_is_given_decides_what_is_skipped() -> None:
    first, second = (
        play(make("greso", pool_of(40), seed=seed, **SIZES), SimulatedPolicy(), range(6))[1] for seed in (1, 2)
    )
    assert first != second
    curriculum = make("greso", pool_of(8), **SIZES)
    curriculum.observe(outcomes_of(curriculum.plan(0), lambda num: [0.0] * num))
    assert len(curriculum.plan(0)) == 4
