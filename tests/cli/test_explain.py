"""`didact explain`: what it prints, and what it refuses."""

import json
from pathlib import Path

import pytest

from didact import PromptPool, make
from didact.cli import explain as module
from didact.journal import record
from didact.testing import outcomes_of

IDS = [f"p{number}" for number in range(64)]


def write_run(folder: Path, method: str = "didact", steps: int = 3, **options) -> Path:
    settings = {"prompts_per_step": 4, "rollouts_per_step": 16, **options}
    curriculum = record(make(method, PromptPool(IDS), **settings), folder)
    for step in range(steps):
        while plan := curriculum.plan(step):
            curriculum.observe(outcomes_of(plan, lambda num: [turn % 2 for turn in range(num)]))
        curriculum.admitted(step)
    curriculum.listener.close()
    rows = [{"prompt_id": each, "prompt": f"[red]What is {each}?"} for each in IDS]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", leave_below=0.0, group_size=4)


@pytest.mark.parametrize("width", ["80", "120"])
def test_tables_of_a_step(didact, run, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", width)
    before = {path: path.read_bytes() for path in run.iterdir()}
    ended = didact("explain", run, "--step", "1", "--top", "2")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("Step 1 of 0 to 2: 4 groups, 16 rollouts. didact: Prompts by expected signal")
    words = " ".join(ended.out.split())
    assert "Planned, 2 of 4 4 groups of 4 rollouts; looked at 32 prompts: the best of the next prompts" in words
    assert "Looked at and left, 2 of 28 best value first; the last one taken has 0." in words
    for name in ("lacking in a plain draw 0.", "lacking in the plan 0.", "believed", "above", "own", "value", "rank"):
        assert name in words
    assert ("last seen" in words) == (width == "120")
    assert "[red]What" in words or width == "80"
    assert before == {path: path.read_bytes() for path in run.iterdir()}


def test_rounds_and_reasons_of_a_method_that_does_not_say(didact, tmp_path):
    run = write_run(tmp_path / "run", "speed", rollouts_per_step=32)
    ended = didact("explain", run, "--step", "0")
    assert "Round 0: planned" in ended.out
    assert "Round 1: planned" in ended.out
    assert "this method does not say" in " ".join(ended.out.split())
    assert "Looked at" not in ended.out


def test_one_prompt(didact, run):
    [seen] = json.loads(didact("explain", run, "--json").out)["rounds"]
    planned, left = seen["groups"][-1]["prompt_id"], seen["left"][0]["prompt_id"]
    lines = didact("explain", run, "--prompt", planned).out.splitlines()
    assert lines[0] == f"Step 2 of 0 to 2, prompt {planned}: [red]What is {planned}?"
    assert lines[2].startswith("planned, 4 rollouts in a new group, reason 'train': its value of")
    assert "looked at and not planned: its value of" in didact("explain", run, "--prompt", left).out


def test_one_prompt_of_a_step_with_rounds(didact, tmp_path):
    run = write_run(tmp_path / "run", "speed", rollouts_per_step=32)
    rounds = json.loads(didact("explain", run, "--step", "0", "--json").out)["rounds"]
    first = rounds[0]["groups"][0]["prompt_id"]
    said = didact("explain", run, "--step", "0", "--prompt", first).out
    assert "Round 0: planned, " in said
    never = next(each for each in IDS if all(each not in str(seen["groups"]) for seen in rounds))
    said = didact("explain", run, "--step", "0", "--prompt", never).out
    assert said.count("Round ") == 1
    assert "not planned" in said


def test_json_is_one_object(didact, run):
    found = json.loads(didact("explain", run, "--step", "0", "--json").out)
    assert (found["step"], found["last_step"], len(found["rounds"])) == (0, 2, 1)


def test_a_long_replay_says_how_far_it_is(didact, run, monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE", -1.0)
    assert "replaying: 1/" in didact("explain", run).err


def test_help_and_bad_input(didact, refused, run, tmp_path):
    assert "didact explain runs/first --step 40 --prompt gsm8k-17" in didact("explain", "--help").out
    assert "Missing argument 'RUN'" in refused("explain")
    assert "no journal at" in refused("explain", tmp_path / "nowhere")
    assert "has no plan of step 9: its plans are of steps 0 to 2" in refused("explain", run, "--step", "9")
    assert "did you mean 'p63'?" in refused("explain", run, "--prompt", "p63a")
    assert "was planned by 'didact', and 'uniform' is another method" in refused("explain", run, "--method", "uniform")
    data = bytearray((run / "journal.jsonl").read_bytes())
    data[len(data) // 2] ^= 1
    (run / "journal.jsonl").write_bytes(data)
    assert "journal.jsonl, line" in refused("explain", run)
