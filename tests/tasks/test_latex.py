import re

import pytest

from didact.tasks.latex import closing, split, stripped, tidied


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("\u22122\u00bd", "-2\\frac{1}{2}"),
        ("x\u00b2 \u2264 10\u207b\u00b3", "x^{2} \\leq 10^{-3}"),
        ("10 - 2\u221a5", "10 - 2\\sqrt5"),
        ("3*sqrt(2)", "3 \\cdot \\sqrt{2}"),
        ("\\left(\\dfrac12, 3\\right)", "(\\frac12, 3)"),
        ("1{,}234\\,567", "1234567"),
        ("1\\ 1/4", "1 1/4"),
        ("\\textbf{(B)}", "\\text{(B)}"),
        ("\\mathbf{12}", "12"),
        ("\\boxed{7}.", "7"),
        ("\\$36", "36"),
        ("\\[ k = 4 \\]", "k = 4"),
        ("60^\\circ", "60^{\\circ}"),
        ("5 \\text{ million}", "5 \\times 10^{6}"),
        ("\\begin{cases} x=3 \\\\ y=-1 \\end{cases}", "x=3 , y=-1"),
        ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}"),
    ],
)
def test_one_spelling_for_each_thing(written: str, text: str) -> None:
    assert tidied(written) == text


def test_what_surrounds_an_answer_goes() -> None:
    assert stripped(" {12}. ") == "12"
    assert stripped("{1}{2}") == "{1}{2}"


def test_only_separators_outside_brackets_split() -> None:
    assert split("(1,2),\\{3,4\\},5", re.compile(",")) == ["(1,2)", "\\{3,4\\}", "5"]
    assert split("[0,1)\\cup(2,3]", re.compile(",")) == ["[0,1)\\cup(2,3]"]
    assert closing("(1,(2))3", 0) == 6
    assert closing("(1", 0) is None
