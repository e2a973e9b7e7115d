"""Hostile answers against the verifiers of all tasks and all families of reasoning-gym.

    python dev/attack/answers.py --num 25000 --seed 0

An attack holds if the verifier neither runs anything (a canary file, a canary variable, and Python's own report of all
text that is executed) nor raises, gives a number from 0 to 1, and less than 1 to what is no answer, within SECONDS. The
`math` task runs as it does in training, in a worker with a time limit, and may say that it cannot tell.
"""

import argparse
import contextlib
import faulthandler
import io
import json
import os
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

from didact.tasks import task
from didact.tasks.reasoning_gym import ReasoningGym
from didact.tasks.reasoning_gym_scores import REFUSED
from didact.tasks.verifier import Verifier

SECONDS = 5.0
CANARY = Path(tempfile.mkdtemp()) / "canary"
EXECUTED: list[str] = []
CODE = [
    f"__import__('os').system('touch {CANARY}')",
    f"open({str(CANARY)!r}, 'w').close()",
    f"__import__('pathlib').Path({str(CANARY)!r}).touch()",
    "__import__('os').environ.__setitem__('DIDACT_CANARY', '1')",
    f"().__class__.__base__.__subclasses__()[0].__init__.__globals__['open']({str(CANARY)!r}, 'w')",
    f"(lambda: __import__('subprocess').run(['touch', {str(CANARY)!r}]))()",
    f"sympify(\"__import__('os').system('touch {CANARY}')\")",
    f"S('open({str(CANARY)!r}, \"w\")')",
    """N('__import__("os").environ.update(DIDACT_CANARY="1")')""",
    f"exec('open({str(CANARY)!r}, \"w\")')",
]
# fmt: off
AROUND = [
    "{}", "[{}]", "[[{}]]", "f'{{{}}}'", "1+{}", "{} or 24", "[x for x in [{}]]", '{{"a": "{}"}}', "sin({})", "-{}",
    "[print({})]", "x if {} else x", "(y := {})", "${}$", "\\boxed{{{}}}", "!{}", "{} # 1 2 3 4", "`{}`", "4*6\n{}",
]
BOMBS = [
    "9**9**9", "10**10**10", "2**-9**9**9", "((2*x)**200)**200", "(x+1)**9**9", "factorial(10**9)", "1<<10**10",
    "5!!!!", "1e999999999", "1e-999999999", "-1e9999999", "1/3e999999", "0x" + "f" * 9000,
    "exp(exp(exp(exp(exp(9)))))", "0x18", "R999999999", "R9" * 3000, "A+999999999", "1" * 4301, "9" * 9999, "1/0",
    "0/0", "x**x**x**x**x", "[" * 9999, "(" * 9999, "[" * 4000 + "]" * 4000, '{"a":' * 2000 + "1" + "}" * 2000,
    "-" * 9999 + "1", "not " * 2000 + "1", "~" * 9000 + "1", "+".join("1" * 4000), "sin(" * 900 + "x" + ")" * 900,
    "((((" * 200 + "1" + "))))" * 200, "A \u2227 " * 2000, "(A \u2228 " * 2000, "\u00ac" * 5000 + "A",
    json.dumps({"k": list(range(1500))}), "NaN", "[NaN]", "nan", "[NaN, NaN, NaN, NaN]", "inf", "-inf", "nanj",
    "nan+nanj", "Infinity", "null", "[null]", "{}", "[]", "{[]: 1}", "[[], 1]", "0" * 9999 + "1", "1_0", "1:" * 3000,
    "," * 9999, "\\boxed{" * 1400, "####" * 2400, "1," * 4000, "1,234" * 2000, "-.5/" * 2500, "1/" + "0" * 9000,
    json.dumps(["a" * 4000]), "a" * 200_000, "1" * 200_000, "\\boxed{" * 100_000, "<answer>" * 30_000, "9 " * 50_000,
    "{" * 200_000, "\n" * 100_000, "\\text{" * 30_000,
]
TEXT = [
    "", " ", "\0", "\ud800", "\udfff1", "\u0661\u0662", "\u0663/\u0664", "\u00b2", "\u00bd", "\u202e42",
    "x" * 10_000, "\n\n\n", "None", "no idea", "\\", "{0.__class__}", "%s%n", "<answer>", "</answer>", "'; DROP",
    "\x1b[2J", "\ufeff1", "\U0001d7d9\U0001d7da", "x\u0301" * 2000, "lambda: 1", "...", "\u0e49" * 3000, "#",
    "\\N{BULLET}", "\\x",
]
# fmt: on
SHAPES = [
    "(A)**(B)",
    "A**200",
    "A*B",
    "(A+B)",
    "A/(B)",
    "(A-B)",
    "sin(A)",
    "exp(A)",
    "log(A)",
    "-A",
    "sqrt(A)",
    "tan(A)",
]
SHAPES += ["asin(A)", "(A)**(1/2)", "(A)**(-99.5)", "cosh(A)", "(A)**(B)"]
PIECES = ["", "9", "nan", "\0", "\ud800", "\u0663", "(", "]", "**9**9", "\n", " # ", "'", ",", "1e9", "0x"]


def hostile(rng: random.Random) -> str:
    kind = rng.randrange(4)
    if kind == 0:
        return rng.choice(AROUND).format(rng.choice(CODE))
    return expression(rng, rng.randint(1, 14)) if kind == 1 else rng.choice(BOMBS if kind == 2 else TEXT)


def expression(rng: random.Random, depth: int) -> str:
    """Arithmetic that is well formed and better not worked out."""
    if depth == 0:
        return rng.choice(["9", "2", "x", "10", "0.5", "99999999", "0", "E", "pi", "y", "I", "(1/3)", "(-7)", "200"])
    one, other = expression(rng, depth - 1), expression(rng, rng.randrange(depth))
    return rng.choice(SHAPES).replace("A", one).replace("B", other)


def mutated(gold: str, rng: random.Random) -> str:
    text = gold
    for _ in range(rng.randint(1, 3)):
        start = rng.randrange(len(text) + 1)
        end = min(len(text), start + rng.randint(0, 6))
        piece = rng.choice([*PIECES, text[start:end] * 200, hostile(rng)])
        text = text[:start] + piece + text[end:]
    around = rng.choice(["{}", "{}", "[{}]", "'{}'", "{0}{0}", "({})", "str({})", "{}\n" * 20])
    return around.replace("{0}", "{}").replace("{}", text) if rng.random() < 0.5 else text


def watch(event: str, arguments: tuple[object, ...]) -> None:
    if event == "exec" and getattr(arguments[0], "co_filename", "").startswith("<"):
        EXECUTED.append(str(arguments[0]))
    if event in ("os.system", "subprocess.Popen"):
        EXECUTED.append(event)


def targets(seed: int) -> list[tuple[str, object, list[str]]]:
    """Every task and family: its name, its verify, and some gold answers; all have been scored once."""
    from reasoning_gym.factory import DATASETS

    math, worker = task("math"), Verifier("math", timeout=SECONDS)
    golds = ["\\frac{14}{3}", "x^2+1", "(1, 2)", "\\sqrt{2}", "9^{9^{9}}", "\\text{Evelyn}", "0.5", "[1, 2)"]
    found = [("math", lambda response, answer: worker.score([response], [answer])[0], golds)]
    found.append(("gsm8k", task("gsm8k").verify, ["6*3=18\n#### 18", "1,234", "-5", "0.25"]))
    plain = task("arithmetic")
    found.append(("arithmetic", plain.verify, [example.answer for example in plain.examples("train", 4, seed)]))
    with contextlib.redirect_stdout(io.StringIO()):
        for family in sorted(set(DATASETS) - {"composite", *REFUSED}):
            gym = ReasoningGym(family)
            found.append((gym.name, gym.verify, [example.answer for example in gym.examples("train", 3, seed)]))
    for _, verify, golds in found:
        for gold in golds:
            verify("<answer>1</answer>", gold)
    assert math.verify("\\boxed{1}", "1") == 1.0
    return found


def judged(verify: object, response: str, answer: str, nonsense: bool) -> str:
    """What went wrong, or nothing."""
    EXECUTED.clear()
    begin = time.monotonic()
    try:
        value = verify(response, answer)
    except BaseException as error:
        return f"raised {type(error).__name__}: {error}"
    seconds = time.monotonic() - begin
    if not isinstance(value, float):  # the math task's worker, which may be started anew meanwhile
        EXECUTED.clear()
    if CANARY.exists() or "DIDACT_CANARY" in os.environ or EXECUTED:
        CANARY.unlink(missing_ok=True)
        os.environ.pop("DIDACT_CANARY", None)
        return f"ran something {EXECUTED[:1]}"
    if not isinstance(value, float):
        if value.errored:
            return ""
        value = value.value
    if not 0 <= value <= 1:
        return f"gave {value!r}"
    if nonsense and value == 1 and not any(character.isdigit() for character in response):  # a number may be right
        return "passed what is no answer"
    return f"took {seconds:.1f} s" if seconds > SECONDS else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num", type=int, default=2500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="index of the first attack, to repeat one")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
    faulthandler.dump_traceback_later(600, exit=True)
    chosen, failures = targets(options.seed), 0
    sys.addaudithook(watch)
    slowest = (0.0, "")
    for index in range(options.first, options.first + options.num):
        rng = random.Random(f"{options.seed}/{index}")
        name, verify, golds = chosen[index % len(chosen)]
        answer = rng.choice(golds)
        gold = answer if not name.startswith("reasoning_gym") else json.loads(answer)["answer"] or "1"
        nonsense = rng.random() < 0.6
        text = hostile(rng) if nonsense else mutated(gold, rng)
        response = rng.choice(["<answer>{}</answer>", "So: <answer> {} </answer>", "{}"]).replace("{}", text)
        faulthandler.dump_traceback_later(120, exit=True)
        begin = time.monotonic()
        wrong = judged(verify, response, answer, nonsense)
        slowest = max(slowest, (time.monotonic() - begin, f"{name} {response[:40]!r}"))
        if wrong:
            failures += 1
            again = f"--seed {options.seed} --first {index} --num 1"
            print(f"{name}: {wrong[:200]}; {again}: {response[:80]!r}", flush=True)
        if (index + 1) % 5000 == 0:
            print(f"{index + 1} attacks, {failures} failed, slowest {slowest[0]:.2f} s ({slowest[1]})", flush=True)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"slowest {slowest[0]:.2f} s ({slowest[1]}), {memory} MiB at most")
    print(f"answers: {options.num} attacks, {options.num - failures} held")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
