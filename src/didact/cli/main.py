"""`didact`: the entry point. Bad input ends with exit code 2 and one line, a failure at run time with 1.

It starts without the command line's own libraries, to say how to install them.
"""

import sys
from typing import NoReturn

from didact.cli import BAD_INPUT
from didact.extras import how_to_install


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with its code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        import click

        from didact.cli.group import cli
    except ModuleNotFoundError as error:
        _fail(f"the command line needs {error.name}; {how_to_install('cli')}", 2, debug)
    try:
        code = cli.main(arguments, prog_name="didact", standalone_mode=False)
    except (click.Abort, KeyboardInterrupt) as error:
        _fail(_with_notes("interrupted", error), 130, debug)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "", err=True)
        sys.exit(2)
    except click.ClickException as error:
        _fail(error.format_message(), 2, debug)
    except ModuleNotFoundError as error:
        extra = "train" if arguments[:1] in (["train"], ["compare"]) else "report"
        _fail(f"{arguments[0]} needs {error.name}; {how_to_install(extra)}", 2, debug)
    except BAD_INPUT as error:
        _fail(_with_notes(str(error) or type(error).__name__, error), 2, debug)
    except Exception as error:  # the one place that may catch everything: it ends the program
        _fail(_with_notes(f"{type(error).__name__}: {error}", error), 1, debug)
    sys.exit(code if isinstance(code, int) else 0)


def _with_notes(message: str, error: BaseException) -> str:
    # click turns Ctrl-C into an Abort, caused by it
    notes = [note for each in (error, error.__cause__) for note in getattr(each, "__notes__", [])]
    return "; ".join([message, *notes])


def _fail(message: str, code: int, debug: bool) -> NoReturn:
    if debug:
        import traceback

        traceback.print_exc()
    print(f"didact: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
