"""The process in which `didact.tasks.verifier.Verifier` runs a verifier: ``python -P -m didact.tasks.worker NAME``.

Standard input brings one batch per line, a JSON list of [response, answer]; every item is answered by a line of its
own, [value, detail], as soon as it is known. The first line out says "ready", or why the verifier cannot be loaded.

A worker never outlives its parent: when standard input ends it exits, even from a verifier that waits; and a verifier
that computes without ever letting go of the interpreter meets the kernel's limit on processor time, renewed per item.
No signal handlers, so that nothing inside the verifier can interfere.
"""

import importlib
import json
import logging
import math
import os
import sys
import threading
from collections.abc import Callable
from numbers import Real
from queue import SimpleQueue
from typing import Any, TextIO

from didact.tasks import TASKS, task
from didact.tasks.task import nearest

Verify = Callable[[str, str], Any]

_MEMORY = 4 << 30  # bytes of address space for our own verifiers: a tower of powers must not take the machine down


def load_verifier(name: str) -> Verify:
    """The ``verify`` of a task, or the function that ``module:function`` names."""
    if name.partition(":")[0] in TASKS:
        return task(name).verify
    module_name, _, attribute = name.partition(":")
    module = importlib.import_module(module_name)
    verify = getattr(module, attribute, None)
    if not callable(verify):
        known = [key for key, value in vars(module).items() if callable(value)]
        raise ValueError(f"{name}: the module has no function {attribute!r}; {nearest(attribute, known)}")
    return verify  # type: ignore[no-any-return]


def judge(verify: Verify, response: str, answer: str) -> tuple[float | None, str]:
    """(value, "") if the verifier gives a number from 0 to 1, else (None, what went wrong)."""
    try:
        value = verify(response, answer)
        number = float(value) if isinstance(value, Real) else math.nan
    except Exception as error:  # whatever an outside verifier raises is reported, not raised
        return None, f"{type(error).__name__}: {error}"[:500]
    if not 0 <= number <= 1:  # nan is not either
        return None, f"the verifier returned {value!r:.80}; expected a number from 0 to 1"
    return number, ""


def main(name: str, seconds_per_item: float) -> None:
    out = _private_stdout()
    try:
        _limit_memory(name)
        verify = load_verifier(name)
    except Exception as error:
        _send(out, f"{type(error).__name__}: {error}")
        return
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its own time limit is off
    _send(out, "ready")
    batches: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_read, args=(batches,), daemon=True).start()
    while True:
        for response, answer in json.loads(batches.get()):
            _renew_time_limit(seconds_per_item)
            _send(out, judge(verify, response, answer))


def _read(batches: "SimpleQueue[str]") -> None:
    for line in sys.stdin:
        batches.put(line)
    os._exit(0)  # the parent has closed the pipe, or is gone


def _private_stdout() -> TextIO:
    """The channel to the parent, kept apart from what a verifier may print."""
    out = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    return out


def _send(out: TextIO, message: object) -> None:
    out.write(json.dumps(message) + "\n")
    out.flush()


def _limit_memory(name: str) -> None:
    if sys.platform == "linux" and name.partition(":")[0] in TASKS:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _renew_time_limit(seconds: float) -> None:
    """Let the kernel end this process well after the parent, if it still lives, would have done so."""
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = math.ceil(used.ru_utime + used.ru_stime + 2 * seconds + 5)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
