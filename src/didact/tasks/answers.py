r"""Mathematical answers: read from text, and compared.

An answer is one part or several: numbers, expressions, equations, intervals, tuples, words. math-verify's parser
(latex2sympy) reads each part's LaTeX; what is told apart here is what the text of an answer says beside it: the name
that a value is given (``x =``), its unit, the order of a tuple, the repetitions of a list, the base of a numeral.

Two answers are equal if their parts are: in order within parentheses, in any order in a list or a set. A unit or a name
that only one of them has is passed over; two that differ are not. Words are compared as words.
"""

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from didact.tasks import values
from didact.tasks.latex import closing, split, stripped, tidied
from didact.tasks.numerals import based, clock, in_base, number, ratio, ungrouped
from didact.tasks.units import unit_behind

_TEXT: Final = re.compile(r"\\text\s*\{([^{}]*)\}")
_JOINT: Final = re.compile(
    r"[,;]?\s*\\text\{\s*,?\s*(?:and|or|AND|OR)\s*,?\s*\}|[,;]?\s*(?<![A-Za-z\\])(?:and|or|AND|OR)(?![A-Za-z])\s*,?|[,;]"
)
_COLON: Final = re.compile(r":")
_COMMA: Final = re.compile(r"[,;]")
_EQUALS: Final = re.compile(r"(?<![<>!:])=(?!=)|\\approx(?![a-z])")
_MEMBER: Final = re.compile(r"\\in(?![a-z])")
_RELATION: Final = re.compile(r"[<>]|\\(?:leq|geq|neq)(?![a-z])")
_LABEL: Final = re.compile(r"(?:\\[A-Za-z]++|[A-Za-z\s(){}\[\]|,'+\-/]|\\[{}]|\^\s*(?=[\\'{]))+|[A-Za-z]\([^=]*\)")
_SUBSCRIPT: Final = re.compile(r"_(?:\{[^{}]*\}|\\[a-z]+|\w)")
_LEAD: Final = re.compile(
    r"(?:(?:so|thus|therefore|hence|the|final|correct|answer|value|result|option|choice|i|choose|is|are|equals"
    r"|approximately|about|rs|usd|an?(?=\s+[a-z]{3}))\b[\s:.]*)+",
    re.IGNORECASE,
)
_SAYS: Final = re.compile(r"[^\d]*\b(?:is|are|equals|has)\s*:?\s*|[^\d]*:\s*")
_DENIED: Final = re.compile(
    r"\b(?:not|nor|neither|either|between|or|least|most|than|if|unless|except)\b", re.IGNORECASE
)
_TAIL: Final = re.compile(
    r"[,\s]*(?:\\text\{\s*\(?\s*for\b|(?:\\text\{\s*)?\(?\s*(?<!\\)\b"
    r"(?:for (?:all|any|every|each|some)|where|since|because|approximately|approx|respectively|in total|total)\b).*",
    re.IGNORECASE,
)
_WHERE: Final = re.compile(r"[,\s]*(?:\\text\s*\{\s*)?\bwhere\b")
_SETS: Final = {"all real numbers": "\\mathbb{R}", "no solution": "\\emptyset", "no solutions": "\\emptyset"}
_ANGLE: Final = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
_CONDITION: Final = re.compile(r"[a-z]\s*\\in\s*\\(?:mathbb\s*\{?[ZNR]\}?|Z|N)")
_FUNCTION: Final = re.compile(r"(\w+)\(([a-z])\)")
_CHOICE: Final = re.compile(r"[(\[]?([A-J])[)\]]?")
_LETTERS: Final = re.compile(r"[A-J]{2,}")
_CHOSEN: Final = re.compile(r"(?:[(\[]([A-J])[)\]]|([A-J])(?:[.):]|(?=\s|$)))\s*(?P<rest>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an answer.

    Attributes:
        text: its LaTeX, without spaces.
        words: the words that it is, in lower case, or "".
        name: what stands before its equals sign, or "".
        unit: its unit as `didact.tasks.units` calls it, or "".
        value: the expression, relation, matrix or set that sympy has for it, or None.
        equation: both sides, where there is an equals sign.
        decimals: how many digits a plain decimal number has behind the point; None for everything else.
        base: of a numeral that names it, or "".
        brackets: those around `parts`, or "".
        parts: what stands between the brackets.
    """

    text: str
    words: str = ""
    name: str = ""
    unit: str = ""
    value: Any = None
    equation: tuple[Any, Any] | None = None
    decimals: int | None = None
    base: str = ""
    brackets: str = ""
    parts: tuple["Part", ...] = ()

    @property
    def readable(self) -> bool:
        """Whether it can be compared otherwise than letter by letter."""
        inner = bool(self.parts) and all(part.readable for part in self.parts)
        return self.value is not None or bool(self.words) or self.equation is not None or inner or self.brackets == "{}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered: its text, without spaces, and its parts; `both` if joined by "and", `either` if by "or"."""

    text: str
    parts: tuple[Part, ...]
    both: bool = False
    either: bool = False
    source: str = ""

    @property
    def choice(self) -> str | None:
        """The letter of a multiple-choice question, if that is the answer."""
        match = _CHOICE.fullmatch(self.text)
        return None if match is None else match[1]

    @property
    def letters(self) -> list[str]:
        """The letters of several choices, in order: of "A, C" and "AC"."""
        bare = re.sub(r"[,;()\s]|and", "", self.text)
        return sorted(bare) if _LETTERS.fullmatch(bare) else []

    @property
    def readable(self) -> bool:
        """Whether every part can be compared otherwise than letter by letter."""
        return bool(self.parts) and all(part.readable for part in self.parts)


@lru_cache(maxsize=256)  # the rollouts of a group share their gold answer
def read(text: str, *, cases: bool = False) -> Answer:
    """The answer that a text is, all of it. `cases`: whether r and R are two variables."""
    text = tidied(text)
    text = _WHERE.split(text, maxsplit=1)[0] or text
    text = ungrouped(text) or text
    spread = _TEXT.sub(_spread, text)
    pieces = [piece for piece in map(stripped, split(spread, _JOINT)) if piece and piece != "\\text{}"]
    if len(pieces) > 1:
        pieces = [piece for piece in pieces if not _CONDITION.fullmatch(piece)]
    try:
        parts = tuple(part for piece in pieces for part in _parts(piece, cases))
    except RecursionError:  # a thousand parentheses
        parts = (Part(_squashed(text)),)
    joints = re.findall(r"\b(?:and|or)\b", text.lower())
    return Answer(_squashed(text), parts, "and" in joints, "or" in joints, text)


def _spread(words: re.Match[str]) -> str:
    """\\text{A and B} as \\text{A}\\text{ and }\\text{B}, which can be split."""
    if _JOINT.fullmatch(words[0]):
        return words[0]
    inner = _JOINT.sub(
        lambda joint: "} " + (f"\\text{{ {joint[0].strip(' ,;')} }}" if joint[0].strip(" ,;") else ",") + "\\text{",
        words[1],
    )
    return f"\\text{{{inner}}}" if inner != words[1] else words[0]


def chosen(answer: Answer) -> str | None:
    """The one letter from A to J that an answer chooses, perhaps with what that choice says: "(B) 14"."""
    flat = stripped(_TEXT.sub(r" \1 ", _led(answer.source)))
    lead = _LEAD.match(flat)
    match = _CHOSEN.fullmatch(flat[lead.end() :] if lead and lead.end() < len(flat) else flat)
    if match is None or re.search(r"(?<![A-Za-z\\])(?:[A-J]|or|and|not)(?![A-Za-z])", match["rest"]):
        return None
    return match[1] or match[2]


def _parts(piece: str, cases: bool) -> list[Part]:
    """The part that a piece is; two for a plus-minus."""
    if piece.count("\\pm") == 1:
        return [_part(stripped(re.sub(r"\\pm\s*", sign, piece)), cases) for sign in "+-"]
    return [_part(piece, cases)]


def _part(piece: str, cases: bool) -> Part:
    piece = _led(piece)
    return _bracketed(piece, cases) or _special(piece, cases) or _named(piece, cases) or _measured(piece, cases)


def _special(piece: str, cases: bool) -> Part | None:
    """A numeral that names its base, a time of day or a ratio."""
    flat = _TEXT.sub(r" \1", piece)
    tight = piece.replace(" ", "")
    if named := based(tight) or in_base(flat):
        return Part(named[0], base=named[1], words=named[0])
    if time := clock(flat):
        return Part(tight, words=time[0], unit=time[1], value=time[2])
    if to := ratio(flat):
        return Part(tight, value=to)
    terms: list[Any] = [_expression(term, cases) for term in split(piece, _COLON)] if ":" in piece else []
    if len(terms) > 2 and all(_is_constant(term) for term in terms) and not terms[0].is_zero:
        return Part(tight, brackets="::", parts=tuple(Part("", value=term / terms[0]) for term in terms))
    return None


def _led(piece: str) -> str:
    """Without "the answer is" before it and "for all n" behind it."""
    whole = _TEXT.fullmatch(piece)
    if whole:
        piece = whole[1].strip()
    shorter = stripped(_TAIL.sub("", piece, count=1))
    piece = shorter or piece
    if first := re.match(r"\\text\s*\{([^{}]*)\}\s*(?=\S)", piece):
        lead = _LEAD.fullmatch(first[1].strip()) or _SAYS.fullmatch(first[1])
        return stripped(piece[first.end() :]) if lead and not _DENIED.search(first[1]) else piece
    lead = _LEAD.match(piece)
    if lead and lead.end() < len(piece) and (whole or re.search("answer|result|option|choice", lead[0], re.IGNORECASE)):
        piece = stripped(piece[lead.end() :])
    return f"\\text{{{piece}}}" if whole and re.fullmatch(r"[^\W\d_][^\W\d_]+(?:[\s'-]+[^\W\d_]+)*", piece) else piece


def _bracketed(piece: str, cases: bool) -> Part | None:
    """A tuple, an interval or a set; also what is merely put in parentheses."""
    begin = 1 if piece.startswith("\\{") else 0
    if not piece or piece[begin] not in "([{" or (begin == 0 and piece[0] == "{"):
        return None
    if closing(piece, begin) != len(piece) - 1:
        return None
    inner = piece[begin + 1 : -1].removesuffix("\\").strip()
    if builder := re.fullmatch(r"(\w+)\s*(?:\\in\s*\\mathbb\{R\}\s*)?[|:](.*)", inner):
        return _part(stripped(builder[2]), cases)
    pieces = [stripped(part) for part in split(inner, _JOINT if begin else _COMMA)] if inner else []
    if len(pieces) == 1 and not begin:
        return _part(pieces[0], cases) if piece[0] == "(" and _TEXT.search(piece) is None else None
    parts = tuple(part for one in pieces for part in _parts(one, cases))
    return Part(_squashed(piece), brackets="{" if begin else piece[0] + piece[-1], parts=parts)


def _named(piece: str, cases: bool) -> Part | None:
    """``name = value``, a chain of equal values, an equation or an element of a set."""
    member = split(piece, _MEMBER)
    if len(member) == 2 and _label(member[0]):
        return _renamed(_part(stripped(member[1]), cases), member[0])
    sides = [stripped(side) for side in split(piece, _EQUALS)]
    if len(sides) < 2 or not all(sides) or _RELATION.search(piece):
        return None
    name = sides[0] if _label(sides[0]) else ""
    rest = [_part(side, cases) for side in (sides[1:] if name else sides)]
    if name:
        rest = [part for part in rest if _constant(part)] or rest  # V = 4/3 \\pi r^3 = 36 \\pi
    if not all(_agree(rest[0], part) for part in rest[1:]):
        rest = []
    exact_ones = [part for part in rest if part.decimals in (None, 0)]
    if name or (len(sides) > 2 and rest) or (rest and _constant(rest[0])):
        if not rest:
            return Part(_squashed(piece))
        part = (exact_ones or rest)[0]
        equation = None
        if name and len(sides) == 2 and part.value is not None and not part.unit:
            left = _expression(sides[0], cases)
            equation = None if left is None else (left, part.value)
        return _renamed(part, name, equation)
    if len(sides) != 2:
        return Part(_squashed(piece))
    left, right = (_expression(side, cases) for side in sides)
    if left is None or right is None or not (left.free_symbols | right.free_symbols):
        return Part(_squashed(piece))
    return Part(_squashed(piece), equation=(left, right))


def _label(text: str) -> bool:
    """Whether a text is a name for a value: letters, words, f(x), AB, but nothing with a number to work out."""
    bare = _SUBSCRIPT.sub("", stripped(text))
    if bare in ("e", "i") or re.search(r"\\(?:sqrt|cdot|times|sum|int|prod|lim|pi|infty)(?![a-z])", bare):
        return False
    return bool(bare) and bare[0] not in "-+/'" and _LABEL.fullmatch(bare) is not None


def _renamed(part: Part, name: str, equation: tuple[Any, Any] | None = None) -> Part:
    return replace(part, name=_squashed(name), equation=equation)


def in_the_variable_of(part: Part, name: str) -> Part:
    """A value of f(n) as one of f(x), for the name "f(x)"; any other part as it is."""
    from sympy import Symbol

    ours, theirs = _FUNCTION.fullmatch(name), _FUNCTION.fullmatch(part.name)
    if ours is None or theirs is None or ours[1] != theirs[1] or not hasattr(part.value, "xreplace"):
        return part
    swap = {Symbol(theirs[2], real=True): Symbol(ours[2], real=True)}
    return replace(part, name=name, value=part.value.xreplace(swap), equation=None)


def _agree(one: Part, other: Part) -> bool:
    """Whether two sides of an equals sign are the same, to the digits that a decimal number has."""
    if one.value is None or other.value is None:
        return one.text == other.text
    if one.unit != other.unit and "%" in (one.unit, other.unit):
        return bool(values.same(*(part.value / 100 if part.unit == "%" else part.value for part in (one, other))))
    if values.same(one.value, other.value):
        return True
    for exact_one, decimal in ((one, other), (other, one)):
        if decimal.decimals and _constant(exact_one):
            difference = values.distance(exact_one.value, decimal.value)
            return difference is not None and difference <= 0.5 * 10.0**-decimal.decimals + 1e-15
    return False


def _constant(part: Part) -> bool:
    return _is_constant(part.value)


def _is_constant(value: Any) -> bool:
    return bool(getattr(value, "is_number", False))


def _measured(piece: str, cases: bool) -> Part:
    """An expression, a relation or a set, perhaps with a unit; else words."""
    if re.fullmatch(r"\\ldots", piece):
        return Part("\\ldots", words="\\ldots")
    words = _words(piece)
    if words in _SETS:
        return Part(_squashed(piece), words=words, value=_expression(_SETS[words], cases))
    if words and not re.search(r"\d", piece):
        return Part(
            _squashed(piece),
            words=words,
            value=None if _TEXT.search(piece) or len(piece) > 4 else _expression(piece, cases),
        )
    bare, unit = (piece, "") if _ANGLE.search(piece) else unit_behind(piece)
    bare = stripped(re.sub(r"\s*\\ldots$", "", bare))
    if inner := _TEXT.fullmatch(bare):
        bare = inner[1].strip()
    found = number(bare)
    if found is not None:
        return Part(_squashed(bare), unit=unit, value=found[0], decimals=found[1])
    if re.search(r"\w\w", "".join(_TEXT.findall(bare))) is None:
        value = _expression(bare, cases)
        if value is not None:
            return Part(_squashed(bare), unit=unit, value=value)
    return Part(_squashed(piece), words=words)


def _words(piece: str) -> str:
    """The words that a piece is, in lower case and without articles; "" for mathematics."""
    flat = _TEXT.sub(r" \1 ", piece)
    if re.search(r"[\\^_={}<>|/+*]", flat) or not re.search(r"[^\W\d]", flat):
        return ""
    found = re.findall(r"[^\W_]+", flat)
    longest = max(map(len, found))
    plain = _TEXT.search(piece) is None
    if not plain and re.search(r"(?<![A-Za-z])[A-Za-z]{1,2}(?![A-Za-z])", _TEXT.sub(" ", piece)):
        return ""  # x \text{ cm}
    if plain and len(found) == 1 and longest < (2 if flat.strip().isupper() else 5):
        return ""  # xyz is a product
    if plain and len(found) > 1 and longest < 3:
        return ""
    words = [word for word in found if word.lower() not in ("a", "an", "the") or len(found) == 1]
    return " ".join(words).casefold() if longest > 1 else " ".join(words)


def _squashed(text: str) -> str:
    """Without spaces, but for those between two numbers."""
    return re.sub(r"(?<!\d)\s+|\s+(?!\d)", "", _TEXT.sub(r"\1", text))


def _expression(text: str, cases: bool) -> Any | None:
    """What math-verify's parser makes of LaTeX, or None."""
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig, NormalizationConfig, latex2sympy, normalize_latex

    text = re.sub(r"\\text\s*\{\s*(\w)\s*\}", r"\1", text)
    degrees = re.sub(r"(\d+(?:\.\d+)?)\s*\^\{\\circ\}", r"(\1 \\cdot \\pi / 180)", text)
    products = re.sub(
        r"(?<![_\d.])(\d+(?:\.\d+)?)\s*\((?=[^()]*\))", r"\1 \\cdot (", degrees
    )  # to it 4(1/2) is four and a half
    dots = re.sub(r"\\ldots", r"\\xi_{9}", products)
    dots = re.sub(r"(?<![A-Za-z\\])E(?=\s*_)", r"\\Xi ", dots)  # it knows no E with an index
    dots = re.sub(r"\\(?:odot|oplus|star)(?![a-z])", "o", dots)
    config = NormalizationConfig(basic_latex=True, units=False, malformed_operators=True, nits=False, boxed="none")
    try:
        latex = normalize_latex(dots, config)
        parsed = latex2sympy(
            latex,
            is_real=True,
            normalization_config=None,
            conversion_config=ConversionConfig(lowercase_symbols=not cases),
        )
    except (MemoryError, TimeoutError):  # these say nothing about the text
        raise
    except Exception:  # its own errors have no common class
        return None
    return _exact(parsed)


def _exact(parsed: Any) -> Any | None:
    from sympy import Basic, MatrixBase

    if getattr(parsed, "is_Matrix", False):
        parsed = parsed.doit()
    if isinstance(parsed, MatrixBase):
        return parsed.applyfunc(values.exact)
    return values.exact(parsed) if isinstance(parsed, Basic) else None
