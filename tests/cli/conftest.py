"""`write_run` makes a simulated run folder; `run_dir` is one such run, made once."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from didact.cli.main import main

SYNTHETIC_RUN = Path(__file__).resolve().parents[1] / "report" / "synthetic_run.py"


@pytest.fixture(scope="session")
def write_run() -> Callable[..., Path]:
    spec = importlib.util.spec_from_file_location("synthetic_run", SYNTHETIC_RUN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.write_run


@pytest.fixture(scope="session")
def run_dir(write_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "pilot-0")


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
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
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
