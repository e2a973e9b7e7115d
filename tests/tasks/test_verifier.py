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
        assert verifier.score(["x" * 30_000_000, "\udfff"], ["x", "\udfff"]) == [WRONG, RIGHT]
        assert verifier.score([], []) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gsm8k", "math", "reasoning_gym:chain_sum", "arithmetic"])
def test_odd_and_enormous_responses_to_the_tasks_get_a_verdict_and_touch_no_other(name: str) -> None:
    right = "<answer>12</answer>" if ":" in name else "\\boxed{12}" if name == "math" else "#### 12"
    odd = [
        "\ud800",
        "\udc80" * 1000,
        "\0",
        "\0" * 100_000,
        "",
        "x" * 5_000_000,
        right[:-1] + "\ud800\0",
        "9" * 1_000_000,
    ]
    with Verifier(name) as verifier:
        scores = verifier.score([*odd, right], ["12"] * (len(odd) + 1))
        golds = verifier.score([right] * 3, ["\ud800", "\0", "9" * 100_000])
    assert scores[-1] == RIGHT
    assert all(score.errored or score.value == 0.0 for score in [*scores[:-1], *golds])


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
        ("returns:decimal", "hostile returned Decimal('1'), a Decimal; expected a number from 0 to 1"),
        ("returns:list", "hostile returned [1.0], a list; expected a number from 0 to 1"),
        ("returns:array", "hostile returned array([1., 1.]), a ndarray; expected a number from 0 to 1"),
        ("returns:1e999", "hostile returned inf, a float; expected a number from 0 to 1"),
        ("returns:complex", "hostile returned 1j, a complex; expected a number from 0 to 1"),
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


@pytest.mark.parametrize("response", ["returns:numpy", "returns:numpy bool", "returns:bool", "returns:fraction"])
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


def test_a_module_of_the_current_folder_is_found_and_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_verifier.py").write_text(
        "import json, my_helper\nprint('loaded')\n"
        "def verify(response, answer): return json.loads(response) == my_helper.number(answer)\n"
    )
    (tmp_path / "my_helper.py").write_text("number = int\n")
    for name in ("json", "numpy", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('hidden')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "")
    for path in (sys.path, ["", *sys.path], [str(tmp_path), *sys.path]):
        monkeypatch.setattr(sys, "path", path)
        with Verifier("my_verifier:verify") as verifier:
            assert verifier.score(["7", "8"], ["7", "7"]) == [RIGHT, WRONG]
            verifier._workers[0].kill()
            with monkeypatch.context() as elsewhere:  # it is looked for where the run was started
                elsewhere.chdir("/")
                assert verifier.score(["7"], ["7"]) == [RIGHT]


def test_a_module_that_is_not_found_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text("import no_such_library\n")
    for name in ("random.py", "fine.py"):
        (tmp_path / name).write_text("def verify(response, answer): return 1.0\n")
    for name, message in (
        ("rewards:check", f"no module 'rewards' in the current folder, {tmp_path}, nor where Python looks; start the "),
        ("rewards:check", "in the folder that holds it, when resuming too, or put that folder on PYTHONPATH"),
        ("rewards.maths:check", "no module 'rewards.maths' in the current folder"),
        ("fine.py:verify", "write 'fine:verify'"),
        ("broken:check", "No module named 'no_such_library'"),
        ("random:verify", f"{tmp_path / 'random.py'} is hidden by the module 'random' of "),
    ):
        with pytest.raises(ValueError) as caught:
            Verifier(name)
        assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "verl",
            "verl(data_source, solution_str, ground_truth, extra_info=None) does not take two arguments; expected "
            "(response: str, answer: str) -> float. Name a function such as def score(response, answer): return "
            "verl(data_source='', solution_str=response, ground_truth=answer), or ['score'] of that if it is a dict",
        ),
        ("only_response", "only_response(response) does not take two arguments"),
        ("Judge", "Judge is a class; name a function or an instance, such as judge = Judge()"),
        ("later", "asyncio.run(later(response, answer))"),
        (
            "gold_first",
            "gold_first(gold, pred) would get the response as 'gold'; expected (response: str, answer: str) -> float. "
            "Name a function such as def score(response, answer): return gold_first(gold=answer, pred=response)",
        ),
        ("prompt_first", "prompt_first(prompt, completion) would get the response as 'prompt'"),
    ],
)
def test_a_function_that_cannot_be_called_as_a_verifier_is_refused_at_once(name: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        Verifier(f"verifier_signatures:{name}")
    assert f"the verifier 'verifier_signatures:{name}' cannot be loaded: ValueError: {name}" in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["judge", "with_defaults", "with_anything", "part", "builtin", "decorated"])
def test_what_can_be_called_with_two_texts_is_a_verifier(name: str) -> None:
    with Verifier(f"verifier_signatures:{name}") as verifier:
        assert verifier.score(["a", "b"], ["a", "a"]) == [RIGHT, WRONG]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("judge", None),
        ("shy", None),  # nothing is said of an empty response, and the gold answers are judged
        ("minus_one", "minus_one returned -1.0; expected a number from 0 to 1 (rewards from a to b become that as "),
        ("to_ten", "to_ten returned 10; expected a number from 0 to 1 (rewards from a to b become that as "),
        (
            "scored",
            "4 of 4 verdicts are errors: scored returned {'score': 1.0}, a dict; expected a number from 0 to 1;",
        ),
        ("silent", "4 of 4 verdicts are errors: silent returned None, a NoneType; expected a number from 0 to 1"),
        (
            "for_batches",
            "4 of 4 verdicts are errors: for_batches returned [1.0], a list; expected a number from 0 to 1",
        ),
        ("broken", "4 of 4 verdicts are errors: KeyError: 'no such key'"),
    ],
)
def test_a_verifier_that_judges_nothing_is_found_out_before_anything_is_spent(name: str, reason: str | None) -> None:
    with Verifier(f"verifier_signatures:{name}") as verifier:
        found = verifier.check(["3", "5", "7"])
        assert verifier.check([]) is None
    assert found is None if reason is None else found is not None and found.startswith(reason)


def test_gold_answers_of_no_use_to_a_task_are_found_out_too() -> None:
    with Verifier("gsm8k") as verifier:
        assert verifier.check(["#### 18", "none", "none"]) is None
        assert str(verifier.check(["none"] * 100)).startswith("9 of 9 verdicts are errors: ValueError: ")


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
    except (FileNotFoundError, ProcessLookupError):  # it went before the file was opened, or read
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
