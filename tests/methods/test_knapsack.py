"""Knapsack RL: which rate a prompt has, and what the batch's rollouts follow from."""

import numpy as np
import pytest

from didact import Curriculum, GroupOutcome, Plan, make
from didact.testing import MethodContract, VariantContract, pool_of

SIZES = {"prompts_per_step": 4, "rollouts_per_step": 32}


class TestKnapsack(MethodContract):
    keeps_budget = True

    @staticmethod
    def build(pool, **options):
        return make("knapsack", pool, **options)


class TestKnapsackSmallPool(VariantContract):
    """Two visits of every prompt within the eight steps of the suite."""

    keeps_budget = True
    pool_size = 12

    @staticmethod
    def build(pool, **options):
        return make("knapsack", pool, **options)


def epoch(curriculum: Curriculum, steps: range, passes: dict[str, list[float]]) -> list[Plan]:
    plans = []
    for step in steps:
        plan = curriculum.plan(step)
        curriculum.observe(
            GroupOutcome(g.group_id, g.prompt_id, (passes[g.prompt_id] * g.num_rollouts)[: g.num_rollouts])
            for g in plan
        )
        curriculum.admitted(step)
        plans.append(plan)
    return plans


def test_the_first_epoch_is_uniform_and_the_next_rests_on_the_last() -> None:
    curriculum = make("knapsack", pool_of(4), **SIZES)
    rewards = {"prompt-0": [1.0, 0.0], "prompt-1": [0.0], "prompt-2": [0.0], "prompt-3": [1.0]}
    first, second, third = epoch(curriculum, range(3), rewards)
    assert [group.num_rollouts for group in first] == [8] * 4
    assert {group.prompt_id: group.num_rollouts for group in second} in (
        {"prompt-0": 5, "prompt-1": 13, "prompt-2": 12, "prompt-3": 2},
        {"prompt-0": 5, "prompt-1": 12, "prompt-2": 13, "prompt-3": 2},
    )
    # 7 of the last 13: int(log 0.1 / log(7 / 13)) = 3.
    assert {group.prompt_id: group.num_rollouts for group in third}["prompt-0"] == 5


def test_prompts_never_seen_get_the_equal_share() -> None:
    curriculum = make("knapsack", pool_of(6), **SIZES)
    epoch(curriculum, range(1), {f"prompt-{index}": [0.0, 1.0] for index in range(6)})
    seen = set(np.flatnonzero(curriculum.pass_rates().num_rollouts))
    plan = curriculum.plan(1)
    assert {g.num_rollouts for g in plan if int(g.prompt_id.split("-")[1]) not in seen} == {8}
    assert plan.num_rollouts == 32


def test_the_rate_is_that_of_the_last_16_rewards() -> None:
    """Split between a prompt at 1/2 and one at 0, whose last 16 say what all 24, and the last visit, do not."""
    curriculum = make("knapsack", pool_of(2), prompts_per_step=2, rollouts_per_step=16, max_rollouts=8)
    for rewards in ([0.0] * 8, [1.0] * 8, [0.0] * 8):
        plan = curriculum.plan(curriculum.step + 1)
        assert [group.num_rollouts for group in plan] == [8, 8]  # the bounds leave no choice
        curriculum.observe([GroupOutcome(group.group_id, group.prompt_id, rewards) for group in plan])
    assert _rates(curriculum) == [0.5, 0.5]
    assert curriculum.pass_rates().mean == pytest.approx([9 / 26] * 2)


def test_a_prompt_has_a_rate_from_8_rewards_on() -> None:
    curriculum = make("knapsack", pool_of(1), prompts_per_step=1, rollouts_per_step=4)
    for step, rate in enumerate((None, 0.25, 0.25, 0.25)):
        group = curriculum.plan(step).groups[0]
        curriculum.observe([GroupOutcome(group.group_id, group.prompt_id, [1.0, 0.0, 0.0, 0.0])])
        assert _rates(curriculum) == [pytest.approx(rate if rate else np.nan, nan_ok=True)]


def test_fewer_middling_prompts_are_rated_0_or_1_than_by_the_last_visit() -> None:
    """Of prompts that pass with probability 0.2 one in six has a visit of 8 without a pass; of 16, one in 35."""
    rng = np.random.default_rng(0)
    curriculum = make("knapsack", pool_of(400), prompts_per_step=400, rollouts_per_step=3200, max_rollouts=8)
    for step in range(2):
        plan = curriculum.plan(step)
        rewards = (rng.random((400, 8)) < 0.2).astype(float)
        curriculum.observe(
            [GroupOutcome(g.group_id, g.prompt_id, row.tolist()) for g, row in zip(plan, rewards, strict=True)]
        )
    assert (rewards.sum(axis=1) == 0).mean() == pytest.approx(0.168, abs=0.05)
    assert (np.array(_rates(curriculum)) == 0).mean() == pytest.approx(0.028, abs=0.02)


def _rates(curriculum: Curriculum) -> list[float]:
    """What the split goes by."""
    rates: list[float] = curriculum.memory.recent.rate(np.arange(len(curriculum.pool))).tolist()
    return rates


def test_truncated_rollouts_count_as_the_option_says() -> None:
    for truncated, rate in (("exclude", 1.0), ("observe", 0.5)):
        curriculum = make(
            "knapsack", pool_of(1), prompts_per_step=1, rollouts_per_step=8, truncated=truncated, known_from=4
        )
        group = curriculum.plan(0).groups[0]
        cut = [False, True] * 4
        curriculum.observe([GroupOutcome(group.group_id, group.prompt_id, [1.0, 0.0] * 4, truncated=cut)])
        assert _rates(curriculum) == [rate]


@pytest.mark.parametrize(
    "option",
    [
        {"min_rollouts": 1},
        {"min_rollouts": 9},
        {"max_rollouts": 7},
        {"confidence": 0.0},
        {"confidence": 1.0},
        {"recent": 0},
        {"known_from": 17},
        {"recent": 7},
    ],
)
def test_bad_options(option: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        make("knapsack", pool_of(8), **SIZES, **option)
