from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from didact.cli.report import report_command


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


def test_help_has_an_example() -> None:
    assert "didact report runs/first --open" in CliRunner().invoke(report_command, ["--help"]).output


def test_bad_folder_raises(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a run folder"):
        CliRunner().invoke(report_command, [str(tmp_path)], catch_exceptions=False)
    with pytest.raises(FileNotFoundError, match="no run folder"):
        CliRunner().invoke(report_command, [str(tmp_path / "x")], catch_exceptions=False)
