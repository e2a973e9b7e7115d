"""`write_run` makes a simulated run folder; `run_dir` is one such run, made once."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

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
