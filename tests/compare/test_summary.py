from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from didact.compare.summary import summarise, write_summary
from didact.compare.tables import markdown_overview, markdown_table
from tests.compare.written import CELL, record, straight, three_methods, write


def rows_of(folder: Path) -> dict[str, Any]:
    return summarise(folder)["cells"][CELL]["variants"]


def test_straight_lines_give_the_figures_of_the_back_of_an_envelope(tmp_path: Path) -> None:
    summary = summarise(three_methods(tmp_path))
    cell = summary["cells"][CELL]
    uniform, cures, oracle = (cell["variants"][name] for name in ("uniform", "cures", "oracle"))
    assert (cell["rollouts"], cell["start"], summary["warnings"]) == (1000, pytest.approx(0.2), [])
    # Half of the gain at the budget; over seeds that is 0.2 to 0.27, so 0.235 at the median.
    assert uniform["area"] == pytest.approx(0.2 + 0.235 / 2)
    assert cures["difference"]["median"] == pytest.approx(0.5 * 0.235 / 2)
    assert (cures["verdict"], cures["difference"]["wins"], cures["difference"]["p"]) == ("better", 8, 2 / 256)
    assert uniform["cost"]["rollouts"] == pytest.approx((100 / 0.24 + 100 / 0.23) / 2)
    assert cures["ratio"]["rollouts"]["low"] == pytest.approx(1 / 1.5)
    # Half of its rollouts trained: left off the count, it would look twice as cheap.
    assert cures["ratio"]["rollouts_trained"]["low"] == pytest.approx(0.5 / 1.5)
    assert cures["spent"]["rollouts_trained"] == pytest.approx(500)
    assert cures["toward_oracle"]["share"] == pytest.approx(0.5)
    assert oracle["toward_oracle"] is None
    assert (uniform["ratio"], uniform["difference"], uniform["verdict"]) == (None, None, None)
    assert (cures["share_with_signal"], cures["evidence_age"], cures["calibration_error"]) == (0.25, 4.0, 0.1)


def test_the_last_three_evaluations_within_the_budget_are_final(tmp_path: Path) -> None:
    write(tmp_path, [record("uniform", 0, straight(0.2))])
    assert rows_of(tmp_path)["uniform"]["final"] == pytest.approx(0.2 + 0.2 * 0.9)  # at 800, 900, 1000


def test_identical_runs(tmp_path: Path) -> None:
    names = ("uniform", "oracle", "cures")
    write(tmp_path, [record(name, seed, straight(0.2 + 0.01 * seed)) for name in names for seed in range(8)])
    row = rows_of(tmp_path)["cures"]
    assert row["ratio"]["rollouts"]["low"] == row["ratio"]["rollouts"]["high"] == 1.0
    assert row["ratio"]["rollouts"]["interval"] == [1.0, 1.0]
    assert row["verdict"] == "cannot tell"
    assert row["toward_oracle"] is None


def test_runs_that_never_arrive_become_bounds(tmp_path: Path) -> None:
    records = [record("uniform", seed, straight(0.2)) for seed in range(8)]
    records += [record("cures", seed, straight(0.05)) for seed in range(8)]
    summary = summarise(write(tmp_path, records))
    row = summary["cells"][CELL]["variants"]["cures"]
    assert (row["reached"], row["cost"]["rollouts"]) == (0, None)
    assert row["ratio"]["rollouts"]["low"] == pytest.approx(2.0)  # 1000 spent and not there, against 500
    assert row["ratio"]["rollouts"]["high"] is None
    assert "| above 1,000 | above 2.00 [2.00, ∞] |" in markdown_table(summary, CELL)


def test_failed_and_missing_runs_are_counted_and_lose_their_pair(tmp_path: Path) -> None:
    records = [record("uniform", seed, straight(0.2)) for seed in (0, 1, 2)]
    records += [record("cures", 0, None), record("cures", 1, straight(0.3)), record("cures", 3, straight(0.3))]
    summary = summarise(write(tmp_path, records, seeds=4))
    row = summary["cells"][CELL]["variants"]["cures"]
    assert (row["runs"], row["failed"], row["missing"], row["pairs"]) == (2, 1, 1, 1)
    assert summary["failures"] == [
        {"cell": CELL, "variant": "cures", "seed": 0, "error": "RuntimeError: out of <memory>"}
    ]
    assert (summary["planned"], summary["finished"]) == (12, 5)
    assert row["difference"]["interval"] is None
    assert "cannot tell: 1 of 6 pairs needed" in markdown_table(summary, CELL)


def test_a_single_seed(tmp_path: Path) -> None:
    row = rows_of(three_methods(tmp_path, seeds=1))["cures"]
    assert row["ratio"]["rollouts"]["low"] == pytest.approx(1 / 1.5)
    assert (row["ratio"]["rollouts"]["interval"], row["verdict"]) == (None, "cannot tell")


def test_without_the_baseline_nothing_is_compared(tmp_path: Path) -> None:
    summary = summarise(write(tmp_path, [record("cures", 0, straight(0.2))]))
    row = summary["cells"][CELL]["variants"]["cures"]
    assert (row["runs"], row["pairs"], row["ratio"], row["verdict"]) == (1, 0, None, None)
    assert f"{CELL}: no finished run of the baseline uniform, so nothing is compared" in summary["warnings"]
    assert "| cures | 1 of 8 |" in markdown_table(summary, CELL)


def test_before_the_first_run(tmp_path: Path) -> None:
    summary = summarise(write(tmp_path, []))
    assert summary["warnings"] == [f"{CELL}: no finished run"]
    assert markdown_table(summary, CELL).count("\n") == 5


def test_a_run_that_stopped_early_keeps_its_last_accuracy(tmp_path: Path) -> None:
    half = {name: values[:6] for name, values in straight(0.2).items()}  # to 500 rollouts: accuracy 0.3
    summary = summarise(write(tmp_path, [record("uniform", 0, straight(0.2)), record("cures", 0, half)]))
    row = summary["cells"][CELL]["variants"]["cures"]
    assert row["area"] == pytest.approx(0.25 * 0.5 + 0.3 * 0.5)
    assert f"{CELL}: cures with seed 0 stopped at 500 of 1,000 rollouts" in summary["warnings"]


def test_pairs_that_do_not_start_alike_are_noted(tmp_path: Path) -> None:
    records = [record("uniform", 0, straight(0.2)), record("cures", 0, straight(0.2, start=0.25))]
    summary = summarise(write(tmp_path, records))
    assert any("not as accurate as uniform of the same seed: cures" in text for text in summary["warnings"])


def test_too_many_variants_for_so_few_seeds_are_noted(tmp_path: Path) -> None:
    names = ("uniform", *(f"v{number}" for number in range(8)))
    records = [record(name, seed, straight(0.2)) for name in names for seed in range(6)]
    summary = summarise(write(tmp_path, records, variants=names, seeds=6))
    assert any("no adjusted p can fall below 0.05" in text for text in summary["warnings"])


def test_verdicts_that_do_not_survive_holm_carry_their_p(tmp_path: Path) -> None:
    names = ("uniform", *(f"v{number}" for number in range(8)))
    records = [record("uniform", seed, straight(0.2)) for seed in range(6)]
    records += [record(name, seed, straight(0.3)) for name in names[1:] for seed in range(6)]
    summary = summarise(write(tmp_path, records, variants=names, seeds=6))
    row = summary["cells"][CELL]["variants"]["v0"]
    assert (row["verdict"], row["difference"]["p"], row["difference"]["p_holm"]) == ("better", 2 / 64, 8 * 2 / 64)
    assert "| better (p = 0.25) |" in markdown_table(summary, CELL)


def test_runs_outside_the_settings_are_left_out(tmp_path: Path) -> None:
    summary = summarise(write(tmp_path, [record("uniform", 0, straight(0.2)), record("stranger", 0, straight(0.2))]))
    assert summary["warnings"][0] == "1 runs are not in config.json and were left out"


def test_axes_nobody_measured_are_left_out(tmp_path: Path) -> None:
    curves = [{**straight(0.2, tokens=0.0), "seconds": [None] * 12} for _ in range(2)]
    summary = summarise(write(tmp_path, [record(name, 0, curves[0]) for name in ("uniform", "cures")]))
    assert summary["cells"][CELL]["axes"] == ["rollouts", "rollouts_trained", "updates"]


def test_the_summary_is_strict_json(tmp_path: Path) -> None:
    summary = summarise(three_methods(tmp_path))
    path = write_summary(tmp_path, summary)
    assert path.name == "summary.json"
    assert json.loads(path.read_text()) == summary


def test_tables(tmp_path: Path) -> None:
    summary = summarise(three_methods(tmp_path))
    lines = markdown_table(summary, CELL).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| uniform", "| oracle", "| cures"]
    assert len({line.count("|") for line in lines}) == 1
    assert "| cures | +0.059 better |" in markdown_overview(summary)
    with pytest.raises(ValueError, match=f"there are {CELL}"):
        markdown_table(summary, "easy")
