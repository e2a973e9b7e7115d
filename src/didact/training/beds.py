"""The tasks of the test bed: what the warm start of the small model has to know of each.

A bed gives the words of a task, prompts to learn from, and solutions worked out step by step, where every step rests on
a *fact*. Facts are shared between prompts, and the teacher may slip at them (`didact.training.warm_start`).

* ``arithmetic``: sums in columns, worked from the right; a fact is two digits and a sign, such as ``"3-5"``.
* ``reasoning_gym:chain_sum``: the library's own questions and verifier, with terms of one digit. Each step copies a
  term and writes the running value behind it::

      State the final answer to the following arithmetic problem: 4 - 1 - 7 =
      - 1 3 - 7 -4 <answer> -4 </answer>

  A fact is the last digit of the running value (modulo 10), the sign and the term, such as ``"3-7"``; a slip changes
  the last digit of the new value. The tokenizer leaves out the fixed sentences of the prompt. The verifier gives part
  of the credit to an answer that contains the right one (-10 for -1), which slips hardly ever do.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Final

from didact.naming import nearest_or_all
from didact.tasks import arithmetic
from didact.tasks.arithmetic import SYMBOLS, Slip
from didact.tasks.reasoning_gym import ReasoningGym


class Bed(ABC):
    """A task that the small model can be warm-started on.

    Attributes:
        families: kinds of facts; the teacher has a share of weak facts for each.
        levels: the levels of the task, easiest first.
        max_response: tokens of the longest solution in the default pool, with the end of the sequence.
        task_options: the prompts that the warm start prepares for, as options of `Task.examples`.
        warm_start: settings of `WarmStartConfig` tuned for this task.
        skipped: fixed text of the prompts, which the tokenizer leaves out.
    """

    families: ClassVar[Sequence[str]]
    levels: ClassVar[Sequence[int]]
    max_response: ClassVar[int]
    task_options: ClassVar[Mapping[str, Any]] = {}
    warm_start: ClassVar[Mapping[str, Any]] = {}
    skipped: ClassVar[Sequence[str]] = ()

    @abstractmethod
    def vocabulary(self) -> list[str]:
        """Every word that prompts and solutions can contain."""

    @abstractmethod
    def draw_prompt(self, levels: Sequence[int], weights: Sequence[float], rng: random.Random) -> str:
        """A prompt of one of the levels, of either split."""

    @abstractmethod
    def solution(self, prompt: str, slip: Slip) -> str:
        """The worked solution, words between single spaces; `slip` says how far to be off at each fact."""

    def family(self, fact: str) -> str:
        """The kind of a fact; here, by its sign."""
        return next(name for name, sign in SYMBOLS.items() if sign in fact)


class Columns(Bed):
    """``arithmetic``; its warm start is the default of `WarmStartConfig`."""

    families = arithmetic.FAMILIES
    levels = arithmetic.LEVELS
    max_response = 19

    def vocabulary(self) -> list[str]:
        return arithmetic.vocabulary()

    def draw_prompt(self, levels: Sequence[int], weights: Sequence[float], rng: random.Random) -> str:
        return arithmetic.draw_prompt(rng.choice(self.families), rng.choices(levels, weights)[0], rng)

    def solution(self, prompt: str, slip: Slip) -> str:
        return arithmetic.worked_solution(prompt, slip)


class ChainSum(Bed):
    """``reasoning_gym:chain_sum`` with terms of one digit; a level is the library's: two terms at level 0."""

    families = ("add", "sub")
    levels = tuple(range(7))
    max_response = 19  # three words for each of five steps, three for the answer, and the end
    task_options: ClassVar[Mapping[str, Any]] = {"levels": [1, 2, 3, 4], "config": {"min_digits": 1, "max_digits": 1}}
    warm_start: ClassVar[Mapping[str, Any]] = {
        "weak_share": {"add": 0.36, "sub": 0.36},
        "reliability": (0.02, 0.15),
        "max_level": 4,
        "level_decay": 1.0,
        "num_steps": 1100,
    }
    skipped = (
        "State the final answer to the following arithmetic problem:",
        ReasoningGym.instruction.strip(),
    )

    def vocabulary(self) -> list[str]:
        bound = 9 * (self.levels[-1] + 2)
        return ["+", "-", "=", "<answer>", "</answer>", *map(str, range(-bound, bound + 1))]

    def draw_prompt(self, levels: Sequence[int], weights: Sequence[float], rng: random.Random) -> str:
        (level,) = rng.choices(levels, weights)
        prompt: str = self._task.draw(rng.getrandbits(31), level, self.task_options["config"])["question"]
        return prompt

    def solution(self, prompt: str, slip: Slip) -> str:
        first, *rest = prompt.rpartition(":")[2].split()[:-1]
        value, steps = int(first), []
        for sign, term in zip(rest[::2], rest[1::2], strict=True):
            shift = slip(f"{value % 10}{sign}{term}")
            value += int(sign + term)
            value += (value + shift) % 10 - value % 10
            steps += [sign, term, str(value)]
        return " ".join([*steps, "<answer>", str(value), "</answer>"])

    @cached_property
    def _task(self) -> ReasoningGym:
        return ReasoningGym("chain_sum")


BEDS: Final[Mapping[str, Bed]] = {"arithmetic": Columns(), "reasoning_gym:chain_sum": ChainSum()}


def bed(task: str) -> Bed:
    """The bed of a task.

    Raises:
        ValueError: the small model cannot be warm-started on that task.
    """
    if task not in BEDS:
        raise ValueError(f"there is no warm start for task {task!r}{nearest_or_all(task, BEDS)}")
    return BEDS[task]
