"""A curriculum's state as one file: arrays and JSON in an .npz archive. No pickle is written or read.

The archive carries a checksum for each part, so a file cut off or altered at any byte is refused by name; it is
written beside its place and moved there when whole, so a crash or a full disk leaves the old one.
"""

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_ARRAY = "__array__"


def save_state(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write a state_dict made of dicts (with str keys), lists, numbers, strings, None and numpy arrays.

    Raises:
        TypeError: a value of another kind. OSError: the file cannot be written; an earlier one is still whole.
    """
    arrays: dict[str, np.ndarray] = {}
    text = json.dumps(_pack(state, arrays), allow_nan=True)
    archive = io.BytesIO()  # a zip archive that a full disk interrupts complains when it is thrown away
    np.savez(archive, **arrays, json=np.frombuffer(text.encode(), dtype=np.uint8))  # type: ignore[arg-type]
    path = Path(path)
    beside = path.with_name(path.name + ".tmp")
    try:
        with open(beside, "wb") as file:
            file.write(archive.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def load_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what `save_state` wrote.

    Raises:
        FileNotFoundError: no such file. ValueError: a file that is cut off, altered, or no state.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no curriculum state at {path}")
    with open(path, "rb") as file:
        try:
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            state = _unpack(json.loads(arrays.pop("json").tobytes()), arrays)
        except Exception as error:  # zipfile, zlib, numpy and json raise a dozen kinds for a damaged file
            raise ValueError(f"{path} is cut off, damaged or no curriculum state ({type(error).__name__})") from error
    if not isinstance(state, dict):
        raise ValueError(f"{path} holds no curriculum state")
    return state


def _pack(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            raise TypeError("a state cannot hold arrays of Python objects")
        arrays[f"a{len(arrays)}"] = value
        return {_ARRAY: f"a{len(arrays) - 1}"}
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("a state's dicts need str keys")
        return {key: _pack(item, arrays) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_pack(item, arrays) for item in value]
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
