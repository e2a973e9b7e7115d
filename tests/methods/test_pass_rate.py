"""Another model's pass rates as the prior of the belief: who uses them, who does not, and what a state says."""

import math
from typing import Any

import numpy as np
import pytest

from didact import METHODS, GroupOutcome, PromptPool, make
from didact.sharded import ShardedPool
from didact.testing import SimulatedPolicy, outcomes_of, play, pool_of

SIZES = {"prompts_per_step": 4, "rollouts_per_step": 32}
RATES = [0.0, 0.25, 0.5, 1.0, None, math.nan, 0.75, 0.1]
BELIEVED = [0.01, 0.25, 0.5, 0.99, 0.5, 0.5, 0.75, 0.1]


def pool_with_columns(size: int = 40, **more: Any) -> PromptPool:
    columns = {"difficulty": range(size), "prompt_tokens": range(1, size + 1), "features": range(size)}
    return pool_of(size, source=[f"source-{index % 2}" for index in range(size)], **columns, **more)


def plans(trace: list) -> list:
    """Who is rolled out how often, without what is believed about them."""
    return [[group[:3] for group in entry[3:]] for entry in trace if entry[0] == "plan"]


def test_the_belief_starts_where_another_model_is() -> None:
    curriculum = make("uniform", pool_of(8, pass_rate=RATES), prompts_per_step=8, rollouts_per_step=32)
    assert curriculum.pass_rates().mean == pytest.approx(BELIEVED, rel=1e-6)
    assert (curriculum.pass_rates().evidence == 0).all()
    plan = curriculum.plan(0)
    assert {group.prompt_id: group.pass_rate for group in plan}["prompt-1"] == pytest.approx(0.25)
    curriculum.observe(outcomes_of(plan, lambda num: [1.0] * num))
    # Four passes on top of four pseudo-rollouts; one of two on top of one pass and one failure where nothing is known.
    assert curriculum.pass_rates().mean[[1, 4]] == pytest.approx([(4 * 0.25 + 4) / 8, 5 / 6])
    assert curriculum.options["prior_weight"] == 4.0


def test_its_weight_is_an_option() -> None:
    def believed(**options: Any) -> list[float]:
        return make("uniform", pool_of(8, pass_rate=RATES), **SIZES, **options).pass_rates().mean.tolist()

    assert believed(prior_weight=1000) == pytest.approx(BELIEVED, rel=1e-6)
    assert believed(prior_weight=0) == [0.5] * 8
    assert believed(prior=(3, 1))[4:6] == [0.75] * 2
    assert believed(prior=(0, 0))[:2] == pytest.approx([0.01, 0.25])
    for weight in (-1, math.nan, "4", True, 1e-300):
        with pytest.raises(ValueError, match="prior_weight must be"):
            believed(prior_weight=weight)


@pytest.mark.parametrize("method", METHODS)
def test_without_the_column_nothing_changes(method: str) -> None:
    one, other = make(method, pool_with_columns(), **SIZES), make(method, pool_with_columns(), **SIZES, prior_weight=9)
    assert "prior_weight" not in one.options
    policy = SimulatedPolicy(default=0.4)
    assert play(one, policy, range(6))[1] == play(other, policy, range(6))[1]
    assert one.state_dict()["digest"] == other.state_dict()["digest"]


@pytest.mark.parametrize("method", METHODS)
def test_which_methods_plan_by_it(method: str) -> None:
    """As docs/own-loop.md lists them. Ranks of the rates are those of no position."""
    rates = (np.arange(40) * 17 % 40) / 39
    policy = SimulatedPolicy(default=0.4)
    traces = [
        play(make(method, pool_with_columns(pass_rate=column), **SIZES), policy, range(6))[1]
        for column in (rates, rates[::-1])
    ]
    assert (plans(traces[0]) != plans(traces[1])) == (method in {"didact", "mopps", "bots"})


def test_no_pass_rate_stands_for_a_pilot() -> None:
    """CurES pilots all, and believes its pilots alone; with a weight, its rates shift rho and sigma, and no more."""
    pool = pool_of(8, pass_rate=[0.9] * 8)
    for options, mean in (
        ({}, 0.0),
        ({"prior_weight": 4}, 4 * 0.9 / 8),
        ({"prior_weight": 4, "reset": False}, 3.6 / 8),
    ):
        curriculum = make("cures", pool, prompts_per_step=2, rollouts_per_step=8, steps_per_iteration=4, **options)
        piloted = []
        while (plan := curriculum.plan(0)) and all(group.reason == "pilot" for group in plan):
            piloted += [group.prompt_id for group in plan]
            curriculum.observe(outcomes_of(plan, lambda num: [0.0] * num))
        assert sorted(piloted) == sorted(pool.ids)
        assert curriculum.pass_rates().mean == pytest.approx([mean] * 8)


def test_mopps_forgets_towards_it_and_offline_rates_take_its_place() -> None:
    rates = np.linspace(0.1, 0.9, 8)
    for more, alpha, total in (
        ({}, 4 * rates, 4),
        ({"offline_rates": rates, "offline_weight": 10}, 1 + 10 * rates, 12),
    ):
        believed = make("mopps", pool_of(8, pass_rate=rates), **SIZES, **more).pass_rates()
        assert believed.mean == pytest.approx(alpha / total, rel=1e-6)
        assert believed.std**2 == pytest.approx(alpha * (total - alpha) / total**2 / (total + 1), rel=1e-6)


def test_adarft_takes_it_where_there_is_no_difficulty() -> None:
    rates = np.linspace(0, 1, 12)
    by_rate, by_difficulty = (
        make("adarft", pool_of(12, **column), **SIZES)
        for column in ({"pass_rate": rates}, {"difficulty": 100 * (1 - np.float32(rates))})
    )
    policy = SimulatedPolicy(default=0.4)
    assert plans(play(by_rate, policy, range(6))[1]) == plans(play(by_difficulty, policy, range(6))[1])
    with pytest.raises(
        ValueError, match="method 'adarft' needs 'pass_rate' of every prompt, and that of 'prompt-1' in row 1"
    ):
        make("adarft", pool_of(4, pass_rate=[0.5, None, 0.5, 0.5]), **SIZES)


def test_a_column_that_cannot_be_read_is_said_or_refused_where_it_was_asked_for() -> None:
    pool = pool_of(2, pass_rate=[0.5, 12.5])
    with pytest.warns(
        UserWarning, match=r"'pass_rate' must be shares of passes from 0 to 1, got 12\.5 in row 1; the be"
    ):
        curriculum = make("uniform", pool, prompts_per_step=2, rollouts_per_step=8)
    assert curriculum.pass_rates().mean.tolist() == [0.5, 0.5]
    with pytest.raises(ValueError, match=r"got 12\.5 in row 1"):
        make("uniform", pool, prompts_per_step=2, rollouts_per_step=8, prior_weight=2)
    make("uniform", pool, prompts_per_step=2, rollouts_per_step=8, prior_weight=0)


def test_a_state_knows_the_rates_it_was_made_with() -> None:
    def of(rates: list[float] | None) -> Any:
        return make("mopps", pool_of(4, **({} if rates is None else {"pass_rate": rates})), **SIZES)

    state = play(of([0.1, 0.2, 0.3, 0.4]), SimulatedPolicy(), range(3))[0].state_dict()
    of([0.1, 0.2, 0.3, 0.4]).load_state_dict(state)
    for other in ([0.1, 0.2, 0.3, 0.5], None):
        with pytest.raises(ValueError, match=r"another pool|prior_weight"):
            of(other).load_state_dict(state)


def test_prompts_that_join_bring_theirs() -> None:
    pool = pool_of(2, pass_rate=[0.2, 0.3])
    curriculum = make("mopps", pool, prompts_per_step=2, rollouts_per_step=8)
    curriculum.plan(0)
    state = curriculum.state_dict()
    pool.extend(["new", "unknown"], pass_rate=[0.9, None])
    curriculum.plan(1)
    assert curriculum.pass_rates().mean == pytest.approx([0.2, 0.3, 0.9, 0.5])
    again = make("mopps", pool, prompts_per_step=2, rollouts_per_step=8)
    again.load_state_dict(state)
    again.plan(1)
    assert again.state_dict()["digest"] == curriculum.state_dict()["digest"]


def test_a_sharded_pool_believes_the_same() -> None:
    ids, policy = [f"prompt-{index}" for index in range(8)], SimulatedPolicy(default=0.4)
    pools = PromptPool(ids, pass_rate=RATES), ShardedPool.split(ids, 3, pass_rate=RATES)
    beliefs = [pool.belief(prior_weight=4.0) for pool in pools]
    everybody = np.arange(8)
    for step in range(2):
        for name in ("mean", "spread"):
            one, other = (getattr(belief, name)(everybody, step=step) for belief in beliefs)
            assert one.tolist() == other.tolist()
        snapshots = [belief.pass_rates(np.array(ids, dtype=object), step=step) for belief in beliefs]
        for column in ("mean", "std"):
            assert getattr(snapshots[0], column).tolist() == getattr(snapshots[1], column).tolist()
        for belief in beliefs:
            belief.count(np.array([1, 6]), np.array([2, 2]), np.array([0, 0]), step=step)
            belief.observe(np.array([1, 6]), np.array([2, 2]), np.array([1.0, 0.0, 1.0, 1.0]), step=step)
    curriculum = make("uniform", pools[1], prompts_per_step=4, rollouts_per_step=16)
    again = make("uniform", pools[1], prompts_per_step=4, rollouts_per_step=16)
    again.load_state_dict(play(curriculum, policy, range(3))[0].state_dict())
    assert again.pass_rates().mean.tolist() == curriculum.pass_rates().mean.tolist()


def test_columns_of_a_sharded_pool_are_refused_when_they_are_read() -> None:
    pool = ShardedPool.split([1, 2, 3, 4], 2, difficulty=[1, 2, 3, "hard"], prompt_tokens=[5, None, 7, 8])
    assert pool.ids[:].tolist() == ["1", "2", "3", "4"]
    with pytest.raises(ValueError, match=r"shard 1: column 'difficulty' must be numbers, .* got 'hard' in row 1"):
        pool.difficulty  # noqa: B018
    assert np.array_equal(pool.prompt_tokens[:], [5, math.nan, 7, 8], equal_nan=True)  # type: ignore[index]
    assert [pool.prompt_length(position) for position in range(4)] == [5, None, 7, 8]
    curriculum = make("uniform", pool, prompts_per_step=4, rollouts_per_step=8)
    curriculum.observe(GroupOutcome(each.group_id, each.prompt_id, [1.0, 0.0]) for each in curriculum.plan(0))
    assert curriculum.metrics()["prompt_tokens"] == 2 * (5 + 7 + 8)
