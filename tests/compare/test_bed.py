"""Test beds: pools of the promised shape, the same for everybody, built once."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from didact.compare.bed import SHAPES, bed_of
from didact.compare.config import Cell
from didact.tasks.task import split_of
from didact.training.warm_start import WarmStartConfig

CELL = Cell(name="bed", pool_size=200, held_out=60)


@pytest.fixture(scope="module", autouse=True)
def _quick(tmp_path_factory: pytest.TempPathFactory):
    """A short warm start, in a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIDACT_CACHE", str(tmp_path_factory.mktemp("cache")))
        quick = WarmStartConfig(num_steps=500, max_level=3)
        patch.setattr(WarmStartConfig, "for_task", classmethod(lambda cls, task, seed=0: replace(quick, seed=seed)))
        yield


@pytest.mark.slow
def test_a_bed_has_the_promised_shape_and_is_built_once() -> None:
    cell = replace(CELL, pool="mixed", task_options={"levels": [2, 3]})
    bed = bed_of(cell, 1)
    never, always = (sum(rate == end for rate in bed.base_pass_rates) / 200 for end in (0, 1))
    assert (never, always) == (SHAPES["mixed"][0], SHAPES["mixed"][2])
    assert bed_of(cell, 1) == bed
    assert len({example.prompt for example in bed.examples + bed.held_out}) == 260
    assert Counter(split_of(example.prompt) for example in bed.examples) == {"train": 200}
    assert Counter(split_of(example.prompt) for example in bed.held_out) == {"test": 60}
    pool = bed.pool()
    assert pool.difficulty[0] == pytest.approx(100 * (1 - bed.base_pass_rates[0]))
    assert pool.features.shape[0] == 200
    next(Path(bed.model).parent.glob("bed-*.json")).write_text("{")  # damaged: it is built again, the same
    assert bed_of(cell, 1) == bed


@pytest.mark.slow
def test_a_shape_that_the_task_cannot_fill_is_refused() -> None:
    with pytest.raises(ValueError, match="never, sometimes and always pass"):
        bed_of(replace(CELL, pool="easy-heavy", pool_size=1500, task_options={"levels": [3], "families": ["sub"]}), 1)
