"""Whoever listens to a curriculum hears all of it, in order, and may keep something of its own in the state."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from didact import Curriculum, GroupOutcome, PromptPool, make
from didact.listener import Listener
from didact.testing import outcomes_of
from didact.testing.contract import same_state


class Heard(Listener):
    """Keeps what it is told; `refuses` is what it does not put up with."""

    def __init__(self, refuses: str = "") -> None:
        self.told: list[tuple[Any, ...]] = []
        self.refuses = refuses

    def hear(self, *what: Any) -> None:
        if what[0] == self.refuses:
            raise OSError("no room")
        self.told.append(what)

    def begins(self, curriculum):
        self.hear("begins", curriculum.name)

    def planned(self, curriculum, plan):
        self.hear("planned", plan.step, [group.num_rollouts for group in plan])

    def observed(self, curriculum, outcomes, placed):
        self.hear("observed", [outcome.group_id for outcome in outcomes], list(placed))

    def lost(self, curriculum, group_id, num_rollouts, again):
        self.hear("lost", group_id, num_rollouts, again)

    def found(self, curriculum, group_id, num_rollouts):
        self.hear("found", group_id, num_rollouts)

    def admitted(self, curriculum, groups, before, complete):
        self.hear("admitted", curriculum.step, [group.group_id for group in groups], before, complete)

    def saved(self, state):
        return {"inner": state, "told": len(self.told)}

    @contextmanager
    def loading(self, state) -> Iterator[Any]:
        if self.refuses == "loading":
            raise ValueError("not this one")
        yield state["inner"]
        self.told = self.told[: state["told"]]


def curriculum() -> Curriculum:
    return make("uniform", PromptPool(list("abcd")), prompts_per_step=2, rollouts_per_step=8, seed=3)


def part(group_id: int, prompt_id: str, num: int) -> GroupOutcome:
    return GroupOutcome(group_id, prompt_id, [1.0, 0.0, 1.0, 0.0][:num])


def test_it_hears_everything_in_order():
    made, heard = curriculum(), Heard()
    made.listen(heard)
    assert made.listener is heard
    first, second = made.plan(0)
    made.observe([part(first.group_id, first.prompt_id, 3), part(second.group_id, second.prompt_id, 4)])
    made.observe([part(second.group_id, second.prompt_id, 4), part(first.group_id, first.prompt_id, 1)])
    made.observe([])
    assert len(made.admitted(0, complete=True)) == 2
    made.admitted(0)
    assert not made.plan(0), "an empty plan is nothing to hear of"
    third = made.plan(1).groups[0].group_id
    made.lost(third, 2, again=True)
    made.found(third, 1)
    made.found(first.group_id, 1)  # closed long ago
    with pytest.raises(ValueError, match="unknown group id"):
        made.found(99, 1)
    assert heard.told == [
        ("begins", "uniform"),
        ("planned", 0, [4, 4]),
        ("observed", [0, 1], [range(3), range(4)]),
        ("observed", [1, 0], [range(0), range(3, 4)]),
        ("observed", [], []),
        ("admitted", 0, [0, 1], 0, True),
        ("admitted", 0, [0, 1], 2, False),
        ("planned", 1, [4, 4]),
        ("lost", 2, 2, True),
        ("found", 2, 1),
        ("found", 0, 1),
    ]


def test_one_listens_and_one_that_refuses_does_not():
    made = curriculum()
    with pytest.raises(OSError, match="no room"):
        made.listen(Heard("begins"))
    made.listen(Heard())
    with pytest.raises(ValueError, match="a Heard listens to this curriculum already: build another one"):
        made.listen(Heard())


def test_its_errors_reach_the_caller_when_all_is_done():
    made = curriculum()
    made.listen(Heard("observed"))
    plan = made.plan(0)
    with pytest.raises(OSError, match="no room"):
        made.observe(outcomes_of(plan, lambda num: [1.0] * num))
    assert made.metrics()["rollouts"] == 8


def test_it_has_its_part_in_the_state():
    made, heard = curriculum(), Heard()
    made.listen(heard)
    made.plan(0)
    state = made.state_dict()
    assert set(state) == {"inner", "told"}
    other = curriculum()
    other.load_state_dict(state["inner"])
    assert same_state(other.state_dict(), state["inner"])
    made.plan(1)
    heard.refuses = "loading"
    with pytest.raises(ValueError, match="not this one"):
        made.load_state_dict(state)
    assert (made.step, len(heard.told)) == (1, 3)
    heard.refuses = ""
    with pytest.raises(ValueError, match="altered or damaged"):
        made.load_state_dict({**state, "inner": {**state["inner"], "step": 5}})
    assert (made.step, len(heard.told)) == (1, 3)
    made.load_state_dict(state)
    assert (made.step, len(heard.told)) == (0, 2)
    assert made.listener is heard
