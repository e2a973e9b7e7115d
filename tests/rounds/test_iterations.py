"""Iterations: pilots as the budget and the step have room for them, and which prompts a subset holds."""

from typing import Any

import numpy as np
import pytest

from didact.admission import AdmitAll
from didact.method import Turn
from didact.rounds.iterations import IterationOfSteps
from didact.testing import pool_of

POOL = pool_of(10)


def turn_of(**turn: Any) -> Turn:
    belief = POOL.belief(prior=(0.0, 0.0))
    belief.observe(np.array([3, 5]), np.array([2, 4]), np.array([1.0, 0.0, 1.0, 0.0, 1.0, 1.0]), step=0)
    return Turn(POOL, 2, 8, 0, "exclude", AdmitAll(), belief, step=2, walk=lambda num: np.arange(num)[::-1], **turn)


def test_pilots_as_many_as_fit_and_the_last_of_them_are_waited_for() -> None:
    iteration, drafts = IterationOfSteps(pending=np.arange(5)), []
    while len(iteration.pending):
        drafts.append(iteration.next_pilots(turn_of(), 4))
    assert [draft.positions.tolist() for draft in drafts] == [[0, 1], [2, 3], [4]]
    assert [draft.then for draft in drafts] == ["now", "now", "later"]
    assert {(draft.reason, *draft.num_rollouts.tolist()) for draft in drafts[:2]} == {("pilot", 4, 4)}


def test_pilots_that_a_step_has_no_room_for_stay_pending() -> None:
    iteration = IterationOfSteps(pending=np.arange(5))
    draft = iteration.next_pilots(turn_of(fitting=lambda num, total: 1, fits=lambda total: False), 4)
    assert (draft.positions.tolist(), draft.then, iteration.pending.tolist()) == ([0], "later", [1, 2, 3, 4])


@pytest.mark.parametrize(("forget", "pending"), [(True, [0, 1, 2, 3, 4, 5]), (False, [0, 1, 2, 3, 4])])
def test_a_subset_begins_with_what_has_no_pilot(forget: bool, pending: list[int]) -> None:
    iteration, turn = IterationOfSteps(), turn_of()
    iteration.begin(turn, 6, 4, forget=forget)
    assert iteration.subset.tolist() == [0, 1, 2, 3, 4, 5]
    assert (iteration.pending.tolist(), iteration.first, iteration.steps_done) == (pending, 2, 0)
    assert turn.belief.evidence(np.array([5]), step=2)[0] == (0 if forget else 4)
    assert [iteration.is_over(steps) for steps in (0, 1)] == [True, False]
    assert iteration.inside(np.array([2, 5, 7])).tolist() == [2, 5]
    iteration.check(turn)
    iteration.steps_done = 2
    with pytest.raises(ValueError, match="an iteration from step 2 cannot have had 2 steps"):
        iteration.check(turn)
