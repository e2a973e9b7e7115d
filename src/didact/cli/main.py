"""`didact`: the entry point. Bad input ends with exit code 2 and one line, a failure at run time with 1."""

import difflib
import sys

import click

from didact import __version__
from didact.cli.inspect import inspect_command
from didact.cli.methods import methods_command
from didact.cli.replay import replay_command
from didact.cli.report import report_command
from didact.cli.train import train_command

EPILOG = """\b
Examples:
  didact train                              train a small model with CurES, then open its report
  didact train --method uniform --steps 100
  didact report runs/arithmetic-cures-1
  didact inspect runs/arithmetic-cures-1
"""


class _Group(click.Group):
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in self.commands:
            close = difflib.get_close_matches(name, self.commands, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"commands are {', '.join(sorted(self.commands))}"
            raise click.UsageError(f"there is no command {name!r}; {hint}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Group, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, message="didact %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """The curriculum engine for RL post-training of reasoning language models."""


for _command in (train_command, report_command, inspect_command, replay_command, methods_command):
    cli.add_command(_command)


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with its code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        code = cli.main(arguments, prog_name="didact", standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", 130, debug)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "", err=True)
        sys.exit(2)
    except click.ClickException as error:
        _fail(error.format_message(), 2, debug)
    except (ValueError, TypeError, FileNotFoundError, FileExistsError, NotADirectoryError, ImportError) as error:
        _fail(str(error) or type(error).__name__, 2, debug)
    except Exception as error:  # the one place that may catch everything: it ends the program
        _fail(f"{type(error).__name__}: {error}", 1, debug)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int, debug: bool) -> None:
    if debug:
        import traceback

        traceback.print_exc()
    click.echo(f"didact: {' '.join(message.split())}", err=True)
    sys.exit(code)
