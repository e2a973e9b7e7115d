# ruff: noqa: RUF001 - dashes and minus signs as readers expect them
"""The tables of a comparison, from its summary: markdown, and the texts that the page sets in its own tables.

A cost or a ratio that is only known to exceed something says so; nothing is filled in.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from didact.compare.measures import MIN_PAIRS

Section = dict[str, Any]

HEADINGS = (
    "variant",
    "seeds",
    "mean accuracy",
    "difference [95%]",
    "verdict",
    "final",
    "reached",
    "rollouts to target",
    "ratio [95%]",
    "ratio, tokens",
    "with signal",
    "updates",
)


def ranked(cell: Section, summary: Section) -> list[str]:
    """Variants as tables list them: baseline, oracle, then by median difference from the baseline."""
    rows = cell["variants"]
    fixed = [name for name in (summary["baseline"], summary["oracle"]) if name]

    def order(name: str) -> tuple[bool, float]:
        difference = rows[name]["difference"]
        return difference is None, -difference["median"] if difference else 0.0

    return [*fixed, *sorted((name for name in rows if name not in fixed), key=order)]


def table_row(name: str, row: Section) -> list[str]:
    """The texts under `HEADINGS`."""
    total = row["runs"] + row["failed"] + row["missing"]
    ratio = row["ratio"] or {}
    return [
        name,
        f"{row['runs']}" if row["runs"] == total else f"{row['runs']} of {total}",
        said_number(row["area"], ".3f"),
        said_difference(row["difference"]),
        said_verdict(row),
        said_number(row["final"], ".3f"),
        f"{row['reached']} of {row['runs']}",
        _said_cost(row),
        said_ratio(ratio.get("rollouts")),
        said_ratio(ratio.get("tokens"), interval=False),
        said_number(row["share_with_signal"], ".0%"),
        said_number(row["spent"].get("updates"), ",.0f"),
    ]


def markdown_table(summary: Section, cell: str) -> str:
    """The main table of a cell.

    Raises:
        ValueError: no such cell.
    """
    if cell not in summary["cells"]:
        raise ValueError(f"no cell {cell!r} in this comparison; there are {', '.join(summary['cells'])}")
    rows = summary["cells"][cell]["variants"]
    return _markdown(HEADINGS, [table_row(name, rows[name]) for name in ranked(summary["cells"][cell], summary)])


def markdown_overview(summary: Section) -> str:
    """All cells in one table: difference in mean accuracy from the baseline, and the verdict where one stands."""
    cells = summary["cells"]
    names = [row["name"] for row in summary["settings"]["variants"] if row["name"] != summary["baseline"]]
    texts = [[name, *(said_overview(cell["variants"][name]) for cell in cells.values())] for name in names]
    return _markdown(("variant", *cells), texts)


def said_overview(row: Section) -> str:
    if not row["difference"]:
        return "–"
    # A verdict that does not survive the correction for many variants is no word in a table of all cells.
    stands = row["difference"]["p_holm"] is None or row["difference"]["p_holm"] < 0.05
    mark = {"better": " better", "worse": " worse"}.get(row["verdict"], "") if stands else ""
    return f"{_signed(row['difference']['median'])}{mark}"


def said_difference(difference: Section | None) -> str:
    if difference is None:
        return "–"
    said = _signed(difference["median"])
    if not difference["interval"]:
        return said
    low, high = (_signed(end) for end in difference["interval"])
    return f"{said} [{low}, {high}]"


def said_verdict(row: Section) -> str:
    """The verdict, and the adjusted p where it takes the verdict back."""
    if row["verdict"] is None:
        return "–"
    if row["difference"]["pairs"] < MIN_PAIRS:
        return f"cannot tell: {row['difference']['pairs']} of {MIN_PAIRS} pairs needed"
    p = row["difference"]["p_holm"]
    doubt = f" (p = {p:.2g})" if row["verdict"] != "cannot tell" and p is not None and p >= 0.05 else ""
    return f"{row['verdict']}{doubt}"


def said_ratio(ratio: Section | None, *, interval: bool = True) -> str:
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
    if not interval or not ratio["interval"] or said == "not known":
        return said
    ends = [f"{end:.2f}" if end is not None else "∞" for end in ratio["interval"]]
    return f"{said} [{', '.join(ends)}]"


def _said_cost(row: Section) -> str:
    """Median rollouts to the target; a bound where the middle run never got there."""
    spent = row["spent"].get("rollouts")
    if row["cost"].get("rollouts") is None and spent is not None:
        return f"above {spent:,.0f}"
    return said_number(row["cost"].get("rollouts"), ",.0f")


def said_share(found: Section | None) -> str:
    """The share of the oracle's gain."""
    if found is None:
        return "–"
    if not found["interval"]:
        return f"{found['share']:.0%}"
    low, high = found["interval"]
    return f"{found['share']:.0%} [{low:.0%} to {high:.0%}]".replace("-", "−")


def _signed(value: float) -> str:
    return f"{value:+z.3f}".replace("-", "−")


def said_number(value: float | None, form: str) -> str:
    """Formatted, or a dash for what is not known."""
    return "–" if value is None else format(value, form)


def _markdown(headings: Iterable[str], rows: Iterable[list[str]]) -> str:
    headings = list(headings)
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in lines) + "\n"
