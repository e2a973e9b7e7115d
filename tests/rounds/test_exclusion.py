"""Which prompts a screen leaves out, and when they come back."""

import numpy as np
import pytest

from didact.admission import AdmitAll
from didact.belief import BetaBelief
from didact.ledger import OpenGroup
from didact.method import Positions, Turn
from didact.rounds.exclusion import Exclusions
from didact.testing import pool_of

POOL = pool_of(4)


def walked(exclusions: Exclusions, step: int, retest_after: int | None = None) -> list[int]:
    """What a walk through the whole pool gives at a step."""

    def walk(num: int) -> Positions:
        return np.arange(num)

    turn = Turn(POOL, 2, 8, 0, "exclude", AdmitAll(), BetaBelief(4), step=step, walk=walk)
    return exclusions.walk(4, turn, retest_after).tolist()


def note(exclusions: Exclusions, position: int, num: int, *, accepted: bool, solved: bool, step: int = 3) -> None:
    """One pilot of so many rollouts; eight in a row leave a prompt out."""
    group = OpenGroup(0, position, step, "pilot", 0.5, num, rewards=[float(solved)] * num)
    exclusions.note([group], [accepted], [solved], after=8, step=step)


def test_solved_pilots_in_a_row_leave_a_prompt_out_for_a_while() -> None:
    exclusions = Exclusions.none_of(POOL)
    note(exclusions, 1, 4, accepted=False, solved=True)
    note(exclusions, 1, 2, accepted=True, solved=False)
    note(exclusions, 1, 4, accepted=False, solved=True)
    assert walked(exclusions, 3) == [0, 1, 2, 3]
    note(exclusions, 1, 4, accepted=False, solved=True)
    assert walked(exclusions, 3) == walked(exclusions, 7, 5) == [0, 2, 3]
    assert walked(exclusions, 8, 5) == [0, 1, 2, 3]
    exclusions.num_excluded = 0
    exclusions.resume(4, 3)
    assert exclusions.num_excluded == 1
    with pytest.raises(ValueError, match="excluded since a step up to 2, or not"):
        exclusions.resume(4, 2)


def test_all_come_back_when_a_pass_over_the_others_found_none() -> None:
    exclusions = Exclusions.none_of(POOL)
    note(exclusions, 0, 8, accepted=True, solved=True)
    for position in (1, 2):
        note(exclusions, position, 2, accepted=False, solved=False)
        assert walked(exclusions, 3) == [1, 2, 3]
    note(exclusions, 3, 2, accepted=False, solved=False)
    assert walked(exclusions, 3) == [0, 1, 2, 3]
    assert exclusions.barren == exclusions.num_excluded == 0
