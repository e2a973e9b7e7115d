"""Whether two mathematical expressions are the same value, found by working them out.

math-verify subtracts and rounds, so everything below 1e-6 (with decimals) or 1e-15 (without) is equal to nothing, and
what that does not settle it hands to sympy's ``simplify``, which may take for ever. Here numbers are compared as
fractions where they are fractions, else to 400 digits relative to their size, and expressions with variables at points.

What this does not do: sets, equations, text (`didact.tasks.answers`), limits in time (`didact.tasks.verifier`).
"""

from fractions import Fraction
from typing import Any, Final

_DIGITS: Final = 400
_WORKED_OUT: Final = 10**9_999  # larger numbers are not written out
_SAME: Final = 1e-12  # relative; at points, where the values are worked out to 30 digits
#: Where expressions with variables are tried: no value that a formula may treat in a way of its own.
_POINTS: Final = (Fraction(17, 13), Fraction(31, 11), Fraction(23, 37), Fraction(-19, 7), Fraction(-5, 17))
_WHOLE: Final = (5, 8, 13, 6, 11)


def same(one: Any, other: Any) -> bool | None:
    """Whether two sympy expressions have the same value everywhere; None where that cannot be worked out."""
    from sympy import Expr

    if not isinstance(one, Expr) or not isinstance(other, Expr):
        return None
    symbols = _symbols(one, other)
    if not symbols:
        return _same_number(one, other)
    seen = 0
    for point in _points(symbols, one, other):
        left, right = _at(one, point), _at(other, point)
        if left is None or right is None:
            continue
        if abs(left - right) > _SAME * max(abs(left), abs(right)):
            if (left.is_real is not False and right.is_real is not False) or _positive(point):
                return False
            continue  # negative numbers under a root: another branch, not another value
        seen += 1
    return True if seen >= 3 else None


def ratio(one: Any, other: Any) -> Any | None:
    """The number that the first is of the second, where that is the same everywhere and not 0; else None."""
    found = None
    symbols = _symbols(one, other)
    if not symbols:
        return None
    for point in _points(symbols, one, other):
        left, right = _at(one, point), _at(other, point)
        if left is None or right is None or not left or not right:
            return None
        quotient = left / right
        if found is not None and abs(quotient - found) > _SAME * abs(found):
            return None
        found = quotient
    return found


def exact(expression: Any) -> Any:
    """With decimals as the fractions they are written as, ``i`` as the imaginary unit, names for unknown functions."""
    from sympy import Derivative, Float, I, Product, Rational, Sum, Symbol
    from sympy.core.function import AppliedUndef

    swaps = {number: Rational(str(number)) for number in expression.atoms(Float)}
    swaps |= {unknown: Symbol(str(unknown), real=True) for unknown in expression.atoms(Derivative)}
    swaps |= {unknown: Symbol(str(unknown), real=True) for unknown in expression.atoms(AppliedUndef)}
    if not expression.has(Sum, Product):
        swaps |= {symbol: I for symbol in expression.atoms(Symbol) if symbol.name == "i"}
    return expression.xreplace(swaps) if swaps else expression


def _same_number(one: Any, other: Any) -> bool | None:
    from sympy import Integer, oo

    if one in (oo, -oo) or other in (oo, -oo):
        return bool(one == other)
    left, right = _number(one, 30), _number(other, 30)
    if left is None or right is None:
        return None
    scale = max(abs(left), abs(right))
    if abs(left - right) > _SAME * scale:
        return False
    if scale < _WORKED_OUT:
        one, other = _worked_out(one), _worked_out(other)
        if one.is_Rational and other.is_Rational:
            return bool(one == other)
    difference = _number(_worked_out(one - other) if scale < _WORKED_OUT else one - other, 15, at_most=_DIGITS + 100)
    return difference is not None and bool(abs(difference) <= scale * Integer(10) ** -_DIGITS)


def _worked_out(expression: Any) -> Any:
    return expression.doit() if expression.args else expression


def _number(expression: Any, digits: int, at_most: int = 100) -> Any | None:
    """Its value as a complex number of so many digits, or None if it has none."""
    from sympy import nan, zoo

    value = expression.evalf(digits, maxn=at_most)
    if value in (nan, zoo) or not value.is_number or value.is_infinite or value.free_symbols:
        return None
    real, imaginary = value.as_real_imag()
    return value if real.is_Float or real.is_Rational or imaginary.is_Float else None


def _at(expression: Any, point: dict[Any, Any]) -> Any | None:
    from sympy import Product, Sum

    there = expression.xreplace(point)
    return _number(_worked_out(there) if there.has(Sum, Product) else there, 30)


def _positive(point: dict[Any, Any]) -> bool:
    return all(value > 0 for value in point.values())


def _symbols(one: Any, other: Any) -> list[Any]:
    return sorted(one.free_symbols | other.free_symbols, key=lambda symbol: symbol.name)


def _points(symbols: list[Any], one: Any, other: Any) -> list[dict[Any, Any]]:
    from sympy import Integer, Product, Rational, Sum, binomial, ceiling, factorial, floor

    steps = (floor, ceiling, factorial, binomial, Sum, Product)
    whole = one.has(*steps) or other.has(*steps)
    values = [Integer(n) for n in _WHOLE] if whole else [Rational(x.numerator, x.denominator) for x in _POINTS]
    shifts = range(len(values))
    points = [
        {symbol: values[(shift + 2 * k) % len(values)] + k // 5 for k, symbol in enumerate(symbols)} for shift in shifts
    ]
    if whole:
        return points
    return [
        *points,
        {symbol: abs(value) + 1 for symbol, value in points[3].items()},
        {symbol: abs(value) + 2 for symbol, value in points[4].items()},
    ]


def distance(one: Any, other: Any) -> float | None:
    """How far two numbers are apart, or None if one is none."""
    left, right = _number(one, 30), _number(other, 30)
    return None if left is None or right is None else float(abs(left - right))


def is_number(value: Any) -> bool:
    """Whether it has no variables and is not a set, a matrix or a relation."""
    return bool(getattr(value, "is_number", False))
