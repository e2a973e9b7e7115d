r"""Competition mathematics: LaTeX answers, compared by math-verify (sympy).

A response is judged by its last ``\boxed{}``, or, without one, by what math-verify finds in its last lines. A gold
answer is bare LaTeX, as the public data sets have it (``\frac{14}{3}``), LaTeX in dollar signs or in a box, or several
accepted forms as a JSON list of strings, of which any will do.

A gold answer that math-verify cannot turn into an expression can still be compared as text, and then only the same
LaTeX passes: `Math.verifiable` says so, and whoever loads data should count those prompts. A comparison that sympy
fails at raises; it is an error, not a wrong answer.

math-verify limits its own time by ``signal.alarm``, which works in the main thread only. Its limits are off here, so a
comparison can take for ever (``9^{9^{9^{9}}}``): use `didact.tasks.verifier.Verifier`.
"""

import json
import re
from contextlib import suppress
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from didact.tasks.boxed import last_boxed
from didact.tasks.files import drawn, load_examples
from didact.tasks.task import Example, Split, Task, check_split, missing_extra

HUB: Final = {"train": "agentica-org/DeepScaleR-Preview-Dataset", "test": "HuggingFaceH4/MATH-500"}
_TAIL: Final = 1000  # characters read where there is no box, and longest box; math-verify is slow on long texts
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
    """LaTeX answers by math-verify."""

    name = "math"
    instruction = "\nReason step by step and put the final answer in \\boxed{}."

    def __init__(self) -> None:
        if find_spec("math_verify") is None:
            raise missing_extra(self.name, "math-verify")

    def verify(self, response: str, answer: str) -> float:
        """1.0 if the response's final answer equals the gold answer, or one of its accepted forms."""
        golds, boxed = _golds(answer), last_boxed(response)
        if boxed is not None and len(boxed) > _TAIL + len(answer):
            return 0.0
        found = _parsed(response[-_TAIL:] if boxed is None else _box(boxed))
        return float(any(_equal(gold, found) for gold in golds))

    def verifiable(self, answer: str) -> str | None:
        """None if some form of this gold answer is an expression that equals itself, else why it is not."""
        from sympy import Basic, MatrixBase

        try:
            golds = _golds(answer)
        except ValueError as error:
            return str(error)
        if not any(isinstance(value, Basic | MatrixBase) for gold in golds for value in gold):
            return "not an expression: only the same LaTeX passes"
        return super().verifiable(answer)

    def warm_up(self) -> None:
        """Parse and compare typical answers."""
        for answer, other in zip(_TYPICAL, (*_TYPICAL[1:], _TYPICAL[0]), strict=True):
            for response in (answer, other):
                with suppress(Exception):  # sympy cannot compare everything with everything
                    self.verify(_wrapped(response), answer)
        _golds.cache_clear()

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


@lru_cache(maxsize=1024)  # the rollouts of a group share their gold answer
def _golds(answer: str) -> tuple[list[Any], ...]:
    """Every accepted form, parsed; ValueError if there is nothing to compare with."""
    golds = tuple(filter(None, (_parsed(_wrapped(form)) for form in _forms(answer))))
    if not golds:
        raise ValueError(f"math: nothing can be read from the gold answer {answer[:80]!r}; expected LaTeX or a number")
    return golds


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


def _wrapped(form: str) -> str:
    """A gold answer in an anchor that math-verify looks for; the data sets have it bare."""
    if last_boxed(form) is not None:
        return form
    if whole := re.fullmatch(r"(\$\$?)([^$]+)(?<!\\)\1", form):
        return _box(whole[2].strip())
    dollars = len(re.findall(r"(?<!\\)\$", form))
    return form if dollars > 1 else _box(form)  # one alone is money


def _box(latex: str) -> str:
    return f"\\boxed{{{latex}}}"


def _parsed(text: str) -> list[Any]:
    """What math-verify finds: an expression, if any, and then the normalised text."""
    from math_verify import parse

    found: list[Any] = parse(text, parsing_timeout=None)
    return found


def _equal(gold: list[Any], found: list[Any]) -> bool:
    from math_verify import verify

    if gold and found and isinstance(gold[-1], str) and gold[-1] == found[-1]:
        return True  # the same text; sympy need not be asked
    return bool(verify(gold, found, timeout_seconds=None, raise_on_error=True))
