"""What a comparison left on disk: its settings, and one record for each run.

    FOLDER/config.json     what is compared, with its digest, fixed before the first run
    FOLDER/runs.jsonl      a journal of finished and failed runs: learning curve, budget, last metrics

Reads and checks; computes nothing. A comparison still under way reads like a finished one with runs missing. A run
that failed and was run again counts as what it became.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didact.compare.config import CompareConfig, resolved_config
from didact.journal import read_journal
from didact.sealed import read_sealed

SCHEMA = 1
#: What can stand on the x-axis: `tokens` are those of responses, `prompt_tokens` are read once for each rollout, and
#: `rollouts_trained` leaves out what was rolled out and not trained on.
AXES = ("rollouts", "tokens", "prompt_tokens", "rollouts_trained", "updates", "seconds")
Curve = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Run:
    """One run; the arrays of its curve have one entry for each evaluation. A failed run has no curve."""

    cell: str
    variant: str
    seed: int
    error: str | None
    budget: float
    learning_rate: float | None
    curve: Curve
    metrics: Mapping[str, Any]


def read_settings(folder: Path) -> CompareConfig:
    """The settings of the comparison in `folder`.

    Raises:
        FileNotFoundError: no config.json. ValueError: it is no settings of a comparison, or was changed or cut off.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"no {path}: give the folder that `didact compare` wrote")
    values = read_sealed(path)
    try:
        return resolved_config(values)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} holds no settings of a comparison: {error}") from None


def read_runs(folder: Path) -> list[Run]:
    """All runs of a comparison, in the order in which they first ended; none before the first has.

    Raises:
        ValueError: a journal or a record that is damaged, or of another schema.
    """
    runs: dict[tuple[str, str, int], Run] = {}
    for record in read_records(folder / "runs.jsonl"):
        run = run_of(record, "a record")
        runs[run.cell, run.variant, run.seed] = run
    return list(runs.values())


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of runs in a journal as they were written, each of them checked; none where there is no journal.

    Raises:
        ValueError: a journal or a record that is damaged, or of another schema.
    """
    records = read_journal(path) if path.exists() else []
    for number, record in enumerate(records, start=1):
        run_of(record, f"{path}, record {number}")
    return records


def run_of(record: Mapping[str, Any], where: str) -> Run:
    """A record as a run; `where` names it in errors.

    Raises:
        ValueError: it is none.
    """
    if record.get("schema") != SCHEMA:
        raise ValueError(f"{where} has schema {record.get('schema')!r}, this version of didact reads schema {SCHEMA}")
    try:
        finished = record["status"] == "finished"
        return Run(
            cell=str(record["cell"]),
            variant=str(record["variant"]),
            seed=int(record["seed"]),
            error=None if finished else str(record.get("error") or record["status"]),
            budget=float((record.get("budget") or {}).get("rollouts", np.inf)),
            learning_rate=record["learning_rate"],
            curve=_curve(record["curve"]) if finished else {},
            metrics=record.get("metrics") or {},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{where} is no record of a run: {what}") from None


def _curve(columns: Mapping[str, Any]) -> Curve:
    curve = {name: np.array(values, dtype=np.float64) for name, values in columns.items()}  # None becomes nan
    lengths = {name: len(values) for name, values in curve.items()}
    if len(set(lengths.values())) > 1 or not lengths["accuracy"]:
        raise ValueError(f"the columns of a curve need one length of at least one evaluation, got {lengths}")
    for name in ("rollouts", "accuracy"):
        if not np.isfinite(curve[name]).all():
            raise ValueError(f"{name} of the curve must be finite, got {curve[name].tolist()}")
    for name in AXES:
        if name in curve and (np.diff(curve[name]) < 0).any():
            raise ValueError(f"{name} of the curve must never fall, got {curve[name].tolist()}")
    if (np.diff(curve["rollouts"]) <= 0).any():
        raise ValueError("rollouts of the curve must rise from each evaluation to the next")
    return curve
