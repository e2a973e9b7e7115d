"""Another data set is told from the same one, and in what it differs."""

import pytest

from didact.adapters.fingerprint import difference, fingerprint, num_repeated, telling

COLUMNS = {"prompt": ["1 + 1", "2 + 2", "3 + 3"], "answer": ["2", "4", "6"]}


def mark(**changed):
    columns = {**COLUMNS, **changed}
    return fingerprint(columns, len(columns["prompt"]))


def test_the_same_data_are_the_same():
    assert difference(mark(), mark()) is None


@pytest.mark.parametrize(
    ("now", "says"),
    [
        ({"answer": ["2", "4", "7"]}, "its column 'answer' held something else"),
        ({"prompt": ["1 + 1", "2 + 2", "3 + 4"], "answer": ["2", "4", "7"]}, "column 'prompt' and column 'answer'"),
        ({"prompt": ["3 + 3", "1 + 1", "2 + 2"], "answer": ["6", "2", "4"]}, "its rows are the same in another order"),
        ({"answer": ["4", "2", "6"]}, "its column 'answer' held something else"),  # other pairs: no mere order
        ({"prompt": ["1 + 1"], "answer": ["2"]}, "it had 3 rows, this one has 1"),
        ({"answer": [2, 4, 6]}, "its column 'answer' held something else"),
    ],
)
def test_what_differs_is_said(now, says):
    assert says in difference(mark(), mark(**now))


def test_a_column_that_one_of_them_lacks_is_no_difference():
    assert difference(mark(), fingerprint({"prompt": COLUMNS["prompt"]}, 3)) is None
    assert difference(fingerprint({"prompt": COLUMNS["prompt"]}, 3), mark()) is None
    assert difference(fingerprint({}, 3), fingerprint({}, 3)) is None


def test_any_value_that_a_data_set_holds_counts():
    chat = [[{"role": "user", "content": "half of an emoji: \ud83d"}], None, [{"content": "b", "role": "user"}]]
    turned = [chat[0], None, [{"role": "user", "content": "b"}]]
    assert difference(mark(prompt=chat), mark(prompt=turned)) is None
    assert "prompt" in difference(mark(prompt=chat), mark(prompt=[*chat[:2], [{"role": "user", "content": "c"}]]))


def test_columns_that_tell():
    names = [
        "prompt",
        "prompt_id",
        "answer",
        "ground_truth",
        "reward_model",
        "Solution",
        "source",
        "difficulty",
        "level",
    ]
    assert telling(names) == ["prompt", "answer", "ground_truth", "reward_model", "Solution"]


def test_repeated_prompts_are_counted():
    assert num_repeated(["a", "b", "a", "a", [{"role": "user"}], [{"role": "user"}]]) == 3
    assert num_repeated([]) == 0
