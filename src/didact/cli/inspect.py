"""`didact inspect RUN`: the prompts of a run that deserve a look."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from didact.cli.tables import Column, table

EPILOG = """\b
Example:
  didact inspect runs/first --top 5
  didact inspect runs/first --json | jq '.never_pass.prompts[].prompt_id'
"""


@click.command("inspect", epilog=EPILOG)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--top", type=click.IntRange(min=1), default=10, show_default=True, help="Prompts per table.")
@click.option(
    "--min-rollouts",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    help="Scored rollouts a prompt needs before it is said to never or always pass.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON object.")
def inspect_command(run: Path, top: int, min_rollouts: int, as_json: bool) -> None:
    """Show prompts that never pass, or not although they should, always pass, relapse, eat the budget, or fail to be
    scored.

    RUN is the folder that training wrote.
    """
    from didact.report import RunHistory, inspect_prompts

    findings = inspect_prompts(RunHistory.load(run), top=top, min_rollouts=min_rollouts)
    if as_json:
        click.echo(json.dumps(findings, allow_nan=False))
        return
    _print_tables(findings)


def _print_tables(findings: dict[str, Any]) -> None:
    least, relapse = findings["min_rollouts"], findings["relapse"]
    rollouts: Column = ("rollouts", lambda p: f"{p['rollouts']:,}")
    passed: Column = ("passed", lambda p: f"{p['passed']:,}")
    least_of = "at least " * findings["prompts_are_more"]
    click.echo(f"{findings['prompts_tried']:,} of {least_of}{findings['prompts']:,} prompts were tried.")
    table(
        f"Never pass: {findings['never_pass']['count']:,}",
        f"no pass in at least {least} scored rollouts; a broken answer, or a hard prompt",
        findings["never_pass"]["prompts"],
        [rollouts, ("truncated", lambda p: f"{p['truncated']:,}"), ("95% below", lambda p: f"{p['bound']:.3f}")],
    )
    table(
        f"Suspicious: {findings['suspicious']['count']:,}",
        "never passed, though their like do, by what was believed when they were planned; look at the answer; at most "
        f"{findings['suspicious']['expected_by_chance']:.1f} expected by chance if beliefs are right",
        findings["suspicious"]["prompts"],
        [rollouts, ("chance", lambda p: f"{p['chance']:.1e}")],
    )
    table(
        f"Relapse: {relapse['count']:,}",
        f"first half of its groups against the second, z >= 3 and a fall of 0.25; {relapse['tested']:,} tested, "
        f"{relapse['expected_by_chance']:.1f} expected by chance",
        relapse["prompts"],
        [
            rollouts,
            ("earlier", lambda p: f"{p['earlier']:.2f}"),
            ("later", lambda p: f"{p['later']:.2f}"),
            ("z", lambda p: f"{p['z']:.1f}"),
        ],
    )
    table(
        f"Always pass: {findings['always_pass']['count']:,}",
        f"every one of at least {least} scored rollouts passed",
        findings["always_pass"]["prompts"],
        [rollouts, ("95% above", lambda p: f"{p['bound']:.3f}")],
    )
    table(
        "Most rollouts",
        "share of the whole run",
        findings["most_rollouts"],
        [rollouts, passed, ("share", lambda p: f"{p['share']:.1%}")],
    )
    table(
        "Most response tokens",
        "share of the whole run",
        findings["most_tokens"],
        [("tokens", lambda p: f"{p['tokens']:,}"), rollouts, ("share", lambda p: f"{p['share']:.1%}")],
    )
    table(
        "Errored most",
        "verifier failed or rollout aborted; not counted as wrong",
        findings["most_errored"],
        [rollouts, ("errored", lambda p: f"{p['errored']:,}")],
    )
    table(
        "Truncated most",
        "cut off by the context length",
        findings["most_truncated"],
        [rollouts, passed, ("truncated", lambda p: f"{p['truncated']:,}")],
    )
