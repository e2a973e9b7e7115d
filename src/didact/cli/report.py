"""`didact report RUN`: one HTML page about a run."""

from __future__ import annotations

import json
import webbrowser
from pathlib import Path
from typing import Any

import click

EPILOG = """\b
Example:
  didact report runs/first --open
  didact report runs/first --json | jq .headline
"""


@click.command("report", epilog=EPILOG)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Where to write the page.  [default: RUN/report.html]")
@click.option("--json", "as_json", is_flag=True, help="Print every number of the page as one JSON object.")
@click.option("--open", "show", is_flag=True, help="Open the page in the browser.")
def report_command(run: Path, out: Path | None, as_json: bool, show: bool) -> None:
    """Draw what a run did as one self-contained HTML page.

    RUN is the folder that training wrote. A run in progress or killed midway is drawn as far as it got.
    """
    path, summary, findings = write_report(run, out)
    if as_json:
        click.echo(json.dumps({**summary, "prompts": findings, "page": str(path)}, allow_nan=False))
    else:
        click.echo(summary["headline"]["text"])
        click.echo(str(path))
    if show:
        webbrowser.open(path.resolve().as_uri())


def write_report(run: Path, out: Path | None = None) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """Write the page of a run; where it is, and the numbers and prompts on it."""
    from didact.report import RunHistory, inspect_prompts, render_page, summarise, write_page

    history = RunHistory.load(run)
    summary, findings = summarise(history), inspect_prompts(history)
    return write_page(render_page(summary, findings), out or run / "report.html"), summary, findings
