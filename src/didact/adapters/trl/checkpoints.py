"""Checkpoints of the TRL adapter on disk: begun, finished with a manifest, chosen from, and dropped when they are old.

Only files that a manifest names are ever removed. A checkpoint that was not finished stays until its step is reached
again, and is then written over.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from didact.manifest import MANIFEST, clear, fault, files_in, seal
from didact.state import load_state

STATE_FILE: Final = "curriculum.npz"


def checkpoints(folder: Path) -> list[Path]:
    """All checkpoints in TRL's output folder, whole or not, the newest first."""
    found = [path for path in folder.glob("checkpoint-*") if path.name[11:].isdecimal()]
    return sorted(found, key=step_of, reverse=True)


def step_of(checkpoint: Path | None) -> int:
    return int(checkpoint.name[11:]) if checkpoint else 0


def newest(folder: Path, passed_over: Callable[[Path, str], None]) -> Path | None:
    """The newest checkpoint from which a run can go on exactly; `passed_over` hears of the newer ones, and why not."""
    for checkpoint in checkpoints(folder):
        why = fault(checkpoint)
        if not why and load_state(checkpoint / STATE_FILE)["window"]:  # TRL would generate the rest of it anew
            why = "it was saved inside a generation window"
        if not why:
            return checkpoint
        passed_over(checkpoint, why)
    return None


def begin(checkpoint: Path) -> dict[str, tuple[int, int]]:
    """Make room for a checkpoint, and give what lies there all the same (see `didact.manifest.files_in`).

    Raises:
        ValueError: a link lies there.
    """
    if checkpoint.is_symlink():
        raise ValueError(f"{checkpoint} is a link, and what is behind it would be written over: remove the link")
    clear(checkpoint)
    (checkpoint / MANIFEST).unlink(missing_ok=True)  # a damaged one
    return files_in(checkpoint)


def finish(checkpoint: Path, before: dict[str, tuple[int, int]], limit: int | None, best: str | None) -> None:
    """Make a checkpoint whole; then, and not before, drop the oldest whole ones beyond `limit`, but not the `best`."""
    seal(checkpoint, before)
    kept = {checkpoint, Path(best)} if best else {checkpoint}
    earlier = [path for path in checkpoints(checkpoint.parent) if step_of(path) < step_of(checkpoint)]
    spare = [path for path in earlier if path not in kept and (path / MANIFEST).is_file()]
    if limit and limit > 0:
        for old in spare[max(limit - len(kept), 0) :]:
            clear(old)
