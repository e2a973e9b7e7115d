"""What is said of a method and its options: by `didact methods`, on its page, and where an option is unknown."""

import inspect
from collections.abc import Mapping
from dataclasses import Field, fields
from typing import Any

from didact.bounds import MAX_OPTION, MAX_PER_STEP
from didact.curriculum import Curriculum
from didact.method import Method
from didact.methods.registry import find
from didact.methods.wrappers import WRAPPERS

_WORDS = {"least": "at least", "above": "more than", "most": "at most", "below": "less than"}


def about(method: str | type[Method]) -> tuple[str, str]:
    """One line on a method, the first of its docstring, and its paper."""
    kind = find(method) if isinstance(method, str) else method
    words = inspect.getdoc(kind) or ""
    if words.startswith(f"{kind.__name__}("):  # what a dataclass says of itself where its author said nothing
        words = ""
    return (words or kind.name).splitlines()[0].rstrip("."), kind.paper


def method_options(method: str | type[Method]) -> Mapping[str, Field[Any] | inspect.Parameter]:
    """The options of a method by name: its own, those of the wrappers, and those of `Curriculum`."""
    kind = find(method) if isinstance(method, str) else method
    own: dict[str, Field[Any] | inspect.Parameter] = {each.name: each for each in fields(kind)}  # type: ignore[arg-type]
    for name, wrapper in WRAPPERS.items():
        own.setdefault(name, next(each for each in fields(wrapper) if each.name == name))
    for name, parameter in inspect.signature(Curriculum.__init__).parameters.items():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            own.setdefault(name, parameter)
    return own


def described(method: str | type[Method]) -> dict[str, tuple[str, str]]:
    """Of each option, its own first, the default as Python writes it ("required" without one) and one line on it.

    The options of `Curriculum` come without that line: docs/methods/uniform.md explains them.
    """
    rows = {}
    for name, option in method_options(method).items():
        if isinstance(option, inspect.Parameter):
            rows[name] = "required" if option.default is option.empty else repr(option.default), ""
            continue
        limits = [f"{words} {option.metadata[bound]:g}" for bound, words in _WORDS.items() if _said(option, bound)]
        if choices := option.metadata.get("choices"):
            limits.append(f"one of {', '.join(choices)}")
        about = option.metadata.get("about", "")
        rows[name] = repr(option.default), f"{about} ({', '.join(limits)})" if limits else about
    return rows


def _said(option: Field[Any], bound: str) -> bool:
    """Whether a bound is the option's own, and none that only keeps sums finite."""
    value = option.metadata.get(bound)
    return value is not None and abs(value) < MAX_OPTION and value != MAX_PER_STEP
