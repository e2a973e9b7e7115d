"""A folder that is whole: its files and their digests, in a manifest that is written last.

A folder without a manifest was never finished; with one, every file that it names must be as it was written. That
tells damage (a crash, a full disk, a bad block), not intent: who can change a file can change the manifest.
Whatever else lies in the folder is somebody else's: it is neither checked, unless the folder must hold nothing else,
nor ever removed.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, Final

from didact.files import digest, sync_folder, write_whole

MANIFEST: Final = "manifest.json"


def files_in(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file in a folder and below it: its name, and when (ns) it was last written and how long (bytes) it is.

    The manifest is left out, and so are links and what lies behind them.
    """
    found = {}
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names):
            if path != folder / MANIFEST and not path.is_symlink():
                stat = path.stat()
                found[path.relative_to(folder).as_posix()] = (stat.st_mtime_ns, stat.st_size)
    return found


def seal(folder: Path, before: Mapping[str, tuple[int, int]], *, manifest: str = MANIFEST, **more: Any) -> list[str]:
    """Force a folder onto the disk and write its manifest, of the files that were not in `before` (see `files_in`).

    Gives their names. `more` stands in the manifest beside the files.

    Raises:
        OSError: a file cannot be read, or the disk is full; the folder is then not whole.
    """
    names = [name for name, state in sorted(files_in(folder).items()) if before.get(name) != state]
    for name in names:
        with open(folder / name, "rb") as file:
            os.fsync(file.fileno())
    for place in {(folder / name).parent for name in names}:
        sync_folder(place)
    files = {name: [(folder / name).stat().st_size, digest(folder / name)] for name in names}
    write_whole(folder / manifest, json.dumps({**more, "files": files}, indent=1) + "\n")
    sync_folder(folder.parent)
    return names


def fault(folder: Path, *, manifest: str = MANIFEST, alone: bool = False) -> str | None:
    """What is wrong with a folder, in a few words that name the file; None if it is whole.

    Args:
        alone: whether it is also wrong if anything else lies in the folder.
    """
    try:
        if not (folder / manifest).is_file():
            return f"it has no {manifest}: it was not finished" if folder.is_dir() else "there is no such folder"
        files = _named(folder, manifest)
        if alone and (others := _others(folder, {*files, manifest})):
            return f"{others[0]} is not in {manifest}"
        for name, (size, wanted) in files.items():
            path = folder / name
            if not path.is_file():
                return f"{name} is missing"
            if size is not None and (found := path.stat().st_size) != size:
                return f"{name} has {found:,} bytes instead of {size:,}"
            if digest(path) != wanted:
                return f"{name} is damaged: its digest is another than when it was written"
    except (OSError, ValueError) as error:
        return str(error)
    return None if files else f"{manifest} names no file"


def clear(folder: Path) -> None:
    """Remove the files that a manifest names, then the manifest, then the folder if nothing else is in it.

    Without a manifest, or with one that cannot be read, nothing is removed; through links neither.
    """
    if folder.is_symlink():
        return
    try:
        names = list(_named(folder, MANIFEST))
    except (OSError, ValueError):
        return
    for name in names:
        (folder / name).unlink(missing_ok=True)
    (folder / MANIFEST).unlink()
    places = {folder / place for name in names for place in PurePosixPath(name).parents}
    for place in sorted(places, reverse=True):  # the deeper ones first
        with suppress(OSError):
            place.rmdir()


def _named(folder: Path, manifest: str) -> dict[str, tuple[int | None, str]]:
    """The files in a manifest: name, bytes, digest. ValueError if it is damaged or names what is not in the folder.

    Those of warm starts had no bytes once.
    """
    try:
        files = json.loads((folder / manifest).read_text(encoding="utf-8"))["files"]
        named: dict[str, tuple[int | None, str]] = {
            str(name): (None, entry) if isinstance(entry, str) else (int(entry[0]), str(entry[1]))
            for name, entry in files.items()
        }
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise ValueError(f"{manifest} is damaged ({type(error).__name__})") from error
    for name in named:
        inside = PurePosixPath(name)
        if inside.is_absolute() or ".." in inside.parts or "\0" in name or name in ("", ".", manifest):
            raise ValueError(f"{manifest} is damaged: it names {name!r}")
        if any((folder / place).is_symlink() for place in (inside, *inside.parents) if place.parts):
            raise ValueError(f"{name} is a link, or behind one")
    return named


def _others(folder: Path, names: set[str]) -> list[str]:
    """What lies in a folder, links and folders included, that is none of these files and leads to none."""
    known = names | {place.as_posix() for name in names for place in PurePosixPath(name).parents}
    return sorted({path.relative_to(folder).as_posix() for path in folder.rglob("*")} - known)
