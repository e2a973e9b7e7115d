"""Pass rates known before a run: numbers or a file, nan where unknown, a fingerprint in the options."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from didact.belief.reference import ReferenceRates


def test_they_fit_a_pool_that_grows() -> None:
    rates = ReferenceRates("weak", [0.0, 0.5, np.nan, 1])
    assert rates.of(3) == pytest.approx([0.0, 0.5, np.nan], nan_ok=True)
    assert rates.of(6) == pytest.approx([0.0, 0.5, np.nan, 1.0, np.nan, np.nan], nan_ok=True)
    rates.check(4)
    with pytest.raises(ValueError, match=r"weak must be one pass rate for each of 5 prompts, got shape \(4,\)"):
        rates.check(5)


def test_files_and_numbers_are_the_same_rates(tmp_path: Path) -> None:
    np.save(tmp_path / "rates.npy", np.array([0.25, 0.5, np.nan]))
    (tmp_path / "rates.json").write_text("[0.25, 0.5, null]")
    numbers = ReferenceRates("weak", [0.25, 0.5])  # unknown ones at the end do not count
    for name in ("rates.npy", "rates.json"):
        assert ReferenceRates("weak", str(tmp_path / name)) == numbers
    assert len({numbers, ReferenceRates("strong", [0.25, 0.5]), ReferenceRates("weak", [0.25, 0.75])}) == 2
    assert ReferenceRates.given("weak", numbers) is numbers
    assert ReferenceRates.given("weak", None) is None
    with pytest.raises(ValueError, match="weak: this is the fingerprint of pass rates"):
        ReferenceRates("weak", numbers.fingerprint)


@pytest.mark.parametrize("given", [[1.5], [-0.1], ["half"], [[0.5]], 0.5, [True], {}])
def test_what_is_no_column_of_pass_rates_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match="weak must be"):
        ReferenceRates("weak", given)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("rates.npy", b"no array", "cut off"),
        ("rates.json", b"[0.5", "no JSON list"),
        ("rates.json", b'{"a": 1}', "weak must be pass rates"),
        ("rates.txt", b"0.5", "must be an .npy array or a .json list"),
    ],
)
def test_files_that_hold_none_are_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=said):
        ReferenceRates("weak", str(tmp_path / name))
    with pytest.raises(FileNotFoundError, match="weak: no file at"):
        ReferenceRates("weak", str(tmp_path / "none.npy"))
