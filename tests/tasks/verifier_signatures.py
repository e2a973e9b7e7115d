"""Functions as users bring them; workers import them by name."""

import operator
from collections.abc import Callable
from functools import partial, wraps
from typing import Any


def verl(data_source: str, solution_str: str, ground_truth: str, extra_info: Any = None) -> dict[str, float]:
    return {"score": 1.0}


def only_response(response: str) -> float:
    return 1.0


async def later(response: str, answer: str) -> float:
    return 1.0


def gold_first(gold: str, pred: str) -> float:
    return float(gold == pred)


def prompt_first(prompt: str, completion: str) -> float:
    return 1.0


class Judge:
    def __call__(self, response: str, answer: str) -> float:
        return float(response == answer)


judge = Judge()


def with_defaults(response: str, answer: str, strict: bool = True, *, ignore_case: bool = False) -> bool:
    return response == answer


def with_anything(*texts: str, **settings: Any) -> int:
    return int(texts[0] == texts[1])


def of_the_response(function: Callable[[str, str, str], float]) -> Callable[[str, str], float]:
    @wraps(function)
    def called(response: str, answer: str) -> float:
        return function("math", response, answer)

    return called


@of_the_response
def decorated(source: str, response: str, answer: str) -> float:
    return float(source == "math" and response == answer)


part = partial(with_defaults, strict=False)
builtin = operator.eq


def shy(response: str, answer: str) -> float | None:
    return float(response == answer) if response else None


def minus_one(response: str, answer: str) -> float:
    return 1.0 if answer in response else -1.0


def to_ten(response: str, answer: str) -> int:
    return 10 if answer in response else 0


def scored(response: str, answer: str) -> dict[str, float]:
    return {"score": 1.0}


def silent(response: str, answer: str) -> None:
    pass


def for_batches(completions: list[str], answer: list[str], **columns: Any) -> list[float]:
    return [1.0 for completion in completions if completion == answer]


def broken(response: str, answer: str) -> float:
    raise KeyError("no such key")
