"""Settings that people write: a TOML file, and its plain values as a dataclass whose fields say what each may be."""

import dataclasses
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from didact.bounds import shortened
from didact.naming import nearest_or_all

Kind = TypeVar("Kind")


def read_toml(path: str | Path) -> dict[str, Any]:
    """Settings from a TOML file.

    Raises:
        FileNotFoundError, ValueError: no such file, or no TOML.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no config file {path}")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, digits by the thousand, nested without end
        raise ValueError(f"{path} is not TOML: {error}") from error


def table(values: Any, what: str) -> Mapping[str, Any]:
    """The values, if they are a table. ValueError: they are not."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{what} must be a table of names and values, got {shortened(values)}")
    return values


def from_table(kind: type[Kind], values: Any, what: str) -> Kind:
    """A dataclass from plain values; a table in a field that holds another dataclass becomes that.

    Args:
        what: one of them, for messages: "run", "cell".

    Raises:
        ValueError: no table, an unknown setting (the nearest is named), one that is missing or of the wrong type; and
            what the dataclass itself refuses.
    """
    values, hints = table(values, f"the settings of a {what}"), typing.get_type_hints(kind)
    for name in values:
        if name not in hints:
            raise ValueError(f"unknown setting {shortened(name)} of a {what}{nearest_or_all(name, hints)}")
    for each in dataclasses.fields(kind):  # type: ignore[arg-type]
        if each.name not in values and each.default is each.default_factory:
            raise ValueError(f"a {what} needs {each.name!r}")
    return kind(**{name: _typed(value, hints[name], f"{name!r} of a {what}") for name, value in values.items()})


def _typed(value: Any, hint: Any, where: str) -> Any:
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    plain = {typing.get_origin(kind) or kind: kind for kind in kinds}
    for kind in plain:
        if dataclasses.is_dataclass(kind) and isinstance(kind, type) and value is not None:
            return value if isinstance(value, kind) else from_table(kind, value, kind.__name__.lower())
    if float in plain and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ValueError(f"{where} is a number beyond all bounds") from None
    if not isinstance(value, tuple(plain)) or (isinstance(value, bool) and bool not in plain):
        raise ValueError(f"{where} must be {' or '.join(map(_said, kinds))}, got {shortened(value)}")
    if isinstance(value, list):
        return [_typed(each, typing.get_args(plain[list])[0], f"an entry of {where}") for each in value]
    return value


def _said(kind: Any) -> str:
    if typing.get_origin(kind) is list:
        return f"a list of {typing.get_args(kind)[0].__name__}"
    return "nothing" if kind is types.NoneType else (typing.get_origin(kind) or kind).__name__
