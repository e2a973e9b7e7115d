"""`didact compare` and `didact simulate`: all methods under the same budget, with intervals."""

import json
import os
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import click

from didact.cli.terminal import Terminal
from didact.compare.config import SIMULATED, SIMULATED_GAIN, CompareConfig, compare_config
from didact.settings import read_toml

COMPARE_EPILOG = """\b
Examples:
  didact compare --methods didact,cures --pool hard-heavy --seeds 10
  didact compare benchmarks/main.toml --folder comparisons/main --jobs 2
  didact compare --report-only comparisons/main
Start the same command again to go on with an interrupted comparison; more seeds and methods may be asked for.
Exit code 1 says that runs failed or are missing; the tables show the others.
"""
SIMULATE_EPILOG = """\b
Examples:
  didact simulate --pool hard-heavy --methods didact,speed,mopps
  didact simulate --pool my_pass_rates.json --methods cures        a histogram: {"edges": [...], "counts": [...]}
  didact simulate --pool runs/arithmetic-uniform-1                 the pool of a run
"""
_PICKED = "didact,dapo,cures,speed,mopps"


def _shared(command: Any) -> Any:
    for option in reversed(
        (
            click.option("--folder", type=click.Path(path_type=Path), help="[default: comparisons/NAME]"),
            click.option("--methods", default=None, help=f"Methods, with commas; uniform and oracle always take part.  "
                         f"[default: {_PICKED}]"),
            click.option("--seeds", type=int, default=None, help="Number of paired seeds.  [default: 10]"),
            click.option("--pool", default=None, help="easy-heavy, hard-heavy, mixed or sources.  [default: mixed]"),
            click.option("--pool-size", type=int, default=None, help="Prompts in the pool."),
            click.option("--prompts-per-step", type=int, default=None, help="Groups that train in a step."),
            click.option("--rollouts-per-step", type=int, default=None, help="Rollouts that train in a step."),
            click.option("--rollouts", type=int, default=None, help="Budget of a run, everything counted."),
            click.option("--learning-rate", type=float, default=None, help="Of the optimiser."),
            click.option("--gain", type=float, default=None, help="Target: accuracy gained over the start.  "
                         "[default: 0.1; simulate: see --gain-share]"),
            click.option("--gain-share", type=float, default=None, help="Target: this share of what uniform gains "
                         "itself.  [default of simulate: 0.9]"),
            click.option("--jobs", type=int, default=None, help="Processes.  [default: the cores there are]"),
            click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON; progress goes to stderr."),
        )
    ):  # fmt: skip
        command = option(command)
    return command


@click.command("compare", epilog=COMPARE_EPILOG)
@click.argument("config_path", metavar="[CONFIG.toml]", required=False, type=click.Path(path_type=Path))
@click.option("--task", default=None, help="Task of the small model, see docs/test-bed.md.  [default: arithmetic]")
@click.option("--report-only", type=click.Path(path_type=Path), help="Write summary and page of a comparison again.")
@_shared
def compare_command(
    config_path: Path | None,
    report_only: Path | None,
    folder: Path | None,
    jobs: int | None,
    as_json: bool,
    **flags: Any,
) -> int:
    """Train with every method on the same warm starts, pools and budget, and compare.

    Real training of a small model, one process a core. Rollouts of all kinds are counted, a step is one update for
    every method, and differences are paired by seed. Uniform sampling and an oracle always take part.
    """
    if report_only is not None:
        return _report(report_only, as_json)
    config = _config(config_path, {**flags, "learner": "policy"})
    return _compare(config, folder, jobs, as_json)


@click.command("simulate", epilog=SIMULATE_EPILOG)
@click.option("--learner", type=click.Choice(["skills", "independent"]), default="skills", show_default=True,
              help="Prompts that share skills, or that are learnt one by one.")  # fmt: skip
@_shared
def simulate_command(learner: str, folder: Path | None, jobs: int | None, as_json: bool, **flags: Any) -> int:
    """What would each method save on my pool? Answered by simulated learners, without a model.

    The pool is a named one or your own: a file of pass rates (a histogram, or one value a prompt) or a run folder.
    True pass rates are known here and move with training. docs/simulate.md says what is modelled and what is not, and
    how far predictions were from training.
    """
    return _compare(_config(None, {**flags, "learner": learner}), folder, jobs, as_json)


def _config(path: Path | None, flags: dict[str, Any]) -> CompareConfig:
    learner, methods, seeds = (flags.pop(name) for name in ("learner", "methods", "seeds"))
    gains = {name: gain for name in ("gain", "gain_share") if (gain := flags.pop(name)) is not None}
    if len(gains) > 1:
        raise click.UsageError("--gain and --gain-share are two targets: give one")
    cell = {name: value for name, value in flags.items() if value is not None}
    if path is not None:
        if cell or methods is not None or gains:
            raise click.UsageError("settings come from the file or from flags, not from both (--seeds may be added)")
        values = read_toml(path)
        values.setdefault("name", path.stem)
    else:
        simulated = SIMULATED.get(learner, {})
        pool = Path(str(cell.get("pool", "mixed")))
        name = re.sub(r"[^\w.-]+", "-", f"{cell.get('task', learner)}-{pool.stem}")[:60].strip(".-")
        values = {"name": name, "cells": [{"name": name, "learner": learner, **simulated, **cell}]}
        values["variants"] = [each.strip() for each in (methods or _PICKED).split(",") if each.strip()]
        values |= gains or ({"gain_share": SIMULATED_GAIN} if simulated else {})
    if seeds is not None:
        values["seeds"] = seeds
    return compare_config(values)


def _compare(config: CompareConfig, folder: Path | None, jobs: int | None, as_json: bool) -> int:
    from didact.compare.grid import compare
    from didact.compare.workers import MOST_JOBS

    folder = folder or Path("comparisons") / config.name
    jobs = min(os.cpu_count() or 1, MOST_JOBS) if jobs is None else jobs
    began = time.monotonic()
    with Terminal() as terminal:
        complete = compare(config, folder, jobs=jobs, progress=terminal)
    if not complete:
        click.echo(f"interrupted after {time.monotonic() - began:.0f} s; the same command goes on", err=True)
        return 130
    return _report(folder, as_json)


def _report(folder: Path, as_json: bool) -> int:
    """Write and print what there is; 0 if that is everything that was to be run."""
    from didact.compare.page import write_page
    from didact.compare.summary import summarise
    from didact.compare.tables import RULE, markdown_table, markdown_training, said_target

    summary = summarise(folder)
    with Terminal() as terminal:
        page = write_page(folder, summary, lambda done, total: terminal.stage("drawing the page", done, total))
    lacking = _lacking(summary, folder)
    if as_json:
        click.echo(json.dumps({**summary, "page": str(page)}))
    elif summary["finished"]:
        for cell in summary["cells"]:
            click.echo(f"\n{cell}; target: {said_target(summary)}\n")
            click.echo(markdown_table(summary, cell))
            click.echo(markdown_training(summary, cell))
        click.echo(RULE)
        click.echo(f"\npage     {page}\nsummary  {folder / 'summary.json'}")
    if lacking:
        click.echo(lacking, err=True)
    return 1 if lacking else 0


def _lacking(summary: dict[str, Any], folder: Path) -> str:
    """One line on the runs that failed or are missing; empty if none."""
    planned, failures = summary["planned"], summary["failures"]
    missing = planned - summary["finished"] - len(failures)
    said = [f"{len(failures)} of {planned} runs failed"] if failures else []
    said += [f"{missing} of {planned} runs are missing"] if missing else []
    if not said:
        return ""
    reasons = Counter(failure["error"] for failure in failures).most_common(1)
    why = [f"most often: {' '.join(reason.split())} ({number} times)" for reason, number in reasons]
    return f"didact: {'; '.join([*said, *why])}; the records are in {folder / 'runs.jsonl'}"
