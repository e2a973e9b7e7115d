"""What outcomes told of each prompt, as sums, and three ways to forget it: fading, a window of versions, a reset.

Evidence is as old as the policy that made it, not as its arrival: an outcome of version v weighs discount^(t - v) at
step t, or counts while v > t - window. So what is remembered is a function of which outcomes came, whatever their order
and delay, up to the order in which floats are added up. Versions count steps; a version newer than the step it is read
at weighs 1, and what is older fades against it.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didact.arrays import Floats, Positions
from didact.belief.base import Where
from didact.state import pieces

#: Sums over the rollouts of a prompt: of passes, of 1, of rewards and of their squares.
SUMS = ("passes", "evidence", "reward_sum", "reward_squares")
#: The columns that are kept here, as they start: "updated" is the version that the sums have faded to.
START = {**dict.fromkeys(SUMS, np.float64(0)), "updated": np.int32(0)}


class Evidence:
    """`SUMS` of prompts.

    Args:
        columns: of the belief, by name; those of `START` are written here, and the belief makes room in them.
        discount: factor on all of it per step, in (0, 1].
        window: what is older than so many versions is taken out again; None keeps all.
    """

    def __init__(self, columns: dict[str, NDArray[Any]], *, discount: float, window: int | None) -> None:
        self._columns, self._discount, self._window = columns, discount, window
        self._recent: deque[tuple[int, Positions, Floats]] = deque()  # what a window takes out again, by version

    def add(self, positions: Positions, increments: Floats, versions: Positions, *, step: int) -> None:
        """Take in what groups of some versions add to `SUMS`, shape (4, n); a prompt may occur in several."""
        self._forget(step)
        increments = self._fade(positions, versions, increments)
        for name, increment in zip(SUMS, increments, strict=True):
            np.add.at(self._columns[name], positions, increment)
        if self._window is not None:
            for version in np.unique(versions):
                here = versions == version
                self._remember(int(version), positions[here], increments[:, here])

    def reset(self, positions: Positions) -> None:
        """Forget some prompts."""
        for name in SUMS:
            self._columns[name][positions] = 0
        for index, (version, seen, increments) in enumerate(self._recent):
            kept = ~np.isin(seen, positions)
            self._recent[index] = (version, seen[kept], increments[:, kept])

    def sums(self, positions: Where, step: int, *names: str) -> list[Floats]:
        """These sums at a step, but for what `faded` says: copies, or of a slice views."""
        self._forget(step)
        return [self._columns[name][positions] for name in names]

    def faded(self, positions: Where, step: int) -> Floats | float:
        """The factor by which the sums of some prompts have faded at a step."""
        if self._discount == 1:
            return 1.0
        age = np.maximum(step - self._columns["updated"][positions], 0)
        return np.asarray(self._discount**age, dtype=np.float64)

    def recent(self) -> dict[str, NDArray[Any]]:
        """What a window has still to take out, laid end to end."""
        recent = list(self._recent)
        return {
            "steps": np.array([version for version, _, _ in recent], dtype=np.int64),
            "sizes": np.array([len(positions) for _, positions, _ in recent], dtype=np.int64),
            "positions": np.concatenate([np.zeros(0, np.int64), *(positions for _, positions, _ in recent)]),
            "increments": np.concatenate([np.zeros((4, 0)), *(increments for _, _, increments in recent)], axis=1),
        }

    def load(self, size: int, columns: Mapping[str, NDArray[Any]], recent: Mapping[str, Any]) -> None:
        """Restore what `recent` gave, beside columns of `size` prompts; what is refused changes nothing.

        Raises:
            ValueError: sums that no observations can lead to, or a window of which they are not.
        """
        if not (columns["passes"] <= columns["evidence"]).all() or not np.isfinite(columns["evidence"]).all():
            raise ValueError(f"a belief about {size} prompts cannot have such passes")
        versions, positions = recent["steps"], recent["positions"]
        if (len(versions) and self._window is None) or (np.diff(versions) < 0).any():
            raise ValueError("what a belief remembers of each step must be in order, and only a window remembers")
        if len(positions) and not (positions.min() >= 0 and positions.max() < size):
            raise ValueError(f"a belief about {size} prompts remembers others")
        parts = zip(pieces(positions, recent["sizes"]), pieces(recent["increments"], recent["sizes"]), strict=True)
        self._recent = deque((int(version), *part) for version, part in zip(versions, parts, strict=True))

    def _fade(self, positions: Positions, versions: Positions, increments: Floats) -> Floats:
        """Bring what is known and what is new to the newest version that told of each prompt."""
        updated = self._columns["updated"]
        if self._discount == 1:
            np.maximum.at(updated, positions, versions)
            return increments
        unique = np.unique(positions)
        before = updated[unique]
        np.maximum.at(updated, positions, versions)
        scale = self._discount ** (updated[unique] - before)
        for name in SUMS:
            self._columns[name][unique] *= scale
        return np.asarray(increments * self._discount ** (updated[positions] - versions))

    def _remember(self, version: int, positions: Positions, increments: Floats) -> None:
        """Keep the window sorted by version: what comes late leaves when it would have left."""
        place = len(self._recent)
        while place and self._recent[place - 1][0] > version:
            place -= 1
        self._recent.insert(place, (version, positions, increments))

    def _forget(self, step: int) -> None:
        while self._window is not None and self._recent and self._recent[0][0] <= step - self._window:
            _, positions, increments = self._recent.popleft()
            for name, increment in zip(SUMS, increments, strict=True):
                np.subtract.at(self._columns[name], positions, increment)
            # Evidence is a whole number here; fractional rewards leave rounding dust, which must not outlive it.
            passes, evidence = self._columns["passes"], self._columns["evidence"]
            passes[positions] = np.clip(passes[positions], 0.0, evidence[positions])
            for name in SUMS:
                self._columns[name][positions[evidence[positions] == 0]] = 0.0
