"""PromptPool: unique ids, read-only columns, growth that happens whole or not at all."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from didact.prompts import PromptPool


def test_ids_have_positions() -> None:
    pool = PromptPool(iter(["b", "a", "c"]))
    assert len(pool) == 3
    assert pool.ids.tolist() == ["b", "a", "c"]
    assert pool.positions(["c", "b"]).tolist() == [2, 0]
    assert pool.positions([]).tolist() == []
    assert "a" in pool
    assert "z" not in pool
    assert 7 not in pool


@pytest.mark.parametrize(
    ("ids", "error", "words"),
    [
        ([], ValueError, "at least one"),
        (["a", "b", "a"], ValueError, "duplicate prompt id 'a'"),
        (["a", ""], ValueError, "empty string"),
        (["a", 7.0], TypeError, "must be str or int, got 7.0"),
        (["a", True], TypeError, "got True"),
        (["1", 1], ValueError, "duplicate prompt id '1'"),
        (["a", None], TypeError, "NoneType"),
        ("abc", TypeError, "single string"),
    ],
)
def test_bad_ids(ids: list, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        PromptPool(ids)


def test_unknown_id() -> None:
    with pytest.raises(ValueError, match="unknown prompt id 'z'"):
        PromptPool(["a"]).positions(["a", "z"])


@pytest.mark.parametrize("column", ["source", "difficulty", "prompt_tokens", "features"])
def test_columns_have_one_row_for_each_prompt(column: str) -> None:
    with pytest.raises(ValueError, match=f"column '{column}' has 3 rows for 2 prompts"):
        PromptPool(["a", "b"], **{column: [1, 2, 3]})


def test_columns_are_copies_and_read_only() -> None:
    tokens = np.array([5, 6])
    pool = PromptPool(["a", "b"], prompt_tokens=tokens, source=["x", "y"])
    tokens[0] = 0
    assert pool.prompt_tokens is not None
    assert pool.prompt_tokens.tolist() == [5, 6]
    for column in (pool.ids, pool.prompt_tokens, pool.source):
        assert column is not None
        with pytest.raises(ValueError, match="read-only"):
            column[0] = column[1]
    assert pool.difficulty is None


def test_growth() -> None:
    pool = PromptPool(["a", "b"], difficulty=[1, 2])
    before = pool.fingerprint()
    pool.extend(["c"], difficulty=[3])
    assert pool.positions(["c", "a"]).tolist() == [2, 0]
    assert pool.difficulty is not None
    assert pool.difficulty.tolist() == [1, 2, 3]
    assert pool.fingerprint(2) == before != pool.fingerprint()
    pool.extend([], difficulty=[])
    assert len(pool) == 3


@pytest.mark.parametrize(
    ("ids", "columns"),
    [
        (["a"], {"features": [[1, 2]]}),
        (["c", "c"], {"features": [[1, 2]] * 2}),
        (["c"], {}),
        (["c"], {"features": [[1, 2]], "source": ["x"]}),
        (["c"], {"features": [[1, 2], [3, 4]]}),
        (["c"], {"features": [[1, 2, 3]]}),
    ],
)
def test_growth_that_fails_changes_nothing(ids: list[str], columns: dict) -> None:
    pool = PromptPool(["a", "b"], features=[[0, 0], [1, 1]])
    with pytest.raises(ValueError):
        pool.extend(ids, **columns)
    assert pool.ids.tolist() == ["a", "b"]
    assert "c" not in pool
    assert pool.features is not None
    assert pool.features.shape == (2, 2)


def test_fingerprint_depends_on_the_order() -> None:
    assert PromptPool(["a", "b"]).fingerprint() == PromptPool(["a", "b"]).fingerprint()
    assert PromptPool(["a", "b"]).fingerprint() != PromptPool(["b", "a"]).fingerprint()
    assert PromptPool(["ab", "c"]).fingerprint() != PromptPool(["a", "bc"]).fingerprint()


def test_ids_that_hold_the_separator_of_another_list_have_another_fingerprint() -> None:
    lists = [["a\x00", "b"], ["a", "\x00b"], ["a\x00b", "\x00"], ["a", "b\x00"], ["\x00a", "b"]]
    assert len({PromptPool(ids).fingerprint() for ids in lists}) == len(lists)


@given(st.lists(st.text(min_size=1), min_size=1, unique=True), st.lists(st.text(min_size=1), min_size=1, unique=True))
def test_two_pools_have_one_fingerprint_if_and_only_if_they_hold_the_same_ids(one: list[str], other: list[str]) -> None:
    prints = PromptPool(one).fingerprint(), PromptPool(other).fingerprint()
    assert (prints[0] == prints[1] and len(one) == len(other)) == (one == other)


def test_an_id_that_no_file_can_hold() -> None:
    with pytest.raises(ValueError, match="is no text that UTF-8 can express"):
        PromptPool(["a", "\ud800"])


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("prompt_tokens", [1, -1]),
        ("prompt_tokens", [1, 2**31]),
        ("prompt_tokens", [1, 10**400]),
        ("prompt_tokens", [1, 1.5]),
        ("prompt_tokens", ["1", "2"]),
        ("prompt_tokens", [True, False]),
        ("prompt_tokens", [[1], [2]]),
        ("difficulty", [1, math.inf]),
        ("difficulty", [1, 1e308]),
        ("difficulty", ["1", "2"]),
        ("difficulty", [1, 1j]),
        ("difficulty", [{"level": 1}, {"level": 2}]),
        ("pass_rate", [0.5, 1.1]),
        ("pass_rate", [0.5, -0.1]),
        ("pass_rate", ["0.5", None]),
        ("features", [[0.0], [math.inf]]),
        ("features", [[0.0], [math.nan]]),
        ("features", [["0"], ["1"]]),
    ],
)
def test_columns_hold_numbers_that_can_be_worked_with(name: str, column: list[Any]) -> None:
    unasked = PromptPool(["a", "b"], **{name: column})
    for _ in range(2):
        with pytest.raises(ValueError, match=f"column '{name}' must be .*in row [01]$"):
            getattr(unasked, name)
    given = unasked.given(name)
    assert given is not None
    assert given.tolist() == column or "nan" in str(column)
    pool = PromptPool(["c"], **{name: [[1.0]] if name == "features" else [1]})
    with pytest.raises(ValueError, match=f"column '{name}' must be"):
        pool.extend(["a", "b"], **{name: column})
    assert len(pool) == 1


def test_the_row_and_its_value_are_named() -> None:
    pool = PromptPool(
        ["a", "b", "c"], difficulty=[1, None, "hard"], features=[[1, 2], [3], [4, 5]], source=[1, {}, None]
    )
    with pytest.raises(ValueError, match=r"column 'difficulty' must be numbers, .*got 'hard' in row 2"):
        pool.difficulty  # noqa: B018 - reading it is what raises
    with pytest.raises(ValueError, match=r"column 'features' must be numbers, .*got \[3\] in row 1"):
        pool.features  # noqa: B018
    pool.extend(["d"], difficulty=["easy"], features=["none"], source=["x"])
    assert pool.given("difficulty").tolist() == [1, None, "hard", "easy"]  # type: ignore[union-attr]
    assert pool.source.tolist() == [1, {}, None, "x"]  # type: ignore[union-attr]
    assert pool.given("prompt_tokens") is None


@pytest.mark.parametrize("column", ["ab", b"ab", {"a": 1, "b": 2}, {1, 2}, 5, np.array(5), iter([1, 2])])
@pytest.mark.parametrize("name", ["source", "difficulty", "pass_rate"])
def test_a_column_is_a_list(name: str, column: Any) -> None:
    with pytest.raises(TypeError, match=f"column '{name}' must be a list with one entry for each prompt"):
        PromptPool(["a", "b"], **{name: column})


def test_whole_numbers_are_ids() -> None:
    pool = PromptPool(np.array([3, 1]))
    assert pool.ids.tolist() == ["3", "1"]
    assert pool.fingerprint() == PromptPool(["3", "1"]).fingerprint()
    pool.extend([2])
    assert pool.positions(["2", "3"]).tolist() == [2, 0]


def test_unknown_lengths_and_rates_are_nan() -> None:
    pool = PromptPool(["a", "b"], prompt_tokens=[7, None], pass_rate=[None, 0.25])
    assert np.array_equal(pool.prompt_tokens, [7, math.nan], equal_nan=True)  # type: ignore[arg-type]
    assert np.array_equal(pool.pass_rate, np.float32([math.nan, 0.25]), equal_nan=True)  # type: ignore[arg-type]
    assert [pool.prompt_length(position) for position in (0, 1)] == [7, None]
    assert PromptPool(["a", "b"], prompt_tokens=["x", 5]).prompt_length(1) == 5
    assert PromptPool(["a"]).prompt_length(0) is None


def test_pass_rates_are_part_of_the_fingerprint() -> None:
    plain, rated = PromptPool(["a", "b"]), PromptPool(["a", "b"], pass_rate=[0.5, None])
    other = PromptPool(["a", "b"], pass_rate=[0.5, 0.5])
    assert len({pool.fingerprint() for pool in (plain, rated, other)}) == 3
    assert rated.fingerprint(1) == other.fingerprint(1)
    assert PromptPool(["a", "b"], pass_rate=["?", "?"]).fingerprint() == plain.fingerprint()


def test_numbers_come_in_many_forms() -> None:
    pool = PromptPool(["a", "b"], prompt_tokens=np.array([1.0, 2.0]), difficulty=[None, 3], source=[("x", 1), ("y", 2)])
    assert pool.prompt_tokens is not None
    assert pool.prompt_tokens.tolist() == [1, 2]
    assert pool.difficulty is not None
    assert np.array_equal(pool.difficulty, [math.nan, 3.0], equal_nan=True)
    assert pool.source is not None
    assert pool.source.tolist() == [("x", 1), ("y", 2)]
