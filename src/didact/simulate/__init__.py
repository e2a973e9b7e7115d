"""Learners whose pass rates are known: compare methods in seconds, without a model.

    learner = make_learner("skills", "hard-heavy", size=4096, seed=0)
    learner.roll_out(plan); learner.update(admitted, "rloo", "prompt"); learner.evaluate(); learner.pass_rates()

See docs/simulate.md for what they model and what they do not.
"""

import inspect
from typing import Any

from numpy.typing import ArrayLike

from didact.naming import nearest, nearest_or_all
from didact.simulate.histogram import from_histogram
from didact.simulate.independent import IndependentPrompts
from didact.simulate.learner import SimulatedLearner
from didact.simulate.pools import POOLS, InitialRates, given_rates, pool_rates
from didact.simulate.skills import SharedSkills

__all__ = [
    "LEARNERS",
    "POOLS",
    "IndependentPrompts",
    "InitialRates",
    "SharedSkills",
    "SimulatedLearner",
    "from_histogram",
    "given_rates",
    "learner_options",
    "make_learner",
    "pool_rates",
]

LEARNERS: dict[str, type[SimulatedLearner]] = {"skills": SharedSkills, "independent": IndependentPrompts}

DEFAULT_SIZE = 4096


def make_learner(
    kind: str, pool: str | InitialRates | ArrayLike, size: int | None = None, *, seed: int = 0, **options: Any
) -> SimulatedLearner:
    """Build a learner: `make_learner("skills", "mixed", size=4096, seed=0, learning_rate=0.01)`.

    Args:
        kind: "skills" or "independent".
        pool: the name of one of the `POOLS`, or initial pass rates of your own (see `from_histogram`).
        size: prompts; None: 4096 of a named pool, and your own rates as they are.
        options: of the learner, see its class.

    Raises:
        ValueError: an unknown kind or pool, or an option out of range. TypeError: an unknown option. Both name the
            nearest.
    """
    if kind not in LEARNERS:
        raise ValueError(f"unknown learner {kind!r}{nearest_or_all(kind, LEARNERS)}")
    known = learner_options(kind)
    for name in options:
        if name not in known:
            hint = nearest(name, known)
            raise TypeError(f"unknown option {name!r} for learner {kind!r}{hint}; options: {', '.join(sorted(known))}")
    if isinstance(pool, str):
        initial = pool_rates(pool, DEFAULT_SIZE if size is None else size, seed=seed)
    elif not isinstance(pool, InitialRates):
        initial = given_rates(pool, size, seed=seed)
    elif size in (None, len(pool)):
        initial = pool
    else:
        raise ValueError(f"{len(pool)} initial rates were given for size={size}: leave size out, or give plain rates")
    return LEARNERS[kind](initial, seed=seed, **options)


def learner_options(kind: str) -> dict[str, inspect.Parameter]:
    """The options of a learner by name, its own first."""
    parameters: dict[str, inspect.Parameter] = {}
    for owner in (LEARNERS[kind], SimulatedLearner):
        for name, parameter in inspect.signature(owner.__init__).parameters.items():
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY and name != "seed":
                parameters.setdefault(name, parameter)
    return parameters
