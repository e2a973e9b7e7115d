import os
import signal
import sys
import threading
import time
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen

import pytest

from didact.tasks.verifier import Score, Verifier

PROBE = "verifier_probes:misbehaving"
RIGHT, WRONG = Score(1.0, False, ""), Score(0.0, False, "")


def test_a_batch_survives_whatever_its_items_do() -> None:
    responses = ["a", "loop", "b", "crash", "raise", "exit", "wait", "print", "a", "hold the interpreter", *["a"] * 40]
    with Verifier(PROBE, timeout=0.7, workers=2) as verifier:
        scores = verifier.score(responses, ["a"] * len(responses))
        again = verifier.score(["a", "b"], ["a", "a"])
    assert [scores[index] for index in (0, 2, 7, 8)] == [RIGHT, WRONG, WRONG, RIGHT]
    assert {scores[index].detail for index in (1, 6, 9)} == {"timed out after 0.7 s"}
    assert scores[3] == Score(None, True, "the verifier's process died (exit status 7)")
    assert scores[4] == Score(None, True, "RuntimeError: lost")
    assert scores[5] == Score(None, True, "the verifier's process died (exit status 3)")
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


def parent(response: str) -> tuple["Popen[str]", int]:
    """A process in the middle of `score`, and its worker's process id."""
    code = (
        "import sys, threading\nfrom didact.tasks.verifier import Verifier\n"
        f"with Verifier({PROBE!r}, timeout=1.0 if {response!r} == 'hold the interpreter' else 60.0) as verifier:\n"
        "    print(verifier._workers[0]._process.pid, flush=True)\n"
        f"    verifier.score([{response!r}], [''])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    process = Popen([sys.executable, "-c", code], stdout=PIPE, stderr=DEVNULL, text=True, env=environment)
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    time.sleep(0.3)
    return process, worker


def is_running(process_id: int) -> bool:
    """Whether the process computes or waits; one that nobody has reaped yet does neither."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("response", ["loop", "wait"])
def test_no_worker_outlives_its_parent(how: signal.Signals, response: str) -> None:
    process, worker = parent(response)
    assert is_running(worker)
    process.send_signal(how)
    process.wait(timeout=20)
    deadline = time.monotonic() + 10
    while is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(worker)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_worker_that_never_lets_go_of_the_interpreter_is_ended_by_the_kernel() -> None:
    process, worker = parent("hold the interpreter")
    process.kill()
    process.wait(timeout=20)
    assert is_running(worker)
    deadline = time.monotonic() + 60
    while is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not is_running(worker)
