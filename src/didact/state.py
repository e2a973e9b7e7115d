"""States: sealed with a digest of what they hold, and kept as one file of arrays and JSON. No pickle, ever.

A state that is loaded is the one that was saved, or it is refused. The seal is what says so: it covers every key,
number, type and shape, of methods that nobody here has seen too. A file is an .npz archive, written whole, with a
checksum for each part, so one cut off or altered at any byte is refused by name.
"""

import io
import json
import os
import zipfile
from collections.abc import Callable, Collection, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from didact.files import write_whole

_ARRAY = "__array__"
_SEAL = "digest"


def digest(state: Mapping[str, Any]) -> str:
    """BLAKE2b of the values of a state, or of a JSON object, 32 hexadecimal digits; the order of keys does not count.

    Raises:
        TypeError: a value that a state cannot hold.
    """
    return blake2b(json.dumps(_pack(state, _array_digest), sort_keys=True).encode(), digest_size=16).hexdigest()


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


def save_state(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write a state_dict made of dicts (with str keys), lists, numbers, strings, None and numpy arrays.

    Raises:
        TypeError: a value of another kind. OSError: the file cannot be written; an earlier one is still whole.
    """
    arrays: dict[str, np.ndarray] = {}

    def keep(array: np.ndarray) -> dict[str, str]:
        arrays[f"a{len(arrays)}"] = array
        return {_ARRAY: f"a{len(arrays) - 1}"}

    text = json.dumps(_pack(state, keep), allow_nan=True)
    archive = io.BytesIO()  # a zip archive that a full disk interrupts complains when it is thrown away
    np.savez(archive, **arrays, json=np.frombuffer(text.encode(), dtype=np.uint8))  # type: ignore[arg-type]
    write_whole(path, archive.getbuffer())


def load_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what `save_state` wrote.

    Raises:
        FileNotFoundError: no such file. ValueError: a file that is cut off, altered, or no state; or one that would
            unpack to more than its own size, which none that was written here does.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no curriculum state at {path}")
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as members:
                if sum(member.file_size for member in members.infolist()) > path.stat().st_size:
                    raise ValueError("it unpacks to more than it holds")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            state = _unpack(json.loads(arrays.pop("json").tobytes()), arrays)
        except Exception as error:  # zipfile, zlib, numpy and json raise a dozen kinds for a damaged file
            raise ValueError(f"{path} is cut off, damaged or no curriculum state ({type(error).__name__})") from error
    if not isinstance(state, dict):
        raise ValueError(f"{path} holds no curriculum state")
    return state


def _array_digest(array: np.ndarray) -> str:
    held = blake2b(np.ascontiguousarray(array).tobytes(), digest_size=16).hexdigest()
    return f"{array.dtype.str}{array.shape}{held}"


def _pack(value: Any, keep: Callable[[np.ndarray], Any]) -> Any:
    """A value as JSON; `keep` gives what stands for an array."""
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError("a state cannot hold arrays of Python objects")
        return keep(value)
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("a state's dicts need str keys")
        return {key: _pack(item, keep) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_pack(item, keep) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a state cannot hold {type(value).__name__}: {value!r}")


def _unpack(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, dict):
        if set(value) == {_ARRAY}:
            return arrays[value[_ARRAY]]
        return {key: _unpack(item, arrays) for key, item in value.items()}
    if isinstance(value, list):
        return [_unpack(item, arrays) for item in value]
    return value
