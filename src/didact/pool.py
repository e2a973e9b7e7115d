"""What a pool is: all that the engine, methods and adapters may ask, whether or not its prompts are in this process.

Inside the engine a prompt is its position in the pool; everything stored, logged or exchanged uses the id.
The pool holds no prompt text: that stays with the trainer's data set.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.arrays import Positions
from didact.belief.base import Belief
from didact.columns import Columns
from didact.passes import Passes
from didact.prompt_ids import as_ids
from didact.weight_tree import Weights


class Pool(ABC):
    """Prompts by unique id, with what is known about each before any rollout, and room for what is found out.

    Columns (`source`, `difficulty`, `prompt_tokens`, `features`, `pass_rate`) are what `PromptPool` takes, or None.
    Reading one that cannot be worked with raises ValueError, and names the row.
    """

    #: Whether the prompts are spread over shards, see `didact.sharded`: then ids and columns are views that ask for
    #: what is read, and only a method that is `shardable` can work on it.
    sharded: bool = False

    def __init__(self) -> None:
        self._fingerprints: dict[int, str] = {}

    @abstractmethod
    def __len__(self) -> int:
        """Prompts so far."""

    def __contains__(self, prompt_id: object) -> bool:
        return isinstance(prompt_id, str) and bool(self._find([prompt_id])[0] >= 0)

    @property
    @abstractmethod
    def ids(self) -> NDArray[np.object_]:
        """All ids, in order of position; read-only."""

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

    @abstractmethod
    def given(self, name: str) -> NDArray[Any] | None:
        """A column whether or not it can be worked with, for the record; None if there is none."""

    @abstractmethod
    def prompt_length(self, position: int) -> int | None:
        """Tokens of one prompt; None where they are not known, or not a number."""

    def known_rates(self, positions: Positions) -> NDArray[np.float32]:
        """The pass rates of some prompts, nan where unknown. Raises ValueError if the pool has none."""
        rates = self.pass_rate
        if rates is None:
            raise ValueError("this pool has no column 'pass_rate'")
        return rates[positions]

    def positions(self, ids: Sequence[str]) -> Positions:
        """Positions of the given ids, shape (len(ids),). Raises ValueError for an id that is not in the pool."""
        found = self._find(ids)
        if (found < 0).any():
            unknown = ids[int(np.argmax(found < 0))]
            raise ValueError(f"unknown prompt id {unknown!r}: it is not among the {len(self)} prompts of the pool")
        return found

    def extend(self, ids: Iterable[str], **columns: ArrayLike) -> None:
        """Add prompts during a run; they get the next positions. The columns must be those the pool was built with.

        Raises as the constructor does, and then nothing is added.
        """
        listed, names = as_ids(ids), self._names()
        if set(columns) != set(names):
            raise ValueError(f"extend was given columns {sorted(columns)}, the pool has {sorted(names)}")
        if listed:
            self._append(listed, columns)

    def fingerprint(self, size: int | None = None) -> str:
        """A hash of the first `size` ids in order (default: all), and of their pass rates if there are any.

        It says whether a checkpoint fits this pool.
        """
        size = len(self) if size is None else size
        if size not in self._fingerprints:
            self._fingerprints[size] = self._fingerprint(size)
        return self._fingerprints[size]

    # What a curriculum keeps about every prompt; a pool that is spread over shards keeps it there.

    @abstractmethod
    def belief(self, **options: Any) -> Belief:
        """A belief about the prompts; options as in `Belief`, of which `prior_weight` needs pass rates."""

    @abstractmethod
    def columns(self, **start: Any) -> Columns:
        """A few numbers about each prompt: by name, what each has at the start, see `ArrayColumns`."""

    @abstractmethod
    def weight_tree(self) -> Weights:
        """A weight for each prompt of the pool as it is now, all zero."""

    @abstractmethod
    def passes(self, seed: int) -> Passes:
        """Shuffled passes through the pool."""

    # What a kind of pool has to say -----------------------------------------------------------------------------

    @abstractmethod
    def _names(self) -> Collection[str]:
        """Of its columns."""

    @abstractmethod
    def _column(self, name: str) -> NDArray[Any] | None:
        """A column that can be worked with. Raises ValueError for another."""

    @abstractmethod
    def _find(self, ids: Sequence[str]) -> Positions:
        """Positions of the given ids, -1 for one that is not here."""

    @abstractmethod
    def _append(self, ids: Sequence[str], columns: Mapping[str, Any]) -> None:
        """Add prompts with these columns, or raise and add nothing."""

    @abstractmethod
    def _fingerprint(self, size: int) -> str:
        """A hash of the first `size` prompts."""
