"""The processes that make the runs of a comparison, and how they end.

They end with the process that started them, whatever ended it and whatever they are doing: the kernel kills them
(Linux), and a thread in each waits for the parent's end (everywhere). One that is still importing ends as soon as that
is done. What a person wants of them reaches the parent alone: the first Ctrl-C lets the calls under way end, the second
stops at once. A signal that was ignored when the comparison began (nohup, a background shell) stays so.
"""

import ctypes
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, Final

from didact.interrupts import Interrupts

#: Processes at most; each holds an interpreter, and one with a real model some 400 MB.
MOST_JOBS: Final = 256
#: Small tensors come and go all the time: keep their memory instead of handing it back to the kernel each time.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "100000000",
}
#: A terminal sends these to every process it started. SIGTERM is not among them: the executor ends its workers by it.
_FOR_THE_PARENT = [getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)]
_PR_SET_PDEATHSIG = 1

Call = tuple[Callable[..., Any], tuple[Any, ...]]


class Workers:
    """Makes calls in other processes; see `workers`."""

    def __init__(
        self, executor: ProcessPoolExecutor, jobs: int, interrupts: Interrupts, note: Callable[[str], None]
    ) -> None:
        self._executor, self._jobs, self._interrupts, self._note = executor, jobs, interrupts, note

    @property
    def asked_to_stop(self) -> bool:
        return self._interrupts.asked > 0

    def results(self, calls: Sequence[Call], beat: Callable[[], None]) -> Iterator[Any]:
        """Results in the order in which they come; nothing new is begun once it was asked to stop.

        Args:
            beat: called a few times a second.

        Raises:
            KeyboardInterrupt: asked twice. RuntimeError: a worker was killed by somebody else.
        """
        waiting = iter(calls)
        running: set[Future[Any]] = set()
        told = False
        while True:
            while len(running) < self._jobs and not self.asked_to_stop and (call := next(waiting, None)):
                with _withheld():
                    running.add(self._executor.submit(call[0], *call[1]))
            if not running:
                return
            if self.asked_to_stop and not told:
                self._note("stopping when the runs under way have ended (Ctrl-C again stops at once)")
                told = True
            ended, running = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
            for future in ended:
                try:
                    yield future.result()
                except BrokenProcessPool as error:
                    if self.asked_to_stop:  # SIGTERM to the whole group ends the workers, too
                        raise KeyboardInterrupt from error
                    raise RuntimeError(
                        "a worker process was killed (out of memory?): what ended is kept; start again with fewer "
                        "--jobs"
                    ) from error
            if self._interrupts.asked > 1:
                raise KeyboardInterrupt
            beat()


@contextmanager
def workers(jobs: int, note: Callable[[str], None]) -> Iterator[Workers]:
    """At most `jobs` processes at a time, begun when they are needed; `note` is told what a person should know.

    Raises:
        ValueError: more than `MOST_JOBS`, or none.
    """
    if not 1 <= jobs <= MOST_JOBS:
        raise ValueError(f"jobs must be 1 to {MOST_JOBS}, got {jobs}")
    set_here = {name: value for name, value in _ENVIRONMENT.items() if name not in os.environ}
    os.environ.update(set_here)
    others = set(multiprocessing.active_children())
    with Interrupts(counted=True) as interrupts:
        with _withheld():
            executor = ProcessPoolExecutor(
                jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_begin, max_tasks_per_child=200
            )
        try:
            yield Workers(executor, jobs, interrupts, note)
        except BaseException:
            for child in set(multiprocessing.active_children()) - others:
                child.kill()
            raise
        finally:
            executor.shutdown(wait=True, cancel_futures=True)
            for name in set_here:
                os.environ.pop(name, None)


@contextmanager
def _withheld() -> Iterator[None]:
    """Processes begun in here never see what a terminal sends to all: not even before their first line has run."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_THE_PARENT)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin() -> None:
    """The first thing that a worker does."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if sys.platform == "linux":  # the thread above has to wait where a library holds the interpreter; this does not
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    for number in _FOR_THE_PARENT:
        signal.signal(number, signal.SIG_IGN)
    import logging
    import warnings

    warnings.simplefilter("ignore")
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        import transformers
    except ModuleNotFoundError:  # simulated learners need none
        return
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)
