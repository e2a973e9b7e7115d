"""What `didact simulate` says of a pool, held against what training on it showed: the published runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from didact.compare.config import SIMULATED_GAIN
from didact.compare.grid import compare
from didact.compare.records import read_settings
from didact.compare.summary import summarise
from didact.training.display import Silent

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def both(prediction: ModuleType, name: str, cells: list[str], variants: list[str], to: Path) -> tuple[Any, Any]:
    """The summaries of some cells and variants of a published comparison: simulated now, and as they were trained."""
    settings = prediction.simulated(read_settings(RESULTS / name), 6)
    settings = dataclasses.replace(
        settings,
        cells=[cell for cell in settings.cells if cell.name in cells],
        variants=[variant for variant in settings.variants if variant.name in ["uniform", "oracle", *variants]],
        oracle="oracle",
    )
    assert compare(settings, to, jobs=1, progress=Silent())
    return summarise(to), summarise(RESULTS / name, gain_share=SIMULATED_GAIN)


@pytest.mark.slow
def test_small_groups_and_screening_save_and_cost_what_they_did_in_training(
    prediction: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(RESULTS.parents[1])
    cells = ["arithmetic/mixed", "arithmetic/hard", "arithmetic/easy"]
    simulated, trained = both(prediction, "main", cells, ["uniform, groups of 4", "mopps", "dapo"], tmp_path)
    found = prediction.quotients(simulated, trained)
    for name in ("uniform, groups of 4", "mopps"):
        assert set(found[name]) == set(cells)
        assert all(1 / 1.5 < quotient < 1.5 for quotient in found[name].values()), found[name]
    for summary in (simulated, trained):
        assert all(summary["cells"][cell]["variants"]["dapo"]["difference"]["median"] < -0.01 for cell in cells)


@pytest.mark.slow
def test_the_default_saves_about_what_was_predicted(
    prediction: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bounds fixed before the runs were looked at: a factor of 2 in each cell, of 1.5 in the geometric mean."""
    monkeypatch.chdir(RESULTS.parents[1])
    cells = ["arithmetic/mixed", "arithmetic/hard, groups of 4", "arithmetic/sources", "chain_sum/easy"]
    simulated, trained = both(prediction, "default-confirm", cells, ["nothing chosen", "didact"], tmp_path)
    found = prediction.quotients(simulated, trained)
    for name in ("nothing chosen", "didact"):
        quotients = np.log([found[name][cell] for cell in cells])
        assert np.abs(quotients).max() < np.log(2), found[name]
        assert abs(quotients.mean()) < np.log(1.5), found[name]
