"""Published methods, one file each, with their published numbers as defaults; and how a method is found by its name."""

import inspect
import os
import sys
from collections.abc import Mapping
from dataclasses import Field, fields, is_dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

import numpy as np

from didact.bounds import MAX_OPTION, MAX_PER_STEP, shortened, whole
from didact.curriculum import Curriculum
from didact.method import Method
from didact.methods.adarft import AdaRFT
from didact.methods.bots import BOTS
from didact.methods.cdas import CDAS
from didact.methods.cures import CurES
from didact.methods.dapo import DAPO
from didact.methods.e2h import E2H
from didact.methods.fastcurl import FastCuRL
from didact.methods.greso import GRESO
from didact.methods.gvm import GVM
from didact.methods.hora import HORA
from didact.methods.knapsack import Knapsack
from didact.methods.mopps import MoPPS
from didact.methods.pcl import PCL
from didact.methods.pilot_commit import PilotCommit
from didact.methods.reinforce_ada import ReinforceAda
from didact.methods.sec import DUMP, SEC
from didact.methods.speed import Speed
from didact.methods.uniform import Uniform
from didact.methods.vip import VIP
from didact.methods.wrappers import WRAPPERS, Wrapper, wrapped
from didact.naming import nearest
from didact.prompts import PromptPool

_GROUP = "didact.methods"

_PUBLISHED: tuple[type[Method], ...] = (Uniform, DAPO, CurES, Speed, FastCuRL, GVM, ReinforceAda, PilotCommit, MoPPS)
_PUBLISHED += (GRESO, VIP, Knapsack, HORA, BOTS, AdaRFT, SEC, DUMP, E2H, CDAS, PCL)
METHODS: dict[str, type[Method]] = {method.name: method for method in _PUBLISHED}


def make(method: str | type[Method], pool: PromptPool, **options: Any) -> Curriculum:
    """Build a curriculum: `make("cures", pool, prompts_per_step=64, rollouts_per_step=512, seed=0)`.

    Args:
        method: a published method's name; one that an installed package registers in the entry-point group
            "didact.methods"; "module:NAME" for a `Method` of your own; or the class itself.
        options: of the method, of `Curriculum`, and of what any method can be wrapped in (`didact.methods.wrappers`).

    Raises:
        ValueError: an unknown method, or an option out of range or of the wrong type.
        TypeError: an unknown or missing option, naming the nearest, or no object of the kind that an option takes.
    """
    kind = _as_method(method.__qualname__, method) if isinstance(method, type) else find(method)
    known = method_options(kind)
    for name in options:
        if name not in known:
            hint = nearest(name, known)
            raise TypeError(
                f"unknown option {name!r} for method {kind.name!r}{hint}; options: {', '.join(sorted(known))}"
            )
    for name in ("prompts_per_step", "rollouts_per_step"):
        if name not in options:
            raise TypeError(f"method {kind.name!r} needs the option {name!r}")
    own = {each.name for each in fields(kind)}  # type: ignore[arg-type]
    others = {name: value for name, value in options.items() if name not in own}
    rule = wrapped(kind(**{name: options[name] for name in options if name in own}), others)
    return Curriculum(pool, rule, **{name: value for name, value in others.items() if name not in WRAPPERS})


def find(name: str) -> type[Method]:
    """A method by its name, see `make`.

    Raises:
        TypeError: no name. ValueError: an unknown one, a module that cannot be imported, or one without such a method.
    """
    if not isinstance(name, str):
        raise TypeError(f"a method is known by its name, got {shortened(name)}")
    if name in METHODS:
        return METHODS[name]
    registered = {each.name: each for each in entry_points(group=_GROUP)}
    if name in registered:
        return _as_method(name, registered[name].load())
    if ":" not in name:
        known = [*METHODS, *registered]
        raise ValueError(f"unknown method {name!r}{nearest(name, known)}; methods: {', '.join(known)}, or module:NAME")
    module, _, attribute = name.partition(":")
    if (here := os.getcwd()) not in sys.path:
        sys.path.append(here)  # last: nothing that lies about takes the place of an installed module
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"method {name!r} cannot be loaded ({error}): write module:NAME, for a module that Python finds"
        ) from error
    return _as_method(name, found)


def spelling(method: Method) -> str:
    """What `find` finds a method by: its name, or module:NAME for one that is not registered."""
    while isinstance(method, Wrapper):
        method = method.method
    kind = type(method)
    if METHODS.get(kind.name) is kind or any(each.name == kind.name for each in entry_points(group=_GROUP)):
        return kind.name
    return f"{kind.__module__}:{kind.__qualname__}"


def _as_method(name: str, found: object) -> type[Method]:
    if not isinstance(found, type) or not issubclass(found, Method) or inspect.isabstract(found):
        raise ValueError(
            f"{name!r} is {shortened(found)}, and a method is a class derived from didact.Method, with draft"
        )
    frozen = is_dataclass(found) and found.__dataclass_params__.frozen  # type: ignore[attr-defined]
    if not frozen or any(isinstance(value, Field) for value in vars(found).values()):
        raise ValueError(
            f"method {name!r} must be a frozen dataclass: write @dataclass(frozen=True, kw_only=True) above it"
        )
    return found


def check_options(method: str, **options: Any) -> Curriculum:
    """Refuse what `make` would refuse, before a pool is there: tried on a small one with every column, and returned.

    Raises:
        ValueError, TypeError: as `make`.
    """
    column = np.arange(max(64, 2 * whole("prompts_per_step", options.get("prompts_per_step", 1), 1, MAX_PER_STEP)))
    quotas = options.get("quotas")
    sources = [*(map(str, quotas) if isinstance(quotas, Mapping) else ()), "another"]
    pool = PromptPool(
        [str(index) for index in column],
        source=[sources[index % len(sources)] for index in column],
        difficulty=column / len(column) * 100,
        prompt_tokens=column + 1,
        features=np.stack([column % 7, column % 5], axis=1).astype(np.float64),
        pass_rate=column / len(column),
    )
    return make(method, pool, **options)


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


_WORDS = {"least": "at least", "above": "more than", "most": "at most", "below": "less than"}


def _said(option: Field[Any], bound: str) -> bool:
    """Whether a bound is the option's own, and none that only keeps sums finite."""
    value = option.metadata.get(bound)
    return value is not None and abs(value) < MAX_OPTION and value != MAX_PER_STEP


def about(method: str | type[Method]) -> tuple[str, str]:
    """One line on a method, the first of its docstring, and its paper."""
    kind = find(method) if isinstance(method, str) else method
    return (inspect.getdoc(kind) or kind.name).splitlines()[0].rstrip("."), kind.paper
