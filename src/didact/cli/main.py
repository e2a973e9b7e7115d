"""`didact`: the entry point. Bad input ends with exit code 2 and one line, a failure at run time with 1.

It starts without the command line's own libraries, to say how to install them, and with nothing heavy: Ctrl-C is one
line from the first moment on (see `didact.interrupts`).
"""

import sys
from typing import NoReturn

from didact.cli import is_bad_input
from didact.extras import how_to_install
from didact.interrupts import leave_at_once


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with its code. The process is ours: Ctrl-C ends it, also while it exits."""
    leave_at_once(lambda: "didact: interrupted")
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
        if isinstance(error.__cause__, EOFError):  # click takes the end of a file for the end of the keyboard's input
            _fail(_with_notes(f"a file ended too early: {error.__cause__}", error), 1, debug)
        _fail(_with_notes("interrupted", error), 130, debug)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "", err=True)
        sys.exit(2)
    except click.ClickException as error:
        _fail(error.format_message(), 2, debug)
    except ModuleNotFoundError as error:
        extra = "train" if arguments[:1] in (["train"], ["compare"]) else "report"
        _fail(f"{arguments[0]} needs {error.name}; {how_to_install(extra)}", 2, debug)
    except RecursionError as error:
        _fail(_with_notes(f"what was given is nested too deeply to be read: {error}", error), 2, debug)
    except Exception as error:  # the one place that may catch everything: it ends the program
        if is_bad_input(error):
            _fail(_with_notes(str(error) or type(error).__name__, error), 2, debug)
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
