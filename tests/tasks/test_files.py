import json
import os
import sys
from pathlib import Path
from subprocess import run

import pyarrow
import pyarrow.parquet
import pytest

from didact.tasks.files import LoadReport, drawn, load_examples

ROWS = [
    {"problem": "1 + 1?", "answer": "2"},
    {"problem": "1  + 1?", "answer": "3"},
    {"problem": "2 + 2?", "answer": None},
    {"problem": "", "answer": "5"},
    {"problem": "3 + 3?", "answer": 6.0},
]


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(
            pyarrow.Table.from_pylist([{**row, "answer": str(row["answer"])} for row in rows]), path
        )
    elif path.suffix == ".csv":
        path.write_text("\n".join(["problem,answer", *(f"{row['problem']},{row['answer']}" for row in rows)]))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_rows_are_kept_or_dropped_and_counted(tmp_path: Path, suffix: str) -> None:
    examples, report = load_examples(write(tmp_path / f"sums{suffix}", ROWS))
    assert report == LoadReport(rows=5, dropped_missing=2, dropped_duplicates=1, conflicting_answers=1)
    assert [(example.prompt, example.answer, example.source) for example in examples] == [
        ("1 + 1?", "2", "sums"),
        ("3 + 3?", "6", "sums"),
    ]


def test_every_format_gives_the_same_examples(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"problem": "1 + 1?", "answer": "2"}, {"problem": "2 + 23?", "answer": "025"}]
    loaded = [load_examples(write(tmp_path / f"a{kind}", rows))[0] for kind in (".parquet", ".csv", ".json", ".jsonl")]
    assert loaded[0] == loaded[1] == loaded[2] == loaded[3]
    assert loaded[0][1].answer == "025"


def test_columns_can_be_named_and_ids_and_difficulty_come_from_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"q": "1 + 1?", "answer": ["2", "two"], "id": 7, "level": "3"}])
    (example,), _ = load_examples(path, prompt_column="q", difficulty_column="level", source="mine")
    assert (example.prompt_id, example.answer, example.difficulty, example.source) == ("7", '["2", "two"]', 3.0, "mine")


def test_a_text_has_the_same_id_in_every_file(tmp_path: Path) -> None:
    (one,), _ = load_examples(write(tmp_path / "a.jsonl", [{"prompt": "hello", "answer": "1"}]))
    (two,), _ = load_examples(write(tmp_path / "b.json", [{"question": "hello", "solution": "2"}]))
    assert one.prompt_id == two.prompt_id
    assert len(one.prompt_id) == 16


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", "", "is empty"),
        ("a.json", "[]", "no rows"),
        ("a.csv", "problem,answer\n", "no rows"),
        ("a.parquet", "not parquet at all", "not a readable parquet file"),
        ("a.jsonl", '{"problem": "x", "answer": "1"}\n{"prob', "not a readable jsonl file, or cut off"),
        ("a.jsonl", "[1, 2]", "expected an object"),
        ("a.json", '{"problem": "x"}', "expected a list of objects"),
        ("a.csv", "problem,answer\n1,2,3\n", "more fields than the header"),
        ("a.jsonl", "\udcff", "not a readable jsonl file"),
        ("a.txt", "x", "expected one of .parquet, .jsonl, .json, .csv"),
        ("a.jsonl", '{"text": "x", "answer": "1"}', "columns are text, answer; name it with --prompt-column"),
        ("a.jsonl", '{"problem": "x", "answer": null}', "none of its 1 rows has both"),
        ("a.jsonl", '{"problem": {"a": 1}, "answer": "1"}', "row 1: 'problem' holds a dict"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ValueError, match=message) as caught:
        load_examples(path)
    assert "\n" not in str(caught.value)


def test_a_truncated_parquet_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", ROWS)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="cut off"):
        load_examples(path)


def test_a_misspelt_column_or_file_is_answered_with_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path / "sums.jsonl", ROWS)
    with pytest.raises(ValueError, match="did you mean 'problem'"):
        load_examples(path, prompt_column="probelm")
    with pytest.raises(FileNotFoundError, match=r"did you mean 'sums\.jsonl'"):
        load_examples(tmp_path / "sum.jsonl")


def test_without_a_network_the_hub_is_an_error_of_one_line() -> None:
    code = "from didact.tasks.files import load_examples\nload_examples('nobody/nothing')"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stderr.splitlines()[-1].startswith("FileNotFoundError: the hub did not deliver 'nobody/nothing'")


def test_a_draw_asks_for_what_there_is(tmp_path: Path) -> None:
    examples, _ = load_examples(write(tmp_path / "a.jsonl", ROWS))
    assert drawn(examples, None, 0) == examples
    assert len(drawn(examples, 2, 0)) == 2
    for num in (0, 3):
        with pytest.raises(ValueError, match=f"{num} examples asked for; expected from 1 to 2"):
            drawn(examples, num, 0)
