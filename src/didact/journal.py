"""The run's journal: every plan and outcome, one JSON object a line, appended and never changed.

Belief, figures and report can be derived from it. Each line begins with a checksum of the rest and its own number, so
that a line cut off by a crash is known as such, and damage in the middle and lines that are missing are refused. It
holds nothing that differs between a run and its repetition (no clock times): a resumed run's journal equals that of an
uninterrupted one, byte for byte. One process at a time has a journal open; anybody may read it meanwhile.
"""

import json
import math
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, Self, TypeVar

from didact import files
from didact.curriculum import Curriculum
from didact.listener import Listener
from didact.methods import spelling
from didact.outcomes import GroupOutcome
from didact.plan import AdmittedGroup, Plan
from didact.state import check_seal, seal

SCHEMA = 2
_START = b'{"crc":"'
_LONGEST = 1 << 28  # bytes of a line: a file without line ends must not fill the memory

C = TypeVar("C", bound=Curriculum)


class Journal:
    """An append-only file of records. Opening one that a crash cut off drops its incomplete last line.

    Args:
        path: the file; made if need be.
        seconds: to wait for another process to let go of it: one that was just killed needs a moment.

    Raises:
        ValueError: the file is damaged before its last line, is no journal, or is open in another process or another
            place of this one.
    """

    def __init__(self, path: str | os.PathLike[str], *, seconds: float = 10.0) -> None:
        self.path = Path(path)
        self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115 - held open for the life of the journal
        try:
            files.lock(self._file.fileno(), self.path, seconds=seconds)
            records, self._offset = _scan(self.path)
            self._file.truncate(self._offset)
        except BaseException:
            self._file.close()
            raise
        self._lines = len(records)

    @classmethod
    def begun(cls, path: str | os.PathLike[str], record: Mapping[str, Any]) -> "Journal":
        """A new journal, in place of what lies there; a kill leaves it with its first record, or not at all.

        Raises:
            OSError: it cannot be written.
        """
        files.write_whole(path, _encode(record, 1))
        return cls(path)

    @property
    def offset(self) -> int:
        """Bytes written so far: where a checkpoint says the journal stood."""
        return self._offset

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record and hand it to the operating system, so that a killed process loses nothing.

        Raises:
            OSError: the disk is full. ValueError, TypeError: no JSON object, or one with a "line" of its own. What was
                written before is whole, and more may be appended later.
        """
        line = _encode(record, self._lines + 1)
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[self._file.write(rest) :]
        except BaseException:
            self._file.truncate(self._offset)
            raise
        self._offset += len(line)
        self._lines += 1

    def rewind(self, offset: int) -> None:
        """Go back to where a checkpoint was taken: later records will be made again.

        Raises:
            ValueError: no record ends there, so it is not the journal that the checkpoint belongs to.
        """
        lines = self.lines_before(offset)
        self._file.truncate(offset)
        self._offset, self._lines = offset, lines

    def lines_before(self, offset: int) -> int:
        """How many records make up the first `offset` bytes; ValueError as in `rewind`."""
        if type(offset) is not int or not 0 <= offset <= self._offset:
            raise ValueError(
                f"{self.path} has {self._offset} bytes, the checkpoint was taken at {offset!r}: it is another journal"
            )
        with open(self.path, "rb") as file:
            before = file.read(offset)
        if before and not before.endswith(b"\n"):
            raise ValueError(
                f"no record of {self.path} ends at {offset}, as the checkpoint says: it is another journal"
            )
        return before.count(b"\n")

    def sync(self) -> None:
        """Make sure that everything is on disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_journal(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """All complete records, in order; an incomplete last line is left out.

    Raises:
        FileNotFoundError: no such file. ValueError: damage before the last line, or no journal.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no journal at {path}")
    return _scan(path)[0]


def check_start(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The first record of the journal at `path`, which must be a run's, and of the schema that is read here.

    Raises:
        ValueError: it is not.
    """
    with open(path, "rb") as file:
        start = _decode(file.readline(_LONGEST)) or {}
    if start.get("kind") != "start":
        raise ValueError(f"{path} has no beginning of a run: its first record is {shortened(start.get('kind'))}")
    if start.get("schema") != SCHEMA:
        given = shortened(start.get("schema"))
        raise ValueError(f"{path} has schema {given}, this version of didact reads schema {SCHEMA}")
    return start


class Recorder(Listener):
    """Writes all that a curriculum plans, hears and admits into a journal, and its metrics after each step.

    The curriculum's state remembers how long the journals were, and loading it cuts them back to that: whatever a
    killed run wrote after its last checkpoint is written again by the resumed one.

    `Curriculum.listen` raises, where it is to listen:
        ValueError: the journal is of something else than a run, or of another schema.
    """

    def __init__(self, journal: Journal, metrics: Journal | None = None) -> None:
        self.journal = journal
        self._metrics = metrics
        self._journals = {"journal": journal, **({} if metrics is None else {"metrics": metrics})}

    def begins(self, curriculum: Curriculum) -> None:
        if self.journal.offset == 0:
            pool = {"size": len(curriculum.pool), "fingerprint": curriculum.pool.fingerprint()}
            start: dict[str, Any] = {"kind": "start", "schema": SCHEMA, "method": curriculum.name}
            start |= {"options": curriculum.options, "pool": pool}
            if (made_by := spelling(curriculum.method)) != curriculum.name:
                start["made_by"] = made_by
            if curriculum.pool.given("features") is not None:  # which prompts.jsonl may leave out, see `wants_words`
                start["features"] = True
            self.journal.append(start)
        else:
            start = check_start(self.journal.path)
        self._began_with = start["pool"]["size"]

    def planned(self, curriculum: Curriculum, plan: Plan) -> None:
        record = {
            "kind": "plan",
            "step": plan.step,
            "round": plan.round,
            "groups": [group.group_id for group in plan],
            "prompts": [group.prompt_id for group in plan],
            "rollouts": [group.num_rollouts for group in plan],
            "context_length": [group.context_length for group in plan],
            "reasons": [group.reason for group in plan],
            "predicted": [group.pass_rate for group in plan],
        }
        if len(curriculum.pool) != self._began_with:
            record["pool_size"] = len(curriculum.pool)
        self.journal.append(record)

    def observed(self, curriculum: Curriculum, outcomes: Sequence[GroupOutcome], placed: Sequence[range]) -> None:
        if outcomes:
            first = [where.start if where else None for where in placed]
            record = {"kind": "outcomes", "step": curriculum.step, **_columns(outcomes), "first": first}
            self.journal.append(record)

    def lost(self, curriculum: Curriculum, group_id: int, num_rollouts: int, again: bool) -> None:
        self.journal.append({"kind": "lost", "group": group_id, "rollouts": num_rollouts, "again": again})

    def found(self, curriculum: Curriculum, group_id: int, num_rollouts: int) -> None:
        self.journal.append({"kind": "found", "group": group_id, "rollouts": num_rollouts})

    def admitted(self, curriculum: Curriculum, groups: Sequence[AdmittedGroup], before: int, complete: bool) -> None:
        new, step = groups[before:], curriculum.step
        if new or (self._metrics is not None and before == 0):
            rollouts = [list(group.rollouts) for group in new]
            ids = [group.group_id for group in new]
            record = {"kind": "admitted", "step": step, "groups": ids, "rollouts": rollouts}
            if complete:
                record["complete"] = True
            if curriculum.weighs_groups:
                record["weights"] = [group.weight for group in new]
            self.journal.append(record)
            if self._metrics is not None:
                self._metrics.append({"step": step, **curriculum.metrics()})

    def saved(self, state: dict[str, Any]) -> dict[str, Any]:
        for journal in self._journals.values():
            journal.sync()
        return seal({"curriculum": state, "offsets": {name: each.offset for name, each in self._journals.items()}})

    @contextmanager
    def loading(self, state: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        check_seal(state, "recorded curriculum", ("curriculum", "offsets"))
        offsets = state["offsets"]
        if not isinstance(offsets, Mapping) or set(offsets) != set(self._journals):
            raise ValueError(f"the state says where {offsets!r} stood, this curriculum writes {sorted(self._journals)}")
        for name, journal in self._journals.items():
            journal.lines_before(offsets[name])
        yield state["curriculum"]
        for name, journal in self._journals.items():
            journal.rewind(offsets[name])

    def close(self) -> None:
        """Let go of the journals, so that another curriculum of this process can go on with them."""
        for journal in self._journals.values():
            journal.close()


def record(curriculum: C, folder: str | os.PathLike[str]) -> C:
    """The curriculum itself, from now on with FOLDER/journal.jsonl and FOLDER/metrics.jsonl; the folder is made if
    need be. `curriculum.listener.close()` lets go of both.

    Raises:
        ValueError: the journal is damaged, of something else than a run, or open in another process; or somebody
            listens to the curriculum already.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as opened:
        journal = opened.enter_context(Journal(folder / "journal.jsonl"))
        curriculum.listen(Recorder(journal, opened.enter_context(Journal(folder / "metrics.jsonl"))))
        opened.pop_all()
    return curriculum


def RecordedCurriculum(curriculum: C, journal: Journal, metrics: Journal | None = None) -> C:
    """The curriculum itself, from now on with these journals. It was a class until it returned what it was given."""
    curriculum.listen(Recorder(journal, metrics))
    return curriculum


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


def _columns(outcomes: Sequence[GroupOutcome]) -> dict[str, Any]:
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


def _encode(record: Mapping[str, Any], number: int) -> bytes:
    if "line" in record:
        raise ValueError(f'a record has no field "line" of its own, got {record["line"]!r}: it says where it stands')
    line = _line(json.dumps({"line": number, **record}, separators=(",", ":"), allow_nan=False).encode())
    if len(line) > _LONGEST:
        raise ValueError(f"a record of {len(line)} bytes is more than a journal takes, {_LONGEST}")
    return line


def _line(body: bytes) -> bytes:
    return b'%s%08x",%s\n' % (_START, zlib.crc32(body), body[1:])


def _scan(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Complete records and the length of the file that they make up."""
    records: list[dict[str, Any]] = []
    end = 0
    with open(path, "rb") as file:
        while line := file.readline(_LONGEST):
            number = len(records) + 1
            cut_off = not line.endswith(b"\n") and len(line) < _LONGEST
            if cut_off and (records or _START.startswith(line[:8].rstrip(b"\0"))):  # some file systems leave zeros
                break
            record = _decode(line)
            where = f"{path}, line {number}"
            whole = f"the {len(records)} records before it are whole" if records else "or no journal of didact"
            if record is None:
                raise ValueError(f"{where}: damaged, {whole}")
            found = record.pop("line", None)
            if type(found) is not int:
                raise ValueError(f"{where}: it has no number, as if another version of didact had written it")
            if found != number:
                what = f"record {number} is missing" if found > number else f"record {found} is there again"
                raise ValueError(f"{where}: {what}, {whole}")
            records.append(record)
            end += len(line)
    return records, end


def _decode(line: bytes) -> dict[str, Any] | None:
    """The record of a line, its number included; None for anything else."""
    body = b"{" + line[18:-1]
    if line != _line(body):
        return None
    try:
        record: dict[str, Any] = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):  # a checksum is easily forged
        return None
    return record


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number of JSON")
