"""A state file cut off or altered anywhere is refused by name or equals the original; it is never read as another."""

import math
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from didact import PromptPool, make
from didact.state import check_seal, digest, in_order, load_state, pieces, save_state, seal
from didact.testing.mutations import mutated

STATE = {
    "step": 3,
    "open": {"rows": np.arange(5), "none": np.zeros(0, dtype=np.int64), "rate": np.array([0.5, math.nan])},
    "list": [1, "é", None, True, {"scalar": np.array(2.5), "number": np.float32(0.25)}],
    "wild": [math.inf, math.nan],
}


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and (a == b or (a != a and b != b))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_state(tmp_path / "state.npz", STATE)
    return tmp_path / "state.npz"


def test_it_comes_back_as_it_was(path):
    loaded = load_state(path)
    loaded["list"][4]["number"] = np.float32(loaded["list"][4]["number"])  # numpy scalars become plain numbers
    assert same(loaded, STATE)


def test_a_method_s_state_comes_back(tmp_path):
    curriculum = make("cures", PromptPool(list("abcdef")), prompts_per_step=2, rollouts_per_step=8)
    curriculum.plan(0)
    save_state(tmp_path / "s.npz", curriculum.state_dict())
    assert same(load_state(tmp_path / "s.npz"), curriculum.state_dict())


def test_cut_off_at_every_byte(path):
    data = path.read_bytes()
    for end in range(len(data)):
        path.write_bytes(data[:end])
        with pytest.raises(ValueError, match=r"state.npz is cut off, damaged or no curriculum state"):
            load_state(path)


def test_a_changed_byte_never_gives_another_state(path):
    true, data = load_state(path), path.read_bytes()
    refused = 0
    for index in range(len(data)):
        changed = bytearray(data)
        changed[index] ^= 1 + index % 255
        path.write_bytes(changed)
        try:
            loaded = load_state(path)
        except ValueError:
            refused += 1
        else:
            assert same(loaded, true)  # dates and such in the archive's directory mean nothing
    assert refused > len(data) / 2


def test_files_of_other_kinds(tmp_path):
    path = tmp_path / "state.npz"
    with pytest.raises(FileNotFoundError, match="no curriculum state at"):
        load_state(path)
    with pytest.raises(FileNotFoundError, match="no curriculum state at"):
        load_state(tmp_path)
    np.savez(path, weights=np.ones(3))
    with pytest.raises(ValueError, match="no curriculum state"):
        load_state(path)
    np.save(tmp_path / "array.npy", np.ones(3))
    with pytest.raises(ValueError, match="no curriculum state"):
        load_state(tmp_path / "array.npy")
    np.savez(path, json=np.array([{"a": 1}], dtype=object))  # a pickle: never read
    with pytest.raises(ValueError, match="no curriculum state"):
        load_state(path)
    save_state(path, {"a": 1})
    np.savez(path, json=np.frombuffer(b"[1]", dtype=np.uint8))
    with pytest.raises(ValueError, match="holds no curriculum state"):
        load_state(path)


@pytest.mark.parametrize("value", [object(), {1: "a"}, {"a": {2, 3}}, np.array([None, "a"])])
def test_values_it_cannot_hold(tmp_path, value):
    with pytest.raises(TypeError, match="a state"):
        save_state(tmp_path / "state.npz", {"value": value})
    assert list(tmp_path.iterdir()) == []


FULL_DISK = """
import resource, sys
import numpy as np
from didact.state import load_state, save_state
save_state(sys.argv[1], {"step": 1})
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
try:
    save_state(sys.argv[1], {"step": 2, "array": np.ones(1000)})
    sys.exit("nothing was raised")
except OSError:
    pass
assert load_state(sys.argv[1]) == {"step": 1}
"""


def test_a_full_disk_leaves_the_earlier_state(tmp_path):
    target = tmp_path / "state.npz"
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(target)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == [target]


# The seal -------------------------------------------------------------------------------------------------------------


def test_every_change_breaks_the_seal_or_changes_nothing(path):
    state, rng, changed = load_state(path), np.random.default_rng(0), 0
    for _ in range(3000):
        other, what = mutated(state, rng)
        assert (digest(other) != digest(state)) == (not same(other, state)), what
        changed += not same(other, state)
    assert changed > 2000


def test_the_seal_survives_a_file_and_another_order_of_keys(path):
    turned = dict(reversed(STATE.items()))
    assert digest(load_state(path)) == digest(STATE) == digest(turned)
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


def test_a_file_that_unpacks_to_more_than_it_holds_is_refused(tmp_path):
    """A bomb of zeros: 8 MB in 8 KB."""
    np.savez_compressed(tmp_path / "bomb.npz", a0=np.zeros(10**6), json=np.frombuffer(b"{}", dtype=np.uint8))
    with pytest.raises(ValueError, match="no curriculum state"):
        load_state(tmp_path / "bomb.npz")
    save_state(tmp_path / "state.npz", {"zeros": np.zeros(10**6)})
    assert load_state(tmp_path / "state.npz")["zeros"].shape == (10**6,)
    with zipfile.ZipFile(tmp_path / "state.npz") as archive:
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}
