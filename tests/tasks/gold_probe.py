"""A verifier that checks gold answers; a module of its own, because it loads sympy for all its responses at once."""

from didact.tasks import task

MATH = task("math")
MATH.warm_up()


def checks_gold(response: str, answer: str) -> float:
    """1 if the gold answer of the math task can be verified, 0.5 if it passes as text only, 0 if not at all."""
    if MATH.verifiable(answer) is None:
        return 1.0
    return 0.5 * MATH.verify(MATH.gold_response(answer), answer)
