"""What a pool knows of its prompts, as rows of numbers."""

from typing import Any

import numpy as np
import pytest

from didact import PromptPool
from didact.belief.description import Description
from didact.sharded import ShardedPool
from didact.testing import pool_of

ALL = np.arange(4)
NAN = float("nan")


def rows_of(pool: PromptPool) -> np.ndarray:
    return Description(pool).rows(pool, np.arange(len(pool)))


def test_every_column_by_hand() -> None:
    pool = pool_of(
        4,
        source=["b", "a", "a", "b"],
        difficulty=[1.0, 3.0, NAN, 1.0],
        prompt_tokens=[9, 9, 99, 99],
        pass_rate=[0.5, NAN, 0.5, 0.9],
        features=[[0.0, 5.0], [2.0, 5.0], [2.0, 5.0], [0.0, 5.0]],
    )
    low, half = -1 / np.sqrt(2), 1 / np.sqrt(2)
    assert rows_of(pool) == pytest.approx(
        np.array(
            [  # constant; sources a, b; levels 1, 3; length; another model's logit; two features
                [1, 0, 1, 1, 0, -1, low, -half, 0],
                [1, 1, 0, 0, 1, -1, 0, half, 0],
                [1, 1, 0, 0, 0, 1, low, half, 0],
                [1, 0, 1, 1, 0, 1, np.sqrt(2), -half, 0],
            ]
        )
    )
    assert Description(pool).width == 9


def test_a_pool_that_knows_nothing_has_the_constant() -> None:
    assert rows_of(pool_of(3)).tolist() == [[1.0], [1.0], [1.0]]


@pytest.mark.parametrize(
    "column",
    [
        {"source": ["a"] * 4},
        {"difficulty": [2.0] * 4},
        {"difficulty": [NAN] * 4},
        {"difficulty": [NAN, 2.0, NAN, 2.0]},
        {"prompt_tokens": [7] * 4},
        {"pass_rate": [NAN] * 4},
        {"features": [3.0] * 4},
    ],
)
def test_what_is_the_same_everywhere_says_nothing(column: dict[str, Any]) -> None:
    rows = rows_of(pool_of(4, **column))
    assert np.array_equal(rows[:, 0], np.ones(4))
    assert not rows[:, 1:].any()


def test_few_levels_are_labels_and_many_are_a_number() -> None:
    few = pool_of(32, difficulty=np.arange(32) % 16)
    assert np.array_equal(rows_of(few)[:, 1:], np.eye(16)[np.arange(32) % 16])
    many = pool_of(34, difficulty=np.arange(34) % 17)
    assert rows_of(many)[:, 1:] == pytest.approx(((np.arange(34) % 17 - 8) / np.sqrt(24)).reshape(-1, 1))


def test_the_most_frequent_sources_are_labels() -> None:
    names = [f"source-{index:02}" for index in range(40)]
    sources = names + names[5:37]  # 32 of them twice
    rows = rows_of(pool_of(72, source=sources))[:, 1:]
    assert rows.shape == (72, 32)
    assert rows.sum(axis=0).tolist() == [2.0] * 32
    assert rows.sum(axis=1).tolist() == [0.0] * 5 + [1.0] * 32 + [0.0] * 3 + [1.0] * 32


@pytest.mark.parametrize("width", [1, 2, 64])
def test_features_count_as_one_number_whatever_their_width(width: int) -> None:
    rng = np.random.default_rng(0)
    rows = rows_of(pool_of(50, features=100 + 30 * rng.standard_normal((50, width)), prompt_tokens=np.arange(50)))
    assert (rows[:, 2:] ** 2).sum(axis=1).mean() == pytest.approx(1.0)
    assert (rows[:, 1] ** 2).mean() == pytest.approx(1.0)  # and leave a length as it is


def test_a_sure_pass_of_another_model_is_not_infinite() -> None:
    rows = rows_of(pool_of(4, pass_rate=[0.0, 0.5, 0.5, 1.0]))
    assert rows[:, 1] == pytest.approx([-np.sqrt(2), 0, 0, np.sqrt(2)])


def test_a_column_that_cannot_be_worked_with_is_said_and_left_out() -> None:
    pool = pool_of(2, difficulty=["easy", "hard"], features=["words", "words"], prompt_tokens=[9, 99])
    with pytest.warns(UserWarning, match="nothing is learnt from it") as said:
        description = Description(pool)
    assert [str(each.message).split()[1] for each in said] == ["'difficulty'", "'features'"]
    assert description.rows(pool, np.arange(2)) == pytest.approx(np.array([[1.0, -1.0], [1.0, 1.0]]))


def columns_of(size: int) -> dict[str, Any]:
    index = np.arange(size)
    return {
        "source": [f"source-{row % 3}" for row in index],
        "difficulty": np.where(index % 5 == 4, NAN, index % 5),
        "prompt_tokens": 10 + index % 11,
        "features": np.stack([np.cos(index), np.sin(index)], axis=1),
        "pass_rate": index % 7 / 7,
    }


def test_a_pool_in_shards_gives_the_same_rows() -> None:
    pool, some = pool_of(60, **columns_of(60)), np.array([59, 3, 20, 40])
    sharded = ShardedPool.split(pool.ids.tolist(), 3, **columns_of(60))
    assert np.array_equal(Description(sharded).rows(sharded, some), Description(pool).rows(pool, some))


def test_prompts_that_join_are_told_by_what_the_pool_was_at_the_start() -> None:
    pool = pool_of(4, source=["a", "b", "a", "b"], difficulty=[1, 2, 1, 2], prompt_tokens=[9, 9, 99, 99])
    description = Description(pool)
    before = description.rows(pool, ALL)
    pool.extend(["new", "known"], source=["c", "a"], difficulty=[3, 2], prompt_tokens=[999, 9])
    rows = description.rows(pool, np.arange(6))
    assert np.array_equal(rows[:4], before)
    assert rows[4] == pytest.approx(
        [1, 0, 0, 0, 0, 3]
    )  # log 1000 as far above log 100 as that is above the centre, ...
    assert rows[5] == pytest.approx([1, 1, 0, 0, 1, -1])


def test_a_state_restores_the_rows_over_a_pool_that_has_grown() -> None:
    """New sources, and so many new levels that of this pool they would be a number."""
    pool = pool_of(4, source=["a", "b", "a", "b"], difficulty=[1, 2, 1, 2], prompt_tokens=[9, 9, 99, 99])
    description = Description(pool)
    before = description.rows(pool, ALL)
    more = 40
    pool.extend([f"new-{index}" for index in range(more)], source=["c", "d"] * 20, difficulty=np.arange(more),
                prompt_tokens=np.arange(more))  # fmt: skip
    fresh = Description(pool)
    assert fresh.width != description.width
    fresh.load_state_dict(description.state_dict())
    assert fresh.width == description.width
    assert np.array_equal(fresh.rows(pool, ALL), before)
    assert np.array_equal(fresh.rows(pool, np.arange(44)), description.rows(pool, np.arange(44)))


def test_a_state_of_other_columns_is_refused() -> None:
    state = Description(pool_of(4, prompt_tokens=[1, 2, 3, 4])).state_dict()
    with pytest.raises(ValueError, match="this pool has 0 numbers for each prompt, the state 1"):
        Description(pool_of(4)).load_state_dict(state)
    graded = Description(pool_of(4, difficulty=[1, 2, 1, 2])).state_dict()
    with pytest.raises(ValueError, match="this pool has 1 numbers for each prompt, the state 0"):
        Description(pool_of(4, prompt_tokens=[1, 2, 3, 4])).load_state_dict(graded)
    for name, value in (("center", [NAN]), ("levels", [NAN]), ("scale", [0.0])):
        with pytest.raises(ValueError, match="numbers"):
            Description(pool_of(4, prompt_tokens=[1, 2, 3, 4])).load_state_dict({**state, name: np.array(value)})
