"""Our scores against upstream's own, on answers made here and harmless to evaluate; and where upstream is wrong."""

import ast
import json
import re
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from reasoning_gym.factory import get_score_answer_fn

from didact.tasks.reasoning_gym import ReasoningGym
from didact.tasks.reasoning_gym_scores import MENDED, SCORES


def arithmetic(numbers: list[int], rng: Random) -> str:
    """A random expression of these numbers in this order, with the odd one changed, dropped or doubled."""
    numbers = list(numbers)
    if rng.random() < 0.3:
        numbers[rng.randrange(len(numbers))] += rng.choice([-1, 1])
    if rng.random() < 0.1:
        numbers.append(rng.randint(1, 9))
    parts = [str(number) for number in numbers]
    while len(parts) > 1:
        place = rng.randrange(len(parts) - 1)
        operator = rng.choice(["+", "-", "*", "/", " + ", " - ", "*"] + ["**"] * (parts[place + 1] in "123"))
        joined = f"{parts[place]}{operator}{parts[place + 1]}"
        parts[place : place + 2] = [rng.choice([f"({joined})", joined])]
    return rng.choice(["", "", "", "-", "+", "(", "0.5*", "3*x + "]) + parts[0]


def from_numbers(entry: dict[str, Any], rng: Random) -> str:
    """Gold, or arithmetic of the entry's numbers."""
    return entry["answer"] if rng.random() < 0.2 else arithmetic(entry["metadata"]["numbers"], rng)


def from_these_numbers(entry: dict[str, Any], rng: Random) -> str:
    """Gold, or arithmetic of the very numbers; upstream takes any four."""
    while True:
        text = from_numbers(entry, rng)
        if sorted(map(int, re.findall(r"\b\d+\b", text))) == sorted(entry["metadata"]["numbers"]):
            return text


def reworked(entry: dict[str, Any], rng: Random) -> str:
    """Gold with its terms in another order, a sign or a digit changed, a term more, a factor outside, another C."""
    gold = entry["answer"]
    variable = entry["metadata"].get("variable") or "x"
    terms = gold.replace(" - ", " + -").split(" + ")
    rng.shuffle(terms)
    digits = [place for place, character in enumerate(gold) if character in "123456789"]
    place = rng.choice(digits) if digits else 0
    return rng.choice(
        [
            gold,
            " + ".join(terms),
            gold[:place] + rng.choice("123456789") + gold[place + 1 :] if digits else gold,
            gold.replace(" - ", " + ", 1),
            f"{gold} + {rng.choice(['1', '3/4', 'K', variable, 'C', '0*' + variable, 'pi', '0.5'])}",
            f"2*({gold})/2",
            f"-({gold})",
            gold.replace(" + C", ""),
            gold.replace(variable, "y"),
            gold.replace("*", ""),
            gold.replace("**", "^"),
            f"({gold}) + ({variable} + 1)**2 - {variable}**2 - 2*{variable} - 1",
        ]
    )


def listed(entry: dict[str, Any], rng: Random) -> str:
    """Gold as text or as a Python list of rows, of tokens or of characters, with the odd token changed."""
    rows = [row.split(" ") for row in entry["answer"].split("\n")]
    if rng.random() < 0.4:
        row = rng.choice(rows)
        row[rng.randrange(len(row))] = rng.choice(["Q", "_", "1", "0", "A", "-3"])
    flat = [token for row in rows for token in row]
    numbers = [int(token) if token.lstrip("-").isdigit() else token for token in flat]
    text = "\n".join(" ".join(row) for row in rows)
    forms = [
        text,
        str(rows),
        json.dumps(rows),
        str([tuple(row) for row in rows]),
        str(flat),
        str(numbers),
        str(list(text)),
    ]
    forms += [
        repr(text),
        str([[int(t) if t.isdigit() else t for t in row] for row in rows]),
        text.replace(" ", ""),
        text[1:],
    ]
    return rng.choice(forms)


def sorted_numbers(entry: dict[str, Any], rng: Random) -> str:
    """Gold, written in some way, with the odd number moved, dropped or in another place."""
    numbers: list[Any] = list(ast.literal_eval(entry["answer"]))
    change = rng.randrange(5)
    place = rng.randrange(len(numbers))
    if change == 0:
        numbers[place] = str(float(numbers[place]) + rng.choice([-2, -1, -0.5, 0.5, 1, 2]))
    elif change == 1:
        numbers.pop(place)
    elif change == 2:
        rng.shuffle(numbers)
    return rng.choice(
        [str(numbers), json.dumps(numbers), str([float(n) for n in numbers]), " ".join(numbers), str({1: numbers})]
    )


def in_some_base(entry: dict[str, Any], rng: Random) -> str:
    value = int(entry["answer"], 0) + rng.choice([0, 0, 0, 1, -1])
    return rng.choice(
        [hex(value), str(value), bin(value), oct(value), hex(value).upper(), f"{value:x}", f" {value} ", f"{value}."]
    )


ANSWERS: dict[str, Callable[[dict[str, Any], Random], str]] = {
    "binary_matrix": listed,
    "bitwise_arithmetic": in_some_base,
    "countdown": from_numbers,
    "intermediate_integration": reworked,
    "n_queens": listed,
    "number_sorting": sorted_numbers,
    "polynomial_multiplication": reworked,
    "puzzle24": from_these_numbers,
    "simple_integration": reworked,
    "spiral_matrix": listed,
    "string_insertion": listed,
}


def both(family: str, answer: str, entry: dict[str, Any]) -> tuple[float, float]:
    upstream = get_score_answer_fn(family)
    try:
        ours = SCORES[family](answer, entry, upstream.__self__)
    except Exception:
        ours = 0.0
    return ours, float(upstream(answer, entry))


SLOW = {
    "intermediate_integration",
    "n_queens",
    "puzzle24",
    "simple_integration",
}  # upstream's own scores and examples are


@pytest.mark.parametrize("family", [pytest.param(f, marks=[pytest.mark.slow] * (f in SLOW)) for f in ANSWERS])
def test_verdicts_are_upstreams(family: str) -> None:
    task = ReasoningGym(family)
    rng = Random(7)
    verdicts = set()
    for example in task.examples("train", 15 if family in SLOW else 30, seed=3):
        entry = json.loads(example.answer)
        assert both(family, entry["answer"], entry) == (1.0, 1.0)
        for _ in range(12):
            answer = ANSWERS[family](entry, rng)
            ours, upstream = both(family, answer, entry)
            assert ours == upstream, answer
            verdicts.add(ours)
    assert 1.0 in verdicts
    assert len(verdicts) > 1


def test_every_score_of_ours_is_compared_but_those_that_upstream_gets_wrong() -> None:
    assert set(SCORES) - set(ANSWERS) == set(MENDED)


def score(family: str, answer: str, gold: str = "", **metadata: Any) -> float:
    entry = {"question": "", "answer": gold, "metadata": metadata}
    return SCORES[family](answer, entry, get_score_answer_fn(family).__self__)


@pytest.mark.parametrize(
    "answer",
    [
        "0x4d",
        "0x4d + 0*(3 + 4 + 5)",
        "7_7 # 3 4 5",
        "77e0 + 0*(3+4+5)",
        "77 # 3 4 5",
        "3+4+5 or 77",
        "(lambda: 77)()",
        "7\u0667",
    ],
)
def test_a_target_needs_plain_arithmetic_of_the_numbers(answer: str) -> None:
    assert score("countdown", answer, numbers=[3, 4, 5], target=77) < 0.1
    assert score("countdown", "(3 + 4)*5", numbers=[3, 4, 5], target=35) == 1.0


def test_numbers_that_are_none_are_not_in_order() -> None:
    assert score("number_sorting", "[NaN, NaN]", "['1', '2']", direction="ascending") == 0.0
    assert score("number_sorting", "[1, 2]", "['1', '2']", direction="ascending") == 1.0


def test_an_integral_that_is_not_worked_out_is_no_answer() -> None:
    with pytest.raises(ValueError, match="not of arithmetic"):
        score("intermediate_integration", "Integral(x*sin(x), x)", variable="x", integrand="x*sin(x)")
    assert score("intermediate_integration", "sin(x) - x*cos(x)", variable="x", integrand="x*sin(x)") == 1.0


@pytest.mark.parametrize(
    ("answer", "integrand", "right"),
    [
        ("sqrt(x**2)", "1", False),
        ("log(2*x) + C", "1/x", True),
        ("ln(x) + K - M", "1/x", True),
        ("x**2/2 + K*x - M*x", "x", False),
        ("0.3333333333333333*x**3", "x**2", True),
        ("0.333333*x**3", "x**2", False),
        ("exp(x)*sin(x)/2 - exp(x)*cos(x)/2", "exp(x)*sin(x)", True),
        ("E**x", "exp(x)", True),
        ("tan(x) + sec(x) - csc(x) - cot(x)", "sec(x)**2 + tan(x)*sec(x) + csc(x)*cot(x) + csc(x)**2", True),
        ("asin(x) + atan(x) + acos(2*x)", "1/sqrt(1-x**2) + 1/(1+x**2) - 2/sqrt(1-4*x**2)", True),
        ("sinh(x) + cosh(x) + tanh(x)", "cosh(x) + sinh(x) + 1 - tanh(x)**2", True),
        ("x**x", "x**x*(log(x) + 1)", True),
        ("C", "0", True),
        ("x", "0", False),
        ("x/0", "x", False),
    ],
)
def test_an_integral_is_judged_by_its_derivative(answer: str, integrand: str, right: bool) -> None:
    try:
        verdict = score("simple_integration", answer, variable="x", integrand=integrand)
    except ZeroDivisionError:
        verdict = 0.0
    assert verdict == right


POINT = {"simplified_numerator": 3, "simplified_denominator": 4, "numerator": 6, "denominator": 8}


@pytest.mark.parametrize(
    ("family", "gold", "metadata", "verdicts"),
    [
        ("game_of_life_halting", "True", {}, {"True": 1, "true": 1, "False": 0, "no idea": 0, "": 0}),
        ("game_of_life_halting", "False", {}, {"False": 1, "True": 0, "no idea": 0, "": 0}),
        ("game_of_life", "[[0,1],[0,0]]", {}, {"[[0, 1], [0, 0]]": 1, "[[0,0],[0,0]]": 0, "[[0,1],[0,0],[0,0]]": 0}),
        ("coin_flip", "0.9997558594", {}, {"0.99976": 1, "4095/4096": 1, "0": 0, "0.9": 0, "1": 0, "0.999": 0}),
        ("coin_flip", "3.051757812e-05", {}, {"0.0000305": 1, "1/32768": 1, "0": 0, "0.00003": 0, "0.0001": 0}),
        ("decimal_arithmetic", "3.456", {}, {"3.456": 1, "3.4560": 1, "3.46": 0, "3.457": 0, "3.455": 0, "nan": 0}),
        (
            "decimal_arithmetic",
            "7.09360965977",
            {},
            {"7.0936": 1, "7.09360965978": 1, "7.0937": 0, "7.0935": 0, "7": 0},
        ),
        ("decimal_arithmetic", "0.0004", {}, {"4E-4": 1, "0": 0, "0.001": 0, "0.000": 0, "1e999999": 0, "-0.0004": 0}),
        ("time_intervals", "22 days, 00:32:04", {}, {"22 days, 0:32:04": 1, "22 days": 0, "22 days, 00:32": 0}),
        ("time_intervals", "96 days", {}, {"96 days": 1, "96": 1, "1 day": 0, "96:00": 0, "95 days": 0}),
        ("time_intervals", "00:12:22.591", {}, {"0:12:22.591": 1, "0:00": 0, "00:12:22": 0, "12:22": 0}),
        ("rectangle_count", "3", {}, {"3": 1, "2": 0, "4": 0}),
        ("prime_factorization", "2 \u00d7 2 \u00d7 5", {}, {"5\u00d72\u00d72": 1, "20": 0.01, "4 \u00d7 5": 0.01}),
        ("polynomial_equations", "", {}, {"": 1, '""': 1, "0": 0, "1, 2": 0}),
        (
            "polynomial_equations",
            "-1.0, 0.5",
            {},
            {"0.5, -1": 1, "0.5": 0.5, "0.5, -1, 7": 0.5, "nan, 0.5": 0, "nan": 0},
        ),
        ("gsm_symbolic", "18", {}, {"18": 1, "$18.00": 1, "18 apples": 1, "**18**.": 1, "It is 18, I think": 1}),
        ("gsm_symbolic", "18", {}, {"-18": 0.01, "18,000": 0.01, "18 or 19": 0.01, "18.5": 0.01, "eighteen": 0}),
        ("gsm_symbolic", "1234", {}, {"1,234": 1, "$1,234.00": 1, "1": 0.01, "1,234,000": 0.01}),
        ("fraction_simplification", "3/4", POINT, {"3/4": 1, " 3 / 4": 1, "$3/4$": 1, r"$\frac{3}{4}$": 1}),
        ("fraction_simplification", "3/4", POINT, {"6/8": 0.1, "1/2": 0.05, r"\dfrac{3}{4}1": 0, "3/4 or 6/8": 0}),
        ("letter_jumble", "Ab cd", {}, {"ab cd": 1, "ab dc": 0.5, "ab cd ef gh": 0.5, "ab": 0.5, "": 0}),
        (
            "word_sorting",
            "",
            {"sorted_words": ["a", "b"]},
            {"a, b": 1, "a,b": 1, "b, a": 0.2, "a, b, c, d": 0.5, "": 0},
        ),
        ("spell_backward", "cba", {}, {"cba": 1, "CBA": 1, "cbaabc": 0.5, "c": 1 / 3, "abc": 1 / 3, "": 0}),
        ("figlet_font", "TRIFLUOROCHLORO", {}, {"trifluorochloro": 1, "TRIFLUOROC": 0.9, "TRI": 0.3, "": 0}),
        ("puzzle24", "", {"numbers": [1, 2, 3, 4]}, {"4*3*2*1": 1, "6*4*1*1": 0.01, "4*3*2": 0.01, "24": 0.01}),
    ],
)
def test_what_upstream_gets_wrong(family: str, gold: str, metadata: dict[str, Any], verdicts: dict[str, float]) -> None:
    found = {}
    for answer in verdicts:
        try:
            found[answer] = score(family, answer, gold, **metadata)
        except (ValueError, ArithmeticError):
            found[answer] = 0
    assert found == pytest.approx(verdicts, abs=1e-9)


@pytest.mark.parametrize(
    "answer",
    [
        *["9**9**9", "10**10**10", "2**-(9**9**9)", "((2*x)**200)**200", "(2*x)**10**9", "(x+y)**(10**9)", "9" * 9999],
        *[
            "exp(exp(exp(exp(exp(99)))))",
            "1/(10**200)**200",
            "x**x**x**x",
            "+".join("1" * 4000),
            "(" * 5000,
            "-" * 5000 + "1",
        ],
        "((x**200/(123*pi))**(1/2)-0.5**200)**(-99.5)**(-99.5)**(sin((x**200+0.5)**log(log(x)))+(2+x)**(1/2))",
        "log(exp(-exp(exp(9)))*I + exp(exp(exp(9))))",
        *["2.5**9**9", "(2**(1/2))**9**9", "sin(" * 3000 + "x" + ")" * 3000, "(" * 190 + "x" + "**9)" * 190],
    ],
)
def test_a_bomb_costs_nothing(answer: str) -> None:
    # worked out, each of these takes more time or memory than there is
    numbers: dict[str, Any] = {"numbers": [1, 2, 3, 4], "target": 24, "variable": "x", "integrand": "x"}
    for family in ("countdown", "puzzle24", "polynomial_multiplication", "simple_integration"):
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError, OverflowError):
            assert score(family, answer, "x + 1", **numbers) < 0.1
