"""Column arithmetic: the gold solution passes, splits are disjoint, and the same seeds give the same prompts."""

import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from didact.tasks import task
from didact.tasks.arithmetic import FAMILIES, LEVELS, Arithmetic, draw_prompt, vocabulary, worked_solution
from didact.tasks.task import split_of

TASK = Arithmetic()


def test_it_is_the_registered_task() -> None:
    assert isinstance(task("arithmetic"), Arithmetic)
    assert TASK.isolate is False


@pytest.mark.parametrize(
    ("prompt", "solution"),
    [
        ("a 3+6 b 4+7 =", "b 11 a 10 # 1 0 1"),
        ("a 3-2 b 2-7 =", "b 15 a 0 # 0 5"),
        ("a 1-0 b 0-9 c 0-1 =", "c 19 b 10 a 0 # 0 0 9"),
        ("a 9*4 b 9*4 =", "b 36 a 39 # 3 9 6"),
        ("a 9-7 =", "a 2 # 2"),
    ],
)
def test_worked_solution(prompt: str, solution: str) -> None:
    assert worked_solution(prompt) == solution


def test_a_slip_shifts_the_digit_and_keeps_the_carry() -> None:
    assert worked_solution("a 3+6 b 4+7 =", lambda fact: 3 if fact == "4+7" else 0) == "b 14 a 10 # 1 0 4"


@given(family=st.sampled_from(FAMILIES), level=st.sampled_from(LEVELS), seed=st.integers())
def test_solutions_agree_with_whole_numbers(family: str, level: int, seed: int) -> None:
    prompt = draw_prompt(family, level, random.Random(seed))
    facts = prompt.split()[1:-1:2]
    upper, lower = (int("".join(fact[i] for fact in facts)) for i in (0, 2))
    expected = {"add": upper + lower, "sub": upper - lower, "mul": upper * int(facts[0][2])}[family]
    answer = worked_solution(prompt).rpartition("#")[2].replace(" ", "")
    assert int(answer) == expected
    assert len(answer) == level + (family != "sub")
    assert set(prompt.split()) | set(worked_solution(prompt).split()) <= set(vocabulary())


def test_gold_passes_and_wrong_digits_do_not() -> None:
    for example in TASK.examples("train", 3000, levels=LEVELS) + TASK.examples("test", 1000):
        assert TASK.verify(worked_solution(example.prompt), example.answer) == 1.0
        assert TASK.verifiable(example.answer) is None
        wrong = example.answer[:-1] + str((int(example.answer[-1]) + 1) % 10)
        assert TASK.verify(f"# {wrong}", example.answer) == 0.0


@pytest.mark.parametrize(
    ("response", "score"),
    [
        ("b 11 a 10 # 1 0 1", 1.0),
        ("#101", 1.0),
        ("# 9 9 9 # 1 01 ", 1.0),
        ("1 0 1", 0.0),
        ("", 0.0),
        ("# 1 0", 0.0),
        ("# 1 0 1 0", 0.0),
        ("# 0 1 0 1", 0.0),
        ("# 1 0 1 a", 0.0),
    ],
)
def test_verify_reads_the_digits_after_the_last_mark(response: str, score: float) -> None:
    assert TASK.verify(response, "101") == score


def test_a_gold_answer_without_digits_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected digits"):
        TASK.verify("# 1", "one")


def test_splits_are_disjoint_whatever_the_seeds() -> None:
    train = {example.prompt for seed in range(3) for example in TASK.examples("train", 4000, seed)}
    test = {example.prompt for seed in range(3) for example in TASK.examples("test", 2000, seed)}
    assert not train & test
    assert all(split_of(prompt) == "train" for prompt in train)


def test_examples_are_distinct_and_a_prefix_of_longer_lists() -> None:
    examples = TASK.examples("train", 2000, seed=3, levels=(1, 2, 3))
    assert len({example.prompt_id for example in examples}) == len({example.prompt for example in examples}) == 2000
    assert TASK.examples("train", 100, seed=3, levels=(1, 2, 3)) == examples[:100]
    assert TASK.examples("train", 100, seed=4, levels=(1, 2, 3)) != examples[:100]
    assert {example.difficulty for example in examples} == {1.0, 2.0, 3.0}
    assert {example.source for example in examples} == set(FAMILIES)


def test_another_process_draws_the_same_examples() -> None:
    code = "import sys; from didact.tasks import *; sys.stdout.write(repr(task('arithmetic').examples('test', 50, 7)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == repr(TASK.examples("test", 50, 7))


def test_bad_options_are_named() -> None:
    with pytest.raises(ValueError, match="did you mean 'add'"):
        TASK.examples("train", families=["ad"])
    with pytest.raises(ValueError, match="levels from 1 to"):
        TASK.examples("train", levels=[0])
    with pytest.raises(ValueError, match="'train'"):
        TASK.examples("validation")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="add higher levels"):
        TASK.examples("train", 500, levels=[1])
