"""How many groups each source gets by floors and ceilings, whatever the method drafted."""

import numpy as np
import pytest

from didact.methods.wrappers.shares import as_quotas, within_shares

SIZES = np.array([100, 50, 10])


@pytest.mark.parametrize(
    ("have", "floor", "ceiling", "expected"),
    [
        ([6, 1, 1], [0, 0, 0], [1, 1, 1], [6, 1, 1]),  # nothing to do
        ([8, 0, 0], [0, 0.25, 0], [1, 1, 1], [6, 2, 0]),  # a floor takes from the others
        ([8, 0, 0], [0, 0, 0], [0.5, 1, 1], [4, 3, 1]),  # what is above a ceiling goes by the sizes of the others
        ([8, 0, 0], [0, 0.9, 0.1], [1, 1, 1], [0, 7, 1]),  # floors that leave nothing else
    ],
)
def test_groups_of_a_plan(have: list[int], floor: list[float], ceiling: list[float], expected: list[int]) -> None:
    nothing = np.zeros(3)
    got = within_shares(np.array(have), nothing, nothing, np.array(floor), np.array(ceiling), SIZES)
    assert got.tolist() == expected


def test_a_floor_that_is_never_met_takes_no_more_than_half() -> None:
    planned, trained = np.array([50.0, 50.0, 0.0]), np.array([50.0, 0.0, 0.0])
    got = within_shares(np.array([8, 0, 0]), planned, trained, np.array([0, 0.2, 0]), np.ones(3), SIZES)
    assert got.tolist() == [4, 4, 0]


def test_as_they_are_written() -> None:
    assert as_quotas({"a": 0.2, "b": [None, 0.5], "c": (0.1, None)}) == {
        "a": [0.2, 1.0],
        "b": [0.0, 0.5],
        "c": [0.1, 1.0],
    }
