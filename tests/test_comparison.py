"""What a method compared: figures fit the positions."""

import numpy as np
import pytest

from didact import PromptPool, make
from didact.comparison import Comparison

POSITIONS = np.array([4, 1, 7])


def test_figures_are_of_the_positions():
    known = Comparison("the best by value", POSITIONS, {"value": np.array([0.3, np.nan, 0.1])}, by="value")
    assert known.by == "value"
    with pytest.raises(ValueError, match=r"value has shape \(2,\) for positions of shape \(3,\)"):
        Comparison("the best", POSITIONS, {"value": np.zeros(2)})
    with pytest.raises(ValueError, match=r"compared by 'price', which is none of \['value'\]"):
        Comparison("the best", POSITIONS, {"value": np.zeros(3)}, by="price")


@pytest.mark.parametrize("wrappers", [{}, {"uniform_share": 0.5, "token_price": 0.5}], ids=["plain", "wrapped"])
def test_the_default_says_what_it_looked_at(wrappers):
    sizes = {"prompts_per_step": 4, "rollouts_per_step": 16, "leave_below": 0.0, **wrappers}
    curriculum = make("didact", PromptPool(map(str, range(200))), **sizes)
    assert curriculum.compared() is None
    curriculum.plan(0)  # as uniform does
    assert len(curriculum.compared().positions) == 4
    plan = curriculum.plan(1)
    compared = curriculum.compared()
    looked_at = {curriculum.pool.ids[position] for position in compared.positions}
    assert len(looked_at) == len(compared.positions) == 64
    assert wrappers or {group.prompt_id for group in plan} <= looked_at
    again = make("didact", PromptPool(map(str, range(200))), **sizes)
    again.load_state_dict(curriculum.state_dict())
    assert again.compared() is None  # it is no part of a state
    assert [group.prompt_id for group in again.plan(2)] == [group.prompt_id for group in curriculum.plan(2)]


def test_a_method_need_not_say():
    curriculum = make("uniform", PromptPool(["a", "b"]), prompts_per_step=2, rollouts_per_step=4)
    curriculum.plan(0)
    assert curriculum.compared() is None
