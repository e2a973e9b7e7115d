"""Shuffled passes: every prompt once, distinct batches, growth within a pass."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from didact.passes import ShuffledPasses


def test_a_pass_holds_every_prompt_once() -> None:
    passes = ShuffledPasses(seed=0)
    taken = np.concatenate([passes.take(4, 10) for _ in range(15)])  # six passes
    for start in range(0, 60, 10):
        # A batch may span two passes; then what it already holds comes at the end of the new pass.
        assert sorted(taken[start : start + 10].tolist()) == list(range(10))
    assert len({tuple(taken[start : start + 10]) for start in range(0, 60, 10)}) == 6


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 5)), min_size=1, max_size=30), st.integers(0, 3))
def test_batches_are_distinct_growth_joins_the_pass_and_resuming_changes_nothing(
    moves: list[tuple[int, int]], seed: int
) -> None:
    passes, size, counts = ShuffledPasses(seed), 3, Counter()
    for num, growth in moves:
        size += growth
        resumed = ShuffledPasses(seed)
        resumed.load_state_dict(passes.state_dict())
        batch = passes.take(num, size)
        assert np.array_equal(resumed.take(num, size), batch)
        assert len(set(batch.tolist())) == len(batch) == min(num, size)
        assert batch.max() < size
        counts.update(batch.tolist())
        if not growth and size == 3:
            assert max(counts.values()) - min(counts[i] for i in range(3)) <= 1


def test_prompts_that_join_have_their_turn_in_the_same_pass() -> None:
    passes = ShuffledPasses(seed=0)
    first = passes.take(5, 10)
    rest = passes.take(10, 15)
    assert sorted([*first.tolist(), *rest.tolist()]) == list(range(15))


@pytest.mark.parametrize(
    "changes",
    [
        {"cursor": -1},
        {"cursor": 8},
        {"cursor": 3.0},
        {"pass": -1},
        {"sizes": []},
        {"sizes": [7, 5]},
        {"sizes": [0, 7]},
        {"sizes": [True, 7]},
        {"postponed": np.array([5])},
        {"postponed": np.array([-1])},
        {"postponed": np.array([1, 1])},
    ],
)
def test_a_pass_that_cannot_be_is_refused(changes: dict[str, object]) -> None:
    passes = ShuffledPasses(0)
    passes.take(3, 5)
    passes.take(1, 7)
    state = passes.state_dict()
    assert (state["pass"], state["cursor"], state["sizes"]) == (0, 4, [5, 7])
    with pytest.raises(ValueError):
        ShuffledPasses(0).load_state_dict({**state, **changes})


def test_a_state_from_before_the_first_pass_begins_anew() -> None:
    passes, fresh = ShuffledPasses(0), ShuffledPasses(0)
    start = passes.state_dict()
    first = passes.take(3, 5)
    passes.load_state_dict(start)
    assert passes.take(3, 5).tolist() == fresh.take(3, 5).tolist() == first.tolist()
