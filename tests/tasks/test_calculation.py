from fractions import Fraction

import pytest

from didact.tasks.calculation import sums


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,234.50", Fraction(2469, 2)),
        ("1 234", Fraction(1234)),
        ("1 1/2", Fraction(3, 2)),
        ("\\frac{3}{4}", Fraction(3, 4)),
        ("2.5e3", Fraction(2500)),
        ("1.5 million", Fraction(1_500_000)),
        ("one hundred and twenty-five", Fraction(125)),
        ("2 + 3 * 4", Fraction(14)),
        ("(2 + 3) * -4", Fraction(-20)),
        ("12 - 5 - 3", Fraction(4)),
        ("8 / 4 / 2", Fraction(1)),
        ("2(3+4)", Fraction(14)),
        ("1/0", None),
        ("9" * 200, None),
    ],
)
def test_a_sum_is_worked_out(text: str, value: Fraction | None) -> None:
    (found,), behind = sums(text)
    assert (found.value, found.before, behind) == (value, "", "")


def test_words_part_the_sums_of_a_text() -> None:
    found, behind = sums("She has 18 (9 eggs at 2) - 3 of twelve left")
    assert [one.value for one in found] == [18, 9, Fraction(2) - 3, 12]
    assert (found[0].before, behind, found[3].spelled) == ("She has", "left", True)


def test_parentheses_without_a_partner_do_no_harm() -> None:
    assert [one.value for one in sums("((((3 + 4")[0]] == [7]
    assert [one.value for one in sums("3 + 4)))")[0]] == [7]
