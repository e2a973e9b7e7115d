"""The public data sets beside the repository, where there are any."""

from collections.abc import Callable
from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"


@pytest.fixture
def public_data() -> Callable[[str], Path]:
    def find(name: str) -> Path:
        path = DATA / f"{name}.parquet"
        if not path.is_file():
            pytest.skip(f"needs the public data set shared/data/{name}.parquet beside the repository")
        return path

    return find
