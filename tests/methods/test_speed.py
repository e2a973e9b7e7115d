"""SPEED-RL: screen, then continue what differs."""

import itertools
import math
from typing import Any

import numpy as np
import pytest

from didact import make
from didact.admission import AdmitBand
from didact.advantage import group_advantages
from didact.outcomes import GroupOutcome
from didact.plan import Plan
from didact.testing import MethodContract, SimulatedPolicy, VariantContract, play, pool_of


class TestSpeed(MethodContract):
    @staticmethod
    def build(pool, **options):
        return make("speed", pool, **options)


class TestSpeedWithoutScreeningRollouts(VariantContract):
    @staticmethod
    def build(pool, **options):
        return make("speed", pool, num_continue=4, train_on_screening=False, max_staleness=None, **options)


def rolled(plan: Plan, passes: dict[str, int] | int) -> list[GroupOutcome]:
    """Every group passes as often as said."""
    outcomes = []
    for group in plan:
        num = passes if isinstance(passes, int) else passes[group.prompt_id]
        rewards = [1.0] * num + [0.0] * (group.num_rollouts - num)
        outcomes.append(GroupOutcome(group.group_id, group.prompt_id, rewards))
    return outcomes


def accepted(num_screen: int, **options: Any) -> list[bool]:
    """Whether 0, 1, ... `num_screen` passes are accepted: one prompt each, and see which are continued."""
    num = num_screen + 1
    curriculum = make(
        "speed", pool_of(num), prompts_per_step=num, rollouts_per_step=24 * num, num_screen=num_screen, **options
    )
    plan = curriculum.plan(0)
    assert [group.num_rollouts for group in plan] == [num_screen] * num
    curriculum.observe(rolled(plan, {group.prompt_id: index for index, group in enumerate(plan)}))
    continued = {group.prompt_id for group in curriculum.plan(0) if group.reason == "continue"}
    return [group.prompt_id in continued for group in plan]


def test_vector_sv4_acceptance_by_count() -> None:
    assert accepted(4) == [False, True, True, True, False]
    assert accepted(4, low=0.25, high=0.75) == [False, False, True, False, False]


@pytest.mark.parametrize(
    ("num_screen", "expected"),
    [
        (4, [0.0394, 0.1855, 0.3438, 0.6797, 0.8750]),
        (6, [0.0585, 0.2649, 0.4686, 0.8218, 0.9688]),
        (8, [0.0773, 0.3366, 0.5695, 0.8999, 0.9922]),
    ],
)
def test_vector_sv1_chance_of_acceptance(num_screen: int, expected: list[float]) -> None:
    verdicts = accepted(num_screen)
    for rate, chance in zip([0.01, 0.05, 0.1, 0.25, 0.5], expected, strict=True):
        counts = [
            math.comb(num_screen, count) * rate**count * (1 - rate) ** (num_screen - count) * verdict
            for count, verdict in enumerate(verdicts)
        ]
        assert sum(counts) == pytest.approx(chance, abs=1e-4)


def test_vector_sv2_one_call_carries_both_phases() -> None:
    """64 new x 4 + 16 accepted x 20 = 576 responses; a budget of 576 is needed for that."""
    pool = pool_of(200)
    curriculum = make("speed", pool, prompts_per_step=16, rollouts_per_step=576, num_continue=20)
    first = curriculum.plan(0)
    assert (len(first), first.num_rollouts) == (64, 256)
    curriculum.observe(rolled(first, {group.prompt_id: int(index < 16) for index, group in enumerate(first)}))
    second = curriculum.plan(0)
    assert second.num_rollouts == 576
    assert [group.group_id for group in second][:16] == [group.group_id for group in first][:16]
    assert [group.reason for group in second] == ["continue"] * 16 + ["screen"] * 64
    assert [group.num_rollouts for group in second] == [20] * 16 + [4] * 64
    assert not {group.prompt_id for group in first} & {group.prompt_id for group in second.groups[16:]}
    curriculum.observe(rolled(second, 2))
    assert not curriculum.plan(0)
    assert [len(group.rollouts) for group in curriculum.admitted(0)] == [24] * 16
    assert len(curriculum.held()) == 64


def test_published_sizes_within_the_budget_of_a_step() -> None:
    """24 rollouts for each of 16 prompts: 64 x 4 at first, then 16 x 20 and as much screening as fits."""
    curriculum = make("speed", pool_of(1000), prompts_per_step=16, rollouts_per_step=16 * 24)
    first = curriculum.plan(0)
    assert (len(first), first.num_rollouts) == (64, 256)
    curriculum.observe(rolled(first, {group.prompt_id: 2 * int(index < 16) for index, group in enumerate(first)}))
    sizes = [group.num_rollouts for group in curriculum.plan(0)]
    assert sizes == [20] * 16 + [4] * 16


def test_the_oldest_complete_groups_train_and_the_others_wait() -> None:
    curriculum = make(
        "speed", pool_of(100), prompts_per_step=2, rollouts_per_step=48, prompts_per_round=3, num_continue=8
    )
    order: list[int] = []
    for step in range(4):
        while plan := curriculum.plan(step):
            order += [group.group_id for group in plan if group.reason == "screen"]
            curriculum.observe(rolled(plan, 2))
        trained = [group.group_id for group in curriculum.admitted(step)]
        assert trained == order[2 * step : 2 * step + 2]
        assert curriculum.held() == order[2 * step + 2 :]
    assert curriculum.metrics()["groups_trained"] == 8


@pytest.mark.parametrize(("max_staleness", "held"), [(None, [4, 4, 4, 4]), (2, [4, 4, 0, 0]), (0, [0, 0, 0, 0])])
def test_groups_that_waited_too_long_are_dropped(max_staleness: int | None, held: list[int]) -> None:
    sizes: dict[str, Any] = {"prompts_per_step": 2, "rollouts_per_step": 16, "max_rounds": 1}
    curriculum = make("speed", pool_of(20), **sizes, max_staleness=max_staleness)
    curriculum.observe(rolled(curriculum.plan(0), 2))
    assert curriculum.admitted(0) == []
    waiting = []
    for step in range(1, 5):
        curriculum.plan(step)  # what is planned from here on never comes back
        curriculum.admitted(step)
        waiting.append(len(curriculum.held()))
    assert waiting == held


def test_screening_rollouts_can_stay_out_of_training() -> None:
    options: dict[str, Any] = {"prompts_per_step": 2, "rollouts_per_step": 24, "train_on_screening": False}
    curriculum, trace = play(make("speed", pool_of(50), **options), SimulatedPolicy(default=0.3), range(5))
    rollouts = [group[2] for entry in trace if entry[0] == "admitted" for group in entry[2:]]
    assert rollouts == [tuple(range(4, 12))] * 10
    metrics = curriculum.metrics()
    assert metrics["rollouts_trained"] == 80


@pytest.mark.parametrize(("rate", "num_continue"), [(0.1, 20), (0.25, 20), (0.5, 4)])
def test_expected_cost_of_a_trained_prompt(rate: float, num_continue: int) -> None:
    """num_screen / a + num_continue; within 5% over 400 steps (fixed seed, buffers at the end left aside)."""
    size = 4 + num_continue
    curriculum = make("speed", pool_of(500), prompts_per_step=4, rollouts_per_step=4 * size, max_rounds=1000)
    play(curriculum, SimulatedPolicy(default=rate), range(400))
    metrics = curriculum.metrics()
    cost = metrics["rollouts"] / metrics["groups_trained"]
    assert metrics["groups_trained"] == 1600
    assert cost == pytest.approx(4 / (1 - rate**4 - (1 - rate) ** 4) + num_continue, rel=0.05)


def test_rewards_that_differ_are_enough() -> None:
    """Rewards of 3 and 7 all count as passes: the default band still accepts them, a narrower one cannot."""
    for high, expected in ((1.0, "continue"), (0.9, "screen")):
        curriculum = make("speed", pool_of(2), prompts_per_step=2, rollouts_per_step=24, high=high)
        plan = curriculum.plan(0)
        curriculum.observe(GroupOutcome(group.group_id, group.prompt_id, [3.0, 7.0] * 2) for group in plan)
        assert {group.reason for group in curriculum.plan(0)} == {expected}


def test_groups_no_larger_than_a_screen_have_nothing_to_continue() -> None:
    """Three rollouts each: screened whole, and what differs trains, if an admission of one's own does not mind."""
    for admission, trained in ((None, 2), (AdmitBand(0.5, 1.0), 0)):
        sizes: dict[str, Any] = {"prompts_per_step": 2, "rollouts_per_step": 6, "max_rounds": 3}
        curriculum = make("speed", pool_of(20), admission=admission, **sizes)
        while plan := curriculum.plan(0):
            assert [(group.reason, group.num_rollouts) for group in plan] == [("screen", 3)] * 2
            curriculum.observe(rolled(plan, 1))
        assert len(curriculum.admitted(0)) == trained


def test_two_groups_of_one_prompt_are_not_continued_at_once() -> None:
    """A screening that comes back a step late finds its prompt screened again."""
    curriculum = make("speed", pool_of(1), prompts_per_step=1, rollouts_per_step=8)
    late = rolled(curriculum.plan(0), 2)
    curriculum.admitted(0)
    curriculum.observe([*late, *rolled(curriculum.plan(1), 2)])
    plan = curriculum.plan(1)
    assert [(group.group_id, group.reason) for group in plan] == [(0, "continue")]
    curriculum.observe(rolled(plan, 2))
    assert [group.group_id for group in curriculum.admitted(1)] == [0]
    assert [(group.group_id, group.reason) for group in curriculum.plan(2)] == [(1, "continue")]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"num_screen": 1}, "screen"),
        ({"num_continue": 0}, "num_continue"),
        ({"num_continue": 1000}, "continuation"),
        ({"prompts_per_round": 0}, "round"),
        ({"low": 0.5, "high": 0.5}, "low"),
        ({"high": 1.5}, "high"),
        ({"max_staleness": -1}, "max_staleness"),
        ({"max_rounds": 0}, "max_rounds"),
        ({"advantage": "dr_grpo"}, "advantage"),
        ({"num_screen": 7, "train_on_screening": False}, "train_on_screening"),
    ],
)
def test_bad_options(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        make("speed", pool_of(8), prompts_per_step=2, rollouts_per_step=16, **options)


def test_the_advantage_is_an_option() -> None:
    assert make("speed", pool_of(8), prompts_per_step=2, rollouts_per_step=16).advantage == "rloo"
    assert make("speed", pool_of(8), prompts_per_step=2, rollouts_per_step=16, advantage="grpo").advantage == "grpo"


@pytest.mark.parametrize(
    ("size", "factors"), [(24, (5.03, 1.70, 1.29, 1.05, 1.003)), (8, (13.1, 3.13, 1.89, 1.19, 1.03))]
)
def test_training_on_screens_of_four_inflates_the_gradient(size: int, factors: tuple[float, ...]) -> None:
    """Expected RLOO gradient by the logit of a Bernoulli policy, given that the first four rollouts differ; else 1."""
    for p, factor in zip((0.01, 0.05, 0.1, 0.25, 0.5), factors, strict=True):
        gradient = accepted = 0.0
        for first, rest in itertools.product(range(1, 4), range(size - 3)):
            chance = math.comb(4, first) * math.comb(size - 4, rest) * p ** (first + rest)
            chance *= (1 - p) ** (size - first - rest)
            rewards = np.array([1.0] * (first + rest) + [0.0] * (size - first - rest))
            advantages = group_advantages(rewards, [0] * size, "rloo")
            gradient += chance * float(advantages @ (rewards - p)) / size / (p * (1 - p))
            accepted += chance
        assert gradient / accepted == pytest.approx(factor, rel=4e-3)
