# ruff: noqa: RUF001 - minus signs as readers expect them
"""Goals of the default: `benchmarks/judge.py` on comparisons written by hand."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from didact.compare.summary import summarise
from tests.compare.written import record, straight, write

CELLS = [{"name": "hard", "learner": "skills", "pool": "hard-heavy"}, {"name": "easy", "learner": "skills"}]


def summary(folder: Path, **slopes: tuple[float, float]) -> dict[str, Any]:
    """Six pairs of each cell; a curve by its slope there. The target is a gain of 0.1."""
    records = [
        record(name, seed, straight(slope), cell=str(cell["name"]))
        for name, each in slopes.items()
        for cell, slope in zip(CELLS, each, strict=True)
        for seed in range(6)
    ]
    return summarise(write(folder, records, variants=list(slopes), cells=CELLS, seeds=6, name="default-confirm"))


def test_goals_that_are_met(judge: ModuleType, tmp_path: Path) -> None:
    """On the hard cell twice as fast as uniform, where the oracle is two and a half times as fast: 0.5 of 0.6."""
    found = summary(tmp_path, uniform=(0.2, 0.2), oracle=(0.5, 0.25), didact=(0.4, 0.25), cures=(0.3, 0.1))
    text = judge.judged([found])
    assert "* **Never worse**: met in all 2 cells" in text
    assert "* **At least 1.5 times fewer tokens on hard pools**: met in all 1 cells" in text
    assert "in the mean of the 2 cells in which it saves: 92%, met" in text  # 0.5 / 0.6 and 1
    assert "* **As good as the best other method in every cell**: met in all 2 cells" in text
    assert "| hard | 0.40 [0.40, 0.40] | 0.50 [0.50, 0.50] | +0.150 better | +0.100 [+0.100, +0.100] |" in text
    assert "| cures, +0.050 |" in text
    assert "| cures | +0.063 [+0.063, +0.063] | 0.031 | better |" in text


def test_goals_that_are_missed_are_named_with_their_distance(judge: ModuleType, tmp_path: Path) -> None:
    found = summary(tmp_path, uniform=(0.2, 0.2), oracle=(0.5, 0.2), didact=(0.25, 0.15), cures=(0.4, 0.1))
    text = judge.judged([found])
    assert "* **Never worse**: missed in 1 of 2 cells: easy" in text
    assert "on hard pools**: missed in 1 of 1 cells: hard (0.80 [0.80, 0.80])" in text
    assert "in the mean of the 1 cells in which it saves: 33%, missed" in text  # 0.2 of 0.6
    assert "in every cell**: missed in 1 of 2 cells: hard: cures (−0.075)" in text


def test_what_the_default_is_without_a_part(judge: ModuleType, tmp_path: Path) -> None:
    """Forms of it are no other methods, and an ablation has no goals. Slopes 0.4 and 0.3 over half a budget: 0.05."""
    forms = [{"name": "own means", "method": "didact", "options": {"baseline_rollouts": 0.0}}]
    records = [
        record(name, seed, straight(slope), cell=str(cell["name"]))
        for name, slope in {"uniform": 0.2, "didact": 0.4, "own means": 0.3}.items()
        for cell in CELLS
        for seed in range(6)
    ]
    variants = ["uniform", "didact", *forms]
    text = judge.judged([summarise(write(tmp_path, records, variants=variants, cells=CELLS, seeds=6))])
    assert "### Without a part, in the mean over cells" in text
    assert "| own means | +0.050 [+0.050, +0.050] | 0.031 | better |" in text
    assert "Never worse" not in text
    assert "Against every other method" not in text
