"""A share of uniform: prompts in passes of their own, in fractions that add up, and on shards."""

from typing import Any

import numpy as np
import pytest

from didact import Curriculum, make
from didact.sharded.pool import ShardedPool
from didact.testing import SimulatedPolicy, play, pool_of

pytestmark = pytest.mark.filterwarnings("ignore::didact.silence.NothingLearnt")
SIZES: dict[str, Any] = {"prompts_per_step": 8, "rollouts_per_step": 64}


def nearest_half(**options: Any) -> tuple[Curriculum, SimulatedPolicy]:
    """PCL on a pool of 400 whose pass rates follow from the features: it trains on a few in the middle."""
    feature = np.linspace(-1, 1, 400)
    pool = pool_of(400, features=feature)
    rates = 1 / (1 + np.exp(-5 * feature))
    curriculum = make("pcl", pool, candidates=50, **SIZES, **options)
    return curriculum, SimulatedPolicy(dict(zip(pool.ids, rates.tolist(), strict=True)))


def test_a_share_of_uniform_brings_prompts_that_the_method_never_would() -> None:
    """100 steps of 8 prompts, a quarter of them in passes: 200 of 400."""
    seen = {}
    for share in (0.0, 0.25):
        curriculum, _ = play(*nearest_half(uniform_share=share), range(100))
        rollouts = curriculum.pass_rates().num_rollouts
        seen[share] = int((rollouts > 0).sum())
        assert rollouts.sum() == 100 * 64
    assert seen[0.0] < 120
    assert 200 <= seen[0.25] < 200 + seen[0.0]


def test_fractions_of_a_prompt_add_up() -> None:
    curriculum, policy = nearest_half(uniform_share=0.05)  # 0.4 prompts a step
    came = []
    for step in range(30):
        play(curriculum, policy, [step])
        came.append(curriculum.memory.passes.state_dict()["cursor"])
    assert came[:6] == [0, 0, 1, 1, 2, 2]
    assert came[-1] == 12


def test_all_of_it_is_uniform() -> None:
    curriculum, policy = nearest_half(uniform_share=1.0)
    curriculum, _ = play(curriculum, policy, range(50))
    assert set(curriculum.pass_rates().num_rollouts.tolist()) == {8}


def test_a_share_of_uniform_runs_on_shards() -> None:
    def built() -> Curriculum:
        pool = ShardedPool.split([f"prompt-{index}" for index in range(60)], 3)
        return make("cures", pool, steps_per_iteration=2, uniform_share=0.5, token_price=0.5, **SIZES)

    curriculum, _ = play(built(), SimulatedPolicy(), range(4))
    resumed = built()
    resumed.load_state_dict(curriculum.state_dict())
    for one in (curriculum, resumed):
        play(one, SimulatedPolicy(), range(4, 7))
    assert curriculum.state_dict()["digest"] == resumed.state_dict()["digest"]
