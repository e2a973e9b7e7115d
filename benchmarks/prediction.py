"""What `didact simulate` predicts of a pool, beside what training on it then showed.

    python benchmarks/prediction.py benchmarks/results/default-confirm     # about a second a run
    python benchmarks/prediction.py benchmarks/results/main --measure      # the pools' pass rates first (minutes)

Of each trained cell of a published comparison it takes the pass rates before training, the prompts and rollouts of a
step, and the longest response; all else is as `didact simulate` has it. The rates are in benchmarks/pools/, of 12
rollouts a prompt, of all seeds of the comparison that first needed the pool; `--measure` writes those that are missing.
The target on both sides is 90% of what uniform gains. It writes benchmarks/tables-prediction-NAME.md, and keeps the
simulated runs in comparisons/prediction-NAME.
"""

import argparse
import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from didact.cli.terminal import Terminal
from didact.compare.config import SIMULATED, SIMULATED_GAIN, Cell, CompareConfig, resolved_config
from didact.compare.grid import compare
from didact.compare.records import read_settings
from didact.compare.summary import summarise
from didact.compare.tables import said_number, said_ratio

HERE = Path(__file__).parent
Section = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--measure", action="store_true", help="measure the pools' pass rates first")
    parser.add_argument("--seeds", type=int, default=6, help="simulated")
    parser.add_argument("--jobs", type=int, default=2)
    chosen = parser.parse_args()
    settings = read_settings(chosen.folder)
    if chosen.measure:
        measure(settings)
    folder = Path("comparisons") / f"prediction-{settings.name}"
    with Terminal() as terminal:
        if not compare(simulated(settings, chosen.seeds), folder, jobs=chosen.jobs, progress=terminal):
            raise SystemExit("interrupted; the same command goes on")
    text = predicted(summarise(folder), summarise(chosen.folder, gain_share=SIMULATED_GAIN))
    (HERE / f"tables-prediction-{settings.name}.md").write_text(text, encoding="utf-8")
    print(text)


def trained(settings: CompareConfig) -> list[Cell]:
    """The cells of real models that start from a measured pool."""
    return [cell for cell in settings.cells if cell.learner == "policy"]


def rates_of(cell: Cell) -> Path:
    """The file with the pass rates that a cell starts from, a histogram of thirteen spikes."""
    return HERE / "pools" / f"trained-{cell.task.replace(':', '-')}-{cell.pool}-{cell.pool_size}.json"


def measure(settings: CompareConfig) -> None:
    """Write down the pass rates of the beds of all seeds, built now where the cache has none."""
    from didact.compare.bed import PROBES, bed_of

    for cell in trained(settings):
        if rates_of(cell).exists():
            continue
        found = Counter(round(rate * PROBES) for seed in settings.seeds for rate in bed_of(cell, seed).base_pass_rates)
        edges = [value / PROBES for value in range(PROBES + 1) for _ in range(2)]  # an edge given twice is a spike
        counts = [found[value // 2] if value % 2 == 0 else 0 for value in range(2 * PROBES + 1)]
        rates_of(cell).write_text(json.dumps({"edges": edges, "counts": counts}) + "\n", encoding="utf-8")


def simulated(settings: CompareConfig, num_seeds: int) -> CompareConfig:
    """The same variants, budgets and pass rates, on simulated learners."""
    skills = SIMULATED["skills"]
    cells = []
    for cell in trained(settings):
        longest = cell.max_completion_length
        lengths = {"response_tokens": longest // 2, "context_length": longest}
        changes = {**skills, "learner_options": {**skills["learner_options"], **lengths}}
        changes |= {"learner": "skills", "pool": str(rates_of(cell).relative_to(HERE.parent)), "known": "measured"}
        changes |= {"task": "arithmetic", "task_options": {}, "tuned_on": None}
        cells.append(dataclasses.replace(cell, **changes))
    seeds = list(range(1, num_seeds + 1))
    changed = dataclasses.replace(settings, cells=cells, seeds=seeds, tuning=None, gain_share=SIMULATED_GAIN)
    return resolved_config(changed.to_dict())


def predicted(simulation: Section, training: Section) -> str:
    """Both, as markdown."""
    lines = [
        f"# What `didact simulate` predicts, beside what training showed: {training['name']}",
        f"Written by `python benchmarks/prediction.py benchmarks/results/{training['name']}`. Response tokens to "
        f"{SIMULATED_GAIN:.0%} of what {training['baseline']} gains, over {training['baseline']}'s; medians over "
        f"{len(simulation['seeds'])} simulated and {len(training['seeds'])} trained seeds, with 95% intervals. "
        "Quotient: predicted over trained; above 1, training saved more than was predicted.",
    ]
    found = quotients(simulation, training)
    for cell, rows in ((name, each["variants"]) for name, each in simulation["cells"].items()):
        real = training["cells"][cell]["variants"]
        lines += [f"## {cell}", "| variant | predicted | trained | quotient |\n|---|---|---|---|"]
        for name, row in rows.items():
            if row["ratio"] and real[name]["ratio"]:
                ratios = [said_ratio(each["ratio"]["tokens"]) for each in (row, real[name])]
                lines[-1] += f"\n| {name} | {' | '.join(ratios)} | {said_number(found[name].get(cell), '.2f')} |"
        if (order := rank_correlation(rows, real)) is not None:
            lines.append(f"Rank correlation of the differences in mean accuracy: {order:.2f}.")
    lines += ["## Over all cells", "| variant | cells | quotient, geometric mean | range |\n|---|---|---|---|"]
    for name, each in found.items():
        if values := list(each.values()):
            mean = np.exp(np.mean(np.log(values)))
            lines[-1] += f"\n| {name} | {len(values)} | {mean:.2f} | {min(values):.2f} to {max(values):.2f} |"
    return "\n\n".join(lines) + "\n"


def quotients(simulation: Section, training: Section) -> dict[str, dict[str, float]]:
    """By variant and cell, the predicted ratio of tokens over the trained one, where both medians are numbers."""
    found: dict[str, dict[str, float]] = {}
    for cell, simulated_cell in simulation["cells"].items():
        for name, row in simulated_cell["variants"].items():
            real = training["cells"][cell]["variants"][name]["ratio"]
            if row["ratio"] is None or real is None:
                continue
            ratios = row["ratio"]["tokens"], real["tokens"]
            known = all(ratio["low"] == ratio["high"] and ratio["low"] for ratio in ratios)
            found.setdefault(name, {}).update({cell: ratios[0]["low"] / ratios[1]["low"]} if known else {})
    return found


def rank_correlation(simulated_rows: Section, trained_rows: Section) -> float | None:
    """Spearman's, of the variants' median differences; None for fewer than five of them."""
    pairs = [
        (row["difference"]["median"], real["difference"]["median"])
        for name, row in simulated_rows.items()
        if row["difference"] and (real := trained_rows[name])["difference"]
    ]
    return float(spearmanr(*zip(*pairs, strict=True)).statistic) if len(pairs) >= 5 else None


if __name__ == "__main__":
    main()
