"""A desk's folder: what a kill can leave opens with nothing lost, whatever else is wrong with it is refused by name."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from didact.desk.call_log import CallLog
from didact.journal import Journal, read_journal

Files = dict[str, bytes]
EARLIER, STATE = {"count": 1.0, "name": "earlier"}, {"count": 3.0, "name": "é"}
CALLS = [{"kind": "add", "given": {"by": number}} for number in range(4)]


def contents(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def written(folder: Path, state: dict[str, Any] = STATE) -> Files:
    """The second snapshot and four calls after it."""
    log = CallLog(folder)
    assert log.latest() == (None, [])
    log.go_on()
    log.snapshot(EARLIER)
    log.append({"kind": "add", "given": {"by": 7}})
    log.snapshot(state)
    for call in CALLS:
        log.append(call)
    assert log.events == 4
    log.close()
    return contents(folder)


def opened(folder: Path) -> tuple[Any, Any]:
    log = CallLog(folder, seconds=0)
    try:
        found = log.latest()
        log.go_on()
        return found
    finally:
        log.close()


def test_it_gives_the_newest_snapshot_and_the_calls_since(tmp_path: Path) -> None:
    before = written(tmp_path)
    assert set(before) == {".lock", "state-2.npz", "calls-2.jsonl"}
    assert opened(tmp_path) == (STATE, CALLS)
    assert contents(tmp_path) == before


def lines(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True)


def without(name: str) -> Callable[[Files, Files], None]:
    return lambda files, other: files.__delitem__(name) if name in files else None


def put(name: str, change: Callable[[bytes], bytes]) -> Callable[[Files, Files], None]:
    return lambda files, other: files.__setitem__(name, change(files[name]))


def taken(name: str) -> Callable[[Files, Files], None]:
    return lambda files, other: files.__setitem__(name, other[name])


def renamed(name: str, new: str) -> Callable[[Files, Files], None]:
    return lambda files, other: files.__setitem__(new, files.pop(name))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without("state-2.npz"), "state-2.npz is missing"),
        (without("calls-2.jsonl"), "calls-2.jsonl is missing"),
        (taken("state-2.npz"), "state-2.npz was altered, or is that of another folder"),
        (taken("calls-2.jsonl"), "state-2.npz was altered, or is that of another folder"),
        (put("state-2.npz", lambda data: data + data), "state-2.npz was altered"),
        (put("state-2.npz", lambda data: data + b"\0"), "state-2.npz was altered"),
        (put("state-2.npz", lambda data: b""), "state-2.npz was altered"),
        (put("calls-2.jsonl", lambda data: b""), "calls-2.jsonl has lost its beginning"),
        (put("calls-2.jsonl", lambda data: data[:30]), "calls-2.jsonl has lost its beginning"),
        (put("calls-2.jsonl", lambda data: data + data), "calls-2.jsonl, line 6: record 1 is there again"),
        (put("calls-2.jsonl", lambda data: b"".join(lines(data)[1:])), "calls-2.jsonl, line 1: record 1 is missing"),
        (put("calls-2.jsonl", lambda data: b"".join(lines(data)[::-1])), "calls-2.jsonl, line 1: record 1 is missing"),
        (put("calls-2.jsonl", lambda data: b"a note\n" + data), "calls-2.jsonl, line 1: damaged"),
        (renamed("calls-2.jsonl", "calls-3.jsonl"), "state-3.npz is missing"),
        (renamed("calls-2.jsonl", "calls-1.jsonl"), "state-1.npz is missing"),
        (renamed("calls-2.jsonl", "calls-0.jsonl"), "calls-2.jsonl is missing"),
        (renamed("state-2.npz", "state-9.npz"), "calls-9.jsonl is missing"),
        (renamed("state-2.npz", "state-1.npz"), "state-2.npz is missing"),
    ],
)
def test_a_damaged_folder_is_refused_and_left_as_it_is(tmp_path: Path, damage: Any, message: str) -> None:
    files, other = written(tmp_path / "a"), written(tmp_path / "b", EARLIER)
    damage(files, other)
    refused_as(tmp_path / "damaged", files, message)


def refused_as(folder: Path, files: Files, message: str) -> None:
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    with pytest.raises(ValueError, match=message) as refused:
        opened(folder)
    assert "put back all files of the folder as they were, or begin anew in another one" in str(refused.value)
    assert str(folder) in str(refused.value)
    assert contents(folder) == files


def test_the_calls_of_a_twin_are_refused(tmp_path: Path) -> None:
    files, twin = written(tmp_path / "a"), written(tmp_path / "b")
    refused_as(
        tmp_path / "damaged", {**files, "calls-2.jsonl": twin["calls-2.jsonl"]}, r"state-2.npz was altered, or is"
    )


def test_any_changed_or_missing_byte_of_a_state_is_refused(tmp_path: Path) -> None:
    files = written(tmp_path / "a")
    data = files["state-2.npz"]
    for at in range(0, len(data), 7):
        for wrong in (data[:at], data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]):
            refused_as(tmp_path / "damaged", {**files, "state-2.npz": wrong}, r"state-2.npz was altered")
            shutil.rmtree(tmp_path / "damaged")


def test_a_whole_line_changed_removed_or_moved_is_refused(tmp_path: Path) -> None:
    files = written(tmp_path / "a")
    rows = lines(files["calls-2.jsonl"])
    for at in range(len(rows) - 1):
        for wrong in (
            [*rows[:at], *rows[at + 1 :]],
            [*rows[: at + 1], *rows[at:]],
            [*rows[:at], rows[at + 1], rows[at], *rows[at + 2 :]],
            [*rows[:at], rows[at].replace(b"{", b"[", 1), *rows[at + 1 :]],
        ):
            refused_as(tmp_path / "damaged", {**files, "calls-2.jsonl": b"".join(wrong)}, "calls-2.jsonl, line")
            shutil.rmtree(tmp_path / "damaged")


def test_calls_cut_off_anywhere_are_those_that_were_whole(tmp_path: Path) -> None:
    data = written(tmp_path)["calls-2.jsonl"]
    for end in range(data.index(b"\n") + 1, len(data)):
        (tmp_path / "calls-2.jsonl").write_bytes(data[:end])
        assert opened(tmp_path) == (STATE, CALLS[: data[:end].count(b"\n") - 1])


def test_a_kill_at_any_moment_of_a_snapshot_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = CallLog(tmp_path / "desk")
    log.latest()
    copies: list[Path] = []
    watching = False

    def watched(name: str) -> None:
        plain = getattr(os, name)

        def operation(*given: Any, **options: Any) -> Any:
            nonlocal watching
            if watching:
                watching = False  # copying does the same operations
                copies.append(tmp_path / f"copy-{len(copies)}")
                shutil.copytree(tmp_path / "desk", copies[-1])
                watching = True
            return plain(*given, **options)

        monkeypatch.setattr(os, name, operation)

    expected: list[tuple[Any, Any]] = []

    def since(*either: tuple[Any, Any]) -> None:
        nonlocal watching
        watching = False
        for copy in copies[len(expected) :]:
            found = opened(copy)
            assert found in either
            assert opened(copy) == found, "opening has put it in order"
            expected.append(found)
        watching = True

    for name in ("open", "replace", "unlink", "fsync", "close"):
        watched(name)
    watching = True
    log.go_on()
    since((None, []))
    log.snapshot(EARLIER)
    since((None, []), (EARLIER, []))
    log.append(CALLS[0])
    log.snapshot(STATE)
    since((EARLIER, [CALLS[0]]), (EARLIER, []), (STATE, []))
    assert {repr(each) for each in expected} == {
        repr(each) for each in [(None, []), (EARLIER, []), (EARLIER, [CALLS[0]]), (STATE, [])]
    }
    log.close()


def test_a_snapshot_that_cannot_be_written_leaves_the_pair_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError("too many open files")

    log = CallLog(tmp_path)
    log.latest()
    log.go_on()
    log.snapshot(STATE)
    log.append(CALLS[0])
    for owner, name in ((Journal, "__init__"), (Journal, "begun")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fails)
            with pytest.raises(OSError, match="too many"):
                log.snapshot(EARLIER)
        log.append(CALLS[1])
    log.close()
    assert opened(tmp_path) == (STATE, [CALLS[0], CALLS[1], CALLS[1]])


def test_what_a_snapshot_leaves_behind_is_removed_at_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = CallLog(tmp_path)
    log.latest()
    log.go_on()
    log.snapshot(EARLIER)
    unlink = Path.unlink

    def refuses(path: Path, missing_ok: bool = False) -> None:
        if path.name in ("calls-1.jsonl", "state-1.npz"):
            raise PermissionError("no")
        unlink(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuses)
        log.snapshot(STATE)
    assert {"calls-1.jsonl", "state-1.npz", "calls-2.jsonl", "state-2.npz"} <= set(contents(tmp_path))
    log.append(CALLS[0])
    log.close()
    assert opened(tmp_path) == (STATE, CALLS[:1])
    assert set(contents(tmp_path)) == {".lock", "calls-2.jsonl", "state-2.npz"}
    assert len(read_journal(tmp_path / "calls-2.jsonl")) == 2
