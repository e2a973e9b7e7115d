"""Published methods, one file each, with their published numbers as defaults."""

import difflib
import inspect
from typing import Any

import numpy as np

from didact.bounds import MAX_PER_STEP, shortened, whole
from didact.curriculum import Curriculum
from didact.methods.adarft import AdaRFT
from didact.methods.bots import BOTS
from didact.methods.cures import CurES
from didact.methods.dapo import DAPO
from didact.methods.fastcurl import FastCuRL
from didact.methods.greso import GRESO
from didact.methods.gvm import GVM
from didact.methods.hora import HORA
from didact.methods.knapsack import Knapsack
from didact.methods.mopps import MoPPS
from didact.methods.pilot_commit import PilotCommit
from didact.methods.reinforce_ada import ReinforceAda
from didact.methods.speed import Speed
from didact.methods.uniform import Uniform
from didact.methods.vip import VIP
from didact.prompts import PromptPool

METHODS: dict[str, type[Curriculum]] = {
    "uniform": Uniform,
    "dapo": DAPO,
    "cures": CurES,
    "speed": Speed,
    "fastcurl": FastCuRL,
    "gvm": GVM,
    "reinforce_ada": ReinforceAda,
    "pilot_commit": PilotCommit,
    "mopps": MoPPS,
    "greso": GRESO,
    "vip": VIP,
    "knapsack": Knapsack,
    "hora": HORA,
    "bots": BOTS,
    "adarft": AdaRFT,
}

#: What `didact methods` prints: one line and the paper.
ABOUT: dict[str, tuple[str, str]] = {
    "uniform": ("every prompt equally often, in shuffled passes, equal groups", "-"),
    "dapo": ("redraw until enough groups have signal; what is discarded stays counted", "arXiv:2503.14476"),
    "cures": ("pilot, then sample by sqrt(p(1-p)) and allocate rollouts by variance", "arXiv:2510.01037"),
    "speed": ("screen with a few rollouts, continue what differs, train on full groups", "arXiv:2506.09016"),
    "fastcurl": ("short prompts in a short context, then all, then long ones, and back", "arXiv:2503.17287"),
    "gvm": ("rollouts of an iteration by how hard prompts are to get right, after a pilot of each", "arXiv:2505.02391"),
    "reinforce_ada": ("sample a prompt until some pass and some fail, train on a few of these", "arXiv:2510.04996"),
    "pilot_commit": ("pilot a quarter of the group, commit the rest where it is worth it", "arXiv:2605.26606"),
    "mopps": ("draw pass rates from the beliefs about candidates, take those nearest to one half", "arXiv:2507.04632"),
    "greso": ("dynamic sampling that skips what was silent in its latest visits", "arXiv:2506.02177"),
    "vip": ("predict pass rates from what prompts look like, allocate rollouts by variance", "arXiv:2602.01601"),
    "knapsack": ("the batch's rollouts as a knapsack, valued by chance of signal and p(1-p)^2", "arXiv:2509.25849"),
    "hora": ("probe each prompt, then roll out where a first hit is likeliest", "arXiv:2605.07114"),
    "bots": ("posteriors fed by own rollouts and by two reference models, for all prompts", "arXiv:2510.26374"),
    "adarft": ("prompts whose difficulty is nearest to a target that follows the reward", "arXiv:2504.05520"),
}


def make(method: str, pool: PromptPool, **options: Any) -> Curriculum:
    """Build a curriculum by name: `make("cures", pool, prompts_per_step=64, rollouts_per_step=512, seed=0)`.

    Raises:
        ValueError: an unknown method, or an option out of range or of the wrong type.
        TypeError: an unknown or missing option, naming the nearest, or no object of the kind that an option takes.
    """
    if not isinstance(method, str):
        raise TypeError(f"a method is known by its name, got {shortened(method)}")
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}{_nearest(method, METHODS)}; methods: {', '.join(METHODS)}")
    known = method_options(method)
    for name in options:
        if name not in known:
            hint = _nearest(name, known)
            raise TypeError(f"unknown option {name!r} for method {method!r}{hint}; options: {', '.join(sorted(known))}")
    for name in ("prompts_per_step", "rollouts_per_step"):
        if name not in options:
            raise TypeError(f"method {method!r} needs the option {name!r}")
    return METHODS[method](pool, **options)


def check_options(method: str, **options: Any) -> Curriculum:
    """Refuse what `make` would refuse, before a pool is there: tried on a small one with every column, and returned.

    Raises:
        ValueError, TypeError: as `make`.
    """
    column = np.arange(max(64, 2 * whole("prompts_per_step", options.get("prompts_per_step", 1), 1, MAX_PER_STEP)))
    pool = PromptPool(
        [str(index) for index in column],
        source=[str(index % 2) for index in column],
        difficulty=column / len(column) * 100,
        prompt_tokens=column + 1,
        features=np.stack([column % 7, column % 5], axis=1).astype(np.float64),
        pass_rate=column / len(column),
    )
    return make(method, pool, **options)


def method_options(method: str) -> dict[str, inspect.Parameter]:
    """The options of a method by name, its own first."""
    parameters: dict[str, inspect.Parameter] = {}
    for owner in (METHODS[method], Curriculum):
        for name, parameter in inspect.signature(owner.__init__).parameters.items():
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY and name != "options":
                parameters.setdefault(name, parameter)
    return parameters


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
