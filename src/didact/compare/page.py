"""One self-contained HTML page about a comparison: what `didact.pages` shows of it, in `comparison.html`.

`render_page(summary)` is a pure function, so the same runs give the same bytes; `write_page` puts the page and
`summary.json` beside the runs. The axis of the curves is chosen with radio buttons and a style sheet.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from didact.compare.figures import AXIS_LABEL, HUES, curves, differences, inline, panel, ratios
from didact.compare.measures import MIN_PAIRS
from didact.compare.summary import summarise, write_summary
from didact.compare.tables import (
    AXES_NOTE,
    MAIN,
    RULE,
    TRAINING,
    axes_headings,
    axes_row,
    main_row,
    ranked,
    said_overview,
    said_target,
    said_verdict,
    training_note,
    training_row,
)
from didact.files import locked, write_whole
from didact.pages import Figure, Table, render

Section = dict[str, Any]

Tell = Callable[[int, int], None]

PAGE_NAME = "comparison.html"


def _silent(done: int, total: int) -> None:
    pass


def write_page(folder: str | Path, summary: Section | None = None, tell: Tell = _silent) -> Path:
    """Write `comparison.html` and `summary.json` into the folder of a comparison, and say where the page is.

    Args:
        tell: is told how many cells of how many have been drawn; each takes a second or two.

    Raises:
        FileNotFoundError: no comparison there. ValueError: damaged settings or runs.
    """
    summary = summarise(folder) if summary is None else summary
    page, path = render_page(summary, tell), Path(folder) / PAGE_NAME
    with locked(Path(folder) / ".page.lock", seconds=None):  # two reports of one comparison take turns
        write_summary(folder, summary)
        write_whole(path, page)
    return path


def render_page(summary: Section, tell: Tell = _silent) -> str:
    """The page as text."""
    headline, evidence = _headline(summary)
    cells = []
    for number, (name, cell) in enumerate(summary["cells"].items()):
        tell(number, len(summary["cells"]))
        cells.append({"name": name, **_cell(number, cell, summary)})
    tell(len(summary["cells"]), len(summary["cells"]))
    failed = [[run["variant"], run["cell"], str(run["seed"]), run["error"]] for run in summary["failures"]]
    return render(
        "comparison.html",
        title=summary["name"],
        eyebrow=_eyebrow(summary),
        headline=headline,
        evidence=evidence,
        summary=summary,
        target=said_target(summary),
        rule=RULE,
        least_pairs=MIN_PAIRS,
        overview=_overview(summary) if len(cells) > 1 else None,
        cells=cells,
        training_note=training_note(summary),
        axes_note=AXES_NOTE,
        failures=Table(("variant", "setting", "seed", "error"), failed) if failed else None,
        settings=json.dumps(summary["settings"], indent=2, ensure_ascii=False),
    )


def _eyebrow(summary: Section) -> list[str]:
    compared = len(summary["settings"]["variants"])
    return [
        summary["name"],
        f"{compared} variants, {len(summary['seeds'])} seeds, "
        + ("1 setting" if len(summary["cells"]) == 1 else f"{len(summary['cells'])} settings"),
        f"{summary['finished']:,} of {summary['planned']:,} runs finished",
        *([f"{len(summary['failures'])} failed"] if summary["failures"] else []),
    ]


def _headline(summary: Section) -> tuple[str, str]:
    """How often something beat the baseline, oracles left out; how sure that is."""
    verdicts = [
        row["verdict"]
        for cell in summary["cells"].values()
        for name, row in cell["variants"].items()
        if row["verdict"] and name not in summary["oracles"]
    ]
    baseline = summary["baseline"]
    if not verdicts:
        return (
            f"Nothing to compare with {baseline} yet",
            "A comparison needs finished runs of the same seed on both sides.",
        )
    better, worse, unsure = (verdicts.count(word) for word in ("better", "worse", "cannot tell"))
    return (
        f"Better than {baseline} in {better} of {len(verdicts)} comparisons, worse in {worse}",
        f"In {unsure} it cannot be told: corrected for the number of variants tried, the difference could be chance, "
        f"its 95% interval holds zero, or there are fewer than {MIN_PAIRS} pairs. Oracles are not counted.",
    )


def _overview(summary: Section) -> Table:
    cells = summary["cells"]
    names = [row["name"] for row in summary["settings"]["variants"] if row["name"] != summary["baseline"]]
    found = {name: [cell["variants"][name] for cell in cells.values()] for name in names}
    rows = [[name, *(_coloured(said_overview(row), row) for row in rows)] for name, rows in found.items()]
    return Table(("variant", *cells), rows)


def _cell(number: int, cell: Section, summary: Section) -> Section:
    """What `comparison.html` shows of a cell; nothing where no run has finished."""
    found = cell["variants"]
    if not any(row["runs"] for row in found.values()):
        return {"lead": "No finished run.", "curves": []}
    main = []
    for variant in ranked(cell, summary):
        texts: list[Any] = main_row(variant, found[variant])
        texts[MAIN.index("verdict")] = _coloured(said_verdict(found[variant]), found[variant])
        main.append(texts)
    names = ranked(cell, summary)
    training = [training_row(name, found[name]) for name in names if found[name]["runs"]]
    axes = [axes_row(name, found[name], cell) for name in names if found[name]["ratio"]]
    return {
        "lead": f"{cell['rollouts']:,.0f} rollouts from an accuracy of {cell['start']:.3f}; "
        f"target: {said_target(summary)}.",
        "main": Table(MAIN, main),
        "curves": _curves(number, cell, summary),
        "forests": _forests(number, cell, summary),
        "training": Table(TRAINING, training),
        "panels": _panels(number, cell, summary),
        "axes": Table(axes_headings(cell), axes),
    }


def _curves(number: int, cell: Section, summary: Section) -> list[tuple[str, Figure]]:
    """The same curves on each axis."""
    drawn = []
    for axis in cell["axes"]:
        svg = inline(
            partial(curves, against=axis), cell, summary, name=f"curves-{number}-{axis}",
            description=f"Held-out accuracy against {AXIS_LABEL[axis]}",
        )  # fmt: skip
        drawn.append((axis.replace("_", " "), Figure(caption=_legend(cell, summary), svg=svg)))
    return drawn


def _legend(cell: Section, summary: Section) -> str:
    text = f"Median over seeds, at equal rollouts. Full line in ink: {summary['baseline']}"
    oracles = summary["oracles"]
    text += f"; broken: {' and '.join(oracles)}, told the true pass rates" if oracles else ""
    many = len(cell["variants"]) - 1 - len(oracles) > len(HUES)
    return text + (f"; in colour the {len(HUES)} highest, chosen after the fact; the rest grey." if many else ".")


def _forests(number: int, cell: Section, summary: Section) -> list[Figure]:
    if not any(row["difference"] for row in cell["variants"].values()):
        return []
    first = inline(differences, cell, summary, name=f"differences-{number}", description="Paired differences")
    second = inline(ratios, cell, summary, name=f"ratios-{number}", description="Paired ratios of rollouts to target")
    return [
        Figure(
            f"Difference from {summary['baseline']}",
            "Grey dots: one pair each. Large dot and line: median and its 95% interval.",
            first,
        ),
        Figure(
            f"Rollouts to target, against {summary['baseline']}",
            "Dot and line: median ratio and its 95% interval, all rollouts counted; pale where there are too few pairs "
            "for one. Arrow: it goes on. Circle: the median if only rollouts that trained were counted, as many papers "
            "do. Colour: the verdict on mean accuracy, where this interval leaves out 1.",
            second,
        ),
    ]


def _panels(number: int, cell: Section, summary: Section) -> list[Figure]:
    """Each variant by itself, with its spread."""
    fixed = (summary["baseline"], *summary["oracles"])
    names = [name for name in ranked(cell, summary) if cell["variants"][name]["curve"] and name not in fixed]
    drawn = []
    for place, name in enumerate(names):
        svg = inline(
            partial(panel, name=name), cell, summary, name=f"panel-{number}-{place}",
            description=f"Held-out accuracy of {name} against rollouts",
        )  # fmt: skip
        drawn.append(Figure(name, svg=svg))
    return drawn


def _coloured(text: str, row: Section) -> tuple[str, str]:
    return text, row["verdict"] if row["verdict"] in ("better", "worse") else "told"
