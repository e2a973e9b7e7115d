# ruff: noqa: RUF001 - minus signs as readers expect them
"""The published tables: `benchmarks/publish.py` on comparisons written by hand."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from didact.compare.summary import summarise
from didact.compare.tables import RULE
from tests.compare.written import CELL, record, straight, three_methods, write


def _summary(folder: Path, slopes: dict[str, float], methods: dict[str, str]) -> dict[str, Any]:
    """Six pairs, all alike."""
    variants = [{"name": name, "method": methods.get(name, name)} for name in slopes]
    records = [record(name, seed, straight(slope)) for seed in range(6) for name, slope in slopes.items()]
    return summarise(write(folder, records, variants=variants, cells=[{"name": CELL, "learner": "skills"}], seeds=6))


def test_the_head_of_the_tables_says_the_rule_and_every_cell_has_its_three(publish: ModuleType, tmp_path: Path) -> None:
    text = publish.tables(summarise(three_methods(tmp_path)))
    head, cell = text.split(f"\n## {CELL}\n")
    assert RULE in head
    assert "24 of 24 runs finished, 8 seeds (0 to 7)." in head
    assert "| cures | +0.059 better |" in head
    assert cell.count("\n| uniform |") == 2  # the third has ratios to it
    assert cell.count("\n| cures |") == 3
    assert "| tokens to target | ratio, tokens [95%] |" in cell
    assert "| prompts trained on | largest share of one |" in cell
    assert "| share that trained | rollouts | tokens | prompt tokens | rollouts trained | updates | seconds |" in cell


def test_headroom_counts_words_that_stand(publish: ModuleType, tmp_path: Path) -> None:
    """Alone a variant better in six of six pairs has p = 2/64; one of two has 4/64, and no word."""
    told = {"told": "oracle", "told, sharp": "oracle"}
    slopes = {"uniform": 0.2, "told": 0.4, "told, sharp": 0.5, "cures": 0.3}
    alone = _summary(tmp_path / "alone", slopes, told)
    two = _summary(tmp_path / "two", {**slopes, "dapo": 0.1}, told)
    (row,) = publish.points({"alone": alone})
    assert (row["better"], row["worse"], row["num"], row["best_said"]) == (1, 0, 1, "+0.050 better (cures)")
    assert row["oracle_said"] == "+0.100 better"
    (row,) = publish.points({"two": two})
    assert (row["better"], row["worse"], row["num"], row["best_said"]) == (0, 0, 2, "+0.050 (cures)")
    text = publish.headroom({"two": two})
    assert RULE in text
    assert f"| {CELL} | 75% | +0.100 better | +0.050 (cures) | +0.000 | 0 of 2 | 0 of 2 |" in text


def test_a_cell_without_methods_or_oracle_is_no_point_or_has_a_dash(publish: ModuleType, tmp_path: Path) -> None:
    (row,) = publish.points({"x": _summary(tmp_path / "plain", {"uniform": 0.2, "cures": 0.3}, {})})
    assert (row["oracle"], row["oracle_said"]) == (None, "–")
    publish.draw_headroom({"x": _summary(tmp_path / "plain", {"uniform": 0.2, "cures": 0.3}, {})}, tmp_path / "a.png")
    assert publish.points({"x": _summary(tmp_path / "told", {"uniform": 0.2, "oracle": 0.3}, {})}) == []


def test_a_method_taken_apart_is_no_point(publish: ModuleType, tmp_path: Path) -> None:
    apart = _summary(tmp_path, {"uniform": 0.2, "hot": 0.3, "cold": 0.1}, {"hot": "cures", "cold": "cures"})
    assert publish.points({"apart": apart}) == []


def test_a_factor_is_averaged_over_the_others(publish: ModuleType, tmp_path: Path) -> None:
    """Slopes that add up: raw counts are worth 0.2 of slope, 0.1 of mean accuracy, and a minimum of 2 costs half."""
    slopes = {"uniform": 0.2}
    options = {}
    for counts, prior in (("raw", {}), ("smoothed", {"prior": [1, 1]})):
        for low in (0, 2):
            name = f"{counts}, 0.1, min {low}"
            slopes[name] = 0.6 - 0.2 * bool(prior) - 0.05 * low
            options[name] = {"temperature": 0.1, **prior, **({"min_rollouts": low} if low else {})}
    variants = [{"name": name, "method": "cures", "options": options.get(name, {})} for name in slopes]
    records = [record(name, seed, straight(slope)) for seed in range(6) for name, slope in slopes.items()]
    cells = [{"name": CELL, "learner": "skills"}]
    text = publish.factors(summarise(write(tmp_path, records, variants=variants, cells=cells, seeds=6)))
    assert "| counts smoothed | raw | −0.100 [−0.100, −0.100] | 0.062 |" in text
    assert "| minimum 2 | 0 | −0.050 [−0.050, −0.050] | 0.062 |" in text
    assert text.count("\n| ") == 3


def test_parts_are_compared_with_the_pilot_alone(publish: ModuleType, tmp_path: Path) -> None:
    slopes = {"uniform": 0.5, publish.NEITHER: 0.3, **dict(zip(publish.PARTS, (0.4, 0.3, 0.2), strict=True))}
    variants = [{"name": name, "method": "cures"} for name in slopes]
    records = [record(name, seed, straight(slope)) for seed in range(6) for name, slope in slopes.items()]
    cells = [{"name": CELL, "learner": "skills"}]
    text = publish.parts_of(summarise(write(tmp_path, records, variants=variants, cells=cells, seeds=6)))
    assert f"| {publish.PARTS[0]} | {publish.NEITHER} | +0.050 [+0.050, +0.050] | 0.094 |" in text
    assert f"| selection only | {publish.NEITHER} | +0.000 [+0.000, +0.000] | 1 |" in text
    assert f"| allocation only | {publish.NEITHER} | −0.050 [−0.050, −0.050] | 0.094 |" in text
