"""Methods that say they can work on a sharded pool do: they run, save and load there."""

import numpy as np
import pytest

from didact import METHODS, Curriculum, make
from didact.sharded.pool import ShardedPool
from didact.testing import SimulatedPolicy, play

pytestmark = pytest.mark.filterwarnings("ignore::didact.silence.NothingLearnt")
SIZES = {"prompts_per_step": 4, "rollouts_per_step": 32}
SHARDABLE = [name for name, method in METHODS.items() if method.shardable]


def pool_of(size: int) -> ShardedPool:
    rows = np.arange(size)
    columns = {"difficulty": rows * 7 % 5, "features": np.stack([np.cos(rows), np.sin(rows)], axis=1)}
    return ShardedPool.split(
        [f"prompt-{row}" for row in rows], 3, prompt_tokens=rows + 1, source=list("ab" * (size // 2)), **columns
    )


@pytest.mark.parametrize("method", SHARDABLE)
def test_it_runs_saves_and_loads_in_shards(method: str) -> None:
    def reloaded(curriculum: Curriculum) -> Curriculum:
        fresh = make(method, curriculum.pool, **SIZES)
        fresh.load_state_dict(curriculum.state_dict())
        return fresh

    policy = SimulatedPolicy({f"prompt-{row}": row / 24 for row in range(24)})
    straight, trace = play(make(method, pool_of(24), **SIZES), policy, range(9))
    _, same = play(make(method, pool_of(24), **SIZES), policy, range(9), between=reloaded)
    assert trace == same
    assert straight.metrics()["groups_trained"] > 0
    assert np.isfinite(straight.pass_rates().mean).all()


@pytest.mark.parametrize("method", SHARDABLE)
def test_prompts_that_join_are_planned(method: str) -> None:
    pool = pool_of(6)
    curriculum, _ = play(make(method, pool, **SIZES), SimulatedPolicy(default=0.5), range(3))
    joined = [f"late-{row}" for row in range(6)]
    columns = {"difficulty": [1] * 6, "features": np.ones((6, 2)), "prompt_tokens": [5] * 6, "source": ["a"] * 6}
    pool.extend(joined, **columns)
    _, trace = play(curriculum, SimulatedPolicy(default=0.5), range(3, 12))
    planned = {group[1] for entry in trace if entry[0] == "plan" for group in entry[3:]}
    assert planned & set(joined)
    assert len(curriculum.pass_rates().mean) == 12
