"""The run's journal: every plan and outcome, one JSON object a line, appended and never changed.

Belief, figures and report can be derived from it. Each line begins with a checksum of the rest, so that a line cut off
by a crash is known as such and damage in the middle is refused. It holds nothing that differs between a run and its
repetition (no clock times): a resumed run's journal equals that of an uninterrupted one, byte for byte.
"""

import json
import math
import os
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from didact.curriculum import Curriculum
from didact.outcomes import GroupOutcome
from didact.pass_rates import PassRates
from didact.plan import AdmittedGroup, Plan
from didact.state import check_seal, seal

SCHEMA = 1
_START = b'{"crc":"'


class Journal:
    """An append-only file of records. Opening one that a crash cut off drops its incomplete last line.

    Raises:
        ValueError: the file is damaged before its last line, or is no journal.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        end = _scan(self.path)[1] if self.path.exists() else 0
        self._file = open(self.path, "ab")  # noqa: SIM115 - held open for the life of the journal
        self.rewind(end)

    @property
    def offset(self) -> int:
        """Bytes written so far: where a checkpoint says the journal stood."""
        return self._offset

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record and hand it to the operating system, so that a killed process loses nothing.

        Raises:
            OSError: the disk is full; what was written before is whole.
        """
        line = _encode(record)
        try:
            self._file.write(line)
            self._file.flush()
        except OSError:
            self._file = open(self.path, "ab")  # noqa: SIM115 - drops what the failed buffer still holds
            self._file.truncate(self._offset)
            raise
        self._offset += len(line)

    def rewind(self, offset: int) -> None:
        """Go back to where a checkpoint was taken: later records will be made again.

        Raises:
            ValueError: the journal is shorter than that, so it is not the one the checkpoint belongs to.
        """
        size = self._file.seek(0, os.SEEK_END)
        if offset > size:
            raise ValueError(
                f"{self.path} has {size} bytes, the checkpoint was taken at {offset}: it is another journal"
            )
        self._file.truncate(offset)
        self._offset = offset

    def sync(self) -> None:
        """Make sure that everything is on disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def read_journal(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """All complete records, in order; an incomplete last line is left out.

    Raises:
        FileNotFoundError: no such file. ValueError: damage before the last line, or no journal.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no journal at {path}")
    return _scan(path)[0]


class RecordedCurriculum:
    """A curriculum that writes all it plans, hears and admits into a journal, and its metrics after each step.

    Used in place of the curriculum it wraps. Its state remembers how long the journals were, and loading it cuts them
    back to that: whatever a killed run wrote after its last checkpoint is written again by the resumed one.
    """

    def __init__(self, curriculum: Curriculum, journal: Journal, metrics: Journal | None = None) -> None:
        self.curriculum = curriculum
        self.journal = journal
        self._metrics = metrics
        if journal.offset == 0:
            pool = {"size": len(curriculum.pool), "fingerprint": curriculum.pool.fingerprint()}
            start = {"kind": "start", "schema": SCHEMA, "method": curriculum.name, "options": curriculum.options}
            journal.append({**start, "pool": pool})

    def __getattr__(self, name: str) -> Any:
        return getattr(self.curriculum, name)

    def plan(self, step: int) -> Plan:
        plan = self.curriculum.plan(step)
        if plan:
            self.journal.append(
                {
                    "kind": "plan",
                    "step": step,
                    "round": plan.round,
                    "groups": [group.group_id for group in plan],
                    "prompts": [group.prompt_id for group in plan],
                    "rollouts": [group.num_rollouts for group in plan],
                    "context_length": [group.context_length for group in plan],
                    "reasons": [group.reason for group in plan],
                    "predicted": [group.pass_rate for group in plan],
                }
            )
        return plan

    def observe(self, outcomes: Iterable[GroupOutcome]) -> list[range]:
        outcomes = list(outcomes)
        placed = self.curriculum.observe(outcomes)
        if outcomes:
            self.journal.append({"kind": "outcomes", "step": self.curriculum.step, **_columns(outcomes)})
        return placed

    def lost(self, group_id: int, num_rollouts: int, *, again: bool = False) -> None:
        self.curriculum.lost(group_id, num_rollouts, again=again)
        self.journal.append({"kind": "lost", "group": group_id, "rollouts": num_rollouts, "again": again})

    def found(self, group_id: int, num_rollouts: int) -> None:
        self.curriculum.found(group_id, num_rollouts)
        self.journal.append({"kind": "found", "group": group_id, "rollouts": num_rollouts})

    def admitted(self, step: int, *, complete: bool = False) -> list[AdmittedGroup]:
        before = self.curriculum.num_admitted
        groups = self.curriculum.admitted(step, complete=complete)
        new = groups[before:]
        if new or (self._metrics is not None and before == 0):
            rollouts = [list(group.rollouts) for group in new]
            ids = [group.group_id for group in new]
            rule = {"complete": True} if complete else {}
            self.journal.append({"kind": "admitted", "step": step, "groups": ids, "rollouts": rollouts, **rule})
            if self._metrics is not None:
                self._metrics.append({"step": step, **self.curriculum.metrics()})
        return groups

    def pass_rates(self) -> PassRates:
        return self.curriculum.pass_rates()

    def metrics(self) -> dict[str, float]:
        return self.curriculum.metrics()

    def state_dict(self) -> dict[str, Any]:
        offsets = {"journal": self.journal.offset}
        self.journal.sync()
        if self._metrics is not None:
            self._metrics.sync()
            offsets["metrics"] = self._metrics.offset
        return seal({"curriculum": self.curriculum.state_dict(), "offsets": offsets})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        check_seal(state, "recorded curriculum", ("curriculum", "offsets"))
        self.curriculum.load_state_dict(state["curriculum"])
        self.journal.rewind(state["offsets"]["journal"])
        if self._metrics is not None:
            self._metrics.rewind(state["offsets"]["metrics"])


def outcomes_of(record: Mapping[str, Any]) -> list[GroupOutcome]:
    """The outcomes in a record of kind "outcomes"."""
    columns = (
        "groups",
        "prompts",
        "rewards",
        "num_tokens",
        "truncated",
        "errored",
        "policy_version",
        "parts",
        "prompt_tokens",
    )
    rows = (record.get(name) or [None] * len(record["groups"]) for name in columns)
    return [GroupOutcome(*row) for row in zip(*rows, strict=True)]


def _columns(outcomes: list[GroupOutcome]) -> dict[str, Any]:
    def column(name: str) -> list[Any] | None:
        values = [getattr(outcome, name) for outcome in outcomes]
        return None if all(value is None for value in values) else values

    rewards = [[reward if math.isfinite(reward) else None for reward in outcome.rewards] for outcome in outcomes]
    return {
        "groups": [outcome.group_id for outcome in outcomes],
        "prompts": [outcome.prompt_id for outcome in outcomes],
        "rewards": rewards,
        "num_tokens": column("num_tokens"),
        "truncated": column("truncated"),
        "errored": column("errored"),
        "policy_version": column("policy_version"),
        "parts": column("part"),
        "prompt_tokens": column("prompt_tokens"),
    }


def _encode(record: Mapping[str, Any]) -> bytes:
    return _line(json.dumps(record, separators=(",", ":"), allow_nan=False).encode())


def _line(body: bytes) -> bytes:
    return b'%s%08x",%s\n' % (_START, zlib.crc32(body), body[1:])


def _scan(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Complete records and the length of the file that they make up."""
    records: list[dict[str, Any]] = []
    end = 0
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            body = b"{" + line[18:-1]
            cut_off = not line.endswith(b"\n")
            if cut_off and (records or _START.startswith(line[:8].rstrip(b"\0"))):  # some file systems leave zeros
                break
            if cut_off or line != _line(body):
                whole = f"the {len(records)} records before it are whole" if records else "or no journal of didact"
                raise ValueError(f"{path}, line {number}: damaged, {whole}")
            records.append(json.loads(body))
            end += len(line)
    return records, end
