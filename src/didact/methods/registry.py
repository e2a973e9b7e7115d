"""How a method is found: by its published name, by that of an installed package, or as module:NAME."""

import inspect
import os
import sys
from dataclasses import Field, is_dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from didact.bounds import shortened
from didact.method import Method
from didact.methods.adarft import AdaRFT
from didact.methods.bots import BOTS
from didact.methods.cdas import CDAS
from didact.methods.cures import CurES
from didact.methods.dapo import DAPO
from didact.methods.didact import Didact
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
from didact.methods.wrappers import Wrapper
from didact.naming import nearest

_GROUP = "didact.methods"

_METHODS: tuple[type[Method], ...] = (Didact, Uniform, DAPO, CurES, Speed, FastCuRL, GVM, ReinforceAda, PilotCommit)
_METHODS += (MoPPS, GRESO, VIP, Knapsack, HORA, BOTS, AdaRFT, SEC, DUMP, E2H, CDAS, PCL)
METHODS: dict[str, type[Method]] = {method.name: method for method in _METHODS}


def find(name: str) -> type[Method]:
    """A method by its name, see `make`.

    Raises:
        TypeError: no name. ValueError: an unknown one, a module that cannot be imported, or one without such a method.
    """
    if not isinstance(name, str):
        raise TypeError(f"a method is known by its name, got {shortened(name)}")
    if name in METHODS:
        return METHODS[name]
    named = registered()
    if name not in named and ":" not in name:
        known = [*METHODS, *named]
        raise ValueError(f"unknown method {name!r}{nearest(name, known)}; methods: {', '.join(known)}, or module:NAME")
    try:
        found = named[name].load() if name in named else _imported(name)
    except Exception as error:  # importing runs what somebody wrote
        hint = "write module:NAME, for a module that Python finds and can import"
        if name in named:
            hint = f"an installed package registers it as {named[name].value}"
        raise ValueError(f"method {name!r} cannot be loaded ({type(error).__name__}: {error}): {hint}") from error
    return as_method(name, found)


def registered() -> dict[str, EntryPoint]:
    """The methods that installed packages register in the entry-point group "didact.methods", by name."""
    return {each.name: each for each in entry_points(group=_GROUP) if each.name not in METHODS}


def _imported(name: str) -> object:
    module, _, attribute = name.partition(":")
    if (here := os.getcwd()) not in sys.path:
        sys.path.append(here)  # last: nothing that lies about takes the place of an installed module
    return getattr(import_module(module), attribute)


def spelling(method: Method) -> str:
    """What `find` finds a method by: its name, or module:NAME for one that is not registered."""
    while isinstance(method, Wrapper):
        method = method.method
    kind = type(method)
    if METHODS.get(kind.name) is kind:
        return kind.name
    here = f"{kind.__module__}:{kind.__qualname__}"
    return next((name for name, each in registered().items() if each.value == here), here)


def as_method(name: str, found: object) -> type[Method]:
    """What was found under a name, as a method.

    Raises:
        ValueError: it is none, or no frozen dataclass.
    """
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
