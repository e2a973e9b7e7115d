"""What reasoning-gym's code for scoring an answer can reach, found without running it.

Scoring may use reasoning-gym itself, and of all else only what stands in `_HARMLESS`: libraries that do not run text.
Sympy is not among them, since most of its functions evaluate a string they are given. So a family whose scoring changes
in a new release, or a new family, is found out the day it is installed.

Code is followed from function to function by the names it uses, methods by name only, and a class with all its methods;
so this finds too much rather than too little. What it does not see: code put together at run time.
"""

import builtins
import dis
from collections.abc import Callable, Iterator
from importlib import import_module
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final

_HARMLESS: Final = {
    *("abc", "builtins", "calendar", "collections", "copy", "dataclasses", "datetime", "decimal", "enum", "fractions"),
    *("functools", "heapq", "io", "itertools", "json", "magiccube", "math", "numpy", "operator", "random", "re"),
    *("reasoning_gym", "string", "typing", "warnings", "zss"),
}
_HARMFUL: Final = {
    *(
        "__builtins__",
        "__globals__",
        "__import__",
        "__subclasses__",
        "breakpoint",
        "compile",
        "eval",
        "exec",
        "fromfile",
    ),
    *("fromregex", "genfromtxt", "getattr", "globals", "load", "locals", "memmap", "vars"),
}
"""Names that must not be used even of a harmless library; `re.compile` is let through."""


def reached_code(score: Callable[..., Any]) -> str | None:
    """The first thing that `score`, a bound method, can reach and should not, such as "eval"; None if there is none."""
    owner = getattr(score, "__self__", None)
    todo: list[Any] = [score]
    seen: set[int] = set()
    while todo:
        found = todo.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        if isinstance(found, MethodType | classmethod | staticmethod):
            todo.append(found.__func__)
        elif isinstance(found, property):
            todo.extend(filter(None, (found.fget, found.fset)))
        elif isinstance(found, type):
            todo.extend(
                value for base in found.__mro__ if _package(base) == "reasoning_gym" for value in vars(base).values()
            )
        elif isinstance(found, FunctionType):
            if hasattr(found, "__wrapped__"):
                todo.append(found.__wrapped__)
            todo.extend(cell.cell_contents for cell in found.__closure__ or ())
            for name, value in _uses(found.__code__, found.__globals__, owner):
                if name in _HARMFUL and (name != "compile" or value is builtins.compile):
                    return name
                if value is not None and _package(value) not in _HARMLESS:
                    return _package(value)
                if _package(value) == "reasoning_gym" and not isinstance(value, ModuleType):
                    todo.append(value)
    return None


def _uses(code: CodeType, names: dict[str, Any], owner: object) -> Iterator[tuple[str, Any]]:
    """Every name that code uses, with what stands behind it where that can be told."""
    steps = list(dis.get_instructions(code))
    module: ModuleType | None = None
    for index, step in enumerate(steps):
        match step.opname:
            case "LOAD_GLOBAL" | "LOAD_NAME":
                yield step.argval, names.get(step.argval, getattr(builtins, step.argval, None))
            case "IMPORT_NAME":
                dots = "." * steps[index - 2].argval  # the level of a relative import
                ours = dots or step.argval.partition(".")[0] == "reasoning_gym"
                module = import_module(dots + step.argval, names["__package__"]) if ours else ModuleType(step.argval)
                yield step.argval, module
            case "IMPORT_FROM":
                yield step.argval, getattr(module, step.argval, None)
            case "LOAD_ATTR" | "LOAD_METHOD" | "LOAD_SUPER_ATTR":
                yield step.argval, getattr(owner, step.argval, None)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _uses(constant, names, owner)


def _package(value: object) -> str:
    """The library that a module, class, function or other object comes from."""
    if isinstance(value, ModuleType):
        name = value.__name__
    else:
        name = getattr(value, "__module__", None) or type(value).__module__
    return name.partition(".")[0].lstrip("_")
