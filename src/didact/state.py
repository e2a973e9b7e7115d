"""States: sealed with a digest of what they hold, so that one that is loaded is the one that was saved, or is refused.

The seal covers every key, number, type and shape, of methods that nobody here has seen too. How a state is kept as a
file says `didact.state_file`.
"""

import json
from collections.abc import Collection, Mapping
from hashlib import blake2b
from typing import Any

import numpy as np

from didact.state_file import load_state, packed, save_state

__all__ = ["check_seal", "digest", "in_order", "load_state", "pieces", "save_state", "seal"]

_SEAL = "digest"


def digest(state: Mapping[str, Any]) -> str:
    """BLAKE2b of the values of a state, or of a JSON object, 32 hexadecimal digits; the order of keys does not count.

    Raises:
        TypeError: a value that a state cannot hold.
    """
    return blake2b(json.dumps(packed(state, _array_digest), sort_keys=True).encode(), digest_size=16).hexdigest()


def seal(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state and its digest, which `check_seal` goes by."""
    return {**state, _SEAL: digest(state)}


def check_seal(state: object, kind: str, keys: Collection[str], schema: int | None = None) -> None:
    """Refuse what is not, value for value, a sealed state with these keys. Nothing may be loaded before.

    Args:
        kind: whose state it should be, for the error.
        schema: what its key "schema" has to be; None if it has none.

    Raises:
        ValueError: missing or unknown keys, another schema, or contents that are not those that were sealed.
    """
    if not isinstance(state, Mapping) or set(state) != {*keys, _SEAL}:
        given = sorted(map(str, state)) if isinstance(state, Mapping) else type(state).__name__
        raise ValueError(f"this is no state of a {kind}: expected the keys {sorted({*keys, _SEAL})}, got {given}")
    if schema is not None and state["schema"] != schema:
        raise ValueError(f"state of schema {state['schema']}, this version of didact reads schema {schema}")
    try:
        whole = digest({key: state[key] for key in keys}) == state[_SEAL]
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"this state of a {kind} holds what no state can hold: {error}") from error
    if not whole:
        raise ValueError(
            f"this state of a {kind} was altered or damaged since it was saved: what it holds does not match its "
            "digest; load another checkpoint"
        )


def pieces(values: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
    """Values laid end to end, cut into pieces along the last axis.

    Raises:
        ValueError: sizes that do not add up to the values.
    """
    if (np.asarray(sizes) < 0).any() or np.sum(sizes) != values.shape[-1]:
        raise ValueError(f"pieces of {np.sum(sizes)} in all do not make up {values.shape[-1]} values")
    return np.split(values, np.cumsum(sizes)[:-1], axis=-1) if len(sizes) else []


def in_order(positions: np.ndarray, size: int) -> bool:
    """Whether these are positions below `size`, each once and in order."""
    return len(positions) == 0 or bool(positions[0] >= 0 and positions[-1] < size and (np.diff(positions) > 0).all())


def _array_digest(array: np.ndarray) -> str:
    held = blake2b(np.ascontiguousarray(array).tobytes(), digest_size=16).hexdigest()
    return f"{array.dtype.str}{array.shape}{held}"
