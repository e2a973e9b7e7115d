import json

import pytest

from didact.tasks.reasoning_gym import ReasoningGym

FAMILIES = {
    "chain_sum": 11,
    "gcd": 4,
    "spell_backward": 4,
    "basic_arithmetic": 5,
    "base_conversion": 5,
    "word_sorting": 5,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_gold_answers_pass_and_the_splits_are_disjoint(family: str) -> None:
    task = ReasoningGym(family)
    levels = range(1, FAMILIES[family])
    train = task.examples("train", 60, levels=levels)
    test = task.examples("test", 60, levels=levels)
    neighbour = task.examples("train", 60, seed=1, levels=levels)
    assert {example.difficulty for example in train} == {float(level) for level in levels}
    for example in train:
        assert (
            task.verify(f"Let me see. <answer>{json.loads(example.answer)['answer']}</answer>", example.answer) == 1.0
        )
        assert task.verifiable(example.answer) is None
        assert task.verify("<answer>no idea</answer>", example.answer) < 1.0
    assert not {example.prompt for example in train} & {example.prompt for example in test}
    assert len({example.prompt for example in train}) == 60
    assert len({example.prompt for example in train} & {example.prompt for example in neighbour}) < 30
    assert len({example.prompt_id for example in train + test}) == 120


def test_the_same_seed_gives_the_same_examples_and_a_shorter_list_begins_a_longer_one() -> None:
    assert ReasoningGym("gcd").examples("test", 20, seed=3)[:8] == ReasoningGym("gcd").examples("test", 8, seed=3)


def test_an_entry_keeps_tuples_that_scoring_needs() -> None:
    task = ReasoningGym("rearc")
    (example,) = task.examples("train", 1)
    assert example.difficulty is None
    assert task.verifiable(example.answer) is None


def test_a_family_that_makes_all_items_at_once_is_drawn_too() -> None:
    assert len({example.prompt for example in ReasoningGym("list_functions").examples("train", 12)}) == 12


def test_partial_credit_needs_a_marked_answer() -> None:
    task = ReasoningGym("chain_sum")
    assert task.verify("so <answer>12 or 14</answer>", "12") == pytest.approx(2 / 8)
    assert task.verify("12 or 14, or else 16, and so", "12") == 0.0


def test_a_family_without_gold_answers_says_so() -> None:
    task = ReasoningGym("graph_color")
    assert "gives no gold answer" in str(task.verifiable(task.examples("train", 1)[0].answer))


def test_a_plain_answer_will_do_unless_the_family_needs_more() -> None:
    assert ReasoningGym("chain_sum").verify("12", "12") == 1.0
    with pytest.raises(ValueError, match="needs the whole entry"):
        ReasoningGym("word_ladder").verify("12", "12")


@pytest.mark.parametrize(
    ("family", "levels", "message"),
    [
        ("gcd", [99], "levels from 0 to 3"),
        ("gcd", [], "levels from 0 to 3"),
        ("acre", [0], "no curriculum"),
        ("caesar_cipher", [3], "rotation must be in range"),
        ("coin_flip", None, "no new prompt after"),
    ],
)
def test_levels_that_do_not_work_are_refused(family: str, levels: list[int] | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ReasoningGym(family).examples("train", 3000 if levels is None else 5, levels=levels)


def test_fields_of_the_configuration_can_be_fixed_at_any_level() -> None:
    task = ReasoningGym("chain_sum")
    digits = {"min_digits": 1, "max_digits": 1}
    for examples in (
        task.examples("train", 20, levels=[3], config=digits),
        task.examples("train", 20, config={**digits, "min_terms": 5, "max_terms": 5}),
    ):
        terms = [example.prompt.rpartition(": ")[2].split()[:-1:2] for example in examples]
        assert {len(each) for each in terms} == {5}
        assert {len(term) for each in terms for term in each} == {1}
    assert task.draw(7, 3, digits) == task.draw(7, 3, digits) != task.draw(7, 3)
    with pytest.raises(TypeError, match="no configuration field 'max_digit'; did you mean 'max_digits'"):
        task.examples("train", 1, config={"max_digit": 1})
