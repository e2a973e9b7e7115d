"""What a run says that pays for rollouts and learns nothing."""

import warnings
from typing import Any

import pytest

from didact import METHODS, Curriculum, GroupOutcome, make
from didact.silence import PATIENCE, NothingLearnt
from didact.testing import pool_of

SIZES = {"prompts_per_step": 2, "rollouts_per_step": 8}


def steps(curriculum: Curriculum, which: range, reward: Any, **columns: Any) -> list[str]:
    """Run steps in which rollout k of a group gets `reward` (of k, where it is a function); what was said."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for step in which:
            while plan := curriculum.plan(step):
                curriculum.observe(
                    GroupOutcome(
                        group.group_id,
                        group.prompt_id,
                        [reward(turn) if callable(reward) else reward for turn in range(group.num_rollouts)],
                        **{name: [value] * group.num_rollouts for name, value in columns.items()},
                    )
                    for group in plan
                )
            curriculum.admitted(step)
    assert {each.category for each in said} <= {NothingLearnt}
    return [str(each.message) for each in said]


@pytest.mark.parametrize(
    ("reward", "columns", "figures", "why"),
    [
        (None, {}, "of 40 rollouts 40 have no verdict, 0 passed, 0 failed", "The verifier gives no verdict"),
        (0.0, {}, "of 40 rollouts 0 have no verdict, 0 passed, 40 failed", "Nothing passes"),
        (1.0, {}, "of 40 rollouts 0 have no verdict, 40 passed, 0 failed", "Everything passes"),
        (0.0, {"truncated": True}, "40 failed; 40 were cut off", "Raise the context length"),
        (0.5, {}, "20 passed, 20 failed", "Each prompt passes always or never"),
    ],
)
def test_five_silent_steps_are_said_with_their_reason(reward: Any, columns: Any, figures: str, why: str) -> None:
    curriculum = make("uniform", pool_of(8), **SIZES)
    assert steps(curriculum, range(PATIENCE), reward, **columns) == []  # the fifth step is not over yet
    (said,) = steps(curriculum, range(PATIENCE, PATIENCE + 1), reward, **columns)
    assert said.startswith("5 steps in a row gave nothing to train on: ")
    assert figures in said
    assert why in said


def test_it_is_said_again_when_the_steps_have_doubled() -> None:
    said = steps(make("uniform", pool_of(8), **SIZES), range(43), 0.0)
    assert [text.split()[0] for text in said] == ["5", "10", "20", "40"]


def test_a_step_with_signal_begins_anew() -> None:
    curriculum = make("uniform", pool_of(8), **SIZES)
    assert steps(curriculum, range(4), 0.0) == []
    assert curriculum.metrics()["steps_without_signal"] == 3  # before this one
    assert steps(curriculum, range(4, 5), lambda turn: float(turn % 2)) == []
    assert curriculum.metrics()["steps_without_signal"] == 4
    assert steps(curriculum, range(5, 10), 0.0) == []
    assert curriculum.metrics()["steps_without_signal"] == 4
    assert len(steps(curriculum, range(10, 11), 0.0)) == 1


def test_mostly_errors_are_said_although_some_groups_train() -> None:
    """Two rollouts of eight have a verdict, and they differ."""
    curriculum = make("uniform", pool_of(8), prompts_per_step=1, rollouts_per_step=8)
    (said,) = steps(curriculum, range(6), lambda turn: float(turn) if turn < 2 else None)
    assert curriculum.metrics()["groups_trained"] == 6
    assert "of 40 rollouts 30 have no verdict, 5 passed, 5 failed" in said
    assert "The verifier gives no verdict" in said


def test_an_admission_rule_that_refuses_all_is_named() -> None:
    curriculum = make("uniform", pool_of(8), **SIZES, admission=[0.8, 0.9])
    (said,) = steps(curriculum, range(6), lambda turn: float(turn % 2))
    assert "see the options admission" in said


@pytest.mark.parametrize("method", METHODS)
def test_every_method_says_so_and_none_does_without_reason(method: str) -> None:
    pool = pool_of(60, difficulty=range(60), prompt_tokens=range(1, 61), features=range(60), source=["a", "b"] * 30)
    good, hopeless = (make(method, pool, prompts_per_step=4, rollouts_per_step=32) for _ in range(2))
    assert steps(good, range(24), lambda turn: float(turn % 2)) == []
    said = steps(hopeless, range(12), 0.0)
    assert [text.split()[0] for text in said] == ["5", "10"]


def test_a_run_that_waits_for_its_rollouts_is_not_silent() -> None:
    curriculum = make("uniform", pool_of(8), **SIZES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for step in range(12):
            curriculum.plan(step)
            curriculum.admitted(step)
    assert curriculum.metrics()["steps_without_signal"] == 0


def test_a_resumed_run_counts_on() -> None:
    first, second = (make("uniform", pool_of(8), **SIZES) for _ in range(2))
    steps(first, range(4), 0.0)
    second.load_state_dict(first.state_dict())
    assert [len(steps(each, range(4, 6), 0.0)) for each in (first, second)] == [1, 1]
    assert first.state_dict()["digest"] == second.state_dict()["digest"]


def test_a_warning_that_is_an_error_changes_nothing() -> None:
    curriculum = make("uniform", pool_of(8), **SIZES)
    steps(curriculum, range(5), 0.0)
    before = curriculum.state_dict()["digest"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            with pytest.raises(NothingLearnt):
                curriculum.plan(5)
    assert curriculum.state_dict()["digest"] == before


@pytest.mark.parametrize("reward", [-1.0, 1.1, 7.0])
def test_rewards_outside_the_unit_interval_are_said_once(reward: float) -> None:
    curriculum = make("uniform", pool_of(8), **SIZES)
    (said,) = steps(curriculum, range(3), lambda turn: reward if turn % 2 else 1.0)
    assert f"rewards from {min(reward, 1.0):g} to {max(reward, 1.0):g} came back; the belief clips them" in said
    assert "pass_above=0 for rewards of -1 and +1" in said


def test_a_threshold_or_dust_is_no_reason_to_say_so() -> None:
    assert steps(make("uniform", pool_of(8), **SIZES, pass_above=0), range(3), lambda turn: turn % 2 * 2 - 1.0) == []
    assert steps(make("uniform", pool_of(8), **SIZES), range(3), lambda turn: turn % 2 * 1.0000001) == []
