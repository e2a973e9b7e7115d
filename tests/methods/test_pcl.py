"""PCL: candidates by a value that is learnt from features."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from didact import Curriculum, PromptPool, make
from didact.sharded.pool import ShardedPool
from didact.testing import CurriculumContract, SimulatedPolicy, outcomes_of, play, pool_of

SIZES: dict[str, Any] = {"prompts_per_step": 8, "rollouts_per_step": 64}


def features(ids: Sequence[str]) -> dict[str, Any]:
    """Two features for each prompt."""
    last = np.array([ord(name[-1]) for name in ids], dtype=np.float32)
    return {"features": np.stack([last % 7, last % 3], axis=1)}


class TestPCL(CurriculumContract):
    keeps_budget = True
    columns = staticmethod(features)

    @staticmethod
    def build(pool: PromptPool, **options: Any) -> Curriculum:
        return make("pcl", pool, **options)


def steps(positions: np.ndarray) -> np.ndarray:
    """A feature of one's own."""
    return positions % 10 / 10


class TestPCLWithFeaturesOfOnesOwn(CurriculumContract):
    keeps_budget = True

    @staticmethod
    def build(pool: PromptPool, **options: Any) -> Curriculum:
        return make("pcl", pool, features=steps, candidates=2, **options)


def ladder(size: int = 1000) -> tuple[PromptPool, np.ndarray, SimulatedPolicy]:
    """A pool whose pass rates rise along its one feature, and its policy."""
    feature = np.linspace(-1, 1, size)
    rates = 1 / (1 + np.exp(-5 * feature))
    pool = pool_of(size, features=feature)
    return pool, rates, SimulatedPolicy(dict(zip(pool.ids, rates.tolist(), strict=True)))


def drawn(curriculum: Curriculum, step: int) -> np.ndarray:
    return curriculum.pool.positions([group.prompt_id for group in curriculum.plan(step)])


@pytest.mark.parametrize("target", [0.5, 0.2])
def test_it_trains_on_what_it_predicts_to_be_nearest_to_the_target(target: float) -> None:
    pool, rates, policy = ladder()
    curriculum = make("pcl", pool, target=target, **SIZES)
    away = []
    for step in range(60):
        plan = curriculum.plan(step)
        away.append(np.abs(rates[pool.positions([group.prompt_id for group in plan])] - target).mean())
        curriculum.observe(policy.roll_out(plan))
        curriculum.admitted(step)
    assert np.mean(away[:2]) > 0.25  # a random batch
    assert np.mean(away[30:]) < 0.17  # the nearest quarter of the pool is at 0.14 and 0.10 on average


def test_the_batch_is_the_best_of_its_candidates() -> None:
    """k = 4 of 32 prompts at a batch of 8 is the whole pool."""
    pool = pool_of(32, features=np.arange(32))
    curriculum = make("pcl", pool, **SIZES)
    plan = curriculum.plan(0)
    curriculum.observe(outcomes_of(plan, lambda num: [1.0] * num))
    curriculum.memory.value.weights = np.array([4.0, 0.0])  # V is 1/2 in the middle
    curriculum.memory.news = {}
    assert sorted(drawn(curriculum, 1)) == list(range(12, 20))


def test_one_candidate_a_place_is_uniform() -> None:
    pool, _, policy = ladder(40)
    curriculum, _ = play(make("pcl", pool, candidates=1, **SIZES), policy, range(10))
    assert set(curriculum.pass_rates().num_rollouts.tolist()) == {16}


def test_what_it_believes_is_what_is_said() -> None:
    pool, rates, policy = ladder()
    curriculum, _ = play(make("pcl", pool, **SIZES), policy, range(60))
    said = curriculum.pass_rates()
    seen = said.num_rollouts > 0
    own = make("uniform", pool, **SIZES).pass_rates()
    assert np.abs(said.mean - rates)[~seen].mean() < 0.1 < np.abs(own.mean - rates)[~seen].mean()
    assert set(said.std.tolist()) == {curriculum.memory.value.error}
    plan = curriculum.plan(60)
    positions = pool.positions([group.prompt_id for group in plan])
    predicted = curriculum.memory.value.predict(pool.features[positions])
    assert [group.pass_rate for group in plan] == pytest.approx(predicted.tolist())


def test_a_pool_in_shards_runs_saves_and_loads() -> None:
    ids = [f"prompt-{index}" for index in range(60)]

    def built() -> Curriculum:
        return make("pcl", ShardedPool.split(ids, 3, features=np.arange(60.0)), **SIZES)

    curriculum, _ = play(built(), SimulatedPolicy(), range(4))
    resumed = built()
    resumed.load_state_dict(curriculum.state_dict())
    for one in (curriculum, resumed):
        one, _ = play(one, SimulatedPolicy(), range(4, 7))
    assert curriculum.state_dict()["digest"] == resumed.state_dict()["digest"]


def test_prompts_that_join_are_predicted_like_any_other() -> None:
    pool, _, policy = ladder(100)
    curriculum, _ = play(make("pcl", pool, **SIZES), policy, range(40))
    pool.extend(["late"], features=[-1.0])
    mean = curriculum.pass_rates().mean
    assert mean[100] == mean[0]


def test_a_pool_without_features_says_how_to_give_them() -> None:
    with pytest.raises(ValueError, match=r"the option features, .* or by the pool's, .*PromptPool\(ids, features="):
        make("pcl", pool_of(8), **SIZES)
    with pytest.raises(ValueError, match="features must be a function of positions, got list"):
        make("pcl", pool_of(8), features=[1.0] * 8, **SIZES)
    with pytest.raises(ValueError, match="features gave 2 rows for 8 positions"):
        make("pcl", pool_of(8), features=lambda positions: [1.0, 2.0], **SIZES)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"candidates": 0}, "candidates must be a whole number from 1"),
        ({"target": 1.5}, "target must be a number from 0 to 1"),
        ({"learning_rate": 9}, "learning_rate must be more than 0 and at most 8, got 9"),
    ],
)
def test_bad_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make("pcl", pool_of(8, features=np.arange(8)), **SIZES, **options)
