"""The grid of runs: complete, repeatable, resumable, and honest about failures."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from didact.compare.config import compare_config
from didact.compare.grid import compare
from didact.journal import read_journal

PROGRAM = "from didact.cli.main import main; main()"
CELL: dict[str, Any] = {
    "name": "small",
    "learner": "skills",
    "pool_size": 256,
    "held_out": 64,
    "prompts_per_step": 8,
    "rollouts_per_step": 64,
    "rollouts": 640,
    "evaluations": 4,
}


class Heard:
    """A display that remembers."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int, int]] = []
        self.notes: list[str] = []

    def stage(self, name: str, done: int, total: int) -> None:
        self.stages.append((name, done, total))

    def note(self, text: str) -> None:
        self.notes.append(text)


def _config(**changes: Any) -> Any:
    return compare_config({"name": "t", "cells": [CELL], "variants": ["dapo"], "seeds": 2, **changes})


def _records(folder: Path) -> dict[tuple[str, int], dict[str, Any]]:
    records = read_journal(folder / "runs.jsonl")
    for record in records:
        record.get("curve", {}).pop("seconds", None)
        record.pop("crc", None)
    return {(record["variant"], record["seed"]): record for record in records}


def test_every_variant_runs_on_every_seed_with_its_whole_budget(tmp_path: Path) -> None:
    heard = Heard()
    assert compare(_config(), tmp_path / "c", jobs=2, progress=heard)
    records = _records(tmp_path / "c")
    assert set(records) == {(name, seed) for name in ("uniform", "oracle", "dapo") for seed in (1, 2)}
    for record in records.values():
        assert record["status"] == "finished"
        curve = record["curve"]
        assert curve["rollouts"][0] == 0
        assert curve["rollouts"][-1] >= 640
        assert record["metrics"]["rollouts"] == curve["rollouts"][-1]
    for seed in (1, 2):  # paired: the same start for all
        assert len({records[name, seed]["curve"]["accuracy"][0] for name in ("uniform", "oracle", "dapo")}) == 1
    assert records["dapo", 1]["curve"]["updates"][-1] <= records["uniform", 1]["curve"]["updates"][-1] == 10
    assert heard.stages[-1] == ("comparing", 6, 6)


def test_a_run_repeats_exactly_and_more_seeds_are_added_to_what_is_there(tmp_path: Path) -> None:
    compare(_config(), tmp_path / "a", jobs=1, progress=Heard())
    compare(_config(seeds=1), tmp_path / "b", jobs=2, progress=Heard())
    size = (tmp_path / "b" / "runs.jsonl").stat().st_size
    heard = Heard()
    compare(_config(), tmp_path / "b", jobs=2, progress=heard)
    assert heard.stages[0] == ("comparing", 3, 6)
    assert (tmp_path / "b" / "runs.jsonl").stat().st_size > size
    assert _records(tmp_path / "a") == _records(tmp_path / "b")


def test_another_comparison_in_the_folder_is_refused(tmp_path: Path) -> None:
    compare(_config(seeds=1, variants=["uniform"]), tmp_path, jobs=1, progress=Heard())
    with pytest.raises(ValueError, match="a comparison with other targets"):
        compare(_config(seeds=1, gain=0.3), tmp_path, jobs=1, progress=Heard())
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds no comparison"):
        compare(_config(), tmp_path / "elsewhere", jobs=1, progress=Heard())


def test_two_processes_on_one_folder(tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"), pytest.raises(ValueError, match="another process is working on"):
        compare(_config(), tmp_path, jobs=1, progress=Heard())


def test_bad_options_are_refused_before_anything_runs(tmp_path: Path) -> None:
    bad = {"name": "x", "method": "dapo", "options": {"max_round": 3}}
    with pytest.raises(ValueError, match=r"variant 'x' in cell 'small': .*did you mean 'max_rounds'"):
        compare(_config(variants=[bad]), tmp_path / "c", jobs=1, progress=Heard())
    assert not (tmp_path / "c").exists()


def test_a_run_that_fails_is_recorded_and_run_again(tmp_path: Path) -> None:
    config = _config(seeds=1, cells=[{**CELL, "learner_options": {"floor": 3.0}}])
    heard = Heard()
    assert compare(config, tmp_path, jobs=1, progress=heard)
    records = read_journal(tmp_path / "runs.jsonl")
    assert [record["status"] for record in records] == ["failed"] * 3
    assert "floor must lie between" in records[0]["error"]
    assert len(heard.notes) == 3
    compare(config, tmp_path, jobs=1, progress=heard)
    assert len(read_journal(tmp_path / "runs.jsonl")) == 6


def test_tuning_gives_every_variant_the_same_runs_and_its_best_learning_rate(tmp_path: Path) -> None:
    rates = [1e-4, 0.2]
    config = _config(tuning={"learning_rates": rates, "seeds": [101, 102]}, seeds=1)
    compare(config, tmp_path, jobs=2, progress=Heard())
    tried = [(row["variant"], row["learning_rate"], row["seed"]) for row in read_journal(tmp_path / "tuning.jsonl")]
    assert sorted(tried) == sorted(
        (name, rate, seed) for name in ("uniform", "oracle", "dapo") for rate in rates for seed in (101, 102)
    )
    chosen = {row["variant"]: row["learning_rate"] for row in json.loads((tmp_path / "tuning.json").read_text())}
    assert chosen["oracle"] == 0.2  # at 1e-4 nothing is learnt
    assert {row["variant"]: row["learning_rate"] for row in read_journal(tmp_path / "runs.jsonl")} == chosen


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_keeps_what_ended_and_the_same_command_goes_on(tmp_path: Path, times: int) -> None:
    command = [sys.executable, "-c", PROGRAM, "simulate", "--methods", "dapo", "--pool-size", "4096", "--seeds", "6",
               "--rollouts", "60000", "--jobs", "2", "--folder", str(tmp_path / "c")]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 120
    runs = tmp_path / "c" / "runs.jsonl"
    while time.monotonic() < deadline and not (runs.exists() and runs.stat().st_size):
        time.sleep(0.1)
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.2)
    assert process.wait(120) == 130
    ended = len(read_journal(runs))
    assert 1 <= ended < 18
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert "uniform" in done.stdout
    assert len(read_journal(runs)) == 18
