"""The latest visit: later ones replace, parts add up, what is late is left out."""

import numpy as np
import pytest

from didact.belief import BetaBelief
from didact.ledger import OpenGroup
from didact.methods.latest import LatestVisit
from didact.outcomes import GroupOutcome

BELIEF = BetaBelief(3)


def told(visits: LatestVisit, position: int, step: int, rewards: list[float], **columns) -> list[int]:
    group = OpenGroup(0, position, step, "train", 0.5, len(rewards))
    return visits.observe([(group, GroupOutcome(0, "x", rewards, **columns))], BELIEF).tolist()


def test_later_visits_replace_and_parts_of_one_add_up() -> None:
    visits = LatestVisit(3)
    assert told(visits, 1, 0, [1.0, 1.0]) == [1]
    assert told(visits, 1, 4, [0.0, 1.0]) == [1]
    assert told(visits, 1, 4, [0.0, 0.0]) == [1]
    assert told(visits, 1, 3, [1.0] * 8) == []
    assert visits.rate(np.arange(3)) == pytest.approx([np.nan, 0.25, np.nan], nan_ok=True)
    assert visits.steps(np.arange(3)).tolist() == [-1, 4, -1]
    again = LatestVisit(5)
    again.load_state_dict(visits.state_dict())
    assert [column.tolist() for column in again.counts(np.arange(5))] == [[0, 1, 0, 0, 0], [0, 4, 0, 0, 0]]


def test_errored_and_truncated_rollouts_tell_nothing() -> None:
    visits = LatestVisit(1)
    told(visits, 0, 0, [1.0])
    assert told(visits, 0, 1, [0.0, np.nan], truncated=[True, False]) == []
    assert visits.rate(np.array([0])).tolist() == [1.0]
    observing = LatestVisit(1, "observe")
    told(observing, 0, 1, [0.0, np.nan], truncated=[True, False])
    assert observing.rate(np.array([0])).tolist() == [0.0]


def test_rewards_count_as_the_belief_counts_them() -> None:
    visits = LatestVisit(1)
    told(visits, 0, 0, [-1.0, 0.5, 7.0])
    assert visits.counts(np.array([0]))[0].tolist() == [1.5]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seen", [5, 1]),
        ("seen", [1, 6]),
        ("seen", [1]),
        ("steps", [0, -1]),
        ("passes", [-1.0, 1.0]),
        ("passes", [3.0, 1.0]),
        ("passes", [np.nan, 1.0]),
        ("rollouts", [2]),
    ],
)
def test_visits_that_cannot_be_are_refused(name, value):
    visits = LatestVisit(6)
    for position in (1, 5):
        told(visits, position, 0, [1.0, 0.0])
    state = visits.state_dict()
    changed = {**state, name: np.array(value, dtype=state[name].dtype)}
    with pytest.raises(ValueError):
        visits.load_state_dict(changed)
    assert visits.rate(np.array([1, 5])).tolist() == [0.5, 0.5]
