"""Draws and scores."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from didact.selection import band, best, draw, thompson, top_k, within_band


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
