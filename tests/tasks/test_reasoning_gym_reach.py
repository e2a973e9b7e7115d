import os
import subprocess
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest
from reasoning_gym.dataset import ProceduralDataset
from reasoning_gym.factory import DATASETS, get_score_answer_fn

from didact.tasks import task
from didact.tasks.reasoning_gym import ReasoningGym
from didact.tasks.reasoning_gym_reach import reached_code
from didact.tasks.reasoning_gym_scores import MENDED, REFUSED, SCORES
from didact.tasks.verifier import Verifier

EVALUATING = {
    *("binary_matrix", "bitwise_arithmetic", "countdown", "intermediate_integration", "n_queens", "number_sorting"),
    *("polynomial_multiplication", "puzzle24", "simple_integration", "spiral_matrix", "string_insertion"),
}


def test_the_families_that_upstream_evaluates_are_known_and_all_have_a_score_of_ours() -> None:
    families = set(DATASETS) - {"composite"}
    assert {family for family in families if reached_code(get_score_answer_fn(family))} == EVALUATING
    assert set(SCORES) == EVALUATING | set(MENDED)
    assert set(SCORES) | set(REFUSED) <= families
    assert not EVALUATING & set(MENDED)


@dataclass
class Config:
    size: int = 1


def scoring(source: str) -> Any:
    """A family's scoring, as a module of reasoning-gym might have it."""
    module = ModuleType("reasoning_gym.algebra.new")
    module.__dict__.update(ProceduralDataset=ProceduralDataset, Config=Config, __package__="reasoning_gym.algebra")
    exec(source, module.__dict__)
    return module.__dict__["New"]


def method(body: str, before: str = "") -> str:
    return f"""
class Helper:
    pass
{before}
class New(ProceduralDataset):
    def __init__(self, config):
        super().__init__(config, seed=0, size=1)
        self.helper = Helper
    def __getitem__(self, index):
        return {{"question": "What?", "answer": "1", "metadata": {{}}}}
    def score_answer(self, answer, entry):
        {body}
"""


@pytest.mark.parametrize(
    ("body", "before", "reached"),
    [
        ("return float(eval(answer))", "", "eval"),
        ("return [exec(part) for part in answer]", "", "exec"),
        ("return parsed(answer)", "def parsed(text):\n    return eval(text)", "eval"),
        ("return self.parsed(answer)", "", None),  # no such method
        ("return (lambda text: eval(text))(answer)", "", "eval"),
        ("return parsed(answer)", "from sympy import parse_expr as parsed", "sympy"),
        ("return sp.simplify(answer)", "import sympy as sp", "sympy"),
        ("import sympy; return sympy.sympify(answer)", "", "sympy"),
        ("from sympy import S; return S(answer)", "", "sympy"),
        ("import os; return os.system(answer)", "", "os"),
        ("return run(answer)", "from subprocess import run", "subprocess"),
        ("return pickle.loads(answer.encode())", "import pickle", "pickle"),
        ("return np.load(answer)", "import numpy as np", "load"),
        ("return compile(answer, '', 'eval')", "", "compile"),
        ("return re.compile('1').match(answer)", "import re", None),
        ("return getattr(self, answer)()", "", "getattr"),
        ("return Helper().go(answer)", "class Helper:\n    def go(self, text):\n        return eval(text)", "eval"),
        ("return self.helper(answer)", "class Helper:\n    def __init__(self, text):\n        eval(text)", "eval"),
        (
            "return f(answer)",
            "def around(g):\n    return lambda t: g(t)\n@around\ndef f(t):\n    return eval(t)",
            "eval",
        ),
        ("from ..arithmetic.bitwise_arithmetic import verify_solution as v; return v('1', answer)", "", "eval"),
        ("return super().score_answer(answer, entry)", "", None),
        ("return super().parsed(answer)", "class ProceduralDataset(ProceduralDataset):\n    parsed = eval", "eval"),
        ("return OPERATIONS['a'](answer)", "OPERATIONS = {'a': lambda t: eval(t)}", "eval"),
        ("return run(answer)", "import functools\nrun = functools.partial(eval)", "eval"),
        ("return f(answer)", "import functools\n@functools.cache\ndef f(t):\n    return eval(t)", "eval"),
        ("return HELPER.go(answer)", "class Go:\n    def go(self, t):\n        return eval(t)\nHELPER = Go()", "eval"),
        ("return float(json.loads(answer) == 1)", "import json", None),
    ],
)
def test_code_is_found_wherever_it_hides(body: str, before: str, reached: str | None) -> None:
    family = scoring(method(body, before))
    assert reached_code(family(Config()).score_answer) == reached


def test_a_builtin_that_another_library_replaced_is_no_reason_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray puts its own print in place."""

    def printed(*_: object) -> None:
        pass

    printed.__module__ = "ray.experimental.tqdm_ray"
    monkeypatch.setattr("builtins.print", printed)
    family = scoring(method("print(answer); return 0.0"))
    assert reached_code(family(Config()).score_answer) is None


def test_a_family_that_evaluates_is_refused_unless_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "new", (scoring(method("return float(eval(answer))")), Config))
    with pytest.raises(ValueError, match=r"reaches 'eval'.*accept that by name: 'reasoning_gym:new:allow_code'"):
        task("reasoning_gym:new")
    allowed = task("reasoning_gym:new:allow_code")
    assert allowed.name == "reasoning_gym:new:allow_code"
    assert allowed.verify("1", "1") == 1.0
    with pytest.raises(ValueError, match="'allow_code' and nothing else"):
        task("reasoning_gym:new:allow-code")


def test_the_permission_travels_to_the_worker_and_scores_of_ours_stay() -> None:
    with Verifier("reasoning_gym:string_insertion:allow_code") as verifier:
        scores = verifier.score(["<answer>AB</answer>", "<answer>['A', 'B']</answer>"], ["AB", "AB"])
    assert [score.value for score in scores] == [1.0, 0.1]


TRIPWIRE = """
import contextlib, io, json, sys
from reasoning_gym.factory import DATASETS
from didact.tasks.reasoning_gym import ReasoningGym
from didact.tasks.reasoning_gym_scores import REFUSED
import mpmath, sympy

executed = []
HOSTILE = ["__import__('os').getpid()", "[__import__('os').getpid()]", "f'{1+1}'", "(lambda: 1)()", "sin(1)", "1+1",
           "[1]", "S('1')", "2*x", "{1: 2}", "1 if 1 else 2", "[x for x in 'ab']", "R1", "A", "1/3", "x = 1",
           "['a']", '{"a": 1}']

def watch(event, arguments):
    if event == "exec" and arguments[0].co_filename.startswith("<") and "frozen" not in arguments[0].co_filename:
        executed.append(arguments[0].co_names)
    elif event in ("os.system", "subprocess.Popen", "marshal.loads", "pickle.find_class"):
        executed.append(event)

tasks = []
for family in sorted(set(DATASETS) - {"composite"} - set(REFUSED)):
    with contextlib.redirect_stdout(io.StringIO()):
        task = ReasoningGym(family)
        tasks.append((family, task, [example.answer for example in task.examples("train", 2)]))
sys.addaudithook(watch)
for family, task, answers in tasks:
    for answer in answers:
        gold = json.loads(answer)["answer"] or "1"
        for text in [gold, gold + "1", gold[1:], str(list(gold)), *HOSTILE]:
            task.verify(f"<answer>{text}</answer>", answer)
    if executed:
        print(family, executed[:3])
        executed.clear()
eval("1")
print("alive" if executed else "blind", len(tasks))
"""


@pytest.mark.slow
def test_no_score_of_any_family_executes_text() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TRIPWIRE],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1:] == [f"alive {len(DATASETS) - 1 - len(REFUSED)}"], done.stdout
    assert len([line for line in done.stdout.splitlines() if "(" in line or "[" in line]) == 0, done.stdout


def test_the_name_stands_for_the_same_family() -> None:
    assert ReasoningGym("gcd", allow_code=True).name == "reasoning_gym:gcd:allow_code"
