"""Our own scores for families of reasoning-gym that would run what a model wrote, or be fooled by it.

Upstream gives the answers of nine families to ``eval`` or to sympy's ``parse_expr``, which is ``eval`` as well, and
evaluates text of the entry in two more. `SCORES` parses instead: Python's literals, and arithmetic of numbers, names,
``+ - * / **``, brackets and, for integrals, some functions. Nothing of an answer is ever executed. Verdicts are
upstream's, but for answers outside this grammar, which are wrong, and for these holes, which are closed: numbers that
upstream's count of the numbers used cannot see (``0x18``, ``2_4``, those in a comment), a list of NaN that is "sorted",
and four numbers that make 24 but are not the given ones.

`MENDED` families run nothing; there upstream gives full marks, or nearly, to answers that are wrong. The other families
are scored by upstream; `BARRED` and `LONGEST` say which answers are not even shown to it, and `REFUSED` which families
no score could mend.
"""

import ast
import json
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from hashlib import blake2b
from typing import Any, Final

Score = Callable[[str, dict[str, Any], Any], float]

REFUSED: Final[Mapping[str, str]] = {
    "propositional_logic": "all that follows from the premises is right, a premise copied from the question too"
}
"""Families whose questions ask for nothing, and why."""

BARRED: Final[Mapping[str, re.Pattern[str]]] = {
    "advanced_geometry": re.compile(r",.*,", re.DOTALL),  # of a point only two coordinates are looked at
    "coin_flip": re.compile(r"[eE][+-]?\d{3}"),  # 1e999999999 is made an integer
    "complex_arithmetic": re.compile(r"[nN]"),  # "nan" is at no distance from anything
    "rubiks_cube": re.compile(r"\d{2}"),  # R99999999 is that many moves
    "rush_hour": re.compile(r"\d{2}"),  # and A+99999999 that many steps
}
"""Answers that cost without bound, or that pass whatever the question; they are wrong."""

LONGEST: Final[Mapping[str, int]] = {"codeio": 1000, "rubiks_cube": 2000}
"""Characters, on top of four times the gold answer, that an answer may have where upstream's time grows steeply with
it; 10,000 elsewhere."""

NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "boxnet": ("initial_state",),
    "graph_color": ("puzzle",),
    "rubiks_cube": ("cube_size", "scramble_moves"),
    "rush_hour": ("board_config",),
}
"""What the entries of the families that know no answer must hold, since there is nothing to try them with."""

_MAX_DIGITS: Final = 200
_MAX_NODES: Final = 2000
_MAX_EXPONENT: Final = 200
_MAX_BITS: Final = 1 << 12
_MAX_SIZE: Final = 1e100
_OPERATORS: Final[Mapping[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_POINTS: Final = (0.7 + 0.4j, -0.6 + 0.9j, 1.1 - 0.8j, -1.3 - 0.5j)  # on no axis, so beside the usual branch cuts


def _tree(text: str) -> ast.expr:
    """The syntax tree of an arithmetic expression.

    Raises:
        ValueError, SyntaxError, MemoryError, RecursionError: it is none, or too large a one.
    """
    if not re.fullmatch(r"[\w\s.+*/()-]*", text, re.ASCII):
        raise ValueError("a character that is not of arithmetic")
    for word in re.findall(r"[\w.]+", text):
        if not re.fullmatch(r"[A-Za-z_]\w*|\d+(?:\.\d*)?|\.\d+", word) or len(word) > _MAX_DIGITS:
            raise ValueError(f"{word[:_MAX_DIGITS]!r} is no plain number and no name")
    tree = ast.parse(text.strip(), mode="eval").body
    if sum(1 for _ in ast.walk(tree)) > _MAX_NODES:
        raise ValueError(f"more than {_MAX_NODES} parts")
    return tree


def _expression(text: str) -> Any:
    """sympy's expression of `text`, as `sympy.parse_expr` builds it from the same numbers and names."""
    import sympy

    def built(node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=int() as value) if not isinstance(value, bool):
                return sympy.Integer(value)
            case ast.Constant(value=float()):
                return sympy.Float(ast.get_source_segment(text.strip(), node))
            case ast.Name(id=name):
                return sympy.Symbol(name)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -built(operand)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return built(operand)
            case ast.BinOp(op=ast.Pow(), left=left, right=right):
                return _power(built(left), built(right))
            case ast.BinOp(op=op, left=left, right=right) if type(op) in _OPERATORS:
                return _OPERATORS[type(op)](built(left), built(right))
        raise ValueError(f"{type(node).__name__} is not arithmetic")

    return built(_tree(text))


def _power(base: Any, exponent: Any) -> Any:
    """A power of sympy's, if it can be held: 9**9**9 is refused before it is worked out."""
    number = exponent.is_Integer or (base.is_Rational and (exponent.is_Rational or exponent.is_Float))
    if not number or abs(exponent) > _MAX_EXPONENT:
        raise ValueError(f"an exponent that is no whole number up to {_MAX_EXPONENT}")
    factor = base.as_coeff_Mul()[0]
    if factor.is_Rational and max(factor.p.bit_length(), factor.q.bit_length()) * abs(exponent) > _MAX_BITS:
        raise ValueError("too large a power")
    return base**exponent


Functions = dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]]


def _analysis() -> tuple[Any, Functions]:
    """Complex numbers of 40 digits, and the functions an integral may have, each with its derivative.

    Made anew for every answer, since mpmath changes the precision of a context while it computes.
    """
    from mpmath import MPContext

    mp = MPContext()
    mp.dps = 40
    return mp, {
        "exp": (mp.exp, mp.exp),
        "log": (mp.log, lambda z: 1 / z),
        "ln": (mp.log, lambda z: 1 / z),
        "sqrt": (mp.sqrt, lambda z: 1 / (2 * mp.sqrt(z))),
        "sin": (mp.sin, mp.cos),
        "cos": (mp.cos, lambda z: -mp.sin(z)),
        "tan": (mp.tan, lambda z: mp.sec(z) ** 2),
        "cot": (mp.cot, lambda z: -(mp.csc(z) ** 2)),
        "sec": (mp.sec, lambda z: mp.sec(z) * mp.tan(z)),
        "csc": (mp.csc, lambda z: -mp.csc(z) * mp.cot(z)),
        "asin": (mp.asin, lambda z: 1 / mp.sqrt(1 - z**2)),
        "acos": (mp.acos, lambda z: -1 / mp.sqrt(1 - z**2)),
        "atan": (mp.atan, lambda z: 1 / (1 + z**2)),
        "sinh": (mp.sinh, mp.cosh),
        "cosh": (mp.cosh, mp.sinh),
        "tanh": (mp.tanh, lambda z: mp.sech(z) ** 2),
    }


def _value_and_slope(tree: ast.expr, variable: str, point: complex, mp: Any, functions: Functions) -> tuple[Any, Any]:
    """An expression at a point, and its derivative there."""
    constants = {"E": mp.e, "pi": mp.pi, "I": mp.j}

    def dual(node: ast.expr) -> tuple[Any, Any]:
        value, slope = worked_out(node)
        return bounded(value), bounded(slope)

    def bounded(number: Any) -> Any:
        # mpmath adds numbers of very different sizes digit for digit here and there
        if not abs(number) < _MAX_SIZE:
            raise ValueError("too large a value")
        return mp.mpc(*(part if abs(part) * _MAX_SIZE > 1 else 0 for part in (number.real, number.imag)))

    def worked_out(node: ast.expr) -> tuple[Any, Any]:
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return mp.mpc(str(value)), mp.mpc(0)
            case ast.Name(id=name):
                if name == variable:
                    return mp.mpc(point), mp.mpc(1)
                return mp.mpc(constants.get(name, _some_constant(name))), mp.mpc(0)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                value, slope = dual(operand)
                return -value, -slope
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return dual(operand)
            case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in functions:
                value, slope = dual(argument)
                function, derivative = functions[name]
                return function(value), slope * derivative(value) if slope else slope
            case ast.BinOp(left=left, op=op, right=right):
                (a, da), (b, db) = dual(left), dual(right)
                match op:
                    case ast.Add():
                        return a + b, da + db
                    case ast.Sub():
                        return a - b, da - db
                    case ast.Mult():
                        return a * b, da * b + a * db
                    case ast.Div():
                        return a / b, (da * b - a * db) / b**2
                    case ast.Pow():
                        slope = (b * a ** (b - 1) * da if da else da) + (a**b * mp.log(a) * db if db else db)
                        return a**b, slope
        raise ValueError(f"{type(node).__name__} is not arithmetic")

    return dual(tree)


def _some_constant(name: str) -> float:
    """A value for a constant of integration: any will do, as long as two names do not share it."""
    return 1 + int.from_bytes(blake2b(name.encode(), digest_size=6).digest()) / 2**48


def _integration(answer: str, entry: dict[str, Any], dataset: Any) -> float:
    """1.0 if the derivative of the answer is the integrand, at points where two different functions do not agree."""
    variable = entry["metadata"]["variable"]
    integrand, found = _tree(entry["metadata"]["integrand"]), _tree(answer)
    analysis = _analysis()
    for point in _POINTS:
        expected, _ = _value_and_slope(integrand, variable, point, *analysis)
        _, slope = _value_and_slope(found, variable, point, *analysis)
        if abs(slope - expected) > 1e-12 * abs(expected):
            return 0.0
    return 1.0


def _polynomial_multiplication(answer: str, entry: dict[str, Any], dataset: Any) -> float:
    """1.0 for the product, multiplied out as the gold answer is."""
    return float(_expression(answer) == _expression(entry["answer"]))


def _countdown(answer: str, entry: dict[str, Any], dataset: Any) -> float:
    """1.0 for the target from all the numbers, 0.05 for another value or other numbers, 0.01 for no arithmetic."""
    numbers, target = entry["metadata"]["numbers"], entry["metadata"]["target"]
    if (value := _worked_out(answer, float)) is None:
        return 0.01
    right = abs(value - target) <= 1e-6 + 1e-5 * abs(target)
    return 1.0 if right and sorted(_integers(answer)) == sorted(numbers) else 0.05


def _puzzle24(answer: str, entry: dict[str, Any], dataset: Any) -> float:
    """1.0 for 24 from the given numbers, else 0.01."""
    right = _worked_out(answer, int) == 24 and sorted(_integers(answer)) == sorted(entry["metadata"]["numbers"])
    return 1.0 if right else 0.01


def _worked_out(answer: str, number: type[int] | type[float]) -> float | None:
    try:
        return number(_expression(answer))
    except OSError:  # a time-out is one
        raise
    except Exception:  # sympy says in many ways that something has no value
        return None


def _integers(text: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\b\d+\b", text)]


def _n_queens(answer: str, entry: dict[str, Any], dataset: Any) -> float:
    """1.0 for a board, 0.5 for one as a Python list of rows."""
    boards = entry["metadata"]["valid_answers"]
    if answer in boards:
        return 1.0
    return 0.5 if "\n".join(" ".join(row) for row in ast.literal_eval(answer)) in boards else 0.0


def _binary_matrix(answer: str, entry: dict[str, Any], dataset: Any) -> float:
    """1.0 for the matrix, 0.1 for it as a Python list of rows."""
    if answer == entry["answer"]:
        return 1.0
    rows = ast.literal_eval(answer)
    return 0.1 if "\n".join(" ".join(str(item) for item in row) for row in rows) == entry["answer"] else 0.0


def _spiral_matrix(answer: str, entry: dict[str, Any], dataset: Any) -> float:
    """1.0 for the numbers, 0.1 for them as a Python list."""
    gold = entry["answer"].strip()
    if answer.strip() == gold:
        return 1.0
    return 0.1 if " ".join(str(item) for item in ast.literal_eval(answer.strip())) == gold else 0.0


def _string_insertion(answer: str, entry: dict[str, Any], dataset: Any) -> float:
    """1.0 for the string, 0.1 for its characters as a Python list."""
    if answer == entry["answer"]:
        return 1.0
    return 0.1 if "".join(ast.literal_eval(answer)) == entry["answer"] else 0.0


def _number_sorting(answer: str, entry: dict[str, Any], dataset: Any) -> float:
    """1.0 for a sorted list in which no number is further than 1 from the gold answer's."""
    gold = [float(number) for number in ast.literal_eval(entry["answer"])]
    given = json.loads(answer.replace("'", '"'))
    if not isinstance(given, list) or len(given) != len(gold):
        return 0.0
    found = [float(number) for number in given]
    in_order = found == sorted(found, reverse=entry["metadata"]["direction"] != "ascending")
    return float(in_order and all(abs(mine - right) <= 1 for mine, right in zip(found, gold, strict=True)))


def _bitwise_arithmetic(answer: str, entry: dict[str, Any], dataset: Any) -> float:
    """1.0 for the number, in any base that Python writes."""
    return float(int(answer, 0) == int(entry["answer"], 0))


def _game_of_life_halting(answer: str, entry: dict[str, Any], dataset: Any) -> float:
    """1.0 for the gold answer, True or False; upstream passes every text that is not empty."""
    return float(answer.strip().lower() == entry["answer"].lower())


def _game_of_life(answer: str, entry: dict[str, Any], dataset: Any) -> float:
    """1.0 for the grid; upstream gives the share of right cells, 0.96 on average for a grid where all are dead."""
    return float(json.loads(answer) == json.loads(entry["answer"]))


def _coin_flip(answer: str, entry: dict[str, Any], dataset: Any) -> float:
    """1.0 for the probability within 0.0001 and a hundredth of it; upstream compares the first digits of the shorter
    number, so that "0" is nearly always right."""
    gold = float(entry["answer"])
    return float(abs(Fraction(answer) - gold) <= min(1e-4, gold / 100))


def _decimal_arithmetic(answer: str, entry: dict[str, Any], dataset: Any) -> float:
    """1.0 for the number as rounded to the digits that are given, at least three of them; upstream allows 0.001, and so
    a wrong last digit."""
    value, gold = Decimal(answer), Decimal(entry["answer"])
    error, half_a_digit = abs(value - gold), Decimal(5).scaleb(int(value.as_tuple().exponent) - 1)
    return float(error <= abs(gold) / 1000 and error <= half_a_digit + abs(gold) / 10**10)


def _time_intervals(answer: str, entry: dict[str, Any], dataset: Any) -> float:
    """1.0 for the duration; upstream takes off the error as a share of a day or 100 days, so that zeros get 0.7."""
    return float(_seconds(answer) == _seconds(entry["answer"]))


def _seconds(text: str) -> float:
    """The seconds of "3 days", "3", "02:15", "02:15:08.125" or "3 days, 02:15"."""
    day = r"(?:(-?\d+)(?: days?)?(?:,\s*|$))?"
    found = re.fullmatch(rf"{day}(?:(\d+):(\d+)(?::(\d+(?:\.\d+)?))?)?", text.strip())
    if not found or not text.strip():
        raise ValueError(f"{text[:80]!r} is no duration")
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return 86400 * days + 3600 * hours + 60 * minutes + seconds


def _rectangle_count(answer: str, entry: dict[str, Any], dataset: Any) -> float:
    """1.0 for the number; upstream gives 0.64 to its neighbours and so 0.4 on average to a constant."""
    return float(int(answer) == int(entry["answer"]))


def _prime_factorization(answer: str, entry: dict[str, Any], dataset: Any) -> float:
    """1.0 for the primes, 0.01 for other factors; upstream gives 0.5 to the number itself."""
    return 1.0 if _factors(answer) == _factors(entry["answer"]) else 0.01


def _factors(text: str) -> list[int]:
    return sorted(int(factor) for factor in text.split("\N{MULTIPLICATION SIGN}"))


def _polynomial_equations(answer: str, entry: dict[str, Any], dataset: Any) -> float:
    """Upstream's: exp(-10 d) for a solution that is d off, on average, less 0.5 for each that is missing or too many.

    Upstream leaves out what is no number, so that any text is right where there is no solution.
    """
    found, gold = _numbers(answer), _numbers(entry["answer"])
    if not found or not gold:
        return float(found == gold)
    left, credits = list(gold), []
    for value in found[: len(gold)]:
        nearest = min(left, key=lambda root: abs(value - root))
        left.remove(nearest)
        credits.append(math.exp(-10 * abs(value - nearest)))
    return max(0.0, sum(credits) / len(credits) - 0.5 * abs(len(found) - len(gold)))


def _numbers(text: str) -> list[float]:
    text = text.strip().strip("\"'")
    return sorted(float(part) for part in text.split(",")) if text else []


def _gsm_symbolic(answer: str, entry: dict[str, Any], dataset: Any) -> float:
    """1.0 for the number, alone or among words, 0.01 for another; upstream does not see signs and takes 18,000 for 18,
    and of several numbers the first."""
    number = r"(?:(?<![\w.])-)?(?<![\w.])(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?!,?\w)"
    found = {float(digits.replace(",", "")) for digits in re.findall(number, answer)}
    if not found:
        return 0.0
    return 1.0 if found == {float(entry["answer"])} else 0.01


def _fraction_simplification(answer: str, entry: dict[str, Any], dataset: Any) -> float:
    """1.0 for the fraction, 0.1 for one with the question's numerator or denominator, 0.05 for another; upstream does
    not see what stands behind a fraction in LaTeX."""
    latex = r"\\d?frac\s*{\s*(\d+)\s*}\s*{\s*(\d+)\s*}"
    found = re.fullmatch(rf"[\s$]*(?:{latex}|(\d+)\s*/\s*(\d+))[\s$]*", answer, re.IGNORECASE)
    if not found:
        return 0.0
    numerator, denominator = (int(part) for part in found.groups() if part)
    metadata = entry["metadata"]
    if (numerator, denominator) == (metadata["simplified_numerator"], metadata["simplified_denominator"]):
        return 1.0
    return 0.1 if numerator == metadata["numerator"] or denominator == metadata["denominator"] else 0.05


def _letter_jumble(answer: str, entry: dict[str, Any], dataset: Any) -> float:
    """The share of words in their place; upstream does not see what follows the last of them."""
    return _in_place(answer.lower().split(), entry["answer"].lower().split())


def _word_sorting(answer: str, entry: dict[str, Any], dataset: Any) -> float:
    """The share of words in their place, at least 0.2 for the right words; upstream does not see what follows them."""
    found, gold = [word.strip() for word in answer.split(",")], entry["metadata"]["sorted_words"]
    return max(_in_place(found, gold), 0.2 * (sorted(found) == sorted(gold)))


def _spell_backward(answer: str, entry: dict[str, Any], dataset: Any) -> float:
    """The share of letters in their place; upstream does not see what follows them."""
    return _in_place(answer.lower(), entry["answer"].lower())


def _in_place(found: Sequence[str], gold: Sequence[str]) -> float:
    return sum(mine == right for mine, right in zip(found, gold, strict=False)) / max(len(found), len(gold))


def _figlet_font(answer: str, entry: dict[str, Any], dataset: Any) -> float:
    """1.0 for the word, else 0.1 for each letter in its place, up to 0.9; upstream passes any ten."""
    found, gold = answer.replace(" ", "").lower(), entry["answer"].lower()
    return 1.0 if found == gold else min(0.1 * sum(map(operator.eq, found, gold)), 0.9)


MENDED: Final[Mapping[str, Score]] = {
    "coin_flip": _coin_flip,
    "decimal_arithmetic": _decimal_arithmetic,
    "figlet_font": _figlet_font,
    "fraction_simplification": _fraction_simplification,
    "game_of_life": _game_of_life,
    "game_of_life_halting": _game_of_life_halting,
    "gsm_symbolic": _gsm_symbolic,
    "letter_jumble": _letter_jumble,
    "polynomial_equations": _polynomial_equations,
    "prime_factorization": _prime_factorization,
    "rectangle_count": _rectangle_count,
    "spell_backward": _spell_backward,
    "time_intervals": _time_intervals,
    "word_sorting": _word_sorting,
}

SCORES: Final[Mapping[str, Score]] = {
    **MENDED,
    "binary_matrix": _binary_matrix,
    "bitwise_arithmetic": _bitwise_arithmetic,
    "countdown": _countdown,
    "intermediate_integration": _integration,
    "n_queens": _n_queens,
    "number_sorting": _number_sorting,
    "polynomial_multiplication": _polynomial_multiplication,
    "puzzle24": _puzzle24,
    "simple_integration": _integration,
    "spiral_matrix": _spiral_matrix,
    "string_insertion": _string_insertion,
}
"""Family -> score of (answer, entry, upstream's data set). One may raise for a malformed answer, which
is a wrong one."""
