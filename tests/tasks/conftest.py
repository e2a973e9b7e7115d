"""The public data sets beside the repository, where there are any."""

from collections.abc import Callable
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared"
DATA = SHARED / "data"


@pytest.fixture
def public_data() -> Callable[[str], Path]:
    def find(name: str) -> Path:
        path = DATA / f"{name}.parquet"
        if not path.is_file():
            pytest.skip(f"needs the public data set shared/data/{name}.parquet beside the repository")
        return path

    return find


@pytest.fixture
def public_case() -> Callable[[str], Path]:
    def find(name: str) -> Path:
        path = SHARED / "cases" / name
        if not path.parent.is_dir():
            pytest.skip(f"needs shared/cases/{name} beside the repository")
        return path

    return find
