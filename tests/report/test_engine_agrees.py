"""What the report derives from the journal is what the engine counted while it ran."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from didact import Dispatcher, GroupOutcome, PromptPool, make
from didact.journal import Journal, RecordedCurriculum, record
from didact.report import RunHistory, summarise


@pytest.mark.parametrize("pass_above", [None, 0.3])
@pytest.mark.parametrize("method", ["uniform", "cures", "dapo"])
def test_report_and_engine_agree(method: str, pass_above: float | None, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rate = rng.beta(0.6, 0.9, 200)
    pool = PromptPool(ids_of(200))
    curriculum = make(method, pool, prompts_per_step=8, rollouts_per_step=64, seed=0, pass_above=pass_above)
    won = 1.0 if pass_above is None else 0.4
    recorded = RecordedCurriculum(curriculum, Journal(tmp_path / "journal.jsonl"))
    for step in range(25):
        while plan := recorded.plan(step):
            outcomes = []
            for group in plan:
                passed = won * (rng.random(group.num_rollouts) < rate[int(group.prompt_id[1:])])
                passed[rng.random(group.num_rollouts) < 0.02] = np.nan
                tokens = rng.integers(5, 50, group.num_rollouts).tolist()
                outcomes.append(GroupOutcome(group.group_id, group.prompt_id, passed.tolist(), num_tokens=tokens))
            recorded.observe(outcomes + outcomes[:2])  # two of them twice
        recorded.admitted(step)
    counted, summary = curriculum.metrics(), summarise(RunHistory.load(tmp_path))
    totals = summary["totals"]
    assert totals["rollouts"] == counted["rollouts"]
    assert totals["trained"] == counted["rollouts_trained"]
    assert totals["errored"] == counted["rollouts_errored"] > 0
    assert totals["groups_with_signal"] == counted["groups_with_signal"]
    assert totals["surplus"] > 0
    assert summary["calibration"]["mean_gap"] == pytest.approx(counted["calibration_error"], abs=0.005)
    assert summary["concentration"]["effective_prompts"] == pytest.approx(counted["effective_prompts"])


def test_report_and_engine_agree_on_groups_that_come_in_parts_and_late(tmp_path: Path) -> None:
    """Some so late that the engine has struck them out: it takes what comes then for a repetition."""
    rng = np.random.default_rng(0)
    curriculum = record(make("uniform", PromptPool(ids_of(40)), prompts_per_step=4, rollouts_per_step=32), tmp_path)
    waiting: list[tuple[int, GroupOutcome]] = []
    for step in range(160):
        for group in curriculum.plan(step):
            for part in range(2):
                rewards = (rng.random(group.num_rollouts // 2) < 0.5).astype(float)
                due = step + int(rng.choice([0, 1, 30, 130], p=[0.6, 0.3, 0.05, 0.05]))
                waiting.append((due, GroupOutcome(group.group_id, group.prompt_id, rewards.tolist(), part=part)))
        curriculum.observe([outcome for due, outcome in waiting if due <= step])
        waiting = [each for each in waiting if each[0] > step]
        curriculum.admitted(step)
    counted, totals = curriculum.metrics(), summarise(RunHistory.load(tmp_path))["totals"]
    assert counted["outcomes_late"] > 0
    assert totals["surplus"] == 4 * counted["outcomes_duplicate"] > 0
    assert totals["rollouts"] == counted["rollouts"]
    assert totals["trained"] == counted["rollouts_trained"]


def test_report_and_engine_agree_on_rollouts_that_were_lost_and_made_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    curriculum = make("uniform", PromptPool(ids_of(40)), prompts_per_step=4, rollouts_per_step=32)
    recorded = RecordedCurriculum(curriculum, Journal(tmp_path / "journal.jsonl"))
    desk = Dispatcher(recorded, max_rollouts=4, max_attempts=2)
    for version in range(12):
        while works := desk.ask_many(8, "worker"):
            lost = rng.random() < 0.4 and bool(desk.lost("worker"))
            for work in works:
                if not lost or rng.random() < 0.5:  # late: what was lost comes after all
                    desk.report(work.lease, (rng.random(work.group.num_rollouts) < 0.5).astype(float).tolist())
        desk.admitted()
        desk.advance(version + 1)
    counted, history = curriculum.metrics(), RunHistory.load(tmp_path)
    totals = summarise(history)["totals"]
    assert counted["rollouts_lost"] > 0
    assert totals["surplus"] == 0, "the desk passes repetitions on to nobody"
    assert totals["rollouts"] == counted["rollouts"] > 12 * 32, "some were made twice"
    assert int(history.groups.num_planned.sum()) == counted["rollouts_planned"]
    assert totals["trained"] == counted["rollouts_trained"]


def ids_of(size: int) -> list[str]:
    return [f"q{index}" for index in range(size)]
