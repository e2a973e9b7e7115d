"""A sandbox: work done in a process of its own, which may do little, leaves nothing behind and answers once.

`Sandbox.run` forks the calling process, which has everything loaded already, and so costs milliseconds. The fork keeps
no file open but its own pipe, works in an empty folder of its own, has limits, and gives up what `confinement` can take
away. When it has ended or its time is over, everything it started ends too: its process group, and on Linux all
descendants, which the caller inherits. Then the pipe is read.

What holds is tried out, not assumed: `Sandbox.probe` runs the attempts that should fail and says which did.

What this does not do: hide files from being read, and protect from holes in the kernel. POSIX only. The calling process
must have one thread and no children of its own.
"""

import json
import mmap
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final, NoReturn

from didact.tasks.confinement import adopt_orphans, confine, die_with_parent

_NEEDED: Final = ("PATH", "LANG", "TZ", "OMP_NUM_THREADS", "PYTHONHOME", "LD_LIBRARY_PATH")
_FILE_BYTES, _OPEN_FILES = 64 << 20, 256
_LONGEST: Final = 1 << 16  # bytes of an answer; what does not fit into a pipe was never meant as one


@dataclass(frozen=True, slots=True)
class Guarantees:
    """What was found to hold on this machine for what runs inside.

    Attributes:
        own_process: each response is judged in a process of its own and cannot touch the verdict on another.
        environment: it was given a few harmless environment variables, and those asked for.
        memory: it cannot take more memory than the limit.
        no_processes: it cannot start others.
        no_survivors: whatever it starts ends with it.
        no_meddling: it can neither signal other processes nor read their memory and environment nor limit them.
        no_network: it cannot open a socket, local ones included.
        no_writing: it cannot change files outside its own folder, nor their permissions.
    """

    own_process: bool = False
    environment: bool = False
    memory: bool = False
    no_processes: bool = False
    no_survivors: bool = False
    no_meddling: bool = False
    no_network: bool = False
    no_writing: bool = False


class WorkFailed(Exception):
    """The work gave no answer; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """What the work may do; everything else is refused where the system can refuse it.

    Attributes:
        memory: bytes of address space beyond what the calling process has loaded.
        processes: how many others it may have at a time, all descendants counted.
        network: whether it may open sockets.
        writable: absolute paths of folders and files that it may write to. Permissions and times of files can then be
            changed too, on whatever the user owns.
    """

    memory: int = 4 << 30
    processes: int = 0
    network: bool = False
    writable: tuple[str, ...] = ()

    def run(self, work: Callable[[], bytes], folder: str, seconds: float) -> bytes:
        """What `work` returned, done in a fork.

        Args:
            work: gives at most 65,536 bytes.
            folder: where the fork's own folder is made and removed.
            seconds: it is killed after so long.

        Raises:
            WorkFailed: it died, took too long or started too many processes.
            EOFError: whoever holds the other end of standard input is gone.
        """
        adopt_orphans()
        place = _own_folder(folder)
        reading, writing = os.pipe()
        caller = os.getpid()
        try:
            process = os.fork()
        except OSError:  # no more processes to be had
            os.close(reading)
            os.close(writing)
            _remove(place)
            raise
        if process == 0:
            self._work(work, writing, place, seconds, caller)
        os.close(writing)
        status: int | None = None
        try:
            status = self._ended(process, seconds)
        finally:
            _end_all(process, ended=status is not None)
            answer = b"" if status else _read(reading)
            os.close(reading)
            _remove(place)
        if status or not answer:
            raise WorkFailed(f"the verifier's process died (exit status {status})")
        return answer

    def probe(self, folder: str, seconds: float = 20.0) -> Guarantees:
        """Try what should be refused, in a fork as `run` makes it."""
        outside = Path(folder, "outside")
        outside.write_bytes(b"")
        found: dict[str, Any] = json.loads(self.run(lambda: _attempts(outside, self.memory), folder, seconds))
        outside.unlink(missing_ok=True)
        started = found.pop("started")
        return Guarantees(no_survivors=started is None or not _lives(started), environment=True, **found)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Sandbox":
        values = json.loads(text)
        return cls(**{**values, "writable": tuple(values["writable"])})

    def _work(self, work: Callable[[], bytes], writing: int, place: str, seconds: float, caller: int) -> NoReturn:
        """The fork. Whatever is wrong here, it ends here and never goes on as the process it was made from."""
        status = 1
        try:
            os.setsid()
            die_with_parent()
            null = os.open(os.devnull, os.O_RDWR)
            for standard in range(3):
                os.dup2(null, standard)
            pipe = os.dup2(writing, 3, inheritable=False)
            os.closerange(4, os.sysconf("SC_OPEN_MAX"))
            base = os.path.dirname(place)
            os.environ.update({name: place for name, value in os.environ.items() if value == base})
            tempfile.tempdir = place
            os.chdir(place)
            _limit(self.memory, seconds)
            confine(
                writable=[place, *self.writable],
                modes=bool(self.writable),
                network=self.network,
                processes=self.processes > 0,
            )
            if os.getppid() == caller:  # else it ended before its death could be noticed
                os.write(pipe, work())
                status = 0
        finally:
            os._exit(status)

    def _ended(self, process: int, seconds: float) -> int:
        """Wait for the fork to end; its exit status."""
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(0, 0)  # says when the other end is closed, whatever may still lie in the pipe
        handle, pause = None, 0.001
        with suppress(AttributeError, OSError):  # Linux, and a container that allows it: else look now and then
            handle, pause = os.pidfd_open(process), 0.02
            poll.register(handle, select.POLLIN)
        try:
            while not (found := os.waitpid(process, os.WNOHANG))[0]:
                if (left := deadline - time.monotonic()) <= 0:
                    raise WorkFailed(f"timed out after {seconds:g} s")
                if self.processes and len(_descendants()) - 1 > self.processes:
                    raise WorkFailed(f"it started more than the {self.processes} processes it may have")
                if any(name == 0 for name, _ in poll.poll(1000 * min(left, pause))):
                    raise EOFError
        finally:
            if handle is not None:
                os.close(handle)
        return os.waitstatus_to_exitcode(found[1])


def environment(names: tuple[str, ...], folder: str, given: Mapping[str, str]) -> dict[str, str]:
    """The variables of a process that is about to be a sandbox's caller.

    Args:
        names: passed on besides the few that programs need.
        folder: the home and the place for temporary files, as long as `names` does not say otherwise.
        given: the variables to choose from.
    """
    kept = {name: value for name, value in given.items() if name in _NEEDED or name.startswith("LC_")}
    private = {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "HOME": folder, "TMPDIR": folder}
    return {**private, **kept, **{name: given[name] for name in names}}


_numbers = count()


def _own_folder(folder: str) -> str:
    """A fresh folder, under a name that was not used before: what cannot be removed is nobody's again."""
    place = os.path.join(folder, str(next(_numbers)))
    os.makedirs(place, 0o700)
    return place


def _remove(place: str) -> None:
    try:
        os.rmdir(place)
    except OSError:
        shutil.rmtree(place, ignore_errors=True)


def _limit(memory: int, seconds: float) -> None:
    import resource

    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: _FILE_BYTES,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
        resource.RLIMIT_CPU: int(2 * seconds + 5),  # ends what nobody waits for any more
        resource.RLIMIT_AS: memory,
    }
    with suppress(OSError):  # Linux says how much there is already
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limits[resource.RLIMIT_AS] += pages * resource.getpagesize()
    for kind, limit in limits.items():
        hard = resource.getrlimit(kind)[1]
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        with suppress(ValueError, OSError):  # a system that does not know this one
            resource.setrlimit(kind, (limit, limit))


def _read(pipe: int) -> bytes:
    """What lies in the pipe; nobody writes any more, or it is somebody that cannot be ended here."""
    os.set_blocking(pipe, False)
    with suppress(BlockingIOError):
        return os.read(pipe, _LONGEST)
    return b""


def _end_all(process: int, *, ended: bool) -> None:
    """End the fork and whatever it has left."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process, signal.SIGKILL)
    if not ended:
        os.kill(process, signal.SIGKILL)  # it may not have had time to form its group
        os.waitpid(process, 0)
    with suppress(ChildProcessError):  # there are none
        while True:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                _kill_all()
                os.waitpid(-1, 0)


def _kill_all() -> None:
    """Kill all descendants. They are stopped first, and looked for again, so that none can fork meanwhile."""
    stopped: set[int] = set()
    while new := set(_descendants()) - stopped:
        stopped |= new
        _signal(new, signal.SIGSTOP)
    _signal(stopped, signal.SIGKILL)


def _signal(processes: set[int], number: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)


def _descendants() -> list[int]:
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if sys.platform == "linux" else ():
        if name.isdigit():
            with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                children.setdefault(int(file.read().rpartition(b")")[2].split()[1]), []).append(int(name))
    found = [os.getpid()]
    for process in found:
        found += children.get(process, [])
    return found[1:]


def _attempts(outside: Path, memory: int) -> bytes:
    """What a hostile response would try, done harmlessly: which attempts are refused."""
    import resource

    caller = os.getppid()
    no_processes, started = True, None
    with suppress(OSError):
        if (started := os.fork()) == 0:
            os.setsid()
            time.sleep(2)  # then it is gone even where nothing ends it
            os._exit(0)
        no_processes = False
    refused: dict[str, list[Callable[[], object]]] = {
        "memory": [lambda: mmap.mmap(-1, memory + (1 << 20))],
        "no_meddling": [
            lambda: os.kill(caller, 0),
            lambda: Path(f"/proc/{caller}/environ").read_bytes(),
            lambda: os.open(f"/proc/{caller}/mem", os.O_RDONLY),
            lambda: resource.prlimit(caller, resource.RLIMIT_CORE),
        ],
        "no_network": [
            lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
            lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
            lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
        ],
        "no_writing": [
            lambda: outside.open("ab"),
            lambda: os.truncate(outside, 0),
            lambda: outside.chmod(0o600),
            lambda: outside.with_name("folder").mkdir(),
        ],
    }
    found: dict[str, Any] = {name: all(map(_is_refused, attempts)) for name, attempts in refused.items()}
    return json.dumps({**found, "own_process": True, "no_processes": no_processes, "started": started}).encode()


def _is_refused(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except (OSError, MemoryError, AttributeError):  # AttributeError: this system has nothing of the kind
        return True
    return False


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
