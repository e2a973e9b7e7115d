"""Sharded pools keep the contract of every method, and runs on them are the same in law."""

from functools import partial

import numpy as np
import pytest

from didact import METHODS, make
from didact.desk import Dispatcher
from didact.sharded import ShardedPool
from didact.testing import MethodContract, SimulatedPolicy, VariantContract, play, pool_of
from tests.sharded.laws import SIZES, sharded


class InShards(VariantContract):
    """The contract on a pool in three shards."""

    @staticmethod
    def pool_type(ids, **columns):
        return ShardedPool.split(ids, 3, **columns)


class TestUniformInShards(InShards):
    build = partial(make, "uniform")
    keeps_budget = True


@pytest.mark.slow
class TestDAPOInShards(InShards):
    build = partial(make, "dapo")
    keeps_budget = True


class TestDidactInShards(InShards):
    build = partial(make, "didact")
    keeps_budget = True


class TestSpeedInShards(InShards):
    build = partial(make, "speed")


class TestCurESInShards(InShards, MethodContract):
    keeps_budget = True

    @staticmethod
    def build(pool, **options):
        return make("cures", pool, steps_per_iteration=3, **options)


class TestCurESWithWindowInShards(InShards):
    keeps_budget = True

    @staticmethod
    def build(pool, **options):
        return make("cures", pool, steps_per_iteration=3, reset=False, window=2, **options)


@pytest.mark.slow
class TestCurESThatFadesInShards(InShards):
    keeps_budget = True

    @staticmethod
    def build(pool, **options):
        # A half fades without rounding, so that parts of an outcome add up to the last digit as the whole does.
        return make("cures", pool, steps_per_iteration=3, reset=False, discount=0.5, with_replacement=True, **options)


@pytest.mark.slow
class TestReinforceAdaInShards(InShards):
    build = partial(make, "reinforce_ada")


@pytest.mark.slow
class TestHORAInShards(InShards):
    build = partial(make, "hora")


@pytest.mark.parametrize("method", ["cures", "speed"])  # what draws by weights, and what walks
def test_a_run_in_shards_is_the_same_in_law(method: str) -> None:
    """Rollouts spent on prompts by pass rate, over many seeds: the mean differs by less than four standard errors."""
    rates = {f"prompt-{index}": index / 39 for index in range(40)}
    spent: dict[int, list[np.ndarray]] = {0: [], 1: [], 4: []}
    for num_shards, rows in spent.items():
        for seed in range(60):
            pool = sharded(40, num_shards) if num_shards else pool_of(40)
            curriculum = make(method, pool, seed=seed + 1000 * num_shards, **SIZES)
            curriculum, _ = play(curriculum, SimulatedPolicy(rates, seed=seed), range(6))
            rows.append(curriculum.pass_rates().num_rollouts.reshape(5, 8).sum(axis=1))
    for num_shards in (1, 4):
        one, other = np.array(spent[0]), np.array(spent[num_shards])
        error = np.sqrt((one.var(axis=0) + other.var(axis=0)) / 60) + 1e-9
        assert (np.abs(one.mean(axis=0) - other.mean(axis=0)) < 4 * error).all(), (one.mean(axis=0), other.mean(axis=0))


def test_methods_that_need_the_whole_pool_are_refused_by_name() -> None:
    options = {"prompts_per_step": 4, "rollouts_per_step": 32}
    pool = ShardedPool.split(pool_of(40).ids.tolist(), 3, difficulty=np.arange(40), prompt_tokens=np.arange(40))
    for method, cls in METHODS.items():
        if not cls.shardable:
            with pytest.raises(ValueError, match=f"method {method!r} keeps or passes over.*docs/scale.md says which"):
                make(method, pool, **options)


def test_the_desk_of_asynchronous_trainers_serves_a_sharded_pool() -> None:
    """A worker is lost now and then; every reported rollout is counted once, in its shard."""
    desk = Dispatcher(make("cures", sharded(60, 3), steps_per_iteration=2, **SIZES), max_lag=2)
    reported = 0
    for version in range(6):
        while work := desk.ask("worker"):
            if work.lease % 5 == 3:
                desk.lost("worker")  # and handed out again
                continue
            rewards = [float(index % 2) for index in range(work.group.num_rollouts)]
            reported += len(desk.report(work.lease, rewards, policy_version=version).positions)
        desk.admitted()
        desk.advance(version + 1)
    assert reported > 100
    assert desk.metrics()["rollouts"] == reported == desk.pass_rates().num_rollouts.sum()
