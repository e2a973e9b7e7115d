"""The latest visit: later ones replace, parts add up, what is late is left out. The evidence of a step: all adds up."""

from typing import Any

import numpy as np
import pytest

from didact import PromptPool
from didact.belief import BetaBelief
from didact.belief.latest import LatestVisit, StepEvidence
from didact.ledger import OpenGroup
from didact.sharded.pool import ShardedPool
from didact.testing import pool_of

BELIEF = BetaBelief(3)


def visits_of(size: int) -> LatestVisit:
    return LatestVisit(pool_of(size).columns)


def group_of(position: int, step: int = 0) -> OpenGroup:
    return OpenGroup(0, position, step, "train", 0.5, 8)


def told(visits: LatestVisit, position: int, step: int, rewards: list[float]) -> list[int]:
    return visits.observe([group_of(position, step)], [rewards], BELIEF).tolist()


def test_later_visits_replace_and_parts_of_one_add_up() -> None:
    visits = visits_of(3)
    assert told(visits, 1, 0, [1.0, 1.0]) == [1]
    assert told(visits, 1, 4, [0.0, 1.0]) == [1]
    assert told(visits, 1, 4, [0.0, 0.0]) == [1]
    assert told(visits, 1, 3, [1.0] * 8) == []
    assert visits.rate(np.arange(3)) == pytest.approx([np.nan, 0.25, np.nan], nan_ok=True)
    assert visits.steps(np.arange(3)).tolist() == [-1, 4, -1]
    again = visits_of(5)
    again.load_state_dict(visits.state_dict())
    assert [column.tolist() for column in again.counts(np.arange(5))] == [[0, 1, 0, 0, 0], [0, 4, 0, 0, 0]]


@pytest.mark.parametrize("pool", [pool_of(4), ShardedPool.split([f"prompt-{index}" for index in range(4)], 3)])
def test_a_delivery_of_many_is_what_one_at_a_time_is(pool: PromptPool) -> None:
    rng = np.random.default_rng(0)
    groups = [group_of(int(rng.integers(4)), int(step)) for step in rng.integers(5, size=40)]
    rewards = [rng.integers(0, 2, size=rng.integers(4)).astype(float).tolist() for _ in groups]
    at_once, one_by_one = LatestVisit(pool.columns), LatestVisit(pool_of(4).columns)
    for start in range(0, 40, 8):
        some = slice(start, start + 8)
        said = at_once.observe(groups[some], rewards[some], BELIEF).tolist()
        singly = [
            told(one_by_one, each.position, each.step, row)
            for each, row in zip(groups[some], rewards[some], strict=True)
        ]
        assert said == sorted({position for positions in singly for position in positions})
    everybody = np.arange(4)
    assert at_once.steps(everybody).tolist() == one_by_one.steps(everybody).tolist()
    assert [each.tolist() for each in at_once.counts(everybody)] == [
        each.tolist() for each in one_by_one.counts(everybody)
    ]
    again = LatestVisit(pool.columns)
    again.load_state_dict(at_once.state_dict())
    assert again.rate(everybody) == pytest.approx(one_by_one.rate(everybody), nan_ok=True)


def test_a_visit_without_rewards_tells_nothing() -> None:
    visits = visits_of(1)
    told(visits, 0, 0, [1.0])
    assert told(visits, 0, 1, []) == []
    assert visits.rate(np.array([0])).tolist() == [1.0]
    assert visits.steps(np.array([0])).tolist() == [0]


def test_rewards_count_as_the_belief_counts_them() -> None:
    visits = visits_of(1)
    told(visits, 0, 0, [-1.0, 0.5, 7.0])
    assert visits.counts(np.array([0]))[0].tolist() == [1.5]


def test_those_visited_last_come_in_order_and_ties_do_not_go_by_position() -> None:
    visits = visits_of(40)
    for position in range(40):
        told(visits, position, position // 20, [1.0])
    assert visits.last(np.array([39, 0, 21, 5]), 2).tolist() == [21, 39]
    among_equals = visits.last(np.arange(40), 10).tolist()
    assert among_equals == sorted(among_equals)
    assert among_equals != list(range(20, 30))
    assert min(among_equals) >= 20


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
    visits = visits_of(6)
    for position in (1, 5):
        told(visits, position, 0, [1.0, 0.0])
    state = visits.state_dict()
    changed = {**state, name: np.array(value, dtype=state[name].dtype)}
    with pytest.raises(ValueError):
        visits.load_state_dict(changed)
    assert visits.rate(np.array([1, 5])).tolist() == [0.5, 0.5]


# The evidence of a step -----------------------------------------------------------------------------------------


def test_parts_of_a_step_are_one_visit_until_they_are_taken() -> None:
    evidence = StepEvidence(lambda: 9)
    evidence.add([group_of(7), group_of(2), group_of(4)], [[1.0, 0.0], [0.5], []], BELIEF)
    evidence.add([group_of(7, 3)], [[1.0]], BELIEF)
    for gathered in (evidence.gathered(), evidence.take()):
        assert [column.tolist() for column in gathered] == [[2, 7], [0.5, 2.0], [1.0, 3.0]]
    assert [len(column) for column in evidence.take()] == [0, 0, 0]


def test_what_it_knows_of_some_positions() -> None:
    evidence = StepEvidence(lambda: 9)
    evidence.add([group_of(7), group_of(2)], [[1.0, 0.0], [0.5]], BELIEF)
    rows, passes, sizes = evidence.among(np.array([8, 7, 0]))
    assert (rows.tolist(), passes.tolist(), sizes.tolist()) == ([1], [1.0], [2.0])
    assert [len(column) for column in evidence.among(np.array([8, 0]))] == [0, 0, 0]
    again = StepEvidence(lambda: 9)
    again.load_state_dict(evidence.state_dict())
    assert [column.tolist() for column in again.gathered()] == [[2, 7], [0.5, 1.0], [1.0, 2.0]]


@pytest.mark.parametrize(
    "state",
    [
        {"positions": [9], "passes": [0.0], "sizes": [1.0]},
        {"positions": [-1], "passes": [0.0], "sizes": [1.0]},
        {"positions": [1], "passes": [3.0], "sizes": [2.0]},
        {"positions": [1], "passes": [-1.0], "sizes": [2.0]},
        {"positions": [1], "passes": [1.0], "sizes": []},
        {"positions": [1], "passes": [1.0], "sizes": [np.inf]},
    ],
)
def test_evidence_that_cannot_be_is_refused(state: dict[str, list[Any]]) -> None:
    with pytest.raises(ValueError, match="evidence"):
        StepEvidence(lambda: 9).load_state_dict({name: np.array(value) for name, value in state.items()})
