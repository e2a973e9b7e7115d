"""WeightTree: the law of its draws, and that the same weights give the same tree."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from didact.weight_tree import WeightTree


def tree_of(weights: dict[int, float], size: int) -> WeightTree:
    tree = WeightTree(size)
    tree.set(np.array(list(weights), dtype=np.int64), np.array(list(weights.values())))
    return tree


@pytest.mark.parametrize(
    ("weights", "size", "num"),
    [
        ({0: 0.5, 1: 0.3, 2: 0.2}, 3, 2),
        ({3: 5.0, 40: 3.0, 1100: 2.0}, 1200, 2),
        ({0: 100.0, 31: 1.0, 32: 1.0, 33: 2.0}, 40, 3),  # a heavy prompt, so that rounds repeat
    ],
)
def test_draws_follow_the_law_of_successive_sampling(weights: dict[int, float], size: int, num: int) -> None:
    """Every order of every draw; 8,000 draws, four standard deviations are below 0.023."""
    tree, rng, runs = tree_of(weights, size), np.random.default_rng(1), 8_000
    seen = Counter(tuple(tree.draw(num, rng).tolist()) for _ in range(runs))
    for order in permutations(weights, num):
        left, probability = sum(weights.values()), 1.0
        for position in order:
            probability *= weights[position] / left
            left -= weights[position]
        assert seen[order] / runs == pytest.approx(probability, abs=0.023)
    assert sum(seen.values()) == runs


@given(st.data())
def test_the_same_weights_give_the_same_tree_bit_for_bit(data: st.DataObject) -> None:
    """Whatever was set before, in whatever order, and whatever was drawn in between."""
    size = data.draw(st.integers(1, 1200))
    tree = WeightTree(size)
    final = np.zeros(size)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    for _ in range(data.draw(st.integers(1, 4))):
        positions = rng.choice(size, size=int(rng.integers(1, size + 1)), replace=False)
        weights = (
            rng.exponential(size=len(positions)) * (rng.random(len(positions)) < 0.7) * 10.0 ** rng.integers(-9, 9)
        )
        tree.set(positions, weights)
        final[positions] = weights
        tree.draw(int(rng.integers(0, size + 3)), rng)
    fresh = WeightTree(size)
    fresh.set(np.arange(size), final)
    assert np.array_equal(tree.weights, final)
    assert all(np.array_equal(a, b) for a, b in zip(tree._levels, fresh._levels, strict=True))
    num = int(np.count_nonzero(final))
    draws = [each.draw(size, np.random.default_rng(5)) for each in (tree, fresh)]
    assert np.array_equal(*draws)
    assert set(draws[0].tolist()) == set(np.flatnonzero(final).tolist())
    assert len(draws[0]) == num


def test_extreme_weights() -> None:
    tree = tree_of({0: 1e300, 1: 1e-300, 2: 1.0}, 3)
    assert sorted(tree.draw(3, np.random.default_rng(0)).tolist()) == [0, 1, 2]
    assert tree.draw(1, np.random.default_rng(0)).tolist() == [0]


def test_nothing_to_draw() -> None:
    assert WeightTree(5).draw(3, np.random.default_rng(0)).tolist() == []
    assert tree_of({2: 1.0}, 5).draw(0, np.random.default_rng(0)).tolist() == []


def test_weights_are_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        tree_of({2: 1.0}, 5).weights[0] = 1.0
