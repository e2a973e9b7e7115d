# ruff: noqa: RUF001 - dashes and minus signs as readers expect them
"""The tables of a comparison, from its summary: markdown, and the texts that the page sets in its own tables.

    main      what was reached, what it cost in rollouts and in response tokens, and the verdict
    training  what a run trained on, and how near to the oracle it came
    axes      the cost to the target over the baseline's, whatever is counted

A table is a list of texts a variant, its name first. A cost or a ratio that is only known to exceed something says so;
nothing is filled in.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from didact.compare.measures import MIN_PAIRS

Section = dict[str, Any]
Row = list[str]

#: What the words of every table mean: one rule for the command line, the page and the published tables.
RULE = (
    "“Better” or “worse” is said where the sign-flip test of the mean paired difference, Holm-corrected for the "
    "variants tried in the setting, has p below 0.05, the 95% interval of the median leaves out zero, and both lie on "
    "one side of it. All else is “cannot tell”. The mean is given where it and the median differ in sign. Oracles are "
    "told the truth and are no candidates: they stay out of the correction, and their own p is raw. Settings are not "
    "corrected for one another."
)
MAIN = (
    "variant",
    "seeds",
    "mean accuracy",
    "difference [95%]",
    "p, corrected",
    "verdict",
    "final",
    "reached",
    "rollouts to target",
    "ratio [95%]",
    "tokens to target",
    "ratio, tokens [95%]",
)
TRAINING = (
    "variant",
    "updates",
    "with signal",
    "prompts trained on",
    "largest share of one",
    "evidence age",
    "calibration error",
    "of the oracle’s gain",
    "learning rate",
)
AXES_NOTE = (
    "Every rollout counted; response tokens; prompt tokens, a prompt’s once for each of its rollouts; only the "
    "rollouts that trained: what leaving probing off the count would claim; optimiser steps, as most papers plot it; "
    "seconds on a shared machine, an oracle’s with its look at the truth."
)


def ranked(cell: Section, summary: Section) -> list[str]:
    """Variants as tables list them: baseline, oracles, then by median difference from the baseline."""
    rows = cell["variants"]
    fixed = [summary["baseline"], *summary["oracles"]]

    def order(name: str) -> tuple[bool, float]:
        difference = rows[name]["difference"]
        return difference is None, -difference["median"] if difference else 0.0

    return [*fixed, *sorted((name for name in rows if name not in fixed), key=order)]


def main_row(name: str, row: Section) -> Row:
    """The texts under `MAIN`."""
    total = row["runs"] + row["failed"] + row["missing"]
    ratio = row["ratio"] or {}
    return [
        name,
        f"{row['runs']}" if row["runs"] == total else f"{row['runs']} of {total}",
        said_number(row["area"], ".3f"),
        said_difference(row["difference"]),
        said_p(row["difference"]),
        said_verdict(row),
        said_number(row["final"], ".3f"),
        f"{row['reached']} of {row['runs']}",
        _said_cost(row, "rollouts"),
        said_ratio(ratio.get("rollouts")),
        _said_cost(row, "tokens"),
        said_ratio(ratio.get("tokens")),
    ]


def training_row(name: str, row: Section) -> Row:
    """The texts under `TRAINING`: medians over seeds, of whole runs; evidence age is in steps."""
    return [
        name,
        said_number(row["spent"].get("updates"), ",.0f"),
        said_number(row["share_with_signal"], ".0%"),
        said_number(row["prompts_trained"], ",.0f"),
        said_number(row["largest_share"], ".2%"),
        said_number(row["evidence_age"], ".1f"),
        said_number(row["calibration"], ".3f"),
        said_share(row["toward_oracle"]),
        said_number(row["learning_rate"], ".3g"),
    ]


def axes_headings(cell: Section) -> Row:
    """The axes that were measured, `rollouts trained` with the share of rollouts that trained before it."""
    return ["variant", "share that trained", *(axis.replace("_", " ") for axis in cell["axes"])]


def axes_row(name: str, row: Section, cell: Section) -> Row:
    """The texts under `axes_headings`: ratios of what reaching the target cost."""
    spent, trained = row["spent"].get("rollouts"), row["spent"].get("rollouts_trained")
    share = trained / spent if spent and trained is not None else None
    ratios = [said_ratio((row["ratio"] or {}).get(axis)) for axis in cell["axes"]]
    return [name, said_number(share, ".0%"), *ratios]


def training_note(summary: Section) -> str:
    """What the columns of `TRAINING` are."""
    note = (
        "Medians over seeds, of whole runs: optimiser steps, share of groups with signal, distinct prompts, the "
        "largest share that one prompt had of the rollouts trained on, the age in steps of the evidence behind a plan, "
        "and how far the pass rates that the method believed when it planned lay from those that came back (in ten "
        "bins; not known of runs that were made before that was the method’s own belief)."
    )
    if summary["oracle"]:
        note += f" The oracle is {summary['oracle']}; shares of its gain are given only where its verdict is “better”."
    return note


def markdown_table(summary: Section, cell: str) -> str:
    """The main table of a cell.

    Raises:
        ValueError: no such cell.
    """
    found = _found(summary, cell)
    return _markdown(MAIN, [main_row(name, found["variants"][name]) for name in ranked(found, summary)])


def markdown_training(summary: Section, cell: str) -> str:
    """What the variants of a cell trained on.

    Raises:
        ValueError: no such cell.
    """
    found = _found(summary, cell)
    return _markdown(TRAINING, [training_row(name, found["variants"][name]) for name in ranked(found, summary)])


def markdown_axes(summary: Section, cell: str) -> str:
    """The cost to the target over the baseline's on every axis, of the variants that were compared.

    Raises:
        ValueError: no such cell.
    """
    found = _found(summary, cell)
    names = [name for name in ranked(found, summary) if found["variants"][name]["ratio"]]
    return _markdown(axes_headings(found), [axes_row(name, found["variants"][name], found) for name in names])


def markdown_overview(summary: Section) -> str:
    """All cells in one table: difference in mean accuracy from the baseline, and the verdict where there is a word."""
    cells = summary["cells"]
    names = [row["name"] for row in summary["settings"]["variants"] if row["name"] != summary["baseline"]]
    texts = [[name, *(said_overview(cell["variants"][name]) for cell in cells.values())] for name in names]
    return _markdown(("variant", *cells), texts)


def said_target(summary: Section) -> str:
    """What is asked the cost of: "accuracy at the start + 0.1"."""
    if summary["gain_share"] is None:
        return f"accuracy at the start + {summary['gain']}"
    return f"accuracy at the start + {summary['gain_share']:.0%} of what {summary['baseline']} gains"


def said_overview(row: Section) -> str:
    """ "+0.035 better"; "−0.002" where it cannot be told; "+0.004 (mean −0.003)" where that lies on the other side."""
    if not row["difference"]:
        return "–"
    said = said_signed(row["difference"]["median"])
    if row["difference"]["signs_differ"]:
        return f"{said} (mean {said_signed(row['difference']['mean'])})"
    return said if row["verdict"] == "cannot tell" else f"{said} {row['verdict']}"


def said_difference(difference: Section | None) -> str:
    if difference is None:
        return "–"
    said = said_signed(difference["median"])
    if not difference["interval"]:
        return said
    low, high = (said_signed(end) for end in difference["interval"])
    return f"{said} [{low}, {high}]"


def said_p(difference: Section | None) -> str:
    """The p on which the verdict rests; an oracle's is raw, that is not corrected, and says so."""
    if difference is None:
        return "–"
    p = difference["p"] if difference["p_holm"] is None else difference["p_holm"]
    return f"{p:.2g}{' (raw)' if difference['p_holm'] is None else ''}"


def said_verdict(row: Section) -> str:
    """The verdict, and what keeps it from being a word where that can be seen neither in interval nor in p."""
    if row["verdict"] is None:
        return "–"
    if row["difference"]["pairs"] < MIN_PAIRS:
        return f"cannot tell: {row['difference']['pairs']} of {MIN_PAIRS} pairs needed"
    if row["difference"]["signs_differ"]:
        return f"cannot tell: mean {said_signed(row['difference']['mean'])}"
    return str(row["verdict"])


def said_ratio(ratio: Section | None) -> str:
    """ "0.61 [0.52, 0.80]"; "above 1.30" or "below 0.80" where only a bound is known."""
    if ratio is None:
        return "–"
    low, high = ratio["low"], ratio["high"]
    if low == high:
        said = f"{low:.2f}"
    elif high is None:
        said = f"above {low:.2f}" if low else "not known"
    else:
        said = f"{low:.2f} to {high:.2f}" if low else f"below {high:.2f}"
    if not ratio["interval"] or said == "not known":
        return said
    ends = [f"{end:.2f}" if end is not None else "∞" for end in ratio["interval"]]
    return f"{said} [{', '.join(ends)}]"


def _said_cost(row: Section, axis: str) -> str:
    """Median expense to the target; a bound where the middle run never got there."""
    cost, spent = row["cost"].get(axis), row["spent"].get(axis)
    if cost is None and spent is not None:
        return f"above {spent:,.0f}"
    return said_number(cost, ",.0f")


def said_share(found: Section | None) -> str:
    """The share of the oracle's gain."""
    if found is None:
        return "–"
    if not found["interval"]:
        return f"{found['share']:.0%}"
    low, high = found["interval"]
    return f"{found['share']:.0%} [{low:.0%} to {high:.0%}]".replace("-", "−")


def said_signed(value: float) -> str:
    """Three digits after the point; four where three would be zeros, or "worse" could stand beside +0.000."""
    digits = 4 if 0.00005 <= abs(value) < 0.0005 else 3
    return f"{value:+z.{digits}f}".replace("-", "−")


def said_number(value: float | None, form: str) -> str:
    """Formatted, or a dash for what is not known."""
    return "–" if value is None else format(value, form)


def _found(summary: Section, cell: str) -> Section:
    if cell not in summary["cells"]:
        raise ValueError(f"no cell {cell!r} in this comparison; there are {', '.join(summary['cells'])}")
    found: Section = summary["cells"][cell]
    return found


def _markdown(headings: Iterable[str], rows: Iterable[Row]) -> str:
    headings = list(headings)
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in lines) + "\n"
