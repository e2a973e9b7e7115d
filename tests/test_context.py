"""Context length over time."""

from typing import Any

import numpy as np
import pytest

from didact.context import FixedContext, StagedContext, as_context


def test_stages_follow_each_other_and_the_last_stays() -> None:
    schedule = StagedContext([(2, 8192), (3, 16384)])
    assert [schedule.context_length(step, {}) for step in range(7)] == [8192] * 2 + [16384] * 5


def test_a_number_or_nothing_is_a_fixed_length() -> None:
    assert as_context(512).context_length(9, {}) == 512
    assert as_context(None).context_length(9, {}) is None
    schedule = StagedContext([(1, 1)])
    assert as_context(schedule) is schedule


@pytest.mark.parametrize("stages", [[], [(0, 5)], [(5, 0)]])
def test_bad_stages(stages: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match=r"must be|needs stages"):
        StagedContext(stages)


def test_bad_length() -> None:
    with pytest.raises(ValueError, match="must be a whole number from 1 to 2147483647, got 0"):
        FixedContext(0)


@pytest.mark.parametrize("context", [0, -1, 2**31, True, "512", 1.5, {}, FixedContext, object()])
def test_a_context_is_a_length_or_a_schedule(context: Any) -> None:
    with pytest.raises(ValueError, match="a context length in tokens must be a whole number from 1 to 2147483647"):
        as_context(context)


def test_stages_as_a_configuration_has_them() -> None:
    assert as_context([[1, 8], [1, 16]]) == StagedContext([(1, 8), (1, 16)])


@pytest.mark.parametrize("stages", [[], [8, 16], [[1, 8, 2]], [[1, "8"]], [[0, 8]], [["x"]], ["ab"]])
def test_a_list_that_is_no_stages(stages: Any) -> None:
    with pytest.raises(ValueError, match=r"stages \(number of steps, length\)|must be a whole number"):
        as_context(stages)


def test_a_length_of_numpy_is_a_length() -> None:
    assert as_context(np.int64(512)) == FixedContext(512)
