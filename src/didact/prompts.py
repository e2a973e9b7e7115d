"""The prompt pool that is in this process: ids, and arrays of what is known about each prompt before any rollout."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.arrays import Positions
from didact.belief import BetaBelief
from didact.columns import ArrayColumns
from didact.passes import ShuffledPasses
from didact.pool import Pool
from didact.pool_columns import COLUMNS, Column, as_column, as_length
from didact.prompt_ids import PromptIds, as_ids
from didact.prompt_ids import as_id as as_id
from didact.weight_tree import WeightTree


class PromptPool(Pool):
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

    def __init__(
        self,
        ids: Iterable[str],
        source: Sequence[str] | None = None,
        difficulty: ArrayLike | None = None,
        prompt_tokens: ArrayLike | None = None,
        features: ArrayLike | None = None,
        pass_rate: ArrayLike | None = None,
    ) -> None:
        super().__init__()
        self._ids = PromptIds()
        self._columns: dict[str, Column] = {}
        listed = as_ids(ids)
        if not listed:
            raise ValueError("an empty pool: PromptPool needs at least one prompt id")
        columns = dict(zip(COLUMNS, (source, difficulty, prompt_tokens, features, pass_rate), strict=True))
        self._append(listed, {name: column for name, column in columns.items() if column is not None})

    def __len__(self) -> int:
        return len(self._ids)

    def __repr__(self) -> str:
        return f"PromptPool({len(self)} prompts, columns: {', '.join(self._columns) or 'none'})"

    @property
    def ids(self) -> NDArray[np.object_]:
        return self._ids.text

    def given(self, name: str) -> NDArray[Any] | None:
        column = self._columns.get(name)
        return None if column is None else column.values

    def prompt_length(self, position: int) -> int | None:
        column = self._columns.get("prompt_tokens")
        return None if column is None else as_length(column.values[position])

    def belief(self, **options: Any) -> BetaBelief:
        return BetaBelief(len(self), known=self.known_rates, **options)

    def columns(self, **start: Any) -> ArrayColumns:
        return ArrayColumns(self.__len__, start)

    def weight_tree(self) -> WeightTree:
        return WeightTree(len(self))

    def passes(self, seed: int) -> ShuffledPasses:
        return ShuffledPasses(seed)

    def _names(self) -> Collection[str]:
        return self._columns

    def _column(self, name: str) -> NDArray[Any] | None:
        column = self._columns.get(name)
        return None if column is None else column.checked()

    def _find(self, ids: Sequence[str]) -> Positions:
        return self._ids.find(ids)

    def _append(self, ids: Sequence[str], columns: Mapping[str, Any]) -> None:
        prepared = {name: as_column(name, column, len(ids)) for name, column in columns.items()}
        if self._columns:
            prepared = {name: self._columns[name].joined(column) for name, column in prepared.items()}
        for column in prepared.values():
            column.values.flags.writeable = False
        self._ids, self._columns = self._ids.with_more(ids), prepared

    def _fingerprint(self, size: int) -> str:
        digest = blake2b(digest_size=16)
        self._ids.hash_into(digest, size)
        if (rates := self._columns.get("pass_rate")) is not None:
            rates.hash_into(digest, size)
        return digest.hexdigest()
