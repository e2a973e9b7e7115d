"""`didact report RUN`: one HTML page about a run."""

from __future__ import annotations

import json
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from didact.cli import BAD_INPUT

EPILOG = """\b
Example:
  didact report runs/first --open
  didact report runs/first --json | jq .headline
  didact report runs/arithmetic-didact-1 --beside runs/arithmetic-uniform-1
"""

_REPLAYED = 1 << 22  # bytes of the longest journal that is replayed for a page: about ten seconds


@click.command("report", epilog=EPILOG)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Where to write the page.  [default: RUN/report.html]")
@click.option(
    "--beside",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Another run on the same held-out prompts, whose accuracy is drawn, too; repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print every number of the page as one JSON object.")
@click.option("--open", "show", is_flag=True, help="Open the page in the browser.")
def report_command(run: Path, out: Path | None, beside: tuple[Path, ...], as_json: bool, show: bool) -> None:
    """Draw what a run did as one self-contained HTML page.

    RUN is the folder that training wrote. A run in progress or killed midway is drawn as far as it got.
    """
    path, numbers = write_report(run, out, beside)
    if as_json:
        click.echo(json.dumps({**numbers, "page": str(path)}, allow_nan=False))
    else:
        click.echo(numbers["headline"]["text"])
        click.echo(str(path))
    if show:
        webbrowser.open(path.resolve().as_uri())


def write_report(run: Path, out: Path | None = None, beside: Sequence[Path] = ()) -> tuple[Path, dict[str, Any]]:
    """Write the page of a run, with the accuracy of others beside its own; where it is, and the numbers on it."""
    from didact.report import RunHistory, inspect_prompts, render_page, summarise, write_page

    history = RunHistory.load(run)
    summary, findings = summarise(history, [RunHistory.load(other) for other in beside]), inspect_prompts(history)
    explained = _last_step(run)
    page = write_page(render_page(summary, findings, explained), out or run / "report.html")
    return page, {**summary, "prompts": findings, "last_step": explained}


def _last_step(run: Path) -> dict[str, Any] | None:
    """Why the last step held what it did; None where that cannot be replayed, or only in a longer time than a page is
    worth. `didact explain` says which."""
    from didact.report.explanation import explain

    if (run / "journal.jsonl").stat().st_size > _REPLAYED:
        return None
    try:
        return explain(run)
    except BAD_INPUT:
        return None
