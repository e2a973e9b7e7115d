"""The commands of `didact`, under one name."""

import click

from didact import __version__
from didact.cli.compare import compare_command, simulate_command
from didact.cli.explain import explain_command
from didact.cli.inspect import inspect_command
from didact.cli.methods import methods_command
from didact.cli.replay import replay_command
from didact.cli.report import report_command
from didact.cli.train import train_command
from didact.naming import nearest_or_all

EPILOG = """\b
Examples:
  didact train                              train a small model, then open its report
  didact train --method uniform --steps 100
  didact report runs/arithmetic-didact-1
  didact inspect runs/arithmetic-didact-1
"""


class _Group(click.Group):
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in self.commands:
            raise click.UsageError(f"there is no command {name!r}{nearest_or_all(name, self.commands)}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Group, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, message="didact %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """The curriculum engine for RL post-training of reasoning language models."""


for _command in (
    train_command,
    compare_command,
    simulate_command,
    report_command,
    inspect_command,
    explain_command,
    replay_command,
    methods_command,
):
    cli.add_command(_command)
