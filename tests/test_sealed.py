"""Sealed files: what was written is read, and anything else is refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from didact.sealed import read_sealed, write_sealed

VALUES = {"name": "ümlaut", "gain": 0.1, "cells": [{"size": 4096, "rate": None}], "2": True}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write_sealed(tmp_path / "a.json", VALUES)
    assert read_sealed(tmp_path / "a.json") == VALUES
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_another_layout_is_no_damage(tmp_path: Path) -> None:
    write_sealed(tmp_path / "a.json", VALUES)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    (tmp_path / "a.json").write_text(" ".join(text.split()), encoding="utf-8")
    assert read_sealed(tmp_path / "a.json") == VALUES


@given(st.data())
def test_any_byte_changed_or_cut_off_is_refused_or_of_no_effect(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("sealed") / "a.json"
    write_sealed(path, VALUES)
    whole = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        path.write_bytes(whole[:at])
    else:
        whole[at] = data.draw(st.integers(0, 255))
        path.write_bytes(whole)
    try:
        found = read_sealed(path)
    except ValueError:
        return
    assert found == VALUES  # the last line end cut off, one blank for another


@pytest.mark.parametrize("text", ["", "[]", "3", "{}", '{"digest": 3}', '{"digest": NaN}', "[" * 100_000, "\udcff"])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=r"a\.json"):
        read_sealed(tmp_path / "a.json")


def test_what_json_cannot_hold_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_sealed(tmp_path / "a.json", {"gain": float("nan")})
    assert not list(tmp_path.iterdir())
