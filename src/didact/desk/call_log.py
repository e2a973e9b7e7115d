"""The calls that changed an object, on file before they are answered: a snapshot and what came after it.

Loading the snapshot and making the calls again gives the object as it was, whatever killed its process. A line is
handed to the operating system, not forced onto the disk: it survives the process, and not a power failure.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from didact.journal import Journal, read_journal
from didact.state import load_state, save_state

STATE_FILE = "state.npz"


class CallLog:
    """A snapshot and the calls since, in a folder that one process has open.

    A snapshot names the file of the calls that follow it, so that a kill between the two leaves the earlier pair whole.

    Raises:
        ValueError: another process has the folder open, or what lies there is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(folder / ".lock")
        self._number = 0
        self._journal: Journal | None = None
        self.events = 0

    def latest(self) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
        """The newest snapshot and the calls since; None where the folder is new."""
        if not (self.folder / STATE_FILE).exists():
            return None, []
        state = load_state(self.folder / STATE_FILE)
        self._number = state.pop("events")
        self._journal = Journal(self._path(self._number))
        records = read_journal(self._path(self._number))
        self.events = len(records)
        return state, records

    def append(self, record: Mapping[str, Any]) -> None:
        assert self._journal is not None
        self._journal.append(record)
        self.events += 1

    def snapshot(self, state: Mapping[str, Any]) -> None:
        following = Journal(self._path(self._number + 1))
        following.rewind(0)  # of a snapshot that a kill prevented
        save_state(self.folder / STATE_FILE, {**state, "events": self._number + 1})
        if self._journal is not None:
            self._journal.close()
            self._path(self._number).unlink(missing_ok=True)
        self._number, self._journal, self.events = self._number + 1, following, 0

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()
        os.close(self._lock)

    def _path(self, number: int) -> Path:
        return self.folder / f"calls-{number}.jsonl"


def _locked(path: Path, seconds: float = 10.0) -> int:
    """Hold a lock on the file as long as this process lives; one that was just killed needs a moment to let go."""
    import fcntl

    handle = os.open(path, os.O_RDWR | os.O_CREAT)
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except OSError:
            if time.monotonic() > end:
                os.close(handle)
                raise ValueError(f"{path.parent} is in use by another process: one owner writes there") from None
            time.sleep(0.05)
