"""`history` is the simulated run, read once."""

from pathlib import Path

import pytest

from didact.report import RunHistory


@pytest.fixture(scope="session")
def history(run_dir: Path) -> RunHistory:
    return RunHistory.load(run_dir)
