from fractions import Fraction

import pytest

from didact.tasks.numerals import based, clock, in_base, number, ratio, ungrouped


@pytest.mark.parametrize(
    ("text", "value", "decimals"),
    [
        ("-1.50", Fraction(-3, 2), 2),
        (".5", Fraction(1, 2), 1),
        ("1.2e-5", Fraction(12, 10**6), 6),
        ("4.5 \\times 10^{33}", Fraction(45 * 10**32), 0),
        ("1,234.5", Fraction(2469, 2), 1),
        ("-45 600", Fraction(-45600), 0),
        ("3 1/2", Fraction(7, 2), None),
        ("-3\\frac{1}{2}", Fraction(-7, 2), None),
        ("0.1\\overline{6}", Fraction(1, 6), None),
    ],
)
def test_numbers_are_read_as_fractions(text: str, value: Fraction, decimals: int | None) -> None:
    found = number(text)
    assert found is not None
    assert (Fraction(int(found[0].p), int(found[0].q)), found[1]) == (value, decimals)


@pytest.mark.parametrize("text", ["", "x", "1,23", "12,34", "1 2", "1e99999", "3 1/0", "2x", "1.2.3"])
def test_anything_else_is_no_number(text: str) -> None:
    assert number(text) is None


def test_numerals_of_other_kinds() -> None:
    assert ungrouped("1,234,567") == "1234567"
    assert ungrouped("12,34") is None
    assert based("1011_{2}") == based("(1011)_2") == ("1011", "2")
    assert based("204_{\\text{five}}") == in_base("204 in base 5") == ("204", "5")
    assert based("a_1") is None
    assert clock("4:30 p.m.") == ("4:30", "pm", None)
    assert clock("3:4") is None
    assert ratio("3:4") == ratio("3 to 4") == number("0.75")[0]  # type: ignore[index]
    assert ratio("3:0") is None
