"""A price on tokens: rollouts go where responses are short, for the same sum."""

from typing import Any

import numpy as np
import pytest

from didact import GroupOutcome, Plan, make
from didact.testing import pool_of

pytestmark = pytest.mark.filterwarnings("ignore::didact.silence.NothingLearnt")
SIZES: dict[str, Any] = {"prompts_per_step": 8, "rollouts_per_step": 64}


def tokens_of(plan: Plan) -> list[GroupOutcome]:
    """Responses of 400 tokens to prompts of an even number, of 100 to the others."""
    return [
        GroupOutcome(
            group.group_id,
            group.prompt_id,
            [float(index % 2) for index in range(group.num_rollouts)],
            num_tokens=[100 if int(group.prompt_id.removeprefix("prompt-")) % 2 else 400] * group.num_rollouts,
        )
        for group in plan
    ]


@pytest.mark.parametrize(("price", "ratio"), [(0.5, 2.0), (1.0, 4.0)])
def test_rollouts_go_where_responses_are_short(price: float, ratio: float) -> None:
    """Lengths of 400 and 100: groups of a and b with b / a = 4^price once they are known well, for the same budget."""
    pool = pool_of(8)
    curriculum = make("uniform", pool, prompts_per_step=8, rollouts_per_step=160, token_price=price)
    assert curriculum.uneven
    for step in range(40):
        plan = curriculum.plan(step)
        assert plan.num_rollouts == 160
        curriculum.observe(tokens_of(plan))
        curriculum.admitted(step)
    sizes = {group.prompt_id: group.num_rollouts for group in plan}
    assert sizes["prompt-1"] / sizes["prompt-0"] == pytest.approx(ratio, rel=0.15)


def test_the_price_multiplies_what_the_method_gives() -> None:
    """One visit of 8 rollouts of 400 or 100, a mean of 250: (8 * 400 + 8 * 250) / 16 = 325 and 175 are expected."""
    curriculum = make("uniform", pool_of(8), **SIZES, token_price=0.5)
    curriculum.observe(tokens_of(curriculum.plan(0)))
    sizes = [group.num_rollouts for group in curriculum.plan(1)]
    shares = np.array([325.0**-0.5, 175.0**-0.5])
    assert sorted(set(sizes)) == [round(64 * share / (4 * shares.sum())) for share in shares]


def test_lengths_that_nobody_told_cost_the_same() -> None:
    curriculum = make("uniform", pool_of(8), **SIZES, token_price=1.0)
    for step in range(3):
        plan = curriculum.plan(step)
        assert {group.num_rollouts for group in plan} == {8}
        curriculum.observe(GroupOutcome(each.group_id, each.prompt_id, [0.0, 1.0] * 4) for each in plan)
        curriculum.admitted(step)


@pytest.mark.parametrize("method", ["speed", "pilot_commit", "reinforce_ada", "hora"])
def test_a_method_that_continues_its_groups_takes_no_price(method: str) -> None:
    with pytest.raises(ValueError, match=f"method '{method}' sizes its groups by continuing them"):
        make(method, pool_of(20), token_price=0.5, **SIZES)
