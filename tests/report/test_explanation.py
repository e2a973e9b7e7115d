"""Why a step held what it did: the figures of the moment, made again from the journal."""

import json
from pathlib import Path

import numpy as np
import pytest

from didact import GroupOutcome, PromptPool, make
from didact.journal import record
from didact.report.explanation import explain

IDS = [f"p{number}" for number in range(96)]
LEVELS = [number // 12 for number in range(96)]


def write_run(folder: Path, method: str = "didact", steps: int = 4, **options) -> Path:
    """A run folder as training writes it; prompt k passes in k of 95 rollouts or so."""
    settings = {"prompts_per_step": 3, "rollouts_per_step": 12, "seed": 5, **options}
    curriculum = record(make(method, PromptPool(IDS, difficulty=LEVELS), **settings), folder)
    for step in range(steps):
        while plan := curriculum.plan(step):
            curriculum.observe(outcome(group) for group in plan)
        curriculum.admitted(step)
    curriculum.listener.close()
    rows = [
        {"prompt_id": each, "prompt": f"What is {each}?", "difficulty": level}
        for each, level in zip(IDS, LEVELS, strict=True)
    ]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def outcome(group) -> GroupOutcome:
    passed = [(17 * group.group_id + 31 * turn) % 95 < int(group.prompt_id[1:]) for turn in range(group.num_rollouts)]
    return GroupOutcome(group.group_id, group.prompt_id, list(map(float, passed)), [20] * len(passed))


def planned_in(run: Path, step: int) -> list[dict]:
    records = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    return [record for record in records if record["kind"] == "plan" and record["step"] == step]


@pytest.mark.parametrize("method", ["didact", "uniform", "cures", "speed", "mopps", "vip"])
def test_groups_and_beliefs_are_those_of_the_journal(tmp_path, method):
    run = write_run(tmp_path, method)
    before = (run / "journal.jsonl").read_bytes()
    for step in range(4):
        found = explain(run, step=step)
        assert (found["method"], found["step"], found["last_step"], found["pool_size"]) == (method, step, 3, 96)
        assert len(found["rounds"]) == len(planned_in(run, step))
        for seen, plan in zip(found["rounds"], planned_in(run, step), strict=True):
            groups = seen["groups"]
            assert [group["prompt_id"] for group in groups] == plan["prompts"]
            assert [group["planned"] for group in groups] == plan["rollouts"]
            assert [group["reason"] for group in groups] == plan["reasons"]
            np.testing.assert_allclose([group["believed"] for group in groups], plan["predicted"], atol=1e-12)
            assert all(0 <= group["quantile"] <= 1 for group in groups)
    assert explain(run) == explain(run, step=3)
    assert (run / "journal.jsonl").read_bytes() == before


def test_own_rollouts_are_those_until_then(tmp_path):
    run = write_run(tmp_path, "uniform", steps=40)
    first = {prompt for step in range(32) for plan in planned_in(run, step) for prompt in plan["prompts"]}
    assert len(first) == 96  # a pass through the pool
    early, late = explain(run, step=31)["rounds"][0], explain(run, step=32)["rounds"][0]
    assert {(group["rollouts"], group["last_seen"], group["reward"]) for group in early["groups"]} == {(0, None, None)}
    assert {group["rollouts"] for group in late["groups"]} == {4}
    assert all(0 <= group["last_seen"] < 32 and group["reward"] is not None for group in late["groups"])


def test_the_default_s_choice_can_be_checked(tmp_path):
    [seen] = explain(write_run(tmp_path, steps=30, leave_below=0.0, group_size=4))["rounds"]
    planned, left = seen["groups"], seen["left"]
    assert (seen["by"], seen["looked_at"]) == ("value", len(planned) + len(left))
    values = [row["figures"]["value"] for row in planned + left if row["rank"]]
    for row in (
        planned + left
    ):  # of equals, as many as there are of one level that was never tried, each has the first rank
        assert not row["rank"] or row["rank"] == 1 + sum(value > row["figures"]["value"] for value in values)
    assert len(values) == seen["compared"]
    assert seen["last_taken"] == min(group["figures"]["value"] for group in planned if group["rank"])
    assert seen["last_taken"] >= left[0]["figures"]["value"]
    assert {group["reason"] for group in planned if group["rank"] is None} <= {"coverage"}
    assert 0 < seen["overall"]["lacking_in_the_plan"] < seen["overall"]["lacking_in_a_plain_draw"] < 1


def test_the_default_says_when_it_leaves_selection(tmp_path):
    run = write_run(tmp_path, leave_below=1.0)
    [first], [seen] = explain(run, step=0)["rounds"], explain(run, step=1)["rounds"]
    for each in (first, seen):
        assert 0 < each["overall"]["lacking_lately"] < 1
        assert each["rule"].startswith("selection is left")
        assert (each["by"], each["left"], each["last_taken"]) == (None, [], None)
        assert "lacking_in_the_plan" not in each["overall"]
        assert {group["reason"] for group in each["groups"]} == {"uniform"}
    told = explain(run, step=1, prompt=seen["groups"][0]["prompt_id"])["rounds"][0]["prompt"]
    assert told["said"][0] == "planned, 4 rollouts in a new group, reason 'uniform'"


def test_what_became_of_a_prompt(tmp_path):
    run = write_run(tmp_path, coverage=0.0, leave_below=0.0, group_size=4)
    [seen] = explain(run, step=3)["rounds"]
    looked_at = {row["prompt_id"] for row in seen["groups"] + seen["left"]}
    others = {
        "planned": max(seen["groups"], key=lambda group: group["rank"])["prompt_id"],
        "left": seen["left"][0]["prompt_id"],
        "not looked at": next(each for each in IDS if each not in looked_at),
    }
    told = {fate: explain(run, step=3, prompt=each)["rounds"][0]["prompt"] for fate, each in others.items()}
    assert {fate: row["fate"] for fate, row in told.items()} == {fate: fate for fate in others}
    last, num = f"{seen['last_taken']:.4g}", seen["compared"]
    rank, left = told["planned"]["rank"], told["left"]["rank"]
    assert told["planned"]["said"][:2] == [
        f"planned, 4 rollouts in a new group, reason 'train': its value of {last} is rank {rank} of {num}, and "
        f"the last one taken has {last}",
        "groups of this plan have 4 rollouts each",
    ]
    assert f"is rank {left} of {num}, and the last one taken has {last}" in told["left"]["said"][0]
    assert told["not looked at"]["said"][0].startswith(
        f"not among the {num} prompts looked at, so not compared; it was"
    )
    assert "when its turn comes is not known" in told["not looked at"]["said"][0]
    assert all("believed to pass" in row["said"][-2] for row in told.values())


def test_a_method_that_does_not_say_what_it_looked_at(tmp_path):
    run = write_run(tmp_path, "uniform")
    found = explain(run, step=0, prompt="p7")
    [seen] = found["rounds"]
    assert (seen["rule"], seen["looked_at"], seen["left"], seen["overall"]) == (None, None, [], {})
    assert found["about"]
    told = next(
        row
        for each in IDS
        if (row := explain(run, step=0, prompt=each)["rounds"][0]["prompt"])["fate"] == "not planned"
    )
    assert told["said"][0] == "not planned; method 'uniform' does not say which prompts it looked at"
    assert told["said"][-1] == "no rollouts of its own so far"


def test_a_group_that_goes_on_and_one_that_waits(tmp_path):
    curriculum = record(make("uniform", PromptPool(IDS), prompts_per_step=3, rollouts_per_step=12), tmp_path)
    waits, *others = curriculum.plan(0)
    curriculum.observe(map(outcome, others))
    curriculum.admitted(0)
    curriculum.plan(1)
    curriculum.listener.close()
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps({"prompt_id": each}) + "\n" for each in IDS))
    told = explain(tmp_path, prompt=waits.prompt_id)["rounds"][0]["prompt"]
    assert "its group of step 0 is still open: it waits for outcomes" in told["said"]
    assert told["prompt"] == ""

    run = write_run(tmp_path / "speed", "speed", rollouts_per_step=24)
    step, group = next(
        (step, group)
        for step in range(4)
        for seen in explain(run, step=step)["rounds"]
        for group in seen["groups"]
        if group["reason"] == "continue"
    )
    told = [seen["prompt"] for seen in explain(run, step=step, prompt=group["prompt_id"])["rounds"]]
    assert any("more rollouts of its group of step" in row["said"][0] for row in told)


def test_what_a_wrapper_put_there_was_not_looked_at(tmp_path):
    run = write_run(tmp_path, uniform_share=1.0, leave_below=0.0)
    for step in range(1, 4):  # the first is a plain draw
        [seen] = explain(run, step=step)["rounds"]
        looked_at = {row["prompt_id"] for row in seen["left"]}
        for group in seen["groups"]:
            if not group["figures"] and group["prompt_id"] not in looked_at:
                told = explain(run, step=step, prompt=group["prompt_id"])["rounds"][0]["prompt"]
                assert "though the method did not look at it: a wrapper" in told["said"][0]
                return
    raise AssertionError("no prompt of a wrapper's")


def test_it_replays_no_further_than_it_must_and_tells(tmp_path):
    run = write_run(tmp_path)
    told: list[tuple[int, int]] = []
    explain(run, step=1, tell=lambda done, total: told.append((done, total)))
    assert told == [(number, len(told)) for number in range(1, len(told) + 1)]
    lines = (run / "journal.jsonl").read_text().splitlines()
    assert json.loads(lines[len(told) - 1])["step"] == 1
    (run / "journal.jsonl").write_text("".join(line + "\n" for line in lines[: len(told)]))  # killed there
    assert explain(run)["step"] == 1


def test_a_method_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples")
    run = write_run(tmp_path, "new_method:Frontier")
    with pytest.raises(ValueError, match=r"'frontier' is none of didact's, .*: say --method new_method:Frontier"):
        explain(run)
    assert explain(run, method="new_method:Frontier")["method"] == "frontier"
    with pytest.raises(ValueError, match="was planned by 'frontier', and 'uniform' is another method"):
        explain(run, method="uniform")


def test_bad_input(tmp_path):
    run = write_run(tmp_path / "run")
    with pytest.raises(FileNotFoundError, match="no journal"):
        explain(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="has no plan of step 4: its plans are of steps 0 to 3"):
        explain(run, step=4)
    with pytest.raises(ValueError, match=r"prompt 'p1x' is not among the 96 of .*; did you mean 'p1'"):
        explain(run, prompt="p1x")
    lines = (run / "journal.jsonl").read_bytes().splitlines(keepends=True)
    other = (write_run(tmp_path / "other", seed=6) / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (run / "journal.jsonl").write_bytes(b"".join(lines[:4] + other[4:]))
    assert explain(run, step=0)["step"] == 0
    with pytest.raises(ValueError, match="replayed, its plan of step 1 comes out otherwise"):
        explain(run, step=3)
    (run / "journal.jsonl").write_bytes(lines[0])
    with pytest.raises(ValueError, match="has no plan: nothing was planned yet"):
        explain(run)
