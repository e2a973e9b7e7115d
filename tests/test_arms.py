"""Arms: prompts by label, places among them, and how both grow with the pool."""

import numpy as np
import pytest

from didact.arms import Arms


def arms_of(labels: list[object], seed: int = 0) -> Arms:
    arms = Arms(seed)
    arms.grow(labels)
    return arms


def test_each_prompt_is_in_the_arm_of_its_label_in_the_order_of_first_prompts() -> None:
    arms = arms_of(["b", "a", "b", None, "a", "b"])
    assert arms.labels == ["b", "a", "None"]
    assert arms.of.tolist() == [0, 1, 0, 2, 1, 0]
    assert [sorted(each) for each in arms.members] == [[0, 2, 5], [1, 4], [3]]
    assert arms.sizes.tolist() == [3, 2, 1]


def test_a_pool_that_grew_has_the_same_arms_as_one_that_had_all_from_the_start() -> None:
    labels: list[object] = [f"source-{index % 3}" for index in range(50)] + ["late"] * 5
    grown = Arms(7)
    for size in (10, 10, 31, 55):
        grown.grow(labels[:size])
    whole = arms_of(labels, 7)
    assert grown.labels == whole.labels
    assert all((mine == other).all() for mine, other in zip(grown.members, whole.members, strict=True))
    assert (whole.members[0] != np.sort(whole.members[0])).any()
    assert (whole.members[0] != arms_of(labels, 8).members[0]).any()


def test_places_are_drawn_by_chance_and_go_elsewhere_where_an_arm_is_full() -> None:
    arms, rng = arms_of([0] * 100 + [1] * 100 + [2] * 2), np.random.default_rng(0)
    drawn = np.array([arms.places([3, 1, 0], 40, rng) for _ in range(200)])
    assert (drawn.sum(axis=1) == 40).all()
    assert drawn.mean(axis=0) == pytest.approx([30, 10, 0], abs=1)
    assert arms.places([0, 0, 1], 10, rng)[2] == 2  # the two there are, and the other eight at random
    assert arms.places([1, 1, 1], 1000, rng).tolist() == [100, 100, 2]


def test_draws_hold_distinct_prompts_of_their_arm() -> None:
    arms, rng = arms_of([0] * 20 + [1] * 20), np.random.default_rng(0)
    drawn = arms.draw(np.array([15, 3]), rng)
    assert len(np.unique(drawn)) == 18
    assert np.bincount(arms.of[drawn]).tolist() == [15, 3]


def test_the_next_ones_go_round() -> None:
    arms, cursors = arms_of([0] * 5 + [1] * 3), np.zeros(2, dtype=np.int64)
    rounds = [arms.next_ones(np.array([2, 1]), cursors) for _ in range(5)]
    first = np.concatenate([each[:2] for each in rounds])
    assert first.tolist() == [*arms.members[0], *arms.members[0]]
    assert cursors.tolist() == [0, 2]


def test_the_next_ones_pass_over_the_busy() -> None:
    arms, cursors = arms_of([0] * 5 + [1] * 3), np.array([3, 0])
    first, second = arms.members
    got = arms.next_ones(np.array([2, 3]), cursors, busy=[first[4], second[1]])
    assert got.tolist() == [first[3], first[0], second[0], second[2]]
    assert cursors.tolist() == [1, 0]
