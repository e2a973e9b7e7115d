"""Shards in Ray actors: the run that shards in one process give, also when actors are killed on the way."""

import itertools
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest

ray = pytest.importorskip("ray")

from didact import Curriculum, make  # noqa: E402
from didact.adapters.ray.shards import RayShards  # noqa: E402
from didact.sharded import ShardedPool  # noqa: E402
from didact.sharded.shards import LocalShards, Shards  # noqa: E402
from didact.testing import SimulatedPolicy, play  # noqa: E402

pytestmark = pytest.mark.slow
NUM = 4


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.init(num_cpus=16, include_dashboard=False, object_store_memory=200_000_000, log_to_driver=False)
    yield
    ray.shutdown()


def part(index: int) -> dict:
    return {"ids": [f"{index}/{row}" for row in range(50 + index)], "prompt_tokens": np.arange(50 + index)}


SOURCES = [partial(part, index) for index in range(NUM)]


def run(shards: Shards, method: str, between=lambda curriculum: curriculum) -> list:
    """A run in which the pool grows and the state is saved and loaded half way."""
    pool = ShardedPool(shards)

    def build() -> Curriculum:
        return make(method, pool, prompts_per_step=8, rollouts_per_step=64, seed=3)

    curriculum, trace = play(build(), SimulatedPolicy(), range(4), between=between)
    pool.extend(["x", "y"], prompt_tokens=[1, 2])
    curriculum, more = play(curriculum, SimulatedPolicy(), range(4, 8), between=between)
    fresh = build()
    fresh.load_state_dict(curriculum.state_dict())
    return trace + more + play(fresh, SimulatedPolicy(), range(8, 12), between=between)[1]


@pytest.mark.parametrize("method", ["cures", "speed"])
def test_the_run_is_that_of_one_process(method: str) -> None:
    assert run(RayShards(SOURCES), method) == run(LocalShards(SOURCES), method)


@pytest.mark.parametrize("snapshot_every", [1, 10**9])
def test_killed_actors_lose_nothing(snapshot_every: int) -> None:
    """Four actors are killed on the way, each before some call to the curriculum, and Ray starts them again."""
    shards = RayShards(SOURCES, snapshot_every=snapshot_every)
    calls = itertools.count()
    victims = {5: 0, 16: 1, 27: 2, 39: 3}

    def kill(curriculum: Curriculum) -> Curriculum:
        victim = victims.pop(next(calls), None)
        if victim is not None:
            ray.kill(shards.actors[victim], no_restart=False)
        return curriculum

    assert run(shards, "cures", kill) == run(LocalShards(SOURCES), "cures")
    assert not victims


def test_what_a_source_gives_is_refused_with_its_own_words() -> None:
    with pytest.raises(ValueError, match="duplicate prompt id 'a'"):
        ShardedPool(RayShards([lambda: {"ids": ["a", "a"]}]))
    with pytest.raises(ValueError, match="duplicate prompt id 'a'"):
        ShardedPool(RayShards([lambda: {"ids": ["a", "b"]}, lambda: {"ids": ["c", "a"]}]))
    pool = ShardedPool(RayShards([lambda: {"ids": ["a", "b"]}]))
    with pytest.raises(ValueError, match="duplicate prompt id 'z'"):
        pool.extend(["z", "z"])
    assert len(pool) == 2
