"""What a pool knows of its prompts before any rollout, as rows of numbers for a regression.

    x = (1, which source, which level or how difficult, how long, another model's pass rate, features)

A source and a level are indicators, of the 32 most frequent sources and of levels where there are no more than 16;
everything else is standardised by a sample of the pool, and what is unknown is 0, the average. The features together
count as one number, whatever their width, so that one prior serves any pool. No column is needed: one that cannot be
worked with is left out, with a warning.
"""

import warnings
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didact.arrays import Floats, Positions
from didact.pool import Pool

_SAMPLE = 4096
_SOURCES, _LEVELS = 32, 16
_EDGE = 0.01  # of another model's pass rate, whose logit is taken
_COLUMNS = ("source", "difficulty", "prompt_tokens", "pass_rate", "features")


class Description:
    """Rows of a pool's prompts.

    Args:
        pool: its columns as they are at the start; of one that grows later, new sources and levels count as none.
    """

    def __init__(self, pool: Pool) -> None:
        size = len(pool)
        sample = np.unique(np.linspace(0, size - 1, min(size, _SAMPLE)).astype(np.int64))
        self._readable = _readable(pool, sample)
        self.sources: list[str] = []
        if (source := self._column(pool, "source")) is not None:
            counted = Counter(map(str, source[sample]))
            self.sources = sorted(name for name, _ in counted.most_common(_SOURCES)) if len(counted) > 1 else []
        self.levels = np.zeros(0)
        if (difficulty := self._column(pool, "difficulty")) is not None:
            found = np.unique(difficulty[sample].astype(np.float64))
            found = found[np.isfinite(found)]
            self.levels = found if 1 < len(found) <= _LEVELS else self.levels
        numbers = self._numbers(pool, sample)
        self.center, self.scale = np.nanmean(numbers, axis=0), np.nanstd(numbers, axis=0)
        self.scale[self.scale < 1e-12] = np.inf

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return 1 + len(self.sources) + len(self.levels) + len(self.center)

    def rows(self, pool: Pool, positions: Positions) -> Floats:
        """Shape (n, width); the first column is 1."""
        numbers = (self._numbers(pool, positions) - self.center) / self.scale
        blocks = [np.ones((len(positions), 1))]
        if self.sources and (source := self._column(pool, "source")) is not None:
            blocks.append(source[positions].astype(str)[:, None] == np.array(self.sources))
        if len(self.levels) and (difficulty := self._column(pool, "difficulty")) is not None:
            blocks.append(difficulty[positions].astype(np.float64)[:, None] == self.levels)
        blocks.append(np.nan_to_num(numbers))
        rows = np.concatenate(blocks, axis=1, dtype=np.float64)
        if "features" in self._readable:
            others = {"prompt_tokens", "pass_rate"} | ({"difficulty"} if not len(self.levels) else set())
            width = numbers.shape[1] - len(others & self._readable)
            rows[:, rows.shape[1] - width :] /= np.sqrt(width)
        return rows

    def state_dict(self) -> dict[str, Any]:
        return {
            "sources": list(self.sources),
            "levels": self.levels.copy(),
            "center": self.center.copy(),
            "scale": self.scale.copy(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state: the pool may have grown since, and its rows are made as they were at the start.

        Raises:
            ValueError: one of a pool with other columns.
        """
        levels, center, scale = (np.asarray(state[name], dtype=np.float64) for name in ("levels", "center", "scale"))
        # A difficulty is a number where it is no level: of a pool that has grown, perhaps no longer.
        graded = "difficulty" in self._readable
        num = len(self.center) + graded * (bool(len(self.levels)) - bool(len(levels)))
        if center.shape != (num,) or scale.shape != (num,) or not (scale > 0).all():
            raise ValueError(f"this pool has {num} numbers for each prompt, the state {len(center)}")
        if not np.isfinite(center).all() or not np.isfinite(levels).all() or levels.ndim != 1:
            raise ValueError("what a prompt is compared with must be finite numbers")
        self.sources, self.levels = [str(name) for name in state["sources"]], levels
        self.center, self.scale = center, scale

    def _column(self, pool: Pool, name: str) -> NDArray[Any] | None:
        return getattr(pool, name) if name in self._readable else None

    def _numbers(self, pool: Pool, positions: Positions) -> Floats:
        """What is no label, shape (n, numbers), nan where unknown."""
        columns = []
        if (difficulty := self._column(pool, "difficulty")) is not None and not len(self.levels):
            columns.append(difficulty[positions].astype(np.float64)[:, None])
        if (tokens := self._column(pool, "prompt_tokens")) is not None:
            columns.append(np.log1p(tokens[positions].astype(np.float64))[:, None])
        if (pass_rate := self._column(pool, "pass_rate")) is not None:
            rate = np.clip(pass_rate[positions].astype(np.float64), _EDGE, 1 - _EDGE)
            columns.append(np.log(rate / (1 - rate))[:, None])
        if (features := self._column(pool, "features")) is not None:
            columns.append(features[positions].astype(np.float64).reshape(len(positions), -1))
        return np.concatenate([np.zeros((len(positions), 0)), *columns], axis=1)


def _readable(pool: Pool, sample: Positions) -> set[str]:
    """The columns that the pool has and that can be worked with, and that tell something of these prompts."""
    found = set()
    for name in _COLUMNS:
        try:
            column = getattr(pool, name)
            if column is not None and (name == "source" or np.isfinite(column[sample].astype(np.float64)).any()):
                found.add(name)
        except ValueError as error:
            warnings.warn(f"{error}; nothing is learnt from it", stacklevel=2)
    return found
