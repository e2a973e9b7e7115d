"""What it costs to judge every response in a process of its own.

    python benchmarks/verifier.py

Milliseconds a response, one worker: a function of one line, and `math` on 200 different answers, in the calling process
and in a fork for each response. The first round, in which every gold answer is new, and the best of two more.
"""

import logging
import sys
import tempfile
import time
from pathlib import Path

from didact.tasks.verifier import Verifier

ANSWERS = [rf"\frac{{{above}}}{{{below}}}" for above in range(1, 26) for below in (26, 27, 28, 29, 31, 32, 33, 34)]
RESPONSES = [rf"so the answer is \boxed{{{answer}}}" for answer in ANSWERS]


def milliseconds(verifier: Verifier) -> str:
    rounds = []
    for _ in range(3):
        began = time.perf_counter()
        scores = verifier.score(RESPONSES, ANSWERS)
        rounds.append((time.perf_counter() - began) / len(scores) * 1e3)
        assert not any(score.errored for score in scores)
    return f"{rounds[0]:.1f} ms at first, {min(rounds[1:]):.1f} ms after"


def main() -> None:
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its own time limit is off
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "one_line.py").write_text("def verify(response, answer): return float(answer in response)\n")
        sys.path.insert(0, folder)
        with Verifier("one_line:verify") as verifier:
            print(f"a function of one line, a fork for each response: {milliseconds(verifier)}")
    for isolate in (False, True):
        with Verifier("math", isolate=isolate) as verifier:
            where = "a fork for each response" if isolate else "in the calling process"
            print(f"math, {where}: {milliseconds(verifier)}")


if __name__ == "__main__":
    main()
