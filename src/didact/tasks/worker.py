"""The process in which `didact.tasks.verifier.Verifier` runs a verifier: ``python -P -m didact.tasks.worker ...``.

It loads the verifier once, warms it up, and forks for every question: the fork sees this one question and nothing of
the others (`didact.tasks.sandbox`). This process itself never runs a verifier on a response.

Standard input brings questions: 32 hexadecimal digits that nobody can guess, the length, and a JSON list [response,
answer]. Each is answered by one line, a JSON list of those digits, value and detail. The fork's own answer has the same
form, and is passed on only if it is whole, alone and for the question asked. The first line out says what was found to
hold here, or why the verifier cannot be loaded.

A worker never outlives its parent: when standard input is closed it ends everything that it started, and itself.
"""

import gc
import importlib
import json
import logging
import math
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from numbers import Real
from typing import Any, Final

from didact.tasks import TASKS, task
from didact.tasks.sandbox import Sandbox, WorkFailed
from didact.tasks.task import nearest

Verify = Callable[[str, str], Any]

DIGITS: Final = 32  # of what identifies a question
LENGTH: Final = 8  # bytes of the length of a question
_DETAIL: Final = 500  # characters


def load_verifier(name: str) -> Verify:
    """The ``verify`` of a task, or the function that ``module:function`` names."""
    if name.partition(":")[0] in TASKS:
        chosen = task(name)
        with suppress(Exception):  # what its library imports at the first use is not part of anybody's time limit
            chosen.warm_up()
        return chosen.verify
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
        if not 0 <= number <= 1:  # nan is not either
            return None, one_line(f"the verifier returned {value!r:.80}; expected a number from 0 to 1")
    except Exception as error:  # whatever an outside verifier raises is reported, not raised
        return None, describe(error)
    return number, ""


def describe(error: BaseException) -> str:
    """The error in one line, even if it cannot be made into text."""
    try:
        return one_line(f"{type(error).__name__}: {error}")
    except Exception:
        return type(error).__name__


def one_line(text: str) -> str:
    """At most 500 characters that a terminal shows as they are."""
    return "".join(each if each.isprintable() else " " for each in text[:_DETAIL])


def read_answer(line: bytes, question: str) -> tuple[float | None, str] | None:
    """(value, detail) if the line is one whole answer to this question, else None."""
    try:
        asked, value, detail = json.loads(line)
        whole = asked == question and line.count(b"\n") == 1 and line.endswith(b"\n") and isinstance(detail, str)
    except (ValueError, TypeError, RecursionError):
        return None
    if not whole or (value is not None and not (isinstance(value, float) and 0 <= value <= 1)):
        return None
    return value, one_line(detail)


def write_answer(question: str, value: float | None, detail: str) -> bytes:
    return json.dumps([question, value, detail]).encode() + b"\n"


def main(name: str, folder: str, seconds_per_item: float, sandbox: Sandbox) -> None:
    channel = os.dup(1)
    os.dup2(2, 1)  # what a module prints while it is loaded
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its own time limit is off
    try:
        verify = load_verifier(name)
        os.chdir(folder)
        found = asdict(sandbox.probe(folder))
    except EOFError:
        return
    except BaseException as error:
        _send(channel, json.dumps(describe(error)).encode() + b"\n")
        return
    gc.collect()
    gc.freeze()  # forks share the memory as long as nobody writes to it
    _send(channel, json.dumps(found).encode() + b"\n")
    with suppress(EOFError, BrokenPipeError):
        while True:
            question = _receive(DIGITS).decode()
            item = _receive(int.from_bytes(_receive(LENGTH), "big"))
            _send(channel, _answer(verify, question, item, folder, seconds_per_item, sandbox))


def _answer(verify: Verify, question: str, item: bytes, folder: str, seconds: float, sandbox: Sandbox) -> bytes:
    def work() -> bytes:
        try:
            value, detail = judge(verify, *json.loads(item))
        except BaseException as error:  # SystemExit, KeyboardInterrupt: here they are the verifier's, not the user's
            value, detail = None, describe(error)
        return write_answer(question, value, detail)

    try:
        answer = read_answer(sandbox.run(work, folder, seconds), question)
    except WorkFailed as error:
        answer = None, str(error)
    except OSError as error:  # no more processes or files to be had
        answer = None, describe(error)
    if answer is None:
        answer = None, "something else than one answer to this question came out of the verifier's process"
    return write_answer(question, *answer)


def _receive(size: int) -> bytes:
    """So many bytes from the parent, and not one of the next question."""
    data = bytearray()
    while len(data) < size:
        part = os.read(0, min(size - len(data), 1 << 20))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


def _send(channel: int, line: bytes) -> None:
    while line:
        line = line[os.write(channel, line) :]


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], float(sys.argv[3]), Sandbox.from_json(sys.argv[4]))
    finally:
        shutil.rmtree(sys.argv[2], ignore_errors=True)
