import json
from pathlib import Path

import pytest

from didact import GroupOutcome, PromptPool, make
from didact.journal import Journal, RecordedCurriculum


@pytest.fixture
def run(tmp_path: Path) -> Path:
    ids = [f"p{number}" for number in range(8)]
    curriculum = make("cures", PromptPool(ids), prompts_per_step=2, rollouts_per_step=8, temperature=0.2)
    recorded = RecordedCurriculum(curriculum, Journal(tmp_path / "journal.jsonl"))
    for step in range(3):
        while plan := recorded.plan(step):
            recorded.observe(
                GroupOutcome(group.group_id, group.prompt_id, [n % 2 for n in range(group.num_rollouts)])
                for group in plan
            )
        recorded.admitted(step)
    recorded.listener.close()
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps({"prompt_id": each}) + "\n" for each in ids))
    return tmp_path


def test_the_same_method(didact, run):
    ended = didact("replay", run)
    assert (ended.code, ended.err) == (0, "")
    assert [line.split() for line in ended.out.splitlines()] == [
        ["method", "cures"],
        ["plans", str((run / "journal.jsonl").read_text().count('"kind":"plan"'))],
        ["first_difference", "None"],
    ]


def test_json_is_one_object(didact, run):
    assert json.loads(didact("replay", run, "--json").out)["first_difference"] is None
    answer = json.loads(didact("replay", run, "--method", "dapo", "-o", "max_rounds=2", "--json").out)
    assert (answer["method"], answer["logged_method"]) == ("dapo", "cures")
    assert 0 <= answer["share_answered"] <= 1


def test_bad_input(refused, run, tmp_path):
    assert "Missing argument 'RUN'" in refused("replay")
    assert "no journal at" in refused("replay", tmp_path / "nowhere")
    assert "did you mean 'cures'?" in refused("replay", run, "--method", "curse")
    assert "did you mean 'max_rounds'?" in refused("replay", run, "--method", "dapo", "-o", "max_round=2")
    assert "'max_rounds' is not KEY=VALUE" in refused("replay", run, "--method", "dapo", "-o", "max_rounds")
    data = bytearray((run / "journal.jsonl").read_bytes())
    data[len(data) // 2] ^= 1
    (run / "journal.jsonl").write_bytes(data)
    assert "journal.jsonl, line" in refused("replay", run)
