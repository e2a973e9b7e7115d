"""The verifier of the example as a reward function of verl: didact's mathematics, in a process that may be killed.

verl's reward workers load this file by its path. A comparison that crashes or takes too long raises: verl then counts
the rollout as failed, and the curriculum as an error, not as a wrong answer.
"""

from functools import cache
from typing import Any

from didact.tasks.verifier import Verifier


@cache
def _verifier() -> Verifier:
    return Verifier("math", timeout=10.0)


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: Any = None, **_: Any
) -> dict[str, float]:
    """1 for a right answer, else 0; `acc` is what verl's validation reports."""
    score = _verifier().score([solution_str], [ground_truth])[0]
    if score.value is None:
        raise RuntimeError(f"no verdict on a response to {extra_info}: {score.detail}")
    return {"score": score.value, "acc": score.value}
