"""A comparison as one dictionary of plain numbers.

`summarise(folder)` holds everything that the page, the tables and the figures show; it is written as `summary.json`
beside the runs. In it `null` stands for "not known", and as the upper end of a ratio or a cost for "no bound": some
runs never reached the target.

Every curve is cut at the budget, so that nobody is credited for having spent more; the last accuracy of a run that
stopped before it stands. The target of a seed is the accuracy before training plus a gain fixed before the runs, or a
share, fixed likewise, of what the baseline gained. Pairs share the seed: model, pool and randomness. Failed runs are
counted and left out, with the pair they belong to. p-values are Holm-adjusted over the variants of a cell, and not over
cells; oracles are no candidates, so they stay out of that and their verdicts rest on the p of their own (`p_holm` is
null).
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didact.compare.config import CompareConfig, Variant
from didact.compare.measures import (
    LEVEL,
    PairedDifference,
    area_under,
    cut_at,
    final_accuracy,
    holm,
    paired_difference,
    paired_ratio,
    share_of_way,
    to_target,
    verdict,
)
from didact.compare.records import AXES, Curve, Run, read_runs, read_settings
from didact.files import write_whole

Section = dict[str, Any]

SCHEMA = 2  # in 1 a verdict did not ask for the corrected test
_GRID = 41  # points of a drawn curve
_SHORT = 0.95  # of the budget: runs that stopped before are worth a warning
#: Columns of a curve of which the last entry speaks for the run; records of before lack them.
_AT_END = ("prompts_trained", "largest_share", "calibration")
#: Figures of the curriculum, and the metric that holds each for the whole run, where there is one.
_METRIC = {
    "share_with_signal": "share_with_signal_so_far",
    "evidence_age": "",
}


@dataclass(frozen=True)
class _Measured:
    """A finished run of a cell, cut where all are."""

    run: Run
    curve: Curve
    start: float
    area: float
    final: float
    cost: Mapping[str, float]


def summarise(folder: str | Path, *, gain_share: float | None = None) -> Section:
    """Everything a comparison says, as far as its runs are done.

    Args:
        gain_share: another target than the one that was fixed, see `CompareConfig`.

    Raises:
        FileNotFoundError: no comparison there. ValueError: damaged settings or runs.
    """
    settings, runs = read_settings(Path(folder)), read_runs(Path(folder))
    if gain_share is not None:
        settings = dataclasses.replace(settings, gain_share=gain_share)
    variants, cell_names = [variant.name for variant in settings.variants], [cell.name for cell in settings.cells]
    known = set(itertools.product(cell_names, variants, settings.seeds))
    strange = [run for run in runs if (run.cell, run.variant, run.seed) not in known]
    runs = [run for run in runs if (run.cell, run.variant, run.seed) in known]
    warnings = [f"{len(strange)} runs are not in config.json and were left out"] if strange else []
    cells = {name: _cell(settings, name, [run for run in runs if run.cell == name]) for name in cell_names}
    summary: Section = _plain(
        {
            "schema": SCHEMA,
            "name": settings.name,
            "baseline": settings.baseline,
            "oracle": settings.reference,
            "oracles": settings.oracles,
            "gain": settings.gain,
            "gain_share": settings.gain_share,
            "seeds": settings.seeds,
            "planned": len(known),
            "finished": sum(run.error is None for run in runs),
            "failures": [
                {"cell": run.cell, "variant": run.variant, "seed": run.seed, "error": run.error}
                for run in runs
                if run.error is not None
            ],
            "warnings": [*warnings, *(f"{name}: {text}" for name, cell in cells.items() for text in cell["warnings"])],
            "cells": cells,
            "settings": settings.to_dict(),
        }
    )
    return summary


def write_summary(folder: str | Path, summary: Section) -> Path:
    """Put `summary.json` beside the runs."""
    path = Path(folder) / "summary.json"
    write_whole(path, json.dumps(summary, indent=1, allow_nan=False) + "\n")
    return path


def _cell(settings: CompareConfig, name: str, runs: list[Run]) -> Section:
    finished = [run for run in runs if run.error is None]
    budget = min((run.budget for run in runs), default=math.inf)
    end = budget if math.isfinite(budget) else min((float(run.curve["rollouts"][-1]) for run in finished), default=0.0)
    measured = _measure(settings, finished, end)
    axes = [axis for axis in AXES if measured and _usable(axis, measured.values())]
    rows = {variant.name: _row(settings, variant, runs, measured, axes) for variant in settings.variants}
    _judge(settings, rows, measured)
    _way_to_oracle(settings, rows, measured)
    return {
        "rollouts": end,
        "axes": axes,
        "start": _median(each.start for each in measured.values()),
        "warnings": _warnings(settings, measured, end, rows),
        "variants": rows,
    }


def _measure(settings: CompareConfig, runs: list[Run], end: float) -> dict[tuple[str, int], _Measured]:
    # One target for a seed, the baseline's, so that evaluation noise at the start favours nobody.
    targets = {run.seed: _target(settings, run, end) for run in runs if run.variant == settings.baseline}
    measured = {}
    for run in runs:
        curve = cut_at(run.curve, end)
        accuracy, start = curve["accuracy"], float(run.curve["accuracy"][0])
        target = targets.get(run.seed, start + settings.gain if settings.gain_share is None else math.nan)
        cost = {axis: to_target(curve[axis], accuracy, target) for axis in AXES if axis in curve}
        area = area_under(curve["rollouts"], accuracy, end)
        measured[run.variant, run.seed] = _Measured(run, curve, start, area, final_accuracy(accuracy), cost)
    return measured


def _target(settings: CompareConfig, run: Run, end: float) -> float:
    """The accuracy whose cost is asked, by the baseline's run; nan where that is a share of a gain that is none."""
    accuracy = cut_at(run.curve, end)["accuracy"]
    start = float(accuracy[0])
    if settings.gain_share is None:
        return start + settings.gain
    gained = final_accuracy(accuracy) - start
    return start + settings.gain_share * gained if gained > 0 else math.nan


def _usable(axis: str, measured: Iterable[_Measured]) -> bool:
    curves = [each.curve.get(axis) for each in measured]
    return all(x is not None and bool(np.isfinite(x).all()) for x in curves) and any(
        x is not None and x[-1] > 0 for x in curves
    )


def _row(
    settings: CompareConfig,
    variant: Variant,
    runs: list[Run],
    measured: Mapping[tuple[str, int], _Measured],
    axes: list[str],
) -> Section:
    mine = [each for (name, _), each in measured.items() if name == variant.name]
    paired = [each for each in mine if (settings.baseline, each.run.seed) in measured]
    base = [measured[settings.baseline, each.run.seed] for each in paired]
    failed = sum(run.variant == variant.name and run.error is not None for run in runs)
    known = bool(paired) and variant.name != settings.baseline
    return {
        "method": variant.method,
        "options": dict(variant.options),
        "learning_rate": _median(each.run.learning_rate for each in mine),
        "runs": len(mine),
        "failed": failed,
        "missing": len(settings.seeds) - len(mine) - failed,
        "pairs": len(paired) if known else 0,
        "reached": sum(not math.isnan(each.cost["rollouts"]) for each in mine),
        "area": _median(each.area for each in mine),
        "final": _median(each.final for each in mine),
        "cost": {axis: _median(_arrival(each.cost[axis]) for each in mine) for axis in axes},
        "ratio": {axis: _ratio(axis, paired, base) for axis in axes} if known else None,
        "difference": None,
        "verdict": None,
        "toward_oracle": None,
        "spent": {axis: _median(float(each.curve[axis][-1]) for each in mine) for axis in axes},
        **{name: _median(float(each.curve[name][-1]) for each in mine if name in each.curve) for name in _AT_END},
        **{name: _median(_figure(each.run, name) for each in mine) for name in _METRIC},
        "curve": _curve(mine, axes) if mine else None,
        "seeds": [
            {
                "seed": each.run.seed,
                "start": each.start,
                "area": each.area,
                "final": each.final,
                "cost": {axis: each.cost[axis] for axis in axes},
            }
            for each in mine
        ],
    }


def _ratio(axis: str, paired: list[_Measured], base: list[_Measured]) -> Section:
    ratio = paired_ratio(
        [each.cost[axis] for each in paired],
        [each.cost[axis] for each in base],
        variant_end=[each.curve[axis][-1] for each in paired],
        baseline_end=[each.curve[axis][-1] for each in base],
    )
    return {
        "low": ratio.low,
        "high": ratio.high,
        "interval": ratio.interval,
        "pairs": ratio.num_pairs,
        "known": ratio.num_known,
        "wins": ratio.wins,
    }


def _judge(settings: CompareConfig, rows: Mapping[str, Section], measured: Mapping[tuple[str, int], _Measured]) -> None:
    """Differences from the baseline, and the verdicts once all p-values of the cell are known."""
    found: dict[str, PairedDifference] = {}
    for name in rows:
        areas = _areas(settings, measured, name, settings.baseline)
        if areas[0] and name != settings.baseline:
            found[name] = paired_difference(*areas)
    tried = [name for name in found if name not in settings.oracles]
    corrected = dict(zip(tried, map(float, holm([found[name].p for name in tried])), strict=True))
    for name, difference in found.items():
        rows[name]["difference"] = {
            "median": difference.median,
            "mean": difference.mean,
            "interval": difference.interval,
            "signs_differ": difference.signs_differ,
            "pairs": difference.num_pairs,
            "wins": difference.wins,
            "p": difference.p,
            "p_holm": corrected.get(name),
        }
        rows[name]["verdict"] = verdict(difference, corrected.get(name, difference.p))


def _areas(settings: CompareConfig, measured: Mapping[tuple[str, int], _Measured], *names: str) -> list[list[float]]:
    """Mean accuracies of each of the variants on the seeds that all of them finished."""
    seeds = [seed for seed in settings.seeds if all((name, seed) in measured for name in names)]
    return [[measured[name, seed].area for seed in seeds] for name in names]


def _way_to_oracle(
    settings: CompareConfig, rows: Mapping[str, Section], measured: Mapping[tuple[str, int], _Measured]
) -> None:
    """The share of the oracle's gain over the baseline; not asked where the oracle has no verdict of its own."""
    if settings.reference is None or rows[settings.reference]["verdict"] != "better":
        return
    for name, row in rows.items():
        areas = _areas(settings, measured, name, settings.baseline, settings.reference)
        if row["difference"] and areas[0] and name != settings.reference:
            share, interval = share_of_way(*areas)
            row["toward_oracle"] = {"share": share, "interval": interval}


def _warnings(
    settings: CompareConfig,
    measured: Mapping[tuple[str, int], _Measured],
    end: float,
    rows: Mapping[str, Section],
) -> list[str]:
    if not measured:
        return ["no finished run"]
    warnings = []
    if not rows[settings.baseline]["runs"]:
        warnings.append(f"no finished run of the baseline {settings.baseline}, so nothing is compared")
    ends = {key: float(each.run.curve["rollouts"][-1]) for key, each in measured.items()}
    for name, seed in (key for key in ends if ends[key] < _SHORT * end):
        warnings.append(f"{name} with seed {seed} stopped at {ends[name, seed]:,.0f} of {end:,.0f} rollouts")
    apart = sorted(
        {
            name
            for (name, seed), each in measured.items()
            if (base := measured.get((settings.baseline, seed))) and abs(each.start - base.start) > 1e-9
        }
    )
    if apart:
        warnings.append(f"before training not as accurate as {settings.baseline} of the same seed: {', '.join(apart)}")
    adjusted = [row["difference"] for row in rows.values() if row["difference"] and row["difference"]["p_holm"]]
    pairs = max((difference["pairs"] for difference in adjusted), default=0)
    if adjusted and len(adjusted) * 2.0 / 2**pairs > LEVEL:
        warnings.append(
            f"{len(adjusted)} variants on {pairs} pairs: no adjusted p can fall below 0.05, only more seeds could "
            "settle it"
        )
    return warnings


def _arrival(cost: float) -> float:
    return math.inf if math.isnan(cost) else cost


def _median(values: Iterable[float | None]) -> float | None:
    """Median of what is known; infinite where the middle run never arrived."""
    known = [value for value in values if value is not None and not math.isnan(value)]
    return float(np.median(known)) if known else None


def _figure(run: Run, name: str) -> float | None:
    """A figure of the whole run: its last metric where that spans the run, the mean over the evaluations if not."""
    if isinstance(value := run.metrics.get(_METRIC[name]), int | float):
        return float(value)
    values = run.curve.get(name, np.array([]))[1:]  # nothing has been planned at the first
    return float(np.nanmean(values)) if np.isfinite(values).any() else None


def _curve(runs: list[_Measured], axes: list[str]) -> Section:
    """Accuracy over seeds at equal rollouts (median and quartiles), and the median expense on each axis there."""
    first = max(float(each.curve["rollouts"][0]) for each in runs)
    grid = np.linspace(first, float(runs[0].curve["rollouts"][-1]), _GRID)

    def at(name: str) -> NDArray[np.float64]:
        return np.array([np.interp(grid, each.curve["rollouts"], each.curve[name]) for each in runs])

    low, middle, high = np.quantile(at("accuracy"), [0.25, 0.5, 0.75], axis=0)
    return {
        "accuracy": _rounded(middle),
        "low": _rounded(low),
        "high": _rounded(high),
        **{axis: _rounded(np.median(at(axis), axis=0)) for axis in axes},
    }


def _rounded(values: NDArray[np.float64]) -> list[float]:
    """Five digits are more than a picture shows."""
    return [float(f"{value:.5g}") for value in values]


def _plain(value: Any) -> Any:
    """The same for JSON: no infinity, no nan, no tuple, no numpy."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value
