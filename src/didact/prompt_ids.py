"""Prompt ids: unique text, found by hash and told apart by a fingerprint.

Whole numbers are taken as text (1 is "1"): data sets number their rows.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didact.arrays import Positions
from didact.bounds import plain

_CHUNK = 65536  # ids encoded at a time


class PromptIds:
    """Unique ids by position, as Python strings. `with_more` gives others; these never change.

    Attributes:
        text: the ids, shape (n,), read-only.
    """

    def __init__(self, text: NDArray[np.object_] | None = None) -> None:
        """Raises ValueError for an id that occurs twice."""
        self.text = np.empty(0, dtype=object) if text is None else text
        # A sorted array of 64-bit hashes costs 12 bytes a prompt where a dict of positions costs about 75.
        hashes = np.fromiter(map(hash, self.text), dtype=np.int64, count=len(self.text))
        self._order = np.argsort(hashes, kind="stable").astype(np.int32)  # 2**31 prompts would not fit in memory
        self._hashes = hashes[self._order]
        for index in np.flatnonzero(self._hashes[1:] == self._hashes[:-1]):
            same = self.text[self._order[self._hashes == self._hashes[index]]]
            if len(set(same)) < len(same):
                raise ValueError(f"duplicate prompt id {self.text[self._order[index]]!r}: ids must be unique")
        self.text.flags.writeable = False

    def __len__(self) -> int:
        return len(self.text)

    def with_more(self, ids: Sequence[str]) -> "PromptIds":
        """These and others after them. Raises ValueError for an id that occurs twice."""
        text = np.empty(len(self) + len(ids), dtype=object)
        text[: len(self)], text[len(self) :] = self.text, ids
        return PromptIds(text)

    def find(self, ids: Sequence[str]) -> Positions:
        """Positions of the given ids, shape (len(ids),); -1 for one that is not here."""
        return np.fromiter((self._find(prompt_id) for prompt_id in ids), dtype=np.int64, count=len(ids))

    def hash_into(self, digest: Any, size: int) -> None:
        """Add the first `size` ids to a hash."""
        for start in range(0, size, _CHUNK):
            encoded = [prompt_id.encode() for prompt_id in self.text[start : min(start + _CHUNK, size)]]
            # With the lengths, no two lists of as many ids look the same, whatever characters they hold.
            digest.update(np.fromiter(map(len, encoded), dtype="<i8", count=len(encoded)).tobytes())
            digest.update(b"".join(encoded))

    def _find(self, prompt_id: str) -> int:
        value = hash(prompt_id)
        index = int(np.searchsorted(self._hashes, value))
        while index < len(self._hashes) and self._hashes[index] == value:
            position = int(self._order[index])
            if self.text[position] == prompt_id:
                return position
            index += 1
        return -1


def as_ids(ids: Iterable[str | int]) -> list[str]:
    """Ids as text.

    Raises:
        ValueError: an empty id, or one that UTF-8 cannot express.
        TypeError: a single string, or an id that is neither text nor a whole number.
    """
    refuse_single(ids)
    listed = [as_id(prompt_id) for prompt_id in ids]
    for prompt_id in listed:
        if not prompt_id:
            raise ValueError("an empty string is no prompt id")
        try:
            prompt_id.encode()
        except UnicodeEncodeError:  # half of a surrogate pair: no file and no fingerprint can hold it
            raise ValueError(f"prompt id {prompt_id!r} is no text that UTF-8 can express") from None
    return listed


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


def refuse_single(ids: object) -> None:
    """Raises TypeError for one string in place of many, which would be read as its letters."""
    if isinstance(ids, str):
        raise TypeError(f"ids must be a sequence of strings, not the single string {ids!r}")
