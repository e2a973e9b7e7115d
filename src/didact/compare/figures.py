"""The figures of a comparison, drawn from its summary: inline SVG for the page, PNG for a README.

    curves       held-out accuracy against an expense, all variants of a cell in one picture
    panel        one variant against the baseline and the oracle, with the quartiles over seeds
    differences  mean accuracy minus the baseline's: each pair, the median, its 95% interval
    ratios       expense to the target over the baseline's, all rollouts counted and only trained ones counted

A row of a forest plot has the colour of its verdict, or none, and a ratio only if its interval leaves out 1. Oracles
are drawn in broken ink.

The same drawing serves both: for the page its colours are placeholders that become CSS variables, as in
`didact.pages.drawing`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from didact.compare.tables import ranked
from didact.pages.drawing import VARIABLES, blank, compact, cut, plain_axes, style, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Section = dict[str, Any]
Kind = Literal["curves", "differences", "ratios"]

AXIS_LABEL = {
    "rollouts": "rollouts, all counted",
    "tokens": "response tokens, all counted",
    "prompt_tokens": "prompt tokens, read once a rollout",
    "rollouts_trained": "rollouts that trained",
    "updates": "optimiser updates",
    "seconds": "seconds",
}
#: Lines told apart by colour; mid-tones that hold on white and on black. More variants than these are drawn in grey.
HUES = ("#2a86c8", "#d9822b", "#379a6b", "#c2548c", "#8a6fc9", "#a08a2c")
_BROKEN = ((3, 2), (1, 1.5), (6, 2))  # oracles, the one that others are measured by first
_ROW = 25.0  # height of a line of a forest plot
_DPI = 200


@dataclass(frozen=True)
class Palette:
    """Colours by what they are for."""

    paper: str
    ink: str
    muted: str
    rule: str
    accent: str
    warm: str
    soft: str
    faint: str


PAGE = Palette(**{name: colour for colour, name in VARIABLES.items()})
LIGHT = Palette("#ffffff", "#17202b", "#66717f", "#e3e7ec", "#1d6a9c", "#b4600f", "#c3ccd6", "#e4e9ee")

Draw = Callable[[Section, Section, Palette], "Figure"]


def figure(
    summary: Section, kind: Kind, path: str | Path, *, cell: str | None = None, against: str = "rollouts"
) -> Path:
    """Draw one figure into a PNG file.

    Args:
        cell: which cell; None is the first.
        against: the x-axis of "curves".

    Raises:
        ValueError: an unknown kind or cell, or one without finished runs.
    """
    draw: dict[str, Draw] = {
        "curves": lambda found, whole, palette: curves(found, whole, palette, against=against),
        "differences": differences,
        "ratios": ratios,
    }
    name = next(iter(summary["cells"])) if cell is None else cell
    for what, given, known in (("kind", kind, draw), ("cell", name, summary["cells"])):
        if given not in known:
            raise ValueError(f"no {what} {given!r}; there are {', '.join(known)}")
    found = summary["cells"][name]
    if not any(row["runs"] for row in found["variants"].values()):
        raise ValueError(f"nothing to draw: cell {name!r} has no finished run")
    if kind == "curves" and against not in found["axes"]:
        raise ValueError(f"no axis {against!r} in cell {name!r}; there are {', '.join(found['axes'])}")
    with style():
        draw[kind](found, summary, LIGHT).savefig(path, format="png", dpi=_DPI, facecolor=LIGHT.paper)
    return Path(path)


def inline(draw: Draw, cell: Section, summary: Section, *, name: str, description: str) -> str:
    """A figure as SVG for the page; `name` keeps the ids of one page apart."""
    with style(name):
        return to_svg(draw(cell, summary, PAGE), description)


def curves(cell: Section, summary: Section, palette: Palette, *, against: str = "rollouts") -> Figure:
    """Median accuracy of every variant; baseline and oracles in ink, the six with the largest area in colour."""
    chart, axes = _chart(palette, 300, left=42, right=110, bottom=44, top=10)
    drawn = [name for name in ranked(cell, summary) if cell["variants"][name]["curve"]]
    others = [name for name in drawn if name not in (summary["baseline"], *summary["oracles"])]
    broken = dict(zip(summary["oracles"], itertools.cycle(_BROKEN), strict=False))
    hue = dict(zip(others, HUES, strict=False))
    ends = []
    for name in reversed(drawn):
        curve = cell["variants"][name]["curve"]
        colour, width = (hue[name], 1.7) if name in hue else (palette.soft, 1.0)
        if name not in others:
            colour, width = palette.ink, 1.9
        (line,) = axes.plot(curve[against], curve["accuracy"], color=colour, linewidth=width)
        line.set_dashes(broken.get(name, ()))
        if name in hue or name not in others:
            ends.append((curve["accuracy"][-1], name, colour))
    _accuracy_axis(axes, [cell["variants"][name]["curve"] for name in drawn], palette)
    axes.set_xlim(left=0)
    _expense_axis(axes, against, palette)
    _label_ends(axes, ends)
    return chart


def panel(cell: Section, summary: Section, palette: Palette, *, name: str) -> Figure:
    """One variant with its quartiles over seeds, against the baseline with its own, and the oracle."""
    chart, axes = _chart(palette, 250, left=42, right=12, bottom=44, top=10)
    rows, baseline, oracle = cell["variants"], summary["baseline"], summary["oracle"]
    shown = [each for each in (baseline, oracle, name) if each and rows[each]["curve"]]
    for each in shown:
        curve = rows[each]["curve"]
        colour = palette.accent if each == name else palette.muted
        if each != oracle or each == name:
            axes.fill_between(curve["rollouts"], curve["low"], curve["high"], color=colour, alpha=0.16, linewidth=0)
        (line,) = axes.plot(curve["rollouts"], curve["accuracy"], color=colour, linewidth=2.0 if each == name else 1.2)
        line.set_dashes((3, 2) if each == oracle and each != name else ())
    # One scale for all panels of a cell, or they could not be compared.
    _accuracy_axis(axes, [row["curve"] for row in rows.values() if row["curve"]], palette)
    axes.set_xlim(0, cell["rollouts"])
    _expense_axis(axes, "rollouts", palette)
    return chart


def differences(cell: Section, summary: Section, palette: Palette) -> Figure:
    """Forest plot of mean accuracy minus the baseline's."""
    names = [name for name in ranked(cell, summary) if cell["variants"][name]["difference"]]
    chart, axes = _forest(names, palette)
    axes.axvline(0, color=palette.muted, linewidth=0.9, dashes=(2, 3))
    base = {run["seed"]: run["area"] for run in cell["variants"][summary["baseline"]]["seeds"]}
    for place, name in enumerate(names):
        row = cell["variants"][name]
        colour = _colour(row, palette)
        pairs = [run["area"] - base[run["seed"]] for run in row["seeds"] if run["seed"] in base]
        axes.plot(pairs, [place] * len(pairs), "o", color=palette.soft, markersize=3.5)
        if row["difference"]["interval"]:
            axes.plot(row["difference"]["interval"], [place, place], color=colour, linewidth=2.2)
        axes.plot(
            [row["difference"]["median"]], [place], "o", color=colour, markersize=7, markeredgecolor=palette.paper
        )
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel(f"mean accuracy minus that of {summary['baseline']}", color=palette.muted, size=11, labelpad=7)
    return chart


def ratios(cell: Section, summary: Section, palette: Palette) -> Figure:
    """Forest plot of rollouts to the target over the baseline's: all counted, and only trained ones counted.

    Colours are those of the verdict on mean accuracy, for a ratio is not tested by itself.
    """
    from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

    rows = {name: cell["variants"][name]["ratio"] for name in ranked(cell, summary) if cell["variants"][name]["ratio"]}
    chart, axes = _forest(list(rows), palette)
    axes.set_xscale("log")
    known = [
        end
        for ratio in rows.values()
        for found in (ratio["rollouts"], ratio.get("rollouts_trained", ratio["rollouts"]))
        for end in (found["low"], found["high"], *(ratio["rollouts"]["interval"] or ()))
        if end
    ]
    left, right = min([0.5, *known]) / 1.15, min(max([2.0, *known]) * 1.15, 20.0)
    left = max(left, 0.05)
    axes.set_xlim(left, right)
    axes.axvline(1, color=palette.muted, linewidth=0.9, dashes=(2, 3))
    for place, (name, ratio) in enumerate(rows.items()):
        low, high = ratio["rollouts"]["interval"] or (None, None)
        sided = (low or 0.0) > 1 or (high is not None and high < 1)
        colour = _colour(cell["variants"][name], palette) if sided else palette.muted
        _ratio_row(axes, place, ratio, (left, right), colour, palette)
    ticks = [tick for tick in (0.1, 0.2, 0.33, 0.5, 0.67, 1, 1.5, 2, 3, 5, 10) if left <= tick <= right]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xlabel(f"rollouts to target over those of {summary['baseline']}", color=palette.muted, size=11, labelpad=7)
    return chart


def _colour(row: Section, palette: Palette) -> str:
    return {"better": palette.accent, "worse": palette.warm}.get(row["verdict"], palette.muted)


def _ratio_row(
    axes: Axes, place: int, ratio: Section, limits: tuple[float, float], colour: str, palette: Palette
) -> None:
    """The interval, the median where it is known or an arrow from its bound, and hollow what left-out probing shows."""
    found, (left, right) = ratio["rollouts"], limits
    low, high = found["low"], np.inf if found["high"] is None else found["high"]
    interval = found["interval"] or (low, found["high"])
    ends = [interval[0], np.inf if interval[1] is None else interval[1]]
    alpha = 0.4 if found["interval"] is None else 1.0
    axes.plot(np.clip(ends, left, right), [place, place], color=colour, linewidth=2.2, alpha=alpha)
    for marker, end in (("<", ends[0] < left), (">", ends[1] > right)):
        if end:
            axes.plot([left if marker == "<" else right], [place], marker, color=colour, markersize=6, clip_on=False)
    if low == high:
        axes.plot([np.clip(low, left, right)], [place], "o", color=colour, markersize=7, markeredgecolor=palette.paper)
    trained = ratio.get("rollouts_trained")
    if trained and trained["low"] == trained["high"]:
        axes.plot(
            [np.clip(trained["low"], left, right)], [place], "o", color=palette.ink, markersize=5, fillstyle="none"
        )


def _chart(
    palette: Palette, height: float, *, left: float, right: float, bottom: float, top: float
) -> tuple[Figure, Axes]:
    chart = blank(height)
    axes = plain_axes(chart, left=left, right=right, bottom=bottom, top=top)
    axes.tick_params(colors=palette.muted)
    return chart, axes


def _forest(names: list[str], palette: Palette) -> tuple[Figure, Axes]:
    """One line for each name, the first on top."""
    names = [cut(name, 32) for name in names]
    left = 16 + 6.6 * max((len(name) for name in names), default=0)
    chart, axes = _chart(palette, _ROW * len(names) + 58, left=left, right=14, bottom=44, top=4)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", colors=palette.ink)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="x", color=palette.rule, linewidth=0.8)
    return chart, axes


def _accuracy_axis(axes: Axes, drawn: list[Section], palette: Palette) -> None:
    low, high = min(min(curve["low"]) for curve in drawn), max(max(curve["high"]) for curve in drawn)
    margin = 0.04 * max(high - low, 0.02)
    axes.set_ylim(low - margin, high + margin)
    axes.locator_params(axis="y", nbins=5)
    axes.grid(axis="y", color=palette.rule, linewidth=0.8)


def _expense_axis(axes: Axes, against: str, palette: Palette) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: compact(value)))
    axes.set_xlabel(AXIS_LABEL[against], color=palette.muted, size=11, labelpad=7)


def _label_ends(axes: Axes, ends: list[tuple[float, str, str]]) -> None:
    """Names right of the picture, in the order of the lines' ends and pushed apart where those meet."""
    bottom, top = axes.get_ylim()
    ends, gap = sorted(ends), 0.062 * (top - bottom)
    heights = [end[0] for end in ends]
    for at in range(1, len(heights)):
        heights[at] = max(heights[at], heights[at - 1] + gap)
    heights[-1] = min(heights[-1], top)
    for at in range(len(heights) - 2, -1, -1):
        heights[at] = min(heights[at], heights[at + 1] - gap)
    for height, (_, name, colour) in zip(heights, ends, strict=True):
        axes.annotate(
            cut(name, 17), (axes.get_xlim()[1], height), (6, 0), textcoords="offset points", va="center",
            color=colour, size=11, annotation_clip=False,
        )  # fmt: skip
