"""`didact` runs a command line; `refused` one that must be refused."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import NamedTuple

import pytest

from didact.cli.main import main


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        return self.err.splitlines()[-1]


@pytest.fixture
def didact(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """`didact(...)` runs a command line in this process."""

    def run(*arguments: object) -> Ended:
        capsys.readouterr()
        before = signal.getsignal(signal.SIGINT)
        try:
            with pytest.raises(SystemExit) as ended:
                main([str(argument) for argument in arguments])
        finally:
            signal.signal(signal.SIGINT, before)
        return Ended(int(ended.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def refused(didact: Callable[..., Ended]) -> Callable[..., str]:
    """Run a command line that must be refused, and give the one line that says why."""

    def run(*arguments: object) -> str:
        ended = didact(*arguments)
        assert (ended.code, ended.out) == (2, ""), ended
        assert len(ended.err.splitlines()) == 1, ended.err
        assert ended.err.startswith("didact: ")
        return ended.err

    return run
