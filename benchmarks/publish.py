"""Publish a finished comparison: its raw runs, tables and pictures, under benchmarks/.

    python benchmarks/publish.py comparisons/main comparisons/ablation comparisons/simulated

For each folder: benchmarks/results/NAME/ gets the settings, the runs and what tuning chose (`didact compare
--report-only` works on it), and benchmarks/tables-NAME.md the tables. From all that is published there the page and the
picture on where curricula stop helping are made anew.
"""

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from didact.compare.figures import figure
from didact.compare.measures import PairedDifference, holm, paired_difference
from didact.compare.records import read_settings
from didact.compare.summary import summarise
from didact.compare.tables import (
    AXES_NOTE,
    RULE,
    markdown_axes,
    markdown_overview,
    markdown_table,
    markdown_training,
    said_overview,
    said_signed,
    said_target,
    training_note,
)

HERE = Path(__file__).parent
KEPT = ("config.json", "runs.jsonl", "tuning.json", "tuning.jsonl")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path)
    for folder in parser.parse_args().folders:
        name = read_settings(folder).name
        target = HERE / "results" / name
        target.mkdir(parents=True, exist_ok=True)
        for each in KEPT:
            if (folder / each).exists() and folder.resolve() != target.resolve():
                shutil.copyfile(folder / each, target / each)
    published = {path.parent.name: summarise(path.parent) for path in sorted((HERE / "results").glob("*/config.json"))}
    for name, summary in published.items():
        write(f"tables-{name}.md", tables(summary))
        for number, cell in enumerate(summary["cells"]):
            figure(summary, "differences", HERE / "results" / name / f"differences-{number}.png", cell=cell)
    write("tables-headroom.md", headroom(published))
    draw_headroom(published, HERE / "results" / "headroom.png")


def tables(summary: dict[str, Any]) -> str:
    """Every table of a comparison, as markdown."""
    baseline = summary["baseline"]
    parts = [
        f"# Tables of `{summary['name']}`",
        f"Written by `python benchmarks/publish.py` from [the raw runs](results/{summary['name']}/runs.jsonl): "
        f"{summary['finished']} of {summary['planned']} runs finished, {len(summary['seeds'])} seeds "
        f"({summary['seeds'][0]} to {summary['seeds'][-1]}).",
        f"Difference: mean held-out accuracy over the budget, less that of {baseline} with the same seed, median over "
        "seeds with a 95% bootstrap interval. Ratio: rollouts or response tokens to the target over those of "
        f"{baseline}, below 1 is cheaper. Accuracy is a share, so +0.01 is one point in a hundred.",
        RULE,
        f"## Difference from {baseline}, all cells",
        markdown_overview(summary),
    ]
    if any(", min " in row["name"] for row in summary["settings"]["variants"]):
        parts += [factors(summary)]
    if any(row["name"] == NEITHER for row in summary["settings"]["variants"]):
        parts += [parts_of(summary)]
    for number, (name, cell) in enumerate(summary["cells"].items()):
        parts += [
            f"## {name}",
            f"{silent(summary, cell):.0%} of the groups of {baseline} were silent. Target: {said_target(summary)}.",
            markdown_table(summary, name),
            f"![Paired differences in mean accuracy](results/{summary['name']}/differences-{number}.png)",
            "### What was trained on",
            training_note(summary),
            markdown_training(summary, name),
            "### The same runs on other axes",
            f"What reaching the target cost, over what it cost {baseline}. {AXES_NOTE}",
            markdown_axes(summary, name),
        ]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


#: The factors of benchmarks/ablation.toml, by what each variant's options say.
FACTORS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "counts": lambda options: "smoothed" if "prior" in options else "raw",
    "temperature": lambda options: options["temperature"],
    "minimum": lambda options: options.get("min_rollouts", 0),
    "pilot": lambda options: "trains" if options.get("train_on_pilot") else "is discarded",
}


def factors(summary: dict[str, Any]) -> str:
    """What each factor of the ablation does by itself: of a seed the mean over all settings of the others."""
    (cell,) = summary["cells"].values()
    rows = [(row, row["options"]) for name, row in cell["variants"].items() if ", min " in name]
    found = []
    for factor, level_of in FACTORS.items():
        areas: dict[Any, dict[int, list[float]]] = {}
        for row, options in rows:
            for run in row["seeds"]:
                areas.setdefault(level_of(options), {}).setdefault(run["seed"], []).append(run["area"])
        first, *others = areas
        for level in others:
            seeds = sorted(set(areas[first]) & set(areas[level]))
            pairs = ([float(np.mean(areas[each][seed])) for seed in seeds] for each in (level, first))
            found.append((f"{factor} {level}", str(first), paired_difference(*pairs)))
    return (
        "## One factor at a time\n\nThe difference in mean accuracy that a factor makes, over all settings of the "
        "others: paired by seed, medians with 95% intervals, Holm-corrected for the rows of this table.\n\n"
        + differences("factor", found)
    )


#: What the parts of benchmarks/ablation.toml are compared with: the same pilot, and neither of them.
NEITHER = "neither (pilot only)"
PARTS = ("raw, 0.05, min 0", "selection only", "allocation only")


def parts_of(summary: dict[str, Any]) -> str:
    """What CurES and each of its halves do beyond the pilot that they pay for."""
    (cell,) = summary["cells"].values()
    areas = {name: {run["seed"]: run["area"] for run in cell["variants"][name]["seeds"]} for name in (*PARTS, NEITHER)}
    seeds = sorted(set.intersection(*map(set, areas.values())))
    base = [areas[NEITHER][seed] for seed in seeds]
    found = [(name, NEITHER, paired_difference([areas[name][seed] for seed in seeds], base)) for name in PARTS]
    return (
        "## Beyond the pilot\n\nThe same against a method that pays for the pilot and then draws uniformly in equal "
        "groups: paired by seed, medians with 95% intervals, Holm-corrected for the rows of this table.\n\n"
        + differences("variant", found)
    )


def differences(what: str, found: list[tuple[str, str, PairedDifference]]) -> str:
    """A table of paired differences in mean accuracy."""
    lines = [f"| {what} | against | mean accuracy [95%] | p, corrected |", "|---|---|---|---|"]
    corrected = holm([difference.p for *_, difference in found])
    for (name, against, difference), p in zip(found, corrected, strict=True):
        ends = [said_signed(end) for end in difference.interval or ()]
        interval = f" [{', '.join(ends)}]" if ends else ""
        lines.append(f"| {name} | {against} | {said_signed(difference.median)}{interval} | {p:.2g} |")
    return "\n".join(lines)


def silent(summary: dict[str, Any], cell: dict[str, Any]) -> float:
    """Share of the baseline's groups without signal."""
    return 1 - float(cell["variants"][summary["baseline"]]["share_with_signal"] or 0)


def points(published: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Of every cell: the share of silent groups under uniform, and what was gained over it."""
    rows = []
    for summary in published.values():
        learners = {row["name"]: row["learner"] for row in summary["settings"]["cells"]}
        for cell, found in summary["cells"].items():
            variants = found["variants"]
            if not variants[summary["baseline"]]["runs"]:
                continue
            methods = {
                name: row["difference"]["median"]
                for name, row in variants.items()
                if row["difference"] and row["method"] != "uniform" and name not in summary["oracles"]
            }
            if not methods or (len(methods) > 1 and len({variants[name]["method"] for name in methods}) == 1):
                continue  # one method taken apart says nothing of methods
            best = max(methods, key=lambda name: methods[name])
            oracle = variants.get(summary["oracle"], {"difference": None})
            rows.append(
                {
                    "trained": learners[cell] == "policy",
                    "cell": cell,
                    "silent": silent(summary, found),
                    "oracle": oracle["difference"] and oracle["difference"]["median"],
                    "oracle_said": said_overview(oracle),
                    "best": methods[best],
                    "best_said": f"{said_overview(variants[best])} ({best})",
                    "median": float(np.median(list(methods.values()))),
                    "better": sum(variants[name]["verdict"] == "better" for name in methods),
                    "worse": sum(variants[name]["verdict"] == "worse" for name in methods),
                    "num": len(methods),
                }
            )
    return sorted(rows, key=lambda row: -row["silent"])


def headroom(published: dict[str, dict[str, Any]]) -> str:
    rows = points(published)
    lines = [
        "# Where curricula stop helping",
        "Written by `python benchmarks/publish.py`. Every cell of the comparisons, by the share of groups that were "
        "silent under uniform sampling. Gains are differences from uniform in mean held-out accuracy over the budget, "
        "medians over paired seeds. The best of the methods is picked after the fact and is flattered by that.",
        RULE,
        "![Gain over uniform against the share of silent groups](results/headroom.png)",
        "| cell | silent under uniform | oracle | best method | median of methods | better than uniform | worse |\n"
        "|---|---|---|---|---|---|---|\n"
        + "\n".join(
            f"| {row['cell']} | {row['silent']:.0%} | {row['oracle_said']} | {row['best_said']} | "
            f"{said_signed(row['median'])} | {row['better']} of {row['num']} | {row['worse']} of {row['num']} |"
            for row in rows
        ),
    ]
    return "\n\n".join(lines) + "\n"


def draw_headroom(published: dict[str, dict[str, Any]], path: Path) -> None:
    import matplotlib.pyplot as plt

    drawing, axes = plt.subplots(figsize=(7, 4), dpi=140, layout="constrained")
    rows = points(published)
    for what, colour, label in (
        ("oracle", "#b4600f", "oracle"),
        ("best", "#1d6a9c", "best method of the cell"),
        ("median", "#66717f", "median of the methods"),
    ):
        for real, marker in ((True, "o"), (False, "x")):
            chosen = [row for row in rows if row["trained"] == real]
            axes.plot(
                [100 * row["silent"] for row in chosen],
                [row[what] for row in chosen],
                marker,
                color=colour,
                label=f"{label}, {'trained' if real else 'simulated'}" if chosen else None,
                markersize=5,
            )
    axes.axhline(0, color="#66717f", linewidth=0.8)
    axes.set_xlabel("groups without signal under uniform sampling (%)")
    axes.set_ylabel("mean accuracy over the budget,\nless uniform's")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=7)
    drawing.savefig(path)


def write(name: str, text: str) -> None:
    (HERE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
