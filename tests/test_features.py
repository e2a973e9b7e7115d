"""Features out of words: which texts are alike, and that the same texts give the same features everywhere."""

import subprocess
import sys

import numpy as np
import pytest

from didact.features import WordFeatures, text_of

KINDS = ["What is {} + {}?", "Compute the product of {} and {}.", "Sort these numbers: {}, {}"]
TEXTS = [KINDS[index % 3].format(index, 7 * index) for index in range(90)]


def test_texts_of_one_kind_are_nearer_than_those_of_another() -> None:
    rows = WordFeatures(TEXTS).of(TEXTS)
    assert (rows.shape, rows.dtype) == ((90, 32), np.float32)
    apart = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    same = np.arange(90)[:, None] % 3 == np.arange(90) % 3
    np.fill_diagonal(apart, np.inf)
    assert (apart.argmin(axis=0) % 3 == np.arange(90) % 3).all()
    assert np.median(apart[same]) < 0.5 * apart[~same].min()


def test_a_number_counts_by_how_many_digits_it_has() -> None:
    words = WordFeatures(TEXTS)
    short, other, long = words.of(["What is 7 + 3?", "What is 9 + 8?", "What is 1234 + 5678?"])
    assert np.array_equal(short, other)
    assert not np.allclose(short, long, atol=0.01)


def test_case_and_order_do_not_count_signs_do() -> None:
    words = WordFeatures(["a b + c", "d * e f", "A?"])
    left, right, signed = words.of(["a b + c", "C + B A", "a b * c"])
    assert np.array_equal(left, right)
    assert not np.allclose(left, signed, atol=0.01)


def test_texts_that_it_was_not_made_of_and_parts_of_a_list() -> None:
    """As a pool that grows needs it: a text's features do not depend on what else is asked."""
    words = WordFeatures(TEXTS)
    assert words.of(iter(TEXTS[3:5])) == pytest.approx(words.of(TEXTS)[3:5], abs=1e-6)
    assert np.isfinite(words.of(["", "never ever seen", "\ud800 ½ 数"])).all()
    assert words.of([]).shape == (0, 32)


def test_more_texts_than_are_worked_on_at_a_time() -> None:
    many = [TEXTS[index % 90] for index in range(10_000)]
    rows = WordFeatures(many, width=4).of(many)
    assert rows[9990:] == pytest.approx(rows[:10], abs=1e-6)


def test_the_first_direction_is_that_in_which_texts_differ_most() -> None:
    spread = WordFeatures(TEXTS, width=8).of(TEXTS).std(axis=0)
    assert (np.diff(spread) <= 1e-6).all()
    assert spread[0] > 0.1


def test_texts_that_differ_in_fewer_ways_have_zeros_for_the_rest() -> None:
    rows = WordFeatures(["one", "two"], width=5).of(["one", "two", "two"])
    assert rows.shape == (3, 5)
    assert np.array_equal(rows[:, 1:], np.zeros((3, 4)))
    assert rows[0, 0] == pytest.approx(-rows[1, 0])
    assert abs(rows[0, 0]) > 0.1
    assert np.array_equal(WordFeatures(["same", "same"]).of(["same"]), np.zeros((1, 32)))
    assert np.array_equal(WordFeatures([""]).of([""]), np.zeros((1, 32)))


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_another_process_gives_the_same(hash_seed: str) -> None:
    """Python's own hashes of text differ from process to process."""
    code = f"from didact.features import WordFeatures; print(WordFeatures({TEXTS}, 3).of({TEXTS[:4]}).tobytes().hex())"
    run = {"capture_output": True, "text": True, "check": True, "timeout": 100}
    env = {"PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env={**env, "PYTHONHASHSEED": hash_seed}, **run)
    there = np.frombuffer(bytes.fromhex(done.stdout), dtype=np.float32).reshape(4, 3)
    assert there == pytest.approx(WordFeatures(TEXTS, 3).of(TEXTS[:4]), abs=1e-5)


def test_the_text_of_prompts_as_data_sets_have_them() -> None:
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image"}]
    talk = [{"role": "system", "content": "Be short."}, {"role": "user", "content": parts}]
    assert text_of("What?") == "What?"
    assert text_of(talk) == "Be short.\nWhat is this?\n"
    assert [text_of(other) for other in (None, 3, [])] == ["", "", ""]


def test_bad_arguments() -> None:
    for texts in ([], "one text"):
        with pytest.raises(ValueError, match="texts must be a list of prompts, and at least one"):
            WordFeatures(texts)
    for width in (0, 1025):
        with pytest.raises(ValueError, match=f"width must be 1 to 1024, got {width}"):
            WordFeatures(["a"], width=width)
    with pytest.raises(TypeError, match="a text must be a str, got None at place 1"):
        WordFeatures(["a", None])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="a text must be a str, got 3 at place 0"):
        WordFeatures(["a"]).of([3])  # type: ignore[list-item]
