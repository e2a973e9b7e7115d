"""Test beds: pools of the promised shape, the same for everybody, built once."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from didact.compare.bed import SHAPES, _shaped, bed_name, bed_of
from didact.compare.config import Cell
from didact.tasks.task import Example, split_of
from didact.training.small_model import SmallModelConfig
from didact.training.warm_start import WarmStartConfig

CELL = Cell(name="bed", pool_size=200, held_out=60)


@pytest.fixture(scope="module", autouse=True)
def _quick(tmp_path_factory: pytest.TempPathFactory):
    """A short warm start, in a cache of its own, and few candidates at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("didact.compare.bed._BLOCKS", {"train": 256, "test": 128})
        patch.setenv("DIDACT_CACHE", str(tmp_path_factory.mktemp("cache")))
        quick = WarmStartConfig(num_steps=300, batch_size=32, max_level=2)
        patch.setattr(WarmStartConfig, "for_task", classmethod(lambda cls, task, seed=0: replace(quick, seed=seed)))
        yield


@pytest.mark.slow
def test_a_bed_has_the_promised_shape_and_is_built_once() -> None:
    cell = replace(CELL, pool="hard-heavy", task_options={"levels": [1, 2]})
    bed = bed_of(cell, 1)
    never, always = (sum(rate == end for rate in bed.base_pass_rates) / 200 for end in (0, 1))
    assert (never, always) == (SHAPES["hard-heavy"][0], SHAPES["hard-heavy"][2])
    assert bed_of(cell, 1) == bed
    assert len({example.prompt for example in bed.examples + bed.held_out}) == 260
    assert Counter(split_of(example.prompt) for example in bed.examples) == {"train": 200}
    assert Counter(split_of(example.prompt) for example in bed.held_out) == {"test": 60}
    pool = bed.pool()
    assert pool.difficulty[0] == pytest.approx(100 * (1 - bed.base_pass_rates[0]))
    assert pool.features.shape[0] == 200


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cell:
    """A cell whose bed takes seconds, in a cache of its own."""
    shape = SmallModelConfig(hidden_size=32, intermediate_size=64)
    start = WarmStartConfig(num_steps=3, batch_size=12, model=shape)
    monkeypatch.setenv("DIDACT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(WarmStartConfig, "for_task", classmethod(lambda cls, task, seed=0: replace(start, seed=seed)))
    return Cell(name="tiny", pool="sources", pool_size=50, held_out=20, max_completion_length=4)


@pytest.mark.slow
@pytest.mark.parametrize("damaged", ["bed", "bed and pass rates", "model"])
def test_what_is_damaged_in_the_cache_is_built_again(tiny: Cell, tmp_path: Path, damaged: str) -> None:
    bed = bed_of(tiny, 1)
    paths = {path: path.read_text() for path in tmp_path.glob("cache/*.json")}
    assert sorted(path.name.split("-")[0] for path in paths) == ["bed", "rates", "rates"]
    weights = Path(bed.model) / "model.safetensors"
    good = weights.read_bytes()
    if damaged == "model":
        weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    for path, text in paths.items():
        if path.name.split("-")[0] in damaged.replace("pass ", ""):
            assert "0.0" in text
            path.write_text(text.replace("0.0", "1.0", 1))  # a prompt that never passes as one that always does
    assert bed_of(tiny, 1) == bed
    assert weights.read_bytes() == good
    assert {path: path.read_text() for path in tmp_path.glob("cache/*.json")} == paths
    assert not [path.name for path in tmp_path.glob("cache/*") if path.suffix in (".tmp", ".partial")]


@pytest.mark.slow
def test_prompts_as_they_come_may_be_more_than_are_measured_at_a_time(tiny: Cell) -> None:
    bed = bed_of(replace(tiny, held_out=150), 1)
    assert (len(bed.examples), len(bed.held_out)) == (50, 150)


def test_a_shape_that_the_task_cannot_fill_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("didact.compare.bed._MAX_BLOCKS", 3)
    monkeypatch.setattr("didact.compare.bed._measured", lambda *given: [0.5] * len(given[-1]))
    said = r"of 768 train prompts of arithmetic, \[0, 768, 0\] are of each kind, from never to always passing; "
    with pytest.raises(ValueError, match=said + r"the 'easy-heavy' pool needs \[30, 70, 100\]"):
        _shaped(replace(CELL, pool="easy-heavy"), 1, "model", "train", 200)


def test_the_cures_pool_has_its_four_kinds_of_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(cell: Cell, seed: int, model: str, examples: list[Example]) -> list[float]:
        return [row % 13 / 12 for row in range(len(examples))]

    monkeypatch.setattr("didact.compare.bed._measured", measured)
    _, rates = _shaped(replace(CELL, pool="cures"), 1, "model", "train", 800)
    num = Counter(rate == 0 for rate in rates)
    assert num[True] == round(0.34 * 800)
    assert {round(12 * rate) for rate in rates} == {0, 4, 5, 6, 7, 8, 9, 10, 11, 12}
    assert sum(rate > 0.8 for rate in rates) == 56


def test_cells_share_a_bed_only_if_nothing_about_it_differs() -> None:
    same = [replace(CELL, name="other"), replace(CELL, rollouts=999), replace(CELL, learning_rate=0.5)]
    assert {bed_name(cell, 1) for cell in same} == {bed_name(CELL, 1)}
    changed = [replace(CELL, pool="sources"), replace(CELL, task_options={"levels": [1]}), replace(CELL, held_out=61)]
    changed += [replace(CELL, max_completion_length=9), replace(CELL, pool_size=201)]
    assert len({bed_name(cell, 1) for cell in [CELL, *changed]} | {bed_name(CELL, 2)}) == 7
