"""Column arithmetic: the small, generated task of the test bed.

A prompt lists the columns of a sum, most significant first; the answer is found column by column from the right, and
the digits after ``#`` are what counts::

    a 3-5 b 2-7 =          ->  b 15 a 10 # 0 5            (a column's value is 10 * borrow + digit)
    a 4+7 b 9+1 =          ->  b 10 a 12 # 1 2 0          (a column's value includes the carry)

Families: ``add``, ``sub`` (never below zero) and ``mul`` (by 2, 3 or 4). A level is a number of columns; it is the
difficulty of an example. Everything is generated from hashed seeds: example ``index`` of ``(split, seed)`` draws
from its own generator. Whether a prompt belongs to training or to test is a property of its text (one prompt in four is
test), so the two splits share no prompt whatever the seeds.

`worked_solution` writes the solution a careful pupil would write; its ``slip`` argument lets the warm start write
unreliable ones (see `didact.training.warm_start`). This module knows nothing about models or tokenizers beyond the fact
that its text is tokens separated by single spaces (`vocabulary`).
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from typing import Final

from didact.naming import nearest_or_all
from didact.tasks.task import Example, Split, Task, check_split, split_of

SYMBOLS: Final = {"add": "+", "sub": "-", "mul": "*"}
FAMILIES: Final = tuple(SYMBOLS)
LETTERS: Final = "abcdefgh"
MULTIPLIERS: Final = (2, 3, 4)  # few: a product meets as many carries as its multiplier, each to be learnt by itself
LEVELS: Final = tuple(range(1, len(LETTERS) + 1))
MIX: Final = ("add", "sub", "mul", "sub", "sub")  # one part known, four parts to learn: see didact.training.warm_start
MIX_LEVELS: Final = (2, 3, 4, 5)
_MAX_DRAWS: Final = 200  # redraws of one example before the space of prompts counts as used up

Slip = Callable[[str], int]
"""What the writer of a solution does wrong: fact, such as ``"3-5"`` -> shift of the digit (0: nothing wrong)."""


class Arithmetic(Task):
    """Generated sums with an exact verifier; pure Python and quick enough to verify in process."""

    name = "arithmetic"
    isolate = False

    def verify(self, response: str, answer: str) -> float:
        """1.0 if the digits after the last ``#`` of the response are the answer, however they are spaced."""
        gold = "".join(answer.split())
        if not gold.isdigit():
            raise ValueError(f"arithmetic: the answer is {answer!r}; expected digits only, such as '120'")
        _, mark, digits = response.rpartition("#")
        return float(bool(mark) and "".join(digits.split()) == gold)

    def gold_response(self, answer: str) -> str:
        return f"# {answer}"

    def examples(  # type: ignore[override]  # named options instead of **options: a misspelt one is an error
        self,
        split: Split,
        num: int | None = None,
        seed: int = 0,
        *,
        families: Sequence[str] = MIX,
        levels: Sequence[int] = MIX_LEVELS,
    ) -> list[Example]:
        """`num` (default 1024) distinct examples, families in turn; what is named twice is drawn twice as often.

        The defaults are the mix of the test bed. The first k of a longer list are the list of length k.
        """
        _check(split, families, levels)
        found: dict[str, Example] = {}
        for index in range(1024 if num is None else num):
            family = families[index % len(families)]
            rng = random.Random(_hash(f"{family}/{split}/{seed}/{index}"))
            for _ in range(_MAX_DRAWS):
                prompt = draw_prompt(family, rng.choice(levels), rng)
                if split_of(prompt) == split and prompt not in found:
                    break
            else:
                raise ValueError(
                    f"arithmetic: no new {family!r} prompt after {len(found)} of {num} examples at levels "
                    f"{sorted(set(levels))}; ask for fewer examples or add higher levels"
                )
            found[prompt] = _example(prompt, family)
        return list(found.values())


def draw_prompt(family: str, level: int, rng: random.Random) -> str:
    """One prompt of `level` columns with uniform digits (for ``sub``, the larger number comes first)."""
    bound = 10**level
    upper, lower = rng.randrange(bound), rng.randrange(bound)
    if family == "mul":
        lower = int(str(rng.choice(MULTIPLIERS)) * level)  # the multiplier stands in every column
    elif family == "sub" and upper < lower:
        upper, lower = lower, upper
    pairs = zip(LETTERS, f"{upper:0{level}d}", f"{lower:0{level}d}", strict=False)
    return " ".join(f"{letter} {x}{SYMBOLS[family]}{y}" for letter, x, y in pairs) + " ="


def worked_solution(prompt: str, slip: Slip | None = None) -> str:
    """The column-wise solution; a slip shifts the digit a column shows and leaves its carry alone."""
    columns = prompt.split()[:-1]
    carry, steps, digits = 0, [], []
    for letter, fact in zip(reversed(columns[::2]), reversed(columns[1::2]), strict=True):
        value = _column_value(fact, carry)
        if slip is not None:
            value = value // 10 * 10 + (value + slip(fact)) % 10
        carry, digit = divmod(value, 10)
        steps += [letter, str(value)]
        digits.append(str(digit))
    if "-" not in fact:  # a difference never borrows from beyond its last column
        digits.append(str(carry))
    return " ".join([*steps, "#", *reversed(digits)])


def vocabulary() -> list[str]:
    """Every word that prompts and solutions can contain."""
    digits = range(10)
    facts = [f"{x}{sign}{y}" for sign in "+-" for x in digits for y in digits]
    facts += [f"{x}*{y}" for x in digits for y in MULTIPLIERS]
    return ["=", "#", *LETTERS, *facts, *map(str, range(100))]


def _column_value(fact: str, carry: int) -> int:
    x, sign, y = int(fact[0]), fact[1], int(fact[2])
    if sign == "+":
        return x + y + carry
    if sign == "*":
        return x * y + carry
    difference = x - y - carry
    return difference if difference >= 0 else 10 + (difference + 10)  # 10 marks the borrow


def _example(prompt: str, family: str) -> Example:
    level = prompt.count(SYMBOLS[family])
    answer = worked_solution(prompt).rpartition("#")[2].replace(" ", "")
    prompt_id = f"{family}/{level}/{_hash(prompt):016x}"
    return Example(prompt_id=prompt_id, prompt=prompt, answer=answer, source=family, difficulty=float(level))


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def _check(split: str, families: Sequence[str], levels: Sequence[int]) -> None:
    check_split(split)
    for family in families:
        if family not in SYMBOLS:
            raise ValueError(f"arithmetic: there is no family {family!r}{nearest_or_all(family, FAMILIES)}")
    if not families or not levels or not set(levels) <= set(LEVELS):
        raise ValueError(
            f"arithmetic: families {list(families)} and levels {list(levels)} given; expected at least one of each, "
            f"levels from 1 to {LEVELS[-1]}"
        )
