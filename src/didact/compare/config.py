"""What a comparison was asked to do: people write TOML or flags, the program writes the resolved JSON."""

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, get_args

from didact.advantage import AdvantageKind, WeightMode
from didact.bounds import shortened
from didact.naming import nearest_or_all
from didact.settings import from_table, table

ORACLE: Final = "oracle"
LEARNERS: Final = ("policy", "skills", "independent")
KNOWN: Final = ("measured", "text")
#: From and to; what lies beyond would not fit a machine's memory or anybody's patience.
BOUNDS: Final[Mapping[str, tuple[int, int]]] = {
    "pool_size": (1, 10_000_000),
    "held_out": (1, 1_000_000),
    "prompts_per_step": (1, 100_000),
    "rollouts_per_step": (1, 1_000_000),
    "rollouts": (1, 1_000_000_000),
    "steps": (1, 1_000_000),
    "evaluations": (1, 10_000),
    "updates_per_step": (1, 10_000),
    "warmup_steps": (0, 1_000_000),
    "max_completion_length": (1, 4096),
}
#: Settings of `didact simulate`, where nothing else is said. Those of "skills" are calibrated: small groups and the
#: default save about what they do on trained beds (docs/simulate.md).
SIMULATED: Final[Mapping[str, Mapping[str, Any]]] = {
    "skills": {
        "learner_options": {"num_skills": 256, "skills_per_prompt": 6, "score_noise": 0.0},
        "learning_rate": 0.08,
        "held_out": 1024,
        "evaluations": 18,
    },
    "independent": {"prompts_per_step": 32, "rollouts_per_step": 256, "rollouts": 38_400, "evaluations": 15},
}
SIMULATED_GAIN: Final = 0.9  # its target, as a share of what the baseline gains
MOST_RUNS: Final = 100_000  # of a comparison: cells times variants times seeds, and the same for tuning
_MOST_SEEDS: Final = 10_000
_SEEDS: Final = range(2**32)
_HIGHEST_RATE: Final = 1e6  # a simulated learner's own goes up to 100
_LONGEST_NAME: Final = 80


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One setting in which all variants are compared: a learner, its pool, and the budget. A `[[cells]]` table."""

    name: str
    learner: str = "policy"  # a real model; "skills" and "independent" are simulated
    task: str = "arithmetic"  # of a real model
    task_options: dict[str, Any] = field(default_factory=dict)
    learner_options: dict[str, Any] = field(default_factory=dict)  # of a simulated learner
    pool: str = "mixed"  # a shape of compare/bed.py; simulated: one of simulate/pools.py, a file of rates, a run folder
    known: str = "measured"  # what a real model's pool tells of its prompts, see `Bed.pool`; or "text"
    pool_size: int = 4096  # in a small one whatever selects draws the same few, and a model learns them by heart
    held_out: int = 512
    prompts_per_step: int = 16
    rollouts_per_step: int = 128
    rollouts: int = 11_520  # the budget of a run, everything counted; whole iterations of CurES: 640 pilots, 1,280 more
    steps: int | None = None  # the budget in steps instead, whatever rollouts they take; `rollouts` is then ignored
    evaluations: int = 9
    updates_per_step: int = 1  # mini-batches that the rollouts of a step are dealt into, an optimiser step each
    learning_rate: float | None = None  # None: 1e-3 for a model, a simulated learner's own
    warmup_steps: int = 10
    # One objective for all, so that curricula are compared and not estimators; "own" leaves each method its own.
    advantage: str = "rloo"
    loss_weighting: str = "prompt"
    max_completion_length: int = 24
    tuned_on: str | None = None  # the cell whose tuned learning rates it takes; None: its own, where there is tuning

    def __post_init__(self) -> None:
        check_name("cell", self.name)
        if self.learner not in LEARNERS:
            raise ValueError(f"cell {self.name!r}: unknown learner {self.learner!r}; learners: {', '.join(LEARNERS)}")
        if self.known not in KNOWN:
            raise ValueError(f"cell {self.name!r}: known must be one of {', '.join(KNOWN)}, got {self.known!r}")
        for name in BOUNDS:
            if (size := getattr(self, name)) is not None:
                check_size(f"cell {self.name!r}: {name}", size, BOUNDS[name])
        if self.learning_rate is None and self.learner == "policy":
            object.__setattr__(self, "learning_rate", 1e-3)
        if self.learning_rate is not None:
            _check_rate(f"cell {self.name!r}: learning_rate", self.learning_rate)
        check_objective(f"cell {self.name!r}", self.advantage, self.loss_weighting)
        if self.steps is None and self.rollouts < self.rollouts_per_step:
            raise ValueError(
                f"cell {self.name!r}: a budget of {self.rollouts} rollouts is less than one step of "
                f"{self.rollouts_per_step}"
            )


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A method with its options under a name of its own. A `[[variants]]` table."""

    name: str
    method: str
    options: dict[str, Any] = field(default_factory=dict)
    advantage: str | None = None  # None: the cell's
    loss_weighting: str | None = None
    updates_per_step: int | None = None

    def __post_init__(self) -> None:
        check_name("variant", self.name)
        if self.updates_per_step is not None:
            check_size(f"variant {self.name!r}: updates_per_step", self.updates_per_step, BOUNDS["updates_per_step"])
        check_objective(f"variant {self.name!r}", self.advantage, self.loss_weighting)


def check_name(what: str, name: str) -> None:
    """Names stand in tables, on figures and in a terminal, and a comparison's is that of a folder, too.

    Raises:
        ValueError: a name that cannot.
    """
    if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable() or name != name.strip("/. "):
        raise ValueError(
            f"a {what}'s name has 1 to {_LONGEST_NAME} printable characters, without outer slashes, dots and blanks, "
            f"got {shortened(name)}"
        )
    if what == "comparison" and ("/" in name or "\\" in name or len(name.encode()) > 240):
        raise ValueError(f"a comparison's name becomes a folder's: short and without slashes, got {shortened(name)}")


def check_size(where: str, size: float, bounds: tuple[int, int]) -> None:
    """Refuse what lies outside the bounds, both of which are allowed."""
    if not bounds[0] <= size <= bounds[1]:
        raise ValueError(f"{where} must be {bounds[0]:,} to {bounds[1]:,}, got {shortened(size)}")


def _check_rate(where: str, rate: float) -> None:
    if not 0 < rate <= _HIGHEST_RATE:
        raise ValueError(f"{where} must be above 0, and {_HIGHEST_RATE:,.0f} at most, got {rate}")


def _check_seeds(where: str, seeds: Sequence[int]) -> None:
    if not 0 < len(seeds) <= _MOST_SEEDS or len(set(seeds)) < len(seeds):
        raise ValueError(f"{where} must be distinct and at least one, {_MOST_SEEDS:,} at most, got {shortened(seeds)}")
    if strange := [seed for seed in seeds if seed not in _SEEDS]:
        raise ValueError(f"{where} must be 0 to {_SEEDS[-1]:,}, got {shortened(strange[0])}")


def check_objective(where: str, advantage: str | None, loss_weighting: str | None) -> None:
    for what, value, known in (
        ("advantage", advantage, get_args(AdvantageKind)),
        ("loss_weighting", loss_weighting, get_args(WeightMode)),
    ):
        if value not in (None, "own", *known):
            raise ValueError(f"{where}: unknown {what} {value!r}; expected own, {', '.join(known)}")


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """The same tuning budget for every variant: each learning rate on each of these seeds, which are used for nothing
    else; the best mean area under the curve wins, cell by cell."""

    learning_rates: list[float]
    seeds: list[int]

    def __post_init__(self) -> None:
        rates = self.learning_rates
        if not rates or len(set(rates)) < len(rates):
            raise ValueError(f"learning_rates of the tuning must be distinct and at least one, got {shortened(rates)}")
        for rate in rates:
            _check_rate("a learning rate of the tuning", rate)
        _check_seeds("seeds of the tuning", self.seeds)


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """A whole comparison, and the target whose cost is reported: fix it before.

    The target of a seed is its accuracy before training and `gain`, or, with `gain_share`, that share of what the
    baseline gains over the budget: one that suits easy pools and hard ones, but is only known afterwards.
    """

    name: str
    cells: list[Cell]
    variants: list[Variant]
    seeds: list[int]
    gain: float = 0.1
    gain_share: float | None = None
    baseline: str = "uniform"
    oracle: str | None = None  # whose gain is all that could be gained; None: the first variant of that method
    tuning: Tuning | None = None

    def __post_init__(self) -> None:
        check_name("comparison", self.name)
        named = {"cell": [cell.name for cell in self.cells], "variant": [variant.name for variant in self.variants]}
        for what, names in named.items():
            if not names:
                raise ValueError(f"a comparison needs at least one {what}")
            if twice := [name for name, count in Counter(names).items() if count > 1]:
                raise ValueError(f"two {what}s are called {twice[0]!r}: names tell them apart")
        tuned = [cell.name for cell in self.cells if cell.tuned_on in (None, cell.name)]
        for cell in self.cells:
            if cell.tuned_on is not None and cell.tuned_on not in tuned:
                what = "takes over another's tuning itself" if cell.tuned_on in named["cell"] else "is no cell"
                raise ValueError(f"cell {cell.name!r}: tuned_on names {cell.tuned_on!r}, which {what}")
        _check_seeds("seeds", self.seeds)
        if self.tuning and (both := set(self.seeds) & set(self.tuning.seeds)):
            raise ValueError(f"seed {both.pop()} is used for tuning and for the comparison: keep them apart")
        if self.baseline not in named["variant"]:
            hint = nearest_or_all(self.baseline, named["variant"])
            raise ValueError(f"the baseline {self.baseline!r} is not among the variants{hint}")
        if self.oracle is not None and self.oracle not in self.oracles:
            hint = nearest_or_all(self.oracle, self.oracles)
            raise ValueError(f"oracle must name a variant of that method, got {self.oracle!r}{hint}")
        if not 0 < self.gain <= 1:
            raise ValueError(f"gain must be positive, and 1 at most: it is a share of the prompts, got {self.gain}")
        if self.gain_share is not None and not 0 < self.gain_share <= 1:
            raise ValueError(f"gain_share must be above 0, and 1 at most, got {self.gain_share}")
        num_settings = len(self.cells) * len(self.variants)
        num_tuning = len(self.tuning.learning_rates) * len(self.tuning.seeds) if self.tuning else 0
        if (num_runs := num_settings * max(len(self.seeds), num_tuning)) > MOST_RUNS:
            raise ValueError(
                f"a comparison may have {MOST_RUNS:,} runs, and as many for tuning; this one has {num_runs:,}"
            )

    @property
    def oracles(self) -> list[str]:
        """All variants that are told the truth."""
        return [variant.name for variant in self.variants if variant.method == ORACLE]

    @property
    def reference(self) -> str | None:
        """The oracle whose gain all others' are shares of; None where there is none."""
        return self.oracle or next(iter(self.oracles), None)

    def to_dict(self) -> dict[str, Any]:
        resolved = dataclasses.asdict(self)
        targets = {name: resolved.pop(name) for name in ("gain", "gain_share")}
        if targets["gain_share"] is None:  # as folders of before have it
            del targets["gain_share"]
        return {**resolved, "targets": targets}


def compare_config(values: Mapping[str, Any]) -> CompareConfig:
    """A config from plain values, such as a TOML file's.

    `[defaults]` holds what all cells share; `seeds` may be a number (1 to that number); `variants` may be names;
    uniform and the oracle are added where they are missing.

    Raises:
        ValueError: an unknown key (the nearest is named), a value of the wrong type or out of range.
    """
    try:
        config = resolved_config(_filled_in(values))
        json.dumps(config.to_dict(), ensure_ascii=False, allow_nan=False).encode()
    except RecursionError:
        raise ValueError("the settings are nested too deeply") from None
    except TypeError as error:
        raise ValueError(f"the settings must be what JSON can hold: {error}") from None
    return config


def _named(row: Mapping[str, Any]) -> dict[str, Any]:
    """A variant with its method; one that is called module:NAME, which is of the user's own, by that method's name.

    Unless it has none of its own, or another's: then module:NAME tells it apart.
    """
    name = row.get("name")
    if "method" not in row and isinstance(name, str) and ":" in name:
        from didact.method import Method
        from didact.methods import METHODS, find

        own = find(name).name
        return {**row, "method": name, "name": name if own in (Method.name, ORACLE, *METHODS) else own}
    return {"method": name, **row}


def resolved_config(values: Mapping[str, Any]) -> CompareConfig:
    """The config that `CompareConfig.to_dict` wrote. Raises as `compare_config`."""
    values = dict(values)
    targets = table(values.pop("targets", {}), "targets")
    return from_table(CompareConfig, {**values, **targets}, "comparison")


def _filled_in(values: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(values)
    defaults = table(values.pop("defaults", {}), "defaults")
    seeds = values.get("seeds", 10)
    if isinstance(seeds, int) and not isinstance(seeds, bool):
        if not 0 < seeds <= _MOST_SEEDS:
            raise ValueError(
                f"seeds must be distinct and at least one, {_MOST_SEEDS:,} at most, got {shortened(seeds)}"
            )
        values["seeds"] = list(range(1, seeds + 1))
    if isinstance(rows := values.get("variants", []), list):
        rows = [{"name": row} if isinstance(row, str) else table(row, "the settings of a variant") for row in rows]
        rows = [_named(row) for row in rows]
        named = [row.get("name") for row in rows]
        rows = [{"name": name, "method": name} for name in ("uniform", ORACLE) if name not in named] + rows
        values["variants"] = rows
    if isinstance(cells := values.get("cells", []), list):
        values["cells"] = [{**defaults, **table(row, "the settings of a cell")} for row in cells]
    return {"name": "comparison", **values}
