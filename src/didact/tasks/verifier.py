"""A verifier that may crash or hang, run where that does no harm: `Verifier` scores batches in worker processes.

An error is not a wrong answer: a verifier that raises, dies, takes longer than its time limit or returns something else
than a number from 0 to 1 gives a `Score` without a value, marked errored, and the rest of the batch goes on.

Workers are fresh interpreters (`didact.tasks.worker`), not forks, so torch and threads in the caller do not matter, and
the caller's main module is not run again. No signals are used, so any thread may call `score`; calls from several
threads take turns. Tasks that cannot hang (`Task.isolate` is false) are verified in the calling process.

What this does not do: protect against a hostile verifier. POSIX only (pipes that can be waited for).
"""

import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self, cast

from didact.tasks import TASKS, task
from didact.tasks.worker import judge

_BATCH: Final = 16  # items per message: few enough to share the end of a batch, enough to make messages cheap
_START_SECONDS: Final = 120.0  # to start an interpreter and import sympy on a busy machine


@dataclass(frozen=True, slots=True)
class Score:
    """What the verifier said about one response.

    Attributes:
        value: from 0 to 1, or None if the verifier did not say.
        errored: whether it did not say.
        detail: why, in one line; empty otherwise.
    """

    value: float | None
    errored: bool
    detail: str


class Verifier:
    """Scores responses with a task's verifier, or with ``module:function`` of one's own, in worker processes.

    Args:
        name: a name that `didact.tasks.task` knows, or ``module:function``, a function of (response, answer) that can
            be imported.
        timeout: seconds for one response.
        workers: number of processes.
        isolate: whether a task's verifier runs in a process of its own; None: as the task wishes. In this one nothing
            ends one that hangs.

    Raises:
        ValueError: no such task, family or function, one that cannot be loaded, or an argument out of range.
        ImportError: the task's library is not installed.
    """

    def __init__(self, name: str, *, timeout: float = 5.0, workers: int = 1, isolate: bool | None = None) -> None:
        if not timeout > 0 or workers < 1:
            raise ValueError(f"timeout={timeout!r} and workers={workers!r} given; expected more than 0 s, at least 1")
        self.name = name
        self._timeout = timeout
        self._lock = threading.Lock()
        self._workers: list[_Worker] = []
        self._local = None
        base, _, attribute = name.partition(":")
        if base in TASKS or not attribute:
            chosen = task(name)
            self._local = None if (chosen.isolate if isolate is None else isolate) else chosen
        if self._local is None:
            self._workers = [_Worker(name, timeout) for _ in range(workers)]
            try:
                for worker in self._workers:
                    worker.wait_until_ready()
            except BaseException:
                self.close()
                raise

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[Score]:
        """One score per response, in order; never raises for what the verifier does."""
        items = _checked_items(responses, answers)
        if self._local is not None:
            return [_score(*judge(self._local.verify, *item)) for item in items]
        with self._lock:
            if not self._workers:
                raise RuntimeError("the Verifier is closed; make a new one")
            return self._run(items)

    def close(self) -> None:
        """End the worker processes; harmless if they have ended."""
        for worker in self._workers:
            worker.kill()
        self._workers = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _run(self, items: list[tuple[str, str]]) -> list[Score]:
        scores: list[Score | None] = [None] * len(items)
        todo = deque(range(len(items)))
        try:
            with selectors.DefaultSelector() as selector:
                while todo or any(worker.assigned for worker in self._workers):
                    self._hand_out(todo, items, selector)
                    self._collect(todo, scores, selector)
        except BaseException:  # Ctrl-C: answers still on their way must not be taken for those of the next batch
            for worker in self._workers:
                if worker.assigned:
                    worker.restart()
            raise
        return cast(list[Score], scores)

    def _hand_out(self, todo: "deque[int]", items: list[tuple[str, str]], selector: selectors.BaseSelector) -> None:
        for worker in self._workers:
            if todo and not worker.assigned:
                size = max(1, min(_BATCH, len(todo) // len(self._workers)))
                worker.take([todo.popleft() for _ in range(size)], items)
                selector.register(worker.stdout, selectors.EVENT_READ, worker)

    def _collect(self, todo: "deque[int]", scores: list[Score | None], selector: selectors.BaseSelector) -> None:
        """Wait for the next answer or the next deadline, and deal with what has come."""
        busy = [worker for worker in self._workers if worker.assigned]
        wait = max(0.0, min(worker.deadline for worker in busy) - time.monotonic())
        ready = {id(key.data) for key, _ in selector.select(wait)}
        for worker in busy:
            alive = True
            if id(worker) in ready:
                for value, detail in worker.answers():
                    scores[worker.assigned.popleft()] = _score(value, detail)
                alive = worker.alive
            failure = "" if alive else worker.cause_of_death()
            if alive and worker.assigned and time.monotonic() > worker.deadline:
                failure = f"timed out after {self._timeout:g} s"
            if failure or not worker.assigned:
                selector.unregister(worker.stdout)
            if failure:
                if worker.assigned:
                    scores[worker.assigned.popleft()] = _score(None, failure)
                todo.extendleft(reversed(worker.assigned))
                worker.restart()


class _Worker:
    """One process, and the items it has been given and not yet answered, in order."""

    def __init__(self, name: str, timeout: float) -> None:
        self._name, self._timeout = name, timeout
        self.assigned: deque[int] = deque()
        self._start()

    def _start(self) -> None:
        self._rest = b""
        self.alive = True
        self._ready = False
        self.assigned.clear()
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "didact.tasks.worker", self._name, str(self._timeout)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C in a terminal is the caller's to handle
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self.stdout = self._process.stdin, self._process.stdout
        os.set_blocking(self.stdout.fileno(), False)

    def wait_until_ready(self) -> None:
        """Return when the verifier is loaded; RuntimeError with the reason if it cannot be."""
        if self._ready:
            return
        self.deadline = time.monotonic() + _START_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(self.stdout, selectors.EVENT_READ)
            messages: list[object] = []
            while not messages and self.alive:
                if not selector.select(max(0.0, self.deadline - time.monotonic())):
                    raise ValueError(f"the verifier {self._name!r} was not loaded within {_START_SECONDS:g} s")
                messages = self.answers()
        if messages != ["ready"]:
            reason = messages[0] if messages else self.cause_of_death()
            raise ValueError(f"the verifier {self._name!r} cannot be loaded: {reason}")
        self._ready = True

    def take(self, indices: list[int], items: list[tuple[str, str]]) -> None:
        if self._process.poll() is not None:  # it died while idle, which is no item's fault
            self.restart()
        self.wait_until_ready()
        self.assigned.extend(indices)
        self.deadline = time.monotonic() + self._timeout
        with suppress(BrokenPipeError):  # if it has just died, the end of its output says so next
            self._stdin.write(json.dumps([items[index] for index in indices]).encode() + b"\n")
            self._stdin.flush()

    def answers(self) -> list[Any]:
        """Answers that have arrived; each gives the next item its full time."""
        while (data := self.stdout.read(1 << 16)) is not None:
            if not data:
                self.alive = False
                break
            self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        if lines:
            self.deadline = time.monotonic() + self._timeout
        return [json.loads(line) for line in lines]

    def cause_of_death(self) -> str:
        return f"the verifier's process died (exit status {self._process.wait()})"

    def restart(self) -> None:
        self.kill()
        self._start()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._stdin, self.stdout):
            with suppress(BrokenPipeError):
                pipe.close()


def _score(value: float | None, detail: str) -> Score:
    return Score(value=value, errored=value is None, detail=detail)


def _checked_items(responses: Sequence[str], answers: Sequence[str]) -> list[tuple[str, str]]:
    if len(responses) != len(answers):
        raise ValueError(f"{len(responses)} responses and {len(answers)} answers given; expected one answer each")
    for kind, texts in (("response", responses), ("answer", answers)):
        for index, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"{kind} {index} is a {type(text).__name__}; expected text")
    return list(zip(responses, answers, strict=True))
