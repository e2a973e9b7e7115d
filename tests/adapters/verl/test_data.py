"""What the verl adapters read of a data set and of a reward function. Needs no verl."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from datasets import Dataset

from didact import make
from didact.adapters.verl.data import check_mark, evidence_of, mark_of, pool_of, scores_of


def rows(num=6, **info):
    return [
        {
            "data_source": "math_dapo",
            "prompt": [{"role": "user", "content": f"What is {row} + 1?"}],
            "reward_model": {"style": "rule", "ground_truth": str(row + 1)},
            "extra_info": {"index": row, **{name: values[row] for name, values in info.items()}},
        }
        for row in range(num)
    ]


def data(listed):
    return SimpleNamespace(dataframe=Dataset.from_list(listed))


# Evidence -------------------------------------------------------------------------------------------------------------


def test_right_or_wrong_is_what_verls_scorers_call_acc():
    """verl's math_dapo scores -1 and +1, its reward manager takes off for length: acc is what says right."""
    assert evidence_of({"score": -1.0, "acc": False, "pred": "3"}, -1.5, None) == 0
    assert evidence_of({"score": 1.0, "acc": True, "pred": "4"}, 0.6, None) == 1
    assert evidence_of({}, 0.25, None) == 0.25
    assert evidence_of({"acc": None}, 0.25, None) == 0.25
    assert evidence_of({"score": -1.0, "acc": True}, 0.6, "score") == -1
    assert math.isnan(evidence_of({"format": None, "acc": True}, 1, "format"))
    with pytest.raises(
        ValueError, match=r"data.curriculum.verifier=right: the reward function returned only acc, score"
    ):
        evidence_of({"score": 1, "acc": 1}, 1, "right")


def test_scores_of_a_whole_batch():
    batch = {"acc": np.array([True, None, False], dtype=object), "style": np.array([2.0, 3.0, 4.0])}
    assert scores_of(batch, [0.5, 0.5, -2], None).tolist() == [1.0, 0.5, 0.0]
    assert scores_of({}, [0.5, 1, -2], None).tolist() == [0.5, 1.0, -2.0]
    assert scores_of(batch, [0.5, 0.5, -2], "style").tolist() == [2.0, 3.0, 4.0]
    with pytest.raises(ValueError, match=r"verifier=right: the reward function returned no such score; .* acc, style"):
        scores_of(batch, [0.5, 0.5, -2], "right")


# Ids ------------------------------------------------------------------------------------------------------------------


def test_repeated_ids_are_refused_with_what_can_be_done(caplog):
    listed = rows()
    with pytest.raises(
        ValueError, match=r"60 rows have 6 prompt ids: 'math_dapo/0' is that of 10 rows, with one and the"
    ):
        pool_of(data(listed * 10), "index")
    for row in listed:
        row["extra_info"]["index"] = 0
    with pytest.raises(
        ValueError, match=r"different prompts, and no key of extra_info and no column is unique: add one"
    ):
        pool_of(data(listed), "index")
    for row in range(6):
        listed[row]["extra_info"]["uid"] = listed[row]["line"] = 5 * row
    with pytest.raises(
        ValueError, match=r"different prompts; name another key, \+data.curriculum.prompt_id=uid or line$"
    ):
        pool_of(data(listed), "index")
    assert pool_of(data(listed), "uid").ids.tolist() == ["0", "5", "10", "15", "20", "25"]
    assert "repeat" not in caplog.text


def test_a_key_that_is_missing_is_an_error():
    with pytest.raises(
        ValueError, match=r"no prompt id: neither extra_info \(which holds index\) nor a column has 'uid'"
    ):
        pool_of(data(rows()), "uid")


def test_repeated_texts_are_said(caplog):
    listed = rows()
    for row in listed[3:]:
        row["prompt"] = listed[0]["prompt"]
    pool_of(data(listed), "index")
    assert "3 of 6 prompts repeat the text of another" in caplog.text


# Columns --------------------------------------------------------------------------------------------------------------


def test_words_of_prompts_are_features_where_there_are_none():
    assert pool_of(data(rows()), "index").features is None
    features = pool_of(data(rows(12)), "index", words=True).features
    assert features.shape == (12, 32)
    assert np.array_equal(features[0], features[9])  # numbers of one digit are alike
    assert not np.allclose(features[0], features[10], atol=0.01)
    assert pool_of(data(rows(2, features=[[1.0], [2.0]])), "index", words=True).features.tolist() == [[1.0], [2.0]]


@pytest.mark.parametrize("difficulty", [["easy", "hard"] * 3, [{"level": 1}] * 6, [None, "x", None, None, None, None]])
def test_columns_that_a_method_does_not_use_do_not_stop_it(difficulty):
    pool = pool_of(data(rows(difficulty=difficulty, features=["x"] * 6, prompt_tokens=[None, 3, 4, 5, 6, 7])), "index")
    sizes = {"prompts_per_step": 2, "rollouts_per_step": 8}
    assert len(make("uniform", pool, **sizes).plan(0)) == 2
    with pytest.raises(ValueError, match=r"difficulty"):
        make("adarft", pool, **sizes).plan(0)


# The same data again --------------------------------------------------------------------------------------------------


def test_other_data_are_found_out_when_a_run_goes_on():
    saved = mark_of(data(rows()))
    check_mark(saved, data(rows(note=list("abcdef"))))  # extra_info is full of other things
    check_mark(None, data(rows()))  # a checkpoint from before
    listed = rows()
    listed[2]["reward_model"]["ground_truth"] = "4"
    with pytest.raises(
        ValueError, match=r"another data set: its column 'reward_model' held something else, .*train_files"
    ):
        check_mark(saved, data(listed))
    with pytest.raises(ValueError, match="its rows are the same in another order"):
        check_mark(saved, data(rows()[::-1]))
