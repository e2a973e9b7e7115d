import pytest

from didact.tasks.answers import read
from didact.tasks.values import distance, ratio, same


def value(text: str):  # type: ignore[no-untyped-def]
    return read(text).parts[0].value


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("\\sqrt{12}", "2\\sqrt3", True),
        ("\\frac{1}{2004!}", "\\frac{1}{2006!}", False),
        ("2^{100}", "2^{100}+1", False),
        ("\\sqrt{2} \\cdot 2^{500}", "\\sqrt{2} \\cdot 2^{500}+1", False),
        ("e^{-1000}", "0", False),
        ("0.1+0.2", "0.3", True),
        ("\\cos^2 x - \\sin^2 x", "\\cos 2x", True),
        ("\\sqrt{x^2}", "x", False),
        ("\\sqrt{1/n}", "\\frac{1}{\\sqrt{n}}", True),
        ("\\binom{n}{2}", "\\frac{n(n-1)}{2}", True),
        ("\\lfloor n/2 \\rfloor", "\\lceil n/2 \\rceil", False),
        ("\\infty", "-\\infty", False),
        ("\\frac{0}{0}", "1", None),
    ],
)
def test_values_are_worked_out(one: str, other: str, equal: bool | None) -> None:
    assert same(value(one), value(other)) is equal


def test_a_ratio_is_a_number_or_nothing() -> None:
    assert ratio(value("2x+2y"), value("x+y")) == pytest.approx(2)
    assert ratio(value("x+2y"), value("x+y")) is None
    assert ratio(value("x-x"), value("x")) is None


def test_the_distance_of_two_numbers() -> None:
    assert distance(value("\\pi"), value("3")) == pytest.approx(0.14159265)
    assert distance(value("x"), value("3")) is None
