"""The grid of runs: complete, repeatable, resumable, and honest about failures."""

import copy
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from didact.compare.config import compare_config
from didact.compare.grid import Job, area_of, check, compare, play
from didact.compare.summary import summarise
from didact.files import locked
from didact.journal import read_journal
from didact.sealed import read_sealed, write_sealed

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
    with locked(tmp_path / ".lock"), pytest.raises(ValueError, match="another process is working on"):
        compare(_config(), tmp_path, jobs=1, progress=Heard())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"variants": [{"name": "x", "method": "dapo", "options": {"max_round": 3}}]}, "did you mean 'max_rounds'"),
        ({"variants": [{"name": "x", "method": "dapo", "options": {"seed": 3}}]}, "seed is no option of a variant"),
        ({"variants": [{"name": "x", "method": "dapo", "options": {"prompts_per_step": 10**10}}]}, "1 to 100,000"),
        ({"variants": [{"name": "x", "method": "dapo", "options": {"prompts_per_step": "8"}}]}, "prompts_per_step"),
        ({"variants": [{"name": "oracle", "options": {"refresh_rollouts": 0}}]}, "refresh_rollouts must be"),
        ({"variants": [{"name": "oracle", "options": {"refresh": 2}}]}, "unknown option 'refresh' for method 'oracle'"),
        ({"cells": [{**CELL, "learner_options": {"floor": 3.0}}]}, "floor must lie between"),
        ({"cells": [{**CELL, "learner_options": {"num_skills": 10**9}}]}, "num_skills must be 1 to 100,000"),
        ({"cells": [{**CELL, "learner_options": {"flor": 0.1}}]}, "did you mean 'floor'"),
        ({"cells": [{**CELL, "learner": "policy", "task_options": {"level": [1]}}]}, "task_options"),
        ({"cells": [{**CELL, "learner": "policy", "held_out": 10_000}]}, "held_out of a real model must be 8,192"),
    ],
)  # fmt: skip
def test_what_is_bad_is_refused_before_the_folder_is_touched(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        compare(_config(**changes), tmp_path / "c", jobs=1, progress=Heard())
    assert not (tmp_path / "c").exists()


class Spoilt(Heard):
    """A display during which somebody takes the pool's file away."""

    def __init__(self, pool: Path) -> None:
        super().__init__()
        self._pool = pool

    def stage(self, name: str, done: int, total: int) -> None:
        super().stage(name, done, total)
        self._pool.unlink(missing_ok=True)


def test_a_run_that_fails_is_recorded_and_run_again(tmp_path: Path) -> None:
    pool = tmp_path / "rates.json"
    pool.write_text(json.dumps({"edges": [0, 1], "counts": [100]}))
    config = _config(seeds=1, cells=[{**CELL, "pool": str(pool)}])
    spoilt = Spoilt(pool)
    assert compare(config, tmp_path / "c", jobs=1, progress=spoilt)
    records = read_journal(tmp_path / "c" / "runs.jsonl")
    assert [record["status"] for record in records] == ["failed"] * 3
    assert "FileNotFoundError" in records[0]["error"]
    assert len(spoilt.notes) == 3
    pool.write_text(json.dumps({"edges": [0, 1], "counts": [100]}))
    assert compare(config, tmp_path / "c", jobs=1, progress=Heard())
    assert [row["status"] for row in read_journal(tmp_path / "c" / "runs.jsonl")] == ["failed"] * 3 + ["finished"] * 3


def test_a_run_that_diverges_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    config = _config()
    monkeypatch.setattr("didact.simulate.SharedSkills.evaluate", lambda self: np.nan)
    record = play(Job(config.cells[0], config.variants[0], 1))
    assert record["status"] == "failed"
    assert "accuracy of the curve must be finite" in record["error"]


def test_a_budget_in_steps_gives_all_the_same_steps_and_the_summary_compares_at_equal_rollouts(tmp_path: Path) -> None:
    config = _config(cells=[{**CELL, "steps": 12}], variants=["cures"], seeds=1)
    assert compare(config, tmp_path, jobs=1, progress=Heard())
    records = _records(tmp_path)
    assert {record["curve"]["step"][-1] for record in records.values()} == {12}
    assert records["cures", 1]["budget"] == {"step": 12}
    assert records["uniform", 1]["curve"]["rollouts"][-1] == 12 * 64
    assert summarise(tmp_path)["cells"]["small"]["rollouts"] == 12 * 64


def test_the_area_that_tuning_maximises_is_over_what_the_budget_is_in() -> None:
    curve = {"step": [0, 1, 4], "rollouts": [0, 30, 40], "accuracy": [0.0, 0.4, 0.4]}
    assert area_of({"curve": curve, "budget": {"step": 4}}) == pytest.approx(0.35)
    assert area_of({"curve": curve, "budget": {"rollouts": 40}}) == pytest.approx(0.25)


@pytest.mark.parametrize("damage", ["cut", "digit", "foreign", "empty"])
def test_changed_settings_are_refused_and_nothing_is_written(tmp_path: Path, damage: str) -> None:
    compare(_config(seeds=1, variants=["uniform"]), tmp_path, jobs=1, progress=Heard())
    path = tmp_path / "config.json"
    text = path.read_text(encoding="utf-8")
    damaged = {
        "cut": text[: len(text) // 2],
        "digit": text.replace('"rollouts": 640', '"rollouts": 641'),
        "foreign": '{"model_type": "llama"}',
        "empty": "",
    }
    path.write_text(damaged[damage], encoding="utf-8")
    before = {entry: entry.read_bytes() for entry in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=r"config\.json (is not JSON|was changed|carries no digest)"):
        compare(_config(seeds=1, variants=["uniform"]), tmp_path, jobs=1, progress=Heard())
    assert before == {entry: entry.read_bytes() for entry in tmp_path.iterdir()}


def test_a_folder_of_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "model.safetensors").write_text("weights")
    with pytest.raises(ValueError, match="carries no digest"):
        compare(_config(), tmp_path, jobs=1, progress=Heard())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("left", [[".lock"], [".lock", "config.json.tmp"], ["config.json", "runs.jsonl"]])
def test_a_folder_in_which_nothing_has_run_takes_other_settings(tmp_path: Path, left: list[str]) -> None:
    for name in left:
        (tmp_path / name).touch()
    if "config.json" in left:
        write_sealed(tmp_path / "config.json", {"name": "../../bad"})
    compare(_config(seeds=1, variants=["uniform"]), tmp_path, jobs=1, progress=Heard())
    assert read_sealed(tmp_path / "config.json")["targets"] == {"gain": 0.1}


def test_a_damaged_journal_is_refused_and_kept(tmp_path: Path) -> None:
    config = _config(seeds=1, variants=["uniform"])
    compare(config, tmp_path, jobs=1, progress=Heard())
    path = tmp_path / "runs.jsonl"
    damaged = path.read_bytes().replace(b'"seed":1', b'"seed":2', 1)
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"runs\.jsonl, line 1: damaged"):
        compare(config, tmp_path, jobs=1, progress=Heard())
    assert path.read_bytes() == damaged


ODD: list[Any] = [
    None, True, -1, 0, 1, 3, 10**10, 2**63, 10**400, -0.5, 1e-300, 1e300, float("nan"), float("inf"), "", "x",
    "../../x", "uniform", "oracle", "policy", "independent", "nul\0", "a\nb", "x" * 300, "\udcff", [], [1], ["x"],
    [[]], [[[[]]]], [1e9], [1, 1], {}, {"name": "x"}, {"x": {"x": {}}}, b"bytes",
]  # fmt: skip


def _mutated(values: Any, rng: random.Random) -> Any:
    """Settings with one entry somewhere replaced, removed, doubled or renamed."""
    values = copy.deepcopy(values)
    place = values
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = rng.choice(keys)
        if isinstance(place[key], dict | list) and place[key] and rng.random() < 0.8:
            place = place[key]
            continue
        change = rng.choice(["replace", "replace", "replace", "remove", "double", "rename"])
        if change == "replace":
            place[key] = rng.choice(ODD)
        elif change == "remove":
            del place[key]
        elif isinstance(place, list):
            place.append(copy.deepcopy(place[key]))
        elif change == "rename":
            place[key + "s"] = place.pop(key)
        return values


def test_settings_changed_at_random_are_good_or_refused_in_one_line() -> None:
    whole = {
        "name": "t",
        "gain": 0.1,
        "baseline": "uniform",
        "seeds": [1, 2],
        "defaults": {"rollouts": 1280, "evaluations": 4},
        "tuning": {"learning_rates": [0.1, 0.2], "seeds": [101, 102]},
        "cells": [
            {**CELL, "learner_options": {"score_noise": 0.5, "num_skills": 8, "floor": 0.01}, "advantage": "grpo"},
            {"name": "real", "task": "arithmetic", "task_options": {"levels": [1, 2]}, "tuned_on": "small"},
        ],
        "variants": [
            "dapo",
            {"name": "hot", "method": "cures", "options": {"temperature": 1.0, "min_rollouts": 4}, "advantage": "own"},
            {"name": "oracle", "method": "oracle", "options": {"refresh_rollouts": 512, "discount": 0.9}},
            {"name": "small steps", "method": "speed", "options": {"prompts_per_step": 4, "rollouts_per_step": 32}},
        ],
    }
    check(compare_config(whole))
    rng = random.Random(0)
    said = []
    for number in range(1000):
        values = _mutated(whole, rng)
        if rng.random() < 0.3:
            values = _mutated(values, rng)
        try:
            config = compare_config(values)
            check(config)
        except (ValueError, FileNotFoundError) as error:
            said.append(str(error))
        else:
            assert compare_config(config.to_dict()) == config, number
    assert 500 < len(said) < 1000
    assert all(len(text.splitlines()) == 1 and len(text) < 1500 for text in said), max(said, key=len)


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
    whole = (tmp_path / "tuning.json").read_text()
    (tmp_path / "tuning.json").write_text(whole.replace("0.2", "0.3")[:100])  # for people: nothing is read from it
    compare(config, tmp_path, jobs=1, progress=Heard())
    assert (tmp_path / "tuning.json").read_text() == whole
    assert len(read_journal(tmp_path / "runs.jsonl")) == 3


COMMAND = [sys.executable, "-c", PROGRAM, "simulate", "--methods", "dapo", "--pool-size", "4096", "--seeds", "6",
           "--rollouts", "7500"]  # fmt: skip


def _started(*arguments: str) -> subprocess.Popen[str]:
    def listen() -> None:  # pytest itself may run with Ctrl-C ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    return subprocess.Popen(
        [*COMMAND, *arguments], stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=listen
    )


def _await_records(path: Path, number: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (path.exists() and path.read_bytes().count(b"\n") >= number):
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize(("times", "pause"), [(1, 0.0), (2, 0.3), (5, 0.0)])
def test_ctrl_c_keeps_what_ended_and_the_same_command_goes_on(tmp_path: Path, times: int, pause: float) -> None:
    runs = tmp_path / "c" / "runs.jsonl"
    process = _started("--jobs", "2", "--folder", str(tmp_path / "c"))
    _await_records(runs, 1)
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(pause)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in said
    ended = len(read_journal(runs))
    assert 1 <= ended < 18
    done = subprocess.run(
        [*COMMAND, "--jobs", "2", "--folder", str(tmp_path / "c")],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert "uniform" in done.stdout
    assert len(read_journal(runs)) == 18


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_records_in_the_same_order(tmp_path: Path) -> None:
    small = ["--rollouts", "2560", "--jobs", "1", "--folder"]
    subprocess.run([*COMMAND, *small, str(tmp_path / "whole")], capture_output=True, check=True, timeout=300)
    runs = tmp_path / "killed" / "runs.jsonl"
    for number in (0, 3, 4, 11):
        process = _started(*small, str(tmp_path / "killed"))
        _await_records(runs, number)
        process.kill()
        process.communicate(timeout=60)  # until the workers have let go of the pipe
    subprocess.run([*COMMAND, *small, str(tmp_path / "killed")], capture_output=True, check=True, timeout=300)
    whole, killed = ([*_records(tmp_path / name).items()] for name in ("whole", "killed"))
    assert whole == killed
    assert len(read_journal(runs)) == 18
    summaries = [json.loads((tmp_path / name / "summary.json").read_text()) for name in ("whole", "killed")]
    assert _timeless(summaries[0]) == _timeless(summaries[1])


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _timeless(each) for name, each in value.items() if name != "seconds"}
    return [_timeless(each) for each in value] if isinstance(value, list) else value
