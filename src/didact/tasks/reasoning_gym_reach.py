"""What reasoning-gym's code for scoring an answer can reach, found without running it.

Scoring may use reasoning-gym itself, and of all else only what stands in `_HARMLESS`: libraries that do not run text.
Sympy is not among them, since most of its functions evaluate a string they are given. So a family whose scoring changes
in a new release, or a new family, is found out the day it is installed.

Code is followed from function to function by the names it uses, methods of the family by name only, and other classes
with all their methods; so this finds too much rather than too little. What it does not see: a function that arrives as
an argument or in an attribute set later.
"""

import builtins
import dis
from collections.abc import Iterator
from importlib import import_module
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final

_HARMLESS: Final = {
    *("abc", "builtins", "calendar", "collections", "copy", "dataclasses", "datetime", "decimal", "enum", "fractions"),
    *("functools", "heapq", "io", "itertools", "json", "magiccube", "math", "numpy", "operator", "random", "re"),
    *("reasoning_gym", "string", "thread", "typing", "warnings", "zss"),
}
_HARMFUL: Final = {
    *("__builtins__", "__globals__", "__import__", "__subclasses__", "breakpoint", "compile", "eval", "exec"),
    *("fromfile", "fromregex", "genfromtxt", "getattr", "globals", "load", "locals", "memmap", "vars"),
}
"""Names that must not be used even of a harmless library; `re.compile` is let through."""


def reached_code(score: MethodType) -> str | None:
    """The first thing that `score` can reach and should not, such as "eval" or "sympy"; None if there is none."""
    todo: list[Any] = [score]
    seen: dict[int, Any] = {}  # which also keeps alive what its identities stand for
    while todo:
        found = todo.pop()
        if id(found) in seen:
            continue
        seen[id(found)] = found
        if _package(found) not in _HARMLESS:
            return _package(found)
        if isinstance(found, BuiltinFunctionType) and found.__name__ in _HARMFUL:
            return found.__name__
        if isinstance(found, FunctionType) and _package(found) == "reasoning_gym":
            for name, value in _uses(found.__code__, found.__globals__, score.__self__):
                if name in _HARMFUL and (name != "compile" or value is builtins.compile):
                    return name
                todo.append(value)
        todo.extend(_parts(found))
    return None


def _parts(found: Any) -> Iterator[Any]:
    """What else may be run where `found` is used: the functions it holds, wraps or is an instance's."""
    if isinstance(found, dict | list | tuple | set | frozenset):
        yield from filter(callable, found.values() if isinstance(found, dict) else found)
    elif isinstance(found, type):
        ours = [base for base in found.__mro__ if _package(base) == "reasoning_gym"]
        yield from (value for base in ours for value in vars(base).values())
    elif not isinstance(found, ModuleType):
        if not isinstance(found, FunctionType | MethodType) and _package(found) == "reasoning_gym":
            yield type(found)
        yield from (cell.cell_contents for cell in getattr(found, "__closure__", None) or ())
        yield from (getattr(found, name, None) for name in ("__func__", "__wrapped__", "fget", "fset", "func"))


def _uses(code: CodeType, names: dict[str, Any], owner: object) -> Iterator[tuple[str, Any]]:
    """Every name that a method of `owner`, or code it calls, uses, with what stands behind it if that can be told."""
    steps = list(dis.get_instructions(code))
    module: ModuleType | None = None
    for index, step in enumerate(steps):
        match step.opname:
            case "LOAD_GLOBAL" | "LOAD_NAME":
                # A builtin goes by its name: what stands behind it may be another library's, as Ray replaces print.
                yield step.argval, names.get(step.argval, builtins.compile if step.argval == "compile" else None)
            case "IMPORT_NAME":
                dots = "." * steps[index - 2].argval  # the level of a relative import
                ours = dots or step.argval.partition(".")[0] == "reasoning_gym"
                module = import_module(dots + step.argval, names["__package__"]) if ours else ModuleType(step.argval)
                yield step.argval, module
            case "IMPORT_FROM":
                yield step.argval, getattr(module, step.argval, None)
            case "LOAD_ATTR" | "LOAD_METHOD" | "LOAD_SUPER_ATTR":
                for place in (owner, *type(owner).__mro__):
                    yield step.argval, vars(place).get(step.argval)
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
