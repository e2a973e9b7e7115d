"""Whether the default keeps what it promises, goal by goal.

    python benchmarks/judge.py benchmarks/results/default-{confirm,confirm-simulated,ablation}

The goals were fixed before the runs (benchmarks/default-confirm.toml). It writes benchmarks/tables-default.md and says
of each goal whether it is met and by how much it is missed, and what the default is without each of its parts.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from didact.compare.measures import PairedDifference, holm, paired_difference, verdict
from didact.compare.summary import summarise
from didact.compare.tables import said_difference, said_overview, said_ratio, said_share, said_signed

HERE = Path(__file__).parent
DEFAULT, CONFIRMS = "didact", "default-confirm"
FASTER, OF_THE_ORACLE = 1.5, 0.8
Section = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    text = judged([summarise(folder) for folder in parser.parse_args().folders])
    (HERE / "tables-default.md").write_text(text, encoding="utf-8")
    print(text)


def judged(summaries: list[Section]) -> str:
    """All of it, as markdown."""
    parts = [
        "# The default, held against its goals",
        "Written by `python benchmarks/judge.py`. Differences are in mean held-out accuracy over the budget, medians "
        "over paired seeds with 95% intervals; ratios are response tokens to the target over uniform's, below 1 is "
        "cheaper. A share of the oracle's saving is of tokens; where a median is no number, of the gain in accuracy.",
    ]
    for summary in summaries:
        seeds = f"{len(summary['seeds'])} seeds, {summary['finished']} of {summary['planned']} runs"
        parts.append(f"## {summary['name']}: {seeds}")
        if summary["name"].startswith(CONFIRMS):
            parts += [cells(summary), goals(summary)]
        for head, names in (("Against every other method", published(summary)), ("Without a part", forms(summary))):
            if names:
                parts += [f"### {head}, in the mean over cells", in_the_mean(summary, names)]
    confirming = [summary for summary in summaries if summary["name"].startswith(CONFIRMS)]
    if len(confirming) > 1:
        found = [share for summary in confirming for share in shares(summary).values()]
        parts += [
            "## Both halves together",
            f"Of the oracle's saving, in the mean of the {len(found)} cells in which it saves: {np.mean(found):.0%}.",
        ]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def cells(summary: Section) -> str:
    """A row for each cell."""
    oracle = summary["oracle"]
    lines = [
        f"| cell | tokens: {oracle} | {DEFAULT} | accuracy: {oracle} | {DEFAULT} | share of its gain | best other |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, cell in summary["cells"].items():
        rows = cell["variants"]
        told, own = rows[oracle], rows[DEFAULT]
        others = {each: rows[each] for each in published(summary) if rows[each]["difference"]}
        best = max(others, key=lambda each: others[each]["difference"]["median"], default=None)
        lines.append(
            f"| {name} | {said_ratio(told['ratio']['tokens'])} | {said_ratio(own['ratio']['tokens'])} | "
            f"{said_overview(told)} | {said_difference(own['difference'])} | {said_share(own['toward_oracle'])} | "
            + ("- |" if best is None else f"{best}, {said_overview(others[best])} |")
        )
    return "\n".join(lines)


def goals(summary: Section) -> str:
    """One line for each goal."""
    rows = {name: cell["variants"] for name, cell in summary["cells"].items()}
    pools = {cell["name"]: cell["pool"] for cell in summary["settings"]["cells"]}
    worse = [
        name
        for name, each in rows.items()
        if (each[DEFAULT]["ratio"]["tokens"]["interval"] or [0])[0] > 1 or each[DEFAULT]["verdict"] == "worse"
    ]
    slow = [
        f"{name} ({said_ratio(each[DEFAULT]['ratio']['tokens'])})"
        for name, each in rows.items()
        if pools[name] == "hard-heavy" and not (each[DEFAULT]["ratio"]["tokens"]["high"] or np.inf) <= 1 / FASTER
    ]
    num_hard = sum(pools[name] == "hard-heavy" for name in rows)
    found = list(shares(summary).values())
    mean = float(np.mean(found)) if found else float("nan")
    behind = [
        f"{name}: {method} ({said_signed(difference.median)})"
        for name in rows
        for method, difference, p in against(summary, name)
        if verdict(difference, p) == "worse"
    ]
    said = [
        f"* **Never worse**: {_met(worse, len(rows), 'cells')}",
        f"* **At least {FASTER} times fewer tokens on hard pools**: {_met(slow, num_hard, 'cells')}",
        f"* **At least {OF_THE_ORACLE:.0%} of the oracle's saving**, in the mean of the {len(found)} cells in "
        f"which it saves: {mean:.0%}, {'met' if mean >= OF_THE_ORACLE else 'missed'}",
    ]
    if published(summary):
        ahead = [
            all(verdict(difference, p) == "better" for _, difference, p in against(summary, name)) for name in rows
        ]
        said.append(
            f"* **As good as the best other method in every cell**: {_met(behind, len(rows), 'cells')} (told from "
            f"every one of them for the better in {sum(ahead)})"
        )
    return "\n".join(said)


def shares(summary: Section) -> dict[str, float]:
    """Of the oracle's saving, by cell, where it saves."""
    cells = {name: cell["variants"] for name, cell in summary["cells"].items()}
    return {name: share for name, rows in cells.items() if (share := saved(rows, summary["oracle"])) is not None}


def saved(rows: Section, oracle: str) -> float | None:
    """The share of the oracle's saving in tokens; where a median is no number, of its gain in accuracy."""
    if rows[oracle]["verdict"] != "better":
        return None
    ratios = [rows[name]["ratio"]["tokens"] for name in (DEFAULT, oracle)]
    if all(ratio["low"] == ratio["high"] for ratio in ratios) and ratios[1]["low"] < 1:
        return float((1 - ratios[0]["low"]) / (1 - ratios[1]["low"]))
    return float(rows[DEFAULT]["toward_oracle"]["share"])


def published(summary: Section) -> list[str]:
    """The methods that are neither the default in any form, nor told the truth."""
    rows = summary["settings"]["variants"]
    return [row["name"] for row in rows if row["method"] not in (DEFAULT, "oracle", summary["baseline"])]


def forms(summary: Section) -> list[str]:
    """The default in other forms: without a part, or with other options."""
    rows = summary["settings"]["variants"]
    return [row["name"] for row in rows if row["method"] == DEFAULT and row["name"] != DEFAULT]


def against(summary: Section, cell: str) -> list[tuple[str, PairedDifference, float]]:
    """The default less every other method in a cell, with p corrected for their number."""
    found = [
        (method, _less(areas(summary, cell, DEFAULT), areas(summary, cell, method))) for method in published(summary)
    ]
    known = [(method, difference) for method, difference in found if difference is not None]
    corrected = holm([difference.p for _, difference in known]) if known else []
    return [(method, difference, float(p)) for (method, difference), p in zip(known, corrected, strict=True)]


def in_the_mean(summary: Section, names: list[str]) -> str:
    """The default less each of some variants, of a seed the mean over all cells."""
    means = {name: _mean([areas(summary, cell, name) for cell in summary["cells"]]) for name in [DEFAULT, *names]}
    found = [(name, _less(means[DEFAULT], means[name])) for name in names]
    known = [(name, difference) for name, difference in found if difference is not None]
    corrected = holm([difference.p for _, difference in known])
    lines = [f"| variant | {DEFAULT} less it [95%] | p, corrected | |", "|---|---|---|---|"]
    for (name, difference), p in sorted(zip(known, corrected, strict=True), key=lambda row: row[0][1].median):
        ends = ", ".join(said_signed(end) for end in difference.interval or ())
        said = verdict(difference, float(p))
        lines.append(f"| {name} | {said_signed(difference.median)} [{ends}] | {p:.2g} | {said} |")
    return "\n".join(lines)


def areas(summary: Section, cell: str, variant: str) -> dict[int, float]:
    """Mean accuracy over the budget, by seed."""
    return {run["seed"]: run["area"] for run in summary["cells"][cell]["variants"][variant]["seeds"]}


def _mean(found: list[dict[int, float]]) -> dict[int, float]:
    return {seed: float(np.mean([each[seed] for each in found])) for seed in set.intersection(*map(set, found))}


def _less(first: dict[int, float], second: dict[int, float]) -> PairedDifference | None:
    seeds = sorted(set(first) & set(second))
    return paired_difference([first[seed] for seed in seeds], [second[seed] for seed in seeds]) if seeds else None


def _met(failures: list[str], num: int, what: str) -> str:
    if not failures:
        return f"met in all {num} {what}"
    return f"missed in {len(failures)} of {num} {what}: {'; '.join(failures)}"


if __name__ == "__main__":
    main()
