"""Stores in shards: they go with their curriculum, and come back from states, files and snapshots."""

import gc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from didact import make
from didact.sharded import ShardedPool
from didact.sharded.shards import LocalShards, Shard
from didact.state import load_state, save_state, seal
from didact.testing import SimulatedPolicy, play, pool_of
from didact.testing.contract import same_state
from tests.sharded.laws import SIZES, part, sharded


def test_new_shards_may_follow_when_a_run_goes_on() -> None:
    """A state of two shards loads on the same two and a third."""
    first, second, third = (partial(part, [f"{name}-{index}" for index in range(10)]) for name in "abc")
    curriculum, _ = play(make("cures", ShardedPool([first, second]), **SIZES), SimulatedPolicy(), range(3))
    more = make("cures", ShardedPool([first, second, third]), **SIZES)
    more.load_state_dict(curriculum.state_dict())
    curriculum, _ = play(more, SimulatedPolicy(), range(3, 30))
    assert (curriculum.pass_rates().num_rollouts[20:] > 0).all()


def test_stores_go_with_the_curriculum() -> None:
    pool = sharded(20, 2)
    for _ in range(3):
        make("cures", pool, **SIZES).plan(0)
    pool.shards.ask_each("about")
    assert isinstance(pool.shards, LocalShards)
    assert [len(shard._targets) for shard in pool.shards._shards] == [1, 1]


def test_a_state_in_files_of_the_shards(tmp_path: Path) -> None:
    ids, build = pool_of(40).ids.tolist(), partial(make, "cures", steps_per_iteration=3, reset=False, window=3, **SIZES)
    curriculum, _ = play(build(ShardedPool.split(ids, 3, states=tmp_path / "new")), SimulatedPolicy(), range(3))
    state = curriculum.state_dict()
    assert curriculum.state_dict() is not state
    assert len(list((tmp_path / "new").iterdir())) == 3, "the same state has the same files"
    save_state(tmp_path / "state", state)
    trace = play(curriculum, SimulatedPolicy(), range(3, 6))[1]
    fresh = build(ShardedPool.split(ids, 3, states=tmp_path / "new"))
    fresh.load_state_dict(load_state(tmp_path / "state"))
    assert play(fresh, SimulatedPolicy(), range(3, 6))[1] == trace
    with pytest.raises(ValueError, match="give the pool the folder"):
        build(ShardedPool.split(ids, 3)).load_state_dict(state)
    with pytest.raises(FileNotFoundError):
        build(ShardedPool.split(ids, 3, states=tmp_path)).load_state_dict(state)


@pytest.mark.parametrize("method", ["cures", "uniform"])
def test_a_state_that_is_refused_leaves_the_shards_as_they_were(method: str) -> None:
    """One shard takes its part, the next refuses: nothing has changed, and nothing is left of the attempt."""
    pool = sharded(20, 2)
    curriculum, _ = play(make(method, pool, **SIZES), SimulatedPolicy(), range(3))
    state = {name: value for name, value in curriculum.state_dict().items() if name != "digest"}
    entries = state["belief"]["shards"]
    other, _ = play(make(method, sharded(20, 2), **SIZES), SimulatedPolicy(seed=1), range(2))
    before = other.state_dict()
    assert isinstance(other.pool, ShardedPool)
    assert isinstance(other.pool.shards, LocalShards)
    stores = [len(shard._targets) for shard in other.pool.shards._shards]
    walk = state["walk"]
    for bad in (
        {"belief": {"size": 20, "shards": [entries[0], {**entries[1], "positions": entries[1]["positions"] + 99}]}},
        {"belief": {"size": 20, "shards": [entries[0], {**entries[1], "size": 10**12}]}},
        {"belief": {"size": 20, "shards": [entries[0], {**entries[1], "rows": {**entries[1]["rows"], "size": 10**9}}]}},
        {"belief": {"size": 20, "shards": entries[:1]}},
        {"walk": {**walk, "taken": walk["taken"] + 1}},
        {"walk": {**walk, "taken": walk["taken"][::-1] - [9, -9]}},
    ):
        with pytest.raises(ValueError):
            other.load_state_dict(seal({**state, **bad}))
        assert same_state(before, other.state_dict())
        gc.collect()  # the error holds what was being loaded
        other.pool.shards.ask_each("about")
        assert [len(shard._targets) for shard in other.pool.shards._shards] == stores
    other.load_state_dict(seal(state))
    assert same_state(curriculum.state_dict(), other.state_dict())
    gc.collect()
    other.pool.shards.ask_each("about")
    assert [len(shard._targets) for shard in other.pool.shards._shards] == stores
    assert play(other, SimulatedPolicy(), range(3, 9))[1] == play(curriculum, SimulatedPolicy(), range(3, 9))[1]


def test_a_file_of_a_shard_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    build = partial(make, "uniform", **SIZES)
    curriculum, _ = play(build(ShardedPool.split(pool_of(20).ids, 2, states=tmp_path)), SimulatedPolicy(), range(3))
    state = curriculum.state_dict()
    first, second = (tmp_path / entry["file"] for entry in state["belief"]["shards"])
    second.write_bytes(first.read_bytes())
    fresh = build(ShardedPool.split(pool_of(20).ids, 2, states=tmp_path))
    with pytest.raises(ValueError, match="does not hold what its name says"):
        fresh.load_state_dict(state)
    second.unlink()
    with pytest.raises(FileNotFoundError):
        fresh.load_state_dict(state)
    assert fresh.step == -1
    assert same_state(curriculum.state_dict(), state)  # whose file is written anew
    fresh.load_state_dict(state)
    assert fresh.step == 2


# What a shard that was lost has to come back from --------------------------------------------------------------------


def test_a_snapshot_and_what_was_told_since_make_the_same_shard() -> None:
    """A run in which shards are thrown away and made anew between any two messages."""

    def run(shards: LocalShards) -> list:
        pool = ShardedPool(shards)
        curriculum, trace = play(make("cures", pool, steps_per_iteration=3, **SIZES), SimulatedPolicy(), range(4))
        pool.extend(["x", "y"])
        return trace + play(curriculum, SimulatedPolicy(), range(4, 9))[1]

    sources = [partial(part, [f"{name}-{index}" for index in range(15)]) for name in "ab"]
    assert run(Forgetful(sources)) == run(LocalShards(sources))


class Forgetful(LocalShards):
    """Each shard is rebuilt from its source and its snapshot before every message."""

    def __init__(self, sources: list[Callable]) -> None:
        super().__init__(sources)
        self._sources = sources

    def _deliver(self, messages):
        for index, source in enumerate(self._sources if hasattr(self, "_sources") else ()):
            shard = Shard(source)
            shard.restore(self._shards[index].snapshot())
            self._shards[index] = shard
        return super()._deliver(messages)
