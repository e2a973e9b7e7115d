import json
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen

import pytest

from didact.tasks.sandbox import Guarantees
from didact.tasks.verifier import Score, Verifier

PROBE, HOSTILE = "verifier_probes:misbehaving", "verifier_probes:hostile"
RIGHT, WRONG = Score(1.0, False, ""), Score(0.0, False, "")


@pytest.fixture(scope="module")
def hostile() -> Iterator[Verifier]:
    """A verifier that does what the response says."""
    with Verifier(HOSTILE, timeout=1.0) as verifier:
        yield verifier


def test_a_batch_survives_whatever_its_items_do() -> None:
    responses = ["a", "loop", "b", "crash", "raise", "exit", "wait", "print", "a", "hold the interpreter", *["a"] * 40]
    with Verifier(PROBE, timeout=0.7, workers=2) as verifier:
        scores = verifier.score(responses, ["a"] * len(responses))
        again = verifier.score(["a", "b"], ["a", "a"])
    assert [scores[index] for index in (0, 2, 7, 8)] == [RIGHT, WRONG, WRONG, RIGHT]
    assert {scores[index].detail for index in (1, 6, 9)} == {"timed out after 0.7 s"}
    assert scores[3] == Score(None, True, "the verifier's process died (exit status 7)")
    assert scores[4] == Score(None, True, "RuntimeError: lost")
    assert scores[5] == Score(None, True, "SystemExit: 3")
    assert scores[10:] == [RIGHT] * 40
    assert again == [RIGHT, WRONG]


def test_nonsense_is_an_error_and_never_a_reward() -> None:
    responses = ["nan", "inf", "two", "minus", "text", "none"]
    with Verifier(PROBE) as verifier:
        scores = verifier.score(responses, [""] * len(responses))
    assert [(score.value, score.errored) for score in scores] == [(None, True)] * 6
    assert all("expected a number from 0 to 1" in score.detail for score in scores)


def test_sympy_is_cut_off_from_within_a_thread() -> None:
    scores: list[Score] = []

    def work() -> None:
        with Verifier("math", timeout=2) as verifier:
            scores.extend(verifier.score(["\\boxed{9^{9^{9^{9}}}}", "\\boxed{2}"], ["9^{9^{9^{8}}}", "2"]))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert scores == [Score(None, True, "timed out after 2 s"), RIGHT]


def test_threads_take_turns() -> None:
    results: dict[int, list[Score]] = {}
    with Verifier(PROBE, workers=2) as verifier:

        def work(number: int) -> None:
            results[number] = verifier.score([str(number), "x"] * 50, [str(number)] * 100)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert all(results[number] == [RIGHT, WRONG] * 50 for number in range(4))


def test_a_worker_that_died_between_batches_costs_nothing() -> None:
    with Verifier(PROBE) as verifier:
        verifier._workers[0]._process.kill()
        verifier._workers[0]._process.wait()
        assert verifier.score(["a"], ["a"]) == [RIGHT]


def test_a_task_that_cannot_hang_needs_no_process() -> None:
    with Verifier("gsm8k", workers=2) as verifier:
        assert not verifier._workers
        assert verifier.score(["18", "17", "18"], ["#### 18", "18", "none"])[:2] == [RIGHT, WRONG]
        assert verifier.score(["18"], ["none"])[0].errored


def test_odd_text_travels_and_large_batches_too() -> None:
    text = "\ud800 \x00 \u2028 \n" + "x" * 200_000
    with Verifier(PROBE) as verifier:
        assert verifier.score([text] * 20, [text] * 20) == [RIGHT] * 20
        assert verifier.score([], []) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("maths", "did you mean 'math'"),
        ("no_such_module:verify", "cannot be loaded: ModuleNotFoundError"),
        ("verifier_probes:misbehavin", "did you mean 'misbehaving'"),
    ],
)
def test_a_verifier_that_cannot_be_loaded_is_refused_at_once(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Verifier(name)


def test_bad_arguments_are_refused() -> None:
    for options in ({"timeout": 0.0}, {"timeout": float("nan")}, {"workers": 0}):
        with pytest.raises(ValueError, match="expected more than 0 s, at least 1"):
            Verifier("gsm8k", **options)  # type: ignore[arg-type]
    verifier = Verifier("gsm8k")
    with pytest.raises(ValueError, match="2 responses and 1 answers"):
        verifier.score(["1", "2"], ["1"])
    with pytest.raises(TypeError, match="answer 0 is a int; expected text"):
        verifier.score(["1"], [1])  # type: ignore[list-item]
    closed = Verifier(PROBE)
    closed.close()
    with pytest.raises(RuntimeError, match="closed"):
        closed.score(["1"], ["1"])


@pytest.mark.parametrize(
    ("response", "detail"),
    [
        ("returns:decimal", "the verifier returned Decimal('1'); expected a number from 0 to 1"),
        ("returns:list", "the verifier returned [1.0]; expected a number from 0 to 1"),
        ("returns:array", "the verifier returned array([1., 1.]); expected a number from 0 to 1"),
        ("returns:1e999", "the verifier returned inf; expected a number from 0 to 1"),
        ("returns:complex", "the verifier returned 1j; expected a number from 0 to 1"),
        ("returns:huge", "OverflowError: int too large to convert to float"),
        ("returns:unprintable", "RuntimeError: no text"),
        ("raises:base", "BaseException: base"),
        ("raises:interrupt", "KeyboardInterrupt: "),
        ("raises:generator", "GeneratorExit: "),
        ("raises:memory", "MemoryError: "),
        ("raises:surrogate", "ValueError:    [31m  "),
        ("raises:silent", "Silent"),
        ("exit 0", "the verifier's process died (exit status 0)"),
        ("close", "the verifier's process died (exit status 1)"),
        ("garbage", "something else than one answer to this question came out of the verifier's process"),
        ("doubled", "something else than one answer to this question came out of the verifier's process"),
        ("other question", "something else than one answer to this question came out of the verifier's process"),
        ("stop", "timed out after 1 s"),
        ("ignore", "timed out after 1 s"),
    ],
)
def test_what_is_no_verdict_is_an_error_in_one_line_and_touches_no_other(
    hostile: Verifier, response: str, detail: str
) -> None:
    assert hostile.score(["a", response, "b", "a"], ["a"] * 4) == [RIGHT, Score(None, True, detail), WRONG, RIGHT]


@pytest.mark.parametrize("response", ["recurse", "returns:long text", "file", "folder", "kill parent", "memory:34"])
def test_what_else_a_response_may_do_touches_no_other(hostile: Verifier, response: str) -> None:
    scores = hostile.score(["a", response, "b", "a"], ["a"] * 4)
    assert [scores[index] for index in (0, 2, 3)] == [RIGHT, WRONG, RIGHT]
    assert scores[1].errored or response == "folder"
    assert len(scores[1].detail) <= 500


@pytest.mark.parametrize("response", ["returns:numpy", "returns:bool"])
def test_numbers_of_other_libraries_count(hostile: Verifier, response: str) -> None:
    assert hostile.score([response], [""]) == [RIGHT]


def test_what_is_printed_is_thrown_away(hostile: Verifier, capfd: pytest.CaptureFixture[str]) -> None:
    assert hostile.score(["flood", "a"], ["flood", "a"]) == [RIGHT, RIGHT]
    assert capfd.readouterr() == ("", "")


def test_a_response_that_takes_over_the_verifier_changes_no_later_verdict(hostile: Verifier) -> None:
    assert hostile.score(["take over", *["b"] * 20], ["a"] * 21)[1:] == [WRONG] * 20
    assert hostile.score(["judged before", "leave file", "left file"], ["", "leave file", ""]) == [WRONG, RIGHT, WRONG]


def test_the_environment_is_empty_but_for_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "hidden")
    monkeypatch.setenv("A_KEY", "needed")
    needed = {"HOME", "LANG", "OMP_NUM_THREADS", "PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "TMPDIR", "TZ"}
    with Verifier(HOSTILE, environment=("A_KEY",)) as verifier:
        (score,) = verifier.score(["environment"], [""])
        (place,) = verifier.score(["place"], [""])
    seen = set(score.detail.removeprefix("RuntimeError: ").split())
    assert "A_KEY" in seen
    assert {name for name in seen if not name.startswith(("LC_", "PYTHONHOME", "LD_LIBRARY"))} <= {*needed, "A_KEY"}
    folder, home, temporary = json.loads(place.detail.removeprefix("RuntimeError: "))
    assert folder == home == temporary
    assert Path(folder).is_relative_to(Path(tempfile.gettempdir()).resolve())
    assert not Path(folder).parent.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_descriptor_is_inherited(hostile: Verifier, tmp_path: Path) -> None:
    handle = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(handle, True)
    (score,) = hostile.score(["descriptors"], [""])
    os.close(handle)
    assert score.detail == "RuntimeError: 0 1 2 3 4"  # 4 is the listing's own


def test_nothing_is_claimed_for_what_runs_in_this_process() -> None:
    with Verifier("gsm8k") as verifier:
        assert verifier.guarantees == Guarantees()


def test_what_is_claimed_holds(hostile: Verifier, tmp_path: Path) -> None:
    claimed = hostile.guarantees
    assert claimed.own_process
    assert claimed.environment
    kept = tmp_path / "kept"
    kept.write_text("mine")
    kept.chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        attempts = {
            "memory": ["memory:34"],
            "no_processes": [f"daemon:{tmp_path / 'daemon'}"],
            "no_meddling": [f"signal:{os.getpid()}", f"own:{os.getpid()}", f"peek:{os.getpid()}"],
            "no_network": [f"socket:{port}"],
            "no_writing": [f"write:{kept}", f"write:{tmp_path / 'new'}", f"mode:{kept}"],
        }
        held = {name: attempts[name] for name in attempts if getattr(claimed, name)}
        for name, responses in held.items():
            scores = hostile.score(responses, [""] * len(responses))
            assert all(score.errored for score in scores), name
            assert all(score.detail.startswith(("PermissionError: ", "MemoryError: ")) for score in scores), scores
    if claimed.no_writing:
        assert [path.name for path in tmp_path.iterdir()] == ["kept"]
        assert (kept.read_text(), kept.stat().st_mode & 0o777) == ("mine", 0o600)
    if missing := set(attempts) - set(held):
        pytest.skip(f"this system does not offer {', '.join(sorted(missing))}")


@pytest.mark.skipif(sys.platform != "linux", reason="descendants can be found on Linux only")
def test_whatever_a_response_starts_ends_with_it(tmp_path: Path) -> None:
    with Verifier(HOSTILE, timeout=3, processes=4, writable=(tmp_path,)) as verifier:
        assert verifier.guarantees.no_survivors
        assert not verifier.guarantees.no_processes
        scores = verifier.score([f"daemon:{tmp_path / 'daemon'}", "forks", "a"], ["", "", "a"])
    assert scores[0] == RIGHT
    assert scores[1] == Score(None, True, "it started more than the 4 processes it may have")
    assert scores[2] == RIGHT
    assert not is_running(int((tmp_path / "daemon").read_text()))


def test_a_verifier_gets_what_it_is_given(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        Verifier(HOSTILE, network=True, writable=(tmp_path,)) as verifier,
    ):
        responses = [f"socket:{server.getsockname()[1]}", f"write:{tmp_path / 'new'}"]
        assert verifier.score(responses, responses) == [RIGHT, RIGHT]
        assert not verifier.guarantees.no_network
    assert (tmp_path / "new").read_text() == "written"


def test_a_module_of_the_current_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_verifier.py").write_text(
        "print('loaded')\ndef verify(response, answer): return response == answer\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    with Verifier("my_verifier:verify") as verifier:
        assert verifier.score(["a"], ["a"]) == [RIGHT]


def test_a_worker_that_cannot_be_started_again_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "fleeting.py"
    module.write_text("def verify(response, answer): return 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with Verifier("fleeting:verify") as verifier:
        module.unlink()
        verifier._workers[0].kill()
        scores = verifier.score(["a", "b"], ["a", "b"])
    assert all(score.errored and "cannot be loaded: ModuleNotFoundError" in score.detail for score in scores)


def test_built_in_tasks_are_given_nothing_and_what_is_asked_for_must_exist(tmp_path: Path) -> None:
    for options in ({"network": True}, {"processes": 1}, {"writable": (tmp_path,)}, {"environment": ("PATH",)}):
        with pytest.raises(ValueError, match="for functions of your own"):
            Verifier("math", **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the variable 'NO_SUCH_KEY' is not set"):
        Verifier(HOSTILE, environment=("NO_SUCH_KEY",))
    with pytest.raises(ValueError, match="make it first"):
        Verifier(HOSTILE, writable=(tmp_path / "missing",))
    for options, message in (
        ({"memory": 1}, "expected a number of bytes"),
        ({"memory": "lots"}, "expected a number of bytes"),
        ({"processes": -1}, "at least 0"),
        ({"network": "yes"}, "expected True or False"),
        ({"environment": "PATH"}, "expected a list"),
        ({"writable": "/tmp"}, "expected a list"),
    ):
        with pytest.raises(ValueError, match=message):
            Verifier(HOSTILE, **options)  # type: ignore[arg-type]


def parent(response: str, folder: Path) -> tuple["Popen[str]", set[int]]:
    """A process in the middle of `score`, and the ids of its worker and of the fork that judges the response."""
    code = (
        "import signal\nfrom didact.tasks.verifier import Verifier\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell may have had it ignored
        f"with Verifier({PROBE!r}, timeout=60.0) as verifier:\n"
        "    print('ready', flush=True)\n"
        f"    verifier.score([{response!r}], [''])\n"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path, "TMPDIR": str(folder)}
    process = Popen([sys.executable, "-c", code], stdout=PIPE, stderr=DEVNULL, text=True, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    deadline = time.monotonic() + 20
    while len(found := children([process.pid, *children([process.pid])])) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    return process, found


def children(parents: list[int]) -> set[int]:
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) in parents:
                found.add(int(stat.parent.name))
    return found


def is_running(process_id: int) -> bool:
    """Whether the process computes or waits; one that nobody has reaped yet does neither."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("response", ["loop", "wait", "hold the interpreter"])
def test_no_worker_and_no_folder_outlives_its_parent(how: signal.Signals, response: str, tmp_path: Path) -> None:
    process, found = parent(response, tmp_path)
    assert len(found) == 2
    assert all(map(is_running, found))
    process.send_signal(how)
    process.wait(timeout=20)
    deadline = time.monotonic() + 10
    while (any(map(is_running, found)) or os.listdir(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, found))
    assert os.listdir(tmp_path) == []
