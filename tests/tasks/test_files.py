import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from didact.tasks import Example
from didact.tasks.files import LoadReport, drawn, load_examples, split_off

ROWS = [
    {"problem": "1 + 1?", "answer": "2"},
    {"problem": "1  + 1?", "answer": "3"},
    {"problem": "2 + 2?", "answer": None},
    {"problem": "", "answer": "5"},
    {"problem": "3 + 3?", "answer": 6.0},
]
DAPO = [
    {
        "data_source": "math_dapo",
        "prompt": [{"role": "user", "content": f"{number} + 1?"}],
        "reward_model": {"ground_truth": str(number + 1), "style": "rule"},
        "extra_info": {"index": f"id-{number}"},
    }
    for number in (1, 2, 1, 2)
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        path.write_text("\n".join(map(json.dumps, rows)))
    return path


def one(path: Path, row: dict[str, Any], **columns: str) -> Example:
    (example,), _ = load_examples(write(path / "a.jsonl", [row]), **columns)  # type: ignore[arg-type]
    return example


def test_rows_are_kept_or_dropped_and_counted(tmp_path: Path) -> None:
    examples, report = load_examples(write(tmp_path / "sums.jsonl", ROWS))
    assert report == LoadReport(rows=5, dropped_missing=2, dropped_duplicates=1, conflicting_answers=1)
    assert [(example.prompt, example.answer, example.source) for example in examples] == [
        ("1 + 1?", "2", "sums"),
        ("3 + 3?", "6", "sums"),
    ]


def test_several_paths_are_one_after_the_other_and_count_repeats_over_all(tmp_path: Path) -> None:
    first = write(tmp_path / "a.jsonl", ROWS)
    second = write(tmp_path / "b.parquet", [{"question": "3 + 3?", "answer": "7"}, {"question": "new", "answer": "8"}])
    examples, report = load_examples([first, str(second)])
    assert [(example.prompt, example.source) for example in examples] == [
        ("1 + 1?", "a"),
        ("3 + 3?", "a"),
        ("new", "b"),
    ]
    assert report == LoadReport(rows=7, dropped_missing=2, dropped_duplicates=2, conflicting_answers=2)
    for nothing in ([], ""):
        with pytest.raises(ValueError, match="no file of prompts was given; expected at least one"):
            load_examples(nothing)
    lacking = write(tmp_path / "c.jsonl", [{"question": "x", "answer": ""}])
    with pytest.raises(ValueError, match=r"c\.jsonl: none of its 1 rows has both 'question' and 'answer'"):
        load_examples([first, lacking])


def test_columns_can_be_named_and_reach_into_objects(tmp_path: Path) -> None:
    row = {
        "q": {"text": "1 + 1?"},
        "answer": "wrong one",
        "gold": ["2", "two"],
        "uid": 7,
        "info": {"level": "3", "set": "easy"},
        "solve_rate": "0.25",
    }
    example = one(
        tmp_path,
        row,
        prompt_column="q.text",
        answer_column="gold",
        id_column="uid",
        source_column="info.set",
        difficulty_column="info.level",
        pass_rate_column="solve_rate",
    )
    assert example == Example("7", "1 + 1?", '["2", "two"]', "easy", 3.0, (), 0.25)


def test_verls_layout_is_read_without_any_name(tmp_path: Path) -> None:
    expected = [
        Example("id-1", "1 + 1?", "2", "math_dapo", messages=({"role": "user", "content": "1 + 1?"},)),
        Example("id-2", "2 + 1?", "3", "math_dapo", messages=({"role": "user", "content": "2 + 1?"},)),
    ]
    as_text = [
        {**row, "reward_model": json.dumps(row["reward_model"]), "extra_info": str(row["extra_info"])} for row in DAPO
    ]
    flat = [{**row, "prompt": json.dumps(row["prompt"])} for row in as_text]
    for name, rows in (("a.parquet", DAPO), ("b.jsonl", DAPO), ("c.parquet", as_text), ("d.jsonl", flat)):
        examples, report = load_examples(write(tmp_path / name, rows))
        assert examples == expected
        assert report == LoadReport(rows=4, dropped_missing=0, dropped_duplicates=2, conflicting_answers=0)


def test_a_source_that_is_given_stands_before_a_column_that_nobody_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", DAPO)
    assert {example.source for example in load_examples(path, source="mine")[0]} == {"mine"}
    by_column, _ = load_examples(path, source="mine", source_column="extra_info.index")
    assert [example.source for example in by_column] == ["id-1", "id-2"]


@pytest.mark.parametrize(
    ("columns", "prompt", "answer", "notes"),
    [
        (["prompt", "answer"], "prompt", "answer", []),
        (["Problem", "Answer"], "Problem", "Answer", []),
        (["text", "question", "answer"], "question", "answer", []),
        (
            ["solution", "answer", "problem"],
            "problem",
            "answer",
            ["answers are read from 'answer', not from 'solution'"],
        ),
        (["question", "prompt", "answer"], "prompt", "answer", ["prompts are read from 'prompt', not from 'question'"]),
        (
            ["instruction", "output"],
            "instruction",
            "output",
            ["prompts are read from 'instruction' (--prompt", "answers are read from 'output' (--answer-column names"],
        ),
        (
            ["query", "target"],
            "query",
            "target",
            ["prompts are read from 'query' (", "answers are read from 'target' ("],
        ),
        (["problem", "ground_truth"], "problem", "ground_truth", ["answers are read from 'ground_truth' ("]),
        (["problem", "solution", "label"], "problem", "label", ["answers are read from 'label', not from 'solution'"]),
        (["input", "expected_answer"], "input", "expected_answer", ["prompts are", "answers are"]),
        (["system", "prompt", "answer"], "prompt", "answer", ["'system' is not read; what a prompt"]),
        (["question", "choices", " Answer"], "question", " Answer", ["'choices' is not read; what a prompt"]),
    ],
)
def test_columns_are_guessed_in_a_fixed_order_and_what_is_not_obvious_is_said(
    tmp_path: Path, columns: list[str], prompt: str, answer: str, notes: list[str]
) -> None:
    (example,), report = load_examples(write(tmp_path / "a.jsonl", [{column: f"<{column}>" for column in columns}]))
    assert (example.prompt, example.answer) == (f"<{prompt}>", f"<{answer}>")
    assert len(report.notes) == len(notes)
    for note, said in zip(report.notes, notes, strict=True):
        assert note.startswith(f"{tmp_path}/a.jsonl: {said}")


def test_what_is_said_of_a_few_files_of_many_is_said_once(tmp_path: Path) -> None:
    for name, row in (("a", "1"), ("b", "2"), ("c", "3")):
        column = "answer" if name == "b" else "ground_truth"
        write(tmp_path / f"{name}.jsonl", [{"prompt": row, column: row}])
    _, report = load_examples(tmp_path)
    said = "answers are read from 'ground_truth' (--answer-column names another), in 2 of 3 files"
    assert report.notes == (f"{tmp_path}: {said}",)


def test_a_column_named_for_something_is_not_guessed_for_something_else(tmp_path: Path) -> None:
    row = {"prompt": "x", "label": "algebra", "solution": "2"}
    example = one(tmp_path, row, source_column="label")
    assert (example.answer, example.source) == ("2", "algebra")


def test_a_prompt_in_two_columns_is_refused(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Add.", "input": "", "output": "0"},
        {"instruction": "Add.", "input": "1, 1", "output": "2"},
    ]
    path = write(tmp_path / "alpaca.jsonl", rows)
    with pytest.raises(
        ValueError, match=r"row 2: the prompt lies in two columns, 'instruction' and 'input'; join them"
    ):
        load_examples(path)
    assert load_examples(path, prompt_column="input")[0][0].prompt == "1, 1"
    assert load_examples(write(tmp_path / "b.jsonl", rows[:1]))[0][0].prompt == "Add."


def test_a_text_has_the_same_id_in_every_file(tmp_path: Path) -> None:
    examples = [
        one(tmp_path, {"prompt": "hello you", "answer": "1"}),
        one(tmp_path, {"question": " hello\nyou", "solution": "2"}),
        one(tmp_path, {"messages": [{"role": "user", "content": "hello you"}], "answer": "1"}),
    ]
    assert {example.prompt_id for example in examples} == {"4ab6420373b6588b"}


@pytest.mark.parametrize("given", [[1, 2], ["1", "2"], [1.0, 2.0]])
def test_integer_ids_are_taken_as_text(tmp_path: Path, given: list[object]) -> None:
    rows = [{"id": value, "problem": str(number), "answer": "1"} for number, value in enumerate(given)]
    examples, report = load_examples(write(tmp_path / "a.jsonl", rows))
    assert [example.prompt_id for example in examples] == ["1", "2"]
    assert report.notes == ()


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ([7, 7], "the id '7' stands for 2 prompts of different texts"),
        (["x", {"a": 1}], "row 2: 'id' holds a dict; expected text or a number"),
    ],
)
def test_ids_that_nobody_named_and_cannot_be_used_are_hashes_with_a_note(
    tmp_path: Path, given: list[object], why: str
) -> None:
    rows = [{"id": value, "problem": str(number), "answer": "1"} for number, value in enumerate(given)]
    path = write(tmp_path / "a.jsonl", rows)
    examples, report = load_examples(path)
    assert [len(example.prompt_id) for example in examples] == [16, 16]
    (note,) = report.notes
    assert why in note
    assert note.endswith("no id column is used, ids are hashes of the texts")
    with pytest.raises(ValueError, match=why):
        load_examples(path, id_column="id")


def test_an_index_that_begins_anew_in_each_file_is_no_id(tmp_path: Path) -> None:
    one_, two = (
        [{"prompt": f"{name} {index}", "answer": "1", "extra_info": {"index": index}} for index in range(3)]
        for name in ("a", "b")
    )
    paths = [write(tmp_path / "a.parquet", one_), write(tmp_path / "b.parquet", two)]
    assert load_examples(paths[0])[0][1].prompt_id == "1"
    examples, report = load_examples(paths)
    assert len({example.prompt_id for example in examples}) == 6
    assert "the id '0' stands for 2 prompts of different texts; no id column is used" in report.notes[0]
    assert report.notes[0].startswith(f"{paths[0]} and 1 more: ")


def test_a_named_id_must_be_in_every_row(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"uid": "x", "prompt": "1", "answer": "1"}, {"prompt": "2", "answer": "1"}])
    with pytest.raises(ValueError, match="row 2: 'uid' is empty; expected an id in every row, or no --id-column"):
        load_examples(path, id_column="uid")


def test_conversations_are_kept_as_they_are(tmp_path: Path) -> None:
    messages = [
        {"role": "system", "content": "Be brief.\n"},
        {"role": "user", "content": "1 + 1?"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": " and one more?"},
    ]
    example = one(tmp_path, {"prompt": messages, "answer": "3"})
    assert example.messages == tuple(messages)
    assert example.prompt == "Be brief.\n\n1 + 1?\n\n2\n\nand one more?"
    assert one(tmp_path, {"conversations": messages, "answer": "3"}) == example


def test_what_the_assistant_says_at_the_end_is_left_out_of_messages_and_refused_in_a_prompt(tmp_path: Path) -> None:
    chat = [{"from": "human", "value": "1 + 1?"}, {"from": "gpt", "value": "It is 2."}]
    (example,), report = load_examples(write(tmp_path / "a.jsonl", [{"conversations": chat, "answer": "2"}]))
    assert example.messages == ({"role": "user", "content": "1 + 1?"},)
    assert f"{tmp_path}/a.jsonl: 1 conversations end with an assistant's message, which is left out" in report.notes
    with pytest.raises(
        ValueError, match="row 1: 'prompt' ends with a message of the assistant; expected one that waits"
    ):
        one(tmp_path, {"prompt": chat, "answer": "2"})


def test_other_keys_of_messages_are_said(tmp_path: Path) -> None:
    row = {"prompt": [{"role": "user", "content": "x", "name": "Ann"}], "answer": "2"}
    _, report = load_examples(write(tmp_path / "a.jsonl", [row]))
    assert report.notes == (f"{tmp_path}/a.jsonl: of 1 conversations only role and content are used, no other key",)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (6, "6"),
        (142.0, "142"),
        (0.5, "0.5"),
        (True, "True"),
        (Decimal("5.00"), "5"),
        (Decimal("0.50"), "0.5"),
        (Decimal("120"), "120"),
        (b"two", "two"),
        (["2"], "2"),
        ([2, 2.5, "two"], '["2", "2.5", "two"]'),
        (2**70, "1180591620717411303424"),
    ],
)
def test_answers_become_text_without_loss(tmp_path: Path, value: object, text: str) -> None:
    path = tmp_path / "a.parquet"
    if isinstance(value, list | int) and not isinstance(value, bool):  # no column of arrow holds these
        path = write(tmp_path / "a.jsonl", [{"prompt": "x", "answer": value}])
    else:
        write(path, [{"prompt": "x", "answer": value}])
    assert load_examples(path)[0][0].answer == text


@pytest.mark.parametrize("value", [None, "", "  ", float("nan"), []])
def test_nothing_is_no_answer(tmp_path: Path, value: object) -> None:
    rows = [{"prompt": "x", "answer": value}, {"prompt": "y", "answer": "1"}]
    examples, report = load_examples(write(tmp_path / "a.jsonl", rows))
    assert (len(examples), report.dropped_missing) == (1, 1)


@pytest.mark.parametrize(
    ("row", "columns", "message"),
    [
        ({"text": "x", "answer": "1"}, {}, r"no prompt column .*; the columns are text, answer; name it with --pro"),
        ({"prompt": "x", "reply": "1"}, {}, r"no answer column .*; name it with --answer-column \(answer_column= in P"),
        ({"problem": "x", "answer": None}, {}, "none of its 1 rows has both 'problem' and 'answer'; --prompt-column"),
        ({"problem": {"a": 1}, "answer": "1"}, {}, "row 1: 'problem' holds a dict; .* one of its keys, as 'problem.a'"),
        ({"problem": ["a", "b"], "answer": "1"}, {}, "row 1: 'problem' holds a list; expected text or a number"),
        ({"problem": "x", "answer": [{"a": 1}]}, {}, "row 1: 'answer' holds a dict"),
        ({"prompt": [{"role": "user"}], "answer": "1"}, {}, r"a\.jsonl, row 1: 'prompt', message 1 says None"),
        ({"prompt": "x", "answer": "1"}, {"prompt_column": "promt"}, "column 'promt'; .*; did you mean 'prompt'"),
        ({"prompt": "x", "answer": "1"}, {"id_column": "uid"}, "column 'uid'; .*; name it with --id-column"),
        ({"prompt": "x", "answer": "1"}, {"source_column": "data"}, "column 'data'; .*; name it with --source-column"),
        ({"prompt": "x", "answer": "1"}, {"pass_rate_column": "p"}, r"name it with --pass-rate-column \(pass_rate_col"),
        ({"prompt": "x", "a": {"gold": "1"}}, {"answer_column": "a.golb"}, "did you mean 'a.gold'"),
        ({"prompt": "x", "answer": "1", "level": "Level 5"}, {"difficulty_column": "level"}, "'level' holds 'Level 5'"),
        ({"prompt": "x", "answer": "1", "level": True}, {"difficulty_column": "level"}, "True; expected a number"),
        ({"prompt": "x", "answer": "1", "level": "inf"}, {"difficulty_column": "level"}, "expected a number"),
        ({"prompt": "x", "answer": "1", "p": 62.5}, {"pass_rate_column": "p"}, "'p' holds 62.5; .* not per cent"),
        ({"prompt": "x", "answer": "1", "p": "50%"}, {"pass_rate_column": "p"}, "row 1: 'p' holds '50%'"),
        ({"prompt": "x", "answer": "1", "p": -0.1}, {"pass_rate_column": "p"}, "expected a pass rate from 0 to 1"),
        ({"prompt": "x \ud83d", "answer": "1"}, {}, r"row 1: 'prompt' has half of a character, '\\ud83d', at place 3"),
        ({"prompt": "x", "answer": "\udc00"}, {}, "row 1: 'answer' has half of a character"),
        ({"messages": [{"role": "user", "content": "\ud83d"}], "answer": "1"}, {}, "'messages' has half"),
        ({"prompt": "x", "answer": "1", "images": ["a.png"]}, {}, "row 1: 'images' holds something, and only text"),
        ({"prompt": "x", "answer": "1", "Image": {"bytes": "z", "path": None}}, {}, "'Image' holds something"),
        ({"prompt": "x", "info": "no object"}, {"answer_column": "info.gold"}, "no column 'info.gold'"),
    ],
)  # fmt: skip
def test_a_bad_row_or_column_is_refused_in_one_line(
    tmp_path: Path, row: dict[str, Any], columns: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        one(tmp_path, row, **columns)
    assert str(caught.value).startswith(f"{tmp_path}/a.jsonl")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [pyarrow.float16(), pyarrow.float32(), pyarrow.decimal256(60, 2), pyarrow.uint8()])
def test_numbers_of_any_width_become_text(tmp_path: Path, kind: pyarrow.DataType) -> None:
    table = pyarrow.table({"prompt": ["x"], "answer": pyarrow.array([3]).cast(kind)})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert load_examples(tmp_path / "a.parquet")[0][0].answer == "3"


def test_a_date_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="row 1: 'answer' holds a date; expected text, a number or a list of these"):
        load_examples(write(tmp_path / "a.parquet", [{"prompt": "When?", "answer": date(2024, 1, 1)}]))


def test_columns_of_images_that_hold_nothing_are_in_nobodys_way(tmp_path: Path) -> None:
    row = {"prompt": "x", "answer": "1", "image": {"bytes": None, "path": None}, "images": [], "video": None}
    assert one(tmp_path, row).prompt == "x"


@pytest.mark.parametrize("name", ["a.json", "a.csv", "a.parquet"])
def test_a_file_without_rows_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.parquet":
        pyarrow.parquet.write_table(pyarrow.table({"prompt": pyarrow.array([], "string"), "answer": [""][:0]}), path)
    else:
        path.write_text("[]" if name == "a.json" else "problem,answer\n")
    with pytest.raises(ValueError, match="the file holds no rows"):
        load_examples(path)


@pytest.mark.parametrize(
    ("given", "expected", "note"),
    [
        ([1, "2.5", None], [1.0, 2.5, None], "difficulties are read from 'difficulty' (--difficulty-column"),
        (
            [1, "hard", None],
            [None, None, None],
            "row 2: 'difficulty' holds 'hard'; expected a number; no difficulty is",
        ),
    ],
)
def test_a_difficulty_that_nobody_named_is_used_where_it_is_a_number_everywhere(
    tmp_path: Path, given: list[object], expected: list[float | None], note: str
) -> None:
    rows = [{"prompt": str(row), "answer": "1", "difficulty": value} for row, value in enumerate(given)]
    examples, report = load_examples(write(tmp_path / "a.jsonl", rows))
    assert [example.difficulty for example in examples] == expected
    assert note in report.notes[-1]


def test_a_pass_rate_is_never_guessed(tmp_path: Path) -> None:
    rows = [{"prompt": str(row), "answer": "1", "pass_rate": rate} for row, rate in enumerate([0, "1", None, 0.5])]
    path = write(tmp_path / "a.jsonl", rows)
    assert [example.pass_rate for example in load_examples(path)[0]] == [None] * 4
    named, _ = load_examples(path, pass_rate_column="pass_rate")
    assert [example.pass_rate for example in named] == [0.0, 1.0, None, 0.5]


def test_an_example_survives_a_json_file() -> None:
    example = Example("a", "x", "1", "s", messages=({"role": "user", "content": "x"},), pass_rate=0.5)
    assert Example(**json.loads(json.dumps(asdict(example)))) == example


def test_a_draw_asks_for_what_there_is(tmp_path: Path) -> None:
    examples, _ = load_examples(write(tmp_path / "a.jsonl", ROWS))
    assert drawn(examples, None, 0) == examples
    assert len(drawn(examples, 2, 0)) == 2
    for num in (0, 3):
        with pytest.raises(ValueError, match=f"{num} examples asked for; expected from 1 to 2"):
            drawn(examples, num, 0)


def test_a_prompt_s_side_follows_from_its_text_and_the_seed_alone() -> None:
    examples = [Example(str(number), f"{number} + 1?", "x", "s") for number in range(2000)]
    train, held_out = split_off(examples, 0.1, seed=0)
    assert 150 < len(held_out) < 250
    assert sorted(train + held_out, key=examples.index) == examples
    ids = {example.prompt_id for example in held_out}
    again = [Example("new", f" {number}  +\n1?", "y", "t") for number in reversed(range(0, 2000, 2))]
    assert {example.prompt.split()[0] for example in split_off(again, 0.1, seed=0)[1]} == {
        each for each in ids if int(each) % 2 == 0
    }
    assert {example.prompt_id for example in split_off(examples, 0.1, seed=1)[1]} != ids
    assert ids < {example.prompt_id for example in split_off(examples, 0.2, seed=0)[1]}


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 10, float("nan")])
def test_a_fraction_that_is_none_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="expected a number between 0 and 1"):
        split_off([], fraction, 0)


def test_both_sides_of_a_split_hold_something() -> None:
    with pytest.raises(ValueError, match="of 2 prompts would hold out 0 of them; expected at least one on each side"):
        split_off([Example("a", "x", "1", "s"), Example("b", "y", "1", "s")], 0.001, 0)


DATA = {
    "aime2024": (30, 0, 0, 0),
    "amc2023": (83, 0, 0, 0),
    "deepscaler": (40315, 6, 1218, 300),
    "gsm8k_test": (1319, 0, 0, 0),
    "gsm8k_train": (7473, 0, 0, 0),
    "math500": (500, 0, 0, 0),
    "minerva": (272, 0, 0, 0),
    "olympiadbench": (675, 0, 0, 0),
}


@pytest.mark.parametrize("name", DATA)
def test_the_public_data_sets_load(public_data: Callable[[str], Path], name: str) -> None:
    examples, report = load_examples(public_data(name))
    assert report == LoadReport(*DATA[name])
    assert len(examples) == report.rows - report.dropped_missing - report.dropped_duplicates


FROM_GROUND_TRUTH = "answers are read from 'ground_truth' (--answer-column names another)"
FROM_DIFFICULTY = "difficulties are read from 'difficulty' (--difficulty-column names another)"
CASES = {
    "01-verl-layout/dapo.parquet": (24, 48, "5", ()),
    "02-chat-prompts-in-a-file/chat.jsonl": (24, 0, "#### 5", ()),
    "03-folders-globs-lines/bom.jsonl": (24, 0, "#### 5", ()),
    "03-folders-globs-lines/lines.json": (24, 0, "#### 5", ()),
    "03-folders-globs-lines/long.csv": (24, 0, "#### 5", ()),
    "03-folders-globs-lines/other_names.jsonl": (24, 0, "#### 5", (FROM_GROUND_TRUTH,)),
    "03-folders-globs-lines/q.jsonl.gz": (24, 0, "#### 5", ()),
    "03-folders-globs-lines/saved": (24, 0, "#### 5", ()),
    "03-folders-globs-lines/*.jsonl": (28, 24, "#### 5", (FROM_GROUND_TRUTH + ", in 1 of 3 files",)),
    "04-two-prompt-files/?.jsonl": (24, 0, "#### 5", ()),
    "05-one-prompt-too-long/mid.jsonl": (24, 0, "#### 5", ()),
    "07-own-verifier/q.jsonl": (24, 0, "#### 5", ()),
    "16-options-of-the-wrong-type/q.jsonl": (24, 0, "#### 5", ()),
    "17-difficulty-and-pass-rates/d.jsonl": (24, 0, "#### 5", (FROM_DIFFICULTY,)),
    "19-no-held-out-set/q.jsonl": (24, 0, "#### 5", ()),
    "20-silently-ignored/q.jsonl": (24, 0, "#### 5", ()),
    "20-silently-ignored/eval.jsonl": (4, 0, "#### 3", ()),
}


@pytest.mark.parametrize("name", CASES)
def test_the_files_of_the_cases_load(public_case: Callable[[str], Path], name: str) -> None:
    path = public_case(name)
    kept, repeated, answer, notes = CASES[name]
    examples, report = load_examples(path)
    assert report == LoadReport(kept + repeated, 0, repeated, 0, tuple(f"{path}: {note}" for note in notes))
    assert (len(examples), examples[0].answer) == (kept, answer)
    assert examples[0].prompt.removeprefix("Be brief.\n\n").startswith(("A box holds 3 pens", "A shelf has 4 cups"))


def test_half_an_emoji_of_the_cases_is_named(public_case: Callable[[str], Path]) -> None:
    with pytest.raises(ValueError, match=r"surrogate\.jsonl, row 1: 'question' has half of a character, '\\ud83d'"):
        load_examples(public_case("06-broken-emoji/surrogate.jsonl"))
