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
from didact.state_file import load_state, save_state

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
from didact.state_file import load_state, save_state
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


def test_a_file_that_unpacks_to_more_than_it_holds_is_refused(tmp_path):
    """A bomb of zeros: 8 MB in 8 KB."""
    np.savez_compressed(tmp_path / "bomb.npz", a0=np.zeros(10**6), json=np.frombuffer(b"{}", dtype=np.uint8))
    with pytest.raises(ValueError, match="no curriculum state"):
        load_state(tmp_path / "bomb.npz")
    save_state(tmp_path / "state.npz", {"zeros": np.zeros(10**6)})
    assert load_state(tmp_path / "state.npz")["zeros"].shape == (10**6,)
    with zipfile.ZipFile(tmp_path / "state.npz") as archive:
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}
