"""Published methods, one file each, with their published numbers as defaults; and how a curriculum is made of one."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from didact.bounds import MAX_PER_STEP, whole
from didact.curriculum import Curriculum
from didact.method import Method
from didact.methods.descriptions import about, described, method_options
from didact.methods.registry import METHODS, as_method, find, spelling
from didact.methods.wrappers import WRAPPERS, wrapped
from didact.naming import nearest
from didact.pool import Pool
from didact.prompts import PromptPool

__all__ = ("METHODS", "about", "check_options", "described", "find", "make", "method_options", "spelling")


def make(method: str | type[Method], pool: Pool, **options: Any) -> Curriculum:
    """Build a curriculum: `make("cures", pool, prompts_per_step=64, rollouts_per_step=512, seed=0)`.

    Args:
        method: a published method's name; one that an installed package registers in the entry-point group
            "didact.methods"; "module:NAME" for a `Method` of your own; or the class itself.
        options: of the method, of `Curriculum`, and of what any method can be wrapped in (`didact.methods.wrappers`).

    Raises:
        ValueError: an unknown method, or an option out of range or of the wrong type.
        TypeError: an unknown or missing option, naming the nearest, or no object of the kind that an option takes.
    """
    kind = as_method(method.__qualname__, method) if isinstance(method, type) else find(method)
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
