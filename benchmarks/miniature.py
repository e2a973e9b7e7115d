"""What the speed-up in steps that CurES's paper reports is made of, from a finished comparison.

    python benchmarks/miniature.py comparisons/miniature      publishes the runs, and writes benchmarks/miniature.md
    python benchmarks/miniature.py --fit                      prints the histogram of benchmarks/pools/cures.json
    python benchmarks/miniature.py --scales                   prints how scaling down distorts CurES as released

The target of a seed is the final accuracy of GRPO as published ("uniform", 4 updates a step): the mean of its last
three evaluations. Ratios are medians of pairs of runs with one seed, with 95% bootstrap intervals; a run that never
arrives leaves a bound (see didact.compare.measures). Every rollout counts, pilots too.
"""

import argparse
import json
import math
import shutil
from itertools import pairwise, product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from didact.compare.measures import PairedRatio, final_accuracy, paired_ratio, to_target
from didact.compare.records import Run, read_runs, read_settings
from didact.compare.tables import said_ratio
from didact.methods import cures_released

HERE = Path(__file__).parent
AXES = ("step", "rollouts", "updates")
BASE, RELEASED = "uniform", "cures, as released"
#: From GRPO as published to CurES as released, a change at a time, in either order of what they share.
PATHS = (
    ("uniform", "uniform, 26 updates", "uniform, 26 updates, 26 rollouts", "cures, as released"),
    ("uniform", "uniform, 26 rollouts", "uniform, 26 updates, 26 rollouts", "cures, as released"),
)
CHANGES = {
    ("uniform", "uniform, 26 updates"): "26 updates a step instead of 4",
    ("uniform, 26 updates", "uniform, 26 updates, 26 rollouts"): "26 rollouts a prompt instead of 8",
    ("uniform", "uniform, 26 rollouts"): "26 rollouts a prompt instead of 8",
    ("uniform, 26 rollouts", "uniform, 26 updates, 26 rollouts"): "26 updates a step instead of 4",
    ("uniform, 26 updates, 26 rollouts", "cures, as released"): "the pilot's screening, and sizes by it",
}
#: Of 9,994 prompts of the authors' first subset, the percentage that passed 0 to 4 of 4 pilot rollouts.
PILOT_SHARES = (43.6, 14.3, 15.2, 15.7, 11.2)
EDGES = (0, 0, 0.2, 0.4, 0.6, 0.8, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="a finished comparison, benchmarks/miniature.toml")
    parser.add_argument("--fit", action="store_true", help="print the pool's histogram and its pilot counts, and end")
    parser.add_argument(
        "--scales", action="store_true", help="print what scaling down does to CurES as released, and end"
    )
    given = parser.parse_args()
    if given.scales:
        print(scales())
        return
    if given.fit:
        counts = fitted()
        print(json.dumps({"edges": EDGES, "counts": counts.tolist()}))
        print("% with 0 to 4 of 4 passes:", np.round(100 * pilots() @ counts / counts.sum(), 1).tolist())
        return
    if given.folder is None:
        parser.error("give the folder of a finished comparison")
    name = read_settings(given.folder).name
    target = HERE / "results" / name
    if given.folder.resolve() != target.resolve():
        target.mkdir(parents=True, exist_ok=True)
        for each in ("config.json", "runs.jsonl"):
            shutil.copyfile(given.folder / each, target / each)
    (HERE / f"{name}.md").write_text(page(target), encoding="utf-8")


def pilots() -> np.ndarray:
    """Probabilities of 0 to 4 passes of 4 for a rate spread evenly within each bin of `EDGES`, shape (5, bins).

    By Gauss and Legendre's rule with eight points, exact for these polynomials.
    """
    nodes, weights = np.polynomial.legendre.leggauss(8)
    low, high = np.array(EDGES[:-1]), np.array(EDGES[1:])
    p = low + (high - low) * (nodes[:, None] + 1) / 2
    shares = [math.comb(4, k) * p**k * (1 - p) ** (4 - k) for k in range(5)]
    return np.array([weights @ share / 2 for share in shares])


def fitted(num: int = 9994, smoothness: float = 0.02) -> np.ndarray:
    """Prompts in each bin: non-negative least squares on the pilot's shares.

    Five shares do not determine six bins: of all that fit equally, the smoothest over the bins of positive width.
    """
    from scipy.optimize import nnls

    steps = smoothness * np.diff(np.eye(len(EDGES) - 1), axis=0)[1:]
    found, _ = nnls(np.vstack([pilots(), steps]), np.append(PILOT_SHARES, np.zeros(len(steps))))
    return np.round(num * found / found.sum()).astype(int)


def scales(steps: int = 200) -> str:
    """Steps of CurES as released at several scales, each on the pilot of a subset of its own."""
    rng = np.random.default_rng(0)
    lines = ["| scale | prompts | rollouts a step | its spread | of them alignment | spread of a size over shards |"]
    lines.append("|---" * 6 + "|")
    for scale in (1, 16, 32, 64):
        prompts = 1024 // scale
        trained, rollouts, added, sizes = [], [], [], []
        for _ in range(steps):
            accepted = rng.choice(5, size=10 * prompts, p=np.array(PILOT_SHARES) / sum(PILOT_SHARES))
            copies = cures_released.copies(accepted, 4, 8 * prompts)
            chosen, num = cures_released.batch(accepted, 4, prompts, 8 * prompts, rng)
            trained.append(len(chosen))
            rollouts.append(num.sum())
            added.append(num.sum() - cures_released.ROLLOUTS_PER_COPY * copies[chosen].sum())
            sizes += [part.max() for part in np.array_split(np.where(accepted == 2, copies, 0), 8) if part.any()]
        texts = [
            f"1/{scale}",
            f"{np.mean(trained):.1f} of {prompts}",
            f"{np.mean(rollouts):,.0f}",
            f"{np.std(rollouts) / np.mean(rollouts):.1%}",
            f"{np.sum(added) / np.sum(rollouts):.2%}",
            f"{np.std(sizes) / np.mean(sizes):.1%}",
        ]
        lines.append(f"| {' | '.join(texts)} |")
    return "\n".join(lines)


Cell = dict[str, list[Run]]  # the runs of each variant, in the order of their seeds


class Cost(NamedTuple):
    """What each run spent until its target, nan where it never got there, and in all; shape (seeds,) each."""

    spent: np.ndarray
    end: np.ndarray

    @property
    def middle(self) -> float:
        return float(np.median(np.where(np.isnan(self.spent), np.inf, self.spent)))


def page(folder: Path) -> str:
    settings, runs = read_settings(folder), read_runs(folder)
    failed = [f"{run.variant}, {run.cell}, seed {run.seed}: {run.error}" for run in runs if run.error is not None]
    num = len(settings.cells) * len(settings.variants) * len(settings.seeds)
    parts = [
        f"# Tables of `{settings.name}`: CurES as published",
        f"Written by `python benchmarks/miniature.py` from [the raw runs](results/{settings.name}/runs.jsonl): "
        f"{len(runs) - len(failed)} of {num} runs finished, seeds {settings.seeds[0]} to {settings.seeds[-1]}. "
        f"[{settings.name}.toml]({settings.name}.toml) says what the variants are. The target of a seed is the final "
        "accuracy of `uniform`, which is GRPO as published: the mean of its last three evaluations. Costs are medians; "
        "ratios are medians over pairs with 95% bootstrap intervals. Every rollout counts, pilots too.",
        *(f"Failed: {each}" for each in failed),
    ]
    variants, cell_names = [each.name for each in settings.variants], [each.name for each in settings.cells]
    found = {(run.cell, run.variant, run.seed): run for run in runs if run.error is None}
    seeds = [seed for seed in settings.seeds if all((*each, seed) in found for each in product(cell_names, variants))]
    if not seeds:
        raise SystemExit(f"{folder}: no seed has all its runs yet")
    cells = {
        name: {variant: [found[name, variant, seed] for seed in seeds] for variant in variants} for name in cell_names
    }
    for (name, cell), given in zip(cells.items(), settings.cells, strict=True):
        parts += [
            f"## {name}",
            f"Learning rate {given.learning_rate:g}, {given.steps} steps, {len(seeds)} seeds.",
            costs(cell),
            f"Mean accuracy after so many steps, and after as many rollouts as `{BASE}` makes in all:",
            accuracies(cell),
            "One change after the other, in two orders. The share is that of the logarithm of the whole.",
            parted(cell),
        ]
    learners = [cell.learner for cell in settings.cells]
    alike = {
        name: cell for (name, cell), learner in zip(cells.items(), learners, strict=True) if learner == learners[0]
    }
    if len(alike) > 1:
        parts += [
            "## One target, other learning rates",
            f"Times fewer steps, and rollouts, than `{BASE}` of the first cell took to its own final accuracy.",
            rates(alike),
        ]
    return "\n\n".join(parts) + "\n"


def costs(cell: Cell) -> str:
    lines = [
        "| variant | rollouts a step | updates a step | final accuracy | steps to the target | times fewer steps | "
        "rollouts to it | ratio | updates to it | ratio |",
        "|---" * 10 + "|",
    ]
    for name, runs in cell.items():
        steps, rollouts, updates = (cost(cell, name, axis) for axis in AXES)
        base = [cost(cell, BASE, axis) for axis in AXES]
        texts = [
            name,
            f"{np.median(rollouts.end / steps.end):,.0f}",
            f"{np.median(updates.end / steps.end):.1f}",
            f"{np.mean([final_accuracy(run.curve['accuracy']) for run in runs]):.3f}",
            said_cost(steps, ".1f"),
            said(ratio(base[0], steps)),
            said_cost(rollouts, ",.0f"),
            said(ratio(rollouts, base[1])),
            said_cost(updates, ",.0f"),
            said(ratio(updates, base[2])),
        ]
        lines.append(f"| {' | '.join(texts)} |")
    return "\n".join(lines)


def accuracies(cell: Cell) -> str:
    marks = [round(cell[BASE][0].curve["step"][-1] * share / 5) for share in range(1, 6)]
    budget = min(run.curve["rollouts"][-1] for run in cell[BASE])
    lines = [
        f"| variant | {' | '.join(f'{mark} steps' for mark in marks)} | {budget:,.0f} rollouts |",
        "|---" * (len(marks) + 2) + "|",
    ]
    for name, runs in cell.items():
        places = [*(("step", mark) for mark in marks), ("rollouts", budget)]
        found = [
            np.mean([np.interp(place, run.curve[axis], run.curve["accuracy"]) for run in runs])
            for axis, place in places
        ]
        lines.append(f"| {name} | {' | '.join(f'{each:.3f}' for each in found)} |")
    return "\n".join(lines)


def parted(cell: Cell) -> str:
    whole = ratio(cost(cell, BASE, "step"), cost(cell, RELEASED, "step"))
    lines = ["| change | times fewer steps | share | times fewer rollouts |", "|---|---|---|---|"]
    for number, path in enumerate(PATHS, start=1):
        for before, after in pairwise(path):
            steps, rollouts = (ratio(cost(cell, before, axis), cost(cell, after, axis)) for axis in AXES[:2])
            known = steps.low == steps.high > 0 and whole.low == whole.high > 1
            share = f"{math.log(steps.low) / math.log(whole.low):.0%}" if known else "not known"
            lines.append(f"| {number}. {CHANGES[before, after]} | {said(steps)} | {share} | {said(rollouts)} |")
    rollouts = ratio(cost(cell, BASE, "rollouts"), cost(cell, RELEASED, "rollouts"))
    lines.append(f"| all | {said(whole)} | 100% | {said(rollouts)} |")
    return "\n".join(lines)


def rates(cells: dict[str, Cell]) -> str:
    first = next(iter(cells.values()))
    chosen = (BASE, PATHS[0][1], PATHS[0][2], RELEASED)
    lines = [
        "| cell | " + " | ".join(f"{name}: steps | rollouts" for name in chosen) + " |",
        "|---" * (2 * len(chosen) + 1) + "|",
    ]
    for name, cell in cells.items():
        found = [
            said(ratio(cost(first, BASE, axis), cost(cell, variant, axis, of=first)))
            for variant in chosen
            for axis in AXES[:2]
        ]
        lines.append(f"| {name} | {' | '.join(found)} |")
    return "\n".join(lines)


def cost(cell: Cell, variant: str, axis: str, of: Cell | None = None) -> Cost:
    """What the final accuracy of `BASE` cost a variant; `of`: that of another cell with the same seeds."""
    pairs = zip(cell[variant], (of or cell)[BASE], strict=True)
    spent = [
        to_target(run.curve[axis], run.curve["accuracy"], final_accuracy(base.curve["accuracy"])) for run, base in pairs
    ]
    return Cost(np.array(spent), np.array([run.curve[axis][-1] for run in cell[variant]]))


def ratio(top: Cost, bottom: Cost) -> PairedRatio:
    return paired_ratio(top.spent, bottom.spent, variant_end=top.end, baseline_end=bottom.end)


def said(found: PairedRatio) -> str:
    low, high, *ends = (None if math.isinf(end) else end for end in (found.low, found.high, *(found.interval or ())))
    return said_ratio({"low": low, "high": high, "interval": ends})


def said_cost(found: Cost, form: str) -> str:
    return f"above {np.median(found.end):{form}}" if math.isinf(found.middle) else f"{found.middle:{form}}"


if __name__ == "__main__":
    main()
