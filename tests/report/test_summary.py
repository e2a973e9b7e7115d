# ruff: noqa: RUF001 - dashes, quotes and minus signs as readers expect them
from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from didact.journal import SCHEMA, Journal
from didact.report import RunHistory, summarise


def test_every_rollout_is_in_every_breakdown(history: RunHistory) -> None:
    summary = summarise(history)
    totals = summary["totals"]
    assert totals["rollouts"] == totals["trained"] + totals["discarded"] + totals["undecided"]
    fates = sum(row["trained"] + row["discarded"] + row["undecided"] for row in summary["fates"])
    assert fates == totals["rollouts"]
    assert sum(map(sum, summary["cells"]["rollouts"])) == totals["rollouts"]
    assert sum(row["rollouts_in_total"] for row in summary["group_sizes"]) == totals["rollouts"]
    assert sum(row["groups"] for row in summary["signal"]) == totals["groups"]
    assert sum(sum(row["count"]) for row in summary["pass_rates"]) == totals["groups"]
    assert sum(row["trained"] + row["not_trained"] for row in summary["bands"]) == totals["rollouts"]
    assert all(row["all_fail"] + row["mixed"] + row["all_pass"] == pytest.approx(1) for row in summary["signal"])
    json.dumps(summary, allow_nan=False)


def test_headline_is_the_sentence(history: RunHistory) -> None:
    headline = summarise(history)["headline"]
    assert headline["kind"] == "change"
    assert headline["paired"]
    assert headline["low"] < headline["difference"] < headline["high"]
    assert headline["text"].startswith(f"Held-out accuracy {headline['first']:.2f} → {headline['last']:.2f} (+")
    assert "paired over 512 prompts) after" in headline["text"]


def test_headline_without_pairs_and_with_one_evaluation(history: RunHistory) -> None:
    first, last = history.evaluations[0], history.evaluations[-1]
    apart = replace(history, evaluations=(replace(first, passed=None), last))
    assert "two separate sets of prompts" in summarise(apart)["headline"]["text"]
    once = summarise(replace(history, evaluations=(first,)))["headline"]
    assert once["kind"] == "single"
    assert "evaluated once" in once["text"]


def test_a_loss_is_reported_as_a_loss(history: RunHistory) -> None:
    worse = tuple(reversed(history.evaluations))
    assert "(−0." in summarise(replace(history, evaluations=worse))["headline"]["text"]


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 0, "evaluations": False},
        {"steps": 1, "evaluations": False, "tokens": False},
        {"steps": 3, "error_rate": 1.0},
        {"steps": 5, "planned_steps": 30},
        {"steps": 8, "pilots": False, "tokens": False},
    ],
)
def test_poor_runs_summarise(write_run: Callable[..., Path], tmp_path: Path, options: dict) -> None:
    summary = summarise(RunHistory.load(write_run(tmp_path / "run", **options)))
    json.dumps(summary, allow_nan=False)
    assert summary["run"]["steps_done"] == options["steps"]
    assert summary["run"]["finished"] is ("planned_steps" not in options)
    if options.get("error_rate") == 1.0:
        assert summary["totals"]["signal_share"] is None
        assert summary["totals"]["errored_share"] == 1.0


def test_resumes_are_told(history: RunHistory) -> None:
    resumed = replace(history, resumes=({"step": 3, "dropped_rollouts": 12}, {"step": 9, "dropped_rollouts": 30}))
    totals = summarise(resumed)["totals"]
    assert (totals["resumes"], totals["repeated_after_resume"]) == (2, 42)


def test_a_perfect_belief_is_calibrated(history: RunHistory) -> None:
    told = replace(history, groups=replace(history.groups, predicted=history.groups.pass_rate))
    assert summarise(told)["calibration"]["mean_gap"] == pytest.approx(0, abs=1e-9)


def test_many_difficulties_and_sources_are_merged(history: RunHistory) -> None:
    prompts = history.prompts
    num = len(prompts.ids)
    many = replace(prompts, source=[f"s{row % 40}" for row in range(num)], difficulty=[row / 7 for row in range(num)])
    cells = summarise(replace(history, prompts=many))["cells"]
    assert len(cells["sources"]) == 10
    assert cells["sources"][-1] == "(others)"
    assert len(cells["difficulties"]) == 6
    words = replace(prompts, source=[None] * num, difficulty=[f"tag {row % 25}" for row in range(num)])
    cells = summarise(replace(history, prompts=words))["cells"]
    assert cells["sources"] == ["(none)"]
    assert len(cells["difficulties"]) == 10
    bare = replace(prompts, source=[None] * num, difficulty=[None] * num)
    assert summarise(replace(history, prompts=bare))["cells"] is None


def test_reproduce_says_what_differs_from_the_defaults(history: RunHistory) -> None:
    config = {"method": "uniform", "steps": 40, "chat": False, "seed": 0, "model": "a model", "num_prompts": None}
    tables = {"method_options": {"tau": 0.1, "kind": "x"}, "trl": {"beta": 0.0}}
    command = summarise(replace(history, config=config | tables))["run"]["commands"]["reproduce"]
    flags = "--method uniform --steps 40 --no-chat --model 'a model' -o tau=0.1 -o kind=x --trl beta=0.0"
    assert command == f"didact train {flags}"
    foreign = summarise(replace(history, config={"lr": 1}))["run"]["commands"]
    assert set(foreign) == {"inspect", "explain"}


def silent_run(folder: Path, reward: float | None, size: int = 10) -> RunHistory:
    """Two of `size` prompts, one with three groups of four and one with one; no file lists the others."""
    journal = Journal(folder / "journal.jsonl")
    pool = {"size": size, "fingerprint": "5f1c2a9e"}
    journal.append({"kind": "start", "schema": SCHEMA, "method": "uniform", "options": {}, "pool": pool})
    for step, prompt in enumerate(["a", "a", "a", "b"]):
        at = {"step": step, "groups": [step], "prompts": [prompt]}
        journal.append({"kind": "plan", "round": 0, "rollouts": [4], "reasons": ["train"], **at})
        errored = [[reward is None] * 4]
        journal.append({"kind": "outcomes", "rewards": [[reward] * 4], "errored": errored, **at})
        journal.append({"kind": "admitted", "step": step, "groups": [], "rollouts": []})
    journal.close()
    return RunHistory.load(folder)


def test_shares_are_of_the_whole_pool(tmp_path: Path) -> None:
    summary = summarise(silent_run(tmp_path, 0.0))
    spread = summary["concentration"]
    assert spread["half_of_rollouts_on"] == 1 / 10
    assert spread["untried"] == 8
    assert spread["share_of_pool"][:3] == [0.0, 0.1, 0.2]
    assert spread["share_of_rollouts"] == [0.0, 0.75, *[1.0] * 9]
    assert summary["run"]["pool_size"] == 10


def test_a_pool_too_large_to_list_takes_no_memory(tmp_path: Path) -> None:
    spread = summarise(silent_run(tmp_path, 0.0, size=2**40))["concentration"]
    assert spread["untried"] == 2**40 - 2


@pytest.mark.parametrize(
    ("reward", "said"),
    [(0.0, "No group had signal, so"), (1.0, "No group had signal, so"), (None, "No rollout of 16 had a")],
)
def test_a_run_that_could_learn_nothing_says_so_first(tmp_path: Path, reward: float | None, said: str) -> None:
    headline = summarise(silent_run(tmp_path, reward))["headline"]
    assert headline["text"].startswith(said)
    assert headline["silent"]
    assert "No held-out evaluation" in headline["text"]


def test_a_run_that_learns_does_not(history: RunHistory) -> None:
    assert not summarise(history)["headline"]["silent"]


def test_errors_and_sources_of_evaluations_are_there(history: RunHistory) -> None:
    assert summarise(history)["held_out"][0]["errors"] is None
    last = replace(history.evaluations[-1], errors=3, by_source={"math": (3, 4)})
    row = summarise(replace(history, evaluations=(*history.evaluations[:-1], last)))["held_out"][-1]
    assert (row["errors"], row["by_source"]) == (3, {"math": (3, 4)})
