r"""GSM8K: grade-school word problems whose answer is one number (arXiv:2110.14168).

The final number of a response is found in this order: inside the last ``\boxed{}``, else behind the last ``####`` on
its line, else the last number of the text. It is compared with the gold number exactly, as a fraction: 18, 18.0,
$18.00, 36/2, 1.8e1, eighteen and 18 apples are equal; 17.999 is not. Sums are worked out: "3 * 6 = 18" is 18, and
neither 3 nor 6; if its sides contradict each other, or two numbers stand side by side ("18 or 20"), there is no answer.
What a model goes on to ask and answer by itself behind its answer ("Question: ...") is not read. A gold answer is the
whole solution, ending in ``#### 1,234``, or the bare number.

Why not math-verify here: every gold answer is a plain number, so exact arithmetic decides, a hundred times faster, in
time proportional to the length of the response and with nothing that can hang. That is why it needs no worker process.
What this does not do: powers, roots, names for values, rounding.
"""

import re
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Final

from didact.tasks.boxed import last_boxes
from didact.tasks.calculation import MAX_DIGITS, Sum, sums
from didact.tasks.files import drawn, load_examples
from didact.tasks.task import Example, Split, Task, check_split

HUB: Final = "openai/gsm8k"
_GOLD: Final = re.compile(
    r"(?P<sign>[-\u2212])?\\?\$?(?P<above>(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)(?:/(?P<below>0*[1-9]\d*))?",
    re.ASCII,
)
_LINE: Final = 2000  # characters of a line that are looked at
#: Where a model that was shown examples goes on with a question of its own.
_NEXT_QUESTION: Final = re.compile(
    r"\n[ \t#*]{0,8}(?:question|problem|exercise|q|human|user|input|instruction)\b[^\n:]{0,20}:"
    r"|<\|[^|<>]{1,30}\|>|</s>",
    re.IGNORECASE,
)
_REWRITTEN: Final = [
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in [
        (r"\\(?:text|mathrm|textrm|mbox|textbf|mathbf)\s*\{([^{}]*)\}(?:\s*\^\s*\{?\d\}?)?", r" \1 "),
        (r"\\[!,;: ]|\{(?=,\})|(?<=,)\}", ""),  # 1\,234 and 1{,}234
        (r"\\left|\\right|\\?\$|(?<!\d)\*\*+|\*\*+(?!\d)|[\u20ac\u00a3\u00a5]", ""),
        (r"\\times|\\cdot|[\u00d7\u00b7\u22c5]|(?<=\d)\s*x\s*(?=\d)", "*"),
        (r"\\div|\u00f7", "/"),
        (r"[\u2212\u2013]", "-"),
        (r"\\approx|\u2248", "="),
        (r"<<[^<>]*>>|^\s*<|>\s*$", ""),  # <<9*2=18>>, as the solutions of the data set have it
        (r"(?<=\d)(?-i:M)\b", " million"),
        (r"\u00bd", " 1/2"),
    ]
]
#: Powers, comparisons, times of day: what is not worked out must not be read in part.
_NO_SUM: Final = re.compile(r"\d[\s)}]*(?:\^|\*\*)|[<>]|\d\s*:\s*\d|\d!")
_HEDGE: Final = re.compile(
    r"\W*(?:or|to|nor|maybe|perhaps)\b.*|(?:and|[,;&|?~\s])*|(?:.*[^\w])?(?:and|or|vs|versus|no|but)\W*",
    re.IGNORECASE | re.DOTALL,
)
_DENIED: Final = re.compile(r"\b(?:not|neither|either|between|isn't|never)\b", re.IGNORECASE)
_IS: Final = re.compile(
    r"\b(?:is|are|was|equals|be|makes?|gives?|gets?|ha[sd]|have|costs?|earns?|needs?|pays?)\b\W*$|:\W*$", re.IGNORECASE
)
_ASIDE: Final = re.compile(r"\([^()]*\)\W*$")
_TIME: Final = re.compile(r"\s*(?:more )?(?:second|minute|hour|day|week|month|year)s?\b", re.IGNORECASE)
_DURING: Final = re.compile(
    r"\b(?:after|in|for|over|within|during|per|every|each)(?:\s+the)?(?:\s+next)?$", re.IGNORECASE
)


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
    match = _GOLD.fullmatch(text)
    if match is None or len(text) > MAX_DIGITS:
        raise ValueError(f"gsm8k: the gold answer ends in {text[:80]!r}; expected one number, such as '#### 1,234'")
    number = Fraction(match["above"].replace(",", "")) / int(match["below"] or 1)
    return -number if match["sign"] else number


def final_number(response: str) -> Fraction | None:
    """The number a response ends up with, or None."""
    response = response.rstrip("# \n\t*")
    boxes, _ = last_boxes(response)
    if boxes:
        numbers = {_stated(box.content) for box in boxes}
        return numbers.pop() if len(numbers) == 1 else None
    begin, mark, behind = response.partition("####")
    if mark:
        behind = begin + mark + _NEXT_QUESTION.split(behind, maxsplit=1)[0]
        return _stated(behind.rpartition("####")[2].strip().partition("\n")[0])
    return _mentioned_last(response)


def _stated(text: str) -> Fraction | None:
    """The number that a line or a box states; None if it states none, or several that differ."""
    if len(text) > _LINE:
        text = text[:_LINE].rpartition(" ")[0]
    text = _rewritten(text)
    if _NO_SUM.search(text):
        return None
    sides = [sums(side) for side in text.split("=")]
    stated = [number for number in (_of_side(found) for found, _ in sides) if number is not None]
    if not stated:
        return None
    for (found, behind), (then, _) in pairwise(sides):
        side_by_side = (
            found and then and not behind and not then[0].before and not re.search(r"[^\W\d]", found[-1].before)
        )
        if side_by_side and not _agree(found[-1].value, then[0].value):
            return None  # 3 * 6 = 19
    return stated[-1]


def _of_side(found: list[Sum]) -> Fraction | None:
    """The number that the sums on one side of an equals sign come down to: the first, or what something "is"."""
    if not found or _DENIED.search(found[0].before):
        return None
    place = 0
    if found[0].before and len({one.value for one in found}) > 1:
        named = [place for place, one in enumerate(found) if _IS.search(one.before[-40:])]
        if not named:
            return None
        place = named[-1]
    behind = found[place + 1] if place + 1 < len(found) else None
    if behind is not None and behind.value != found[place].value and _HEDGE.fullmatch(behind.before[-200:]):
        return None
    return found[place].value


def _agree(one: Fraction | None, other: Fraction | None) -> bool:
    """Whether two sides of an equals sign are equal, up to rounding."""
    return one is not None and other is not None and abs(one - other) <= max(abs(one), abs(other)) / 100


def _mentioned_last(text: str) -> Fraction | None:
    """The last number of a text in digits; not "3" of "She has 18 left after 3 days"."""
    for line in reversed(text.splitlines()):
        if len(line) > _LINE:
            line = line[-_LINE:].partition(" ")[2]
        shorter = _ASIDE.sub("", line)
        found, behind = sums(_rewritten(shorter if re.search(r"\d", shorter) else line))
        found = [one for one in found if not one.spelled]
        if found:
            last = found[-1]
            aside = len(found) > 1 and _DURING.search(last.before[-40:]) and _TIME.match(behind)
            return found[-2].value if aside and not re.search(r"[.!?]", last.before) else last.value
    return None


def _rewritten(text: str) -> str:
    for pattern, replacement in _REWRITTEN:
        text = pattern.sub(replacement, text)
    return text
