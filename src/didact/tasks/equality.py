"""Whether two mathematical answers are the same answer.

Part by part: in order within parentheses, in any order in a list or a set, and a list that names something twice needs
it twice. Regions of the real line are compared as sets, however they are written; equations up to a factor; expressions
by `didact.tasks.values`; and what is left, by math-verify.
"""

from typing import Any

from didact.tasks import values
from didact.tasks.answers import Answer, Part, chosen, in_the_variable_of

_SIX_DIGITS = 6  # a decimal number of so many significant digits may stand for what has no end


def equal(gold: Answer, found: Answer) -> bool:
    """Whether `found` is the answer `gold`. May take for ever (`didact.tasks.verifier`), and may raise."""
    if not found.text or not found.parts:
        return False
    if gold.text == found.text:
        return True
    if (letter := gold.choice) is not None:
        return letter in (chosen(found), found.text.upper())
    if gold.letters and len(gold.parts) + len(found.parts) > 2:  # "A, C" and "AC"
        return gold.letters == found.letters
    if (
        found.either
        and len(gold.parts) == 1 < len(found.parts)
        and all(_same(gold.parts[0], part) for part in found.parts)
    ):
        return True  # 3/4 or 75%
    if _regions(gold, found):
        return _same_region(gold, found)
    return _lists_equal(gold, found)


def _lists_equal(gold: Answer, found: Answer) -> bool:
    ours, theirs = gold.parts, found.parts
    ordered = any(part.words == "\\ldots" for part in (*ours, *theirs))
    if len(ours) != len(theirs) or "{" in (_inside(ours), _inside(theirs)):
        if _inside(ours) == "(" and len(theirs) > 1:
            ours, ordered = ours[0].parts, True
        elif _inside(theirs) == "(" and len(ours) > 1:
            theirs, ordered = theirs[0].parts, True
        else:
            ours = ours[0].parts if _inside(ours) == "{" else ours
            theirs = theirs[0].parts if _inside(theirs) == "{" else theirs
    if len(ours) != len(theirs):
        return False
    if len(ours) > 1 and _all_named(ours) and _all_named(theirs):
        ours, theirs, ordered = _by_name(ours), _by_name(theirs), True
    if ordered:
        return all(map(_same, ours, theirs))
    return _matched(ours, theirs)


def _inside(parts: tuple[Part, ...]) -> str:
    """The opening bracket around everything, or ""."""
    return parts[0].brackets[:1] if len(parts) == 1 else ""


def _all_named(parts: tuple[Part, ...]) -> bool:
    return len({part.name for part in parts if part.name}) == len(parts)


def _by_name(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    return tuple(sorted(parts, key=lambda part: part.name))


def _matched(ours: tuple[Part, ...], theirs: tuple[Part, ...]) -> bool:
    """Whether each of ours is one of theirs; equality is transitive, so the first that fits will do."""
    left = list(theirs)
    for part in ours:
        fits = next((place for place, other in enumerate(left) if _same(part, other)), None)
        if fits is None:
            return False
        del left[fits]
    return True


def _same(gold: Part, found: Part) -> bool:
    if gold.brackets or found.brackets:
        return _same_brackets(gold, found)
    if gold.equation and found.equation and _same_equation(gold.equation, found.equation):
        return True
    if gold.name and found.name and gold.name != found.name:
        found = in_the_variable_of(found, gold.name)
    if (gold.name and found.name and gold.name != found.name) or bool(gold.equation) > bool(
        found.equation or gold.name
    ):
        return False
    if gold.unit and found.unit and gold.unit != found.unit:
        return False
    if gold.base and found.base and gold.base != found.base:
        return False
    if gold.text == found.text and gold.text:
        return True
    if gold.base or found.base:
        return gold.words == (found.words or found.text) or found.words == gold.text
    if gold.words and found.words:
        return gold.words == found.words
    if (gold.words or gold.text.casefold()) == (found.words or found.text.casefold()) and (gold.words or found.words):
        return True
    if gold.value is None or found.value is None:
        return False
    return _same_value(gold, found)


def _same_brackets(gold: Part, found: Part) -> bool:
    from sympy import MatrixBase

    for one, other in ((gold, found), (found, gold)):
        if one.brackets == "()" and isinstance(other.value, MatrixBase) and 1 in other.value.shape:
            entries = [part.value for part in one.parts]
            return len(entries) == len(other.value) and all(
                entry is not None and _values_equal(entry, theirs)
                for entry, theirs in zip(entries, other.value.flat(), strict=True)
            )
    if len(gold.parts) != len(found.parts) or (gold.name and found.name and gold.name != found.name):
        return False
    if gold.brackets == "{" == found.brackets:
        return _matched(gold.parts, found.parts)
    tuples = len(gold.parts) > 2 and {gold.brackets, found.brackets} <= {"()", "[]"}
    return (gold.brackets == found.brackets or tuples) and all(map(_same, gold.parts, found.parts))


def _same_value(gold: Part, found: Part) -> bool:
    if _values_equal(gold.value, found.value):
        return True
    if "%" in (gold.unit, found.unit) and gold.unit != found.unit:
        share, whole = (gold, found) if gold.unit == "%" else (found, gold)
        if _values_equal(share.value / 100, whole.value):
            return True
    return _rounded(gold, found) or _rounded(found, gold)


def _rounded(endless: Part, decimal: Part) -> bool:
    """Whether the second is the first, which has no end as a decimal number, to six significant digits or more."""
    if not decimal.decimals or not decimal.value or endless.decimals is not None or not values.is_number(endless.value):
        return False
    if len(str(abs(decimal.value.p) * 10**decimal.decimals // decimal.value.q)) < _SIX_DIGITS or _terminates(
        endless.value
    ):
        return False
    away = values.distance(endless.value, decimal.value)
    return away is not None and away <= 0.5 * 10.0**-decimal.decimals


def _terminates(value: Any) -> bool:
    if not value.is_Rational:
        return False
    rest = value.q
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return bool(rest == 1)


def _values_equal(gold: Any, found: Any) -> bool:
    from sympy import MatrixBase

    if isinstance(gold, MatrixBase) or isinstance(found, MatrixBase):
        alike = isinstance(gold, MatrixBase) and isinstance(found, MatrixBase) and gold.shape == found.shape
        return alike and all(map(_values_equal, gold.flat(), found.flat()))
    decided = values.same(gold, found)
    return _by_math_verify(gold, found) if decided is None else decided


def _by_math_verify(gold: Any, found: Any) -> bool:
    """What the evaluation cannot tell: infinite sums, integrals, matrices as symbols."""
    from math_verify import verify
    from sympy import nan, zoo

    if gold.has(nan, zoo) or found.has(nan, zoo):
        return False
    return bool(verify(gold, found, timeout_seconds=None, raise_on_error=True))


def _same_equation(gold: tuple[Any, Any], found: tuple[Any, Any]) -> bool:
    from sympy import together

    ours, theirs = (together(left - right).as_numer_denom()[0] for left, right in (gold, found))
    return values.ratio(ours, theirs) is not None


def _regions(gold: Answer, found: Answer) -> bool:
    """Whether one of the two is a set of points on the line that is not written as a tuple."""
    return any(_is_set(part) or _is_relation(part) for part in (*gold.parts, *found.parts))


def _is_set(part: Part) -> bool:
    from sympy import Set

    return isinstance(part.value, Set)


def _is_relation(part: Part) -> bool:
    from sympy import And
    from sympy.core.relational import Relational

    return isinstance(part.value, And | Relational)


def _same_region(gold: Answer, found: Answer) -> bool:
    ours, theirs = _variables(gold), _variables(found)
    if len(ours) > 1 or len(theirs) > 1:
        return _same_relations(gold, found)
    if ours and theirs and ours != theirs:
        return False
    one, other = _region(gold), _region(found)
    if one is None or other is None:
        return False
    return one == other or bool(one.symmetric_difference(other).is_empty)


def _variables(answer: Answer) -> set[Any]:
    return {symbol for part in answer.parts if _is_relation(part) for symbol in part.value.free_symbols}


def _same_relations(gold: Answer, found: Answer) -> bool:
    """Inequalities of several variables, each up to a positive factor."""
    ours, theirs = ([_at_least(part.value) for part in answer.parts] for answer in (gold, found))
    left = [relation for relation in theirs if relation is not None]
    if len(left) != len(theirs) or len(ours) != len(theirs):
        return False
    for relation in ours:
        fits = [place for place, other in enumerate(left) if relation is not None and _same_relation(relation, other)]
        if not fits:
            return False
        del left[fits[0]]
    return True


def _same_relation(one: tuple[bool, Any], other: tuple[bool, Any]) -> bool:
    factor = values.ratio(one[1], other[1])
    return one[0] == other[0] and factor is not None and bool(factor.is_positive)


def _at_least(relation: Any) -> tuple[bool, Any] | None:
    """Whether it is strict, and what it says is not below 0."""
    from sympy import GreaterThan, LessThan, StrictGreaterThan, StrictLessThan

    if not isinstance(relation, GreaterThan | LessThan | StrictGreaterThan | StrictLessThan):
        return None
    strict = isinstance(relation, StrictGreaterThan | StrictLessThan)
    return strict, relation.gts - relation.lts


def _region(answer: Answer) -> Any | None:
    """The set of real numbers that an answer is, or None."""
    from sympy import Intersection, Union

    regions = [_part_region(part) for part in answer.parts]
    if any(region is None for region in regions):
        return None
    if answer.both and all(map(_is_relation, answer.parts)):
        common = Intersection(*regions)
        if not common.is_empty:
            return common
    return Union(*regions)


def _part_region(part: Part) -> Any | None:
    from sympy import FiniteSet, Interval

    if _is_set(part):
        return part.value.doit()
    if _is_relation(part):
        return _solved(part.value)
    if part.brackets == "{":
        return (
            FiniteSet(*(inner.value.doit() for inner in part.parts))
            if all(_real(inner) for inner in part.parts)
            else None
        )
    if len(part.brackets) == 2 and len(part.parts) == 2 and all(map(_real, part.parts)):
        low, high = (inner.value.doit() for inner in part.parts)
        if not bool(low < high):
            return None  # a point of the plane, not the empty set
        return Interval(low, high, part.brackets[0] == "(", part.brackets[1] == ")")
    return FiniteSet(part.value.doit()) if _real(part) else None


def _solved(relation: Any) -> Any | None:
    """The real numbers for which inequalities of one variable hold."""
    from sympy import Intersection

    parts = relation.args if relation.func.__name__ == "And" else (relation,)
    if any(not hasattr(part, "as_set") or len(part.free_symbols) != 1 for part in parts):
        return None
    return Intersection(*(part.as_set() for part in parts))


def _real(part: Part) -> bool:
    return part.value is not None and getattr(part.value, "is_extended_real", False) is True
