"""Signals that end a program: Ctrl-C (SIGINT), SIGTERM, and SIGHUP, which says that the terminal was closed.

A signal that is ignored when we come stays ignored: so nohup and a shell's background jobs ask. Outside the main thread
signals do not arrive, and nothing is done.
"""

import os
import signal
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import Any


class Interrupts:
    """Within it signals are noted: `asked` says how often, and `told` is called at the first. The second Ctrl-C or
    SIGTERM does what it did before, unless it is `counted`, too: then whoever works looks at `asked` when that is safe.
    A terminal that is closed says so several times, and is heard once."""

    def __init__(self, told: Callable[[], None] = lambda: None, *, counted: bool = False) -> None:
        self.asked = 0
        self._told, self._counted = told, counted
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupts":
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
                with suppress(ValueError):  # not in the main thread
                    self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: Any) -> None:
        if number == getattr(signal, "SIGHUP", None):
            _forget_lost_terminal()
            if self.asked:
                return
        elif not self._counted:
            for each in (signal.SIGINT, signal.SIGTERM):
                if each in self._before:
                    signal.signal(each, self._before[each])
        self.asked += 1
        if self.asked == 1:
            with suppress(RuntimeError, OSError):  # it came while something was being printed; or nobody reads
                self._told()


def leave_at_once(line: Callable[[], str]) -> None:
    """From now on Ctrl-C ends the process where it stands, with exit code 130 and this line on standard error.

    No exception does that at any moment: in the middle of an import or of a destructor it becomes a traceback, or is
    lost. Nothing is cleaned up either: for programs that bear to be killed.
    """

    def leave(number: int, frame: Any) -> None:
        with suppress(OSError):
            start = "\r\x1b[K\x1b[?25h" if os.isatty(2) else ""  # instead of a progress bar, and with a cursor
            os.write(2, f"{start}{line()}\n".encode(errors="backslashreplace"))
        os._exit(130)

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        with suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGINT, leave)


def _forget_lost_terminal() -> None:
    """Writing to a terminal that is gone is an error: what still points to one points to nothing instead."""
    for handle in (0, 1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(handle).st_mode) and not os.isatty(handle):
                nowhere = os.open(os.devnull, os.O_RDWR)
                os.dup2(nowhere, handle)
                os.close(nowhere)
