"""The calls that changed an object, on file before they are answered: a snapshot and what came after it.

    FOLDER/state-N.npz     a snapshot
    FOLDER/calls-N.jsonl   the calls since; its first record says which state-N.npz they follow, by its digest
    FOLDER/calls-0.jsonl   of a new folder, until its first snapshot: nothing but that first record

Loading the snapshot and making the calls again gives the object as it was, whatever killed its process. A line is
handed to the operating system, not forced onto the disk: it survives the process, and not a power failure.

A pair is written state first, and counts from the moment its calls are there; then the pair before is removed. So a
kill leaves one pair whole, perhaps with files of the pair before or the state of the pair to come. Whatever else is
missing, altered or another's is refused, and left as it is.
"""

import re
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any

from didact import files
from didact.journal import Journal, read_journal
from didact.state import load_state, save_state

_NAMES = re.compile(r"(?:calls-(0|[1-9]\d{0,17})\.jsonl|state-([1-9]\d{0,17})\.npz)")
_MARK = "mark"  # so that no two snapshots have one digest: a folder's twin has the same state, and other calls


class CallLog:
    """A snapshot and the calls since, in a folder that one process has open.

    Args:
        folder: made if need be.
        seconds: to wait for another process to let go of it: one that was just killed needs a moment.

    Raises:
        ValueError: another process has the folder open.
    """

    def __init__(self, folder: Path, *, seconds: float = 10.0) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._held = ExitStack()
        self._held.enter_context(files.locked(folder / ".lock", seconds=seconds))
        self._number = 0
        self._journal: Journal | None = None
        self.events = 0

    def latest(self) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
        """The newest snapshot and the calls since; None where the folder is new. Changes nothing on disk.

        Raises:
            ValueError: a file is missing, damaged, or not of this folder.
        """
        calls, states = self._numbers()
        self._number = max(calls, default=0)
        if not calls and not states:
            return None, []
        if not calls or max(states, default=0) > self._number + 1:
            raise self._refusal(f"{self._calls(max(states)).name} is missing")
        try:
            first, *records = read_journal(self._calls(self._number)) or [{}]
            begun = first.get("kind") == "snapshot" and (first.get("state") is None) == (self._number == 0)
            if not begun or (self._number == 0 and records):
                raise ValueError(f"{self._calls(self._number).name} has lost its beginning, or is another file")
            self.events = len(records)
            if self._number == 0:
                return None, []
            if not self._state(self._number).is_file():
                raise ValueError(f"{self._state(self._number).name} is missing")
            if files.digest(self._state(self._number)) != first["state"]:
                raise ValueError(f"{self._state(self._number).name} was altered, or is that of another folder")
            state = load_state(self._state(self._number))
            del state[_MARK]
            return state, records
        except ValueError as error:
            raise self._refusal(str(error)) from error

    def go_on(self) -> None:
        """Append to the calls that `latest` gave, or begin a new folder."""
        self._close()
        if self._calls(self._number).exists():
            self._journal = Journal(self._calls(self._number))
        else:
            self._journal = Journal.begun(self._calls(0), {"kind": "snapshot", "state": None})
        self._tidy()

    def append(self, record: Mapping[str, Any]) -> None:
        """Write a call down.

        Raises:
            OSError: the disk is full; the calls before are whole.
        """
        assert self._journal is not None
        self._journal.append(record)
        self.events += 1

    def snapshot(self, state: Mapping[str, Any]) -> None:
        """Begin anew with this state and no calls.

        Raises:
            OSError: the disk is full; the pair before is whole, and calls are still appended to it.
        """
        number = self._number + 1
        save_state(self._state(number), {**state, _MARK: token_hex(8)})
        first = {"kind": "snapshot", "state": files.digest(self._state(number))}
        try:
            following = Journal.begun(self._calls(number), first)
        except BaseException:
            self._calls(number).unlink(missing_ok=True)
            raise
        self._close()
        self._number, self._journal, self.events = number, following, 0
        self._tidy()

    def close(self) -> None:
        """Let go of the folder."""
        self._close()
        self._held.close()

    def _close(self) -> None:
        if self._journal is not None:
            self._journal.close()
        self._journal = None

    def _tidy(self) -> None:
        """Remove the pairs before; what cannot be removed now is removed with the next."""
        calls, states = self._numbers()
        old = [self._calls(number) for number in calls if number < self._number]
        with suppress(OSError):
            for path in old + [self._state(number) for number in states if number < self._number]:
                path.unlink()

    def _numbers(self) -> tuple[list[int], list[int]]:
        found = [match for path in self.folder.iterdir() if (match := _NAMES.fullmatch(path.name))]
        return [int(each[1]) for each in found if each[1]], [int(each[2]) for each in found if each[2]]

    def _calls(self, number: int) -> Path:
        return self.folder / f"calls-{number}.jsonl"

    def _state(self, number: int) -> Path:
        return self.folder / f"state-{number}.npz"

    def _refusal(self, what: str) -> ValueError:
        return ValueError(
            f"{self.folder}: {what}; put back all files of the folder as they were, or begin anew in another one"
        )
