"""The critical batch of the real-training beds, measured from the gradients of uniform's groups.

    python benchmarks/critical_batch.py                                    # hard-heavy and mixed, seeds 1 to 10
    python benchmarks/critical_batch.py --pools mixed --seeds 1 2 --json trial.json
    python benchmarks/critical_batch.py --costs benchmarks/results/batches # beside what a comparison's runs cost

Each bed's model is measured at its warm start and after some steps of uniform (16 prompts, 8 rollouts each, learning
rate 5e-4). A measurement rolls out `--groups` groups of 8, distinct prompts, and takes each group's gradient of the
RLOO prompt-mean loss, as the learner of comparisons computes it; a silent group's is zero. The critical batch is the
noise scale of `didact.compare.critical_batch` times 8 rollouts; "Adam" is the same in the metric that divides each
square by the root mean square of the gradient of 16 groups, as Adam's steps are. Pass rates are those of the groups.
"The oracle's" ratio is what the critical batch really loses when prompts are drawn as the lab's oracle draws them, and
the cosine is that between its mean gradient and uniform's: it is biased.

Every seed's rows are written when they are done; seeds that the file has are not measured again.
"""

import argparse
import json
import math
from dataclasses import asdict
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

from didact import make
from didact.compare.bed import SHAPES, bed_of
from didact.compare.config import Cell
from didact.compare.critical_batch import BedNoise, NoiseScale, ceiling, ceiling_table, noise_scale, variance_ratio
from didact.compare.summary import summarise
from didact.files import write_whole
from didact.seeding import generator

RESULTS = Path(__file__).parent / "results"
GROUP, PROMPTS, RATE = 8, 16, 5e-4
BATCHES = (32, 128, 512)
METRICS = ("plain", "adam")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="arithmetic")
    parser.add_argument("--pools", nargs="+", choices=sorted(SHAPES), default=["hard-heavy", "mixed"])
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(1, 11)))
    parser.add_argument("--groups", type=int, default=2048, help="groups a measurement (default 2048)")
    parser.add_argument("--steps", nargs="+", type=int, default=[0, 40, 80], help="where to measure (default 0 40 80)")
    parser.add_argument("--json", type=Path, default=RESULTS / "critical_batch.json")
    parser.add_argument("--costs", type=Path, help="measure nothing: print the ceilings beside this comparison's costs")
    given = parser.parse_args()
    rows = json.loads(given.json.read_text()) if given.json.exists() else []
    if given.costs:
        print(ceiling_table(summarise(given.costs), noise_of_beds(rows)))
        return
    for pool in given.pools:
        for seed in given.seeds:
            if not any((row["task"], row["pool"], row["seed"]) == (given.task, pool, seed) for row in rows):
                rows += measured(given.task, pool, seed, given.groups, sorted(given.steps))
                write_whole(given.json, json.dumps(rows, indent=1) + "\n")
    print(table(rows))


# Measuring ------------------------------------------------------------------------------------------------------------


def measured(task: str, pool: str, seed: int, groups: int, steps: list[int]) -> list[dict[str, Any]]:
    """A row for each of `steps`, on the way of one training run of uniform."""
    import torch

    from didact.compare.policy import policy_of

    torch.set_num_threads(1)
    cell = Cell(name=pool, task=task, pool=pool, pool_size=4096, held_out=512, learning_rate=RATE)
    bed = bed_of(cell, seed)
    rows, done = [], 0
    with policy_of(cell, bed.model, bed.examples, bed.held_out, seed=seed, pool=bed.pool()) as policy:
        sizes = {"prompts_per_step": PROMPTS, "rollouts_per_step": PROMPTS * GROUP}
        curriculum = make("uniform", policy.pool, **sizes, seed=seed)
        for stop in steps:
            for step in range(done, stop):
                curriculum.observe(policy.roll_out(curriculum.plan(step)))
                policy.update(curriculum.admitted(step), "rloo", "prompt")
                policy.keep([])
            done = stop
            found = measure(policy, groups, stop)
            rows.append({"task": task, "pool": pool, "seed": seed, "step": stop, "groups": groups, **found})
            print(f"{task}, {pool}, seed {seed}, step {stop}: {said(rows[-1])}", flush=True)
    return rows


def measure(policy: Any, groups: int, step: int) -> dict[str, Any]:
    """Signal and noise of a group of uniform's, and of one of the oracle's; nothing is trained."""
    import torch

    truth = policy.pass_rates()  # what the lab's oracle is told, from other rollouts than are measured here
    value = truth * (1 - truth)
    weights = dict(zip(policy.pool.ids, (value / value.mean()).tolist(), strict=True))
    own = int(generator(policy.seed, "critical batch", step).integers(2**32))  # not the prompts that were trained on
    probe = make("uniform", policy.pool, prompts_per_step=groups, rollouts_per_step=groups * GROUP, seed=own)
    outcomes = policy.roll_out(probe.plan(1_000_000 + step))  # a step whose randomness no training step shares
    probe.observe(outcomes)
    with_signal = {outcome.group_id for outcome in outcomes if len(set(outcome.rewards)) > 1}
    # Sums over groups of g, g^2 elementwise, w g, w |g|^2 and w^2 |g|^2.
    total, squares, drawn = (torch.zeros((), dtype=torch.float64) for _ in range(3))
    once = twice = 0.0
    for group in probe.admitted(probe.step):
        if group.group_id in with_signal:
            gradient, weight = policy.gradient([group], "rloo", "prompt").double(), weights[group.prompt_id]
            total, squares, drawn = total + gradient, squares + gradient**2, drawn + weight * gradient
            length = float(gradient @ gradient)
            once, twice = once + weight * length, twice + weight**2 * length
    policy.keep([])
    by_adam = (squares / groups / PROMPTS + (total / groups) ** 2).sqrt() + 1e-8
    plain, adam = (
        noise_scale(float((squares / metric).sum()), float((total**2 / metric).sum()), groups)
        for metric in (torch.ones_like(by_adam), by_adam)
    )
    # The oracle draws a prompt w times as often as uniform.
    oracle = noise_scale(twice, float(drawn @ drawn), groups, second_moment=once / groups)
    # The inner product of the two mean gradients.
    across = (float(drawn @ total) - once) / (groups * (groups - 1))
    rates = [float(np.mean(outcome.rewards)) for outcome in outcomes]
    return {
        "pass_rate": float(np.mean(rates)),
        "with_signal": len(with_signal) / groups,
        "ratio": variance_ratio(rates, GROUP),
        "across": across,
        **{name: asdict(scale) for name, scale in (("plain", plain), ("adam", adam), ("oracle", oracle))},
    }


# Saying ---------------------------------------------------------------------------------------------------------------


def critical(row: dict[str, Any], metric: str) -> float:
    """In rollouts."""
    return GROUP * NoiseScale(**row[metric]).critical


def gained(row: dict[str, Any]) -> float:
    """How many times smaller the oracle's critical batch is than uniform's."""
    return critical(row, "plain") / critical(row, "oracle")


def cosine(row: dict[str, Any]) -> float:
    """Between the oracle's mean gradient and uniform's; estimates, so it may pass 1."""
    signals = row["plain"]["signal"], row["oracle"]["signal"]
    return row["across"] / math.sqrt(math.prod(signals)) if min(signals) > 0 else math.nan


def said(row: dict[str, Any]) -> str:
    plain, adam = (f"{critical(row, metric):,.0f}" for metric in ("plain", "adam"))
    return (
        f"critical batch {plain} rollouts (Adam {adam}), variance ratio {row['ratio']:.1f} by pass rates, the oracle's "
        f"{gained(row):.1f} at a cosine of {cosine(row):.2f}"
    )


def noise_of_beds(rows: list[dict[str, Any]]) -> dict[tuple[str, str], BedNoise]:
    """Of every task and pool the mean over the steps, all of which a run passes, of the median over seeds."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for (task, pool, _), part in by_step(rows).items():
        medians = median(critical(row, "plain") for row in part), median(row["ratio"] for row in part)
        found.setdefault((task, pool), []).append(medians)
    return {bed: BedNoise(*(mean(values) for values in zip(*steps, strict=True))) for bed, steps in found.items()}


def by_step(rows: list[dict[str, Any]]) -> dict[tuple[str, str, int], list[dict[str, Any]]]:
    """The seeds of each task, pool and step."""
    found: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["task"], row["pool"], row["step"]), []).append(row)
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """Medians over seeds, lowest and highest in brackets, and the ceilings that follow from the medians."""
    columns = ["task", "pool", "step", "seeds", "pass rate", "groups with signal", "critical batch", "in Adam's metric"]
    columns += ["ratio by pass rates", "the oracle's", "cosine", *(f"ceiling at {batch}" for batch in BATCHES)]
    lines = [columns, ["---"] * len(columns)]
    for (task, pool, step), part in by_step(rows).items():
        plain, adam = ([critical(row, metric) for row in part] for metric in ("plain", "adam"))
        ratios = [row["ratio"] for row in part]
        shares = [f"{median(row[name] for row in part):.0%}" for name in ("pass_rate", "with_signal")]
        spread = [ranged(plain, ",.0f"), ranged(adam, ",.0f"), ranged(ratios, ".1f")]
        spread += [ranged([of(row) for row in part], form) for of, form in ((gained, ".1f"), (cosine, ".2f"))]
        most = [f"{ceiling(batch, median(plain), median(ratios)):.2f}" for batch in BATCHES]
        lines.append([task, pool, f"{step}", f"{len(part)}", *shares, *spread, *most])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def ranged(values: list[float], form: str) -> str:
    return f"{median(values):{form}} [{min(values):{form}}, {max(values):{form}}]"


if __name__ == "__main__":
    main()
