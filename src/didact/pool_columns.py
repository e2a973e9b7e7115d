"""What is known about prompts before any rollout: columns as users bring them, checked once.

A column that cannot be worked with is kept as it is, with what is wrong: nobody may ever ask for it.
"""

from collections.abc import Mapping, Set
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from didact.bounds import MAX_TOKENS, plain, shortened

#: What can be known.
COLUMNS = ("source", "difficulty", "prompt_tokens", "features", "pass_rate")
#: Of difficulties and features, whose squared distances must be finite.
MAX_COLUMN = 1e15


def as_length(tokens: object) -> int | None:
    """A number of tokens; None for anything else."""
    number = plain(tokens)
    whole = isinstance(number, int | float) and not isinstance(number, bool) and 0 <= number <= MAX_TOKENS
    return int(number) if whole and number == int(number) else None


class Column(NamedTuple):
    """What is known about each prompt: numbers that can be worked with or, with a `fault`, what was given instead."""

    values: NDArray[Any]
    fault: str | None = None

    def checked(self) -> NDArray[Any]:
        """The values. Raises ValueError, naming column and row, if they cannot be worked with."""
        if self.fault is not None:
            raise ValueError(self.fault)
        return self.values

    def joined(self, more: "Column") -> "Column":
        """With the rows of prompts that join. Raises ValueError for rows worse than those that are there."""
        added = _as_given(more.values) if self.fault else more.checked()
        return Column(np.concatenate([self.values, added]), self.fault)

    def hash_into(self, digest: Any, size: int) -> None:
        """Add the first `size` rows to a hash, unless they cannot be worked with."""
        if self.fault is None:
            digest.update(np.ascontiguousarray(self.values[:size], dtype="<f4").tobytes())


def as_column(name: str, column: Any, size: int) -> Column:
    """A column as the pool keeps it: a copy, one row for each of `size` prompts.

    Raises:
        ValueError: another number of rows. TypeError: no list at all.
    """
    try:
        listed = not isinstance(column, str | bytes | Mapping | Set) and len(column) >= 0
    except TypeError:
        listed = False
    if not listed:
        raise TypeError(f"column {name!r} must be a list with one entry for each prompt, got {shortened(column)}")
    if len(column) != size:
        raise ValueError(f"column {name!r} has {len(column)} rows for {size} prompts")
    if name == "source":
        return Column(_as_given(column))
    try:
        return Column(_as_numbers(name, column))
    except ValueError as error:
        return Column(_as_given(column), str(error))


def _as_given(column: Any) -> NDArray[Any]:
    array: NDArray[Any] = np.empty(len(column), dtype=object)
    for row, value in enumerate(column):  # all at once, numpy would look into lists
        array[row] = value
    return array


def _as_numbers(name: str, column: Any) -> NDArray[Any]:
    try:
        given = np.asarray(column)
    except (ValueError, OverflowError):  # rows of different lengths
        given = _as_given(column)
    if given.dtype == object and all(each is None or type(each) in (int, float) for each in given.flat):
        with suppress(OverflowError):  # of a whole number that no float can hold
            given = given.astype(np.float64)  # None becomes nan
    if given.ndim not in ((1, 2) if name == "features" else (1,)) or given.dtype.kind not in "iuf":
        row, value = _first_strange(name, column)
        raise ValueError(
            f"column {name!r} must be numbers, one row for each prompt, got {shortened(value)} in row {row}"
        )
    unknown = np.isnan(given)
    if name == "prompt_tokens":
        bad = ~((given >= 0) & (given <= MAX_TOKENS) & (given == np.floor(given)) | unknown)
        wanted = f"whole numbers from 0 to {MAX_TOKENS}"
    elif name == "pass_rate":
        bad = ~((given >= 0) & (given <= 1) | unknown)
        wanted = "shares of passes from 0 to 1"
    else:
        bad = np.isinf(given) | (np.abs(given) > MAX_COLUMN) | (unknown & (name == "features"))
        wanted = f"numbers from {-MAX_COLUMN:g} to {MAX_COLUMN:g}"
    if bad.any():
        row = int(np.argwhere(bad)[0][0])
        raise ValueError(f"column {name!r} must be {wanted}, got {shortened(given[row].tolist())} in row {row}")
    if name == "prompt_tokens":
        return np.array(given, dtype=np.float64 if unknown.any() else np.int32)
    return np.array(given, dtype=np.float32)


def _first_strange(name: str, column: Any) -> tuple[int, Any]:
    """The first row that is no number; of features, that is no list of numbers, or longer or shorter than the first."""

    def strange(value: Any) -> bool:
        if name == "features" and hasattr(value, "__len__") and not isinstance(value, str | bytes | Mapping):
            inner = list(value)
            return len(inner) != len(column[0]) or any(map(_no_number, inner))
        return _no_number(value) or (name == "features" and hasattr(column[0], "__len__"))

    rows = [(row, value) for row, value in enumerate(column) if strange(value)]
    return rows[0] if rows else (0, column[0])


def _no_number(value: Any) -> bool:
    number = plain(value)
    return isinstance(number, bool) or not isinstance(number, int | float | None)
