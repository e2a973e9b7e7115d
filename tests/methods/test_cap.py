"""No step takes more than `max_rollouts_per_step`, whatever the method and whatever comes back."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pytest

from didact import METHODS, Curriculum, PromptPool, make
from didact.method import Draft, Method, Turn
from didact.testing import SimulatedPolicy, play, pool_of

pytestmark = pytest.mark.filterwarnings("ignore::didact.silence.NothingLearnt")
SIZES = {"prompts_per_step": 4, "rollouts_per_step": 32}


def pool_with_columns(size: int = 40) -> PromptPool:
    columns = {"difficulty": range(size), "prompt_tokens": range(1, size + 1), "features": range(size)}
    return pool_of(size, source=[f"source-{index % 2}" for index in range(size)], **columns)


def planned(trace: list) -> dict[int, int]:
    rollouts: dict[int, int] = defaultdict(int)
    for entry in trace:
        if entry[0] == "plan":
            rollouts[entry[1]] += sum(group[2] for group in entry[3:])
    return rollouts


@pytest.mark.parametrize(
    ("method", "cap"),
    [(name, cap) for name, method in METHODS.items() for cap in ((45,) if method.one_round else (32, 45, 96))],
)
def test_no_step_takes_more(method: str, cap: int) -> None:
    """Reloaded between any two calls: what a step has taken is part of the state."""

    def reload(curriculum: Curriculum) -> Curriculum:
        fresh = make(method, curriculum.pool, **SIZES, max_rollouts_per_step=cap)
        fresh.load_state_dict(curriculum.state_dict())
        return fresh

    for rate in (0.0, 0.1):
        start = make(method, pool_with_columns(), **SIZES, max_rollouts_per_step=cap)
        assert start.max_rollouts_per_step == cap
        curriculum, trace = play(start, SimulatedPolicy(default=rate), range(12), between=reload)
        assert max(planned(trace).values()) <= cap
        again = make(method, pool_with_columns(), **SIZES, max_rollouts_per_step=cap)
        assert play(again, SimulatedPolicy(default=rate), range(12))[1] == trace
        assert rate == 0 or curriculum.metrics()["groups_trained"] > 0


@pytest.mark.parametrize(
    ("method", "options", "most"),
    [
        ("uniform", {}, 640),
        ("dapo", {}, 640),
        ("speed", {}, 640),
        ("gvm", {}, 640),
        ("gvm", {"prompts_per_step": 16}, 16 * 10 * 8 + 32),  # the pilot of a subset and a batch
        ("cures", {"prompts_per_step": 16}, 16 * 10 * 4 + 32),
        ("cures", {"as_released": True}, 4 * 10 * 4 + (8 * 32 + 4 + 8) * 4),
        ("reinforce_ada", {"prompts_per_step": 16, "rollouts_per_round": 32}, 16 * 32 * 4),
    ],
)
def test_the_default_is_twenty_budgets_or_what_the_method_needs(method: str, options: dict, most: int) -> None:
    assert make(method, pool_with_columns(), **{**SIZES, **options}).max_rollouts_per_step == most


def test_a_hopeless_pool_costs_speed_twenty_budgets_and_not_fifty() -> None:
    curriculum, trace = play(make("speed", pool_of(400), **SIZES), SimulatedPolicy(default=0.0), range(3))
    assert set(planned(trace).values()) == {640}
    assert curriculum.metrics()["capped_steps"] == 3
    assert curriculum.metrics()["rollouts"] == 3 * 640


def test_a_capped_step_trains_on_what_it_has_and_keeps_what_waits() -> None:
    """SPEED accepts in one round and continues in the next: with room for one plan a step, every other step trains."""
    curriculum = make("speed", pool_of(40), **SIZES, max_rollouts_per_step=32)
    _, trace = play(curriculum, SimulatedPolicy(default=0.5), range(6))
    trained = [len(entry) - 2 for entry in trace if entry[0] == "admitted"]
    assert trained[0] == 0
    assert trained[1] > 0
    assert curriculum.metrics()["capped_steps"] > 0
    assert curriculum.held() or sum(trained) > 12


def test_a_cap_that_does_not_bite_is_not_counted_and_changes_nothing() -> None:
    for method in METHODS:
        plain, capped = (
            make(method, pool_with_columns(), **SIZES, **more) for more in ({}, {"max_rollouts_per_step": 640})
        )
        policy = SimulatedPolicy(default=0.5)
        assert play(plain, policy, range(8))[1] == play(capped, policy, range(8))[1]
        assert plain.metrics()["capped_steps"] == 0
        assert "max_rollouts_per_step" not in plain.options


@pytest.mark.parametrize("cap", [0, 31, -1, True, "64", 64.5, float("inf")])
def test_a_cap_below_one_plan_is_refused(cap: object) -> None:
    with pytest.raises(
        ValueError, match=r"max_rollouts_per_step(=31 has no room for a plan of rollouts_per_step=32| must be a whole)"
    ):
        make("dapo", pool_of(8), **SIZES, max_rollouts_per_step=cap)


def test_large_rounds_draw_no_more_prompts_than_fit() -> None:
    """DAPO with the paper's rounds of three batches: prompts that do not fit stay on their pass."""
    curriculum = make("dapo", pool_of(40), **SIZES, prompts_per_round=12, max_rollouts_per_step=160)
    _, trace = play(curriculum, SimulatedPolicy(default=0.0), range(2))
    assert planned(trace) == {0: 160, 1: 160}
    prompts = [group[1] for entry in trace if entry[0] == "plan" for group in entry[3:]]
    assert len(set(prompts)) == len(prompts) == 40


@dataclass(frozen=True, kw_only=True)
class Greedy(Method):
    """Asks for all prompts, over and over."""

    weighs_groups = True

    def draft(self, turn: Turn, memory: None) -> Draft:
        size = len(turn.pool)
        return Draft(np.arange(size), np.full(size, 5), reason=["train"] * size, weights=np.ones(size))


def test_what_a_method_drafts_beyond_the_room_is_cut_off() -> None:
    curriculum = make(Greedy, pool_of(10), **SIZES, max_rollouts_per_step=72)
    sizes = []
    while plan := curriculum.plan(0):
        sizes.append(plan.num_rollouts)
    assert sizes == [50, 20]
    assert curriculum.metrics()["capped_steps"] == 1
    assert curriculum.metrics()["rounds"] == 2
    assert curriculum.plan(1).num_rollouts == 50
