"""One random change to a state: what a bad disk, a bad merge or a hand that edits may do to a checkpoint.

Keys come, go and change their names, values change their type, sign or size by one, arrays their dtype, shape or order.
Some changes change nothing (two equal entries swapped): whoever asks has to allow for it.
"""

import math
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np

Change = Callable[[Any, np.random.Generator], Any]


def mutated(state: dict[str, Any], rng: np.random.Generator) -> tuple[dict[str, Any], str]:
    """A copy of the state with one change, and words that say where and which."""
    root = {"state": deepcopy(state)}
    holder, key, path = _pick(root, rng)
    value = holder[key]
    value = list(value) if isinstance(value, tuple) else value.item() if isinstance(value, np.generic) else value
    changes = _CHANGES[next(kind for kind in _CHANGES if isinstance(value, kind))]
    change = changes[rng.integers(len(changes))]
    holder[key] = change(value, rng)
    return root["state"], f"{path}: {change.__name__.strip('_')}"


def _pick(root: dict[str, Any], rng: np.random.Generator) -> tuple[Any, Any, str]:
    """A place in the state: any level, all branches of a level alike."""
    holder: Any = root
    key: Any = "state"
    path = "state"
    while isinstance(holder[key], dict | list) and len(holder[key]) and rng.random() > 0.1:
        holder = holder[key]
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        key = keys[rng.integers(len(keys))]
        path = f"{path}.{key}"
    return holder, key, path


def _drop(value: Any, rng: np.random.Generator) -> Any:
    kept = list(value.items() if isinstance(value, dict) else value)
    if kept:
        del kept[rng.integers(len(kept))]
    return type(value)(kept)


def _double(value: Any, rng: np.random.Generator) -> Any:
    return value + value[-1:] if value else [0]


def _add_key(value: Any, rng: np.random.Generator) -> Any:
    return {**value, "surprise": 1}


def _rename(value: Any, rng: np.random.Generator) -> Any:
    which = rng.integers(max(len(value), 1))
    return {f"{key}_" if index == which else key: item for index, (key, item) in enumerate(value.items())}


def _swap(value: Any, rng: np.random.Generator) -> Any:
    if isinstance(value, dict):
        return dict(zip(value, _swap(list(value.values()), rng), strict=True))
    if np.shape(value)[:1] > (1,) if isinstance(value, np.ndarray) else len(value) > 1:
        left, right = rng.choice(len(value), 2, replace=False).tolist()
        value[left], value[right] = deepcopy(value[right]), deepcopy(value[left])
    return value


def _to_none(value: Any, rng: np.random.Generator) -> Any:
    return None


def _to_text(value: Any, rng: np.random.Generator) -> Any:
    return str(value)


def _to_list(value: Any, rng: np.random.Generator) -> Any:
    return [value]


def _to_float(value: Any, rng: np.random.Generator) -> Any:
    return float(value)


def _to_int(value: Any, rng: np.random.Generator) -> Any:
    return int(value) if math.isfinite(value) else 0


def _one_more(value: Any, rng: np.random.Generator) -> Any:
    return value + 1


def _one_less(value: Any, rng: np.random.Generator) -> Any:
    return value - 1


def _negate(value: Any, rng: np.random.Generator) -> Any:
    return ~value if isinstance(value, np.ndarray) and value.dtype.kind == "b" else -value


def _to_nan(value: Any, rng: np.random.Generator) -> Any:
    return math.nan


def _to_huge(value: Any, rng: np.random.Generator) -> Any:
    return value + 10**12


def _flip(value: Any, rng: np.random.Generator) -> Any:
    return not value


def _letter(value: Any, rng: np.random.Generator) -> Any:
    return value + "x"


def _retype(value: Any, rng: np.random.Generator) -> Any:
    with np.errstate(all="ignore"):
        return value.astype(["<f4", "<f8", "<i2", "<i4", "<i8", "<u1", "?"][rng.integers(7)])


def _reshape(value: Any, rng: np.random.Generator) -> Any:
    return value[None] if rng.random() < 0.5 else value.reshape(-1, *([1] * value.ndim))


def _shorten(value: Any, rng: np.random.Generator) -> Any:
    return value[..., :-1] if value.ndim else value


def _lengthen(value: Any, rng: np.random.Generator) -> Any:
    return np.concatenate([value, value[-1:]]) if value.ndim and len(value) else np.zeros(1, value.dtype)


def _change_entry(value: Any, rng: np.random.Generator) -> Any:
    if value.size:
        where = rng.integers(value.size)
        entries: list[Any] = [value.flat[where] + 1, value.flat[where] - 1, -1, 0, 10**9]
        if value.dtype.kind == "f":
            entries += [math.nan, math.inf]
        with np.errstate(all="ignore"):
            value.flat[where] = np.asarray(entries[rng.integers(len(entries))]).astype(value.dtype)
    return value


_NUMBER: tuple[Change, ...] = (_one_more, _one_less, _negate, _to_huge, _to_text, _to_none, _to_list)
#: By type, the first that fits: a bool is an int too.
_CHANGES: dict[type, tuple[Change, ...]] = {
    dict: (_drop, _add_key, _rename, _swap, _to_none, _to_list),
    list: (_drop, _double, _swap, _to_none, _to_text),
    np.ndarray: (_retype, _reshape, _shorten, _lengthen, _swap, _change_entry, _change_entry, _negate),
    bool: (_flip, _to_int, _to_none),
    int: (*_NUMBER, _to_float),
    float: (*_NUMBER, _to_nan, _to_int),
    str: (_letter, _to_none, _to_list),
    type(None): (_to_text, _to_list),
}
