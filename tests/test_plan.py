"""A plan, and what came of it told as one batch."""

import numpy as np
import pytest

from didact.outcomes import GroupOutcome
from didact.plan import Plan, PlannedGroup

PLAN = Plan(3, 1, [PlannedGroup(7, "a", 2), PlannedGroup(5, "b", 1), PlannedGroup(9, "c", 3)])


def test_flat_columns_become_one_outcome_per_group():
    outcomes = PLAN.outcomes(
        [1.0, 0.0, 0.5, 0.0, None, 1.0],
        num_tokens=[10, 20, 30, 40, 50, 60],
        truncated=[False, True, False, False, False, False],
        errored=[False, False, True, False, False, False],
        prompt_tokens=[4, 5, 6],
    )
    more = {"policy_version": 3, "part": PLAN.part}
    assert outcomes == [
        GroupOutcome(7, "a", [1.0, 0.0], [10, 20], [False, True], [False, False], prompt_tokens=4, **more),
        GroupOutcome(5, "b", [0.5], [30], [False], [True], prompt_tokens=5, **more),
        GroupOutcome(9, "c", outcomes[2].rewards, [40, 50, 60], [False] * 3, [False, True, False], prompt_tokens=6,
                     **more),
    ]  # fmt: skip
    assert outcomes[2].rewards[::2] == (0.0, 1.0)


def test_arrays_and_iterators_are_columns_too():
    tokens = np.array([10, 20, 30, 40, 50, 60])
    outcomes = PLAN.outcomes(np.array([1.0, 0.0, np.nan, 0.0, 0.0, 1.0]), num_tokens=tokens, policy_version=1)
    assert [outcome.num_tokens for outcome in outcomes] == [(10, 20), (30,), (40, 50, 60)]
    assert [outcome.errored for outcome in outcomes] == [None, (True,), None]
    assert [outcome.policy_version for outcome in outcomes] == [1, 1, 1]
    assert PLAN.outcomes(iter([1, 0, 0, 0, 0, True]))[2].rewards == (0.0, 0.0, 1.0)
    assert Plan(0, 0).outcomes([]) == []


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        (
            {"rewards": [[1, 0], [1], [0, 0, 0]]},
            ValueError,
            "rewards has 3 entries, and the plan has 6 .*flat",
        ),
        ({"rewards": []}, ValueError, "rewards has 0 entries, and the plan has 6 rollouts"),
        ({"num_tokens": [1] * 7}, ValueError, "num_tokens has 7 entries, and the plan has 6 rollouts"),
        ({"truncated": []}, ValueError, "truncated has 0 entries"),
        ({"errored": [True]}, ValueError, "errored has 1 entries"),
        ({"prompt_tokens": [9] * 6}, ValueError, "prompt_tokens has 6 entries, and the plan has 3 groups"),
        ({"prompt_tokens": 9}, TypeError, "prompt_tokens must be a list .*the plan's groups, got 9"),
        ({"rewards": "101010"}, TypeError, "rewards must be a list .*the plan's rollouts"),
        ({"rewards": None}, TypeError, "rewards must be a list .*, got None"),
        ({"rewards": [[1]] * 6}, TypeError, r"group 7: a reward must be a number"),
        ({"num_tokens": [-1] * 6}, ValueError, "group 7: num_tokens"),
    ],
)
def test_what_is_wrong_with_a_column_is_said(columns, error, message):
    with pytest.raises(error, match=message):
        PLAN.outcomes(**{"rewards": [1.0] * 6, **columns})
