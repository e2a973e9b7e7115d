"""Pool: what either kind of pool is, and nothing else."""

import numpy as np
import pytest

from didact import PromptPool, make
from didact.pool import Pool
from didact.sharded import ShardedPool

SIZES = {"prompts_per_step": 2, "rollouts_per_step": 8}


@pytest.mark.parametrize("pool", [PromptPool(["a", "b"]), ShardedPool.split(["a", "b"], 2)])
def test_both_kinds_of_pool_are_pools(pool: Pool) -> None:
    assert isinstance(pool, Pool)
    assert len(make("uniform", pool, **SIZES).plan(0)) == 2
    with pytest.raises(ValueError, match=r"extend was given columns \['difficulty'\], the pool has \[\]"):
        pool.extend(["c"], difficulty=[1])
    with pytest.raises(TypeError, match="single string 'c'"):
        pool.extend("c")
    with pytest.raises(ValueError, match="no column 'pass_rate'"):
        pool.known_rates(pool.positions(["a"]))
    pool.extend([])
    assert pool.ids.tolist() == ["a", "b"]


@pytest.mark.parametrize("pool", [["a", "b"], {"a": 1}, None])
def test_what_is_no_pool_is_refused_with_what_to_write(pool: object) -> None:
    with pytest.raises(TypeError, match=r"pool must be a PromptPool, got \w+; write PromptPool\(ids\)"):
        make("uniform", pool, **SIZES)  # type: ignore[arg-type]


def test_no_column_takes_the_name_by_which_a_state_says_which_rows_there_are() -> None:
    with pytest.raises(ValueError, match="no column can be called 'seen'"):
        PromptPool(["a"]).columns(seen=np.int32(-1))
