"""Training runs as a user starts them: in a process of their own, killed at random, resumed, compared byte for byte."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from didact.adapters.trl import CurriculumGRPOTrainer
from didact.files import locked
from didact.journal import read_journal
from didact.training.config import config_from
from didact.training.display import Silent
from didact.training.run import latest_checkpoint, resume_run, start_run

pytestmark = pytest.mark.slow

SMALL = {
    "steps": 12,
    "num_prompts": 64,
    "num_eval_prompts": 16,
    "eval_every": 5,
    "save_every": 2,
    "prompts_per_step": 4,
    "rollouts_per_step": 32,
    "max_completion_length": 8,
    "threads": 1,
    "device": "cpu",
    "method": "cures",
    "method_options": {"steps_per_iteration": 3},
}


@pytest.fixture(scope="module")
def settings(tiny_model: Path) -> dict[str, object]:
    return {**SMALL, "model": str(tiny_model)}


def results(run: Path) -> dict[str, bytes]:
    """Everything that an uninterrupted run and a resumed one must share, bit for bit."""
    files = [run / "journal.jsonl", run / "metrics.jsonl", *(run / "model").iterdir()]
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def test_a_run_leaves_what_it_promises(settings, tmp_path):
    run = tmp_path / "run"
    result = start_run(config_from(settings), run)
    assert result.finished
    assert [each["step"] for each in result.evaluations] == [0, 5, 10, 12]
    assert json.loads((run / "config.json").read_text())["steps"] == 12
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 12
    assert latest_checkpoint(run).name == "checkpoint-12"
    from transformers import AutoModelForCausalLM

    assert AutoModelForCausalLM.from_pretrained(run / "model").num_parameters() > 0


def test_runs_refuse_what_they_cannot_do(settings, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "something").write_text("of somebody's")
    with pytest.raises(FileExistsError, match="not empty"):
        start_run(config_from(settings), run)
    with pytest.raises(FileNotFoundError, match="no run"):
        resume_run(tmp_path / "nowhere")
    with pytest.raises(TypeError, match="did you mean 'temperature'"):
        start_run(config_from({**settings, "method_options": {"temprature": 1}}), tmp_path / "other")
    assert not (tmp_path / "other").exists()
    with pytest.raises(ValueError, match="GRPOConfig"):
        start_run(config_from({**settings, "trl": {"no_such_field": 1}}), tmp_path / "third")


def test_a_failure_after_training_began_is_no_bad_input(settings, tmp_path):
    class Breaks(Silent):
        def step(self, step, total, metrics):
            if step == 3:
                raise ValueError("out of ink")

    with pytest.raises(RuntimeError, match="training failed at step 3: out of ink"):
        start_run(config_from(settings), tmp_path / "run", Breaks())
    assert resume_run(tmp_path / "run").finished


def test_two_processes_on_one_run_folder(settings, tmp_path):
    (tmp_path / "run").mkdir()
    with locked(tmp_path / "run" / ".lock"), pytest.raises(ValueError, match="another process"):
        start_run(config_from(settings), tmp_path / "run")
    assert (tmp_path / "run" / ".lock").exists()  # the other one's


def test_rollouts_of_the_first_step_are_not_thrown_away(settings, tmp_path, monkeypatch):
    def fails(*_: object) -> None:
        raise ValueError("out of ink")

    monkeypatch.setattr(CurriculumGRPOTrainer, "_training_batch", fails)
    with pytest.raises(RuntimeError, match="training failed at step 0: out of ink"):
        start_run(config_from(settings), tmp_path / "run")
    assert any(record["kind"] == "outcomes" for record in read_journal(tmp_path / "run" / "journal.jsonl"))


def test_killed_at_three_random_moments_and_resumed_it_ends_the_same(settings, tmp_path):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    start_run(config_from(settings), straight)
    rng = random.Random(int(os.environ.get("DIDACT_KILL_SEED", "0")))
    kills = 0
    while kills < 3 and not (killed / "model").exists():
        process = command(settings, killed, tmp_path, resume=killed.exists())
        wait_for_journal(killed, process)
        time.sleep(rng.uniform(0, 0.8))
        process.kill()
        code = process.wait()
        assert code in (-signal.SIGKILL, 0), f"the command failed by itself with exit code {code}"
        kills += code == -signal.SIGKILL
    assert kills >= 2
    resume_run(killed)
    assert results(killed) == results(straight)
    resumes = [json.loads(line) for line in (killed / "resumes.jsonl").read_text().splitlines()]
    assert len(resumes) >= kills
    assert all(resume["dropped_rollouts"] >= 0 for resume in resumes)


def command(settings: dict[str, object], run: Path, folder: Path, resume: bool) -> subprocess.Popen[bytes]:
    config = folder / "config.toml"
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items() if not isinstance(value, dict)]
    lines += ["[method_options]", "steps_per_iteration = 3"]
    config.write_text("\n".join(lines))
    arguments = ["--resume", str(run)] if resume else ["--config", str(config), "--run", str(run)]
    program = [sys.executable, "-c", "from didact.cli.main import main; main()", "train", "--no-report", *arguments]
    return subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for_journal(run: Path, process: subprocess.Popen[bytes]) -> None:
    """Until training writes: anything earlier would only kill imports."""
    journal = run / "journal.jsonl"
    before = journal.stat().st_size if journal.exists() else 0
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if journal.exists() and journal.stat().st_size not in (before, 0):
            return
        time.sleep(0.01)
