"""The records of a run's journal, each held against what its kind must have.

A checksum says that a line is as somebody wrote it, not that a run did. Whoever computes with a run's journal reads it
here; what is read here can be counted without a further look at types and ranges.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

from didact.journal import check_start, read_journal

Record = dict[str, Any]
Check = Callable[[Any], bool]

_MAX_STEP = 2**31 - 1
_MAX_WHOLE = 2**53  # numbers that a float has exactly, so that sums and pages show what stands in the journal
_MAX_NUMBER = 1e15
_MAX_NAME = 256


def read_run(path: Path) -> list[Record]:
    """The records of the run's journal at `path`, its start first.

    Raises:
        FileNotFoundError: no such file. ValueError: a damaged journal, an empty one, one of another schema or of
            something else than a run, or a record that a run does not write.
    """
    records = read_journal(path)
    if not records:
        raise ValueError(f"{path} is empty: nothing was planned yet; try again after the first step")
    check_start(path)
    for number, record in enumerate(records, start=1):
        wrong = _wrong(record, first=number == 1)
        if wrong is not None:
            raise ValueError(f"{path}, line {number}: no record of a run: {wrong}")
    return records


def is_number(value: Any) -> bool:
    """A number of a size that sums can hold."""
    return type(value) in (int, float) and abs(value) <= _MAX_NUMBER  # nan is not


def is_text(value: Any) -> bool:
    """Text that can be written: no half of a surrogate pair."""
    return isinstance(value, str) and (value.isascii() or not any("\ud800" <= sign <= "\udfff" for sign in value))


def is_plain(value: Any) -> bool:
    """Whether a page can show it: all its text can be written, and it is not nested without end."""
    try:
        return is_text(json.dumps(value, ensure_ascii=False))
    except RecursionError:
        return False


def _wrong(record: Record, first: bool) -> str | None:
    """What is wrong with a record, if anything; kinds that are not known here may hold what they like."""
    kind = record.get("kind")
    if not isinstance(kind, str) or (kind == "start" and not first):
        return f"kind is {shortened(kind)}"
    size = None
    for name, check in _KINDS.get(kind, {}).items():
        value = record.get(name)
        if not check(value):
            return f"{name} of {kind} is {shortened(value)}"
        if isinstance(value, list) and name != "passed":
            size = len(value) if size is None else size
            if len(value) != size:
                return f"{name} of {kind} has {len(value)} entries for {size} groups"
    return None


def _whole(most: int = _MAX_WHOLE, least: int = 0) -> Check:
    return lambda value: type(value) is int and least <= value <= most


def _positive(value: Any) -> bool:
    return is_number(value) and value > 0


def _share(value: Any) -> bool:
    return is_number(value) and 0 <= value <= 1


def _flag(value: Any) -> bool:
    return value is True or value is False


def _name(value: Any) -> bool:
    return is_text(value) and 1 <= len(value) <= _MAX_NAME


def _maybe(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _list(check: Check) -> Check:
    return lambda value: type(value) is list and all(map(check, value))


def _object(value: Any) -> bool:
    return isinstance(value, Mapping) and is_plain(value)


def _pool(value: Any) -> bool:
    return _object(value) and _whole()(value.get("size")) and _name(value.get("fingerprint"))


def _by_source(value: Any) -> bool:
    """Passed and judged prompts by the name of their source."""

    def counts(pair: Any) -> bool:
        return _list(_whole(_MAX_STEP))(pair) and len(pair) == 2 and bool(pair[0] <= pair[1])

    return _object(value) and all(map(counts, value.values()))


_STEP = _whole(_MAX_STEP)
_KINDS: dict[str, dict[str, Check]] = {
    "start": {"method": _name, "options": _object, "pool": _pool},
    "plan": {
        "step": _STEP,
        "groups": _list(_whole()),
        "prompts": _list(is_text),
        "rollouts": _list(_whole(_MAX_STEP)),
        "context_length": _maybe(_list(_maybe(_whole()))),
        "reasons": _maybe(_list(_name)),
        "predicted": _maybe(_list(_maybe(is_number))),
        "pool_size": _maybe(_whole()),
    },
    "outcomes": {
        "step": _STEP,
        "groups": _list(_whole()),
        "prompts": _list(is_text),
        "rewards": _list(_list(_maybe(is_number))),
        "num_tokens": _maybe(_list(_maybe(_list(_whole(_MAX_STEP))))),
        "truncated": _maybe(_list(_maybe(_list(_flag)))),
        "errored": _maybe(_list(_maybe(_list(_flag)))),
        "policy_version": _maybe(_list(_maybe(_STEP))),
        "parts": _maybe(_list(_maybe(_whole(2**63 - 1)))),
        "prompt_tokens": _maybe(_list(_maybe(_whole(_MAX_STEP)))),
        "first": _maybe(_list(_maybe(_whole(_MAX_STEP)))),
    },
    "admitted": {
        "step": _STEP,
        "groups": _list(_whole()),
        "rollouts": _list(_list(_whole(_MAX_STEP))),
        "complete": _maybe(_flag),
        "weights": _maybe(_list(_positive)),
    },
    "lost": {"group": _whole(), "rollouts": _whole(_MAX_STEP, 1), "again": _flag},
    "found": {"group": _whole(), "rollouts": _whole(_MAX_STEP, 1)},
    "evaluation": {
        "step": _STEP,
        "rollouts": _whole(),
        "tokens": _maybe(_whole()),
        "num_prompts": _whole(_MAX_STEP, 1),
        "passed": _maybe(_list(_maybe(_whole(1)))),  # null where the verifier failed
        "pass_rate": _share,
        "low": _maybe(is_number),
        "high": _maybe(is_number),
        "errors": _maybe(_whole(_MAX_STEP)),
        "by_source": _maybe(_by_source),
    },
}
