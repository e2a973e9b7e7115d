"""The prompts of a run, before anything is spent: what is left out and counted, and what a resumption finds out."""

import json
from pathlib import Path

import numpy as np
import pytest

from didact.tasks import Example
from didact.training.config import TrainConfig
from didact.training.data import Data, read, settle
from didact.training.display import Silent
from didact.training.wording import Wording


class Heard(Silent):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


class Words:
    chat_template = None

    def __call__(self, texts, add_special_tokens):
        return {"input_ids": [text.split() for text in texts]}


def sums(numbers, answer="{}", words=0):
    return [{"prompt": f"sum {n}" + " word" * words, "answer": answer.format(n)} for n in numbers]


def write(name, rows):
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return name


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config(**settings):
    usual = {"model": "m", "task": "gsm8k", "prompts": "train.jsonl", "num_prompts": None, "num_eval_prompts": None}
    return TrainConfig(**{**usual, "eval": "eval_prompts" in settings or "eval_fraction" in settings, **settings})


def prepared(settings, folder=None, room=None, display=None, accept=False) -> Data:
    display = display or Silent()
    wording = Wording(settings, Words())
    return settle(settings, folder, wording, read(settings, display), room, display, accept)


def ids(examples):
    return [example.prompt.split()[1] for example in examples]


def test_the_pool_knows_its_prompts_by_their_words_and_a_resumption_the_same(here):
    """In the run's order, whatever has become of the file's."""
    rows = [*sums(range(20)), *sums(range(100, 120), words=3)]
    write("train.jsonl", rows)
    data = prepared(config())
    features = data.pool(words=True).features
    assert features.shape == (40, 32)
    long = np.array([len(example.prompt.split()) > 3 for example in data.training])
    apart = np.linalg.norm(features[:, None] - features[None], axis=2)
    assert apart[long][:, long].max() < apart[long][:, ~long].min()
    data.write(here)
    write("train.jsonl", rows[::-1])
    assert np.array_equal(prepared(config(), folder=here).pool(words=True).features, features)


# A new run ------------------------------------------------------------------------------------------------------


def test_unusable_golds_are_left_out_and_named():
    write("train.jsonl", [*sums(range(5)), *sums([5, 6], r"\frac{{{}}}{{7}}")])
    heard = Heard()
    data = prepared(config(), display=heard)
    assert ids(data.training) == ["0", "1", "2", "3", "4"]
    assert (data.counts["training"]["unusable_answers"], data.counts["training"]["prompts"]) == (2, 7)
    (line,) = heard.lines
    assert line.startswith("2 of 7 training prompts have a gold answer that task 'gsm8k' cannot use; they are left out")
    assert r"for example '\\frac{5}{7}': gsm8k: the gold answer ends in" in line


def test_the_other_task_is_suggested_where_most_golds_are_unusable():
    pytest.importorskip("math_verify")
    write("train.jsonl", [*sums([0]), *sums([5, 6], r"\frac{{{}}}{{7}}")])
    with pytest.raises(ValueError, match=r"2 of 3 training prompts have .*; task 'math' can use 2 of 2 of these"):
        prepared(config())


def test_an_answer_is_looked_at_once(monkeypatch):
    from didact.tasks.gsm8k import GSM8K

    asked = []
    monkeypatch.setattr(GSM8K, "verifiable", lambda self, answer: asked.append(answer))
    write("train.jsonl", sums(range(9), "7"))
    write("eval.jsonl", sums(range(10, 12), "7"))
    prepared(config(eval_prompts="eval.jsonl"))
    assert asked == ["7"]


def test_only_the_prompts_that_were_drawn_are_looked_at():
    write("train.jsonl", [*sums([1]), *sums(range(2, 30), "no number")])
    drawn = next(
        settings
        for settings in (config(num_prompts=2, seed=seed) for seed in range(99))
        if "1" in ids(read(settings, Silent())[0].examples)
    )
    data = prepared(drawn)
    assert data.counts["training"] == {
        **dict.fromkeys(("dropped_missing", "dropped_duplicates", "conflicting_answers", "too_long"), 0),
        **{"rows": 29, "prompts": 2, "unusable_answers": 1},
    }
    assert ids(data.training) == ["1"]


def test_repeats_and_conflicts_are_counted():
    write("train.jsonl", [*sums([1, 2, 3]), *sums([1]), *sums([2], "99"), {"prompt": "sum 4", "answer": None}])
    heard = Heard()
    data = prepared(config(), display=heard)
    assert heard.lines == [
        "train.jsonl: of 6 rows, 2 repeat a prompt and 1 lack a prompt or an answer; they are left out; 1 of the "
        "repeats have another answer than the one that is kept"
    ]
    assert [example.answer for example in data.training] == ["1", "2", "3"]


def test_prompts_without_room_are_left_out_by_id():
    write("train.jsonl", [*sums([1, 2]), {**sums([3], words=20)[0], "id": "long"}])
    heard = Heard()
    settings = config(instruction="")
    data = prepared(settings, room=10, display=heard)
    assert ids(data.training) == ["1", "2"]
    assert data.tokens == [2, 2]
    assert data.counts["training"]["too_long"] == 1
    assert "1 of 3 training prompts are longer than 10 tokens" in heard.lines[-1]
    assert "with 22; they are left out" in heard.lines[-1]
    with pytest.raises(ValueError, match=r"3 of 3 training prompts are longer than 1 tokens.*max_prompt_tokens"):
        prepared(settings, room=1)


def test_several_files_are_all_read():
    write("a.jsonl", sums([1, 2]))
    write("b.jsonl", sums([2, 3]))
    data = prepared(config(prompts=["a.jsonl", "b.jsonl"]))
    assert ids(data.training) == ["1", "2", "3"]
    assert [example.source for example in data.training] == ["a", "a", "b"]


def test_columns_by_name_and_held_out_prompts_of_another_make():
    rows = [{"ask": f"sum {n}", "meta": {"gold": n, "rate": n / 10, "level": n}, "from": f"s{n % 2}"} for n in range(4)]
    write("train.jsonl", rows)
    write("eval.jsonl", sums([7, 8]))
    names = {"prompt": "ask", "answer": "meta.gold", "source": "from"}
    names |= {"difficulty": "meta.level", "pass_rate": "meta.rate"}
    heard = Heard()
    settings = config(eval_prompts="eval.jsonl", **{f"{name}_column": column for name, column in names.items()})
    data = prepared(settings, display=heard)
    assert data.training[3].answer == "3"
    assert [example.source for example in data.training] == ["s0", "s1", "s0", "s1"]
    pool = data.pool(words=False)
    assert pool.features is None
    assert pool.difficulty.tolist() == [0, 1, 2, 3]
    assert pool.pass_rate.tolist() == pytest.approx([0, 0.1, 0.2, 0.3])
    assert ids(data.held_out) == ["7", "8"]
    assert any("the held-out prompts are read by their usual columns" in line for line in heard.lines)


def test_a_share_is_held_out():
    write("train.jsonl", sums(range(40)))
    data = prepared(config(eval_fraction=0.25))
    assert set(ids(data.training)) | set(ids(data.held_out)) == {str(n) for n in range(40)}
    assert set(ids(data.training)) & set(ids(data.held_out)) == set()
    assert 4 <= len(data.held_out) <= 16


def test_the_same_text_on_both_sides():
    write("train.jsonl", sums([1, 2]))
    write("eval.jsonl", [{"prompt": " sum  1", "answer": "1"}, *sums([3])])
    with pytest.raises(ValueError, match=r"1 held-out prompts are also training prompts, .*give --eval-on-train"):
        prepared(config(eval_prompts="eval.jsonl"))
    data = prepared(config(eval_on_train=True, eval=True, num_eval_prompts=1))
    assert data.on_training
    assert len(data.held_out) == 1
    assert data.held_out[0] in data.training


# A run that began -----------------------------------------------------------------------------------------------


@pytest.fixture
def began(here):
    """A folder of a run that began with five prompts, one of which was left out."""
    write("train.jsonl", [*sums(range(4)), *sums([4], "no number")])
    write("eval.jsonl", sums([7, 8]))
    settings = config(eval_prompts="eval.jsonl")
    prepared(settings, here).write(here)
    return settings


def test_a_data_set_that_was_shuffled_changes_nothing(began, here):
    rows = Path("train.jsonl").read_text().splitlines(keepends=True)
    Path("train.jsonl").write_text("".join(reversed(rows)))
    heard = Heard()
    assert ids(prepared(began, here, display=heard).training) == ["0", "1", "2", "3"]
    assert heard.lines == []


def test_an_answer_that_was_changed_is_found_out(began, here):
    write("train.jsonl", [*sums([0, 1]), *sums([2], "9"), *sums([3])])
    line = (
        r"1 of the 4 training prompts that the run began with have changed, first '\w+': its answer was '2' and is '9'"
    )
    with pytest.raises(ValueError, match=rf"{line}; put the data back .*--accept-changed-data"):
        prepared(began, here)
    data = prepared(began, here, accept=True)
    assert data.changed == (data.training[2].prompt_id,)
    data.write(here)
    assert prepared(began, here).training[2].answer == "9"


def test_a_held_out_answer_that_was_changed_is_found_out(began, here):
    write("eval.jsonl", [*sums([7]), *sums([8], "9")])
    with pytest.raises(ValueError, match=r"1 of the 2 held-out prompts .*its answer was '8' and is '9'"):
        prepared(began, here)


def test_ids_that_mean_other_prompts_are_found_out(here):
    """Row numbers as ids, and the rows shuffled."""
    write("train.jsonl", [{**row, "id": number} for number, row in enumerate(sums([1, 2, 3]))])
    prepared(config(), here).write(here)
    write("train.jsonl", [{**row, "id": number} for number, row in enumerate(sums([1, 3, 2]))])
    with pytest.raises(ValueError, match=r"2 of the 3 .*first '1': its prompt was 'sum 2' and is 'sum 3'"):
        prepared(config(), here)


def test_prompts_that_are_gone_or_new(began, here):
    write("train.jsonl", [*sums(range(5)), *sums([4], "no number")])
    heard = Heard()
    assert ids(prepared(began, here, display=heard).training) == ["0", "1", "2", "3"]
    assert heard.lines[-1] == "1 training prompts are not among those that the run began with; they are not used"
    write("train.jsonl", sums(range(3)))
    for accept in (False, True):
        with pytest.raises(ValueError, match=r"began with 4 training prompts, and 1 of them are not there .*'sum 3'"):
            prepared(began, here, accept=accept)


def test_what_the_curriculum_was_told_stays_as_it_was(began, here):
    """Also by an older version, which measured the bare text and knew no pass rates."""
    rows = [json.loads(line) for line in Path("prompts.jsonl").read_text().splitlines()]
    older = [{name: row[name] for name in ("prompt_id", "prompt", "answer")} for row in rows]
    write("prompts.jsonl", [{**row, "source": "before", "difficulty": 3, "prompt_tokens": 77} for row in older])
    data = prepared(began, here)
    assert (data.tokens, data.training[0].source, data.training[0].difficulty) == ([77] * 4, "before", 3)


def test_a_prompt_without_room_in_an_older_pool_is_never_sent(began, here):
    heard = Heard()
    assert prepared(began, here, room=99).unfit == frozenset()
    rows = [json.loads(line) for line in Path("prompts.jsonl").read_text().splitlines()]
    rows[1]["prompt"] += " word" * 50
    rows = [{**row, "prompt_id": name} for row, name in zip(rows, "abcd", strict=True)]
    write("prompts.jsonl", rows)
    write("train.jsonl", [{"id": row["prompt_id"], "prompt": row["prompt"], "answer": row["answer"]} for row in rows])
    data = prepared(began, here, room=40, display=heard)
    assert (data.unfit, len(data.training)) == (frozenset("b"), 4)
    assert "1 prompts of the pool are longer than 40 tokens, first 'b'" in heard.lines[-1]


def test_a_damaged_file_of_prompts(began, here):
    Path("prompts.jsonl").write_text('{"prompt_id": "a"}\n')
    with pytest.raises(ValueError, match=r"prompts.jsonl is damaged"):
        prepared(began, here)
    assert isinstance(prepared(began).training[0], Example)
