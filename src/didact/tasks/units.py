"""Units behind a number: what they are called, and where the number ends.

Only a unit of measure can contradict another ("12 km" is not "12 m"); what is counted ("12 apples") is passed over.
Nothing is converted: 1 m and 100 cm are different answers.
"""

import re
from typing import Final

_NAMES: Final = {
    "mm": "millimeter millimetre", "cm": "centimeter centimetre", "m": "meter metre", "km": "kilometer kilometre",
    "in": "inch inche", "ft": "foot feet", "yd": "yard", "mi": "mile", "g": "gram", "kg": "kilogram", "mg": "milligram",
    "lb": "pound", "oz": "ounce", "l": "liter litre", "ml": "milliliter millilitre", "gal": "gallon",
    "s": "sec second", "min": "minute", "h": "hr hour", "day": "", "week": "", "month": "", "yr": "year",
    "deg": "degree", "rad": "radian", "%": "percent percentage", "cent": "", "dollar": "usd", "hz": "hertz",
    "j": "joule", "n": "newton", "w": "watt", "k": "kelvin", "v": "volt", "pa": "pascal",
}  # fmt: skip
_CALLED: Final = {word: unit for unit, words in _NAMES.items() for word in (unit, *words.split())} | {
    "mph": "mi/h",
    "kmh": "km/h",
    "kph": "km/h",
}
_POWER: Final = r"(?:\s*\^\s*(?:\{\s*[-+]?\d\s*\}|[-+]?\d))?"
_TEXT: Final = rf"\\text\s*\{{(?:[^{{}}\d=<>]|(?<=[a-z^])\d|(?<=\^-)\d)*\}}{_POWER}"
_KNOWN: Final = "|".join(sorted((word for word in _CALLED if len(word) > 1), key=len, reverse=True))
_LETTERS: Final = "|".join(sorted(_CALLED, key=len, reverse=True))
#: Units in \text{}, and plain ones of two letters or more, which are no variables; plain words of four behind a number.
_UNIT: Final = (
    r"\^\{\\circ\}\s*(?:[CF](?![A-Za-z])|\\text\{\s*[CF]\s*\})?|\^\{\s*(?:\\prime\s*)+\}|''?|%"
    rf"|{_TEXT}|(?<=[\d\s}}])(?:{_KNOWN})(?:s|es)?\.?(?![A-Za-z(_]){_POWER}"
    rf"|(?<=[\d\s])\\frac\{{\s*(?:{_TEXT}|{_LETTERS})\s*\}}\s*\{{\s*(?:{_TEXT}|(?:{_LETTERS}){_POWER})\s*\}}"
    r"|(?<=\d)\s+(?:sq(?:uare)?|cu(?:bic)?)\.?(?![A-Za-z])|(?<=\d)(?:\s+[A-Za-z]{4,}|[a-z]{5,})(?:\s+[A-Za-z]+)*"
)
_BEHIND: Final = re.compile(
    rf"\s*(?:{_UNIT})(?:\s*(?:{_UNIT})|\s*(?:/|\\cdot|per)\s*(?:{_TEXT}|[A-Za-z]+{_POWER}))*\s*$"
)
_HEDGE: Final = re.compile(
    r"\b(?:or|not|nor|neither|either|between|least|most|than|and|if|unless|except|maybe|possibly|to|mod|choose"
    r"|plus|minus|times|over|squared|cubed|hundred|thousand|million|billion|trillion|dozen|point|half|factorial)\b",
    re.I,
)


def unit_behind(text: str) -> tuple[str, str]:
    """The text without the units at its end, and the unit of measure among them, or ""."""
    match = _BEHIND.search(text)
    if match is None or not match.start() or _HEDGE.search(match[0]):
        return text, ""
    return text[: match.start()], unit_called(match[0])


def unit_called(text: str) -> str:
    """One name for a unit of measure: "cm^2" for "square centimeters"; "" for what is only counted."""
    if primes := text.count("'") + text.count("\\prime"):
        return "'" * primes
    text = text.replace("^{\\circ}", " deg ").replace("%", " % ")
    text = re.sub(r"\\text|[{}()\s]|\\cdot", " ", text).lower()
    square = (
        "^2"
        if re.search(r"\bsq(?:uare)?\b|\^\s*2", text)
        else "^3"
        if re.search(r"\bcu(?:bic)?\b|\^\s*3", text)
        else ""
    )
    below = text.partition("/")[2] or text.partition(" per ")[2]
    words = [_called(word) for word in re.findall(r"[a-z]+|%", text)]
    known = [word for word in words if word]
    if below and not known[1:]:
        return ""
    return "/".join(known[:2]) + square if below else (known[0] + square if len(known) == 1 else "")


def _called(word: str) -> str:
    return _CALLED.get(word) or _CALLED.get(word.removesuffix("s")) or _CALLED.get(word.removesuffix("es")) or ""
