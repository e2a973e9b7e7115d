import json
import os
import random
from pathlib import Path

import pytest

from didact.manifest import MANIFEST, clear, fault, files_in, seal

CONTENTS = {"a.bin": bytes(range(256)), "empty": b"", "deep/er/b.bin": b"b" * 5000}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole folder beside a file that is nobody's business."""
    (tmp_path / "outside").write_text("kept")
    for name, data in CONTENTS.items():
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    seal(tmp_path / "folder", {})
    return tmp_path / "folder"


def test_a_sealed_folder_is_whole(folder):
    assert fault(folder) is None
    assert set(files_in(folder)) == set(CONTENTS)
    (folder / "notes.txt").write_text("of somebody's")
    assert fault(folder) is None


def test_a_folder_that_must_hold_nothing_else(folder):
    assert fault(folder, alone=True) is None
    (folder / "deep" / "empty").mkdir()
    assert fault(folder, alone=True) == "deep/empty is not in manifest.json"
    (folder / "deep" / "empty").rmdir()
    (folder / "elsewhere").symlink_to(folder.parent / "outside")
    assert fault(folder, alone=True) == "elsewhere is not in manifest.json"
    assert fault(folder) is None


def test_a_manifest_of_another_name_with_more_in_it(folder):
    (folder / MANIFEST).unlink()
    seal(folder, {}, manifest="whole.json", seed=3)
    assert fault(folder, manifest="whole.json", alone=True) is None
    assert fault(folder) == "it has no manifest.json: it was not finished"
    assert json.loads((folder / "whole.json").read_text())["seed"] == 3


def test_what_is_wrong_is_said(folder):
    (folder / "a.bin").unlink()
    assert fault(folder) == "a.bin is missing"
    (folder / "a.bin").write_bytes(b"a" * 1256)
    assert fault(folder) == "a.bin has 1,256 bytes instead of 256"
    (folder / "a.bin").write_bytes(bytes(256))
    assert fault(folder) == "a.bin is damaged: its digest is another than when it was written"
    (folder / MANIFEST).unlink()
    assert fault(folder) == "it has no manifest.json: it was not finished"
    assert fault(folder / "nowhere") == "there is no such folder"


def test_every_flipped_bit_is_found(folder):
    for name, data in CONTENTS.items():
        for bit in random.Random(0).sample(range(8 * len(data)), min(200, 8 * len(data))):
            changed = bytearray(data)
            changed[bit // 8] ^= 1 << bit % 8
            (folder / name).write_bytes(changed)
            assert fault(folder) == f"{name} is damaged: its digest is another than when it was written"
        (folder / name).write_bytes(data)
    assert fault(folder) is None


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"files": 3}', '{"files": {}}', '{"files": {"a.bin": 3}}', "[" * 100_000,
     '{"files": {"../outside": [4, "x"]}}', '{"files": {"": [4, "x"]}}', '{"files": {"a\\u0000": [4, "x"]}}'],
)  # fmt: skip
def test_a_damaged_manifest_is_no_licence(folder, text):
    (folder / MANIFEST).write_text(text)
    assert "manifest.json" in fault(folder)
    clear(folder)
    assert (folder.parent / "outside").read_text() == "kept"
    assert all((folder / name).read_bytes() == data for name, data in CONTENTS.items())


def test_clearing_removes_what_is_named_and_nothing_else(folder):
    (folder / "deep" / "notes.txt").write_text("of somebody's")
    clear(folder)
    assert [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*"))] == ["deep", "deep/notes.txt"]
    (folder / "deep" / "notes.txt").unlink()
    clear(folder)  # no manifest: nothing is known to be ours
    assert folder.is_dir()


def test_clearing_a_folder_of_nothing_else_removes_it(folder):
    clear(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["outside"]


def test_links_are_not_followed(folder):
    other = folder.parent / "other"
    os.rename(folder / "deep", other)
    (folder / "deep").symlink_to(other)
    assert fault(folder) == "deep/er/b.bin is a link, or behind one"
    clear(folder)
    assert (other / "er" / "b.bin").read_bytes() == CONTENTS["deep/er/b.bin"]
    link = folder.parent / "link"
    link.symlink_to(folder)
    clear(link)
    assert (folder / "a.bin").is_file()


def test_what_lay_there_before_is_not_named(folder):
    (folder / "notes.txt").write_text("of somebody's")
    before = files_in(folder)
    (folder / "a.bin").write_bytes(b"new")
    (folder / "c.bin").write_bytes(b"new")
    seal(folder, before)
    assert set(json.loads((folder / MANIFEST).read_text())["files"]) == {"a.bin", "c.bin"}
