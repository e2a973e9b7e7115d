"""When a planner may ask for the next round, and what was not collected yet; the planners have tests of their own."""

import pytest

from didact import Curriculum, PromptPool, make
from didact.pace import Pace
from didact.testing import outcomes_of


def curriculum(method: str, **options) -> Curriculum:
    pool = PromptPool([f"p{index}" for index in range(20)])
    return make(method, pool, prompts_per_step=4, rollouts_per_step=16, seed=3, **options)


def half(num: int) -> list[float]:
    return [1.0, 0.0] * (num // 2) + [1.0] * (num % 2)


def test_a_method_of_one_round_is_over_once_planned():
    pace = Pace(curriculum("uniform"))
    assert pace.over
    assert pace.plan(0)
    assert (pace.open, pace.over, pace.waits(back=False)) == (True, True, False)
    assert not pace.plan(0)
    assert (pace.open, pace.over) == (False, True)


def test_a_round_that_depends_on_what_is_out_waits_for_it():
    pace = Pace(curriculum("dapo"))
    assert pace.plan(0)
    assert (pace.over, pace.waits(back=False), pace.waits(back=True)) == (False, True, False)


@pytest.mark.parametrize("method", ["dapo", "speed", "cures", "reinforce_ada"])
def test_an_empty_plan_ends_the_step(method):
    pace = Pace(curriculum(method))
    for step in range(3):
        while plan := pace.plan(step):
            assert not (pace.over and pace.waits(back=False))
            pace.curriculum.observe(outcomes_of(plan, half))
        assert (pace.open, pace.over, pace.waits(back=False)) == (False, True, False)


def test_each_group_is_collected_once():
    pace = Pace(curriculum("uniform"))
    plan = pace.plan(0)
    outcomes = outcomes_of(plan, half)
    pace.curriculum.observe(outcomes[:2])
    pace.news = True
    first = pace.collect(complete=True)
    assert not pace.news
    pace.curriculum.observe(outcomes[2:])
    second = pace.collect(complete=True)
    assert [group.group_id for group in [*first, *second]] == [0, 1, 2, 3]
    assert pace.collect(complete=True) == []
    pace.plan(1)
    assert pace.collect(complete=True) == []
