"""What a state may hold, and the file it is kept in: arrays and JSON. No pickle, ever.

A file is an .npz archive, written whole, with a checksum for each part, so one cut off or altered at any byte is
refused by name.
"""

import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from didact.files import write_whole

_ARRAY = "__array__"


def save_state(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write a state_dict made of dicts (with str keys), lists, numbers, strings, None and numpy arrays.

    Raises:
        TypeError: a value of another kind. OSError: the file cannot be written; an earlier one is still whole.
    """
    arrays: dict[str, np.ndarray] = {}

    def keep(array: np.ndarray) -> dict[str, str]:
        arrays[f"a{len(arrays)}"] = array
        return {_ARRAY: f"a{len(arrays) - 1}"}

    text = json.dumps(packed(state, keep), allow_nan=True)
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
            state = _unpacked(json.loads(arrays.pop("json").tobytes()), arrays)
        except Exception as error:  # zipfile, zlib, numpy and json raise a dozen kinds for a damaged file
            raise ValueError(f"{path} is cut off, damaged or no curriculum state ({type(error).__name__})") from error
    if not isinstance(state, dict):
        raise ValueError(f"{path} holds no curriculum state")
    return state


def packed(value: Any, keep: Callable[[np.ndarray], Any]) -> Any:
    """A value as JSON has it; `keep` gives what stands for an array.

    Raises:
        TypeError: a value that a state cannot hold.
    """
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError("a state cannot hold arrays of Python objects")
        return keep(value)
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("a state's dicts need str keys")
        return {key: packed(item, keep) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [packed(item, keep) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a state cannot hold {type(value).__name__}: {value!r}")


def _unpacked(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, dict):
        if set(value) == {_ARRAY}:
            return arrays[value[_ARRAY]]
        return {key: _unpacked(item, arrays) for key, item in value.items()}
    if isinstance(value, list):
        return [_unpacked(item, arrays) for item in value]
    return value
