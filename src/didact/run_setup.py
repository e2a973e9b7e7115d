"""What a curriculum is set up with: whether its parts fit each other, and how states and journals write it down."""

import warnings
from collections.abc import Mapping
from typing import Any

from didact.bounds import MAX_PER_STEP, real, whole
from didact.context import FixedContext
from didact.method import Method
from didact.pool import Pool


def check_fit(pool: object, method: object, context: object) -> None:
    """Whether a curriculum can be made of these.

    Raises:
        TypeError, ValueError: it cannot.
    """
    if not isinstance(pool, Pool):
        raise TypeError(f"pool must be a PromptPool, got {type(pool).__name__}; write PromptPool(ids)")
    if not isinstance(method, Method):
        raise TypeError(f"method must be a Method, got {method!r}; by name, write make(name, pool, ...)")
    if pool.sharded and not method.shardable:
        raise ValueError(
            f"method {method.name!r} keeps or passes over figures of the whole pool, so the pool cannot be a "
            f"{type(pool).__name__}; docs/scale.md says which methods can"
        )
    if method.sets_context and context is not None:
        raise ValueError(f"method {method.name!r} sets the context length by its own options: do not give context")


def budget(prompts_per_step: int, rollouts_per_step: int, most: int | None, num_prompts: int) -> tuple[int, int]:
    """Prompts and rollouts of a step, which is to take `most` rollouts at the most, of a pool of so many prompts.

    Raises:
        ValueError: numbers out of range, groups of one, or a step that has no room for a plan.
    """
    prompts = whole("prompts_per_step", prompts_per_step, 1, MAX_PER_STEP)
    rollouts = whole("rollouts_per_step", rollouts_per_step, 1, MAX_PER_STEP)
    if rollouts < 2 * min(prompts, num_prompts):
        raise ValueError(
            f"rollouts_per_step={rollouts} is less than 2 rollouts for each of {prompts} prompts: a group of one has "
            "no advantage; raise rollouts_per_step or lower prompts_per_step"
        )
    if most is not None and most < rollouts:
        raise ValueError(
            f"max_rollouts_per_step={most} has no room for a plan of rollouts_per_step={rollouts}; give at least that, "
            "or leave it out"
        )
    return prompts, rollouts


def weight_of_pass_rates(pool: Pool, method: Method, given: float | None) -> float:
    """The weight of the pool's pass rates, 0 where there are none to use."""
    weight = method.prior_weight if given is None else real("prior_weight", given, 0)
    try:
        return weight if weight > 0 and pool.pass_rate is not None else 0.0
    except ValueError as error:
        if given is None:
            warnings.warn(f"{error}; the belief starts at its prior everywhere", stacklevel=4)
            return 0.0
        raise


def described(stage: object) -> str | int | None:
    """A stage as states have it: one length of context itself, another stage by its repr.

    The default repr holds an address, which no state of another process would match: then it is the type's name.
    """
    if isinstance(stage, FixedContext):
        return stage.length
    return type(stage).__qualname__ if type(stage).__repr__ is object.__repr__ else repr(stage)


def check_same(state: Mapping[str, Any], method: str, options: Mapping[str, Any], pool: Pool) -> None:
    """Whether a state is of this method, these options, and this pool, which may have grown since.

    Raises:
        ValueError: it is of others, or does not say of which.
    """
    if state["method"] != method:
        raise ValueError(f"state of method {state['method']!r}, this curriculum is {method!r}")
    given, known = state["options"], state["pool"]
    if not isinstance(given, Mapping) or not isinstance(known, Mapping) or type(known.get("size")) is not int:
        raise ValueError(f"a state says what options and what pool it was made with, this one {given} and {known}")
    for name in sorted({*given, *options}):
        saved, mine = given.get(name, "unset"), options.get(name, "unset")
        if saved != mine:
            raise ValueError(f"state made with {name}={saved!r}, this curriculum has {name}={mine!r}")
    size = known["size"]
    if size > len(pool) or pool.fingerprint(size) != known.get("fingerprint"):
        raise ValueError(
            f"state of another pool: it knew {size} prompts, and the first {min(size, len(pool))} of this pool's "
            f"{len(pool)} are not the same; load it with its own prompts in their own order (and shards)"
        )
