from pathlib import Path

import pytest

from didact.adapters.trl.checkpoints import STATE_FILE, begin, checkpoints, finish, newest, step_of
from didact.manifest import fault
from didact.state import save_state


def save(folder: Path, step: int, *, limit: int | None = None, best: str | None = None, window: int = 0) -> Path:
    checkpoint = folder / f"checkpoint-{step}"
    before = begin(checkpoint)
    checkpoint.mkdir(exist_ok=True)
    (checkpoint / "model").write_text(f"weights of {step}")
    save_state(checkpoint / STATE_FILE, {"window": window})
    finish(checkpoint, before, limit, best)
    return checkpoint


def steps(folder: Path) -> list[int]:
    return [step_of(checkpoint) for checkpoint in checkpoints(folder)]


@pytest.mark.parametrize(
    ("limit", "best", "left"),
    [
        (None, None, [20, 10, 8, 6, 4, 2]),
        (0, None, [20, 10, 8, 6, 4, 2]),
        (1, None, [20, 10]),
        (2, None, [20, 10, 8]),
        (2, "checkpoint-4", [20, 10, 4]),
        (1, "checkpoint-4", [20, 10, 4]),
        (3, "checkpoint-10", [20, 10, 8, 6]),
        (9, None, [20, 10, 8, 6, 4, 2]),
    ],
)
def test_the_oldest_go(tmp_path, limit, best, left):
    """Those of later steps, which an earlier run left, are not touched."""
    for step in (2, 4, 6, 8, 20):
        save(tmp_path, step)
    save(tmp_path, 10, limit=limit, best=best and str(tmp_path / best))
    assert steps(tmp_path) == left


def test_what_is_not_whole_neither_counts_nor_goes(tmp_path):
    for step in (2, 4, 6):
        save(tmp_path, step)
    (tmp_path / "checkpoint-4" / "manifest.json").unlink()
    (tmp_path / "checkpoint-x").mkdir()
    save(tmp_path, 8, limit=2)
    assert steps(tmp_path) == [8, 6, 4]
    assert (tmp_path / "checkpoint-4" / "model").read_text() == "weights of 4"


def test_the_newest_from_which_a_run_can_go_on(tmp_path):
    for step in (2, 4, 10):
        save(tmp_path, step)
    save(tmp_path, 12, window=3)
    (tmp_path / "checkpoint-10" / "model").write_text("weights of 11")
    said = []
    assert newest(tmp_path, lambda checkpoint, why: said.append((step_of(checkpoint), why))).name == "checkpoint-4"
    assert said == [
        (12, "it was saved inside a generation window"),
        (10, "model is damaged: its digest is another than when it was written"),
    ]
    assert newest(tmp_path / "nowhere", said.append) is None


def test_a_step_is_written_again_over_what_was_left(tmp_path):
    checkpoint = save(tmp_path, 2)
    (checkpoint / "notes.txt").write_text("of somebody's")
    (checkpoint / "manifest.json").write_text("damaged")
    save(tmp_path, 2)
    assert fault(checkpoint) is None
    save(tmp_path, 4, limit=1)
    assert [path.name for path in checkpoint.iterdir()] == ["notes.txt"]


def test_a_link_is_not_written_through(tmp_path):
    (tmp_path / "outside").mkdir()
    outside = save(tmp_path / "outside", 2)
    (tmp_path / "checkpoint-2").symlink_to(outside)
    with pytest.raises(ValueError, match="checkpoint-2 is a link"):
        save(tmp_path, 2)
    save(tmp_path, 4, limit=1)
    assert fault(outside) is None
