"""Options declared once: default, range and meaning of a field, from which checks, errors, help and tables are made."""

from collections.abc import Mapping, Sequence
from dataclasses import field, fields
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from didact.bounds import MAX_OPTION, MAX_WHOLE, flag, one_of, real, whole


def option(
    default: Any,
    about: str,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    choices: Sequence[str] | None = None,
) -> Any:
    """A field of a method: its default, one line on what it is, and the range it is checked against.

    The annotation says the kind: int, float, bool, str (one of `choices`), or one of these and None. Another kind is
    the method's own to check. Errors, `didact methods NAME` and the table on the method's page come from here.
    """
    bounds = {"least": least, "above": above, "most": most, "below": below, "choices": choices}
    return field(default=default, metadata={"about": about, **bounds})


def kind_of(owner: type, name: str) -> tuple[type | None, bool]:
    """Of an option the type that its annotation says, if it is int, float, bool or str, and whether it may be None.

    A Literal is of text.
    """
    hint = get_type_hints(owner)[name]
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    kinds = [str if get_origin(each) is Literal else each for each in parts if each is not type(None)]
    return kinds[0] if len(kinds) == 1 and kinds[0] in (int, float, bool, str) else None, type(None) in parts


def checked(options: Any) -> dict[str, Any]:
    """The fields of a dataclass by name, options as plain values of their kind.

    Raises:
        ValueError: one out of range or of another kind.
    """
    found = {}
    for each in fields(options):
        value, (kind, optional) = getattr(options, each.name), kind_of(type(options), each.name)
        if "about" in each.metadata and kind is not None and not (value is None and optional):
            value = _in_range(each.name, value, kind, each.metadata)
        found[each.name] = value
    return found


def _in_range(name: str, value: Any, kind: type, bounds: Mapping[str, Any]) -> Any:
    least, most, above, below = (bounds[which] for which in ("least", "most", "above", "below"))
    if kind is bool:
        return flag(name, value)
    if kind is str:
        return one_of(name, value, bounds["choices"]) if bounds["choices"] else value
    if kind is int:
        return whole(name, value, 0 if least is None else int(least), MAX_WHOLE if most is None else int(most))
    if above is None and below is None:
        return real(name, value, -MAX_OPTION if least is None else least, MAX_OPTION if most is None else most)
    number = real(name, value)
    words = {"least": "at least", "above": "more than", "most": "at most", "below": "less than"}
    given = {which: bounds[which] for which in words if bounds[which] is not None}
    inside = {"least": number.__ge__, "above": number.__gt__, "most": number.__le__, "below": number.__lt__}
    if not all(inside[which](bound) for which, bound in given.items()):
        said = " and ".join(f"{words[which]} {bound:g}" for which, bound in given.items())
        raise ValueError(f"{name} must be {said}, got {number:g}")
    return number
