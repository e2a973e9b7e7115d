# ruff: noqa: RUF001 - dashes, quotes and minus signs as readers expect them
from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

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
    assert set(foreign) == {"inspect"}
