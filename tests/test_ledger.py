"""The ledger: bounded, its books add up at every moment, and a state of it is loaded whole or not at all."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from didact import Curriculum, GroupOutcome, make
from didact.ledger import LATE_STEPS, LOST_STEPS, Ledger
from didact.testing import SimulatedPolicy, outcomes_of, pool_of
from didact.testing.contract import same_state


def in_flight(curriculum: Curriculum) -> int:
    ledger = curriculum.state_dict()["ledger"]
    return int((ledger["planned"] + ledger["again"] - ledger["num_rewards"] - ledger["lost"]).sum())


def adds_up(curriculum: Curriculum) -> None:
    metrics = curriculum.metrics()
    assert metrics["rollouts_planned"] == metrics["rollouts"] + in_flight(curriculum) + metrics["rollouts_lost"]


def uniform(**options: Any) -> Curriculum:
    return make("uniform", pool_of(40), prompts_per_step=2, rollouts_per_step=8, **options)


@pytest.mark.parametrize("method", ["uniform", "dapo", "speed", "cures"])
def test_a_run_that_loses_outcomes_keeps_a_small_ledger(method: str) -> None:
    curriculum = make(method, pool_of(200), prompts_per_step=4, rollouts_per_step=32)
    policy, rng, sizes, asked = SimulatedPolicy(), np.random.default_rng(0), [], 0
    for step in range(4 * LATE_STEPS):
        while plan := curriculum.plan(step):
            asked += len(plan)
            curriculum.observe(outcome for outcome in policy.roll_out(plan) if rng.random() < 0.9)
        curriculum.admitted(step)
        sizes.append(len(curriculum.state_dict()["ledger"]["group_id"]))
    adds_up(curriculum)
    most = 0.2 * (LATE_STEPS + 2) * asked / len(sizes)  # twice the share that is lost, for so many steps
    assert max(sizes) < most
    assert max(sizes[-LATE_STEPS:]) < 1.5 * max(sizes[LATE_STEPS : 2 * LATE_STEPS])
    assert curriculum.metrics()["rollouts_lost"] > 0


def test_a_group_that_came_back_in_part_trains_on_what_it_has_when_the_rest_is_given_up() -> None:
    curriculum = uniform()
    first, second = curriculum.plan(0)
    curriculum.observe([GroupOutcome(first.group_id, first.prompt_id, [1.0, 0.0])])
    for step in range(LOST_STEPS + 1):
        curriculum.observe(outcomes_of(curriculum.plan(step), lambda num: [1.0] * num) if step else [])
        admitted = curriculum.admitted(step, complete=True)
        assert first.group_id not in [group.group_id for group in admitted]
        assert curriculum.metrics()["rollouts_lost"] == 0
    curriculum.plan(LOST_STEPS + 1)
    assert [group.rollouts for group in curriculum.admitted(LOST_STEPS + 1, complete=True)] == [(0, 1)]
    assert curriculum.metrics()["rollouts_lost"] == 6
    assert second.group_id not in curriculum.open_groups() or curriculum.plan(LOST_STEPS + 3) is not None
    adds_up(curriculum)


def test_what_comes_after_it_was_given_up_is_evidence_till_it_is_forgotten() -> None:
    curriculum = uniform()
    first, second = curriculum.plan(0)
    for step in range(1, LATE_STEPS + 1):
        curriculum.observe(outcomes_of(curriculum.plan(step), lambda num: [1.0] * num))
        curriculum.admitted(step)
    assert curriculum.metrics()["rollouts_lost"] == 8
    half = GroupOutcome(first.group_id, first.prompt_id, [0.0, 0.0], part=0)
    assert curriculum.observe([half, half]) == [range(2), range(0)]
    adds_up(curriculum)
    assert curriculum.metrics()["rollouts_lost"] == 6
    before = curriculum.pass_rates().evidence.sum()
    curriculum.observe([GroupOutcome(second.group_id, second.prompt_id, [0.0] * 4)])
    assert curriculum.pass_rates().evidence.sum() == before + 4
    curriculum.plan(LATE_STEPS + 1)
    rest = GroupOutcome(first.group_id, first.prompt_id, [0.0, 0.0], part=1)
    assert curriculum.observe([rest]) == [range(0)], "it is forgotten now"
    assert curriculum.metrics()["rollouts_lost"] == 2
    adds_up(curriculum)


def test_found_by_name_and_found_by_coming_are_counted_once() -> None:
    curriculum = uniform()
    group = curriculum.plan(0).groups[0]
    curriculum.lost(group.group_id, 3)
    curriculum.found(group.group_id, 2)
    curriculum.observe([GroupOutcome(group.group_id, group.prompt_id, [1.0] * 3)])
    assert curriculum.metrics()["rollouts_lost"] == 1
    curriculum.observe([GroupOutcome(group.group_id, group.prompt_id, [1.0])])
    assert curriculum.metrics()["rollouts_lost"] == 0
    adds_up(curriculum)


def test_overdue_says_what_the_next_step_gives_up() -> None:
    curriculum = uniform()
    ids = [group.group_id for group in curriculum.plan(3)]
    assert curriculum.overdue(3) == curriculum.overdue(3 + LOST_STEPS) == []
    assert curriculum.overdue(4 + LOST_STEPS) == ids
    curriculum.lost(ids[0], 4)
    assert curriculum.overdue(4 + LOST_STEPS) == ids[1:]


events = st.tuples(st.integers(0, 4), st.integers(0, 200), st.integers(1, 4))


@settings(max_examples=60)
@given(st.lists(events, max_size=60), st.sampled_from(["uniform", "speed", "hora", "cures"]))
def test_the_books_add_up_whatever_happens(script: list[tuple[int, int, int]], method: str) -> None:
    """Groups are answered in whole, in parts, never, are lost, made again, found, and steps are left out."""
    curriculum = make(method, pool_of(12), prompts_per_step=2, rollouts_per_step=16)
    asked: list[Any] = []
    for kind, which, num in script:
        group = asked[which % len(asked)] if asked else None
        if kind == 0 or group is None:
            asked += curriculum.plan(curriculum.step + (1 if which % 3 else 20))
        elif kind == 1:
            curriculum.observe([GroupOutcome(group.group_id, group.prompt_id, [1.0] * min(num, group.num_rollouts))])
        elif kind == 2:
            curriculum.admitted(curriculum.step, complete=bool(which % 2))
        else:
            try:
                if kind == 3:
                    curriculum.lost(group.group_id, num, again=bool(which % 2))
                else:
                    curriculum.found(group.group_id, num)
            except ValueError:  # not so many are out, or lost
                pass
        adds_up(curriculum)
        assert in_flight(curriculum) >= 0


def ledger() -> Ledger:
    """Group 0 came back in two parts, the second errored in part; of group 1 one of three is lost; 2 is closed."""
    books = Ledger()
    first, second, third = (books.open(position, 4, "train", 0.5, 3, 1.0) for position in (7, 2, 7))
    first.record(GroupOutcome(0, "7", [1.0], part=3), 4)
    first.record(GroupOutcome(0, "7", [0.0, None], part=4), 4)
    second.lost = 1
    third.record(GroupOutcome(2, "7", [1.0] * 3), 5)
    third.settled = True
    books.close(third)
    return books


def test_it_comes_back_as_it_was() -> None:
    again = Ledger()
    again.load_state_dict(ledger().state_dict())
    assert same_state(again.state_dict(), ledger().state_dict())
    assert [group.group_id for group in again.waiting()] == [0]
    assert again.gave_out(2)
    assert not again.gave_out(3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"next_id": 1}, "ids from 0 to 0, each once, in order"),
        ({"group_id": [1, 0]}, "each once, in order"),
        ({"group_id": [1, 1]}, "each once, in order"),
        ({"group_id": [-1, 1]}, "each once, in order"),
        ({"position": [-1, 2]}, "no group can be as this one"),
        ({"planned": [0, 3]}, "no group can be as this one"),
        ({"planned": [2, 3]}, "no group can be as this one"),  # three came
        ({"lost": [0, 4]}, "no group can be as this one"),  # three are out
        ({"lost": [0, -1]}, "no group can be as this one"),
        ({"again": [-1, 0]}, "no group can be as this one"),
        ({"asked": [4, 3]}, "no group can be as this one"),  # before it was planned
        ({"completed": [4, -2]}, "no group can be as this one"),
        ({"predicted": [0.5, np.nan]}, "no group can be as this one"),
        ({"predicted": [0.5, 1.5]}, "no group can be as this one"),
        ({"weight": [1.0, 0.0]}, "no group can be as this one"),
        ({"weight": [np.nan, 1.0]}, "no group can be as this one"),
        ({"weight": [1.0, 2.0**21]}, "no group can be as this one"),
        ({"rewards": [1.0, np.inf, np.nan]}, "no group can be as this one"),
        ({"parts": [3, 3]}, "no group can be as this one"),
        ({"rewards": [1.0, 0.0]}, "pieces of 3 in all do not make up 2 values"),
        ({"num_rewards": [4, -1]}, "do not make up"),
        ({"reason": ["train"]}, "zip"),
        ({"step": [4]}, "zip"),
    ],
)
def test_groups_that_cannot_be_are_refused(changes: dict[str, Any], words: str) -> None:
    books, before = ledger(), ledger().state_dict()
    plain = {name: value if name in ("next_id", "reason") else np.array(value) for name, value in changes.items()}
    with pytest.raises(ValueError, match=words):
        books.load_state_dict({**before, **plain})
    assert same_state(books.state_dict(), before)
