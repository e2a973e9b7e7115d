"""DAPO: redraw until enough groups have signal."""

import pytest

from didact.methods.dapo import DAPO
from didact.outcomes import GroupOutcome
from didact.testing import CurriculumContract, SimulatedPolicy, outcomes_of, play, pool_of


class TestDAPO(CurriculumContract):
    keeps_budget = True

    @staticmethod
    def build(pool: PromptPool, **options: Any) -> Curriculum:
        return make("dapo", pool, **options)


class TestDAPOWithLargeRounds(CurriculumContract):
    within_budget = False  # the paper draws three times as many prompts as it trains on

    @staticmethod
    def build(pool: PromptPool, **options: Any) -> Curriculum:
        return make("dapo", pool, prompts_per_round=3 * options["prompts_per_step"], max_rounds=3, **options)


def mixed(num: int) -> list[float]:
    return [1.0] + [0.0] * (num - 1)


def test_vector_dv2() -> None:
    """G=4, gen 4, train 3: batch 1 keeps 1, batch 2 keeps 3, 4 >= 3 -> the first 3 groups, 12 trajectories."""
    curriculum = make("dapo", pool_of(8), prompts_per_step=3, rollouts_per_step=12, prompts_per_round=4)
    expected: list[int] = []
    for passing in ([2], [0, 1, 3]):
        plan = curriculum.plan(0)
        assert [group.num_rollouts for group in plan] == [4] * 4
        outcomes = outcomes_of(plan, lambda num: [0.0] * num)
        for index in passing:
            group = plan.groups[index]
            outcomes[index] = GroupOutcome(group.group_id, group.prompt_id, mixed(4))
            expected.append(group.group_id)
        curriculum.observe(outcomes)
    assert not curriculum.plan(0)
    admitted = curriculum.admitted(0)
    assert [group.group_id for group in admitted] == expected[:3]
    assert sum(len(group.rollouts) for group in admitted) == 12
    metrics = curriculum.metrics()
    assert (metrics["rollouts"], metrics["rollouts_trained"], metrics["rollouts_discarded"]) == (32, 12, 20)


def test_a_step_that_cannot_be_filled_trains_on_what_it_has() -> None:
    curriculum = make("dapo", pool_of(8), prompts_per_step=2, rollouts_per_step=8, max_rounds=3)
    _, trace = play(curriculum, SimulatedPolicy(default=1.0), [0])
    assert len([entry for entry in trace if entry[0] == "plan" and entry[3:]]) == 3
    assert curriculum.admitted(0) == []
    assert curriculum.metrics()["rollouts_discarded"] == 24


def test_expected_cost_of_a_trained_prompt() -> None:
    """G / (1 - p^G - q^G) rollouts per trained prompt; within 5% over 2,000 steps (fixed seed)."""
    curriculum = make("dapo", pool_of(50), prompts_per_step=1, rollouts_per_step=4, max_rounds=1000)
    play(curriculum, SimulatedPolicy(default=0.2), range(2000))
    metrics = curriculum.metrics()
    assert metrics["rollouts"] / metrics["groups_trained"] == pytest.approx(4 / (1 - 0.2**4 - 0.8**4), rel=0.05)


@pytest.mark.parametrize("option", [{"max_rounds": 0}, {"prompts_per_round": 0}])
def test_bad_options(option: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        make("dapo", pool_of(8), prompts_per_step=2, rollouts_per_step=8, **option)
