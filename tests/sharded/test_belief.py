"""A belief in shards has the values of one that is not, bit for bit."""

import numpy as np
import pytest

from didact import make
from didact.belief import BetaBelief
from didact.sharded import ShardedPool
from didact.testing import pool_of
from tests.sharded.laws import sharded

BELIEFS: list[dict] = [{}, {"discount": 0.7}, {"window": 2}, {"pass_above": 0.4}, {"prior": (2.0, 0.5)}]


@pytest.mark.parametrize("options", BELIEFS)
@pytest.mark.parametrize("num_shards", [1, 4])
def test_a_belief_in_shards_holds_the_same_values(options: dict, num_shards: int) -> None:
    pool, rng = sharded(700, num_shards), np.random.default_rng(2)
    here, there = BetaBelief(700, **options), pool.belief(**options)
    for step in range(12):
        positions = rng.integers(0, 700, 150)
        sizes = rng.integers(0, 5, 150)
        versions = np.maximum(step - rng.integers(0, 3, 150), 0)
        rewards = rng.random(int(sizes.sum()))
        for each in (here, there):
            each.count(positions, sizes, 10 * sizes, step=step)
            each.observe(positions, sizes, rewards, step=step, versions=versions)
        if step == 5:
            for each in (here, there):
                each.reset(positions[:9])
        if step == 8:
            state, there = there.state_dict(), pool.belief(**options)
            there.load_state_dict(state)
        for name in ("mean", "spread", "evidence"):
            assert np.array_equal(getattr(here, name)(step=step), getattr(there, name)(step=step)), name
            asked = rng.integers(0, 700, 40)
            assert np.array_equal(getattr(here, name)(asked, step=step), getattr(there, name)(asked, step=step)), name
        for name in ("num_rollouts", "last_seen"):
            assert np.array_equal(getattr(here, name)(positions), getattr(there, name)(positions)), name
    ids = pool_of(700).ids
    for name, column in vars(here.pass_rates(ids, step=11)).items():
        assert np.array_equal(column, getattr(there.pass_rates(ids, step=11), name), equal_nan=name != "ids"), name


@pytest.mark.parametrize("options", [{"prior": [1]}, {"pass_above": np.nan}, {"window": 1.5}, {"discount": "x"}])
def test_a_sharded_belief_checks_its_options_when_it_is_made(options):
    pool = ShardedPool.split(["a", "b"], 2)
    with pytest.raises(ValueError, match=next(iter(options))):
        make("uniform", pool, prompts_per_step=1, rollouts_per_step=4, **options)
