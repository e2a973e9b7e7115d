from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from didact.journal import SCHEMA, Journal
from didact.report import RunHistory
from didact.report.history import DISCARDED, TRAINED, UNDECIDED

START = {"kind": "start", "schema": SCHEMA, "method": "uniform", "options": {}}
START |= {"pool": {"size": 1, "fingerprint": "5f1c2a9e"}}


def write_journal(folder: Path, *records: dict) -> Path:
    folder.mkdir(exist_ok=True)
    journal = Journal(folder / "journal.jsonl")
    for record in (START, *records):
        journal.append(record)
    journal.close()
    return folder


def plan(groups: list[int], rollouts: list[int], *, step: int = 0, reason: str = "train", **more) -> dict:
    prompts = [f"p{group}" for group in groups]
    record = {"kind": "plan", "step": step, "round": 0, "groups": groups, "prompts": prompts, "rollouts": rollouts}
    reasons = [reason] * len(groups)
    return record | {"context_length": None, "reasons": reasons, "predicted": [None] * len(groups)} | more


def outcomes(groups: list[int], rewards: list[list], *, step: int = 0, **more) -> dict:
    record = {"kind": "outcomes", "step": step, "groups": groups, "prompts": [f"p{group}" for group in groups]}
    return record | {"rewards": rewards, "num_tokens": None, "truncated": None, "errored": None} | more


def admitted(groups: list[int], rollouts: list[list[int]], *, step: int = 0) -> dict:
    return {"kind": "admitted", "step": step, "groups": groups, "rollouts": rollouts}


def test_continued_group_keeps_one_row_and_both_reasons(tmp_path: Path) -> None:
    run = write_journal(
        tmp_path,
        plan([0, 1], [2, 2], reason="pilot", predicted=[0.3, 0.6]),
        outcomes([0, 1], [[1.0, 0.0], [0.0, 0.0]]),
        plan([0], [3], predicted=[0.5]),
        outcomes([0], [[1.0, 1.0, None]]),
        admitted([0], [[0, 1, 2, 3]]),
    )
    history = RunHistory.load(run)
    assert history.groups.num_rollouts.tolist() == [5, 2]
    assert history.groups.num_scored.tolist() == [4, 2]
    assert history.groups.pass_rate.tolist() == [0.75, 0.0]
    assert history.groups.mixed.tolist() == [True, False]
    assert history.groups.predicted.tolist() == [0.3, 0.6]
    assert [history.reasons[code] for code in history.rollouts.reason] == ["pilot"] * 4 + ["train"] * 3
    assert history.rollouts.fate.tolist() == [TRAINED, TRAINED, DISCARDED, DISCARDED, TRAINED, TRAINED, DISCARDED]
    assert history.rollouts.errored.tolist() == [False] * 6 + [True]


def test_late_outcome_and_step_without_admission(tmp_path: Path) -> None:
    run = write_journal(
        tmp_path,
        plan([0, 1], [1, 1]),
        outcomes([1], [[1.0]]),
        admitted([1], [[0]]),
        plan([2], [2], step=1),
        outcomes([0, 2], [[0.0], [1.0, 0.0]], step=1),
    )
    history = RunHistory.load(run)
    assert history.num_steps == 1
    assert history.rollouts.fate.tolist() == [TRAINED, DISCARDED, UNDECIDED, UNDECIDED]


def test_repeated_deliveries_are_counted_apart(tmp_path: Path) -> None:
    run = write_journal(
        tmp_path,
        plan([0, 1], [4, 2]),
        outcomes([0], [[1.0, 0.0]], parts=[0]),
        outcomes([0], [[1.0, 0.0]], parts=[0]),
        outcomes([0], [[1.0, 1.0]], parts=[1]),
        outcomes([1, 1], [[1.0, 0.0], [1.0, 0.0]]),
    )
    history = RunHistory.load(run)
    assert history.groups.num_rollouts.tolist() == [4, 2]
    assert history.num_surplus == 4


def test_the_journal_says_where_a_delivery_stands(tmp_path: Path) -> None:
    """What the ledger knew and nobody can derive: the last delivery came when its group had long been given up."""
    run = write_journal(
        tmp_path,
        plan([0, 1], [4, 4]),
        outcomes([0, 1, 0], [[1.0, 0.0], [0.0], [1.0, 1.0]], first=[0, 0, 2]),
        outcomes([1, 0], [[1.0, 1.0], [0.0, 0.0]], first=[1, None]),
        admitted([0, 1], [[0, 1, 3], [2]]),
        outcomes([1], [[1.0]], step=200, first=[None]),
    )
    history = RunHistory.load(run)
    assert history.groups.num_rollouts.tolist() == [4, 3]
    assert history.num_surplus == 3
    assert history.rollouts.reward[history.rollouts.group == 0].tolist() == [1.0, 0.0, 1.0, 1.0]
    assert history.rollouts.reward[history.rollouts.fate == TRAINED].tolist() == [1.0, 0.0, 1.0, 1.0]


def test_a_run_that_an_older_version_began_goes_on(tmp_path: Path) -> None:
    run = write_journal(
        tmp_path,
        plan([0], [6]),
        outcomes([0], [[1.0, 0.0]], parts=[0]),
        outcomes([0, 0], [[1.0, 0.0], [1.0, 1.0]], parts=[0, 1], first=[None, 2]),
        outcomes([0], [[1.0, 1.0]], parts=[1]),
    )
    history = RunHistory.load(run)
    assert (history.groups.num_rollouts.tolist(), history.num_surplus) == ([4], 4)


@pytest.mark.parametrize(
    ("first", "message"),
    [([2], "goes on at 2, and 1 rollouts came"), ([0], "goes on at 0"), ([1], "has 5 rewards, 4 were planned")],
)
def test_positions_that_no_run_writes(tmp_path: Path, first: list[int], message: str) -> None:
    records = [plan([0], [4]), outcomes([0], [[1.0]], first=[0]), outcomes([0], [[0.0] * 4], first=first)]
    with pytest.raises(ValueError, match=message):
        RunHistory.load(write_journal(tmp_path, *records))


@pytest.mark.parametrize(
    ("pass_above", "rates", "passed"),
    [
        (None, [0.55, 0.0, -0.5], [False, True, False, False, False, False]),
        (0.3, [1.0, 0.0, 0.0], [True, True, False, False, False, False]),
        (0.4, [0.5, 0.0, 0.0], [False, True, False, False, False, False]),
        (-1, [1.0, 1.0, 0.5], [True, True, True, False, False, True]),
    ],
)
def test_what_a_pass_is_the_run_says(tmp_path: Path, pass_above, rates, passed) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append({**START, "options": {"pass_above": pass_above}})
    journal.append(plan([0, 1, 2], [2, 2, 2]))
    journal.append(outcomes([0, 1, 2], [[0.4, 0.7], [0.0, None], [-1.0, 0.0]]))
    journal.close()
    history = RunHistory.load(tmp_path)
    assert history.groups.pass_rate == pytest.approx(rates)
    assert history.rollouts.passed.tolist() == passed
    assert history.groups.mixed.tolist() == [True, False, True]


@pytest.mark.parametrize("given", ["0.5", True, [0.5]])
def test_a_pass_that_is_no_number(tmp_path: Path, given: object) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append({**START, "options": {"pass_above": given}})
    journal.close()
    with pytest.raises(ValueError, match="line 1: no run writes this record: pass_above is"):
        RunHistory.load(tmp_path)


def test_missing_columns_are_unknown(tmp_path: Path) -> None:
    history = RunHistory.load(write_journal(tmp_path, plan([0], [2]), outcomes([0], [[1.0, 0.0]])))
    assert np.isnan(history.rollouts.num_tokens).all()
    assert not history.rollouts.truncated.any()
    assert np.isnan(history.groups.context_length).all()
    assert history.prompts.ids == ["p0"]
    assert history.prompts.text == [""]


def test_synthetic_run_adds_up(history: RunHistory) -> None:
    assert len(history.rollouts) == history.groups.num_planned.sum() == history.groups.num_rollouts.sum()
    assert history.num_steps == 40
    assert history.evaluations[-1].rollouts == len(history.rollouts)
    assert history.evaluations[-1].tokens == history.rollouts.num_tokens.sum()
    assert not (history.rollouts.errored & (history.rollouts.fate == TRAINED)).any()


def test_cut_off_anywhere_reads_as_far_as_it_got(run_dir: Path, tmp_path: Path) -> None:
    data = (run_dir / "journal.jsonl").read_bytes()
    sizes = []
    for share in (0.1, 0.35, 0.7, 1.0):
        (tmp_path / "journal.jsonl").write_bytes(data[: int(len(data) * share)])
        sizes.append(len(RunHistory.load(tmp_path).rollouts))
    assert sizes == sorted(sizes)
    assert sizes[0] > 0


def test_cut_off_side_file_drops_its_last_line(run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_bytes((run_dir / "journal.jsonl").read_bytes())
    (tmp_path / "resumes.jsonl").write_text('{"step": 3, "dropped_rollouts": 12}\n{"step": 9, "dropp')
    assert RunHistory.load(tmp_path).resumes == ({"step": 3, "dropped_rollouts": 12},)


def test_bad_folders(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no run folder at"):
        RunHistory.load(tmp_path / "nothing")
    with pytest.raises(ValueError, match="not a run folder"):
        RunHistory.load(tmp_path)
    (tmp_path / "journal.jsonl").touch()
    with pytest.raises(ValueError, match="is empty"):
        RunHistory.load(tmp_path)


def test_damaged_files_name_the_place(run_dir: Path, tmp_path: Path) -> None:
    lines = (run_dir / "journal.jsonl").read_bytes().split(b"\n")
    (tmp_path / "journal.jsonl").write_bytes(b"\n".join([lines[0], lines[1][:-9] + b"XX", *lines[2:]]))
    with pytest.raises(ValueError, match="line 2"):
        RunHistory.load(tmp_path)
    (tmp_path / "journal.jsonl").write_bytes(b"\n".join(lines))
    (tmp_path / "prompts.jsonl").write_text('{"prompt_id": "a"}\nnot json\n{"prompt_id": "b"}\n')
    with pytest.raises(ValueError, match="line 2"):
        RunHistory.load(tmp_path)
    (tmp_path / "prompts.jsonl").unlink()
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(ValueError, match="one JSON object"):
        RunHistory.load(tmp_path)


def test_chat_prompts_become_text(tmp_path: Path) -> None:
    run = write_journal(tmp_path, plan([0], [1]))
    (run / "prompts.jsonl").write_text('{"prompt_id": "p0", "prompt": [{"role": "user", "content": "1+1?"}]}\n')
    assert RunHistory.load(run).prompts.text == ["1+1?"]


EVALUATION = {"kind": "evaluation", "step": 0, "rollouts": 2, "num_prompts": 8, "pass_rate": 0.5}


def test_an_evaluation_may_know_its_errors_and_sources(tmp_path: Path) -> None:
    more = {"errors": 1, "by_source": {"math": [3, 5], "code": [0, 2]}}
    records = [plan([0], [2]), outcomes([0], [[0.0, 1.0]]), admitted([0], [[0, 1]]), EVALUATION, {**EVALUATION, **more}]
    records[-1]["step"] = 1
    plain, rich = RunHistory.load(write_journal(tmp_path, *records)).evaluations
    assert (plain.errors, plain.by_source) == (None, None)
    assert (rich.errors, rich.by_source) == (1, {"math": (3, 5), "code": (0, 2)})


@pytest.mark.parametrize(
    "more",
    [
        {"errors": -1},
        {"errors": 0.5},
        {"by_source": [1]},
        *({"by_source": {"a": pair}} for pair in (1, [2, 1], [1, 2, 3], [0.5, 1])),
    ],
)
def test_figures_of_an_evaluation_that_cannot_be(tmp_path: Path, more: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(more))} of evaluation is"):
        RunHistory.load(write_journal(tmp_path, plan([0], [2]), {**EVALUATION, **more}))


@pytest.mark.parametrize(
    ("recorded", "grown", "size", "more"),
    [(9, None, 9, False), (2, 5, 5, False), (1, None, 2, True), (2, None, 2, False)],
)
def test_the_pool_is_as_large_as_the_journal_says(tmp_path: Path, recorded, grown, size, more) -> None:
    """Also where no file lists its prompts; a journal from before growth was recorded says at least how many."""
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append({**START, "pool": {"size": recorded, "fingerprint": "5f1c2a9e"}})
    journal.append(plan([0, 1], [2, 2], **({} if grown is None else {"pool_size": grown})))
    journal.close()
    history = RunHistory.load(tmp_path)
    assert (history.pool_size, history.pool_grew) == (size, more)
