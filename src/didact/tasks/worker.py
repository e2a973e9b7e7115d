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
import inspect
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
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from didact.naming import nearest_or_all
from didact.tasks import TASKS, task
from didact.tasks.sandbox import Sandbox, WorkFailed

Verify = Callable[[str, str], Any]

DIGITS: Final = 32  # of what identifies a question
LENGTH: Final = 8  # bytes of the length of a question
_DETAIL: Final = 500  # characters
RESCALE: Final = "expected a number from 0 to 1 (rewards from a to b become that as (reward - a) / (b - a))"
_RESPONSES: Final = {"response", "completion", "prediction", "pred", "output", "solution_str", "y_pred", "candidate"}
_ANSWERS: Final = {"gold", "ground_truth", "reference", "gold_answer", "y_true"}


def load_verifier(name: str, folder: str) -> Verify:
    """The ``verify`` of a task, or the function that ``module:function`` names.

    Args:
        folder: where to look for the module last; nothing in it hides what Python or the user has installed.

    Raises:
        ImportError: there is no such module, or what is installed hides it.
        ValueError: there is no such task or function, or it cannot be called as a verifier is.
    """
    if name.partition(":")[0] in TASKS:
        chosen = task(name)
        with suppress(Exception):  # what its library imports at the first use is not part of anybody's time limit
            chosen.warm_up()
        return chosen.verify
    module_name, _, attribute = name.partition(":")
    module = _imported(module_name, attribute, folder)
    verify = getattr(module, attribute, None)
    if not callable(verify):
        known = [key for key, value in vars(module).items() if callable(value)]
        raise ValueError(f"{name}: the module has no function {attribute!r}{nearest_or_all(attribute, known)}")
    if problem := misfit(verify, attribute):
        raise ValueError(problem)
    return verify  # type: ignore[no-any-return]


def _imported(name: str, attribute: str, folder: str) -> ModuleType:
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not f"{name}.".startswith(f"{error.name}."):  # the module is there, and imports what is not
            raise
        spelling = f"; write '{name.removesuffix('.py')}:{attribute}'" if name.endswith(".py") else ""
        raise ModuleNotFoundError(
            f"no module {name!r} in the current folder, {folder}, nor where Python looks{spelling}; start the command "
            "in the folder that holds it, when resuming too, or put that folder on PYTHONPATH"
        ) from None
    top = name.partition(".")[0]
    own = [path for path in (Path(folder, f"{top}.py"), Path(folder, top, "__init__.py")) if path.is_file()]
    found = getattr(sys.modules[top], "__file__", None)
    if own and not (found and any(path.samefile(found) for path in own)):
        raise ImportError(f"{own[0]} is hidden by the module {top!r} of {found or 'Python'}; give it another name")
    return module


def misfit(verify: Verify, name: str) -> str | None:
    """Why the function cannot be a verifier, and what could be, as far as its signature says; None if it can."""
    if inspect.isclass(verify):
        return f"{name} is a class; name a function or an instance, such as judge = {name}()"
    if any(map(inspect.iscoroutinefunction, (verify, getattr(verify, "__call__", None)))):  # noqa: B004
        wrapped = f"def score(response, answer): return asyncio.run({name}(response, answer))"
        return f"{name} is async, and nobody would await it; name a function such as {wrapped}"
    try:
        signature = inspect.signature(
            verify, follow_wrapped=False
        )  # a decorator may give the arguments that are missing
    except (ValueError, TypeError):  # written in C, some of them
        return None
    parameters = list(signature.parameters)
    given = "(response: str, answer: str) -> float"
    plain = (str(each.replace(annotation=inspect.Parameter.empty)) for each in signature.parameters.values())
    called = f"{name}({', '.join(plain):.150})"
    try:
        signature.bind("", "")
    except TypeError:
        call = f"{name}(...)"
        if {"solution_str", "ground_truth"} <= set(parameters):  # verl's
            source = "data_source='', " if "data_source" in parameters else ""
            call = f"{name}({source}solution_str=response, ground_truth=answer), or ['score'] of that if it is a dict"
        wrapped = f"def score(response, answer): return {call}"
        return f"{called} does not take two arguments; expected {given}. Name a function such as {wrapped}"
    first, second = [*parameters, "", ""][:2]
    if (second in _RESPONSES and first not in _RESPONSES) or first in _ANSWERS:
        call = (
            f"{name}({first}=answer, {second}=response)" if first in {*_ANSWERS, "answer", "target"} else f"{name}(...)"
        )
        wrapped = f"def score(response, answer): return {call}"
        return f"{called} would get the response as {first!r}; expected {given}. Name a function such as {wrapped}"
    return None


def judge(verify: Verify, response: str, answer: str) -> tuple[float | None, str]:
    """(value, "") if the verifier gives a number from 0 to 1, else (None, what went wrong)."""
    try:
        value = verify(response, answer)
        if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
            value = value.item()
        number = float(value) if isinstance(value, Real) else math.nan
        if not 0 <= number <= 1:  # nan is not either
            return None, one_line(_fault(verify, value))
    except Exception as error:  # whatever an outside verifier raises is reported, not raised
        return None, describe(error)
    return number, ""


def _fault(verify: Verify, value: Any) -> str:
    name = getattr(verify, "__qualname__", type(verify).__qualname__)
    if isinstance(value, Real) and math.isfinite(value):
        return f"{name} returned {value!r:.80}; {RESCALE}"
    instead = "; return its 'score'" if isinstance(value, dict) and "score" in value else ""
    return f"{name} returned {value!r:.80}, a {type(value).__name__}; expected a number from 0 to 1{instead}"


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


def main(name: str, current: str, folder: str, seconds_per_item: float, sandbox: Sandbox) -> None:
    channel = os.dup(1)
    os.dup2(2, 1)  # what a module prints while it is loaded
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its own time limit is off
    try:
        verify = load_verifier(name, current)
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
    _, named, here, own, seconds, settings = sys.argv
    try:
        main(named, here, own, float(seconds), Sandbox.from_json(settings))
    finally:
        shutil.rmtree(own, ignore_errors=True)
