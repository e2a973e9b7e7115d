"""What a step of CurES costs on pools of a million and ten million prompts, next to two ways of doing it.

    python benchmarks/overhead.py --json benchmarks/results/overhead.json

In one process, one after the other, 1,024 groups of 8 a step, median over steps of the seconds of processor time (one
thread; other work on the machine does not count):

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
"""

import argparse
import gc
import json
import math
import platform
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from didact import Curriculum, GroupOutcome, Plan, PromptPool, make

GROUPS, SIZE, TEMPERATURE, PILOT = 1024, 8, 0.1, 4


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


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, nargs="+", default=[10**6, 10**7], help="pool sizes")
    parser.add_argument("--steps", type=int, default=50, help="steps of Didact to take the median of")
    parser.add_argument("--whole", type=int, default=10**6, help="longest published loop to run whole")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there instead of to stdout")
    given = parser.parse_args()
    if min(given.prompts) < GROUPS or given.steps < 1 or given.whole < 1:
        parser.error(f"--prompts must be at least {GROUPS}, --steps and --whole at least 1")
    import torch

    torch.set_num_threads(1)
    versions = {"python": platform.python_version(), "numpy": np.__version__, "torch": torch.__version__}
    pools = [measure(size, steps=given.steps, whole=given.whole) for size in given.prompts]
    rounded = json.loads(json.dumps(pools), parse_float=lambda text: _round(float(text)))
    result = {
        "groups": GROUPS,
        "rollouts_per_group": SIZE,
        "steps": given.steps,
        "versions": versions,
        "pools": rounded,
    }
    text = json.dumps(result, indent=2) + "\n"
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(text)
    else:
        sys.stdout.write(text)


def _round(value: float) -> float:
    return round(value, 3 - math.floor(math.log10(abs(value)))) if value else value


if __name__ == "__main__":
    main()
