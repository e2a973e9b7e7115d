"""Pass rates out of a file: a histogram, one rate for each prompt, or the folder of a run.

    {"edges": [0, 0.1, ..., 1], "counts": [310, ...]}      one JSON object; rates are spread evenly within a bin,
                                                           and a bin without width (an edge given twice) is a spike
    [0, 0.125, ...]  or  {"id of a prompt": 0.125, ...}    JSON
    pass_rate                                              a column of a parquet, jsonl, json or csv file
    num_passed, num_rollouts                               two such columns: the rate is their quotient
    RUN/                                                   the first group of each prompt that was rolled out in the run

What it does not do: correct for the noise of few rollouts. Eight rollouts of a prompt that passes one time in twenty
mostly say 0; the histogram you give is taken as it is. In a run, prompts met late were met by a policy that had
trained, and prompts that were never planned are missing: a run of `uniform` over one pass is the cleanest.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from didact.arrays import Floats
from didact.seeding import generator
from didact.simulate.pools import InitialRates, given_rates


def from_histogram(
    path: str | Path, size: int | None = None, *, column: str | None = None, seed: int = 0
) -> InitialRates:
    """Initial rates for `size` prompts (None: as many as the file has) with the distribution of the file.

    Args:
        column: the column of pass rates, where it is not called `pass_rate`.

    Raises:
        FileNotFoundError: no such file. ValueError: a file that holds no pass rates, or bad ones.
    """
    path = Path(path).expanduser()
    source: list[str] | None = None
    if path.is_dir():
        rates = _of_run(path)
    elif isinstance(content := _json(path), dict) and ("edges" in content or "counts" in content):
        rates = _spread(path, content, seed)
    elif isinstance(content, dict) or (isinstance(content, list) and not all(isinstance(row, dict) for row in content)):
        rates = _one_each(path, content)
    else:
        rates, source = _of_table(path, column)
    try:
        return given_rates(rates, size, source=source, seed=seed)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _json(path: Path) -> Any:
    """What the JSON file holds; None where it is something else, which the reader of tables names and judges."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError):
        return None


def _one_each(path: Path, content: dict[str, Any] | list[Any]) -> Floats:
    entries = content.items() if isinstance(content, dict) else enumerate(content, start=1)
    for key, value in entries:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ValueError(
                f"{path}: entry {key!r:.60} is {value!r:.60}; expected pass rates between 0 and 1: a list of numbers, "
                'a list of objects with a pass_rate, an object {"id of a prompt": rate}, or a histogram {"edges": '
                '[...], "counts": [...]}'
            )
    return np.array(list(content.values()) if isinstance(content, dict) else content, dtype=np.float64)


def _spread(path: Path, histogram: dict[str, Any], seed: int) -> Floats:
    if set(histogram) != {"edges", "counts"}:
        given = ", ".join(map(str, histogram)) or "none"
        raise ValueError(f"{path}: a histogram has the keys edges and counts, this one has {given}")
    edges, counts = (_numbers(path, name, histogram[name]) for name in ("edges", "counts"))
    if len(edges) != len(counts) + 1:
        raise ValueError(f"{path}: {len(counts)} counts need {len(counts) + 1} edges, got {len(edges)}")
    if (np.diff(edges) < 0).any() or edges[0] < 0 or edges[-1] > 1:
        raise ValueError(f"{path}: edges must ascend from 0 to 1 at most, got {edges.tolist()}")
    if (counts < 0).any() or (counts != np.floor(counts)).any() or not 0 < counts.sum() <= 1e8:
        raise ValueError(f"{path}: counts must be whole numbers of prompts, not all 0, got {counts.tolist()}")
    bins = np.repeat(np.arange(len(counts)), counts.astype(np.int64))
    place = generator(seed, "histogram").random(len(bins))
    return np.asarray(edges[bins] + place * np.diff(edges)[bins])


def _numbers(path: Path, name: str, values: Any) -> Floats:
    try:
        numbers = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.array(np.nan)
    if numbers.ndim != 1 or len(numbers) == 0 or not np.isfinite(numbers).all():
        raise ValueError(f"{path}: {name} must be a list of numbers, got {str(values)[:60]}")
    return numbers


def _of_table(path: Path, column: str | None) -> tuple[Floats, list[str] | None]:
    from didact.tasks.rows import read_rows  # the readers of prompt files, with their errors

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a parquet, jsonl, json or csv file, or a run folder")
    rows = read_rows(path)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    source = [str(row["source"]) for row in rows] if all(row.get("source") for row in rows) else None
    if column is None and {"num_passed", "num_rollouts"} <= set(columns):
        passed, rollouts = (_cells(path, rows, name) for name in ("num_passed", "num_rollouts"))
        if (rollouts < 1).any() or (passed < 0).any() or (passed > rollouts).any():
            row = int(np.argmax((rollouts < 1) | (passed < 0) | (passed > rollouts)))
            given = f"num_passed={passed[row]:g} of num_rollouts={rollouts[row]:g}"
            raise ValueError(f"{path}, row {row + 1}: {given}; expected 0 to num_rollouts passes of at least 1 rollout")
        return np.asarray(passed / rollouts), source
    name = column or "pass_rate"
    if name not in columns:
        instead = "" if column else " and no num_passed with num_rollouts"
        raise ValueError(f"{path}: there is no column {name!r}{instead}; the columns are {', '.join(columns)}")
    return _cells(path, rows, name), source


def _cells(path: Path, rows: list[dict[str, Any]], column: str) -> Floats:
    values = np.empty(len(rows))
    for index, row in enumerate(rows):
        try:
            values[index] = float(row.get(column))  # type: ignore[arg-type]
        except (TypeError, ValueError):
            said = f"{column!r} holds {row.get(column)!r}; expected a number"
            raise ValueError(f"{path}, row {index + 1}: {said}") from None
    return values


def _of_run(path: Path) -> Floats:
    from didact.report.history import RunHistory

    groups = RunHistory.load(path).groups
    scored = groups.num_scored > 0
    _, first = np.unique(groups.prompt[scored], return_index=True)
    if len(first) == 0:
        raise ValueError(f"{path}: no rollout of this run has a reward yet, so it has no pass rates")
    return np.asarray(groups.pass_rate[scored][first])
