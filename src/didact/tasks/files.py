"""Prompts and gold answers from files as people have them, or from a data set on the Hugging Face hub.

Columns are named or guessed (docs/data.md has the order); a dotted name reaches into objects, "extra_info.level".
A prompt is text or a list of messages. Without an id column the id is a hash of the prompt's text, so the same text has
the same id in every file, process and machine.

Rows are kept as they are read or dropped and counted, never changed silently: a row without prompt or answer is
dropped; of rows with the same text (up to white space), over all files, the first is kept. Numbers become text without
loss (142.0 is "142"), and a list of accepted answers becomes a JSON list (one answer: that answer).

What this does not do: read files (`didact.tasks.rows`), judge answers (`Task.verifiable`).
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from hashlib import blake2b
from numbers import Integral, Real
from pathlib import Path
from sys import intern
from typing import Any, Final, TypeVar

from didact.naming import nearest
from didact.tasks.messages import CONVERSATION_COLUMNS, conversation_in, messages_of
from didact.tasks.rows import Row, Table, tables, written_out
from didact.tasks.task import Example

#: Usual names, the first of which that is there is taken, whatever its case.
PROMPT_COLUMNS: Final = ("prompt", "problem", "question", *CONVERSATION_COLUMNS, "instruction", "query", "input")
ANSWER_COLUMNS: Final = (
    *("reward_model.ground_truth", "answer", "ground_truth", "gold_answer", "final_answer", "expected_answer"),
    *("correct_answer", "reference_answer", "gold", "target", "label", "solution", "output"),
)
ID_COLUMNS: Final = ("prompt_id", "id", "extra_info.index")
SOURCE_COLUMNS: Final = ("data_source",)
DIFFICULTY_COLUMNS: Final = ("difficulty",)
#: What a person expects; any other is said.
_PLAIN: Final = {"prompt", "problem", "question", "reward_model.ground_truth", "answer", *ID_COLUMNS, *SOURCE_COLUMNS}
_PLURAL: Final = {"prompt": "prompts", "answer": "answers", "id": "ids", "difficulty": "difficulties"}
#: What may belong to a prompt without being in it.
_BESIDE: Final = ("system", "system_prompt", "choices", "options", "context", "passage")
#: No text model can be trained on these.
_MEDIA: Final = ("image", "images", "video", "videos", "audio", "audios")


T = TypeVar("T")


class MissingColumn(ValueError):
    """A file has no column of the name that was given."""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What became of the rows of all files.

    Attributes:
        rows: rows in the files.
        dropped_missing: rows without a prompt or without an answer.
        dropped_duplicates: rows whose prompt stood in an earlier row.
        conflicting_answers: how many of these duplicates had another answer than the row that was kept.
        notes: what else a person should be told, one line each: columns that were guessed, ids that were not used.
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
    """Examples of files, folders, globs, or of `split` and `config` of the hub data set ``org/name``, in their order.

    Args:
        paths: one or several, read one after the other; a text that several have counts as one prompt.
        source: the label of all examples, where no `source_column` says another.

    Raises:
        FileNotFoundError: there is no such file, or the hub cannot deliver the data set.
        ValueError: an empty, truncated or foreign file; a column that is missing or holds something else than is
            expected there, by row; images; a named id used twice.
    """
    listed = [paths] if isinstance(paths, str | Path) else list(paths)
    if not listed or "" in listed:
        raise ValueError("no file of prompts was given; expected at least one")
    named = {
        "prompt": prompt_column,
        "answer": answer_column,
        "id": id_column,
        "source": source_column,
        "difficulty": difficulty_column,
        "pass_rate": pass_rate_column,
    }
    loading = _Loading(named, source)
    for path in listed:
        loading.add(path, tables(path, split, config))
    return loading.result(f"{listed[0]}{f' and {len(listed) - 1} more' if len(listed) > 1 else ''}")


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
        place = int(_hash(f"{seed}/{_key(example.prompt)}"), 16) / 2**64
        sides[place < fraction].append(example)
    if not all(sides):
        raise ValueError(
            f"{fraction} of {len(examples)} prompts would hold out {len(sides[1])} of them; expected at least one on "
            "each side: use another fraction, or more prompts"
        )
    return sides


def drawn(examples: Sequence[Example], num: int | None, seed: int) -> list[Example]:
    """`num` of the examples, drawn by `seed` and in an order of their own; all of them, in order, where num is None.

    Each example's place depends on its id and the seed alone: the first k of a longer draw are the draw of k.
    """
    if num is None:
        return list(examples)
    if not 0 < num <= len(examples):
        raise ValueError(f"{num} examples asked for; expected from 1 to {len(examples)}, which is all there are")
    return sorted(examples, key=lambda example: _hash(f"{seed}/{example.prompt_id}"))[:num]


@dataclass
class _Loading:
    """What was read so far."""

    named: Mapping[str, str | None]
    source: str | None
    kept: dict[bytes, Example] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    notes: dict[str, None] = field(default_factory=dict)  # in order, none twice
    unread: dict[str, str] = field(default_factory=dict)  # what guessed columns hold instead of an id or a number

    def add(self, path: str | Path, found: Sequence[Table]) -> None:
        """Take in the files of one path."""
        before, usable = self.counts["rows"], False
        said: Counter[str] = Counter()
        columns: dict[str, str | None] = {}
        for table in found:
            if not table.columns:
                continue
            columns = self._columns(table, said)
            media = [name for name in table.columns if name.lower() in _MEDIA]
            wanted = [name for name in (*columns.values(), *media) if name]
            for number, row in enumerate(table.rows(wanted), 1):
                where = f"{table.name}, row {number}"
                self.counts["rows"] += 1
                _refuse_media(row, media, where)
                usable |= self._take(row, columns, table.label, where)
        for text, times in said.items():
            self._note(f"{path}: {text}" + (f", in {times} of {len(found)} files" if times < len(found) else ""))
        if (num := self.counts["rows"] - before) == 0:
            raise ValueError(f"{path}: the file holds no rows; expected at least one prompt with its answer")
        if not usable:
            raise ValueError(
                f"{path}: none of its {num} rows has both {columns['prompt']!r} and {columns['answer']!r}; "
                f"{_flag('prompt')} and {_flag('answer')} name other columns"
            )

    def result(self, what: str) -> tuple[list[Example], LoadReport]:
        """All that was kept, and what was not; `what` is read, in a message."""
        examples, counts = list(self.kept.values()), self.counts
        ids = Counter(example.prompt_id for example in examples)
        if len(ids) < len(examples):
            twice, times = ids.most_common(1)[0]
            self.unread["id"] = f"{what}: the id {twice!r} stands for {times} prompts of different texts"
            if column := self.named["id"]:
                raise ValueError(
                    f"{self.unread['id']} in column {column!r}; name a column of unique ids with {_flag('id')}, or "
                    "none: ids are then hashes of the texts"
                )
        if "id" in self.unread:
            self._note(f"{self.unread['id']}; no id column is used, ids are hashes of the texts")
            examples = [replace(example, prompt_id=_hash(_key(example.prompt))) for example in examples]
        if "difficulty" in self.unread:
            self._note(f"{self.unread['difficulty']}; no difficulty is used")
            examples = [replace(example, difficulty=None) for example in examples]
        if "source" in self.unread:
            self._note(f"{self.unread['source']}; the source is the file's name there")
        if num := counts["answered"]:
            self._note(f"{what}: {num:,} conversations end with an assistant's message, which is left out")
        if num := counts["other keys"]:
            self._note(f"{what}: of {num:,} conversations only role and content are used, no other key")
        dropped = counts["missing"], counts["duplicates"], counts["conflicts"]
        return examples, LoadReport(counts["rows"], *dropped, notes=tuple(self.notes))

    def _note(self, text: str) -> None:
        self.notes[text] = None

    def _take(self, row: Row, columns: Mapping[str, str | None], label: str, where: str) -> bool:
        """Keep the example of a row, or count why not; whether it has a prompt and an answer."""
        cells = {what: None if name is None else _cell(row, name, where) for what, name in columns.items()}
        prompt, messages = self._prompt(cells["prompt"], where, str(columns["prompt"]))
        answer = _text(cells["answer"], where, columns["answer"], listed=True)
        if prompt is None or answer is None:
            self.counts["missing"] += 1
            return False
        key = _key(prompt)
        digest = blake2b(key.encode(), digest_size=16).digest()  # a text kept twice would double the memory
        if digest in self.kept:
            self.counts["duplicates"] += 1
            self.counts["conflicts"] += self.kept[digest].answer != answer
            return True
        prompt_id = self._unless_unread("id", _text, cells["id"], where, columns["id"])
        if prompt_id is None and self.named["id"]:
            raise ValueError(f"{where}: {columns['id']!r} is empty; expected an id in every row, or no {_flag('id')}")
        self.kept[digest] = Example(
            prompt_id=_hash(key) if prompt_id is None else prompt_id,
            prompt=prompt,
            answer=answer,
            source=intern(
                self._unless_unread("source", _text, cells["source"], where, columns["source"]) or self.source or label
            ),
            difficulty=self._unless_unread("difficulty", _number, cells["difficulty"], where, columns["difficulty"]),
            messages=tuple(messages),
            pass_rate=_pass_rate(cells["pass_rate"], where, columns["pass_rate"]),
        )
        return True

    def _prompt(self, value: Any, where: str, column: str) -> tuple[str | None, list[dict[str, str]]]:
        """A prompt's text, and the messages it was made of."""
        at = f"{where}: {column!r}"
        conversation = conversation_in(value, at)
        if conversation is None:
            if isinstance(value, list) and len(value) == 1:
                value = value[0]
            return _text(value, where, column), []
        messages, others = messages_of(conversation, at)
        end = len(messages)
        while end and messages[end - 1]["role"] == "assistant":
            end -= 1
        if end < len(messages):
            if column.rpartition(".")[2].lower() not in CONVERSATION_COLUMNS:
                raise ValueError(f"{at} ends with a message of the assistant; expected one that waits for a response")
            self.counts["answered"] += 1
        self.counts["other keys"] += bool(others)
        texts = [_text(message["content"], where, column) for message in messages[:end]]
        return "\n\n".join(filter(None, texts)) or None, messages[:end]

    def _unless_unread(self, what: str, read: Callable[..., T | None], *cell: Any) -> T | None:
        """What `read` makes of a cell; None where a column that nobody named holds something else."""
        try:
            return read(*cell)
        except ValueError as error:
            if self.named[what]:
                raise
            self.unread.setdefault(what, str(error))
            return None

    def _columns(self, table: Table, said: Counter[str]) -> dict[str, str | None]:
        """Which columns of a file are read, by what they are; what is not obvious is counted in `said`."""
        usual: dict[str, Sequence[str]] = {
            "prompt": PROMPT_COLUMNS,
            "answer": ANSWER_COLUMNS,
            "id": ID_COLUMNS,
            "source": () if self.source else SOURCE_COLUMNS,
            "difficulty": DIFFICULTY_COLUMNS,
            "pass_rate": (),  # what a pass rate is of, only a person knows
        }
        columns: dict[str, str | None] = {}
        for what, name in self.named.items():
            if name is not None:
                columns[what] = _named(table, what, name)
                continue
            found = [column for column in _present(table, usual[what]) if column not in self.named.values()]
            columns[what] = found[0] if found else None
            if not found and what in ("prompt", "answer"):
                raise ValueError(_no_column(table, f"{what} column ({', '.join(usual[what])})") + _how(what))
            if found and (len(found) > 1 or found[0].strip().lower() not in _PLAIN):
                instead = f", not from {', '.join(map(repr, found[1:]))}" if found[1:] else ""
                said[f"{_PLURAL[what]} are read from {found[0]!r}{instead} ({_flag(what)} names another)"] += 1
        for column in table.columns:
            if column.lower() in _BESIDE and column not in self.named.values():
                said[f"{column!r} is not read; what a prompt needs must be in its text or its messages"] += 1
        if self.named["prompt"] is None and str(columns["prompt"]).lower() == "instruction":
            _refuse_two_parts(table, str(columns["prompt"]))
        return columns


def _flag(what: str) -> str:
    """What names a column, on the command line of `didact train`."""
    return f"--{what.replace('_', '-')}-column"


def _how(what: str) -> str:
    return f"; name it with {_flag(what)} ({what}_column= in Python)"


def _no_column(table: Table, what: str) -> str:
    known = ", ".join(table.columns[:40]) + (", ..." if len(table.columns) > 40 else "")
    return f"{table.name}: there is no {what}; the columns are {known}"


def _named(table: Table, what: str, name: str) -> str:
    if _is_in(table, name):
        return name
    raise MissingColumn(_no_column(table, f"column {name!r}") + (nearest(name, table.columns) or _how(what)))


def _present(table: Table, usual: Sequence[str]) -> Iterator[str]:
    """Those of the usual names that the file has, as it spells them."""
    folded = {column.strip().lower(): column for column in reversed(table.columns)}
    for name in usual:
        if name in folded:
            yield folded[name]
        elif _is_in(table, name):
            yield name


def _is_in(table: Table, name: str) -> bool:
    """Whether there is such a column, perhaps within objects that are written out as text."""
    if name in table.columns:
        return True
    root, _, rest = name.partition(".")
    if root == name or root not in table.columns:
        return False
    held = next((row[root] for row in table.rows([root]) if row.get(root)), None)
    within = written_out(held) if isinstance(held, str) else None
    return isinstance(within, Mapping) and _cell(within, rest, table.name) is not None


def _refuse_two_parts(table: Table, column: str) -> None:
    """Data in the manner of Alpaca asks half of its question in another column."""
    for other in (name for name in table.columns if name.lower() == "input"):
        for number, row in enumerate(table.rows([other]), 1):
            if row.get(other):
                raise ValueError(
                    f"{table.name}, row {number}: the prompt lies in two columns, {column!r} and {other!r}; join them, "
                    f"or name the one that is the whole prompt with {_flag('prompt')}"
                )


def _refuse_media(row: Row, media: Sequence[str], where: str) -> None:
    for name in media:
        if _holds(row.get(name)):
            raise ValueError(
                f"{where}: {name!r} holds something, and only text is trained on; choose prompts without it, or take "
                "the column out where the text says it all"
            )


def _holds(value: Any) -> bool:
    return any(map(_holds, value.values())) if isinstance(value, Mapping) else value not in (None, "", b"", [])


def _cell(row: Mapping[str, Any], name: str, where: str) -> Any:
    """What a row holds under a name, which may reach into objects; None where there is nothing."""
    if name in row:
        return row[name]
    first, dot, rest = name.partition(".")
    held = row.get(first)
    if not dot or held is None or held == "":
        return None
    within = written_out(held) if isinstance(held, str) else held
    if not isinstance(within, Mapping):
        raise ValueError(f"{where}: {first!r} holds {held!r:.60}; expected an object with {rest!r}")
    return _cell(within, rest, where)


def _text(value: Any, where: str, column: str | None, *, listed: bool = False) -> str | None:
    """A cell as text; None where there is nothing in it."""
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            raise ValueError(f"{where}: {column!r} holds bytes that are no text in UTF-8") from None
    if value is None:
        return None
    if isinstance(value, str):
        return _whole(value, where, column).strip() or None
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Decimal):
        digits = format(value, "f")
        return None if value.is_nan() else digits.rstrip("0").rstrip(".") if "." in digits else digits
    if isinstance(value, Real):
        number = float(value)
        return None if math.isnan(number) else str(int(number)) if number.is_integer() else repr(number)
    if listed and isinstance(value, list):
        forms = [form for item in value if (form := _text(item, where, column)) is not None]
        return json.dumps(forms, ensure_ascii=False) if len(forms) > 1 else forms[0] if forms else None
    hint = ""
    if isinstance(value, Mapping) and value:
        hint = f"; name one of its keys, as {f'{column}.{next(iter(value))}'!r}"
    expected = "text, a number or a list of these" if listed else "text or a number"
    raise ValueError(f"{where}: {column!r} holds a {type(value).__name__}; expected {expected}{hint}")


def _whole(text: str, where: str, column: str | None) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{where}: {column!r} has half of a character, {text[error.start]!a}, at place {error.start + 1}, which no "
            "tokenizer takes; delete it, or write '\\ufffd' in its place"
        ) from None
    return text


def _number(value: Any, where: str, column: str | None) -> float | None:
    """A cell as a finite number; None where there is nothing in it."""
    try:
        number = math.nan if value is None or value == "" else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.inf
    if isinstance(value, bool) or math.isinf(number):
        raise ValueError(f"{where}: {column!r} holds {value!r:.60}; expected a number")
    return None if math.isnan(number) else number


def _pass_rate(value: Any, where: str, column: str | None) -> float | None:
    number = _number(value, where, column)
    if number is not None and not 0 <= number <= 1:
        raise ValueError(f"{where}: {column!r} holds {value!r:.60}; expected a pass rate from 0 to 1, not per cent")
    return number


def _key(text: str) -> str:
    """The same for texts that differ in white space alone."""
    return " ".join(text.split())


def _hash(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
