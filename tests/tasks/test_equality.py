import pytest

from didact.tasks.answers import read
from didact.tasks.equality import equal


@pytest.mark.parametrize(
    ("gold", "found"),
    [
        ("(-\\infty, 3)", "x < 3"),
        ("x \\le -2 \\text{ or } x \\ge 5", "(-\\infty, -2] \\cup [5, \\infty)"),
        ("2x+4y-3=0", "y = -\\frac{1}{2}x + \\frac{3}{4}"),
        ("\\{1, 2\\}", "2 \\text{ and } 1"),
        ("(1, 2)", "x = 1, y = 2"),
        ("(2\\ln 2, 3)", "2\\ln 2 < x < 3"),
        ("a > b", "b < a"),
        ("f(x) = x+1", "f(n) = n+1"),
        ("23\\%", "0.23"),
        ("\\pi", "3.141593"),
        ("A, C", "CA"),
    ],
)
def test_the_same_answer(gold: str, found: str) -> None:
    assert equal(read(gold), read(found))


@pytest.mark.parametrize(
    ("gold", "found"),
    [
        ("(-\\infty, 3)", "x \\le 3"),
        ("x > 1", "y > 1"),
        ("x^2 = -1", "x^2 = -2"),
        ("3, 4, 4", "3, 4"),
        ("(1, 2)", "(2, 1)"),
        ("(1, 2)", "\\{1, 2\\}"),
        ("a = 3, b = 4", "a = 4, b = 3"),
        ("\\frac{1}{23}", "\\frac{12}{3}"),
        ("12 \\text{ m}", "12 \\text{ km}"),
        ("\\frac13", "0.33"),
        ("1", "0.999999"),
        ("y = 2x", "y' = 2x"),
        ("12", "13 \\text{ or } 12"),
        ("8", "2x = 8"),
        ("0", ""),
        ("\\emptyset", "(3, 2)"),
        ("\\emptyset", "[3, 3)"),
        ("r > 3, r < \\frac{49}{27}", "6-2\\ln 2"),
        ("[-1,0) \\cup (0,1]", "1 - \\frac{2}{e}"),
    ],
)
def test_another_answer(gold: str, found: str) -> None:
    assert not equal(read(gold), read(found))
