import pytest

from didact.tasks.answers import chosen, read


def test_parts_of_an_answer() -> None:
    named = read("x = 3 \\text{ cm}, y = -1").parts
    assert [(part.name, part.unit, part.value) for part in named] == [("x", "cm", 3), ("y", "", -1)]
    (pair,) = read("(1, 2]").parts
    assert (pair.brackets, [part.value for part in pair.parts]) == ("(]", [1, 2])
    assert [part.text for part in read("1 \\pm 2").parts] == ["1+2", "1-2"]
    assert [part.value for part in read("16, 3, 1, 1").parts] == [16, 3, 1, 1]
    assert read("1,234").parts[0].value == 1234
    assert read("\\text{an ellipse}").parts[0].words == "ellipse"
    assert read("1011_2").parts[0].base == "2"


@pytest.mark.parametrize("text", ["1=2=3", "3 = 4", "\\frac{1}{", "\\int"])
def test_what_says_nothing_has_no_value(text: str) -> None:
    (part,) = read(text).parts
    assert part.value is None
    assert not part.readable


def test_a_chain_of_equal_values_is_one_value() -> None:
    assert read("n = 12 = 2^2 \\cdot 3").parts[0].value == 12
    assert read("\\frac{10}{3} \\approx 3.33").parts[0].value == read("10/3").parts[0].value


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("\\textbf{(B)}\\ 14", "B"),
        ("B. 14", "B"),
        ("\\text{The answer is } B", "B"),
        ("A \\text{ or } B", None),
        ("\\text{not B}", None),
        ("B+1", None),
        ("14", None),
    ],
)
def test_the_letter_that_is_chosen(text: str, letter: str | None) -> None:
    assert chosen(read(text)) == letter


def test_a_limit_that_is_reached_while_reading_is_no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*_: object, **__: object) -> None:
        raise TimeoutError

    monkeypatch.setattr("latex2sympy2_extended.latex2sympy2.latex2sympy", late)
    with pytest.raises(TimeoutError):
        read("x^{17}+17")
