r"""Numbers and sums in plain text, worked out exactly and in time proportional to their length.

What is read: 1,234.50 and 1 234, 3/4, 1 1/2, \frac{3}{4}, 2.5e3, 1.5 million, eighteen, and sums of them with + - * /
and parentheses: 3 * 6. No powers, no functions, no names.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

_LONGEST: Final = 400  # characters of a sum; longer ones are not worked out
MAX_DIGITS: Final = 100  # no answer is longer, and reading a number takes time in the square of its length
_SCALES: Final = {"dozen": 12, "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "k": 10**3}
_ONES: Final = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]
_TEENS: Final = ["thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
_TENS: Final = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_WORDS: Final = {word: value for value, word in enumerate([*_ONES, *_TEENS])} | {
    word: 20 + 10 * n for n, word in enumerate(_TENS)
}
_DIGITS: Final = r"(?:\d{1,3}(?:,\d{3}){1,33}(?!\d)|\d{1,3}(?: \d{3}){1,9}(?! ?\d)|\d+)(?:\.\d+)?|\.\d+"
_ANY_WORD: Final = "|".join(
    sorted((*_WORDS, "dozen", "hundred", "thousand", "million", "billion"), key=len, reverse=True)
)
NUMBER: Final = re.compile(
    rf"(?:(?P<whole>\d{{1,9}})(?:\s+|\s*(?=\\)))?\\[dt]?frac\s*\{{\s*(?P<above>{_DIGITS})\s*\}}\s*\{{\s*(?P<below>{_DIGITS})\s*\}}"
    r"|(?P<mixed>\d{1,9})\s+(?P<over>\d{1,9})\s*/\s*(?P<under>\d{1,9})(?![\d.])"
    rf"|(?P<digits>{_DIGITS})(?:[eE](?P<power>[-+]?\d{{1,2}})(?![\w]))?(?:\s*(?P<scale>dozen|hundred|thousand|million|billion|k)\b)?"
    rf"|\b(?P<words>(?:{_ANY_WORD})(?:(?:\s+and\s+|[\s-]+)(?:{_ANY_WORD}))*)\b",
    re.ASCII | re.IGNORECASE,
)
_TOKEN: Final = re.compile(
    rf"(?P<number>{NUMBER.pattern})|(?P<sign>[-+*/()])|(?P<word>[^\W\d]+|\S)", re.ASCII | re.IGNORECASE
)
_BINDS: Final = {"+": 1, "-": 1, "*": 2, "/": 2, "negative": 3}


def read_number(match: re.Match[str]) -> Fraction | None:
    """The value of a match of NUMBER; None if it is too long or divides by zero."""
    if len(match[0]) > MAX_DIGITS:
        return None
    if match["words"]:
        return Fraction(_in_words(match["words"]))
    for above, below, whole in (("above", "below", "whole"), ("over", "under", "mixed")):
        if match[above]:
            return (
                None
                if not _plain(match[below])
                else _plain(match[whole] or "0") + _plain(match[above]) / _plain(match[below])
            )
    value = _plain(match["digits"]) * Fraction(10) ** int(match["power"] or 0)
    return value * _SCALES[match["scale"].lower()] if match["scale"] else value


@dataclass(frozen=True, slots=True)
class Sum:
    """A sum in a text, which may be a bare number.

    Attributes:
        value: what it comes to; None if it comes to nothing, as "3 *" and 1 / 0.
        before: the words between the sum before it and this one.
        spelled: whether it is a number in words.
    """

    value: Fraction | None
    before: str
    spelled: bool


def sums(text: str) -> tuple[list[Sum], str]:
    """The sums of a text in order, and the words behind the last of them."""
    found: list[Sum] = []
    words: list[str] = []
    tokens: list[Fraction | str | None] = []
    words_behind: list[str] = []
    end, spelled = 0, False

    def finish() -> None:
        while tokens and isinstance(tokens[-1], str) and tokens[-1] != ")":
            words_behind.append(str(tokens.pop()))  # a hyphen, or a parenthesis around words
        if tokens:
            found.append(Sum(_worked_out(tokens), " ".join(words), spelled))
            words.clear()
        words.extend(reversed(words_behind))
        words_behind.clear()
        tokens.clear()

    for match in _TOKEN.finditer(text):
        if match["number"]:
            if tokens and not isinstance(tokens[-1], str):
                finish()
            spelled = bool(match["words"])
            tokens.append(read_number(match))
        elif sign := match["sign"]:
            after_value = bool(tokens) and (not isinstance(tokens[-1], str) or tokens[-1] == ")")
            if sign == ")" and not after_value:
                finish()
            elif sign == "(" and after_value:
                if match.start() == end:
                    tokens += ["*", "("]
                else:
                    finish()
                    words.append("(")
            elif sign in "*/" and not after_value:
                finish()
                words.append(sign)
            elif sign in "+-" and not after_value:
                tokens.append("negative" if sign == "-" else "positive")
            else:
                tokens.append(sign)
        else:
            finish()
            words.append(match["word"])
        end = match.end()
    finish()
    return found, " ".join(words)


def _worked_out(tokens: list[Fraction | str | None]) -> Fraction | None:
    """What a sum comes to, by two stacks; a parenthesis that is never opened is passed over."""
    values: list[Fraction] = []
    signs: list[str] = []

    def reduce(binds: int) -> bool:
        while signs and signs[-1] != "(" and _BINDS[signs[-1]] >= binds:
            sign = signs.pop()
            if len(values) < (1 if sign == "negative" else 2):
                return False
            last = values.pop()
            if sign == "negative":
                values.append(-last)
                continue
            if sign == "/" and not last:
                return False
            first = values.pop()
            values.append(
                first + last
                if sign == "+"
                else first - last
                if sign == "-"
                else first * last
                if sign == "*"
                else first / last
            )
        return True

    if len(tokens) > _LONGEST or sum(isinstance(token, str) for token in tokens) > _LONGEST:
        return None
    for token in tokens:
        if token is None:
            return None
        if isinstance(token, Fraction):
            values.append(token)
        elif token == "(" or token == "negative":
            signs.append(token)
        elif token == ")":
            if not reduce(0):
                return None
            if signs:
                signs.pop()
        elif token != "positive":
            if not reduce(_BINDS[token]):
                return None
            signs.append(token)
    signs = [sign for sign in signs if sign != "("] if "(" in signs else signs
    return values[0] if reduce(0) and len(values) == 1 else None


def _plain(digits: str) -> Fraction:
    return Fraction(digits.replace(",", "").replace(" ", ""))


def _in_words(text: str) -> int:
    """one hundred and twenty-five"""
    total = part = 0
    for word in re.findall(r"[a-z]+", text.lower()):
        if word in _WORDS:
            part += _WORDS[word]
        elif word in ("dozen", "hundred"):
            part = max(part, 1) * _SCALES[word]
        elif word in _SCALES:
            total, part = total + max(part, 1) * _SCALES[word], 0
    return total + part
