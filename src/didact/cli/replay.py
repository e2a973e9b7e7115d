"""`didact replay RUN --method M`: what another method would have asked for, answered from the run's own outcomes."""

import json
from pathlib import Path

import click

EPILOG = """\b
Examples:
  didact replay runs/first --method uniform
  didact replay runs/first                    # the same method: its plans must come out the same
"""


@click.command("replay", epilog=EPILOG)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--method", help="Method to replay.  [default: the run's own, with its own options]")
@click.option("-o", "--option", "options", multiple=True, metavar="KEY=VALUE", help="Option of the method; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def replay_command(run: Path, method: str | None, options: tuple[str, ...], as_json: bool) -> None:
    """Replay a run's outcomes through a method, without a model.

    With the run's own method this checks the journal: every plan must come out as it was recorded. With another, its
    plans are answered from the rollouts that were logged for the same prompts. Prompts that were never rolled out stay
    unanswered, and the policy does not react: this says what a method would ask for, not what it would achieve.
    """
    from didact.cli.train import _pairs
    from didact.report.replay import replay

    result = replay(run, method, _pairs(options))
    if as_json:
        click.echo(json.dumps(result))
        return
    for name, value in result.items():
        click.echo(f"{name:<28} {value:,.4g}" if isinstance(value, float) else f"{name:<28} {value}")
