from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from didact import PromptPool, make
from didact.cli.report import report_command
from didact.journal import record
from didact.testing import outcomes_of


def test_writes_the_page_and_says_where(run_dir: Path, tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    result = CliRunner().invoke(report_command, [str(run_dir), "--out", str(target)], catch_exceptions=False)
    headline, path = result.output.splitlines()
    assert headline.startswith("Held-out accuracy")
    assert path == str(target)
    assert headline.split(" (")[0].split("accuracy ")[1] in target.read_text()


def test_default_place_is_the_run_folder(run_dir: Path) -> None:
    CliRunner().invoke(report_command, [str(run_dir)], catch_exceptions=False)
    assert (run_dir / "report.html").is_file()


def test_json_is_one_object(run_dir: Path, tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    result = CliRunner().invoke(report_command, [str(run_dir), "--json", "--out", str(target)], catch_exceptions=False)
    answer = json.loads(result.output)
    assert answer["page"] == str(target)
    assert f"{answer['totals']['rollouts']:,}" in target.read_text()
    assert {"headline", "totals", "held_out", "calibration", "prompts"} <= set(answer)


def test_the_last_step_is_explained_where_it_can_be_replayed(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def last_step(run: Path) -> tuple[dict | None, bool]:
        arguments = [str(run), "--json", "--out", str(tmp_path / "page.html")]
        answer = json.loads(CliRunner().invoke(report_command, arguments, catch_exceptions=False).output)
        return answer["last_step"], "Why these prompts, at step" in (tmp_path / "page.html").read_text()

    assert last_step(run_dir) == (None, False)  # a simulated run, which no method planned
    run = tmp_path / "run"
    curriculum = record(make("didact", PromptPool(["a", "b"]), prompts_per_step=2, rollouts_per_step=8), run)
    curriculum.observe(outcomes_of(curriculum.plan(0), lambda num: [1.0, *[0.0] * (num - 1)]))
    curriculum.listener.close()
    (run / "prompts.jsonl").write_text('{"prompt_id": "a"}\n{"prompt_id": "b"}\n')
    found, shown = last_step(run)
    assert (found["method"], found["step"], shown) == ("didact", 0, True)
    monkeypatch.setattr("didact.cli.report._REPLAYED", 10)
    assert last_step(run) == (None, False)


def test_help_has_an_example() -> None:
    assert "didact report runs/first --open" in CliRunner().invoke(report_command, ["--help"]).output


def test_bad_folder_raises(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a run folder"):
        CliRunner().invoke(report_command, [str(tmp_path)], catch_exceptions=False)
    with pytest.raises(FileNotFoundError, match="no run folder"):
        CliRunner().invoke(report_command, [str(tmp_path / "x")], catch_exceptions=False)
