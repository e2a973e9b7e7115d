"""The checks of numbers: what passes comes back as Python's own, what does not is named."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from didact.bounds import flag, listed, one_of, real, shortened, whole, whole_or_none

NO_NUMBERS: list[Any] = [None, "1", b"1", [], [1], {}, True, np.bool_(True), np.zeros(3), 1j, object(), math.nan]


@given(st.integers(), st.integers(), st.integers())
def test_a_whole_number_passes_if_and_only_if_it_is_within_its_bounds(value: int, low: int, high: int) -> None:
    if low <= value <= high:
        assert whole("it", value, low, high) == value
    else:
        with pytest.raises(ValueError, match="it must be a whole number from"):
            whole("it", value, low, high)


@given(st.floats(), st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_a_real_number_passes_if_and_only_if_it_is_within_its_bounds(value: float, low: float, high: float) -> None:
    if low <= value <= high:
        assert real("it", value, low, high) == value
    else:
        with pytest.raises(ValueError, match="it must be a number from"):
            real("it", value, low, high)


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3), np.array(3)])
def test_numbers_of_numpy_become_those_of_python(value: Any) -> None:
    assert type(whole("it", value)) is int
    assert type(real("it", value)) is float
    assert whole("it", value) == real("it", value) == 3


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_what_is_no_number(value: Any) -> None:
    for check in (whole, real):
        with pytest.raises(ValueError, match="it must be a"):
            check("it", value)


@pytest.mark.parametrize("value", [1.0, 1.5, np.float64(2)])
def test_a_float_is_no_whole_number(value: float) -> None:
    with pytest.raises(ValueError, match="it must be a whole number"):
        whole("it", value)


def test_nothing_may_be_given_where_it_means_something() -> None:
    assert whole_or_none("it", None, 1) is None
    assert whole_or_none("it", 2, 1) == 2
    with pytest.raises(ValueError, match=r"from 1 to .*, got 0"):
        whole_or_none("it", 0, 1)


def test_flags_and_choices() -> None:
    assert [flag("it", value) for value in (True, np.bool_(False), 1, np.int64(0))] == [True, False, True, False]
    assert one_of("it", "a", ("a", "b")) == "a"
    for value in ("no", "", None, 2, 0.5, [], np.zeros(2)):
        with pytest.raises(ValueError, match="it must be true or false"):
            flag("it", value)
        with pytest.raises(ValueError, match="it must be one of a, b, got"):
            one_of("it", value, ("a", "b"))


def test_columns() -> None:
    for column in ([1, 0], (1, 0), np.array([1, 0]), iter([1, 0])):
        values = list(listed("it", column, "per rollout"))
        assert values == [1, 0]
        assert {type(value) for value in values} == {int}
    for value in ("10", b"10", {1: 0}, {1, 0}, 1, None, np.float64(1), np.array(1)):
        with pytest.raises(TypeError, match="it must be a list with one entry per rollout, got"):
            listed("it", value, "per rollout")


def test_messages_stay_on_one_line_and_short() -> None:
    for value in (10**4000, 10**10000, "x" * 10**6, [1] * 10**6):
        assert len(shortened(value)) < 200
