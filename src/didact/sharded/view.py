"""What reads like an array over the pool, and asks for what is read."""

from collections.abc import Callable, Iterator, Sized
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from didact.arrays import Positions


def view(
    whole: Sized,
    read: Callable[[Positions], NDArray[Any]],
    one: Callable[[int], Any] | None = None,
    all_of: Callable[[], Iterator[Any]] | None = None,
) -> NDArray[Any]:
    """For those who only read: what a curriculum does with an array over `whole`, this does too.

    Args:
        read: gives what stands at some positions.
        one: a faster way to a single position.
        all_of: a better way to all of them.
    """
    return cast("NDArray[Any]", _View(whole, read, one, all_of))


class _View:
    def __init__(
        self,
        whole: Sized,
        read: Callable[[Positions], NDArray[Any]],
        one: Callable[[int], Any] | None,
        all_of: Callable[[], Iterator[Any]] | None,
    ) -> None:
        self._whole, self._read, self._one, self._all = whole, read, one, all_of

    def __len__(self) -> int:
        return len(self._whole)

    def __getitem__(self, index: Any) -> Any:
        if self._one is not None and type(index) is int and 0 <= index < len(self):
            return self._one(index)
        if isinstance(index, slice):
            return self._read(np.arange(len(self))[index])
        positions = np.asarray(index)
        if positions.dtype == np.bool_:
            positions = np.flatnonzero(positions)
        if ((positions < -len(self)) | (positions >= len(self))).any():
            raise IndexError(f"position out of range for {len(self)} prompts")
        found = self._read(np.atleast_1d(positions).astype(np.int64) % len(self))
        return found if positions.ndim else found[0]

    def __iter__(self) -> Iterator[Any]:
        return iter(self[:]) if self._all is None else self._all()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)

    def tolist(self) -> list[Any]:
        return list(self)
