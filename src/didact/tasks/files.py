"""Prompts and gold answers from a local parquet, jsonl, json or csv file, or from a data set on the Hugging Face hub.

Columns are named or guessed: the prompt is ``prompt``, ``problem`` or ``question``; the gold answer is ``answer`` or
``solution``; the id, where there is one, is ``prompt_id`` or ``id``. Without an id column the id is a hash of the
prompt's text, so the same text has the same id in every file, process and machine.

Rows are kept as they are read or dropped and counted, never changed silently: a row without prompt or answer is
dropped; of rows with the same text (up to white space) the first is kept. Numbers become text without loss (142.0 is
"142"), and a list of accepted answers becomes a JSON list (one answer: that answer).

What this does not do: judge answers (`Task.verifiable`), or read csv with guessed types ("025" stays "025").
"""

import csv
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from didact.extras import how_to_install
from didact.tasks.task import Example

PROMPT_COLUMNS: Final = ("prompt", "problem", "question")
ANSWER_COLUMNS: Final = ("answer", "solution")
ID_COLUMNS: Final = ("prompt_id", "id")

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What became of the rows of a file.

    Attributes:
        rows: rows in the file.
        dropped_missing: rows without a prompt or without an answer.
        dropped_duplicates: rows whose prompt stood in an earlier row.
        conflicting_answers: how many of these duplicates had another answer than the row that was kept.
        notes: what else a person should be told, one line each.
    """

    rows: int
    dropped_missing: int
    dropped_duplicates: int
    conflicting_answers: int
    notes: tuple[str, ...] = ()


def load_examples(
    paths: str | Path | Sequence[str | Path],
    *,
    split: str = "train",
    config: str | None = None,
    source: str | None = None,
    prompt_column: str | None = None,
    answer_column: str | None = None,
    id_column: str | None = None,
    source_column: str | None = None,
    difficulty_column: str | None = None,
    pass_rate_column: str | None = None,
) -> tuple[list[Example], LoadReport]:
    """Examples of a local file, or of `split` and `config` of the hub data set ``org/name``, in their order.

    Raises:
        FileNotFoundError: there is no such file, or the hub cannot deliver the data set.
        ValueError: an empty, truncated or foreign file; a column that is missing or holds something else than text,
            numbers or lists of these; an id used twice.
    """
    if not isinstance(paths, str | Path) or source_column or pass_rate_column:
        raise NotImplementedError("several paths, source_column and pass_rate_column: on their way")
    path = paths
    rows = _rows(path, split, config)
    if not rows:
        raise ValueError(f"{path}: the file holds no rows; expected at least one prompt with its answer")
    columns = list(dict.fromkeys(column for row in rows for column in row))
    prompts = _column(path, columns, prompt_column, PROMPT_COLUMNS, "prompt")
    answers = _column(path, columns, answer_column, ANSWER_COLUMNS, "answer")
    ids = id_column or next((column for column in ID_COLUMNS if column in columns), None)
    for column in (ids, difficulty_column):
        if column is not None:
            _column(path, columns, column, (), "named")
    label = source if source is not None else _label(path)

    kept: dict[str, Example] = {}
    missing = duplicates = conflicts = 0
    for number, row in enumerate(rows, start=1):
        where = f"{path}, row {number}"
        prompt, answer = _text(row.get(prompts), where, prompts), _text(row.get(answers), where, answers)
        if prompt is None or answer is None:
            missing += 1
            continue
        key = " ".join(prompt.split())
        if key in kept:
            duplicates += 1
            conflicts += kept[key].answer != answer
            continue
        prompt_id = _text(row.get(ids), where, ids) if ids else None
        kept[key] = Example(
            prompt_id=_hash(key) if prompt_id is None else prompt_id,
            prompt=prompt,
            answer=answer,
            source=label,
            difficulty=_number(row.get(difficulty_column), where, difficulty_column) if difficulty_column else None,
        )
    examples = list(kept.values())
    if not examples:
        raise ValueError(f"{path}: none of its {len(rows)} rows has both {prompts!r} and {answers!r}")
    _check_unique(path, ids, examples)
    return examples, LoadReport(len(rows), missing, duplicates, conflicts)


def drawn(examples: Sequence[Example], num: int | None, seed: int) -> list[Example]:
    """`num` of the examples, drawn by `seed` and in an order of their own; all of them, in order, where num is None.

    Each example's place depends on its id and the seed alone: the first k of a longer draw are the draw of k.
    """
    if num is None:
        return list(examples)
    if not 0 < num <= len(examples):
        raise ValueError(f"{num} examples asked for; expected from 1 to {len(examples)}, which is all there are")
    return sorted(examples, key=lambda example: _hash(f"{seed}/{example.prompt_id}"))[:num]


def split_off(examples: Sequence[Example], fraction: float, seed: int) -> tuple[list[Example], list[Example]]:
    """Training prompts and held-out ones, about `fraction` of them, each in their order.

    A prompt's side depends on its text (up to white space) and the seed alone: the same text is never on both sides.

    Raises:
        ValueError: a fraction that is not between 0 and 1, or too few examples to have one on each side.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"the fraction to hold out is {fraction}; expected a number between 0 and 1, such as 0.1")
    sides: tuple[list[Example], list[Example]] = ([], [])
    for example in examples:
        place = int(_hash(f"{seed}/{' '.join(example.prompt.split())}"), 16) / 2**64
        sides[place < fraction].append(example)
    if not all(sides):
        raise ValueError(
            f"{fraction} of {len(examples)} prompts would hold out {len(sides[1])}; expected at least one on each side: "
            "use another fraction or more prompts"
        )
    return sides


def _rows(path: str | Path, split: str, config: str | None) -> list[Row]:
    file = Path(path).expanduser()
    reader = _READERS.get(file.suffix.lower())
    if not file.exists() and reader is None and re.fullmatch(r"[\w.-]+/[\w.-]+", str(path)):
        return _from_hub(str(path), split, config)
    if not file.is_file():
        raise FileNotFoundError(f"{path}: {_what_instead(file)}")
    if reader is None:
        raise ValueError(f"{path}: the name ends in {file.suffix!r}; expected one of {', '.join(_READERS)}")
    if file.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty")
    try:
        return reader(file)
    except (ValueError, OSError, csv.Error) as error:  # pyarrow's and json's errors are ValueError or OSError
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path}: not a readable {file.suffix[1:]} file, or cut off ({reason})") from error


def _what_instead(file: Path) -> str:
    if file.is_dir():
        names = sorted(entry.name for entry in file.iterdir() if entry.suffix.lower() in _READERS)
        return f"a folder; expected a file{', such as ' + names[0] if names else ''}"
    neighbours = [entry.name for entry in file.parent.iterdir()] if file.parent.is_dir() else []
    near = get_close_matches(file.name, neighbours, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"no such file{hint} (a data set on the hub is written 'org/name')"


def _from_parquet(file: Path) -> list[Row]:
    import pyarrow.parquet

    rows: list[Row] = pyarrow.parquet.read_table(file).to_pylist()
    return rows


def _from_jsonl(file: Path) -> list[Row]:
    with file.open(encoding="utf-8") as lines:
        return list(_objects((number, _parsed(number, line)) for number, line in enumerate(lines, 1) if line.strip()))


def _parsed(number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {number}, column {error.colno}: {error.msg}") from None


def _from_json(file: Path) -> list[Row]:
    content = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(content, list):
        raise ValueError(f"it holds a {type(content).__name__}; expected a list of objects, or one per line in .jsonl")
    return list(_objects(enumerate(content, 1)))


def _objects(values: Iterable[tuple[int, Any]]) -> Iterator[Row]:
    for number, value in values:
        if not isinstance(value, dict):
            raise ValueError(f"entry {number} is a {type(value).__name__}; expected an object with named columns")
        yield value


def _from_csv(file: Path) -> list[Row]:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        rows = list(csv.DictReader(lines, strict=True))
    if any(None in row for row in rows):
        raise ValueError("a row has more fields than the header")
    return rows


def _from_hub(name: str, split: str, config: str | None) -> list[Row]:
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise ImportError(f"{name!r} on the hub needs datasets; {how_to_install('tasks')}") from error
    try:
        return [dict(row) for row in load_dataset(name, config, split=split)]
    except (OSError, ValueError) as error:  # the library's own errors are one or the other
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FileNotFoundError(
            f"the hub did not deliver {name!r}, split {split!r} ({reason}); expected a public data set, or a local file"
        ) from error


_READERS: Final = {".parquet": _from_parquet, ".jsonl": _from_jsonl, ".json": _from_json, ".csv": _from_csv}


def _column(path: str | Path, columns: list[str], named: str | None, usual: Sequence[str], what: str) -> str:
    if named is None:
        for column in usual:
            if column in columns:
                return column
    elif named in columns:
        return named
    near = get_close_matches(named, columns, 1) if named else []
    wanted = f"column {named!r}" if named else f"{what} column ({', '.join(usual)})"
    hint = f"; did you mean {near[0]!r}?" if near else f"; name it with {what}_column" if named is None else ""
    raise ValueError(f"{path}: there is no {wanted}; the columns are {', '.join(map(str, columns))}{hint}")


def _text(value: Any, where: str, column: str | None) -> str | None:
    """A cell as text; None where there is nothing in it."""
    if value is None or isinstance(value, str):
        return value.strip() or None if value else None
    if isinstance(value, bool | int):
        return str(value)
    if isinstance(value, float):
        return None if math.isnan(value) else str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, list | tuple) and not any(isinstance(item, dict | list) for item in value):
        forms = [form for item in value if (form := _text(item, where, column)) is not None]
        return json.dumps(forms, ensure_ascii=False) if len(forms) > 1 else forms[0] if forms else None
    raise ValueError(f"{where}: {column!r} holds a {type(value).__name__}; expected text, a number or a list of these")


def _number(value: Any, where: str, column: str) -> float | None:
    if value is None or value == "":
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{where}: {column!r} holds {value!r}; expected a number") from None


def _check_unique(path: str | Path, column: str | None, examples: Sequence[Example]) -> None:
    seen: set[str] = set()
    for example in examples:
        if example.prompt_id in seen:
            raise ValueError(f"{path}: the id {example.prompt_id!r} in column {column!r} stands for two prompts")
        seen.add(example.prompt_id)


def _label(path: str | Path) -> str:
    return Path(path).stem


def _hash(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
