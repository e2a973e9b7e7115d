"""Rows out of files: parquet, arrow, jsonl, json, csv and tsv, folders and globs of them, saved data sets, and the hub.

A `Table` is one file. It knows its columns before it is asked for rows, and reads rows as they are iterated, again for
each iteration: what nobody asked for (long solutions, images) is not decoded, and a file need not fit in memory, a
`.json` file that is one list excepted. Text may be compressed (.gz, .bz2, .xz, .zst) or begin with a byte order mark.

What this does not do: run code that comes with a data set, load pickles, guess the types of csv fields.
"""

import ast
import bz2
import csv
import glob
import gzip
import io
import json
import lzma
import re
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TextIO

from didact.extras import how_to_install
from didact.naming import nearest

Row = dict[str, Any]
Read = Callable[[Collection[str] | None], Iterator[Row]]

_BATCH: Final = 256  # rows decoded at a time
_LONGEST_FIELD: Final = 2**31 - 1  # of csv; Python's own limit is 131,072 characters
#: What the libraries raise at damaged files; pyarrow's and json's own errors derive from one of the built-in ones.
_ERRORS: Final = (
    *(ValueError, OSError, EOFError, RuntimeError, LookupError, TypeError, OverflowError, MemoryError),
    *(csv.Error, zlib.error, lzma.LZMAError),
)
_LFS: Final = b"version https://git-lfs"
#: What may lie beside the files of a data set and is none of them.
_METADATA: Final = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}
#: Words in names of files and folders that say which split they hold.
_SPLITS: Final = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "eval"), "validation"),
}


@dataclass(frozen=True)
class Table:
    """One file, or one split of a data set.

    Attributes:
        name: what to call it in a message.
        label: a short name for what it holds, without the number of a shard.
        columns: all of them; what lies in an object has a dotted name as well, "reward_model.ground_truth".
    """

    name: str
    label: str
    columns: tuple[str, ...]
    kind: str
    read: Read

    def rows(self, columns: Collection[str] | None = None) -> Iterator[Row]:
        """The rows, with at least these columns (None: all), those of whole objects where a dotted name is given.

        Raises:
            ValueError: the file is damaged.
        """
        with _readable(self.name, self.kind):
            yield from self.read(columns)


def tables(path: str | Path, split: str = "train", config: str | None = None) -> list[Table]:
    """The files of a path: a file, a folder, a glob, or the name ``org/name`` of a data set on the hub.

    A folder is a data set saved by `datasets` (of several splits, `split` is taken), or holds files of one kind, at any
    depth, read in the order of their names. Where these names tell splits apart, those of `split` are taken.

    Raises:
        FileNotFoundError: there is nothing of that name, or the hub cannot deliver the data set.
        ValueError: a file of an unknown kind, an empty or damaged one; a folder of which it is not clear what to read.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        return _of_folder(file, split)
    if file.is_file():
        return [_of_file(file)]
    if re.search(r"[*?\[]", str(path)):
        found = [Path(each) for each in sorted(glob.glob(str(file), recursive=True)) if Path(each).is_file()]
        if not found:
            raise FileNotFoundError(f"{path}: no file matches; {_what_is_in(file.parent)}")
        return [_of_file(each) for each in found]
    if _kind(file) is None and re.fullmatch(r"[\w.-]+/[\w.-]+", str(path)):
        return [_of_hub(str(path), split, config)]
    hint = nearest(file.name, [each.name for each in _entries(file.parent)])
    raise FileNotFoundError(f"{path}: no such file{hint} (a data set on the hub is written 'org/name')")


def read_rows(path: str | Path) -> list[Row]:
    """All rows of a path, with all columns. Raises what `tables` and `Table.rows` raise."""
    return [row for table in tables(path) for row in table.rows()]


def written_out(text: str) -> Any:
    """The value of a cell that somebody wrote as JSON or as Python shows it; None where it is neither."""
    for read in (json.loads, ast.literal_eval):  # which reads values and runs nothing
        try:
            return read(text.strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    return None


def _of_file(file: Path) -> Table:
    kind = _kind(file)
    if kind is None:
        known = f"{', '.join(_READERS)} (text also with {', '.join(_COMPRESSED)} behind)"
        raise ValueError(f"{file}: the name ends in {file.suffix!r}; expected one of {known}")
    if file.stat().st_size == 0:
        raise ValueError(f"{file}: the file is empty")
    with _readable(str(file), kind):
        with file.open("rb") as start:
            if start.read(len(_LFS)) == _LFS:
                raise ValueError("it only points to a file that Git LFS keeps; fetch that with 'git lfs pull'")
        columns, read = _READERS["." + kind](file)
    bare = Path(file.stem) if file.suffix.lower() in _COMPRESSED else file
    return Table(str(file), re.sub(r"-\d+-of-\d+$", "", bare.stem), columns, kind, read)


def _kind(file: Path) -> str | None:
    """The kind of a file by its name, without a dot; None where it is unknown."""
    suffixes = [suffix.lower() for suffix in file.suffixes[-2:]]
    compressed = bool(suffixes) and suffixes[-1] in _COMPRESSED
    suffix = "".join(suffixes[-2:-1] if compressed else suffixes[-1:])
    if suffix not in _READERS or (compressed and suffix in (".parquet", ".arrow", ".feather")):
        return None
    return suffix[1:]


def _of_folder(folder: Path, split: str) -> list[Table]:
    if (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file():
        return [_saved(folder, split)]
    files = [
        file
        for file in sorted(folder.rglob("*"))
        if _kind(file) and file.is_file() and file.name not in _METADATA
        if not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]
    if not files:
        raise ValueError(f"{folder}: a folder without files to read; {_what_is_in(folder)}")
    kinds = sorted({str(_kind(file)) for file in files})
    if len(kinds) > 1:
        raise ValueError(
            f"{folder}: a folder with files of the kinds {', '.join(kinds)}; expected one kind: name the files that "
            f"you mean, as {str(files[0])!r}, or a glob in quotes"
        )
    return [replace(_of_file(file), label=folder.resolve().name) for file in _of_split(folder, files, split)]


def _of_split(folder: Path, files: list[Path], split: str) -> list[Path]:
    """The files of a folder that hold `split`; all of them where the names do not tell splits apart."""
    held = {file: _split_in(file.relative_to(folder)) for file in files}
    known = {each for each in held.values() if each}
    if known <= {split}:
        return files
    unclear = next((file.name for file, each in held.items() if each is None), None)
    if unclear or split not in known:
        why = f"nothing says what {unclear!r} holds" if unclear else f"not {split}"
        raise ValueError(
            f"{folder}: by their names its files hold {', '.join(sorted(known))}, and {why}; name the files that you "
            f"mean, as {str(files[0])!r}, or a glob in quotes"
        )
    return [file for file, each in held.items() if each == split]


def _split_in(path: Path) -> str | None:
    """The split that a path names; the last word counts."""
    words = re.split(r"[^a-z]+", path.as_posix().lower())
    return next((_SPLITS[word] for word in reversed(words) if word in _SPLITS), None)


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _what_is_in(folder: Path) -> str:
    names = [entry.name for entry in _entries(folder)]
    if not names:
        return f"{folder} is empty" if folder.is_dir() else f"there is no folder {folder}"
    return f"{folder} holds {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"


@contextmanager
def _readable(name: str, kind: str) -> Iterator[None]:
    """Whatever a library says of a damaged file, in one line that names it."""
    try:
        yield
    except ImportError as error:
        raise ImportError(f"{name}: a {kind} file needs {error.name}; {how_to_install('tasks')}") from error
    except _ERRORS as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        reason += "; expected UTF-8" if isinstance(error, UnicodeDecodeError) else ""
        raise ValueError(f"{name}: not a readable {kind} file, or cut off ({reason})") from error


# Text.


def _open(file: Path) -> TextIO:
    opened = _COMPRESSED.get(file.suffix.lower(), open)(file, "rb")
    return io.TextIOWrapper(opened, encoding="utf-8-sig", newline="")


def _zst(file: Path, _: str) -> Any:
    from pyarrow import input_stream

    return input_stream(str(file), compression="zstd")


_COMPRESSED: Final[dict[str, Callable[..., Any]]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": _zst,
}


def _json(file: Path) -> tuple[tuple[str, ...], Read]:
    """A list of objects, such a list within an object, or one object a line: whatever the name of the file says."""
    if _one_a_line(file):

        def read(_: Collection[str] | None) -> Iterator[Row]:
            with _open(file) as lines:
                yield from _objects((n, _parsed(n, line)) for n, line in enumerate(lines, 1) if line.strip())
    else:
        with _open(file) as text:
            content = list(_objects(enumerate(_listed(json.load(text)), 1)))

        def read(_: Collection[str] | None) -> Iterator[Row]:
            return iter(content)

    return tuple(dict.fromkeys(name for row in read(None) for name in _names(row))), read


def _one_a_line(file: Path) -> bool:
    with _open(file) as lines:
        first = next((line for line in lines if line.strip()), "")
        more = any(line.strip() for line in lines)
    jsonl = _kind(file) != "json"
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        return jsonl and not first.lstrip().startswith("[")
    return more or (jsonl and not isinstance(value, list))


def _listed(content: Any) -> list[Any]:
    """The rows of a file that is one value."""
    if isinstance(content, list):
        return content
    within = content if isinstance(content, dict) else {}
    lists = [key for key, each in within.items() if isinstance(each, list) and each and isinstance(each[0], dict)]
    if len(lists) == 1:
        return list(within[lists[0]])
    what = f"several lists ({', '.join(lists)})" if lists else f"a {type(content).__name__}"
    what += f" with the keys {', '.join(list(within)[:8])}" if within and not lists else ""
    raise ValueError(f"it holds {what}; expected a list of objects, or one object a line")


def _parsed(number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {number}, column {error.colno}: {error.msg}") from None
    except (ValueError, RecursionError) as error:  # a number of too many digits, too many brackets
        raise ValueError(f"line {number}: {error}") from None


def _objects(values: Iterable[tuple[int, Any]]) -> Iterator[Row]:
    for number, value in values:
        if not isinstance(value, dict):
            raise ValueError(f"entry {number} is a {type(value).__name__}; expected an object with named columns")
        yield value


def _names(row: Row, within: str = "") -> Iterator[str]:
    for key, value in row.items():
        yield within + key
        if isinstance(value, dict) and within.count(".") < 4:
            yield from _names(value, f"{within}{key}.")


def _csv(file: Path) -> tuple[tuple[str, ...], Read]:
    delimiter = "\t" if _kind(file) == "tsv" else ","

    def read(_: Collection[str] | None) -> Iterator[Row]:
        limit = csv.field_size_limit(_LONGEST_FIELD)
        try:
            with _open(file) as lines:
                yield from _fields(csv.reader(lines, delimiter=delimiter, strict=True))
        finally:
            csv.field_size_limit(limit)

    with _open(file) as lines:
        header = next(csv.reader(lines, delimiter=delimiter), [])
    return _distinct(header), read


def _fields(reader: Any) -> Iterator[Row]:
    try:
        header: list[str] = next(reader, [])
        for row in reader:
            if len(row) == len(header):
                yield dict(zip(header, row, strict=True))
            elif "".join(row).strip():  # else an empty line
                which = "more" if len(row) > len(header) else "fewer"
                raise ValueError(
                    f"line {reader.line_num} has {which} fields than the header, {len(row)} instead of {len(header)}"
                )
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from None


def _distinct(names: list[str]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two columns are called {twice!r}")
    return tuple(names)


# Arrow, and what brings it.


def _parquet(file: Path) -> tuple[tuple[str, ...], Read]:
    from pyarrow.parquet import ParquetFile

    def batches(columns: list[str]) -> Iterator[Any]:
        with ParquetFile(file) as opened:
            yield from opened.iter_batches(_BATCH, columns=columns)

    with ParquetFile(file) as opened:
        return _of_arrow(opened.schema_arrow, batches)


def _arrow(file: Path) -> tuple[tuple[str, ...], Read]:
    import pyarrow

    def opened() -> Any:
        with file.open("rb") as start:
            is_file = start.read(6) == b"ARROW1"
        source = pyarrow.memory_map(str(file))
        return pyarrow.ipc.open_file(source) if is_file else pyarrow.ipc.open_stream(source)

    def batches(columns: list[str]) -> Iterator[Any]:
        reader = opened()
        stored = getattr(reader, "num_record_batches", None)  # a stream does not know it
        for batch in reader if stored is None else map(reader.get_batch, range(stored)):
            yield batch.select(columns)

    return _of_arrow(opened().schema, batches)


def _of_arrow(schema: Any, batches: Callable[[list[str]], Iterable[Any]]) -> tuple[tuple[str, ...], Read]:
    """Columns and reader of what arrives in record batches (or tables) of chosen columns."""
    import pyarrow

    top, labels = _distinct(schema.names), _labels(schema)
    singles = [field.name for field in schema if pyarrow.types.is_float32(field.type)]

    def read(wanted: Collection[str] | None) -> Iterator[Row]:
        chosen = [name for name in top if wanted is None or any(f"{each}.".startswith(f"{name}.") for each in wanted)]
        for batch in batches(chosen):
            batch.validate(full=True)  # a damaged one would end the process
            table = batch if isinstance(batch, pyarrow.Table) else pyarrow.Table.from_batches([batch])
            for name in set(singles) & set(chosen):
                # 0.1 in single precision is 0.1 to whoever wrote it, and not 0.10000000149011612.
                shortest = table[name].cast(pyarrow.string()).cast(pyarrow.float64())
                table = table.set_column(chosen.index(name), name, shortest)
            for part in table.to_batches(max_chunksize=_BATCH):
                for row in part.to_pylist():
                    for name in labels.keys() & row.keys():
                        row[name] = labels[name].get(row[name])
                    yield row

    return tuple(_fields_of(schema)), read


def _labels(schema: Any) -> dict[str, dict[int, str]]:
    """What the numbers of a column stand for, where `datasets` wrote it as classes: 0 is "A", and -1 is nothing."""
    written = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = (written.get("info") or {}).get("features") or {}
    return {
        name: dict(enumerate(feature["names"]))
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
    }


def _fields_of(fields: Iterable[Any], within: str = "") -> Iterator[str]:
    from pyarrow.types import is_struct

    for field in fields:
        yield within + field.name
        if is_struct(field.type):
            yield from _fields_of(field.type, f"{within}{field.name}.")


def _saved(folder: Path, split: str) -> Table:
    """What `save_to_disk` of datasets wrote."""
    try:
        from datasets import DatasetDict, load_from_disk
    except ImportError as error:
        raise ImportError(f"{folder} was saved by datasets and needs it; {how_to_install('tasks')}") from error
    with _readable(str(folder), "arrow"):
        data = load_from_disk(str(folder))
    if isinstance(data, DatasetDict):
        if split not in data:
            known = ", ".join(data) or "none"
            raise ValueError(
                f"{folder}: there is no split {split!r}; its splits are {known}: name one, as "
                f"{str(folder / next(iter(data), 'train'))!r}"
            )
        data = data[split]
    return _of_dataset(data, str(folder), folder.resolve().name)


def _of_hub(name: str, split: str, config: str | None) -> Table:
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise ImportError(f"{name!r} on the hub needs datasets; {how_to_install('tasks')}") from error
    try:
        data = load_dataset(name, config, split=split)
    except (OSError, ValueError) as error:  # the library's own errors are one or the other
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FileNotFoundError(
            f"the hub did not deliver {name!r}, split {split!r} ({reason}); expected a public data set, or a local file"
        ) from error
    return _of_dataset(data, name, name.rpartition("/")[2])


def _of_dataset(data: Any, name: str, label: str) -> Table:
    def batches(columns: list[str]) -> Iterator[Any]:
        chosen: Iterator[Any] = data.select_columns(columns).with_format("arrow").iter(_BATCH)  # decodes no image
        return chosen

    columns, read = _of_arrow(data.features.arrow_schema, batches)
    return Table(name, label, columns, "arrow", read)


_READERS: Final[dict[str, Callable[[Path], tuple[tuple[str, ...], Read]]]] = {
    ".parquet": _parquet,
    ".jsonl": _json,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _csv,
    ".ndjson": _json,
    ".arrow": _arrow,
    ".feather": _arrow,
}
