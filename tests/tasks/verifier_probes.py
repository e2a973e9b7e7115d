"""Verifiers that misbehave when the response asks for it; workers import them by name."""

import os
import sys
import time

from didact.tasks import task


def misbehaving(response: str, answer: str) -> object:
    match response:
        case "loop":
            while True:
                pass
        case "wait":
            time.sleep(3600)
        case "hold the interpreter":
            return float(9 ** (9**9) % 10)
        case "crash":
            os._exit(7)
        case "exit":
            sys.exit(3)
        case "raise":
            raise RuntimeError("lost")
        case "print":
            print("[1.0, '']", flush=True)
    nonsense = {"nan": float("nan"), "inf": float("inf"), "two": 2.0, "minus": -0.5, "text": "1.0", "none": None}
    return nonsense.get(response, float(response == answer))


def checks_gold(response: str, answer: str) -> float:
    """1 if the gold answer of the math task can be verified, 0.5 if it passes as text only, 0 if not at all."""
    math = task("math")
    if math.verifiable(answer) is None:
        return 1.0
    return 0.5 * math.verify(math.gold_response(answer), answer)
