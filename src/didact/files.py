"""Files that are whole or not there, their digests, and a lock for those that one process writes.

The one place that knows how to do these three; whoever keeps something on disk uses it. Locks are the kernel's: they
end with the process that holds them, however it ends. POSIX only; elsewhere nothing is locked.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b, file_digest
from pathlib import Path

try:
    import fcntl
except ImportError:  # not POSIX
    fcntl = None  # type: ignore[assignment]


def write_whole(path: str | os.PathLike[str], data: bytes | bytearray | memoryview | str) -> None:
    """Write a file beside its place, force it onto the disk and move it there; text becomes UTF-8.

    Whatever interrupts this, a kill or a full disk, the file is the old one or the new one; several writers take turns.
    What lies at the temporary name, a link included, is removed and never followed.

    Raises:
        OSError: the file cannot be written; an earlier one is still whole.
    """
    path = Path(path)
    beside = path.with_name(path.name + ".tmp")
    with _folder(path.parent):
        try:
            with suppress(FileNotFoundError):
                beside.unlink()
            handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            with open(handle, "wb") as file:
                file.write(data.encode() if isinstance(data, str) else data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except BaseException:
            with suppress(OSError):
                beside.unlink()
            raise
    sync_folder(path.parent)


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Force the names in a folder onto the disk, so that a power failure does not bring an old file back."""
    if fcntl is None:
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems cannot, and then there is no more to be had
            os.fsync(handle)
    finally:
        os.close(handle)


def digest(path: str | os.PathLike[str]) -> str:
    """BLAKE2b of a file's bytes, 32 hexadecimal digits."""
    with open(path, "rb") as file:
        return file_digest(file, lambda: blake2b(digest_size=16)).hexdigest()


@contextmanager
def locked(path: str | os.PathLike[str], *, seconds: float | None = 0.0) -> Iterator[None]:
    """Hold the lock file `path`, made if need be; wait at most `seconds` for it (None: as long as it takes).

    Raises:
        ValueError: another process, or another place in this one, holds it.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    try:
        lock(handle, Path(path).parent, seconds=seconds)
        yield
    finally:
        os.close(handle)


def lock(handle: int, what: object, *, seconds: float | None = 0.0) -> None:
    """Lock an open file until it is closed; `what` names it in the error.

    Raises:
        ValueError: another process, or another place in this one, holds it.
    """
    if fcntl is None:
        return
    if seconds is None:
        fcntl.flock(handle, fcntl.LOCK_EX)
        return
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= end:
                raise ValueError(
                    f"another process is working on {what}: one at a time writes there (an earlier writer in this "
                    "process counts too: close it)"
                ) from None
            time.sleep(0.05)


@contextmanager
def _folder(folder: Path) -> Iterator[None]:
    """One at a time writes whole files into a folder, where the file system can lock one."""
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # NFS locks no folder
            lock(handle, folder, seconds=None)
        yield
    finally:
        os.close(handle)
