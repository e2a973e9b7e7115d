"""GroupOutcome: what a verifier may say, and what it may not."""

import math

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
