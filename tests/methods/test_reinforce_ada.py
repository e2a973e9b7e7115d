"""Reinforce-Ada: rounds until a prompt has enough, and a part of its group that trains."""

from typing import Any

import numpy as np
import pytest

from didact import make
from didact.outcomes import GroupOutcome
from didact.testing import MethodContract, SimulatedPolicy, VariantContract, play, pool_of


class TestReinforceAda(MethodContract):
    @staticmethod
    def build(pool, **options):
        return make("reinforce_ada", pool, **options)


class TestReinforceAdaPositive(VariantContract):
    @staticmethod
    def build(pool, **options):
        return make("reinforce_ada", pool, mode="positive", keep=4, max_rounds=3, **options)


def one_prompt(passes: list[int], mode: str) -> tuple[int, list[float], float]:
    """Rounds taken, advantages of what is kept, and the mean, where round k has passes[k] passes of 8."""
    curriculum = make("reinforce_ada", pool_of(3), prompts_per_step=1, rollouts_per_step=8, keep=4, mode=mode)
    rewards: list[float] = []
    rounds = 0
    while plan := curriculum.plan(0):
        (group,) = plan
        assert (group.num_rollouts, group.reason) == (8, "continue" if rounds else "train")
        new = [0.0] * (8 - passes[rounds]) + [1.0] * passes[rounds]
        rewards += new
        rounds += 1
        curriculum.observe([GroupOutcome(group.group_id, group.prompt_id, new)])
    (admitted,) = curriculum.admitted(0)
    assert admitted.baseline is not None
    metrics = curriculum.metrics()
    assert metrics["rollouts_trained"] == 4
    assert metrics["rollouts_discarded"] == 8 * rounds - 4
    return rounds, sorted(rewards[index] - admitted.baseline for index in admitted.rollouts)[::-1], admitted.baseline


@pytest.mark.parametrize(
    ("passes", "mode", "rounds", "advantages", "mean"),
    [
        pytest.param([0, 1, 1], "balance", 3, [0.9167, 0.9167, -0.0833, -0.0833], 0.0833, id="RV1 balance"),
        pytest.param([0, 1, 1], "positive", 2, [0.9375, -0.0625, -0.0625, -0.0625], 0.0625, id="RV1 positive"),
        pytest.param([0, 0, 1, 0], "balance", 4, [0.96875, -0.03125, -0.03125, -0.03125], 0.03125, id="RV2"),
        pytest.param([1, 2], "balance", 2, [0.8125, 0.8125, -0.1875, -0.1875], 0.1875, id="RV3"),
        pytest.param([0] * 4, "balance", 4, [0.0] * 4, 0.0, id="all fail"),
        pytest.param([8] * 4, "balance", 4, [0.0] * 4, 1.0, id="all pass, balance"),
        pytest.param([8], "positive", 1, [0.0] * 4, 1.0, id="all pass, positive"),
    ],
)
def test_vectors(passes: list[int], mode: str, rounds: int, advantages: list[float], mean: float) -> None:
    found = one_prompt(passes, mode)
    assert found[0] == rounds
    assert found[1] == pytest.approx(advantages, abs=1e-4)
    assert found[2] == pytest.approx(mean, abs=1e-4)


def test_the_first_of_each_kind_are_kept() -> None:
    curriculum = make("reinforce_ada", pool_of(3), prompts_per_step=1, rollouts_per_step=8, keep=4)
    (group,) = curriculum.plan(0)
    rewards = [0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0]
    curriculum.observe([GroupOutcome(group.group_id, group.prompt_id, rewards)])
    assert curriculum.admitted(0)[0].rollouts == (0, 1, 3, 5)


@pytest.mark.parametrize(
    ("mode", "rate", "expected"),
    [
        ("balance", 0.05, 27.31),
        ("balance", 0.1, 20.96),
        ("balance", 0.5, 8.57),
        ("positive", 0.05, 19.16),
        ("positive", 0.25, 8.89),
    ],
)
def test_expected_rollouts_of_a_prompt(mode: str, rate: float, expected: float) -> None:
    """The cost table of the paper's setting (8 a round, 4 rounds, keep 4); within 3% over 2,000 prompts."""
    options: dict[str, Any] = {"prompts_per_step": 20, "rollouts_per_step": 80, "mode": mode}
    curriculum = make("reinforce_ada", pool_of(200), **options)
    play(curriculum, SimulatedPolicy(default=rate), range(100))
    metrics = curriculum.metrics()
    assert metrics["groups_trained"] == 2000
    assert metrics["rollouts_trained"] == 8000
    assert metrics["rollouts"] / 2000 == pytest.approx(expected, rel=0.03)


def test_a_round_may_take_several_plans() -> None:
    """Six prompts at 8 rollouts, 24 a plan: two plans a round, and no prompt is ahead of another by two rounds."""
    curriculum = make("reinforce_ada", pool_of(6), prompts_per_step=6, rollouts_per_step=24)
    _, trace = play(curriculum, SimulatedPolicy(default=0.0), [0])
    plans = [entry[3:] for entry in trace if entry[0] == "plan" and entry[3:]]
    assert [len(plan) for plan in plans] == [3] * 8
    for first, second in zip(plans[::2], plans[1::2], strict=True):
        assert len({group[1] for group in first + second}) == 6
    assert [len(group[2]) for entry in trace if entry[0] == "admitted" for group in entry[2:]] == [4] * 6


def test_the_baseline_is_the_mean_reward_of_the_whole_group() -> None:
    curriculum = make("reinforce_ada", pool_of(2), prompts_per_step=1, rollouts_per_step=8, keep=2)
    (group,) = curriculum.plan(0)
    rewards = [0.0, 0.9, 0.3, 0.6, 0.5, 0.8, float("nan"), 0.1]
    curriculum.observe([GroupOutcome(group.group_id, group.prompt_id, rewards)])
    (admitted,) = curriculum.admitted(0)
    assert admitted.rollouts == (0, 1)
    assert admitted.baseline == pytest.approx(float(np.nanmean(rewards)))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"mode": "balanced"}, "mode"),
        ({"rollouts_per_round": 1}, "rollouts_per_round"),
        ({"max_rounds": 0}, "max_rounds"),
        ({"keep": 1}, "keep"),
        ({"keep": 33}, "keep"),
    ],
)
def test_bad_options(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        make("reinforce_ada", pool_of(8), prompts_per_step=2, rollouts_per_step=16, **options)
