"""What a method remembers: a dataclass of numbers, flags, text, arrays, dicts of these, parts with a state, and others.

No method writes it into a state or reads it back: the fields say it all. `kept` gives a field, with what its value may
be, so that a state that no run could have led to is refused.
"""

from collections.abc import Callable, Mapping
from dataclasses import Field, field, fields, is_dataclass
from math import isfinite
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from didact.state import in_order

Holds = Literal["positions", "step"]


def kept(default: Any, *, least: float | None = None, most: float | None = None, holds: Holds | None = None) -> Any:
    """A field of a memory: its value at the start (an array, list or dict is copied), and what it may become.

    Args:
        least, most: bounds of a number, or of all numbers of an array, list or dict.
        holds: "positions" are distinct ones of the pool, in any order; "step" is one up to the run's, -1 for none.
    """
    about = {"least": least, "most": most, "holds": holds}
    if isinstance(default, np.ndarray | list | dict):
        return field(default_factory=default.copy, metadata=about)
    return field(default=default, metadata=about)


def derived(fresh: Callable[[], Any]) -> Any:
    """A field that follows from the rest of the run: it is not saved, and `Method.resume` makes it again."""
    return field(default_factory=fresh, metadata={"derived": True})


def save(memory: Any) -> dict[str, Any] | None:
    """A memory as a state."""
    if memory is None:
        return None
    return {each.name: _saved(getattr(memory, each.name)) for each in _held(memory)}


def load(memory: Any, state: Mapping[str, Any] | None, *, pool_size: int, step: int) -> Any:
    """Put a state into a fresh memory, which is returned.

    Raises:
        ValueError: fields that are missing or unknown, or hold what this memory could not.
    """
    if memory is None or state is None:
        if (memory is None) != (state is None):
            raise ValueError("a method that remembers nothing, or something, was given the other's memory")
        return memory
    known = {each.name: each for each in _held(memory)}
    if set(known) != set(state):
        raise ValueError(f"a memory holds {sorted(known)}, this one {sorted(state)}")
    for name, each in known.items():
        value, fresh = state[name], getattr(memory, name)
        if hasattr(fresh, "load_state_dict"):
            fresh.load_state_dict(value)
            continue
        if is_dataclass(fresh):
            load(fresh, value, pool_size=pool_size, step=step)
            continue
        _check(name, value, fresh, each.metadata, pool_size, step)
        setattr(memory, name, _restored(value, fresh))
    return memory


def _held(memory: Any) -> list[Field[Any]]:
    return [each for each in fields(memory) if not each.metadata.get("derived")]


def _saved(value: Any) -> Any:
    if hasattr(value, "state_dict"):
        return value.state_dict()
    if is_dataclass(value):
        return save(value)
    if isinstance(value, dict):  # positions and group ids as keys
        return {str(key): _saved(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return value.copy()
    return list(value) if isinstance(value, list | tuple) else value


def _restored(value: Any, fresh: Any) -> Any:
    if isinstance(fresh, np.ndarray):
        return np.array(value, dtype=fresh.dtype)
    if isinstance(fresh, dict):
        return {int(key) if key.lstrip("-").isdigit() else key: item for key, item in value.items()}
    return list(value) if isinstance(fresh, list) else value


def _check(name: str, value: Any, fresh: Any, about: Mapping[str, Any], pool_size: int, step: int) -> None:
    if isinstance(fresh, np.ndarray):
        fits = isinstance(value, np.ndarray) and value.dtype.kind == fresh.dtype.kind and value.ndim == fresh.ndim
    elif fresh is None:
        fits = value is None or isinstance(value, int | float | str)
    else:
        fits = type(value) is type(fresh)
    if not fits:
        raise ValueError(f"{name} is {type(fresh).__name__} in this memory, got {value!r}")
    numbers = _numbers(value)
    if not all(map(isfinite, numbers)):
        raise ValueError(f"{name} must be finite, got {value!r}")
    least, most = about.get("least"), about.get("most")
    if any((least is not None and each < least) or (most is not None and each > most) for each in numbers):
        raise ValueError(f"{name} must be from {least} to {most}, got {value!r}")
    if about.get("holds") == "positions" and not in_order(np.sort(np.asarray(value)), pool_size):
        raise ValueError(f"{name} must be prompts of the pool, each once, got {value!r}")
    if about.get("holds") == "step" and not all(-1 <= each <= step for each in numbers):
        raise ValueError(f"at step {step}, {name} cannot be {value!r}")


def _numbers(value: Any) -> list[Any] | NDArray[Any]:
    """All numbers in a value."""
    if isinstance(value, np.ndarray):
        return value.reshape(-1).tolist()
    if isinstance(value, Mapping):
        return [number for item in value.values() for number in _numbers(item)]
    if isinstance(value, list | tuple):
        return [number for item in value for number in _numbers(item)]
    return [value] if isinstance(value, int | float) else []
