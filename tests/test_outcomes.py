"""GroupOutcome: what a verifier may say, and what it may not."""

import math
from typing import Any

import numpy as np
import pytest

from didact.outcomes import GroupOutcome


def test_rewards_of_any_sequence() -> None:
    for rewards in ([1, 0], (True, False), np.array([1.0, 0.0]), [np.float32(1), 0]):
        assert GroupOutcome(0, "a", rewards).rewards == (1.0, 0.0)  # type: ignore[arg-type]


def test_what_is_not_finite_is_an_error_not_a_wrong_answer() -> None:
    outcome = GroupOutcome(0, "a", [1.0, None, math.nan, math.inf, -math.inf], errored=[True, *[False] * 4])  # type: ignore[list-item]
    assert outcome.errored == (True,) * 5
    assert GroupOutcome(0, "a", [1.0, 0.0], errored=[False, False]).errored is None


@pytest.mark.parametrize("column", ["num_tokens", "truncated", "errored"])
def test_columns_have_one_entry_for_each_reward(column: str) -> None:
    with pytest.raises(ValueError, match=f"group 7: {column} has 3 entries for 2 rewards"):
        GroupOutcome(7, "a", [1.0, 0.0], **{column: [1, 1, 1]})


def test_rewards_that_are_no_numbers() -> None:
    with pytest.raises(TypeError, match="group 7: a reward must be a number, got 'right'"):
        GroupOutcome(7, "a", ["right"])  # type: ignore[list-item]


def test_negative_tokens() -> None:
    with pytest.raises(ValueError, match="group 7: num_tokens must be a whole number from 0 to 2147483647, got -1"):
        GroupOutcome(7, "a", [1.0], num_tokens=[-1])


def test_the_columns_are_copies() -> None:
    rewards, tokens = [1.0, 0.0], [3, 4]
    outcome = GroupOutcome(0, "a", rewards, num_tokens=tokens)
    rewards[0], tokens[0] = 0.5, 9
    assert outcome.rewards == (1.0, 0.0)
    assert outcome.num_tokens == (3, 4)


@pytest.mark.parametrize("rewards", ["12", b"12", {1.0: 2.0}, {1.0}, 5, None])
def test_rewards_are_a_list(rewards: Any) -> None:
    with pytest.raises(TypeError, match="group 7: rewards must be a list with one entry per rollout"):
        GroupOutcome(7, "a", rewards)


@pytest.mark.parametrize("reward", [1e308, -1e16, 10**400, np.float64(1e300)])
def test_rewards_whose_squares_cannot_be_added_up(reward: float) -> None:
    for rewards in ([reward], [1.0, reward], [math.nan, reward], [None, reward]):
        with pytest.raises(ValueError, match=r"group 7: a reward must be from -1e\+15 to 1e\+15"):
            GroupOutcome(7, "a", rewards)
    assert GroupOutcome(7, "a", [1e15, -1e15]).rewards == (1e15, -1e15)


@pytest.mark.parametrize("reward", ["1", b"1", 1j, [], {}, np.array([1.0]), np.complex64(1), object()])
def test_a_reward_is_a_number(reward: Any) -> None:
    with pytest.raises(TypeError, match="group 7: a reward must be a number"):
        GroupOutcome(7, "a", [1.0, reward])


@pytest.mark.parametrize("name", ["num_tokens", "policy_version", "part", "prompt_tokens"])
@pytest.mark.parametrize("value", [-1, 2**63, 1.5, "12", True, math.nan, 10**400, [], 1j])
def test_counts_are_whole_numbers_within_bounds(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"group 7: {name} must be a whole number from 0 to"):
        GroupOutcome(7, "a", [1.0], **{name: [value] if name == "num_tokens" else value})


@pytest.mark.parametrize("name", ["errored", "truncated"])
@pytest.mark.parametrize("value", ["no", "", None, 2, 0.5, []])
def test_marks_are_true_or_false(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"group 7: {name} must be true or false"):
        GroupOutcome(7, "a", [1.0], **{name: [value]})


def test_numbers_of_numpy_are_numbers() -> None:
    outcome = GroupOutcome(
        np.int64(7),
        "a",
        np.array([1, 0], dtype=np.float32),
        num_tokens=np.array([3, 4], dtype=np.int32),
        truncated=np.array([True, False]),
        errored=[np.bool_(False), 1],
        policy_version=np.int64(2),
        part=np.int16(1),
        prompt_tokens=np.array(9),
    )
    assert (outcome.rewards, outcome.num_tokens, outcome.truncated) == ((1.0, 0.0), (3, 4), (True, False))
    assert (outcome.errored, outcome.policy_version, outcome.part, outcome.prompt_tokens) == ((False, True), 2, 1, 9)
    assert all(type(value) is int for value in (*outcome.num_tokens, outcome.policy_version, outcome.prompt_tokens))
