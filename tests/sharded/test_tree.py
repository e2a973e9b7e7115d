"""Weighted draws over shards: successive sampling among all prompts."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest

from didact.sharded.tree import ShardedTree, pick
from tests.sharded.laws import chi_square, sharded


def successive(weights: dict[int, float], num: int) -> dict[tuple[int, ...], float]:
    """The probability of every ordered draw of `num`, one after the other in proportion to what is left."""
    law = {}
    for order in permutations(weights, num):
        left, probability = sum(weights.values()), 1.0
        for position in order:
            probability *= weights[position] / left
            left -= weights[position]
        law[order] = probability
    return law


HEAVY = {0: 100.0, 5: 1.0, 6: 1.0, 11: 2.0}  # most rounds begin with the heavy one, and must not draw it again
CASES = [
    ({0: 0.5, 4: 0.3, 9: 0.2}, 12, 3, 2),
    ({0: 0.5, 1: 0.3, 2: 0.2}, 12, 4, 3),  # all in one shard, and as many draws as there are weights
    (HEAVY, 12, 3, 3),
    (HEAVY, 12, 12, 3),  # a shard for each prompt
    ({index: 1.0 + index % 3 for index in range(6)}, 6, 2, 3),
]


@pytest.mark.parametrize(("weights", "size", "num_shards", "num"), CASES)
def test_draws_follow_the_law_of_successive_sampling(weights, size, num_shards, num) -> None:
    tree, rng = sharded(size, num_shards).weight_tree(), np.random.default_rng(1)
    assert isinstance(tree, ShardedTree)
    tree.set(np.array(list(weights)), np.array(list(weights.values())))
    seen = Counter(tuple(tree.draw(num, rng).tolist()) for _ in range(4_000))
    assert chi_square(seen, successive(weights, num)) < 3
    assert np.array_equal(tree.weights[list(weights)], list(weights.values())), "what was taken out was put back"


def test_a_wrong_law_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards picked evenly, whatever they hold, as a draw that forgets to weigh them would."""
    weights, size, num_shards, num = CASES[0]
    tree, rng = sharded(size, num_shards).weight_tree(), np.random.default_rng(1)
    tree.set(np.array(list(weights)), np.array(list(weights.values())))
    monkeypatch.setattr("didact.sharded.tree.pick", lambda totals, uniform: pick((totals > 0).astype(float), uniform))
    seen = Counter(tuple(tree.draw(num, rng).tolist()) for _ in range(4_000))
    assert chi_square(seen, successive(weights, num)) > 30


def test_extreme_weights_and_nothing_to_draw() -> None:
    tree = sharded(9, 3).weight_tree()
    assert tree.draw(3, np.random.default_rng(0)).tolist() == []
    tree.set(np.array([0, 4, 8]), np.array([1e300, 1e-300, 1.0]))
    assert sorted(tree.draw(9, np.random.default_rng(0)).tolist()) == [0, 4, 8]
    assert tree.draw(1, np.random.default_rng(0)).tolist() == [0]
    assert tree.draw(0, np.random.default_rng(0)).tolist() == []
