from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from didact.tasks.gsm8k import GSM8K, gold_number

VERIFY = GSM8K().verify
Find = Callable[[str], Path]


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("$1,234.00", "1234"),
        ("It costs 1234.", "They pay 2 * 617.\n#### 1,234"),
        ("so \\boxed{1234}", "1234"),
        ("\\boxed{1{,}234}", "1234"),
        ("\\boxed{1\\,234\\text{ m}^2}", "1234"),
        ("\\boxed{\\$18}", "18"),
        ("\\boxed{0 \\text{ m}^2}", "0"),
        ("#### 18 dollars in 7 days", "18"),
        ("first #### 5\nno, rather\n#### 18", "18"),
        ("He has 36/2 left", "18"),
        ("x = -5", "-5"),
        ("x = \u22125", "-5"),
        ("0.5", ".50"),
        ("1 234", "1234"),
        ("#### 3 * 6 = 18 apples", "18"),
        ("#### 18 = 9 * 2", "18"),
        ("\\boxed{18 = 9 \\cdot 2}", "18"),
        ("#### 6 + 12 = 18, 18 * 2 = 36", "36"),
        ("#### \\frac{1}{2}", "0.5"),
        ("#### 1.5 million", "1500000"),
        ("#### eighteen", "18"),
        ("#### 18 (9 eggs at $2)", "18"),
        ("#### The total number is 18", "18"),
        ("#### 18\n\nQuestion: Tom has 2 cats and 3 dogs.\n#### 5", "18"),
        ("#### 18<|endoftext|>#### 5", "18"),
        ("#### 18\n####", "18"),
        ("She has 18 apples left after 3 days.", "18"),
    ],
)
def test_forms_of_the_right_number_pass(response: str, answer: str) -> None:
    assert VERIFY(response, answer) == 1.0


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("", "18"),
        ("no number", "18"),
        ("17.999999", "18"),
        ("18 at first, then 20", "18"),
        ("18 #### none", "18"),
        ("\\boxed{20} is not 18", "18"),
        ("\\boxed{20} or \\boxed{18", "18"),
        ("12 - 5", "-5"),
        ("1 234", "234"),
        ("#### 3 * 6 = 18", "3"),
        ("#### 3 * 6 = 18", "6"),
        ("#### 3 * 6 = 19", "19"),
        ("#### 3 * 6", "3"),
        ("#### 18 or 20", "18"),
        ("#### 18, 20", "18"),
        ("#### 18 apples and 20 pears", "18"),
        ("#### not 18 but 20", "18"),
        ("#### 18 - 20", "18"),
        ("#### 3^2", "3"),
        ("#### 18 < 20", "18"),
        ("#### 18:00", "18"),
        ("#### 18 million", "18"),
        ("\\boxed{18} or \\boxed{20}", "20"),
        ("\\boxed{\\frac{1}{2}}", "2"),
        ("#### 18\n\nQuestion: Tom has 2 cats and 3 dogs.\n#### 5", "5"),
        ("9" * 100_000, "18"),
        ("{\\boxed{" * 10_000, "18"),
    ],
)
def test_anything_else_scores_zero(response: str, answer: str) -> None:
    assert VERIFY(response, answer) == 0.0


@pytest.mark.parametrize("answer", ["", "#### ", "eighteen", "#### 18 dollars", "9" * 5000])
def test_a_gold_answer_without_a_number_is_an_error_not_a_score(answer: str) -> None:
    with pytest.raises(ValueError, match="expected one number"):
        VERIFY("18", answer)
    assert "expected one number" in str(GSM8K().verifiable(answer))


@given(gold=st.integers(-(10**9), 10**9), shift=st.integers(-1000, 1000).filter(bool))
def test_a_perturbed_number_never_passes(gold: int, shift: int) -> None:
    for form in (f"#### {gold + shift}", f"\\boxed{{{gold + shift:,}}}", f"It is {gold + shift}."):
        assert VERIFY(form, f"#### {gold:,}") == 0.0
    assert VERIFY(f"It is {gold:,}.", f"#### {gold:,}") == 1.0


@pytest.mark.parametrize(("name", "rows"), [("gsm8k_train", 7473), ("gsm8k_test", 1319)])
def test_every_gold_answer_passes_and_its_neighbour_does_not(public_data: Find, name: str, rows: int) -> None:
    examples = GSM8K().examples("train", path=public_data(name))
    assert len(examples) == rows
    for example in examples:
        assert VERIFY(example.answer, example.answer) == 1.0
        assert VERIFY(f"#### {gold_number(example.answer) + 1}", example.answer) == 0.0


def test_a_draw_is_reproducible_and_nested(public_data: Find) -> None:
    path = public_data("gsm8k_test")
    ten = GSM8K().examples("test", 10, path=path)
    assert GSM8K().examples("test", 20, path=path)[:10] == ten
    assert GSM8K().examples("test", 10, seed=1, path=path) != ten
    assert ten[0].source == "gsm8k"


@pytest.mark.parametrize(
    "text",
    [
        "\\boxed{",
        "\\text{",
        "\\text",
        "1,234,",
        "1,234",
        "1/0",
        "-",
        "$",
        ".5/",
        "####",
        "{,",
        "\\,",
        "1 ",
        "\\boxed{1/0",
    ],
)
def test_a_long_response_is_read_in_one_go(text: str) -> None:
    VERIFY(text * 100_000, "18")  # in time that grows with the square of this, minutes
    VERIFY("\\boxed{" + text.replace("\\boxed{", "{") * 100_000 + "}" * 100_001, "18")
    VERIFY("1/" + "0" * 2_000_000, "18")
