"""`didact compare` and `didact simulate`: all methods under the same budget, with intervals."""

import json
import os
import re
import shutil
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from didact.compare.config import CompareConfig, compare_config
from didact.training.config import read_toml

COMPARE_EPILOG = """\b
Examples:
  didact compare --methods dapo,cures --pool hard-heavy --seeds 10
  didact compare benchmarks/main.toml --folder comparisons/main --jobs 2
  didact compare --report-only comparisons/main
Start the same command again to go on with an interrupted comparison; more seeds and methods may be asked for.
Exit code 1 says that runs failed or are missing; the tables show the others.
"""
SIMULATE_EPILOG = """\b
Examples:
  didact simulate --pool hard-heavy --methods dapo,speed,mopps
  didact simulate --pool my_pass_rates.json --methods cures        a histogram: {"edges": [...], "counts": [...]}
  didact simulate --pool runs/arithmetic-uniform-1                 the pool of a run
"""
_PICKED = "dapo,cures,speed,mopps"


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
                         "[default: 0.1]"),
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
    True pass rates are known here and move with training. docs/simulate.md says what is modelled and what is not.
    """
    return _compare(_config(None, {**flags, "learner": learner}), folder, jobs, as_json)


def _config(path: Path | None, flags: dict[str, Any]) -> CompareConfig:
    learner, methods, seeds, gain = (flags.pop(name) for name in ("learner", "methods", "seeds", "gain"))
    cell = {name: value for name, value in flags.items() if value is not None}
    if path is not None:
        if cell or methods is not None or gain is not None:
            raise click.UsageError("settings come from the file or from flags, not from both (--seeds may be added)")
        values = read_toml(path)
        values.setdefault("name", path.stem)
    else:
        simulated: dict[str, Any] = {} if learner == "policy" else _SIMULATED
        pool = Path(str(cell.get("pool", "mixed")))
        name = re.sub(r"[^\w.-]+", "-", f"{cell.get('task', learner)}-{pool.stem}")[:60].strip(".-")
        values = {"name": name, "cells": [{"name": name, "learner": learner, **simulated, **cell}]}
        values["variants"] = [each.strip() for each in (methods or _PICKED).split(",") if each.strip()]
        if gain is not None:
            values["gain"] = gain
    if seeds is not None:
        values["seeds"] = seeds
    return compare_config(values)


_SIMULATED = {
    "pool_size": 4096,
    "held_out": 1024,
    "prompts_per_step": 32,
    "rollouts_per_step": 256,
    "rollouts": 38_400,
    "evaluations": 15,
}


def _compare(config: CompareConfig, folder: Path | None, jobs: int | None, as_json: bool) -> int:
    from didact.compare.grid import compare
    from didact.compare.workers import MOST_JOBS

    folder = folder or Path("comparisons") / config.name
    jobs = min(os.cpu_count() or 1, MOST_JOBS) if jobs is None else jobs
    began = time.monotonic()
    with _Terminal(Console(stderr=True)) as terminal:
        complete = compare(config, folder, jobs=jobs, progress=terminal)
    if not complete:
        click.echo(f"interrupted after {time.monotonic() - began:.0f} s; the same command goes on", err=True)
        return 130
    return _report(folder, as_json)


def _report(folder: Path, as_json: bool) -> int:
    """Write and print what there is; 0 if that is everything that was to be run."""
    from didact.compare.page import write_page
    from didact.compare.summary import summarise
    from didact.compare.tables import RULE, markdown_table, markdown_training

    summary = summarise(folder)
    with _Terminal(Console(stderr=True)) as terminal:
        page = write_page(folder, summary, lambda done, total: terminal.stage("drawing the page", done, total))
    lacking = _lacking(summary, folder)
    if as_json:
        click.echo(json.dumps({**summary, "page": str(page)}))
    elif summary["finished"]:
        for cell in summary["cells"]:
            click.echo(f"\n{cell}\n")
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


class _Terminal:
    """One live line on a terminal; elsewhere a plain line now and then, at least every half minute.

    A terminal that cannot move its cursor (TERM=dumb) counts as none: it would show nothing until the end. A display
    that cannot be written to, because its terminal was closed, is no reason to stop.
    """

    def __init__(self, console: Console) -> None:
        self._console, self._stage, self._began, self._told = console, "", 0.0, 0.0
        self._live = console.is_interactive
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=max(10, min(30, shutil.get_terminal_size().columns - 60))),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            transient=True,
            disable=not self._live,
        )
        self._task = self._progress.add_task("", total=None)
        self._done = self._done_before = 0

    def __enter__(self) -> "_Terminal":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._progress.stop()

    def stage(self, name: str, done: int, total: int) -> None:
        now = time.monotonic()
        if fresh := name != self._stage:
            self._stage, self._began, self._done_before = name, now, done
            self._progress.reset(self._task, description=name, total=total)
        news = fresh or done != self._done
        self._done = done
        if self._live:
            if news:
                with suppress(OSError):
                    self._progress.update(self._task, completed=done, total=total)
        elif fresh or now - self._told > (10 if news else 30) or (news and done == total):
            self._told, took = now, now - self._began
            self.note(f"{name}: {done}/{total} after {_said_time(took)}{self._left(done, total, took)}")

    def _left(self, done: int, total: int, took: float) -> str:
        """At the pace of this stage. What was done before it began says nothing about that."""
        if done == total:
            return ""
        if done == self._done_before:
            return ", no estimate before the next has ended"
        return f", about {_said_time(took / (done - self._done_before) * (total - done))} left"

    def note(self, text: str) -> None:
        with suppress(OSError):
            if self._live:
                self._console.print(text, highlight=False, markup=False, soft_wrap=True)
            else:
                click.echo(text, err=True)


def _said_time(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}" if seconds >= 10 * size else f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
