# ruff: noqa: RUF001 - dashes and quotes as readers expect them
"""One self-contained HTML page about a comparison: no script, no network, light and dark, desk and phone.

`render_page(summary)` is a pure function, so the same runs give the same bytes; `write_page` puts the page and
`summary.json` beside the runs. The layout is `page.html` beside this file; the axis of the curves is chosen with radio
buttons and a style sheet. Every text from outside (names, options, errors) passes through `html.escape`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import partial
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
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
    said_verdict,
    training_note,
    training_row,
)
from didact.files import locked, write_whole

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
    sections = [_overview(summary)] if len(summary["cells"]) > 1 else []
    for number, (name, cell) in enumerate(summary["cells"].items()):
        tell(number, len(summary["cells"]))
        sections.append(_cell(number, name, cell, summary))
    tell(len(summary["cells"]), len(summary["cells"]))
    sections += [_failures(summary), _settings(summary)]
    template = Template(files("didact.compare").joinpath("page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(f"{summary['name']} · didact"),
        eyebrow=_eyebrow(summary),
        headline=headline,
        evidence=evidence,
        warnings=_warnings(summary),
        notes="\n".join(f"<li>{note}</li>" for note in _notes(summary)),
        sections="\n".join(section for section in sections if section),
        footer="Drawn from the runs’ records. Every number on this page: <code>summary.json</code>.",
    )


def _eyebrow(summary: Section) -> str:
    compared = len(summary["settings"]["variants"])
    facts = [
        f"<b>{escape(summary['name'])}</b>",
        f"{compared} variants, {len(summary['seeds'])} seeds, "
        + ("1 setting" if len(summary["cells"]) == 1 else f"{len(summary['cells'])} settings"),
        f"{summary['finished']:,} of {summary['planned']:,} runs finished",
    ]
    facts += [f"{len(summary['failures'])} failed"] if summary["failures"] else []
    return " · ".join(facts)


def _headline(summary: Section) -> tuple[str, str]:
    """How often something beat the baseline, oracles left out; how sure that is."""
    verdicts = [
        row["verdict"]
        for cell in summary["cells"].values()
        for name, row in cell["variants"].items()
        if row["verdict"] and name not in summary["oracles"]
    ]
    baseline = escape(summary["baseline"])
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


def _warnings(summary: Section) -> str:
    if not summary["warnings"]:
        return ""
    items = "".join(f"<li>{escape(text)}</li>" for text in summary["warnings"])
    return f'<div class="box"><h2>To bear in mind</h2><ul>{items}</ul></div>'


def _notes(summary: Section) -> list[str]:
    baseline = escape(summary["baseline"])
    return [
        "Every rollout counts: pilots, screened-out, discarded and errored ones. All curves are cut at the same number "
        "of rollouts.",
        "<b>Mean accuracy</b> is the height of the learning curve, averaged over rollouts. <b>Difference</b> is its "
        f"median over seeds against {baseline} with the same seed.",
        RULE,
        f"<b>Target</b>: {summary['gain']:.2f} above the accuracy before training, fixed beforehand, first met by the "
        "line between evaluations. <b>Ratio</b>: what it took, over what it took the baseline; below 1 is cheaper. "
        "Tokens are those of responses.",
        "A run that never reached the target is not dropped: its cost exceeds what it spent, which bounds the ratio. "
        "“above” and “below” say that the median itself is only known as a bound; ∞ ends an interval that has none.",
        f"Intervals are bootstraps over pairs. Below {MIN_PAIRS} pairs there is no 95% interval, and no verdict.",
    ]


def _overview(summary: Section) -> str:
    cells = summary["cells"]
    names = [row["name"] for row in summary["settings"]["variants"] if row["name"] != summary["baseline"]]
    rows = []
    for name in names:
        found = [cell["variants"][name] for cell in cells.values()]
        rows.append([name, *(_coloured(said_overview(row), row) for row in found)])
    return (
        f'<section><h2>All settings</h2><p class="lead">Mean accuracy minus that of {escape(summary["baseline"])}, '
        f"median over seeds.</p>{_table(('variant', *cells), rows)}</section>"
    )


def _cell(number: int, name: str, cell: Section, summary: Section) -> str:
    rows = cell["variants"]
    if not any(row["runs"] for row in rows.values()):
        return f'<section><h2>{escape(name)}</h2><p class="lead">No finished run.</p></section>'
    table = []
    for variant in ranked(cell, summary):
        texts = _escaped(main_row(variant, rows[variant]))
        texts[MAIN.index("verdict")] = _coloured(said_verdict(rows[variant]), rows[variant])
        table.append(texts)
    lead = (
        f"{cell['rollouts']:,.0f} rollouts from an accuracy of {cell['start']:.3f}; "
        f"the target is {summary['gain']:.2f} above that."
    )
    return (
        f'<section><h2>{escape(name)}</h2><p class="lead">{lead}</p>{_table(MAIN, table)}'
        f'<div class="figures">{_curves(number, cell, summary)}{_forests(number, cell, summary)}</div>'
        f"{_training(cell, summary)}{_panels(number, cell, summary)}{_axes(cell, summary)}</section>"
    )


def _curves(number: int, cell: Section, summary: Section) -> str:
    """The same curves on each axis, one shown at a time."""
    buttons, drawn, legend = "", "", _legend(cell, summary)
    for place, axis in enumerate(cell["axes"]):
        svg = inline(
            partial(curves, against=axis), cell, summary, name=f"curves-{number}-{axis}",
            description=f"Held-out accuracy against {AXIS_LABEL[axis]}",
        )  # fmt: skip
        key = f"axis-{number}-{place}"
        buttons += f'<input type="radio" name="axis-{number}" id="{key}"{" checked" * (place == 0)}>'
        buttons += f'<label for="{key}">{axis.replace("_", " ")}</label>'
        drawn += f"<figure>{svg}<figcaption>{legend}</figcaption></figure>"
    return f'<div class="axes"><h3>Held-out accuracy</h3>{buttons}{drawn}</div>'


def _legend(cell: Section, summary: Section) -> str:
    text = f"Median over seeds, at equal rollouts. Full line in ink: {escape(summary['baseline'])}"
    oracles = summary["oracles"]
    text += f"; broken: {escape(' and '.join(oracles))}, told the true pass rates" if oracles else ""
    many = len(cell["variants"]) - 1 - len(oracles) > len(HUES)
    return text + (f"; in colour the {len(HUES)} highest, chosen after the fact; the rest grey." if many else ".")


def _forests(number: int, cell: Section, summary: Section) -> str:
    if not any(row["difference"] for row in cell["variants"].values()):
        return ""
    baseline = escape(summary["baseline"])
    first = inline(differences, cell, summary, name=f"differences-{number}", description="Paired differences")
    second = inline(ratios, cell, summary, name=f"ratios-{number}", description="Paired ratios of rollouts to target")
    return (
        f"<figure><h3>Difference from {baseline}</h3>{first}<figcaption>Grey dots: one pair each. Large dot and line: "
        "median and its 95% interval.</figcaption></figure>"
        f"<figure><h3>Rollouts to target, against {baseline}</h3>{second}<figcaption>Dot and line: median ratio and "
        "its 95% interval, all rollouts counted; pale where there are too few pairs for one. Arrow: it goes on. "
        "Circle: the median if only rollouts that trained were counted, as many papers do. Colour: the verdict on mean "
        "accuracy, where this interval leaves out 1.</figcaption></figure>"
    )


def _panels(number: int, cell: Section, summary: Section) -> str:
    """Each variant by itself, with its spread."""
    baseline, oracle = summary["baseline"], summary["oracle"]
    names = [
        name
        for name in ranked(cell, summary)
        if cell["variants"][name]["curve"] and name not in (baseline, *summary["oracles"])
    ]
    figures = "".join(
        f"<figure><h3>{escape(name)}</h3>"
        + inline(
            partial(panel, name=name), cell, summary, name=f"panel-{number}-{place}",
            description=f"Held-out accuracy of {name} against rollouts",
        )
        + "</figure>"
        for place, name in enumerate(names)
    )  # fmt: skip
    about = f"In colour the variant, in grey {escape(baseline)}" + (f", broken {escape(oracle)}" if oracle else "")
    if not names:
        return ""
    return (
        f"<details><summary>Each variant by itself</summary><p>{about}. Bands: the middle half of the seeds.</p>"
        f'<div class="panels">{figures}</div></details>'
    )


def _training(cell: Section, summary: Section) -> str:
    found = cell["variants"]
    rows = [_escaped(training_row(name, found[name])) for name in ranked(cell, summary) if found[name]["runs"]]
    return (
        "<details open><summary>What was trained on</summary>"
        f"<p>{escape(training_note(summary))}</p>{_table(TRAINING, rows)}</details>"
    )


def _axes(cell: Section, summary: Section) -> str:
    """What the ratio becomes when something else is counted."""
    found = cell["variants"]
    rows = [_escaped(axes_row(name, found[name], cell)) for name in ranked(cell, summary) if found[name]["ratio"]]
    return (
        "<details><summary>The same runs on other axes</summary><p>Expense to the target over the baseline’s. "
        f"{AXES_NOTE}</p>{_table(axes_headings(cell), rows)}</details>"
    )


def _failures(summary: Section) -> str:
    rows = [[run["variant"], run["cell"], str(run["seed"]), run["error"]] for run in summary["failures"]]
    if not rows:
        return ""
    table = _table(("variant", "setting", "seed", "error"), map(_escaped, rows))
    return f'<section><h2>Failed runs</h2><p class="lead">Counted, and left out of every figure.</p>{table}</section>'


def _settings(summary: Section) -> str:
    text = escape(json.dumps(summary["settings"], indent=2, ensure_ascii=False))
    return f"<section><details><summary>Settings</summary><pre>{text}</pre></details></section>"


def _escaped(row: list[str]) -> list[str]:
    """As `_table` takes it."""
    return [row[0], *map(escape, row[1:])]


def _table(headings: Iterable[str], rows: Iterable[list[str]]) -> str:
    """The first of a row is a name, escaped here; the other texts are HTML already."""
    head = "".join(f"<th>{escape(text)}</th>" for text in headings)
    body = "\n".join(
        f"<tr><th>{escape(name)}</th>{''.join(f'<td>{text}</td>' for text in texts)}</tr>" for name, *texts in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _coloured(text: str, row: Section) -> str:
    kind = row["verdict"] if row["verdict"] in ("better", "worse") else "told"
    return f'<span class="{kind}">{escape(text)}</span>'
