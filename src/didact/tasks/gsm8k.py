r"""GSM8K: grade-school word problems whose answer is one number (arXiv:2110.14168).

The final number of a response is found in this order: inside the last ``\boxed{}``, else behind the last ``####`` on
its line, else the last number of the text. It is compared with the gold number exactly, as a fraction: 18, 18.0,
$18.00, 36/2 and 18 apples are equal; 17.999 is not. A gold answer is the whole solution, ending in ``#### 1,234``, or
the bare number.

Why not math-verify here: every gold answer is a plain number, so exact arithmetic decides, a hundred times faster, in
time proportional to the length of the response and with nothing that can hang. That is why it needs no worker process.
What this does not do: read numbers in words, evaluate expressions ("3 * 6" is read as its last number), round.
"""

import re
from collections import deque
from fractions import Fraction
from pathlib import Path
from typing import Final

from didact.tasks.boxed import last_boxed
from didact.tasks.files import drawn, load_examples
from didact.tasks.task import Example, Split, Task, check_split

HUB: Final = "openai/gsm8k"
_MAX_DIGITS: Final = 100  # no answer is longer, and reading a number takes time in the square of its length

_NUMBER: Final = re.compile(
    r"(?P<sign>(?<![\w)])[-\u2212])?\\?\$?"
    r"(?P<value>(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)"
    r"(?:/(?P<below>0*[1-9]\d*))?",
    re.ASCII,
)
_UNITS: Final = re.compile(r"\\(?:text|mathrm|textrm|mbox)\s*\{[^{}]*\}(?:\^\{?\d\}?)?")
_SPACING: Final = re.compile(r"\\[!,;: ]|\{(?=,\})|(?<=,)\}")  # 1\,234 and 1{,}234


class GSM8K(Task):
    """Grade-school word problems with an exact, in-process verifier."""

    name = "gsm8k"
    instruction = "\nWork it out step by step. End with a line of its own: #### followed by the number."
    isolate = False

    def verify(self, response: str, answer: str) -> float:
        """1.0 if the response's final number is the gold number."""
        return float(final_number(response) == gold_number(answer))

    def gold_response(self, answer: str) -> str:
        """The gold number behind its mark."""
        return "#### " + answer.rpartition("####")[2].strip()

    def examples(  # type: ignore[override]  # each task names its own options
        self, split: Split, num: int | None = None, seed: int = 0, *, path: str | Path = HUB
    ) -> list[Example]:
        """Problems from a local file of this split, or from the hub; `num` of them drawn by `seed`, or all in order."""
        check_split(split)
        loaded, _ = load_examples(path, split=split, config="main" if path == HUB else None, source=self.name)
        return drawn(loaded, num, seed)


def gold_number(answer: str) -> Fraction:
    """The number of a gold answer: all there is behind the last ``####``, or in the whole text if there is none."""
    text = answer.rpartition("####")[2].strip()
    match = _NUMBER.fullmatch(text)
    number = None if match is None else _as_fraction(match)
    if number is None:
        raise ValueError(f"gsm8k: the gold answer ends in {text[:80]!r}; expected one number, such as '#### 1,234'")
    return number


def final_number(response: str) -> Fraction | None:
    """The number a response ends up with, or None."""
    boxed = last_boxed(response)
    if boxed is not None:
        text = _SPACING.sub("", boxed)
        number = _last_number(_UNITS.sub(" ", text))
        return _last_number(text) if number is None else number
    _, mark, behind = response.rpartition("####")
    if mark:
        first = _NUMBER.search(behind.strip().partition("\n")[0])
        return None if first is None else _as_fraction(first)
    return _last_number(response)


def _last_number(text: str) -> Fraction | None:
    last = deque(_NUMBER.finditer(text), maxlen=1)
    return _as_fraction(last[0]) if last else None


def _as_fraction(match: re.Match[str]) -> Fraction | None:
    value, below = match["value"].replace(",", ""), match["below"] or "1"
    if len(value) + len(below) > _MAX_DIGITS:
        return None
    number = Fraction(value) / int(below)
    return -number if match["sign"] else number
