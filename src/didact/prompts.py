"""The prompt pool: unique string ids and what is known about each prompt before any rollout.

Inside the engine a prompt is its position in the pool; everything stored, logged or exchanged uses the id.
The pool holds no prompt text: that stays with the trainer's data set.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.belief import BetaBelief
from didact.bounds import plain
from didact.columns import Columns
from didact.pool_columns import COLUMNS, Column, as_column, as_length
from didact.selection import ShuffledPasses
from didact.weight_tree import WeightTree


class PromptPool:
    """Prompts by unique id, with optional columns of the same length.

    Args:
        ids: unique and not empty; whole numbers are taken as text (1 is "1").
        source: a label per prompt, for example the data set it came from.
        difficulty: a number per prompt that describes the problem (digits, depth, level), not a pass rate.
        prompt_tokens: prompt length in tokens.
        features: array of shape (num_prompts, num_features), finite.
        pass_rate: how often some other model passes, in [0, 1]: where the belief starts, see `Curriculum`.

    None and nan stand for an unknown difficulty, length or pass rate; which methods take those is theirs to say. A
    column that holds something else (words in `difficulty`) is taken too, since nobody may ask for it: reading it
    raises, and names the row. `given` reads it as it is. What `extend` adds must be as good as what is there.

    Raises:
        ValueError: no ids, a duplicate or empty id or one that UTF-8 cannot express, or a column of another length.
        TypeError: an id that is neither text nor a whole number, or a column that is no list.
    """

    #: Whether the prompts are spread over shards, see `didact.sharded`.
    sharded = False

    def __init__(
        self,
        ids: Iterable[str],
        source: Sequence[str] | None = None,
        difficulty: ArrayLike | None = None,
        prompt_tokens: ArrayLike | None = None,
        features: ArrayLike | None = None,
        pass_rate: ArrayLike | None = None,
    ) -> None:
        self._ids: NDArray[np.object_] = np.empty(0, dtype=object)
        self._hashes: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._order: NDArray[np.int32] = np.empty(0, dtype=np.int32)
        self._fingerprints: dict[int, str] = {}
        self._columns: dict[str, Column] = {}
        ids = _as_ids(ids)
        if len(ids) == 0:
            raise ValueError("an empty pool: PromptPool needs at least one prompt id")
        columns = dict(zip(COLUMNS, (source, difficulty, prompt_tokens, features, pass_rate), strict=True))
        self._append(ids, {name: column for name, column in columns.items() if column is not None})

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, prompt_id: object) -> bool:
        return isinstance(prompt_id, str) and self._find(prompt_id) >= 0

    def __repr__(self) -> str:
        return f"PromptPool({len(self)} prompts, columns: {', '.join(self._columns) or 'none'})"

    @property
    def ids(self) -> NDArray[np.object_]:
        """All ids, in order of position; read-only."""
        return self._ids

    @property
    def source(self) -> NDArray[Any] | None:
        return self._column("source")

    @property
    def difficulty(self) -> NDArray[Any] | None:
        return self._column("difficulty")

    @property
    def prompt_tokens(self) -> NDArray[Any] | None:
        return self._column("prompt_tokens")

    @property
    def features(self) -> NDArray[Any] | None:
        return self._column("features")

    @property
    def pass_rate(self) -> NDArray[Any] | None:
        return self._column("pass_rate")

    def given(self, name: str) -> NDArray[Any] | None:
        """A column whether or not it can be worked with, for the record; None if there is none."""
        column = self._columns.get(name)
        return None if column is None else column.values

    def prompt_length(self, position: int) -> int | None:
        """Tokens of one prompt; None where they are not known, or not a number."""
        column = self._columns.get("prompt_tokens")
        return None if column is None else as_length(column.values[position])

    def extend(self, ids: Iterable[str], **columns: ArrayLike) -> None:
        """Add prompts during a run; they get the next positions. The columns must be those the pool was built with."""
        ids = _as_ids(ids)
        if set(columns) != set(self._columns):
            raise ValueError(f"extend was given columns {sorted(columns)}, the pool has {sorted(self._columns)}")
        if len(ids):
            self._append(ids, columns)

    def positions(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Positions of the given ids, shape (len(ids),). Raises ValueError for an id that is not in the pool."""
        found = np.fromiter((self._find(prompt_id) for prompt_id in ids), dtype=np.int64, count=len(ids))
        if (found < 0).any():
            unknown = ids[int(np.argmax(found < 0))]
            raise ValueError(f"unknown prompt id {unknown!r}: it is not among the {len(self)} prompts of the pool")
        return found

    def fingerprint(self, size: int | None = None) -> str:
        """A hash of the first `size` ids in order (default: all), and of their pass rates if there are any.

        It says whether a checkpoint fits this pool.
        """
        size = len(self) if size is None else size
        if size not in self._fingerprints:
            digest = blake2b(digest_size=16)
            for start in range(0, size, 65536):
                encoded = [prompt_id.encode() for prompt_id in self._ids[start : min(start + 65536, size)]]
                # With the lengths, no two lists of as many ids look the same, whatever characters they hold.
                digest.update(np.fromiter(map(len, encoded), dtype="<i8", count=len(encoded)).tobytes())
                digest.update(b"".join(encoded))
            if (rates := self._columns.get("pass_rate")) is not None:
                rates.hash_into(digest, size)
            self._fingerprints[size] = digest.hexdigest()
        return self._fingerprints[size]

    # What a curriculum keeps about every prompt; a pool that is spread over shards keeps it there.

    def belief(self, **options: Any) -> BetaBelief:
        """A belief about the prompts; options as in `BetaBelief`, of which `prior_weight` needs pass rates."""
        return BetaBelief(len(self), known=self.known_rates, **options)

    def known_rates(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """The pass rates of some prompts, nan where unknown. Raises ValueError if the pool has none."""
        rates = self.pass_rate
        if rates is None:
            raise ValueError("this pool has no column 'pass_rate'")
        return rates[positions]

    def _column(self, name: str) -> NDArray[Any] | None:
        column = self._columns.get(name)
        return None if column is None else column.checked()

    def columns(self, **start: Any) -> Columns:
        """A few numbers about each prompt; what stands at the start says the dtype, see `Columns`."""
        return Columns(self.__len__, start)

    def weight_tree(self) -> WeightTree:
        """A weight for each prompt of the pool as it is now, all zero."""
        return WeightTree(len(self))

    def passes(self, seed: int) -> ShuffledPasses:
        """Shuffled passes through the pool."""
        return ShuffledPasses(seed)

    def _append(self, ids: NDArray[np.object_], columns: Mapping[str, Any]) -> None:
        prepared = {name: as_column(name, column, len(ids)) for name, column in columns.items()}
        if self._columns:
            prepared = {name: self._columns[name].joined(column) for name, column in prepared.items()}
        merged = np.concatenate([self._ids, ids])
        # A sorted array of 64-bit hashes costs 12 bytes a prompt where a dict of positions costs about 75.
        hashes = np.fromiter(map(hash, merged), dtype=np.int64, count=len(merged))
        order = np.argsort(hashes, kind="stable").astype(np.int32)  # 2**31 prompts would not fit in memory
        ordered = hashes[order]
        for index in np.flatnonzero(ordered[1:] == ordered[:-1]):
            same = merged[order[ordered == ordered[index]]]
            if len(set(same)) < len(same):
                raise ValueError(f"duplicate prompt id {merged[order[index]]!r}: ids must be unique")
        self._ids, self._hashes, self._order = merged, ordered, order
        self._columns = prepared
        for array in (self._ids, *(column.values for column in prepared.values())):
            array.flags.writeable = False

    def _find(self, prompt_id: str) -> int:
        value = hash(prompt_id)
        index = int(np.searchsorted(self._hashes, value))
        while index < len(self._hashes) and self._hashes[index] == value:
            position = int(self._order[index])
            if self._ids[position] == prompt_id:
                return position
            index += 1
        return -1


def _as_ids(ids: Iterable[str | int]) -> NDArray[np.object_]:
    if isinstance(ids, str):
        raise TypeError(f"ids must be a sequence of strings, not the single string {ids!r}")
    listed = [as_id(prompt_id) for prompt_id in ids]
    for prompt_id in listed:
        if not prompt_id:
            raise ValueError("an empty string is no prompt id")
        try:
            prompt_id.encode()
        except UnicodeEncodeError:  # half of a surrogate pair: no file and no fingerprint can hold it
            raise ValueError(f"prompt id {prompt_id!r} is no text that UTF-8 can express") from None
    array = np.empty(len(listed), dtype=object)
    array[:] = listed
    return array


def as_id(prompt_id: object) -> str:
    """An id as text.

    Raises:
        TypeError: neither text nor a whole number; True and 1.0 are none.
    """
    if isinstance(prompt_id, str):
        return prompt_id
    number = plain(prompt_id)
    if isinstance(number, bool) or not isinstance(number, int):
        kind = type(prompt_id).__name__
        raise TypeError(f"prompt ids must be str or int, got {prompt_id!r} ({kind}); convert them with str()")
    return str(number)
