"""Worker processes end with their parent, and signals mean what they should. The parent is a process of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from didact.compare.workers import workers

PROGRAM = """
import sys
from didact.compare.workers import workers
if __name__ == "__main__":
    with workers(2, lambda text: print(text, flush=True)) as crew:
        print("ready", flush=True)
        ended = [None for _ in crew.results([(exec, (sys.argv[1],))] * int(sys.argv[2]), lambda: None)]
    print(len(ended), "ended", flush=True)
    sys.exit(7 if crew.asked_to_stop else 0)
"""
#: One write, so that the lines of two workers do not mix.
BEGIN = "import ctypes, os, time\nos.write(1, b'begun\\n')\n"
#: In Python, in a library that lets go of the interpreter, and in one that does not.
BUSY = {"python": "while True: pass", "library": "time.sleep(60)", "held": "ctypes.PyDLL(None).sleep(60)"}
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux which processes there are")


@contextmanager
def _started(code: str, calls: int = 2, ignored: tuple[int, ...] = ()) -> Iterator[subprocess.Popen[str]]:
    def prepare() -> None:  # pytest itself may run with signals ignored
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)

    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, BEGIN + code, str(calls)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True, preexec_fn=prepare,
    )  # fmt: skip
    try:
        yield process
    finally:
        if _left(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _await(process: subprocess.Popen[str], *lines: str) -> None:
    assert process.stdout is not None
    for line in lines:
        assert process.stdout.readline().strip() == line


def _left(group: int) -> bool:
    """Whether a process of the group lives; one that has ended and was not yet waited for does not."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8") as file:
                state, _, of = file.read().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(of) == group and state != "Z":
            return True
    return False


def _ends(group: int) -> bool:
    deadline = time.monotonic() + 20
    while _left(group) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not _left(group)


@pytest.mark.parametrize("code", BUSY.values(), ids=BUSY)
def test_workers_end_with_a_parent_that_was_killed(code: str) -> None:
    with _started(code) as process:
        _await(process, "ready", "begun", "begun")
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=20)  # until nobody holds the pipe any more
        assert process.returncode == -signal.SIGKILL
        assert _ends(process.pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_asked_once_the_calls_under_way_end(number: int) -> None:
    with _started("time.sleep(1.5)", calls=20) as process:
        _await(process, "ready", "begun", "begun")
        os.kill(process.pid, number)
        said, _ = process.communicate(timeout=60)
        assert said.splitlines() == [
            "stopping when the runs under way have ended (Ctrl-C again stops at once)",
            "2 ended",
        ]
        assert process.returncode == 7


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_terminal_tells_the_whole_group_and_only_the_parent_listens(number: int) -> None:
    with _started("time.sleep(1.5)", calls=20) as process:
        _await(process, "ready")
        os.killpg(process.pid, number)  # while the workers begin
        said, _ = process.communicate(timeout=60)
        assert "Traceback" not in said
        assert process.returncode == 7


@pytest.mark.parametrize("code", BUSY.values(), ids=BUSY)
def test_asked_twice_or_more_often_it_stops_at_once(code: str) -> None:
    with _started(code) as process:
        _await(process, "ready", "begun", "begun")
        for _ in range(5):
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.01)
        said, _ = process.communicate(timeout=20)
        assert said.count("Traceback") == 1  # the program's own: it does not catch the KeyboardInterrupt
        assert said.splitlines()[-1] == "KeyboardInterrupt"
        assert _ends(process.pid)


def test_sigterm_to_the_whole_group_is_an_interruption() -> None:
    with _started("time.sleep(60)") as process:
        _await(process, "ready", "begun", "begun")
        os.killpg(process.pid, signal.SIGTERM)
        said, _ = process.communicate(timeout=20)
        assert said.splitlines()[-1] == "KeyboardInterrupt"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_was_ignored_stays_ignored(number: int) -> None:
    with _started("time.sleep(0.5)", ignored=(number,)) as process:
        _await(process, "ready", "begun", "begun")
        os.killpg(process.pid, number)
        said, _ = process.communicate(timeout=60)
        assert (said.strip(), process.returncode) == ("2 ended", 0)


def test_a_worker_that_somebody_kills_ends_the_rest() -> None:
    with _started("import os, signal; os.kill(os.getpid(), signal.SIGKILL)") as process:
        said, _ = process.communicate(timeout=60)
        assert "a worker process was killed (out of memory?): what ended is kept" in said
        assert _ends(process.pid)


def test_handlers_and_environment_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    with workers(1, print) as crew:
        assert list(crew.results([(abs, (-3,))], lambda: None)) == [3]
        assert os.environ["OMP_NUM_THREADS"] == "1"
    assert "OMP_NUM_THREADS" not in os.environ
    assert before == {number: signal.getsignal(number) for number in before}


@pytest.mark.parametrize("jobs", [0, -1, 257, 10**6])
def test_absurd_numbers_of_processes_are_refused(jobs: int) -> None:
    with pytest.raises(ValueError, match="jobs must be 1 to 256"), workers(jobs, print):
        pass
