"""`didact methods`: what there is to choose from."""

import json

import click

from didact.methods import ABOUT, METHODS, method_options
from didact.naming import nearest_or_all

EPILOG = """\b
Examples:
  didact methods
  didact methods cures
"""


@click.command("methods", epilog=EPILOG)
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def methods_command(name: str | None, as_json: bool) -> None:
    """List the methods with one line and the paper; with a NAME, its options and defaults."""
    if name is not None and name not in METHODS:
        raise click.UsageError(f"there is no method {name!r}{nearest_or_all(name, METHODS)}")
    chosen = [name] if name else list(METHODS)
    if as_json:
        about = {each: {"about": ABOUT[each][0], "paper": ABOUT[each][1], "options": _options(each)} for each in chosen}
        click.echo(json.dumps(about))
        return
    for each in chosen:
        click.echo(f"{each:<12} {ABOUT[each][0]:<82} {ABOUT[each][1]}")
    if name:
        click.echo()
        for option, default in _options(name).items():
            click.echo(f"  {option:<22} {default}")


def _options(name: str) -> dict[str, str]:
    return {
        option: "required" if parameter.default is parameter.empty else repr(parameter.default)
        for option, parameter in method_options(name).items()
    }
