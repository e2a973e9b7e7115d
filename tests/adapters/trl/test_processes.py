"""Several processes train as one: same plans, same journal, same weights up to the order of summation."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from didact.files import locked
from didact.manifest import fault
from tests.adapters.trl import processes

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
SAVING = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}


def launch(model: str, folder: Path, num: int = 2) -> subprocess.CompletedProcess[str]:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={num}", f"--master_port={port}"]
    command += ["-m", "tests.adapters.trl.processes", model, str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)


def seen(folder: Path, rank: int) -> dict[str, object]:
    return json.loads((folder / f"seen-{rank}.json").read_text())


def weights(folder: Path, rank: int) -> np.ndarray:
    return np.load(folder / f"weights-{rank}.npy")


@pytest.fixture(scope="module")
def folder(model_path, tmp_path_factory) -> Path:
    """All that two processes were asked to show, last of all an end; checkpoints of one process were there before."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root  # one start for all of pytest's workers
    folder = root / "processes"
    with locked(root / "processes.lock", seconds=None):
        if not (folder / "errors.json").exists():
            for method in ("cures", "speed"):
                processes.run(method, model_path, folder / f"{method}-one", 1, **SAVING)
            done = launch(model_path, folder)
            assert (folder / "errors.json").exists(), done.stderr[-4000:]
            seconds = time.time() - (folder / "errors.json").stat().st_mtime
            ended = {"code": done.returncode, "said": done.stderr, "seconds": seconds}
            (folder / "ended.json").write_text(json.dumps(ended))
    return folder


@pytest.mark.parametrize("name", processes.CASES)
def test_two_processes_train_as_one(folder, model_path, tmp_path, name):
    before = processes.trainer_for(name, model_path, tmp_path / "before", 1).model.state_dict()
    processes.run(name, model_path, tmp_path / "one", 1)
    one, first, second = seen(tmp_path / "one", 0), seen(folder / name, 0), seen(folder / name, 1)
    assert first["plans"] == second["plans"] == one["plans"]
    assert (folder / name / "journal.jsonl").read_bytes() == (tmp_path / "one" / "journal.jsonl").read_bytes()
    assert first["metrics"] == one["metrics"]
    assert np.array(first["moments"]) == pytest.approx(np.array(one["moments"]), rel=1e-3)
    assert bool(one["moments"]) == (name == "gradients")
    assert first["loss"] == pytest.approx(one["loss"], abs=1e-6)
    assert first["zero_std"] == pytest.approx(one["zero_std"])
    assert np.array_equal(weights(folder / name, 0), weights(folder / name, 1))
    moved = np.abs(weights(tmp_path / "one", 0) - np.concatenate([value.flatten() for value in before.values()])).max()
    assert moved > 1e-3
    assert np.abs(weights(folder / name, 0) - weights(tmp_path / "one", 0)).max() < 1e-6


@pytest.mark.parametrize("name", processes.CASES)
def test_the_work_is_the_same_on_every_process(folder, name):
    """However few groups a method admits, and wherever they were rolled out: the slowest process sets the pace."""
    first, second = seen(folder / name, 0), seen(folder / name, 1)
    assert first["generated"] == second["generated"]
    steps = {plan[0][0] for plan in first["plans"]}
    assert 0 <= first["trained"] - second["trained"] <= len(steps)  # at most one row a step
    generated, wanted = first["generated"] + second["generated"], first["metrics"]["rollouts"]
    assert 0 <= generated - wanted <= len(first["plans"])  # rows that fill up: at most one for each call here
    assert (generated > wanted) == (name == "odd")


@pytest.mark.parametrize("method", ["cures", "speed"])
def test_resume_on_as_many_processes_is_exact(folder, method):
    """With TRL's own sampling and Adam."""
    for rank in (0, 1):
        straight, again = folder / f"{method}-real", folder / f"{method}-again"
        assert np.array_equal(weights(straight, rank), weights(again, rank))
        assert (straight / "journal.jsonl").read_bytes() == (again / "journal.jsonl").read_bytes()
        assert seen(straight, 0)["metrics"] == seen(again, 0)["metrics"]


@pytest.mark.parametrize("method", ["cures", "speed"])
def test_resume_on_another_number_of_processes(folder, model_path, tmp_path, method):
    """From one to two and from two to one: the run that went on as it began, up to the order of summation."""
    checkpoint = folder / f"{method}-straight" / "checkpoint-2"
    processes.run(method, model_path, tmp_path, 1, resume=checkpoint, **SAVING)
    others = [folder / f"{method}-{run}" for run in ("one", "straight", "from-one")]
    journals = {run: (run / "journal.jsonl").read_bytes() for run in [tmp_path, *others]}
    assert len(set(journals.values())) == 1
    for run in journals:
        assert np.abs(weights(run, 0) - weights(folder / f"{method}-straight", 0)).max() < 1e-6
    more = {"resume": checkpoint, "per_device_train_batch_size": 4}
    with pytest.raises(ValueError, match=r"generation_batch_size=16, this run has 8.*16 / 1, the number of processes"):
        processes.run(method, model_path, tmp_path, 1, **SAVING, **more)


def test_some_groups_waited_at_the_checkpoint(folder):
    from didact.adapters.trl import STATE_FILE
    from didact.state import load_state

    for run in ("speed-straight", "speed-one", "speed-real"):
        assert load_state(folder / run / "checkpoint-2" / STATE_FILE)["held"]["lengths"]


def test_the_manifest_names_what_every_process_wrote(folder):
    checkpoint = folder / "cures-real" / "checkpoint-4"
    assert fault(checkpoint) is None
    named = json.loads((checkpoint / "manifest.json").read_text())["files"]
    assert {"rng_state_0.pth", "rng_state_1.pth", "optimizer.pt", "curriculum.npz"} <= set(named)
    (checkpoint / "rng_state_1.pth").rename(checkpoint / "elsewhere")
    assert fault(checkpoint) == "rng_state_1.pth is missing"
    (checkpoint / "elsewhere").rename(checkpoint / "rng_state_1.pth")


def test_what_goes_wrong_is_said_on_every_process(folder):
    first, second = json.loads((folder / "errors.json").read_text())
    assert first["curriculum"] == "OSError: no space left for the journal"
    assert second["curriculum"] == f"RuntimeError: the main process stopped with {first['curriculum']}"
    assert "did you mean 'uniform'" in first["method"]
    assert "did you mean 'uniform'" in second["method"]
    for said in (first, second):
        assert said["journal"].startswith("ValueError: 2 processes opened a journal")
        assert said["data"].startswith("ValueError: the processes loaded data sets of [48, 47] rows")
    assert first["asked"] == "no error"
    assert "it lives on the main process" in second["asked"]


def test_an_error_on_one_process_ends_all(folder):
    """The last thing that the two do: the verifier fails on the second."""
    ended = json.loads((folder / "ended.json").read_text())
    assert ended["code"] != 0
    assert "the verifier divided by zero" in ended["said"]
    assert ended["seconds"] < 120  # a collective without its partner would wait for half an hour
