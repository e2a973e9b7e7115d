# ruff: noqa: RUF001 - dashes and minus signs as readers expect them
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from didact.compare.summary import summarise, write_summary
from didact.compare.tables import markdown_axes, markdown_overview, markdown_table, markdown_training, said_target
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
    assert cures["difference"]["mean"] == pytest.approx(0.5 * 0.235 / 2)
    assert uniform["cost"]["rollouts"] == pytest.approx((100 / 0.24 + 100 / 0.23) / 2)
    assert cures["ratio"]["rollouts"]["low"] == pytest.approx(1 / 1.5)
    assert uniform["cost"]["tokens"] == pytest.approx(10 * uniform["cost"]["rollouts"])
    assert cures["ratio"]["tokens"]["low"] == pytest.approx(2 / 1.5)
    assert cures["ratio"]["tokens"]["interval"] == [pytest.approx(2 / 1.5), pytest.approx(2 / 1.5)]
    assert cures["spent"]["prompt_tokens"] == pytest.approx(7000)
    # Half of its rollouts trained: left off the count, it would look twice as cheap.
    assert cures["ratio"]["rollouts_trained"]["low"] == pytest.approx(0.5 / 1.5)
    assert cures["spent"]["rollouts_trained"] == pytest.approx(500)
    assert cures["toward_oracle"]["share"] == pytest.approx(0.5)
    assert oracle["toward_oracle"] is None
    assert (uniform["ratio"], uniform["difference"], uniform["verdict"]) == (None, None, None)
    assert (cures["share_with_signal"], cures["evidence_age"]) == (0.25, 4.0)
    assert (cures["prompts_trained"], cures["largest_share"]) == (pytest.approx(100), pytest.approx(0.1))
    assert cures["calibration"] == pytest.approx(0.05)


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
    table = markdown_table(summary, CELL)
    assert "| above 1,000 | above 2.00 [2.00, ∞] | above 10,000 | above 2.00 [2.00, ∞] |" in table


def test_a_target_may_be_a_share_of_what_the_baseline_gains(tmp_path: Path) -> None:
    """On straight lines, ends being the mean at 800, 900 and 1000 of 1000: nine tenths of a gain are met at 810."""
    gains = {"uniform": 0.02, "cures": 0.04, "oracle": 0.01}
    records = [record(name, seed, straight(gain)) for name, gain in gains.items() for seed in range(8)]
    summary = summarise(write(tmp_path, records, targets={"gain_share": 0.9}))
    uniform, cures, oracle = (summary["cells"][CELL]["variants"][name] for name in gains)
    assert (uniform["reached"], uniform["cost"]["rollouts"]) == (8, pytest.approx(810))
    assert cures["ratio"]["rollouts"]["interval"] == [pytest.approx(0.5), pytest.approx(0.5)]
    assert (oracle["reached"], oracle["ratio"]["rollouts"]["low"]) == (0, pytest.approx(1000 / 810))
    assert said_target(summary) == "accuracy at the start + 90% of what uniform gains"
    assert summarise(tmp_path, gain_share=0.5)["cells"][CELL]["variants"]["uniform"]["cost"]["rollouts"] < 810


def test_where_the_baseline_gains_nothing_a_share_of_it_is_no_target(tmp_path: Path) -> None:
    gains = {"uniform": -0.02, "cures": 0.04}
    records = [record(name, seed, straight(gain)) for name, gain in gains.items() for seed in range(8)]
    row = summarise(write(tmp_path, records, targets={"gain_share": 0.9}))["cells"][CELL]["variants"]["cures"]
    assert (row["reached"], row["ratio"]["rollouts"]["low"], row["ratio"]["rollouts"]["high"]) == (0, 0.0, None)


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


def test_there_is_no_word_where_the_corrected_test_does_not_bear_it(tmp_path: Path) -> None:
    names = ("uniform", *(f"v{number}" for number in range(8)))
    records = [record("uniform", seed, straight(0.2)) for seed in range(6)]
    records += [record(name, seed, straight(0.3)) for name in names[1:] for seed in range(6)]
    summary = summarise(write(tmp_path, records, variants=names, seeds=6))
    row = summary["cells"][CELL]["variants"]["v0"]
    assert (row["difference"]["p"], row["difference"]["p_holm"]) == (2 / 64, 8 * 2 / 64)
    assert row["difference"]["interval"][0] > 0
    assert row["verdict"] == "cannot tell"
    assert "| 0.25 | cannot tell |" in markdown_table(summary, CELL)
    assert "better" not in markdown_overview(summary)


def test_a_single_variant_is_corrected_for_itself_alone(tmp_path: Path) -> None:
    records = [record("uniform", seed, straight(0.2)) for seed in range(6)]
    records += [record("cures", seed, straight(0.3)) for seed in range(6)]
    row = rows_of(write(tmp_path, records, variants=("uniform", "cures"), seeds=6))["cures"]
    assert (row["difference"]["p_holm"], row["verdict"]) == (2 / 64, "better")


def _two_oracles(folder: Path, **settings: Any) -> dict[str, Any]:
    """Six pairs, on which the smallest p is 2/64: a correction for more than one candidate takes every word back."""
    slopes = {"uniform": 0.2, "told by p(1-p)": 0.6, "told by DAPO": 0.4, "cures": 0.3}
    variants = [{"name": name, "method": "oracle" if "told" in name else name} for name in slopes]
    records = [record(name, seed, straight(slope)) for seed in range(6) for name, slope in slopes.items()]
    return summarise(write(folder, records, variants=variants, seeds=6, **settings))


def test_oracles_stay_out_of_the_correction_and_their_p_is_raw(tmp_path: Path) -> None:
    summary = _two_oracles(tmp_path)
    rows = summary["cells"][CELL]["variants"]
    assert summary["oracles"] == ["told by p(1-p)", "told by DAPO"]
    for name in summary["oracles"]:
        assert (rows[name]["difference"]["p_holm"], rows[name]["verdict"]) == (None, "better")
    assert (rows["cures"]["difference"]["p_holm"], rows["cures"]["verdict"]) == (2 / 64, "better")
    lines = markdown_table(summary, CELL).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == [
        "| uniform",
        "| told by p(1-p)",
        "| told by DAPO",
        "| cures",
    ]
    assert ["(raw)" in line for line in lines[2:]] == [False, True, True, False]


def test_shares_are_of_the_gain_of_the_oracle_that_was_named(tmp_path: Path) -> None:
    first, named = _two_oracles(tmp_path / "1"), _two_oracles(tmp_path / "2", oracle="told by DAPO")
    assert (first["oracle"], named["oracle"]) == ("told by p(1-p)", "told by DAPO")
    assert first["cells"][CELL]["variants"]["cures"]["toward_oracle"]["share"] == pytest.approx(0.25)
    assert named["cells"][CELL]["variants"]["cures"]["toward_oracle"]["share"] == pytest.approx(0.5)
    assert named["cells"][CELL]["variants"]["told by p(1-p)"]["toward_oracle"]["share"] == pytest.approx(2)


def test_a_mean_and_a_median_of_different_sign_give_no_word_and_are_labelled(tmp_path: Path) -> None:
    """Seven pairs a little better and one much worse."""
    records = [record("uniform", seed, straight(0.2)) for seed in range(8)]
    records += [record("cures", seed, straight(0.22 if seed else -0.2)) for seed in range(8)]
    summary = summarise(write(tmp_path, records))
    row = summary["cells"][CELL]["variants"]["cures"]
    assert (row["difference"]["median"], row["difference"]["mean"]) == (pytest.approx(0.01), pytest.approx(-0.01625))
    assert row["difference"]["interval"][0] > 0
    assert (row["difference"]["signs_differ"], row["verdict"]) == (True, "cannot tell")
    assert "| cannot tell: mean −0.016 |" in markdown_table(summary, CELL)
    assert "| cures | +0.010 (mean −0.016) |" in markdown_overview(summary)


def test_runs_outside_the_settings_are_left_out(tmp_path: Path) -> None:
    summary = summarise(write(tmp_path, [record("uniform", 0, straight(0.2)), record("stranger", 0, straight(0.2))]))
    assert summary["warnings"][0] == "1 runs are not in config.json and were left out"


def test_axes_nobody_measured_are_left_out(tmp_path: Path) -> None:
    curves = [{**straight(0.2, tokens=0.0), "seconds": [None] * 12} for _ in range(2)]
    summary = summarise(write(tmp_path, [record(name, 0, curves[0]) for name in ("uniform", "cures")]))
    assert summary["cells"][CELL]["axes"] == ["rollouts", "prompt_tokens", "rollouts_trained", "updates"]
    heading, _, row = markdown_axes(summary, CELL).splitlines()
    assert heading == "| variant | share that trained | rollouts | prompt tokens | rollouts trained | updates |"
    assert row == "| cures | 100% | 1.00 | 1.00 | 1.00 | 1.00 |"


def test_records_of_before_lack_columns_and_say_so(tmp_path: Path) -> None:
    new = ("prompt_tokens", "prompts_trained", "largest_share", "calibration")
    curve = {name: values for name, values in straight(0.2).items() if name not in new}
    summary = summarise(write(tmp_path, [record(name, 0, curve) for name in ("uniform", "cures")]))
    assert summary["cells"][CELL]["axes"] == ["rollouts", "tokens", "rollouts_trained", "updates", "seconds"]
    assert "| cures | 100 | 25% | – | – | 4.0 | – | – | 0.001 |" in markdown_training(summary, CELL)


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
    lines = markdown_training(summary, CELL).splitlines()
    assert lines[-1] == "| cures | 100 | 25% | 100 | 10.00% | 4.0 | 0.050 | 50% [50% to 50%] | 0.001 |"
    with pytest.raises(ValueError, match=f"there are {CELL}"):
        markdown_table(summary, "easy")
