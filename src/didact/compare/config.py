"""What a comparison was asked to do: people write TOML or flags, the program writes the resolved JSON."""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, get_args

from didact.advantage import AdvantageKind, WeightMode

ORACLE: Final = "oracle"
LEARNERS: Final = ("policy", "skills", "independent")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One setting in which all variants are compared: a learner, its pool, and the budget. A `[[cells]]` table."""

    name: str
    learner: str = "policy"  # a real model; "skills" and "independent" are simulated
    task: str = "arithmetic"  # of a real model
    task_options: dict[str, Any] = field(default_factory=dict)
    learner_options: dict[str, Any] = field(default_factory=dict)  # of a simulated learner
    pool: str = "mixed"  # easy-heavy, hard-heavy, mixed, sources; simulated: also a file of pass rates or a run folder
    pool_size: int = 1024
    held_out: int = 256
    prompts_per_step: int = 16
    rollouts_per_step: int = 128
    rollouts: int = 12_800  # the budget of a run, everything counted
    evaluations: int = 10
    learning_rate: float | None = None  # None: 1e-3 for a model, a simulated learner's own
    warmup_steps: int = 10
    # One objective for all, so that curricula are compared and not estimators; "own" leaves each method its own.
    advantage: str = "rloo"
    loss_weighting: str = "prompt"
    max_completion_length: int = 24
    tuned_on: str | None = None  # the cell whose tuned learning rates it takes; None: its own, where there is tuning

    def __post_init__(self) -> None:
        if not self.name or self.name != self.name.strip("/. "):
            raise ValueError(f"a cell needs a name without outer slashes, dots and blanks, got {self.name!r}")
        if self.learner not in LEARNERS:
            raise ValueError(f"cell {self.name!r}: unknown learner {self.learner!r}; learners: {', '.join(LEARNERS)}")
        for name in (
            *("pool_size", "held_out", "prompts_per_step", "rollouts_per_step", "rollouts", "evaluations"),
            "max_completion_length",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"cell {self.name!r}: {name} must be at least 1, got {getattr(self, name)}")
        if self.learning_rate is None and self.learner == "policy":
            object.__setattr__(self, "learning_rate", 1e-3)
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            raise ValueError(f"cell {self.name!r}: learning_rate must be positive, got {self.learning_rate}")
        check_objective(f"cell {self.name!r}", self.advantage, self.loss_weighting)
        if self.rollouts < self.rollouts_per_step:
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

    def __post_init__(self) -> None:
        check_objective(f"variant {self.name!r}", self.advantage, self.loss_weighting)


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


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """A whole comparison. `gain` over the start is the target whose cost in rollouts is reported: fix it before."""

    name: str
    cells: list[Cell]
    variants: list[Variant]
    seeds: list[int]
    gain: float = 0.1
    baseline: str = "uniform"
    tuning: Tuning | None = None

    def __post_init__(self) -> None:
        named = {"cell": [cell.name for cell in self.cells], "variant": [variant.name for variant in self.variants]}
        for what, names in named.items():
            if not names:
                raise ValueError(f"a comparison needs at least one {what}")
            if twice := [name for name in names if names.count(name) > 1]:
                raise ValueError(f"two {what}s are called {twice[0]!r}: names tell them apart")
        for cell in self.cells:
            if cell.tuned_on is not None and cell.tuned_on not in named["cell"]:
                raise ValueError(f"cell {cell.name!r}: tuned_on names {cell.tuned_on!r}, which is no cell")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must be distinct and at least one, got {self.seeds}")
        if self.tuning and (both := set(self.seeds) & set(self.tuning.seeds)):
            raise ValueError(f"seed {both.pop()} is used for tuning and for the comparison: keep them apart")
        if self.baseline not in named["variant"]:
            raise ValueError(f"the baseline {self.baseline!r} is not among the variants")
        if not self.gain > 0:
            raise ValueError(f"gain must be positive, got {self.gain}")

    def to_dict(self) -> dict[str, Any]:
        resolved = dataclasses.asdict(self)
        targets = {"gain": resolved.pop("gain")}
        return {**resolved, "targets": targets}


def variants_of(names: Sequence[str]) -> list[Variant]:
    """Variants from method names, with uniform and the oracle always among them."""
    return [Variant(name=name, method=name) for name in dict.fromkeys(["uniform", ORACLE, *names])]


def compare_config(values: Mapping[str, Any]) -> CompareConfig:
    """A config from plain values, such as a TOML file's.

    `[defaults]` holds what all cells share; `seeds` may be a number (1 to that number); `variants` may be names;
    uniform and the oracle are added where they are missing.

    Raises:
        ValueError: an unknown key (the nearest is named), a value of the wrong type or out of range.
    """
    values = dict(values)
    defaults = values.pop("defaults", {})
    if "targets" in values:  # a resolved config, as the program writes it
        values["gain"] = values.pop("targets")["gain"]
    seeds = values.get("seeds", 10)
    values["seeds"] = list(range(1, seeds + 1)) if isinstance(seeds, int) else seeds
    rows = [{"name": row, "method": row} if isinstance(row, str) else row for row in values.get("variants", [])]
    rows = [{"method": row.get("name"), **row} if isinstance(row, Mapping) else row for row in rows]
    named = [row.get("name") for row in rows if isinstance(row, Mapping)]
    rows = [{"name": name, "method": name} for name in ("uniform", ORACLE) if name not in named] + rows
    values["variants"] = [_build(Variant, row, "variant") for row in rows]
    values["cells"] = [
        _build(Cell, {**defaults, **row} if isinstance(row, Mapping) else row, "cell")
        for row in values.get("cells", [])
    ]
    values.setdefault("name", "comparison")
    if values.get("tuning") is not None:
        values["tuning"] = _build(Tuning, values["tuning"], "tuning")
    return typing.cast(CompareConfig, _build(CompareConfig, values, "comparison"))


def _build(kind: type[Any], values: Any, what: str) -> Any:
    if not isinstance(values, Mapping):
        raise ValueError(f"a {what} is a table of names and values, got {values!r:.80}")
    hints = typing.get_type_hints(kind)
    checked = {}
    for name, value in values.items():
        if name not in hints:
            close = difflib.get_close_matches(name, hints, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"its keys are {', '.join(hints)}"
            raise ValueError(f"unknown key {name!r} of a {what}: {hint}")
        kinds = typing.get_args(hints[name]) if isinstance(hints[name], types.UnionType) else (hints[name],)
        plain = tuple(typing.get_origin(each) or each for each in kinds)
        if float in plain and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, plain) or (isinstance(value, bool) and bool not in plain):
            raise ValueError(
                f"{name!r} of a {what} must be {' or '.join(each.__name__ for each in plain)}, got {value!r}"
            )
        checked[name] = value
    required = [each.name for each in dataclasses.fields(kind) if each.default is each.default_factory]
    if lacking := [name for name in required if name not in checked]:
        raise ValueError(f"a {what} needs {lacking[0]!r}")
    return kind(**checked)
