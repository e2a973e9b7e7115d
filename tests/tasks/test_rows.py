"""Files as people have them: every kind, folders, globs, and one clear line for what cannot be read."""

import bz2
import gzip
import json
import lzma
import os
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import run

import pyarrow
import pyarrow.feather
import pyarrow.parquet
import pytest

from didact.tasks.rows import read_rows, tables, written_out

ROWS = [{"question": "1 + 1?", "answer": "2"}, {"question": "wie groß?", "answer": "vier"}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
CSV = "question,answer\n1 + 1?,2\nwie groß?,vier\n"
TABLE = pyarrow.Table.from_pylist(ROWS)


def zstd(text: bytes) -> bytes:
    return bytes(pyarrow.Codec("zstd").compress(text, asbytes=True))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", LINES),
        ("a.ndjson", LINES),
        ("a.JSONL", "\ufeff\n" + LINES.replace("\n", "\r\n\r\n")),
        ("a.json", LINES),
        ("a.json", "\ufeff" + LINES),
        ("a.json", json.dumps(ROWS)),
        ("a.jsonl", json.dumps(ROWS)),
        ("a.jsonl", json.dumps(ROWS, indent=2)),
        ("a.json", json.dumps({"version": "1.0", "tags": ["x"], "data": ROWS}, indent=1)),
        ("a.csv", "\ufeff" + CSV),
        ("a.csv", CSV.replace("\n", "\r\n\r\n")),
        ("a.tsv", CSV.replace(",", "\t")),
        ("a.jsonl.gz", gzip.compress(LINES.encode(), mtime=0)),  # without the time: names of tests must not differ
        ("a.json.gz", gzip.compress(json.dumps(ROWS).encode(), mtime=0)),
        ("a.csv.gz", gzip.compress(CSV.encode("utf-8-sig"), mtime=0)),
        ("a.jsonl.bz2", bz2.compress(LINES.encode())),
        ("a.tsv.xz", lzma.compress(CSV.replace(",", "\t").encode())),
        ("a.jsonl.zst", zstd(LINES.encode())),
    ],
)
def test_text_is_read_whatever_it_is_packed_in(tmp_path: Path, name: str, content: str | bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    assert read_rows(path) == ROWS
    (table,) = tables(path)
    assert (table.label, table.columns) == ("a", ("question", "answer"))
    assert list(table.rows()) == list(table.rows(["answer"])) == ROWS  # and again; text files give all they have


def as_stream(path: Path) -> None:
    with pyarrow.ipc.new_stream(path, TABLE.schema) as writer:
        writer.write_table(TABLE)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.parquet", lambda path: pyarrow.parquet.write_table(TABLE, path)),
        ("a.arrow", as_stream),
        ("a.arrow", lambda path: pyarrow.feather.write_feather(TABLE, path)),
        ("a.feather", lambda path: pyarrow.feather.write_feather(TABLE, path)),
    ],
)
def test_of_arrow_and_parquet_only_columns_that_are_asked_for_are_read(
    tmp_path: Path, name: str, write: Callable[[Path], None]
) -> None:
    write(tmp_path / name)
    assert read_rows(tmp_path / name) == ROWS
    (table,) = tables(tmp_path / name)
    assert list(table.rows(["answer.of.it"])) == [{"answer": "2"}, {"answer": "vier"}]


def test_columns_within_objects_have_dotted_names(tmp_path: Path) -> None:
    rows = [{"a": {"b": 1, "c": {"d": "x"}}, "e": [1]}, {"f": None}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows[:1]), tmp_path / "a.parquet")
    assert tables(tmp_path / "a.jsonl")[0].columns == ("a", "a.b", "a.c", "a.c.d", "e", "f")
    assert tables(tmp_path / "a.parquet")[0].columns == ("a", "a.b", "a.c", "a.c.d", "e")
    pyarrow.parquet.write_table(pyarrow.table({"a.b": [1], "a": [{"b": 2}], "ab": [3]}), tmp_path / "b.parquet")
    assert list(tables(tmp_path / "b.parquet")[0].rows(["a.b"])) == [{"a.b": 1, "a": {"b": 2}}]


def test_a_number_in_single_precision_is_what_was_written(tmp_path: Path) -> None:
    column = pyarrow.array([0.1, 142.0, None, float("nan")], pyarrow.float32())
    pyarrow.parquet.write_table(pyarrow.table({"answer": column}), tmp_path / "a.parquet")
    first, second, third, fourth = (row["answer"] for row in read_rows(tmp_path / "a.parquet"))
    assert (first, second, third) == (0.1, 142.0, None)
    assert fourth != fourth


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"", "is empty"),
        ("a.txt", b"x", r"the name ends in '\.txt'; expected one of \.parquet, \.jsonl, \.json, \.csv"),
        ("a.pkl", b"x", "expected one of"),
        ("a.parquet.gz", b"x", "expected one of"),
        ("a.parquet", b"no parquet at all", "not a readable parquet file"),
        ("a.arrow", b"no arrow at all", "not a readable arrow file"),
        ("a.parquet", b"version https://git-lfs/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        ("a.jsonl", b'{"a": 1}\n{"a', "not a readable jsonl file, or cut off .line 2, column 2"),
        ("a.json", b'{"a": 1}\n{"a', "line 2, column 2"),
        ("a.json", b'[{"a": 1}, {"a', "not a readable json file, or cut off"),
        ("a.jsonl", b"1\n2\n", "entry 1 is a int; expected an object"),
        ("a.jsonl", b"[1]\n[2]\n", "entry 1 is a list; expected an object"),
        ("a.json", b"[1, 2]", "entry 1 is a int; expected an object"),
        ("a.json", b'{"a": {"b": 1}}', "it holds a dict with the keys a; expected a list of objects, or one"),
        ("a.json", b'{"train": [{"a": 1}], "test": [{"a": 2}]}', r"it holds several lists \(train, test\)"),
        ("a.jsonl", b'{"a": ' + b"[" * 100_000, "line 1: maximum recursion"),
        ("a.jsonl", b'{"a": ' + b"9" * 5000 + b"}", "line 1: Exceeds the limit"),
        ("a.jsonl", b"\xff\xfe{\x00", "invalid start byte; expected UTF-8"),
        ("a.csv", b"a,b\n1,2,3\n", "line 2 has more fields than the header, 3 instead of 2"),
        ("a.csv", b"a,b\n1,2\n3", "line 3 has fewer fields than the header, 1 instead of 2"),
        ("a.csv", b'a,b\n1,"2\n', "line 2: unexpected end of data"),
        ("a.csv", b"a,a\n1,2\n", "two columns are called 'a'"),
        (
            "a.jsonl.gz",
            gzip.compress(LINES.encode(), mtime=0)[:-12],
            "not a readable jsonl file, or cut off .Compressed file ended",
        ),
        ("a.jsonl.gz", LINES.encode(), "Not a gzipped file"),
        ("a.csv.xz", lzma.compress(CSV.encode())[:-20], "Compressed file ended"),
        ("a.jsonl.zst", zstd(LINES.encode() * 9)[:-9], "not a readable jsonl file, or cut off"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_rows(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_a_truncated_table_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    many = pyarrow.Table.from_pylist(ROWS * 1000)
    if name == "a.parquet":
        pyarrow.parquet.write_table(many, path)
    else:
        pyarrow.feather.write_feather(many, path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match="cut off"):
        read_rows(path)


def test_no_damage_to_a_table_ends_the_process(tmp_path: Path) -> None:
    as_stream(tmp_path / "a.arrow")
    code = """
import sys
from pathlib import Path
from didact.tasks.rows import read_rows
path, refused = Path(sys.argv[1]), 0
whole = path.read_bytes()
for place in range(len(whole)):
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x80]) + whole[place + 1 :])
    try:
        read_rows(path)
    except ValueError:
        refused += 1
print(refused > len(whole) / 4)
"""
    done = run([sys.executable, "-c", code, str(tmp_path / "a.arrow")], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr[-400:]


def test_a_long_csv_field_is_read_and_python_s_own_limit_stays(tmp_path: Path) -> None:
    import csv

    before = csv.field_size_limit()
    (tmp_path / "a.csv").write_text(f"question,answer\n{'x' * 200_000},2\n")
    assert len(read_rows(tmp_path / "a.csv")[0]["question"]) == 200_000
    assert csv.field_size_limit() == before


def write_shards(folder: Path, names: list[str]) -> None:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            pyarrow.parquet.write_table(pyarrow.table({"row": [number]}), path)
        else:
            path.write_text(json.dumps({"row": number}) + "\n")


@pytest.mark.parametrize(
    ("names", "split", "expected"),
    [
        (["b.jsonl", "a.jsonl", "README.md", "dataset_info.json"], "train", [1, 0]),
        (["data/train-00001-of-00002.parquet", "data/train-00000-of-00002.parquet", ".cache/x.jsonl"], "train", [1, 0]),
        (["train-0.parquet", "test-0.parquet", "train-1.parquet"], "train", [0, 2]),
        (["train-0.parquet", "test-0.parquet", "train-1.parquet"], "test", [1]),
        (["test/0.parquet", "train/0.parquet"], "test", [0]),
        (["math_train.jsonl", "more.jsonl"], "train", [0, 1]),
        (["latest-results.jsonl"], "train", [0]),
    ],
)
def test_of_a_folder_the_files_of_a_split_are_read_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], split: str, expected: list[int]
) -> None:
    write_shards(tmp_path / "mine", names)
    found = tables(tmp_path / "mine", split)
    assert [row["row"] for table in found for row in table.rows()] == expected
    assert {table.label for table in found} == {"mine"}
    monkeypatch.chdir(tmp_path / "mine")
    assert {table.label for table in tables(".", split)} == {"mine"}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["README.md", "dataset_info.json"], r"without files to read; .* holds README\.md, dataset_info\.json"),
        (["a.jsonl", "b.parquet"], r"of the kinds jsonl, parquet; expected one kind: name the files .*a\.jsonl'"),
        (
            ["train.jsonl", "test.jsonl", "more.jsonl"],
            r"its files hold test, train, and nothing says what 'more\.jsonl'",
        ),
        (["validation.jsonl", "test.jsonl"], "its files hold test, validation, and not train; name the files"),
    ],
)
def test_a_folder_of_which_it_is_not_clear_what_to_read_is_refused(
    tmp_path: Path, names: list[str], message: str
) -> None:
    write_shards(tmp_path, names)
    with pytest.raises(ValueError, match=message):
        tables(tmp_path)


def test_a_glob_is_read_in_order_and_one_that_matches_nothing_says_what_is_there(tmp_path: Path) -> None:
    write_shards(tmp_path, ["train-00000-of-00001.jsonl", "b.jsonl", "deep/c.jsonl", "odd[1].jsonl"])
    assert [table.label for table in tables(tmp_path / "*.jsonl")] == ["b", "odd[1]", "train"]
    assert len(tables(tmp_path / "**" / "*.jsonl")) == 4
    assert [row["row"] for row in read_rows(tmp_path / "odd[1].jsonl")] == [3]  # which is there, so no glob
    with pytest.raises(FileNotFoundError, match=r"no file matches; .* holds b\.jsonl, deep, odd\[1\]\.jsonl, train"):
        tables(tmp_path / "*.parquet")
    with pytest.raises(FileNotFoundError, match="no file matches; there is no folder"):
        tables(tmp_path / "nowhere" / "*.parquet")


def test_what_is_not_there_is_answered_with_the_nearest(tmp_path: Path) -> None:
    write_shards(tmp_path, ["sums.jsonl"])
    with pytest.raises(FileNotFoundError, match=r"did you mean 'sums\.jsonl'"):
        tables(tmp_path / "sum.jsonl")


def test_data_saved_by_datasets_is_read_with_its_splits(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    first, second = (datasets.Dataset.from_list([row]) for row in ROWS)
    first.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": first, "validation": second}).save_to_disk(tmp_path / "both")
    assert read_rows(tmp_path / "one") == read_rows(tmp_path / "both") == ROWS[:1]
    assert read_rows(tmp_path / "both" / "validation") == ROWS[1:]
    assert tables(tmp_path / "both")[0].label == "both"
    with pytest.raises(ValueError, match=r"no split 'test'; its splits are train, validation: name one, as .*train'"):
        tables(tmp_path / "both", "test")
    (tmp_path / "one" / "data-00000-of-00001.arrow").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a readable arrow file"):
        read_rows(tmp_path / "one")


def test_classes_are_read_by_their_names(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"question": datasets.Value("string"), "answer": datasets.ClassLabel(names=["A", "B"])}
    )
    rows = {"question": ["x", "y", "z", "w"], "answer": [1, 0, -1, None]}
    data = datasets.Dataset.from_dict(rows, features=features)
    data.to_parquet(tmp_path / "a.parquet")
    data.save_to_disk(tmp_path / "saved")
    for name in ("a.parquet", "saved"):
        assert [row["answer"] for row in read_rows(tmp_path / name)] == ["B", "A", None, None]


def test_without_a_network_the_hub_is_an_error_of_one_line() -> None:
    code = "from didact.tasks.rows import tables\ntables('nobody/nothing')"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stderr.splitlines()[-1].startswith("FileNotFoundError: the hub did not deliver 'nobody/nothing'")


def test_text_needs_no_library_and_what_does_is_named(tmp_path: Path) -> None:
    write_shards(tmp_path, ["a.jsonl", "b.parquet"])
    code = (
        "import sys; sys.modules['pyarrow'] = None; from didact.tasks.rows import read_rows;"
        "print(read_rows(sys.argv[1])); read_rows(sys.argv[2])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.jsonl"), str(tmp_path / "b.parquet")]
    done = run(command, capture_output=True, text=True)
    assert done.stdout == "[{'row': 0}]\n"
    assert "b.parquet: a parquet file needs pyarrow" in done.stderr.splitlines()[-1]
    assert "pip install '.[tasks]'" in done.stderr.splitlines()[-1]


def test_pandas_is_not_loaded_for_parquet(tmp_path: Path) -> None:
    write_shards(tmp_path, ["b.parquet"])
    code = "import sys; from didact.tasks.rows import read_rows; read_rows(sys.argv[1]); print('pandas' in sys.modules)"
    done = run([sys.executable, "-c", code, str(tmp_path / "b.parquet")], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": null}', {"a": None}),
        ("{'a': None}", {"a": None}),
        (" [1, 2] ", [1, 2]),
        ("__import__('os').getcwd()", None),
        ("[" * 10_000, None),
        ("plain words", None),
    ],
)
def test_cells_that_were_written_out(text: str, value: object) -> None:
    assert written_out(text) == value
