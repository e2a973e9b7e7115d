r"""Answers as people and models write them, as text: one spelling for each thing, and where an answer falls into parts.

``−2½``, ``\dfrac{1}{2}``, ``1{,}234`` and ``\textbf{(B)}`` become ``-2\frac{1}{2}``, ``\frac{1}{2}``, ``1234`` and
``\text{(B)}``. Nothing is computed here, and time is proportional to the length of the text, or to its square where
braces are matched; `didact.tasks.math` bounds the length.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

_SIGNS: Final = str.maketrans(
    {
        **{"\u2212": "-", "\u2013": "-", "\u2010": "-", "\u2011": "-", "\u00b7": "\\cdot ", "\u22c5": "\\cdot "},
        **{"\u00d7": "\\times ", "\u00f7": "/", "\u00b1": "\\pm ", "\u2026": "\\ldots ", "\u221e": "\\infty "},
        **{"\u2264": "\\leq ", "\u2265": "\\geq ", "\u2260": "\\neq ", "\u2248": "\\approx ", "\u2208": "\\in "},
        **{"\u222a": "\\cup ", "\u2229": "\\cap ", "\u2205": "\\emptyset ", "\u211d": "\\mathbb{R}"},
        **{"\u221a": "\\sqrt ", "\u00b0": "^{\\circ}", "\u00bd": "\\frac{1}{2}", "\u2153": "\\frac{1}{3}"},
        **{"\u2154": "\\frac{2}{3}", "\u00bc": "\\frac{1}{4}", "\u00be": "\\frac{3}{4}", "\u03c0": "\\pi "},
        **{"\u20ac": "\\$", "\u00a3": "\\$", "\u00a5": "\\$", "\u2032": "'", "\u2019": "'"},
        **{"\u2044": "/", "\u221b": "\\sqrt[3]", "\u20b9": "\\$"},
        **{chr(0x2080 + digit): f"_{digit}" for digit in range(10)},
    }
)
_RAISED: Final = str.maketrans(
    "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b\u207a\u207f", "0123456789-+n"
)
_POWERS: Final = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207b\u207a\u207f]+")
_SPELLINGS: Final = [
    (re.compile(pattern), replacement)
    for pattern, replacement in [
        (
            r"\\(?:left|right)(?![a-z])\s*\.?|\\[Bb]igg?[lrm]?(?![a-z])|\\(?:display|text)style(?![a-z])|\\limits(?![a-z])",
            "",
        ),
        (r"(?<=\d)\s*(?:\{,\}|,\s*\\!|\\[,;:! ]|~|[\u2009\u202f\u00a0])\s*(?=\d{3}(?!\d))", ""),  # thousands
        (r"(?<!\\)\\(?:!|[()\[\]])", ""),
        (r"(?<!\\)\\(?:[,;:> ]|quad|qquad|hspace\{[^{}]*\}|thinspace)|(?<!\\)~|\\\n", " "),
        (r"\\(?:checkmark|square|blacksquare)(?![a-z])|\\(?:text)?color\s*\{[^{}]*\}", ""),
        (r"\\[dtc]frac(?![a-z])", r"\\frac"),
        (r"\\begin\{(?:cases|aligned?|gathered)\*?\}|\\end\{(?:cases|aligned?|gathered)\*?\}|&(?=\s*=)|(?<==)\s*&", ""),
        (r"\\sqrt\[(\d)\]\s*(\d)", r"\\sqrt[\1]{\2}"),
        (
            r"(?:(?<!\w)|\{\})[_^]\{?(\d+)\}?\s*C_\{?(\d+)\}?|(?<![\w\\])C\(\s*(\d+)\s*,\s*(\d+)\s*\)",
            r"\\binom{\1\3}{\2\4}",
        ),
        (r"\\(?:leqslant|leqq|le)(?![a-z])|<=", r"\\leq "),
        (r"\\(?:geqslant|geqq|ge)(?![a-z])|>=", r"\\geq "),
        (r"\\(?:ne)(?![a-z])|!=", r"\\neq "),
        (r"\\lt(?![a-z])", "<"),
        (r"\\gt(?![a-z])", ">"),
        (r"\\(?:dots[cbmio]?|cdots|ldots)(?![a-z])|\.\.\.", r"\\ldots "),
        (r"\\varnothing(?![a-z])", r"\\emptyset "),
        *[
            (rf"(?<=\d)(?:\s*\\text\{{\s*{word}\s*\}}|\s+{word}\b)", rf" \\times 10^{{{power}}}")
            for word, power in (("thousand", 3), ("million", 6), ("billion", 9), ("trillion", 12))
        ],
        (r"\\(?:lor|vee)(?![a-z])", r"\\text{ or }"),
        (r"\\(?:land|wedge)(?![a-z])", r"\\text{ and }"),
        (r"\\lbrace(?![a-z])", r"\\{"),
        (r"\\rbrace(?![a-z])", r"\\}"),
        (r"\\l?angle(?=\s*[-\d(])|\\langle(?![a-z])", "("),
        (r"\\rangle(?![a-z])", ")"),
        (r"\\[lr]vert(?![a-z])|\\mid(?![a-z])", "|"),
        (r"\\(?:text(?:bf|it|rm|sf|tt|normal|up)|math(?:rm|sf|tt|it)|mbox|hbox|operatorname)\s*\{", r"\\text{"),
        (r"\{\s*\\(?:rm|bf|it)(?![a-z])\s*", r"\\text{"),
        (r"\\text\{\s*([ei])\s*\}", r"\1"),
        (
            r"\s*\(\s*(?:\\(?:b|p)?mod(?![a-z])|\\text\{\s*mod\s*\}|mod\b)\s*\{?(\w+)\}?\s*\)|\s*\\pmod\s*\{?(\w+)\}?",
            r"\\text{mod}\1\2",
        ),
        (r"(?<=[A-Za-z}])\s*\^\s*(?:\\prime(?![a-z])|\{\s*\\prime\s*\})", "'"),
        (r"([A-Za-z])''(?![a-z'])", r"\1_{pp}"),
        (r"([A-Za-z])'(?![a-z'])", r"\1_{p}"),  # its parser drops the prime
        (r"\\text\{\s*(sin|cos|tan|cot|sec|csc|ln|log|exp|arcsin|arccos|arctan)\s*\}", r"\\\1 "),
        (r"(?:\\?%|\\text\{\s*(?:%|\\%|percent)\s*\}|\bpercent\b)", "%"),
        (r"\^\s*\{?\s*\\(?:circ|degree)(?![a-z])\s*\}?|\\degree(?![a-z])", r"^{\\circ}"),
        (r"(?<![\\A-Za-z])(sin|cos|tan|cot|ln|log|exp|pi|sqrt)(?![A-Za-z])", r"\\\1 "),
        (r"\\sqrt\s+(?=[\[{(\d])", r"\\sqrt"),
        (r"\*\*(?=\s*[-({\d])", "^"),
        (r"(?<=[\w)}\]])\s*\*\s*(?=[\w({\\\[])", r" \\cdot "),
        (r"\+\s*-", "-"),
        (r"[\u2009\u202f\u00a0\s]+", " "),
    ]
]
_HOLLOW: Final = re.compile(
    r"\\(?:math(?:bf|cal|bb(?!\{[RCQZN]\}))|boldsymbol|bm|boxed|fbox|underline|displaystyle|ensuremath)\s*\{"
)
_ROOT: Final = re.compile(r"\\sqrt\(")
_OPEN, _CLOSE = "([{", ")]}"


def tidied(text: str) -> str:
    """The same answer in one spelling: ASCII and plain LaTeX, without layout, money signs and the dot at its end."""
    text = _POWERS.sub(lambda power: f"^{{{power[0].translate(_RAISED)}}}", text.replace("\u00b3\u221a", "\u221b"))
    text = unicodedata.normalize("NFKC", text.translate(_SIGNS)).translate(_SIGNS)
    for pattern, replacement in _SPELLINGS:
        text = pattern.sub(replacement, text)
    while hollow := _HOLLOW.search(text):
        end = closing(text, hollow.end() - 1)
        if end is None:
            break
        text = text[: hollow.start()] + text[hollow.end() : end] + text[end + 1 :]
    while root := _ROOT.search(text):
        end = closing(text, root.end() - 1)
        if end is None:
            break
        text = f"{text[: root.start()]}\\sqrt{{{text[root.end() : end]}}}{text[end + 1 :]}"
    if "&" not in text and "matrix" not in text and "array" not in text:
        text = text.replace("\\\\", ",")  # lines of a system of equations
    text = re.sub(r"\\?\$", "", text)
    return stripped(re.sub(r"^\s*(?:=|\\approx|\\sim)", "", text))


def stripped(text: str) -> str:
    """Without spaces, braces and parentheses around the whole, and punctuation at the end."""
    while True:
        before, text = text, text.strip().rstrip(".,;:*").strip().lstrip("*:,;").strip()
        if text.startswith("{") and closing(text, 0) == len(text) - 1:
            text = text[1:-1]
        if text == before:
            return text


def closing(text: str, start: int) -> int | None:
    """Position of the bracket that closes the one at `start`; an interval may close with another kind."""
    depth = 0
    for position, character in brackets(text, start):
        depth += 1 if character in _OPEN else -1
        if depth == 0:
            return position
    return None


def brackets(text: str, start: int = 0) -> Iterator[tuple[int, str]]:
    """Position and kind of every bracket from `start` on; ``\\{`` counts as ``{``."""
    for match in re.compile(r"[()\[\]{}]").finditer(text, start):
        yield match.start(), match[0]


def split(text: str, separator: re.Pattern[str]) -> list[str]:
    """The pieces between separators that stand in no brackets."""
    depth, depths = 0, {}
    for position, character in brackets(text):
        depth += 1 if character in _OPEN else -1
        depths[position] = depth
    level, pieces, begin = 0, [], 0
    marks = sorted(
        [(position, None) for position in depths] + [(m.start(), m) for m in separator.finditer(text)],
        key=lambda mark: mark[0],
    )
    for position, match in marks:
        if match is None:
            level = depths[position]
        elif level == 0 and position >= begin:
            pieces.append(text[begin:position])
            begin = match.end()
    return [*pieces, text[begin:]]
