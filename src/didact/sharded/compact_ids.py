"""Prompt ids as one block of utf-8 and where each begins, with a sorted column of hashes to find them by.

A million Python strings cost about 70 bytes each beside their letters, and a lookup table as much again. Here an id
costs its letters and 12 bytes. The hash is the same in every process (Python's own is not), so that the shards of a
pool can be searched for ids that two of them hold.
"""

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from didact.arrays import Positions
from didact.prompt_ids import as_id, refuse_single

Bytes = NDArray[np.uint8]
Ends = NDArray[np.uint32] | NDArray[np.int64]

_CHUNK = 65536
_MAX_BLOCK = 1 << 24  # bytes hashed at a time
_PRIME = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(32)


class CompactIds:
    """Unique, non-empty ids by position.

    Args:
        ids: strings, or a numpy array of fixed-width bytes (dtype "S"), which is read without a Python loop.

    Raises:
        ValueError: an empty or duplicate id. TypeError: an id that is neither text nor a whole number.
    """

    def __init__(self, ids: Iterable[str] | NDArray[np.bytes_]) -> None:
        self._text: Bytes = np.zeros(0, dtype=np.uint8)
        self._ends: Ends = np.zeros(0, dtype=np.uint32)
        self._keys: NDArray[np.uint32] = np.zeros(0, dtype=np.uint32)  # upper halves of the hashes, sorted
        self._order: NDArray[np.int32] = np.zeros(0, dtype=np.int32)  # the positions they belong to
        self.extend(ids)

    def __len__(self) -> int:
        return len(self._ends)

    def extend(self, ids: Iterable[str] | NDArray[np.bytes_]) -> None:
        """Add ids at the end. Raises as the constructor, and then nothing is added."""
        text, ends = _encoded(ids)
        if len(ends) == 0:
            return
        if len(self):
            ends = _narrowed(np.concatenate([self._ends.astype(np.int64), ends.astype(np.int64) + len(self._text)]))
            text = np.concatenate([self._text, text])
        if len(ends) >= 2**31:
            raise ValueError(f"{len(ends)} ids in one store: at most 2**31 - 1; take more shards")
        keys = (_hashes(text, ends) >> _SHIFT).astype(np.uint32)
        order = np.argsort(keys, kind="stable").astype(np.int32)
        keys = keys[order]
        self._refuse_repeated(text, ends, keys, order)
        self._text, self._ends, self._keys, self._order = text, ends, keys, order

    def take(self, positions: Positions | None = None) -> list[str]:
        """The ids at some positions, default all."""
        positions = np.arange(len(self)) if positions is None else positions
        starts = np.where(positions > 0, self._ends[positions - 1], 0).tolist()
        block = self._text.data
        return [
            bytes(block[start:end]).decode() for start, end in zip(starts, self._ends[positions].tolist(), strict=True)
        ]

    def find(self, ids: Iterable[str]) -> Positions:
        """Positions of ids, -1 for one that is not here."""
        wanted = list(ids)
        found = np.full(len(wanted), -1, dtype=np.int64)
        known = [index for index, each in enumerate(wanted) if isinstance(each, str) and each]
        text, ends = _encoded([wanted[index] for index in known])
        keys = (_hashes(text, ends) >> _SHIFT).astype(np.uint32)
        low, high = (np.searchsorted(self._keys, keys, side) for side in ("left", "right"))
        for index, start, end in zip(known, low.tolist(), high.tolist(), strict=True):
            if start < end:
                candidates = self._order[start:end].astype(np.int64)
                same = [each == wanted[index] for each in self.take(candidates)]
                found[index] = candidates[same.index(True)] if any(same) else -1
        return found

    def hashes(self, part: int, num_parts: int) -> NDArray[np.uint64]:
        """The 64-bit hashes that fall into one of `num_parts` ranges, for a comparison with other stores."""
        low, high = ((each << 32) // num_parts for each in (part, part + 1))
        begin, end = np.searchsorted(self._keys, np.array([low, high], dtype=np.uint64)).tolist()
        return self._hashes_at(self._order[begin:end].astype(np.int64))

    def with_hashes(self, hashes: NDArray[np.uint64]) -> list[str]:
        """The ids that have one of these hashes."""
        keys = (hashes >> _SHIFT).astype(np.uint32)
        low, high = (np.searchsorted(self._keys, keys, side) for side in ("left", "right"))
        near = np.concatenate([np.zeros(0, np.int64), *map(np.arange, low, high)])
        near = np.unique(self._order[near].astype(np.int64))
        return self.take(near[np.isin(self._hashes_at(near), hashes)])

    def fingerprint(self, size: int | None = None) -> str:
        """A hash of the first `size` ids in order (default: all)."""
        ends = self._ends[: len(self) if size is None else size]
        digest = blake2b(self._text[: int(ends[-1]) if len(ends) else 0].data, digest_size=16)
        digest.update(ends.astype(np.int64).data)
        return digest.hexdigest()

    def _hashes_at(self, positions: Positions) -> NDArray[np.uint64]:
        starts = np.where(positions > 0, self._ends[positions - 1], 0).astype(np.int64)
        lengths = self._ends[positions].astype(np.int64) - starts
        ends = np.cumsum(lengths)
        spread = np.repeat(starts - (ends - lengths), lengths) + np.arange(int(ends[-1]) if len(ends) else 0)
        return _hashes(self._text[spread], ends)

    @staticmethod
    def _refuse_repeated(text: Bytes, ends: Ends, keys: NDArray[np.uint32], order: NDArray[np.int32]) -> None:
        block, same = text.data, np.flatnonzero(keys[1:] == keys[:-1])
        seen: dict[int, set[bytes]] = {}
        for index in np.unique(np.concatenate([same, same + 1])).tolist():
            position = int(order[index])
            each = bytes(block[int(ends[position - 1]) if position else 0 : int(ends[position])])
            group = seen.setdefault(int(keys[index]), set())
            if each in group:
                raise ValueError(f"duplicate prompt id {each.decode()!r}: ids must be unique")
            group.add(each)


def _encoded(ids: Iterable[str] | NDArray[np.bytes_]) -> tuple[Bytes, Ends]:
    """All letters in a row, and where each id ends."""
    if isinstance(ids, np.ndarray) and ids.dtype.kind == "S":
        return _from_fixed_width(ids)
    refuse_single(ids)
    blocks: list[bytes] = []
    lengths: list[NDArray[np.int64]] = []
    for chunk in _chunks(ids):
        try:
            encoded = [as_id(prompt_id).encode() for prompt_id in chunk]
        except UnicodeEncodeError as error:
            raise ValueError(f"prompt id {error.object!r} is no text that UTF-8 can express") from None
        blocks.append(b"".join(encoded))
        lengths.append(np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded)))
    sizes = np.concatenate([np.zeros(0, np.int64), *lengths])
    if (sizes == 0).any():
        raise ValueError("an empty string is no prompt id")
    return np.frombuffer(b"".join(blocks), dtype=np.uint8), _narrowed(np.cumsum(sizes))


def _from_fixed_width(ids: NDArray[np.bytes_]) -> tuple[Bytes, Ends]:
    letters = np.ascontiguousarray(ids).view(np.uint8).reshape(len(ids), -1)
    blocks, lengths = [np.zeros(0, np.uint8)], [np.zeros(0, np.int64)]
    for start in range(0, len(ids), _CHUNK):
        chunk = letters[start : start + _CHUNK]
        used = chunk != 0
        if (used[:, 1:] & ~used[:, :-1]).any():
            raise ValueError("an array of fixed-width ids holds one with a NUL inside: give such ids as strings")
        blocks.append(chunk[used])
        lengths.append(used.sum(axis=1))
    sizes = np.concatenate(lengths)
    if (sizes == 0).any():
        raise ValueError("an empty string is no prompt id")
    text = np.concatenate(blocks)
    _refuse_undecodable(text, np.cumsum(sizes) - sizes)
    return text, _narrowed(np.cumsum(sizes))


def _refuse_undecodable(text: Bytes, starts: Positions) -> None:
    """Raise ValueError unless every id by itself is UTF-8: all in a row are, and none begins within a character."""
    if (text < 0x80).all():
        return
    try:
        bytes(text).decode()
    except UnicodeDecodeError:
        raise ValueError("an array of fixed-width ids holds one that is no UTF-8") from None
    if (text[starts] & 0xC0 == 0x80).any():
        raise ValueError("an array of fixed-width ids holds one that begins within a character of UTF-8")


def _chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(ids)
    while chunk := list(islice(iterator, _CHUNK)):
        yield chunk


def _narrowed(ends: NDArray[np.int64]) -> Ends:
    return ends.astype(np.uint32) if len(ends) == 0 or ends[-1] < 2**32 else ends


def _hashes(text: Bytes, ends: Ends) -> NDArray[np.uint64]:
    """64-bit hashes of ids, eight letters at a time for many ids at once."""
    lengths = np.diff(ends.astype(np.int64), prepend=0)
    hashes = np.empty(len(lengths), dtype=np.uint64)
    start = 0
    while start < len(lengths):
        stop = min(start + _CHUNK, len(lengths))
        width = -(-int(lengths[start:stop].max()) // 8) * 8
        stop = min(stop, start + max(_MAX_BLOCK // width, 1))
        block = np.zeros((stop - start, width), dtype=np.uint8)
        used = np.arange(width)[None] < lengths[start:stop, None]
        block[used] = text[int(ends[start - 1]) if start else 0 : int(ends[stop - 1])]
        value = lengths[start:stop].astype(np.uint64) * _PRIME
        for index, word in enumerate(block.view("<u8").T):
            mixed = (value ^ word) * _PRIME
            mixed ^= mixed >> _SHIFT
            # The hash must not depend on how long its neighbours are.
            value = np.where(lengths[start:stop] > 8 * index, mixed, value)
        value *= _PRIME
        hashes[start:stop] = value ^ (value >> np.uint64(29))
        start = stop
    return hashes
