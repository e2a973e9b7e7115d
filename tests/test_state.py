"""What differs from what was sealed, in whatever value, is refused."""

from pathlib import Path

import numpy as np
import pytest

from didact.state import check_seal, digest, in_order, load_state, pieces, save_state, seal
from didact.testing.mutations import mutated
from tests.test_state_file import STATE, same


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_state(tmp_path / "state.npz", STATE)
    return tmp_path / "state.npz"


def test_every_change_breaks_the_seal_or_changes_nothing(saved):
    state, rng, changed = load_state(saved), np.random.default_rng(0), 0
    for _ in range(3000):
        other, what = mutated(state, rng)
        assert (digest(other) != digest(state)) == (not same(other, state)), what
        changed += not same(other, state)
    assert changed > 2000


def test_the_seal_survives_a_file_and_another_order_of_keys(saved):
    turned = dict(reversed(STATE.items()))
    assert digest(load_state(saved)) == digest(STATE) == digest(turned)
    assert digest({"a": (1, 2)}) == digest({"a": [1, 2]}) != digest({"a": [1, 2.0]})
    assert digest({"a": np.float64(0.5)}) == digest({"a": 0.5})
    assert digest({"a": np.arange(6)[::2]}) == digest({"a": np.array([0, 2, 4])})


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (None, "no state of a desk: expected .* got NoneType"),
        ({}, r"no state of a desk: expected the keys \['a', 'digest', 'schema'\], got \[\]"),
        ({**seal({"a": 1, "schema": 2}), 3: 4}, "no state of a desk"),
        (seal({"a": 1, "schema": 9}), "state of schema 9, this version of didact reads schema 2"),
        ({**seal({"a": 1, "schema": 2}), "a": 1.0}, "altered or damaged since it was saved"),
        ({**seal({"a": 1, "schema": 2}), "digest": None}, "altered or damaged since it was saved"),
        ({"a": {1, 2}, "schema": 2, "digest": ""}, "holds what no state can hold: a state cannot hold set"),
    ],
)
def test_what_is_not_sealed_is_refused(bad, words):
    with pytest.raises(ValueError, match=words):
        check_seal(bad, "desk", ("a", "schema"), 2)
    check_seal(seal({"a": 1, "schema": 2}), "desk", ("a", "schema"), 2)


def test_pieces_and_positions():
    assert [part.tolist() for part in pieces(np.arange(4), np.array([1, 0, 3]))] == [[0], [], [1, 2, 3]]
    assert [part.shape for part in pieces(np.zeros((4, 3)), np.array([1, 2]))] == [(4, 1), (4, 2)]
    assert pieces(np.zeros(0), np.zeros(0, dtype=np.int64)) == []
    for sizes in ([1, 2], [4, -1, 1], []):
        with pytest.raises(ValueError, match="do not make up 4 values"):
            pieces(np.arange(4), np.array(sizes, dtype=np.int64))
    assert in_order(np.array([0, 2, 3]), 4)
    assert in_order(np.zeros(0), 0)
    for positions in ([0, 2, 4], [-1, 2], [2, 2], [3, 1]):
        assert not in_order(np.array(positions), 4)
