"""Response lengths: a regression of their logs."""

import numpy as np
import pytest

from didact.belief.lengths import ResponseLengths


def rows_of(num: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate([np.ones((num, 1)), rng.standard_normal((num, 2))], axis=1)


TRUTH = np.array([5.0, 0.7, -0.4])


def test_nothing_is_known_at_first() -> None:
    lengths = ResponseLengths(3)
    assert lengths.expected(rows_of(2)).tolist() == [1.0, 1.0]
    lengths.learn(rows_of(0), np.zeros(0))
    assert lengths.expected(rows_of(2)).tolist() == [1.0, 1.0]


def test_it_finds_lengths_that_follow_the_rows() -> None:
    lengths = ResponseLengths(3)
    for batch in range(20):
        rows = rows_of(16, batch)
        lengths.learn(rows, np.exp(rows @ TRUTH))
    rows = rows_of(50, seed=99)
    assert lengths.expected(rows) == pytest.approx(np.exp(rows @ TRUTH), rel=0.02)


def test_long_tails_are_paid_for() -> None:
    """The mean of a lognormal is exp(s^2 / 2) times its median: 1.38 times here."""
    lengths, rng = ResponseLengths(3), np.random.default_rng(1)
    for batch in range(100):
        rows = rows_of(64, batch)
        lengths.learn(rows, np.exp(rows @ TRUTH + 0.8 * rng.standard_normal(64)))
    rows = rows_of(200, seed=999)
    ratio = lengths.expected(rows) / np.exp(rows @ TRUTH)
    assert np.exp(np.log(ratio).mean()) == pytest.approx(np.exp(0.8**2 / 2), rel=0.05)


def test_what_was_long_ago_fades() -> None:
    lengths, rows = ResponseLengths(1), np.ones((8, 1))
    for tokens in (20.0, 400.0):
        for _ in range(400):
            lengths.learn(rows, np.full(8, tokens))
    expected = float(lengths.expected(rows)[0])
    assert expected == pytest.approx(400, rel=0.1)


def test_a_batch_without_responses_changes_nothing() -> None:
    lengths = ResponseLengths(3)
    lengths.learn(rows_of(8), np.full(8, 50.0))
    before = lengths.expected(rows_of(5, 1))
    for _ in range(100):
        lengths.learn(rows_of(0), np.zeros(0))
    assert np.array_equal(lengths.expected(rows_of(5, 1)), before)


def test_no_length_is_less_than_a_token_nor_without_bounds() -> None:
    lengths = ResponseLengths(2)
    rows = np.array([[1.0, 1.0], [1.0, -1.0]])
    lengths.learn(rows, np.array([0.0, 2.0**30]))
    assert lengths.expected(np.array([[1.0, 1e6], [1.0, -1e6]])).tolist() == [1.0, pytest.approx(np.exp(20))]


def test_a_state_goes_on_as_it_was_and_brings_its_width() -> None:
    lengths, other = ResponseLengths(3), ResponseLengths(7)
    lengths.learn(rows_of(8), np.arange(8.0) + 5)
    other.load_state_dict(lengths.state_dict())
    for each in (lengths, other):
        each.learn(rows_of(8, 2), np.arange(8.0) + 9)
    assert np.array_equal(other.expected(rows_of(5, 1)), lengths.expected(rows_of(5, 1)))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("moment", np.zeros(4), r"moments of shape \(4,\) have no precision of shape \(3, 3\)"),
        ("moment", np.array([0.0, np.nan, 0.0]), "must be finite"),
        ("squares", float("inf"), "must be finite"),
        ("count", -1.0, "at least 0"),
    ],
)
def test_a_state_that_no_regression_has_is_refused(name: str, value: object, words: str) -> None:
    lengths = ResponseLengths(3)
    with pytest.raises(ValueError, match=words):
        lengths.load_state_dict({**lengths.state_dict(), name: value})
