"""Prompt sources and their verifiers: ``task("gsm8k").verify(response, answer)`` is a float in [0, 1].

Importing this package loads nothing heavy; each task loads its own library when it is asked for.
"""

from importlib import import_module
from typing import cast

from didact.naming import nearest_or_all
from didact.tasks.task import Example, Split, Task

__all__ = ["TASKS", "Example", "Split", "Task", "task"]

TASKS = {
    "arithmetic": "didact.tasks.arithmetic:Arithmetic",
    "gsm8k": "didact.tasks.gsm8k:GSM8K",
    "math": "didact.tasks.math:Math",
    "reasoning_gym": "didact.tasks.reasoning_gym:ReasoningGym",
}
"""Every task, by name, and where its class lives. ``reasoning_gym`` takes a family: ``reasoning_gym:chain_sum``."""


def task(name: str) -> Task:
    """The task called `name`: "arithmetic", "gsm8k", "math" or "reasoning_gym:NAME".

    A family whose scoring can run what a model writes is given only as "reasoning_gym:NAME:allow_code".

    Raises:
        ValueError: there is no such task, or no such family; the message names the nearest. Or a family is refused.
        ImportError: the task's library is not installed; the message says how to get it.
    """
    base, colon, family = name.partition(":")
    if base not in TASKS:
        raise ValueError(f"there is no task {name!r}{nearest_or_all(base, TASKS)}")
    if base != "reasoning_gym" and colon:
        raise ValueError(f"the task {base!r} has no families, {name!r} was given; write {base!r}")
    module, _, attribute = TASKS[base].partition(":")
    builder = getattr(import_module(module), attribute)
    if base != "reasoning_gym":
        return cast(Task, builder())
    family, colon, option = family.partition(":")
    if colon and option != "allow_code":
        raise ValueError(f"{name!r} given; after a family there may stand 'allow_code' and nothing else")
    return cast(Task, builder(family, allow_code=bool(colon)))
