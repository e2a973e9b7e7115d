"""Shuffled passes over shards: uniformly random orders of the pool."""

from collections import Counter
from functools import partial
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from didact.sharded import ShardedPool
from didact.sharded.passes import ShardedPasses
from tests.sharded.laws import chi_square, part, sharded


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_a_pass_is_a_uniformly_random_order_of_the_pool(batch: int) -> None:
    """All 120 orders of five prompts in shards of 2, 2 and 1, whatever the batches."""
    pool = ShardedPool([partial(part, names) for names in (["a", "b"], ["c", "d"], ["e"])])
    seen: Counter = Counter()
    for seed in range(2_400):
        passes = pool.passes(seed)
        seen[tuple(np.concatenate([passes.take(min(batch, 5 - at), 5) for at in range(0, 5, batch)]).tolist())] += 1
    assert chi_square(seen, dict.fromkeys(permutations(range(5)), 1 / 120)) < 3


def test_the_second_pass_is_as_random_and_a_batch_over_its_edge_holds_distinct_prompts() -> None:
    pool = sharded(6, 3)
    first: Counter = Counter()
    for seed in range(1_500):
        passes = pool.passes(seed)
        passes.take(6, 6)
        first[tuple(passes.take(2, 6).tolist())] += 1
        batch = passes.take(5, 6)  # four of this pass, one of the next
        assert len(set(batch.tolist())) == 5
    assert chi_square(first, dict.fromkeys(permutations(range(6), 2), 1 / 30)) < 3


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 5), st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_every_pass_holds_every_prompt_once_also_when_saved_and_grown(batches, num_shards, seed) -> None:
    pool = sharded(7, num_shards)
    passes, taken = pool.passes(seed), []
    for index, num in enumerate(batches):
        if index == 2:
            pool.extend(["new-1", "new-2"])
        batch = passes.take(num, len(pool))
        assert len(set(batch.tolist())) == len(batch) == min(num, len(pool))
        taken += batch.tolist()
        again = pool.passes(seed)
        assert isinstance(again, ShardedPasses)
        again.load_state_dict(passes.state_dict())
        passes = again
    counts = Counter(taken)
    assert max(counts.values()) - min(counts.get(position, 0) for position in range(7)) <= 1
