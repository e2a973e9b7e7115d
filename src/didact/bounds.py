"""The numbers that callers give: one check for each kind, made before anything is changed, and their bounds.

Numpy's scalars, and arrays and tensors without dimensions, are numbers like Python's; what comes back is Python's. Text
is no number, and a bool neither. The bounds are far beyond any use, and keep the sums over a run finite.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from reprlib import repr as short_repr
from typing import Any

#: Of steps and policy versions, which are kept as 32-bit integers.
MAX_STEP = 2**31 - 1
#: Of tokens of one prompt or response: the sum over 2**32 rollouts is a 64-bit integer.
MAX_TOKENS = 2**31 - 1
#: Of prompts and of rollouts in a step: each is an object in memory, and more is a slip of the pen.
MAX_PER_STEP = 2**20
#: Of rewards, whose square a trainer must be able to hold in 32 bits; the belief adds squares up in 64.
MAX_REWARD = 1e15
#: Of options that are real numbers.
MAX_OPTION = 1e9
#: Of labels and other whole numbers, which are kept as 64-bit integers.
MAX_WHOLE = 2**63 - 1


def shortened(value: object) -> str:
    """What was given, for a message of one line."""
    try:
        return short_repr(value)
    except ValueError:  # Python does not print whole numbers of thousands of digits
        return f"a value of type {type(value).__name__}"


def plain(value: Any) -> Any:
    """The Python number that a scalar of numpy or a tensor without dimensions stands for; all else as it is."""
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def whole(what: str, value: object, least: int = 0, most: int = MAX_WHOLE) -> int:
    """`value` as an int.

    Raises:
        ValueError: no whole number from `least` to `most`, both included; `what` says which.
    """
    number = plain(value)
    if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
        raise ValueError(f"{what} must be a whole number from {least} to {most}, got {shortened(value)}")
    return int(number)


def whole_or_none(what: str, value: object, least: int = 0, most: int = MAX_WHOLE) -> int | None:
    """None, or what `whole` makes of `value`."""
    return None if value is None else whole(what, value, least, most)


def real(what: str, value: object, least: float = -MAX_OPTION, most: float = MAX_OPTION) -> float:
    """`value` as a float.

    Raises:
        ValueError: no number from `least` to `most`, both included; `what` says which.
    """
    number = plain(value)
    if isinstance(number, bool) or not isinstance(number, int | float) or not least <= number <= most:
        raise ValueError(f"{what} must be a number from {least:g} to {most:g}, got {shortened(value)}")
    return float(number)


def two(what: str, value: Any, names: str, least: float = -MAX_OPTION, most: float = MAX_OPTION) -> tuple[float, float]:
    """`value`, a list of two numbers, as a pair of floats.

    Raises:
        ValueError: no such list, or a number out of range; `what` and `names` say which.
    """
    listed = (isinstance(value, Sequence) and not isinstance(value, str | bytes)) or getattr(value, "ndim", 0) == 1
    if not listed or len(value) != 2:
        raise ValueError(f"{what} must be two numbers {names}, got {shortened(value)}")
    return real(what, value[0], least, most), real(what, value[1], least, most)


def listed(what: str, values: Any, each: str) -> Iterable[Any]:
    """`values`, one entry of a column after the other; those of an array or a tensor as Python's numbers.

    Raises:
        TypeError: text, or no list; `what` says which, and `each` what there is an entry for.
    """
    column = values.tolist() if hasattr(values, "tolist") else values
    if isinstance(column, str | bytes | Mapping | Set) or not isinstance(column, Iterable):
        raise TypeError(f"{what} must be a list with one entry {each}, got {shortened(column)}")
    return column


def flag(what: str, value: object) -> bool:
    """`value`, which may be 0 or 1, as a bool.

    Raises:
        ValueError: neither true nor false; `what` says which.
    """
    found = plain(value)
    if not isinstance(found, int) or found not in (0, 1):
        raise ValueError(f"{what} must be true or false, got {shortened(value)}")
    return bool(found)


def one_of(what: str, value: object, choices: Collection[str]) -> str:
    """`value`, which is one of the choices.

    Raises:
        ValueError: it is not; `what` says which.
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{what} must be one of {', '.join(choices)}, got {shortened(value)}")
    return value
