"""Columns: a few numbers about every prompt, for methods that remember more of prompts than the belief does.

    memory.visits = run.pool.columns(passes=np.float64(0), step=np.int32(-1))      # in `Method.init`
    memory.visits.put("step", positions, turn.step)
    memory.visits.get("step", positions)

They grow with the pool, save no more than what differs from the start, and live in the shards of a sharded pool: a
method that keeps its state in them works there, too.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.arrays import Positions
from didact.state import in_order


class Columns(ABC):
    """Columns by name over the prompts of a pool, which `Pool.columns` makes."""

    @abstractmethod
    def get(self, name: str, positions: Positions | slice) -> NDArray[Any]:
        """What stands at some positions, shape (n,) or (n, width): a copy, or of a slice perhaps a view."""

    @abstractmethod
    def put(self, name: str, positions: Positions | slice, values: ArrayLike) -> None:
        """Write at some distinct positions: one value for each, or the same for all."""

    @abstractmethod
    def count(self, name: str, least: float) -> int:
        """How many prompts of the pool have `least` or more."""

    @abstractmethod
    def clear(self, name: str) -> None:
        """Put all prompts back to the start."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Only rows that differ from the start are stored."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state. Raises ValueError for rows of no prompt here, and for columns that do not fit."""


class ArrayColumns(Columns):
    """Columns that are arrays in this process.

    Args:
        size: gives the number of prompts.
        start: what each prompt has at the start: a numpy number, or an array for a column of rows. Its dtype is the
            column's.

    Raises:
        ValueError: a column called "seen".
    """

    def __init__(self, size: Callable[[], int], start: Mapping[str, Any]) -> None:
        if "seen" in start:
            raise ValueError("no column can be called 'seen': in a state that says which rows there are")
        self._size = size
        self._start = {name: np.asarray(value) for name, value in start.items()}
        self._columns = {name: np.zeros((0, *value.shape), value.dtype) for name, value in self._start.items()}

    def get(self, name: str, positions: Positions | slice) -> NDArray[Any]:
        return self._grown(name)[positions]

    def put(self, name: str, positions: Positions | slice, values: ArrayLike) -> None:
        self._grown(name)[positions] = values

    def count(self, name: str, least: float) -> int:
        return int(np.count_nonzero(self._grown(name) >= least))

    def clear(self, name: str) -> None:
        self._columns[name] = self._columns[name][:0]

    def state_dict(self) -> dict[str, Any]:
        size = self._size()
        differs = np.zeros(size, dtype=np.bool_)
        for name, start in self._start.items():
            differs |= (self._grown(name) != start).reshape(size, -1).any(axis=1)
        seen = np.flatnonzero(differs)
        return {"seen": seen, **{name: column[seen] for name, column in self._columns.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        seen, size = state["seen"], self._size()
        if set(state) != {"seen", *self._start} or not in_order(seen, size):
            raise ValueError(f"columns {sorted(self._start)} of some of {size} prompts in order, got {sorted(state)}")
        for name, start in self._start.items():
            saved, shape = state[name], (len(seen), *start.shape)
            if saved.dtype != start.dtype or saved.shape != shape or not np.isfinite(saved).all():
                raise ValueError(f"column {name!r} must hold finite numbers of {start.dtype} in shape {shape}")
        for name in self._start:
            self.clear(name)
            self._grown(name)[seen] = state[name]

    def _grown(self, name: str) -> NDArray[Any]:
        column, start = self._columns[name], self._start[name]
        joined = self._size() - len(column)
        if joined > 0:
            new = np.broadcast_to(start, (joined, *start.shape))
            column = self._columns[name] = np.concatenate([column, new])
        return column


def parts_of(state: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The state of columns as its parts, one for each shard if there are shards: for checks across columns."""
    parts: Sequence[Mapping[str, Any]] = state.get("shards", [state])
    return parts
