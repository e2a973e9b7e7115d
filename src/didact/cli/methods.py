"""`didact methods`: what there is to choose from."""

import json
import textwrap

import click

from didact.methods import METHODS, about, described, find
from didact.methods.registry import registered

EPILOG = """\b
Examples:
  didact methods
  didact methods cures
  didact methods my_project.curriculum:Frontier      a Method of your own, in a module that Python finds
"""


@click.command("methods", epilog=EPILOG)
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def methods_command(name: str | None, as_json: bool) -> None:
    """List the methods with one line and the paper; with a NAME, its options, their defaults and ranges.

    Those that installed packages register come last.
    """
    if name is not None:
        try:
            find(name)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
    chosen = [name] if name else [*METHODS, *_others()]
    if as_json:
        click.echo(json.dumps({each: _as_json(each) for each in chosen}))
        return
    for each in chosen:
        line, paper = about(each)
        click.echo(f"{each:<13} {line:<88} {paper}")
    if name:
        click.echo()
        for option, (default, words) in described(name).items():
            click.echo(f"  {option:<22} {default}")
            for line in textwrap.wrap(words, 92):
                click.echo(f"  {'':<22} {line}")


def _others() -> list[str]:
    """The registered methods; one that cannot be loaded is said, and left out."""
    loaded = []
    for name in registered():
        try:
            find(name)
        except ValueError as error:
            click.echo(f"didact: {error}", err=True)
        else:
            loaded.append(name)
    return loaded


def _as_json(name: str) -> dict[str, object]:
    line, paper = about(name)
    rows = described(name)
    options = {option: default for option, (default, _) in rows.items()}
    return {
        "about": line,
        "paper": paper,
        "options": options,
        "help": {each: words for each, (_, words) in rows.items()},
    }
