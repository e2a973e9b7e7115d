r"""Competition mathematics: LaTeX answers, read by math-verify's parser and compared part by part (sympy).

A response is judged by its last ``\boxed{}``, by several where they are one answer in parts, or, without any, by what
math-verify finds in its last lines. `didact.tasks.equality` decides what is equal; docs/verifiers.md has the table. A
gold answer is bare LaTeX, as the public data sets have it (``\frac{14}{3}``), LaTeX in dollar signs or in a box, or
several accepted forms as a JSON list of strings, of which any will do.

A gold answer that is neither read as mathematics nor made of words can still be compared as text, and then only the
same LaTeX passes: `Math.verifiable` says so, and whoever loads data should count those prompts. A comparison that sympy
fails at raises; it is an error, not a wrong answer.

math-verify limits its own time by ``signal.alarm``, which works in the main thread only. Its limits are off here, so a
comparison can take for ever (``9^{9^{9^{9}}}``): use `didact.tasks.verifier.Verifier`.
"""

import json
import re
from contextlib import suppress
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Final

from didact.tasks.answers import Answer, read
from didact.tasks.boxed import Box, boxes_backwards, last_boxes
from didact.tasks.equality import equal
from didact.tasks.files import drawn, load_examples
from didact.tasks.task import Example, Split, Task, check_split, missing_extra

HUB: Final = {"train": "agentica-org/DeepScaleR-Preview-Dataset", "test": "HuggingFaceH4/MATH-500"}
_TAIL: Final = 1000  # characters read where there is no box, and longest box; math-verify is slow on long texts
_LETTERED: Final = re.compile(r"(?:\\text\s*\{\s*)?\(?([A-J])\)\s*\}?\s*([^\s}].*)")
_UNSURE: Final = re.compile(r"\d[\s*$]*(?:or|and/or)[\s*$]*-?\d|\b(?:not|isn't)\s+\$?-?\d")
_LETTER: Final = re.compile(
    r"(?i:answer|option|choice)(?i:\s+is)?\s*:?\s*\**\s*:?\s*(\(?[A-J][).:]\s*[^\n]*|\(?[A-J]\)?)\**\.?$"
)
_ALONE: Final = re.compile(r"[^\w\\]*([A-J])[^\w\\]*")
_STATED: Final = re.compile(r"(?i:answer)\W{0,4}:\W{0,4}?([-\w\\(\[{$.][^:]*)$")
#: What answers look like: sympy and the parser of LaTeX are slow with what they have not seen yet.
_TYPICAL: Final = tuple(
    r"""
    17 ; -3 ; 0.5 ; 1,234 ; 50\% ; \$12 ; 60^\circ ; 2^{10} ; 3! ; \infty ; \frac{14}{3} ; \dfrac12 ; \binom{5}{2} ; A
    3x+1 ; x^2-2x+1 ; x=2 ; x<3 ; i+1 ; \sqrt{2}+\pi ; 2\sqrt[3]{5} ; \sin x ; \log_2 3 ; e^{-x} ; 10 \text{ cm}
    (1, 2) ; [0, 1) ; (-\infty, 2) \cup (3, \infty) ; \{1, 2\} ; 1, 2, 3 ; \text{Tuesday} ; \text{(A)}
    \left(\frac{1}{2}, -1\right) ; \begin{pmatrix} 1 \\ 2 \end{pmatrix}
    """.strip()
    .replace("\n", ";")
    .split(";")
)


class Math(Task):
    """LaTeX answers, with the help of math-verify."""

    name = "math"
    instruction = "\nReason step by step and put the final answer in \\boxed{}."

    def __init__(self) -> None:
        if find_spec("math_verify") is None:
            raise missing_extra(self.name, "math-verify")

    def verify(self, response: str, answer: str) -> float:
        """1.0 if the response's final answer equals the gold answer, or one of its accepted forms."""
        golds, found = _golds(answer), _final_answers(response)
        longest = _TAIL + len(answer)
        return float(any(equal(*_read(gold, text)) for gold in golds for text in found if len(text) <= longest))

    def verifiable(self, answer: str) -> str | None:
        """None if some form of this gold answer is more than letters to compare, and equals itself, else why not."""
        try:
            golds = _golds(answer)
        except ValueError as error:
            return str(error)
        if not any(read(gold).readable for gold in golds):
            return "not an expression: only the same LaTeX passes"
        return super().verifiable(answer)

    def warm_up(self) -> None:
        """Parse and compare typical answers."""
        for answer, other in zip(_TYPICAL, (*_TYPICAL[1:], _TYPICAL[0]), strict=True):
            for response in (answer, other):
                with suppress(Exception):  # sympy cannot compare everything with everything
                    self.verify(_wrapped(response), answer)
        read.cache_clear()

    def gold_response(self, answer: str) -> str:
        """The first accepted form, in a box."""
        return _wrapped(_forms(answer)[0])

    def examples(  # type: ignore[override]  # each task names its own options
        self, split: Split, num: int | None = None, seed: int = 0, *, path: str | Path | None = None
    ) -> list[Example]:
        """Problems from a local file of this split, or from the hub; `num` of them drawn by `seed`, or all in order."""
        check_split(split)
        loaded, _ = load_examples(HUB[split] if path is None else path, split=split)
        return drawn(loaded, num, seed)


def _golds(answer: str) -> list[str]:
    """The text of every accepted form; ValueError if there is nothing to compare with."""
    golds = [text for form in _forms(answer) for text in _of_choice(_gold(form)) if read(text).parts]
    if not golds:
        raise ValueError(f"math: nothing can be read from the gold answer {answer[:80]!r}; expected LaTeX or a number")
    return golds


def _of_choice(gold: str) -> list[str]:
    """A gold answer; of "(B) 14" the letter and the value, of which either will do."""
    match = _LETTERED.fullmatch(read(gold).source)
    return [match[1], match[2]] if match else [gold]


def _forms(answer: str) -> list[str]:
    """The accepted forms of a gold answer."""
    forms = [answer]
    if answer.lstrip().startswith('["'):
        with suppress(json.JSONDecodeError):  # LaTeX may happen to start like a list
            forms = [str(form) for form in json.loads(answer)]
    forms = [form.strip() for form in forms if form.strip()]
    if not forms:
        raise ValueError(f"math: the gold answer is {answer!r}; expected LaTeX or a number")
    return forms


def _gold(form: str) -> str:
    """The answer that a form is: bare, in dollar signs or boxes, or at the end of a whole solution."""
    if boxed := _boxed(form):
        return boxed[0]
    form = re.split(r"(?<=\$),?\s*where\b", form, maxsplit=1)[0]
    prose = re.sub(r"(?<!\\)\$[^$]*(?<!\\)\$", "", form)
    if prose == form or re.fullmatch(r"(?:[\s.,;]|and|or)*", prose):
        return form
    return (_unboxed(form) or [form])[0]


def _boxed(text: str) -> list[str]:
    """What the last boxes of a text say, and in the second place what all of them say, where there are more."""
    last, number = last_boxes(text)
    if not last:
        return []
    every = list(islice(boxes_backwards(text), number))[::-1]
    return [_in_a_row(last), _in_a_row(every)] if number > len(last) else [_in_a_row(last)]


def _in_a_row(boxes: list[Box]) -> str:
    return ", ".join(dict.fromkeys(box.content for box in boxes))


def _final_answers(response: str) -> list[str]:
    """What a response may be said to answer, the likeliest first."""
    if boxed := _boxed(response):
        return boxed
    text = response[-_TAIL:].rstrip()
    line = text.rpartition("\n")[2]
    if letter := _LETTER.search(line) or _ALONE.fullmatch(line):
        return [letter[1], *_unboxed(text)]
    stated = _STATED.search(line)
    return [stated[1]] if stated and read(stated[1]).readable else _unboxed(text)


def _unboxed(text: str) -> list[str]:
    """What math-verify takes for the answer at the end of a text without boxes, as text, if there is only one."""
    from math_verify import parse

    if _UNSURE.search(text.rstrip().rpartition("\n")[2]):
        return []
    found = parse(text, parsing_timeout=None)
    return found[-1:] if found and isinstance(found[-1], str) else []


def _read(gold: str, found: str) -> tuple[Answer, Answer]:
    """Both answers; upper and lower case are told apart where one of them has both of a letter."""
    letters = [
        set(re.findall(r"[A-Za-z]", re.sub(r"\\text\s*\{[^{}]*\}|\\[A-Za-z]+", "", text))) for text in (gold, found)
    ]
    cases = any(letter.lower() in some for some in letters for letter in some if letter.isupper())
    return read(gold, cases=cases), read(found, cases=cases)


def _wrapped(form: str) -> str:
    """A gold answer as a response would have it."""
    return f"\\boxed{{{_gold(form)}}}"
