r"""Numbers as they are written, as text: 1.2e-5, 45 600, 3 1/2, 10:30 PM, 3:4, 1011_2."""

import re
from typing import Any, Final

_NUMBER: Final = re.compile(
    r"(?P<sign>[-+]?)\s*(?P<digits>\d+(?:\.\d*)?|\.\d+)"
    r"(?:\s*(?:[eE]\s*|(?:\\times|\\cdot|\*|x)\s*10\s*\^)(?P<power>[-+]?\d{1,4}|\{\s*[-+]?\d{1,4}\s*\}))?",
    re.ASCII,
)
_GROUPED: Final = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?|[1-9]\d{0,2}(?: \d{3})+(?:\.\d+)?", re.ASCII)
_MIXED: Final = re.compile(
    r"(-?)\s*(\d{1,9})\s*(?:\\frac\{(\d{1,9})\}\s*\{(\d{1,9})\}|\\frac(\d)(\d)| (\d{1,9})\s*/\s*(\d{1,9}))", re.ASCII
)
_REPEATING: Final = re.compile(r"(-?)\s*(\d*)\.(\d*)\\(?:overline|bar|dot)\s*\{?(\d+)\}?", re.ASCII)
_RATIO: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?::|to)\s*(\d+(?:\.\d+)?)\s*", re.ASCII)
_CLOCK: Final = re.compile(r"(\d{1,2})\s*:\s*([0-5]\d)\s*(?:([apAP])\s*\.?\s*[mM]\.?)?")
_BASED: Final = re.compile(r"\(?([0-9A-Fa-f]+)\)?_\{?\(?(\d{1,2}|\\text\{[a-z]+\}|[a-z]{3,5})\)?\}?")
_IN_BASE: Final = re.compile(r"([0-9A-F]+)\s*\(?\s*(?:in\s+)?base[\s-]*(\d{1,2}|[a-z]{3,5})\s*\)?", re.IGNORECASE)
_BASES: Final = {
    word: str(base)
    for base, word in enumerate(["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"], 2)
}


def number(text: str) -> tuple[Any, int | None] | None:
    """The number that a text is, as a fraction, and how many digits stand behind its point; None if it is none.

    1.2e-5, 1.2 \\times 10^{-5}, 1,234.5, 45 600, 3 1/2, 3\\frac{1}{2} and 0.\\overline{3}.
    """
    from sympy import Rational

    text = text.strip()
    if mixed := _MIXED.fullmatch(text):
        whole, above, below = (int(group) for group in mixed.groups()[1:] if group is not None)
        if not below:
            return None
        value = whole + Rational(above, below)
        return (-value if mixed[1] else value), None
    if repeating := _REPEATING.fullmatch(text):
        sign, before, begin, period = repeating.groups()
        nines = 10 ** len(begin) * (10 ** len(period) - 1)
        value = Rational(int(before + begin + period) - int(before + begin or "0"), nines)
        return (-value if sign else value), None
    match = _NUMBER.fullmatch(ungrouped(text) or text)
    if match is None:
        return None
    power = int((match["power"] or "0").strip("{} "))
    if abs(power) > 1000:
        return None
    value = Rational(match["digits"].rstrip(".") or "0") * Rational(10) ** power
    decimals = max(0, len(match["digits"].partition(".")[2]) - power)
    return (-value if match["sign"] == "-" else value), decimals


def ungrouped(text: str) -> str | None:
    """A number with its thousands separated by commas or spaces, without them; None for anything else."""
    return text.replace(",", "").replace(" ", "") if _GROUPED.fullmatch(text.lstrip("-+ ")) else None


def based(text: str) -> tuple[str, str] | None:
    """The digits and the base of 1011_2 and 204_{\\text{five}}."""
    match = _BASED.fullmatch(text)
    if match is None or not re.search(r"\d", match[1]):
        return None
    base = match[2].removeprefix("\\text{").removesuffix("}")
    return match[1].lower(), _BASES.get(base, base)


def in_base(text: str) -> tuple[str, str] | None:
    """The digits and the base of "204 in base 5"."""
    match = _IN_BASE.fullmatch(text.strip())
    return None if match is None else (match[1].lower(), _BASES.get(match[2].lower(), match[2]))


def clock(text: str) -> tuple[str, str, Any] | None:
    """The time that a text is, its half of the day, or "", and what it is if it is a ratio after all, or None."""
    from sympy import Rational

    match = _CLOCK.fullmatch(text)
    if match is None:
        return None
    hour, minute, half = int(match[1]), int(match[2]), (match[3] or "").lower()
    return f"{hour}:{minute:02}", half and half + "m", Rational(hour, minute) if minute and not half else None


def ratio(text: str) -> Any | None:
    """What 3:4 and "3 to 4" come to; None for anything else."""
    from sympy import Rational

    match = _RATIO.fullmatch(text)
    return Rational(match[1]) / Rational(match[2]) if match and Rational(match[2]) else None
