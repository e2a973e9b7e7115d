"""Pass rates that are known before a run, from reference models or an offline pass, as the option of a method.

Options go into states and journals; there such a column stands as a fingerprint, so that a state stays small and still
refuses other columns.
"""

import json
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.bounds import shortened

Singles = NDArray[np.float32]
_MARK = "pass rates "


class ReferenceRates:
    """Pass rates in the order of the pool; nan where unknown.

    Args:
        what: the option they were given as, for errors.
        given: numbers, or the path of an .npy array or a .json list.

    Raises:
        ValueError: numbers outside [0, 1], or another shape. FileNotFoundError: no such file.
    """

    def __init__(self, what: str, given: ArrayLike | str) -> None:
        numbers = np.asarray(_read(what, given) if isinstance(given, str) else given)
        if numbers.dtype.kind not in "iuf" or ((numbers < 0) | (numbers > 1)).any():
            raise ValueError(f"{what} must be pass rates in [0, 1], got {shortened(given)}")
        if numbers.ndim != 1:
            raise ValueError(f"{what} must be one pass rate for each prompt, got shape {numbers.shape}")
        self._what, self._rates = what, numbers.astype(np.float32)

    @classmethod
    def given(cls, what: str, given: Any) -> "ReferenceRates | None":
        """An option as rates; None if it is not given."""
        return given if given is None or isinstance(given, cls) else cls(what, given)

    def check(self, num_prompts: int) -> None:
        """Raises ValueError where a prompt has no entry; more than there are prompts are for those to come."""
        if len(self._rates) < num_prompts:
            raise ValueError(
                f"{self._what} must be one pass rate for each of {num_prompts} prompts, got shape {self._rates.shape}; "
                "give nan for a prompt without one"
            )

    def of(self, size: int) -> Singles:
        """The rates of a pool of `size` prompts, not to be written to: what joined beyond the column is unknown."""
        missing = max(size - len(self._rates), 0)
        return np.concatenate([self._rates, np.full(missing, np.nan, np.float32)]) if missing else self._rates[:size]

    @property
    def fingerprint(self) -> str:
        """What stands for the rates in the options; unknown ones at the end do not count."""
        known = np.flatnonzero(np.isfinite(self._rates))
        size = int(known[-1]) + 1 if len(known) else 0
        digest = blake2b(np.ascontiguousarray(self._rates[:size], dtype="<f4").tobytes(), digest_size=16)
        return f"{_MARK}{digest.hexdigest()}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ReferenceRates) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)


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
