from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from didact import PromptPool, make
from didact.cli.inspect import inspect_command
from didact.journal import Journal, RecordedCurriculum
from didact.testing import outcomes_of


def test_tables_name_the_findings(run_dir: Path) -> None:
    arguments = [str(run_dir), "--top", "2", "--min-rollouts", "4"]
    result = CliRunner().invoke(inspect_command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    for title in ("Never pass", "Always pass", "Most rollouts", "Most response tokens", "Truncated most"):
        assert title in result.output
    assert "<b>Work" in result.output


def test_markup_in_prompts_is_only_text(run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_bytes((run_dir / "journal.jsonl").read_bytes())
    rows = [json.loads(line) for line in (run_dir / "prompts.jsonl").read_text().splitlines()]
    lines = [json.dumps(row | {"prompt": "[/bold] [red]x", "answer": "[link"}) for row in rows]
    (tmp_path / "prompts.jsonl").write_text("\n".join(lines))
    assert "[/bold] [red]x" in CliRunner().invoke(inspect_command, [str(tmp_path)], catch_exceptions=False).output


def test_json_is_one_object(run_dir: Path) -> None:
    result = CliRunner().invoke(inspect_command, [str(run_dir), "--json", "--top", "3"], catch_exceptions=False)
    findings = json.loads(result.output)
    assert len(findings["most_rollouts"]) == 3


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no run folder"):
        CliRunner().invoke(inspect_command, [str(tmp_path / "x")], catch_exceptions=False)
    assert CliRunner().invoke(inspect_command, [str(tmp_path), "--top", "0"]).exit_code == 2
    assert "didact inspect runs/first" in CliRunner().invoke(inspect_command, ["--help"]).output


def test_the_denominator_is_the_pool(tmp_path: Path) -> None:
    """As TRL runs leave it: a journal, and no list of prompts."""
    pool = PromptPool([f"p{number}" for number in range(6)])
    recorded = RecordedCurriculum(
        make("uniform", pool, prompts_per_step=2, rollouts_per_step=8), Journal(tmp_path / "journal.jsonl")
    )
    recorded.observe(outcomes_of(recorded.plan(0), lambda num: [1.0] * num))
    recorded.listener.close()
    result = CliRunner().invoke(inspect_command, [str(tmp_path)], catch_exceptions=False)
    assert "2 of 6 prompts were tried." in result.output
