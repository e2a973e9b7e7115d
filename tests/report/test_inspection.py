from __future__ import annotations

import json
from pathlib import Path

import pytest

from didact.journal import SCHEMA, Journal
from didact.report import RunHistory, inspect_prompts
from didact.report.inspection import shorten


def run_of(
    folder: Path,
    groups: dict[str, list[list[float | None]]],
    believed: dict[str, float] | None = None,
    **options: object,
) -> RunHistory:
    """One group per step for every prompt, in turn."""
    journal = Journal(folder / "journal.jsonl")
    pool = {"size": len(groups), "fingerprint": "5f1c2a9e"}
    journal.append({"kind": "start", "schema": SCHEMA, "method": "uniform", "options": options, "pool": pool})
    group_id = 0
    for step in range(max(len(rows) for rows in groups.values())):
        for prompt_id, rows in groups.items():
            if step >= len(rows):
                continue
            at = {"step": step, "groups": [group_id], "prompts": [prompt_id]}
            plan = {"kind": "plan", "round": 0, "rollouts": [len(rows[step])], "reasons": ["train"], **at}
            journal.append(plan if believed is None else {**plan, "predicted": [believed[prompt_id]]})
            journal.append({"kind": "outcomes", "rewards": [rows[step]], **at})
            group_id += 1
    journal.close()
    return RunHistory.load(folder)


def ids(rows: list[dict]) -> list[str]:
    return [row["prompt_id"] for row in rows]


def test_findings_by_hand(tmp_path: Path) -> None:
    history = run_of(
        tmp_path,
        {
            "broken": [[0.0] * 8] * 4,
            "solved": [[1.0] * 8] * 2,
            "relapsed": [[1.0] * 8, [1.0] * 8, [0.0] * 8, [0.0] * 8],
            "wobbly": [[1.0, 0.0] * 4] * 4,
            "too few": [[0.0] * 4],
            "crashing": [[None, None, 1.0, 0.0]],
        },
    )
    findings = inspect_prompts(history)
    assert ids(findings["never_pass"]["prompts"]) == ["broken"]
    assert findings["never_pass"]["prompts"][0]["bound"] == pytest.approx(1 - 0.05 ** (1 / 32))
    assert ids(findings["always_pass"]["prompts"]) == ["solved"]
    assert ids(findings["relapse"]["prompts"]) == ["relapsed"]
    relapse = findings["relapse"]["prompts"][0]
    assert (relapse["earlier"], relapse["later"], relapse["z"]) == (1.0, 0.0, pytest.approx(32**0.5))
    assert findings["relapse"]["tested"] == 4
    assert ids(findings["most_errored"]) == ["crashing"]
    assert findings["most_rollouts"][0]["share"] == pytest.approx(32 / 120)
    assert findings["most_tokens"] == []


def test_what_never_passes_although_it_was_believed_to_is_suspicious(tmp_path: Path) -> None:
    """Believed at 0.3: of eight rollouts that had a verdict none passes with 0.7^8 = 0.058, of 24 with 0.0002."""
    history = run_of(
        tmp_path,
        {
            "broken": [[0.0] * 8] * 3,
            "unlucky": [[0.0] * 8],
            "hard": [[0.0] * 8, [0.0] * 8, [1.0] + [0.0] * 7],
            "not judged": [[None] * 8] * 2 + [[0.0] + [None] * 7],
        },
        believed={"broken": 0.3, "unlucky": 0.3, "hard": 0.3, "not judged": 0.2},
    )
    found = inspect_prompts(history)["suspicious"]
    assert (found["count"], ids(found["prompts"])) == (1, ["broken"])
    assert found["prompts"][0]["chance"] == pytest.approx(0.7**24)
    assert found["expected_by_chance"] == pytest.approx(4 * 0.001)


@pytest.mark.parametrize("believed", [None, {"broken": 0.5, "solved": 0.5}])
def test_what_is_believed_of_all_alike_makes_none_suspicious(tmp_path: Path, believed: dict[str, float] | None) -> None:
    """As a prior is, from which a method without a shared belief starts."""
    history = run_of(tmp_path, {"broken": [[0.0] * 8] * 9, "solved": [[1.0] * 8]}, believed)
    assert inspect_prompts(history)["suspicious"]["count"] == 0


def test_a_pass_is_what_the_run_calls_one(tmp_path: Path) -> None:
    prompts = {"low": [[0.4] * 8] * 2, "lower": [[0.3] * 8] * 2}
    for name, options, never, always in [
        ("without", {}, {"low", "lower"}, set()),
        ("with", {"pass_above": 0.3}, {"lower"}, {"low"}),
    ]:
        (tmp_path / name).mkdir()
        findings = inspect_prompts(run_of(tmp_path / name, prompts, **options))
        assert set(ids(findings["never_pass"]["prompts"])) == never
        assert set(ids(findings["always_pass"]["prompts"])) == always


def test_errors_are_not_failures(tmp_path: Path) -> None:
    history = run_of(tmp_path, {"crashed": [[None] * 40]})
    assert inspect_prompts(history)["never_pass"]["count"] == 0


def test_top_limits_lists_not_counts(history: RunHistory) -> None:
    findings = inspect_prompts(history, top=2, min_rollouts=4)
    assert findings["never_pass"]["count"] > 2 == len(findings["never_pass"]["prompts"])
    json.dumps(findings, allow_nan=False)
    with pytest.raises(ValueError, match="at least 1"):
        inspect_prompts(history, top=0)


def test_shorten_keeps_both_ends() -> None:
    assert shorten("a  b\nc", 10) == "a b c"
    text = shorten("Natalia sold clips to many friends in April. " * 9 + "How many?", 60)
    assert len(text) <= 60
    assert text.startswith("Natalia")
    assert text.endswith("How many?")
