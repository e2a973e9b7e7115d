"""What methods with counts of their own share: pass rates known before the run, and the evidence of a step.

A column of pass rates comes from reference models or an offline pass. It is an option, and options go into the state;
there it stands as a fingerprint, so that a state stays small and still refuses other columns.
"""

import json
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.belief import BetaBelief
from didact.bounds import shortened
from didact.ledger import OpenGroup
from didact.outcomes import GroupOutcome, Truncated

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Positions = NDArray[np.int64]
_MARK = "pass rates "


def pass_rate_column(what: str, given: ArrayLike | str, num_prompts: int) -> Singles:
    """The pass rates of option `what`, in the order of the pool; nan where unknown.

    Args:
        given: numbers, or the path of an .npy array or a .json list. More than `num_prompts` are for prompts to come.

    Raises:
        ValueError: numbers outside [0, 1], too few of them, or another shape. FileNotFoundError: no such file.
    """
    if isinstance(given, str):
        given = _read(what, given)
    numbers = np.asarray(given)
    if numbers.dtype.kind not in "iuf" or ((numbers < 0) | (numbers > 1)).any():
        raise ValueError(f"{what} must be pass rates in [0, 1], got {shortened(given)}")
    column = numbers.astype(np.float32)
    if column.ndim != 1 or len(column) < num_prompts:
        raise ValueError(
            f"{what} must be one pass rate for each of {num_prompts} prompts, got shape {column.shape}; "
            "give nan for a prompt without one"
        )
    return column


def fingerprint(column: Singles | None) -> str | None:
    """What stands for a column in the options; unknown rates at its end do not count."""
    if column is None:
        return None
    known = np.flatnonzero(np.isfinite(column))
    size = int(known[-1]) + 1 if len(known) else 0
    digest = blake2b(np.ascontiguousarray(column[:size], dtype="<f4").tobytes(), digest_size=16)
    return f"{_MARK}{digest.hexdigest()}"


def fitted(column: Singles, size: int) -> Singles:
    """The column for a pool of `size` prompts: those that joined later have no known rate."""
    return np.concatenate([column[:size], np.full(max(size - len(column), 0), np.nan, np.float32)])


class StepEvidence:
    """Passes and rollouts by prompt, gathered until a step is over: a group that comes in parts is one visit."""

    def __init__(self) -> None:
        self._parts: list[tuple[Positions, Floats, Floats]] = []

    def add(
        self,
        positions: Positions,
        fresh: Sequence[tuple[OpenGroup, GroupOutcome]],
        belief: BetaBelief,
        *,
        truncated: Truncated,
    ) -> None:
        """Take in what `Curriculum._observed` is given, leaving out what the belief leaves out."""
        rewards = [outcome.usable(truncated) for _, outcome in fresh]
        sizes = np.array([len(usable) for usable in rewards], dtype=np.int64)
        passes = belief.passes(np.array([reward for usable in rewards for reward in usable], dtype=np.float64))
        index = np.repeat(np.arange(len(sizes)), sizes)
        summed = np.bincount(index, weights=passes, minlength=len(sizes)).astype(np.float64)
        kept = sizes > 0
        self._parts.append((positions[kept], summed[kept], sizes[kept].astype(np.float64)))

    def take(self) -> tuple[Positions, Floats, Floats]:
        """Distinct prompts, their passes and their rollouts since the last call."""
        positions, passes, sizes = self._joined()
        self._parts = []
        unique, index = np.unique(positions, return_inverse=True)
        passes, sizes = (np.bincount(index, weights=each).astype(np.float64) for each in (passes, sizes))
        return unique, passes, sizes

    def state_dict(self) -> dict[str, Any]:
        positions, passes, sizes = self._joined()
        return {"positions": positions, "passes": passes, "sizes": sizes}

    def load_state_dict(self, state: Mapping[str, Any], size: int) -> None:
        """Restore a state, of prompts in a pool of this size.

        Raises:
            ValueError: evidence that cannot be.
        """
        positions, passes, sizes = state["positions"], state["passes"], state["sizes"]
        if not positions.shape == passes.shape == sizes.shape == (len(positions),):
            raise ValueError("the evidence of a step needs passes and rollouts for each position")
        if not ((positions >= 0) & (positions < size) & (passes >= 0) & (passes <= sizes) & (sizes < np.inf)).all():
            raise ValueError("the evidence of a prompt is no fewer than 0 passes and no more than its rollouts")
        self._parts = [(positions.copy(), passes.copy(), sizes.copy())]

    def _joined(self) -> tuple[Positions, Floats, Floats]:
        return (
            np.concatenate([np.zeros(0, np.int64), *(positions for positions, _, _ in self._parts)]),
            np.concatenate([np.zeros(0), *(passes for _, passes, _ in self._parts)]),
            np.concatenate([np.zeros(0), *(sizes for _, _, sizes in self._parts)]),
        )


def _read(what: str, name: str) -> Any:
    if name.startswith(_MARK):
        raise ValueError(f"{what}: this is the fingerprint of pass rates, not the pass rates; give the numbers again")
    path = Path(name)
    if not path.is_file():
        raise FileNotFoundError(f"{what}: no file at {path}; give an .npy array or a .json list of pass rates")
    if path.suffix == ".npy":
        try:
            return np.load(path, allow_pickle=False)
        except (EOFError, ValueError) as error:
            raise ValueError(f"{what}: {path} is cut off, or no .npy array of numbers") from error
    if path.suffix == ".json":
        try:
            rates = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{what}: {path} is no JSON list of pass rates ({error})") from error
        return [np.nan if rate is None else rate for rate in rates] if isinstance(rates, list) else rates
    raise ValueError(f"{what}: {path} must be an .npy array or a .json list of pass rates")
