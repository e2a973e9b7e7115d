"""Draws, scores and shuffled passes."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from didact.selection import ShuffledPasses, band, best, draw, thompson, top_k, within_band


def successive(weights: list[float], order: tuple[int, ...]) -> float:
    """Probability of drawing exactly this order, one after the other, in proportion to the weights left."""
    left, probability = sum(weights), 1.0
    for position in order:
        probability *= weights[position] / left
        left -= weights[position]
    return probability


def test_draw_follows_the_law_of_successive_sampling() -> None:
    """CV10 and every ordered pair; 20,000 draws, four standard deviations are below 0.015."""
    weights, rng, runs = [0.5, 0.3, 0.2], np.random.default_rng(0), 20_000
    seen = Counter(tuple(draw(weights, 2, rng).tolist()) for _ in range(runs))
    for pair in permutations(range(3), 2):
        assert seen[pair] / runs == pytest.approx(successive(weights, pair), abs=0.015)
    inclusion = [sum(count for pair, count in seen.items() if i in pair) / runs for i in range(3)]
    assert inclusion == pytest.approx([0.8393, 0.6750, 0.4857], abs=0.015)


def test_weight_zero_is_never_drawn() -> None:
    rng = np.random.default_rng(0)
    assert all(set(draw([0, 1, 0, 1e-300], 4, rng).tolist()) == {1, 3} for _ in range(50))


@pytest.mark.parametrize("weights", [[1, -1], [1, np.nan], [1, np.inf], [0, 0], []])
def test_bad_weights(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weight"):
        draw(weights, 1, np.random.default_rng(0))


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, -np.inf, np.inf]), max_size=30), st.integers(0, 40))
def test_top_k_is_a_stable_sort(scores: list[float], num: int) -> None:
    expected = sorted(range(len(scores)), key=lambda index: -scores[index])[:num]
    assert top_k(scores, num).tolist() == expected


def test_thompson_and_band() -> None:
    assert thompson([0.1, 0.45, 0.9, 0.6], 2).tolist() == [1, 3]
    assert thompson([0.1, 0.45, 0.9, 0.6], 1, target=0.8).tolist() == [2]
    assert band([0.0, 0.2, 0.5, 1.0], 0.0, 0.5).tolist() == [False, True, False, False]
    with pytest.raises(ValueError, match="low < high"):
        band([0.5], 0.5, 0.5)


def test_band_takes_the_nearest_when_too_few_are_inside() -> None:
    draws, rng = np.array([0.05, 0.9, 0.5, 0.75, 0.28]), np.random.default_rng(0)
    assert within_band(draws, 3, 0.3, 0.7, rng).tolist() == [2, 4, 3]
    assert within_band(draws, 1, 0.3, 0.7, rng).tolist() == [2]
    assert set(within_band(np.full(9, 0.5), 4, 0.3, 0.7, rng)) < set(range(9))


def test_ties_at_the_edge_are_broken_at_random() -> None:
    scores = np.array([0.0, 1.0, 0.0, 2.0, 0.0], dtype=np.float32)
    drawn = [best(scores, 3, np.random.default_rng(seed)).tolist() for seed in range(40)]
    assert {tuple(positions[:2]) for positions in drawn} == {(3, 1)}
    assert {positions[2] for positions in drawn} == {0, 2, 4}


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
