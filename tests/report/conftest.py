"""`write_run` makes a simulated run folder; `run_dir` and `history` are one such run, made once."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from didact.report import RunHistory


@pytest.fixture(scope="session")
def write_run() -> Callable[..., Path]:
    # By path, so that it works under every import mode of pytest and from the tests of the commands.
    spec = importlib.util.spec_from_file_location("synthetic_run", Path(__file__).with_name("synthetic_run.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.write_run


@pytest.fixture(scope="session")
def run_dir(write_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "pilot-0")


@pytest.fixture(scope="session")
def history(run_dir: Path) -> RunHistory:
    return RunHistory.load(run_dir)
