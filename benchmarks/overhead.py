"""What a step costs: CurES next to two other ways of doing it, and every method next to a pass over the pool.

    python benchmarks/overhead.py --json benchmarks/results/overhead.json
    python benchmarks/overhead.py --methods all --json benchmarks/results/overhead.json --page benchmarks/overhead.md

The first compares CurES on pools of a million and ten million prompts. In one process, one after the other, 1,024
groups of 8 a step, median over steps of the seconds of processor time (one thread; other work on the machine does not
count):

a  Didact: `plan` + `observe` of the public objects, drawing from the WHOLE pool. Building the GroupOutcome objects is
   timed apart, and so is `admitted`. The belief is warmed up with one pilot of four rollouts for every prompt, observed
   in a few large calls, and `reset=False` lets the first iteration begin without a pilot of its own; that first plan
   (one pass over the pool) is timed apart too.
b  the bare arithmetic in numpy: posterior mean, sqrt(p(1-p)) / tau, Gumbel noise, argpartition: one pass over the pool.
c  the sampler of the published code, in our own words: a Python loop makes a torch Beta distribution for every prompt
   and takes its mean; then an exponential, and numpy's weighted choice without replacement. c_lean is that loop without
   torch. On pools above `--whole` prompts the torch loop runs over 100,000 of them and is scaled linearly
   (`c_loop_scaled`); the choice runs over all. The published code redraws from the same probabilities for ten steps,
   and so never uses what it observes in between; `c_over_ten_steps` spreads the loop over ten.

Memory is what tracemalloc sees from before the pool is built until after a step, by prompt. The id strings are left out
(they exist already); numpy arrays are traced.

The second times every method of METHODS as it comes, on pools whose pass rates are spread evenly over [0, 1]: for each
step the sum of `plan` and `observe` over all its rounds, the first step apart (it may look at the whole pool), then the
median and the slowest of `--steps` steps. Columns that a method needs are made up (see `COLUMNS`); the default is kept
from leaving selection, which it would on such a pool. A method that has
used up `--limit` seconds of processor time before its third step is noted as too slow. Rows already in the file are
kept, unless measured again; `--page` writes the table from them.
"""

import argparse
import gc
import json
import math
import platform
import signal
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from didact import METHODS, Curriculum, GroupOutcome, Plan, PromptPool, make

GROUPS, SIZE, TEMPERATURE, PILOT = 1024, 8, 0.1, 4
NUM_FEATURES = 8
#: What a method needs to know of a prompt, and which options hold pass rates of reference models.
COLUMNS = {
    **{"adarft": "difficulty", "e2h": "difficulty", "fastcurl": "prompt_tokens", "sec": "source", "dump": "source"},
    **{"vip": "features", "pcl": "features", "didact": "features"},
}
REFERENCES = {"bots": ("weak", "strong")}
#: On these pools the default would see nothing to gain and be uniform: it is made to choose. A schedule needs an end.
OPTIONS: dict[str, dict[str, Any]] = {"didact": {"leave_below": 0.0}, "e2h": {"total_steps": 100}}


def warmed_up(ids: list[str], passes: np.ndarray) -> Curriculum:
    """CurES over the whole pool after a pilot of every prompt."""
    curriculum = make(
        "cures",
        PromptPool(ids),
        prompts_per_step=GROUPS,
        rollouts_per_step=GROUPS * SIZE,
        subset_size=len(ids),
        reset=False,
        temperature=TEMPERATURE,
        steps_per_iteration=10**6,
    )
    for part in np.array_split(np.arange(len(ids)), max(len(ids) // 250_000, 1)):
        sizes = np.full(len(part), PILOT)
        rewards = (np.arange(PILOT)[None] < passes[part, None]).astype(float).ravel()
        curriculum.belief.count(part, sizes, 100 * sizes, step=0)
        curriculum.belief.observe(part, sizes, rewards, step=0)
    return curriculum


def outcomes_of(plan: Plan, rng: np.random.Generator) -> list[GroupOutcome]:
    """Python lists in, as a trainer has them."""
    columns = [(rng.integers(0, 2, group.num_rollouts).tolist(), [100] * group.num_rollouts) for group in plan]
    return [
        GroupOutcome(group.group_id, group.prompt_id, rewards, num_tokens=tokens, policy_version=plan.step)
        for group, (rewards, tokens) in zip(plan, columns, strict=True)
    ]


def didact_steps(curriculum: Curriculum, steps: int) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    begin, plan = timed(lambda: curriculum.plan(0))
    seconds: dict[str, list[float]] = {"plan": [], "outcomes": [], "observe": [], "admitted": []}
    for step in range(1, steps + 1):
        planning, plan = timed(lambda step=step: curriculum.plan(step))
        building, outcomes = timed(lambda plan=plan: outcomes_of(plan, rng))
        observing, _ = timed(lambda outcomes=outcomes: curriculum.observe(outcomes))
        admitting, admitted = timed(lambda step=step: curriculum.admitted(step))
        if len(plan) != GROUPS or plan.num_rollouts != GROUPS * SIZE or len(admitted) != GROUPS:
            raise RuntimeError(f"step {step} planned {len(plan)} groups and {plan.num_rollouts} rollouts")
        for name, value in zip(seconds, (planning, building, observing, admitting), strict=True):
            seconds[name].append(value)
    return {
        "first_plan": begin,
        **{name: median(values) for name, values in seconds.items()},
        "plan_and_observe": median(np.add(seconds["plan"], seconds["observe"]).tolist()),
    }


def numpy_pass(passes: np.ndarray, counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    mean = (passes + 1.0) / (counts + 2.0)
    keys = np.sqrt(mean * (1.0 - mean)) / TEMPERATURE + rng.gumbel(size=len(mean))
    return np.argpartition(keys, len(keys) - GROUPS)[-GROUPS:]


def published_means(passes: list[int]) -> list[float]:
    import torch

    means = []
    for accepted in passes:
        belief = torch.distributions.Beta(torch.tensor(accepted + 1.0), torch.tensor(PILOT - accepted + 1.0))
        means.append(belief.mean.item())
    return means


def lean_means(passes: list[int]) -> list[float]:
    return [(accepted + 1.0) / (PILOT + 2.0) for accepted in passes]


def published_draw(means: list[float]) -> np.ndarray:
    mean = np.array(means, dtype=np.float64)
    weights = np.exp(np.sqrt(mean * (1 - mean)) / TEMPERATURE)
    return np.random.default_rng(2).choice(len(mean), size=GROUPS, replace=False, p=weights / weights.sum())


def measure(size: int, *, steps: int, whole: int) -> dict[str, Any]:
    """All figures for one pool size."""
    say(f"{size:,} prompts")
    ids = [f"prompt-{index}" for index in range(size)]
    passes = np.random.default_rng(0).integers(0, PILOT + 1, size)
    say("  a: Didact")
    curriculum = warmed_up(ids, passes)
    a = didact_steps(curriculum, steps)
    del curriculum
    gc.collect()
    say("  b: bare numpy")
    counts, rng = np.full(size, float(PILOT)), np.random.default_rng(3)
    b = median(timed(lambda: numpy_pass(passes, counts, rng))[0] for _ in range(7))
    part = size if size <= whole else min(size, 100_000)
    say(f"  c: published loop over {part:,} prompts")
    listed = passes.tolist()
    torch_loop = timed(lambda: published_means(listed[:part]))[0] * size / part
    lean_loop, means = timed(lambda: lean_means(listed))
    choice, _ = timed(lambda: published_draw(means))
    say("  memory")
    held, peak = memory(ids, passes)
    c, c_lean, c_ten = torch_loop + choice, lean_loop + choice, torch_loop / 10 + choice
    return {
        "prompts": size,
        "a_seconds": a,
        "b_seconds": b,
        "c_seconds": c,
        "c_lean_seconds": c_lean,
        "c_over_ten_steps_seconds": c_ten,
        "c_choice_seconds": choice,
        "c_loop_prompts_run": part,
        "c_loop_scaled": part < size,
        "a_over_b": a["plan_and_observe"] / b,
        "c_over_a": c / a["plan_and_observe"],
        "c_lean_over_a": c_lean / a["plan_and_observe"],
        "c_over_ten_steps_over_a": c_ten / a["plan_and_observe"],
        "bytes_per_prompt": held / size,
        "bytes_per_prompt_peak": peak / size,
    }


def memory(ids: list[str], passes: np.ndarray) -> tuple[int, int]:
    """Bytes held after a step, and at the peak, beyond the ids."""
    gc.collect()
    tracemalloc.start()
    curriculum = warmed_up(ids, passes)
    curriculum.observe(outcomes_of(curriculum.plan(0), np.random.default_rng(1)))
    curriculum.admitted(0)
    gc.collect()
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del curriculum
    return held, peak


def measure_methods(names: list[str], size: int, *, steps: int, limit: float) -> list[dict[str, Any]]:
    """A row for each method on a pool of `size` prompts."""
    say(f"{size:,} prompts")
    ids = [f"prompt-{index}" for index in range(size)]
    rng = np.random.default_rng(0)
    passes, counts = rng.integers(0, PILOT + 1, size), np.full(size, float(PILOT))
    b = median(timed(lambda: numpy_pass(passes, counts, rng))[0] for _ in range(7))
    rows = []
    for name in names:
        say(f"  {name}")
        row = method_steps(built(name, ids), steps, limit)
        if "plan_and_observe" in row:
            row["over_numpy"] = row["plan_and_observe"] / b
        if size <= 10**6:  # bytes a prompt do not change beyond, and tracing is slow
            row["bytes_per_prompt"], row["bytes_per_prompt_peak"] = method_memory(name, ids)
        rows.append({"method": name, "prompts": size, "numpy_pass": b, **row})
        gc.collect()
    return rows


def built(name: str, ids: list[str]) -> Curriculum:
    """A method with its defaults, and made-up columns where it needs some."""
    rng, size = np.random.default_rng(4), len(ids)
    columns: dict[str, Any] = {
        "difficulty": lambda: rng.uniform(0, 100, size),
        "prompt_tokens": lambda: rng.integers(20, 500, size),
        "source": lambda: np.array(["a", "b", "c", "d"], dtype=object)[rng.integers(0, 4, size)],
        "features": lambda: rng.standard_normal((size, NUM_FEATURES), dtype=np.float32),
    }
    needed = {COLUMNS[name]: columns[COLUMNS[name]]()} if name in COLUMNS else {}
    weak = rng.random(size, dtype=np.float32) * 0.6 if name in REFERENCES else np.zeros(0)
    references = dict(zip(REFERENCES.get(name, ()), (weak, weak + 0.4), strict=False))
    options = {"prompts_per_step": GROUPS, "rollouts_per_step": GROUPS * SIZE, **references, **OPTIONS.get(name, {})}
    return make(name, PromptPool(ids, **needed), **options)


def method_steps(curriculum: Curriculum, steps: int, limit: float) -> dict[str, Any]:
    """Seconds of a step, over all its rounds."""
    rng, done = np.random.default_rng(5), []
    previous = signal.signal(signal.SIGPROF, _too_slow)
    signal.setitimer(signal.ITIMER_PROF, limit)
    try:
        for step in range(steps + 1):
            done.append(one_step(curriculum, step, rng))
    except TooSlowError:
        say(f"    {len(done)} steps in {limit:.0f} s")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)
    if len(done) < 3:
        return {"not_run": "too slow"}
    plan, observe, rollouts, rounds = np.array(done[1:]).T
    return {
        "first_step": sum(done[0][:2]),
        "plan": float(np.median(plan)),
        "observe": float(np.median(observe)),
        "plan_and_observe": float(np.median(plan + observe)),
        "slowest": float(np.max(plan + observe)),
        "rollouts": float(rollouts.mean()),
        "rounds": float(rounds.mean()),
        "steps": len(plan),
    }


def one_step(curriculum: Curriculum, step: int, rng: np.random.Generator) -> tuple[float, float, int, int]:
    """Seconds of planning and of observing, rollouts, rounds."""
    planning = observing = 0.0
    rollouts = rounds = 0
    while True:
        seconds, plan = timed(lambda: curriculum.plan(step))
        planning += seconds
        if not plan:
            break
        outcomes = simulated(plan, rng)
        observing += timed(lambda outcomes=outcomes: curriculum.observe(outcomes))[0]
        rollouts, rounds = rollouts + plan.num_rollouts, rounds + 1
    curriculum.admitted(step)
    return planning, observing, rollouts, rounds


def simulated(plan: Plan, rng: np.random.Generator) -> list[GroupOutcome]:
    """Outcomes under pass rates that are fixed by the prompt's number and spread evenly over [0, 1]."""
    outcomes = []
    for group in plan:
        rate = int(group.prompt_id.removeprefix("prompt-")) * 0.6180339887498949 % 1  # the golden ratio spreads evenly
        rewards = (rng.random(group.num_rollouts) < rate).astype(float).tolist()
        tokens = [100] * group.num_rollouts
        outcomes.append(
            GroupOutcome(group.group_id, group.prompt_id, rewards, num_tokens=tokens, policy_version=plan.step)
        )
    return outcomes


def method_memory(name: str, ids: list[str]) -> tuple[float, float]:
    """Bytes a prompt held after a step, and at the peak, beyond the ids."""
    gc.collect()
    tracemalloc.start()
    curriculum = built(name, ids)
    one_step(curriculum, 0, np.random.default_rng(5))
    gc.collect()
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del curriculum
    return held / len(ids), peak / len(ids)


class TooSlowError(Exception):
    """A method has used up its time."""


def _too_slow(signum: int, frame: object) -> None:
    raise TooSlowError


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a table of the page."""
    found = {(row["method"], row["prompts"]): row for row in rows}
    sizes = sorted({row["prompts"] for row in rows})
    largest = max((size for size in sizes if size <= 10**6), default=sizes[0])
    head = [
        "method",
        "rollouts a step",
        *(f"{size:,}" for size in sizes),
        "first step",
        "slowest later",
        "bytes a prompt",
    ]
    numpy = {row["prompts"]: row["numpy_pass"] for row in rows}
    lines = [head, ["---"] * len(head), ["bare numpy pass", "", *(f"{_ms(numpy[size])}" for size in sizes), "", "", ""]]
    for name in METHODS:
        at = found.get((name, largest), {})
        lines.append(
            [
                name,
                f"{at['rollouts']:,.0f}" if "rollouts" in at else "",
                *(_cell(found.get((name, size))) for size in sizes),
                *(_ms(at[key]) if key in at else "" for key in ("first_step", "slowest")),
                f"{at['bytes_per_prompt']:.0f}" if "bytes_per_prompt" in at else "",
            ]
        )
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    if "not_run" in row:
        return f"not run: {row['not_run']}"
    ratio = row["over_numpy"]
    return f"{_ms(row['plan_and_observe'])} ({ratio:.{0 if ratio >= 10 else 1 if ratio >= 1 else 2}f})"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f}" if seconds < 0.1 else f"{1000 * seconds:,.0f}"


def write_page(page: Path, rows: list[dict[str, Any]]) -> None:
    before, _, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    if not after:
        raise ValueError(f"{page} has no lines {_BEGIN.strip()} and {_END.strip()} to write between")
    page.write_text(before + _BEGIN + "\n" + table(rows) + "\n" + _END + after, encoding="utf-8")


_BEGIN, _END = "<!-- methods -->\n", "<!-- end of methods -->\n"


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="time these methods ('all': every one) instead")
    parser.add_argument(
        "--prompts", type=int, nargs="+", help="pool sizes  [default: 10^6 and 10^7; methods from 10^4]"
    )
    parser.add_argument("--steps", type=int, help="steps to take the median of  [default: 50, methods 20]")
    parser.add_argument("--whole", type=int, default=10**6, help="longest published loop to run whole")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for a method at one size")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there instead of to stdout")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the table of the methods into this page")
    given = parser.parse_args()
    sizes = given.prompts or [10**exponent for exponent in ((4, 5, 6, 7) if given.methods else (6, 7))]
    steps = given.steps or (20 if given.methods else 50)
    if min(sizes) < GROUPS or steps < 3 or given.whole < 1:
        parser.error(f"--prompts must be at least {GROUPS}, --steps at least 3, --whole at least 1")
    names = list(METHODS) if given.methods == ["all"] else given.methods or []
    if unknown := [name for name in names if name not in METHODS]:
        parser.error(f"there is no method {unknown[0]!r}; methods: {', '.join(METHODS)}")
    known = json.loads(given.json.read_text()) if given.json and given.json.is_file() else {}
    for part in _methods(names, sizes, steps, given, known) if names else _cures(sizes, steps, given):
        known |= json.loads(json.dumps(part), parse_float=lambda text: _round(float(text)))
        if given.json:
            given.json.parent.mkdir(parents=True, exist_ok=True)
            given.json.write_text(json.dumps(known, indent=2) + "\n")
    if not given.json:
        sys.stdout.write(json.dumps(known, indent=2) + "\n")
    if given.page:
        write_page(given.page, known["methods"])


def _cures(sizes: list[int], steps: int, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    import torch

    torch.set_num_threads(1)
    versions = {"python": platform.python_version(), "numpy": np.__version__, "torch": torch.__version__}
    pools = [measure(size, steps=steps, whole=given.whole) for size in sizes]
    yield {"groups": GROUPS, "rollouts_per_group": SIZE, "steps": steps, "versions": versions, "pools": pools}


def _methods(
    names: list[str], sizes: list[int], steps: int, given: argparse.Namespace, known: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """All rows so far, after each size: a long run that is interrupted keeps what it has."""
    rows = {(row["method"], row["prompts"]): row for row in known.get("methods", [])}
    for size in sizes:
        rows |= {(row["method"], size): row for row in measure_methods(names, size, steps=steps, limit=given.limit)}
        yield {"methods": sorted(rows.values(), key=lambda row: (list(METHODS).index(row["method"]), row["prompts"]))}


def _round(value: float) -> float:
    return round(value, 3 - math.floor(math.log10(abs(value)))) if value else value


if __name__ == "__main__":
    main()
