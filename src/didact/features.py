"""Features of prompts out of their text: hashed words, compressed. Numpy alone, no model.

    words = WordFeatures(texts)
    pool = PromptPool(ids, features=words.of(texts))            # shape (n, 32)
    pool.extend(more_ids, features=words.of(more_texts))

A text counts as its words, its numbers by how many digits they have (7 and 9 are one word, 1234 another), and its other
signs. Counts enter as log(1 + count) times the inverse document frequency, each text with length one, and are projected
on the directions in which the texts that it was made of differ most. It tells texts of one kind from those of another;
what a text means it does not know.
"""

import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BUCKETS = 1024
_SAMPLE = 8192  # texts by which the directions are chosen
_ROWS = 4096  # texts in memory at a time
_TOKEN = re.compile(r"\d+|[^\W\d_]+|[^\w\s]|_")


class WordFeatures:
    """A projection of texts on `width` numbers.

    Args:
        texts: prompts to choose the directions by; of more than 8,192, as many spread evenly.
        width: numbers for each text, 1 to 1024. Texts that differ in fewer ways have zeros for the rest.

    Raises:
        ValueError: no texts, or a width out of range. TypeError: a text that is none.
    """

    def __init__(self, texts: Sequence[str], width: int = 32) -> None:
        if isinstance(texts, str) or not len(texts):
            raise ValueError("texts must be a list of prompts, and at least one")
        if not 1 <= width <= _BUCKETS:
            raise ValueError(f"width must be 1 to {_BUCKETS}, got {width}")
        chosen = np.unique(np.linspace(0, len(texts) - 1, min(len(texts), _SAMPLE)).astype(np.int64))
        counts = _counts([texts[row] for row in chosen])
        self._rarity = np.log((1 + len(counts)) / (1 + (counts > 0).sum(axis=0))).astype(np.float32)
        rows = _unit(counts * self._rarity)
        self._center = rows.mean(axis=0)
        used = np.flatnonzero(counts.any(axis=0))  # of most pools a few hundred words, and the rest has no directions
        rows = (rows - self._center)[:, used].astype(np.float64)
        variance, directions = np.linalg.eigh(rows.T @ rows / len(rows))
        order = np.argsort(variance)[::-1][:width]
        self._directions = np.zeros((_BUCKETS, width), dtype=np.float32)
        for place, column in enumerate(order[variance[order] > 1e-9]):
            direction = directions[:, column]
            # Its sign is arbitrary: fixed here, so that the same texts give the same features in every process.
            self._directions[used, place] = direction * np.sign(direction[np.abs(direction).argmax()])

    def of(self, texts: Iterable[str]) -> NDArray[np.float32]:
        """Features, shape (n, width)."""
        listed = list(texts)
        parts = [listed[first : first + _ROWS] for first in range(0, len(listed), _ROWS)]
        empty = np.zeros((0, self._directions.shape[1]), dtype=np.float32)
        found = [(_unit(_counts(part) * self._rarity) - self._center) @ self._directions for part in parts]
        return np.concatenate([empty, *found])


def text_of(prompt: Any) -> str:
    """The text of a prompt as data sets have it: a string, or the messages of a conversation; of anything else none."""
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, Mapping):  # a message, or a part of one
        return text_of(prompt.get("content", prompt.get("text")))
    return "\n".join(map(text_of, prompt)) if isinstance(prompt, list | tuple) else ""


def _counts(texts: Sequence[str]) -> NDArray[np.float32]:
    """log(1 + how often a text has a word), by the word's bucket, shape (n, buckets)."""
    counts = np.zeros((len(texts), _BUCKETS), dtype=np.float32)
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"a text must be a str, got {text!r} at place {row}")
        for token in _TOKEN.findall(text.lower()):
            word = f"number of {len(token)}" if token.isdigit() else token
            counts[row, zlib.crc32(word.encode("utf-8", "surrogatepass")) % _BUCKETS] += 1
    return np.log1p(counts)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1.0), dtype=np.float32)
