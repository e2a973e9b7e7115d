"""A verifier that may crash, hang or be taken over, run where that does no harm: `Verifier` scores batches.

A response is text that a model wrote, and a verifier that evaluates, imports or unpickles some of it hands the model
the keys. So every response is judged in a process of its own, a fork of a worker that has the verifier loaded: it can
spoil its own verdict and no other, and `didact.tasks.sandbox` takes from it what this system can take.
`Verifier.guarantees` says what that is here.

An error is not a wrong answer: a verifier that raises, dies, takes longer than its time limit or returns something else
than a number from 0 to 1 gives a `Score` without a value, marked errored, and the rest of the batch goes on.

Workers are fresh interpreters (`didact.tasks.worker`), so torch and threads in the caller do not matter, and the
caller's main module is not run again. No signals are used, so any thread may call `score`; calls from several threads
take turns. Tasks that cannot hang (`Task.isolate` is false) are verified in the calling process.

What this does not do: keep a response that runs inside the verifier from choosing its own verdict. POSIX only.
"""

import json
import os
import secrets
import selectors
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any, Final, Self, cast

from didact.tasks import TASKS, task
from didact.tasks.sandbox import Guarantees, Sandbox, environment
from didact.tasks.worker import DIGITS, LENGTH, RESCALE, judge, one_line, read_answer

_BATCH: Final = 16  # items per message: few enough to share the end of a batch, enough to make messages cheap
_START_SECONDS: Final = 120.0  # to start an interpreter and import sympy on a busy machine
_GRACE_SECONDS: Final = 15.0  # for a worker to end what took too long, before it is taken for dead itself
_END_SECONDS: Final = 5.0  # for a worker to clear up
_TRIED: Final = 8  # gold answers of `Verifier.check`


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
    """Scores responses with a task's verifier, or with ``module:function`` of one's own.

    By default the verifier has no network, starts no processes and writes nowhere but in a folder of its own that is
    removed after each response, where the system can refuse these things (see `guarantees`). What a function of one's
    own needs beyond that is named here; none of it can be given to the built-in tasks.

    Args:
        name: a name that `didact.tasks.task` knows, or ``module:function``, a function (response: str, answer: str) ->
            float. Its module is looked for where Python looks and then in the current folder.
        timeout: seconds for one response.
        workers: number of processes that judge at a time.
        isolate: whether a task's verifier runs in processes of its own; None: as the task wishes. In this one nothing
            ends one that hangs.
        environment: names of environment variables that it may see, beside PATH, TZ, the language and the like.
        network: whether it may open sockets.
        writable: folders and files that it may write to; permissions of files anywhere can then be changed too.
        processes: how many other processes it may have at a time for one response.
        memory: bytes that it may take for one response.

    Attributes:
        guarantees: what was found to hold here when the workers started; nothing for what runs in this process.

    Raises:
        ValueError: no such task, family or function, one that cannot be loaded, or an argument out of range.
        ImportError: the task's library is not installed.
    """

    def __init__(
        self,
        name: str,
        *,
        timeout: float = 5.0,
        workers: int = 1,
        isolate: bool | None = None,
        environment: Sequence[str] = (),
        network: bool = False,
        writable: Sequence[str | os.PathLike[str]] = (),
        processes: int = 0,
        memory: int = Sandbox.memory,
    ) -> None:
        if not 0 < timeout < 1e6 or type(workers) is not int or workers < 1:
            raise ValueError(f"timeout={timeout!r} and workers={workers!r} given; expected more than 0 s, at least 1")
        self.name = name
        self.guarantees = Guarantees()
        self._lock = threading.Lock()
        self._workers: list[_Worker] = []
        self._local = None
        base, _, attribute = name.partition(":")
        built_in = base in TASKS or not attribute
        sandbox = _sandbox(memory, processes, network, writable)
        names = _names(environment)
        if built_in:
            if names or sandbox != Sandbox(memory=memory):
                raise ValueError(
                    f"environment, network, writable and processes are for functions of your own, module:function; "
                    f"the task {name!r} needs none of them"
                )
            chosen = task(name)
            self._local = None if (chosen.isolate if isolate is None else isolate) else chosen
        if self._local is None:
            try:
                places = _places()
                for _ in range(workers):
                    self._workers.append(_Worker(name, places, timeout, sandbox, names))
                for worker in self._workers:
                    self.guarantees = worker.wait_until_ready()
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

    def check(self, answers: Sequence[str]) -> str | None:
        """None if this verifier can judge such gold answers, else why not, in one line: ask before anything is spent.

        It is tried on the empty response and on up to 8 of the gold answers, each as the response to itself. One
        verdict that is no error will do; one number out of [0, 1] will not, as then the others mean something else.
        """
        tried = list(answers[:: max(1, len(answers) // _TRIED)])[:_TRIED]
        if not tried:
            return None
        scores = self.score(["", *tried], [tried[0], *tried])
        errors = [score.detail for score in scores if score.errored]
        if out_of_range := next((detail for detail in errors if detail.endswith(RESCALE)), None):
            return out_of_range
        if len(errors) < len(scores):
            return None
        return f"{len(errors)} of {len(errors)} verdicts are errors: {Counter(errors).most_common(1)[0][0]}"

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
            while todo or any(worker.assigned for worker in self._workers):
                self._hand_out(todo, items, scores)
                self._collect(todo, scores)
        except BaseException:  # Ctrl-C: answers still on their way must not be taken for those of the next batch
            for worker in self._workers:
                if worker.assigned:
                    worker.kill()
            raise
        return cast(list[Score], scores)

    def _hand_out(self, todo: "deque[int]", items: list[tuple[str, str]], scores: list[Score | None]) -> None:
        for worker in self._workers:
            if todo and not worker.assigned:
                size = max(1, min(_BATCH, len(todo) // len(self._workers)))
                try:
                    worker.take(list(todo)[:size], items)
                except (ValueError, OSError) as error:  # it had started before; what was scored since is not lost
                    for index in todo:
                        scores[index] = _score(None, one_line(str(error)))
                    todo.clear()
                else:
                    for _ in range(size):
                        todo.popleft()

    def _collect(self, todo: "deque[int]", scores: list[Score | None]) -> None:
        """Wait for the next answer or the next deadline, and deal with what has come."""
        busy = [worker for worker in self._workers if worker.assigned]
        if not busy:
            return
        wait = max(0.0, min(worker.deadline for worker in busy) - time.monotonic())
        with selectors.DefaultSelector() as selector:
            for worker in busy:
                selector.register(worker.stdout, selectors.EVENT_READ)
                if worker.outgoing:
                    selector.register(worker.stdin, selectors.EVENT_WRITE)
            ready = {key.fileobj for key, _ in selector.select(wait)}
        for worker in busy:
            if worker.stdin in ready:
                worker.send()
            failure = ""
            for line in worker.lines() if worker.stdout in ready else ():
                answer = read_answer(line, worker.assigned[0][1]) if worker.assigned else None
                if answer is None:
                    failure = "the verifier's worker answered something else than was asked"
                    break
                scores[worker.assigned.popleft()[0]] = _score(*answer)
            if worker.assigned and not worker.alive:
                failure = worker.cause_of_death()
            elif worker.assigned and time.monotonic() > worker.deadline:
                failure = "the verifier's worker does not answer any more"
            if failure:
                if worker.assigned:
                    scores[worker.assigned.popleft()[0]] = _score(None, failure)
                todo.extendleft(index for index, _ in reversed(worker.assigned))
                worker.kill()


class _Worker:
    """One process, and the items it has been given and not yet answered, in order, each with its secret name."""

    def __init__(
        self, name: str, places: tuple[str, str], timeout: float, sandbox: Sandbox, names: tuple[str, ...]
    ) -> None:
        self._name, self._timeout, self._sandbox, self._names = name, timeout, sandbox, names
        self._path, self._current = places
        self.assigned: deque[tuple[int, str]] = deque()
        self._start()

    def _start(self) -> None:
        self._rest = b""
        self.outgoing = bytearray()
        self.alive = True
        self._found: Guarantees | None = None
        self.assigned.clear()
        self._folder = tempfile.mkdtemp(prefix="didact-verifier-")
        given = {**os.environ, "PYTHONPATH": self._path}
        arguments = [self._name, self._current, self._folder, str(self._timeout), self._sandbox.to_json()]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "didact.tasks.worker", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env=environment((*self._names, "PYTHONPATH"), self._folder, given),
                start_new_session=True,  # Ctrl-C in a terminal is the caller's to handle
            )
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self.stdin, self.stdout = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        for pipe in (self.stdin, self.stdout):
            os.set_blocking(pipe.fileno(), False)

    def wait_until_ready(self) -> Guarantees:
        """Return when the verifier is loaded, with what holds for it; ValueError if it cannot be loaded."""
        if self._found is not None:
            return self._found
        self.deadline = time.monotonic() + _START_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(self.stdout, selectors.EVENT_READ)
            lines: list[bytes] = []
            while not lines and self.alive:
                if not selector.select(max(0.0, self.deadline - time.monotonic())):
                    raise ValueError(f"the verifier {self._name!r} was not loaded within {_START_SECONDS:g} s")
                lines = self.lines()
        found = json.loads(lines[0]) if lines else self.cause_of_death()
        if not isinstance(found, dict):
            raise ValueError(f"the verifier {self._name!r} cannot be loaded: {found}")
        self._found = Guarantees(**found)
        return self._found

    def take(self, indices: list[int], items: list[tuple[str, str]]) -> None:
        """Give it these items; ValueError or OSError if it had to be started anew and could not be."""
        if self._process.poll() is not None:  # it died while idle, which is no item's fault
            self.restart()
        self.wait_until_ready()
        for index in indices:
            question = secrets.token_hex(DIGITS // 2)
            text = json.dumps(items[index]).encode()
            self.outgoing += question.encode() + len(text).to_bytes(LENGTH, "big") + text
            self.assigned.append((index, question))
        self.send()

    def send(self) -> None:
        """Send what the pipe takes now."""
        self.deadline = time.monotonic() + self._timeout + _GRACE_SECONDS
        with suppress(BrokenPipeError):  # if it has just died, the end of its output says so next
            while self.outgoing and (sent := self.stdin.write(self.outgoing[: 1 << 20])):
                del self.outgoing[:sent]
            return
        self.outgoing.clear()

    def lines(self) -> list[bytes]:
        """Lines that have arrived; each gives the next item its full time."""
        while (data := self.stdout.read(1 << 16)) is not None:
            if not data:
                self.alive = False
                break
            self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        if lines:
            self.deadline = time.monotonic() + self._timeout + _GRACE_SECONDS
        return [line + b"\n" for line in lines]

    def cause_of_death(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            return f"the verifier's worker died (exit status {self._process.wait(_END_SECONDS)})"
        return "the verifier's worker has closed its output"

    def restart(self) -> None:
        self.kill()
        self._start()

    def kill(self) -> None:
        """End it, and all that it has started; harmless if it has ended."""
        for pipe in (self.stdin, self.stdout):
            pipe.close()  # this tells it
        try:
            self._process.wait(_END_SECONDS if self._found else 0.1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.assigned.clear()
        shutil.rmtree(self._folder, ignore_errors=True)


def _places() -> tuple[str, str]:
    """Where Python looks for modules, and the current folder, which comes last there unless PYTHONPATH names it: no
    json.py that lies about takes the place of Python's own."""
    here, path = os.getcwd(), list(map(os.path.abspath, sys.path))
    named = [os.path.abspath(each) for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
    if here in path and here not in named:
        path = [*(each for each in path if each != here), here]
    return os.pathsep.join(path), here


def _sandbox(memory: int, processes: int, network: bool, writable: Sequence[str | os.PathLike[str]]) -> Sandbox:
    if type(memory) is not int or memory < 1 << 24:
        raise ValueError(f"memory={memory!r} given; expected a number of bytes, at least {1 << 24}")
    if type(processes) is not int or processes < 0:
        raise ValueError(f"processes={processes!r} given; expected how many a response may start, at least 0")
    if not isinstance(network, bool):
        raise ValueError(f"network={network!r} given; expected True or False")
    for path in _listed("writable", writable, str | os.PathLike):
        if not os.path.exists(path):
            raise ValueError(f"writable: there is no {os.fspath(path)!r}; make it first")
    paths = tuple(os.path.abspath(path) for path in writable)
    return Sandbox(memory=memory, processes=processes, network=network, writable=paths)


def _names(environment: Sequence[str]) -> tuple[str, ...]:
    for name in _listed("environment", environment, str):
        if name not in os.environ:
            raise ValueError(f"environment: the variable {name!r} is not set")
    return tuple(environment)


def _listed(option: str, values: Sequence[Any], kind: Any) -> Sequence[Any]:
    if not isinstance(values, list | tuple) or not all(isinstance(value, kind) for value in values):
        raise ValueError(f"{option}={values!r} given; expected a list of names, even if it is only one")
    return values


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
