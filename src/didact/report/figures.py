# ruff: noqa: RUF001 - dashes, quotes and minus signs as readers expect them
"""The figures of a report as inline SVG strings, drawn from the summary dictionary and nothing else.

No titles inside: the page sets those as HTML. How they are drawn for a page: `didact.pages.drawing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from didact.pages.drawing import (
    ACCENT,
    FAINT,
    INK,
    MUTED,
    PAPER,
    RULE,
    SOFT,
    WARM,
    WIDTH,
    blank,
    compact,
    cut,
    percent,
    plain_axes,
    style,
    to_svg,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Section = dict[str, Any]

LABEL: dict[str, Any] = {"color": MUTED, "size": 11, "labelpad": 7}


def draw_figures(summary: Section) -> dict[str, str]:
    """Name to SVG, leaving out the figures this run has no data for."""
    drawn: dict[str, str] = {}
    held_out = summary["held_out"]
    if len(held_out) > 1:
        drawn["held_out_rollouts"] = held_out_curve(held_out, summary["beside"], against="rollouts")
        if all(row["tokens"] is not None for row in held_out):
            drawn["held_out_tokens"] = held_out_curve(held_out, summary["beside"], against="tokens")
    if summary["totals"]["rollouts"]:
        drawn["fates"] = fate_bars(summary["fates"])
        drawn["concentration"] = concentration_curve(summary["concentration"])
    if any(row["trained"] + row["not_trained"] for row in summary["bands"]):
        drawn["bands"] = band_columns(summary["bands"])
    if summary["cells"] and summary["totals"]["rollouts"]:
        drawn["cells"] = cell_grid(summary["cells"])
    if len(summary["group_sizes"]) > 1:
        drawn["group_sizes"] = group_size_columns(summary["group_sizes"])
    if ridges := [row for row in summary["pass_rates"] if row["groups"]]:
        drawn["pass_rates"] = pass_rate_ridges(ridges)
    if len(windows := [row for row in summary["signal"] if row["groups"]]) > 1:
        drawn["signal"] = signal_areas(windows)
    if summary["calibration"]:
        drawn["calibration"] = calibration_plot(summary["calibration"])
    if summary["lengths"] and len(summary["lengths"]) > 1:
        drawn["lengths"] = length_lines(summary["lengths"])
    return drawn


def held_out_curve(rows: list[Section], beside: Sequence[Section] = (), *, against: str) -> str:
    """Accuracy with its interval, first and last value labelled; the lines of other runs in grey, by their method."""
    name = f"held_out_{against}"
    with _canvas(name, 270) as (figure, finish):
        axes = plain_axes(figure, left=38, right=90 if beside else 46, bottom=44, top=12)
        x = np.array([row[against] for row in rows], dtype=float)
        y, low, high = (np.array([row[key] for row in rows]) for key in ("pass_rate", "low", "high"))
        axes.fill_between(x, low, high, color=ACCENT, alpha=0.16, linewidth=0)
        axes.plot(x, y, color=ACCENT, linewidth=2.2, marker="o", markersize=4.5, markeredgecolor=PAPER)
        axes.axhline(y[0], color=MUTED, linewidth=0.9, dashes=(2, 3))
        own = f"{y[-1]:.2f}"
        reach, lowest, highest, ends = x[-1], low.min(), high.max(), [(own, y, INK)]
        for other in beside:
            if any(row[against] is None for row in other["held_out"]):
                continue
            along, rates = (np.array([row[key] for row in other["held_out"]]) for key in (against, "pass_rate"))
            axes.plot(along, rates, color=MUTED, linewidth=1.6, marker="o", markersize=3.5, markeredgecolor=PAPER)
            ends.append((f"{other['method']} {rates[-1]:.2f}", rates, MUTED))
            reach, lowest, highest = max(reach, along[-1]), min(lowest, rates.min()), max(highest, rates.max())
        bottom, top = _limits(axes, lowest, highest)
        gap = 0.07 * (top - bottom)
        _label_ends(axes, reach, ends, gap=gap, bold=own)
        if len(ends) == 1 and abs(y[-1] - y[0]) > gap:  # or the two labels would overlap
            axes.annotate(f"{y[0]:.2f}", (x[-1], y[0]), (9, 0), textcoords="offset points", va="center", color=MUTED)
        axes.set_xlim(0 if x[0] == 0 else x[0], max(reach, x[0] + 1))
        _number_axis(axes, "cumulative rollouts" if against == "rollouts" else "cumulative response tokens")
        return finish(f"Held-out accuracy from {y[0]:.2f} to {y[-1]:.2f} against {against}")


def fate_bars(rows: list[Section]) -> str:
    """One bar per reason: what trained, what did not, what is undecided."""
    total = sum(row["trained"] + row["discarded"] + row["undecided"] for row in rows)
    with _canvas("fates", 62.0 * len(rows) + 14) as (figure, finish):
        axes = plain_axes(figure, left=2, right=2, bottom=4, top=4)
        largest = max(row["trained"] + row["discarded"] + row["undecided"] for row in rows)
        for place, row in enumerate(rows):
            num = row["trained"] + row["discarded"] + row["undecided"]
            axes.text(0, place - 0.34, row["reason"], weight="bold", va="center")
            axes.text(
                largest, place - 0.34, f"{num:,} · {num / total:.0%} of all", va="center", ha="right", color=MUTED
            )
            start = 0
            parts = (("trained", ACCENT, PAPER), ("discarded", SOFT, INK), ("undecided", FAINT, MUTED))
            for key, colour, on_it in parts:
                axes.barh(place + 0.12, row[key], left=start, height=0.44, color=colour, edgecolor=PAPER, linewidth=1.5)
                label = f"{row[key] / max(num, 1):.0%}"
                if row[key] > 0.3 * largest:
                    label = f"{'not trained' if key == 'discarded' else key} {label}"
                if row[key] > 0.09 * largest:
                    axes.text(start + 0.02 * largest, place + 0.12, label, va="center", color=on_it, size=11)
                start += row[key]
        axes.set_xlim(0, largest)
        axes.set_ylim(len(rows) - 0.55, -0.6)
        axes.axis("off")
        return finish("Rollouts by reason and fate")


def band_columns(rows: list[Section]) -> str:
    """Share of rollouts by the observed pass rate of their group, trained part filled."""
    with _canvas("bands", 250) as (figure, finish):
        axes = plain_axes(figure, left=6, right=6, bottom=44, top=22)
        total = max(sum(row["trained"] + row["not_trained"] for row in rows), 1)
        trained = np.array([row["trained"] / total for row in rows])
        rest = np.array([row["not_trained"] / total for row in rows])
        place = np.arange(len(rows))
        axes.bar(place, trained, width=0.72, color=ACCENT)
        axes.bar(place, rest, bottom=trained, width=0.72, color=SOFT)
        for x, height in zip(place, trained + rest, strict=True):
            axes.annotate(f"{height:.0%}", (x, height), (0, 4), textcoords="offset points", ha="center")
        axes.set_xticks(place, [row["band"] for row in rows])
        axes.set_ylim(0, (trained + rest).max() * 1.02 or 1)
        axes.set_yticks([])
        axes.spines["bottom"].set_visible(True)
        axes.set_xlabel("pass rate of the group", **LABEL)
        return finish("Rollouts by observed pass rate of their group")


def cell_grid(cells: Section) -> str:
    """Rollouts per pool prompt for every source and difficulty; darker is more."""
    prompts, rollouts = np.array(cells["prompts"]), np.array(cells["rollouts"])
    density = np.where(prompts > 0, rollouts / np.maximum(prompts, 1), np.nan)
    shown = [cut(name, 16) for name in [str(name) for name in cells["sources"]]]
    left = 14 + 7.0 * max(len(name) for name in shown)
    num_rows, num_columns = density.shape
    height = min(46.0, max(30.0, (WIDTH - left) / num_columns)) * num_rows + 44
    with _canvas("cells", height) as (figure, finish):
        axes = plain_axes(figure, left=left, right=4, bottom=40, top=4)
        top = np.nanmax(density) or 1.0
        from matplotlib.patches import FancyBboxPatch

        for (row, column), value in np.ndenumerate(density):
            if np.isnan(value):
                axes.text(column, row, "–", ha="center", va="center", color=MUTED)
                continue
            strength = 0.06 + 0.94 * value / top
            axes.add_patch(
                FancyBboxPatch(
                    (column - 0.46, row - 0.44),
                    0.92,
                    0.88,
                    boxstyle="round,pad=0,rounding_size=0.06",
                    facecolor=ACCENT,
                    alpha=strength,
                    linewidth=0,
                )
            )
            label = f"{value:.0f}" if value >= 9.95 or value == 0 else f"{value:.1f}"
            colour = PAPER if strength > 0.62 else INK
            axes.text(column, row, label, ha="center", va="center", color=colour, size=11)
        axes.set_xlim(-0.5, num_columns - 0.5)
        axes.set_ylim(num_rows - 0.5, -0.5)
        names = [cut(name, 9) for name in [str(name) for name in cells["difficulties"]]]
        small = num_columns * max(len(name) for name in names) > 46
        axes.set_xticks(range(num_columns), names, size=9 if small else 12)
        axes.set_yticks(range(num_rows), shown)
        axes.set_xlabel("difficulty label of the problem", **LABEL)
        return finish("Rollouts per pool prompt by source and difficulty")


def concentration_curve(section: Section) -> str:
    """Share of rollouts on the most used prompts, against an even spread."""
    with _canvas("concentration", 270) as (figure, finish):
        axes = plain_axes(figure, left=42, right=12, bottom=44, top=12)
        x, y = np.array(section["share_of_pool"]), np.array(section["share_of_rollouts"])
        half = section["half_of_rollouts_on"]
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, dashes=(2, 3))
        axes.fill_between(x, x, y, color=ACCENT, alpha=0.12, linewidth=0)
        axes.plot(x, y, color=ACCENT, linewidth=2.2)
        axes.plot([half, half, 0], [0, 0.5, 0.5], color=INK, linewidth=0.8)
        axes.plot([half], [0.5], "o", color=ACCENT, markersize=7, markeredgecolor=PAPER)
        axes.annotate(
            f"half of the rollouts on {percent(half)} of the pool",
            (half, 0),
            (8, 14),
            textcoords="offset points",
        )
        axes.text(0.98, 0.78, "even spread", color=MUTED, ha="right", va="top", size=11)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        _percent_axis(axes, both=True)
        axes.set_xlabel("share of the pool, most used prompts first", **LABEL)
        return finish(f"Half of the rollouts went to {percent(half)} of the pool")


def group_size_columns(rows: list[Section]) -> str:
    """How many groups had how many rollouts."""
    sizes = np.array([row["rollouts"] for row in rows])
    counts = np.array([row["groups"] for row in rows])
    if len(sizes) > 24:
        edges = np.unique(np.round(np.linspace(sizes.min(), sizes.max() + 1, 25)).astype(int))
        counts = np.histogram(sizes, edges, weights=counts)[0]
        labels = [f"{a}" if b - a == 1 else f"{a}–{b - 1}" for a, b in pairwise(edges)]
    else:
        labels = [str(size) for size in sizes]
    with _canvas("group_sizes", 250) as (figure, finish):
        axes = plain_axes(figure, left=6, right=6, bottom=44, top=22)
        place = np.arange(len(labels))
        share = counts / counts.sum()
        axes.bar(place, share, width=0.72 if len(labels) > 3 else 0.4, color=ACCENT)
        every = max(1, -(-len(labels) // 9))
        for x, height in zip(place, share, strict=True):
            if len(labels) <= 10 or height == share.max():
                axes.annotate(percent(height), (x, height), (0, 4), textcoords="offset points", ha="center")
        axes.set_xticks(place[::every], labels[::every])
        axes.set_xlim(-0.7, len(labels) - 0.3)
        axes.set_ylim(0, share.max() * 1.02)
        axes.set_yticks([])
        axes.spines["bottom"].set_visible(True)
        axes.set_xlabel("rollouts in the group", **LABEL)
        return finish("Groups by number of rollouts")


def pass_rate_ridges(rows: list[Section]) -> str:
    """One ridge per window of steps, first on top: observed group pass rates, each spread by a small bell curve."""
    grid = np.linspace(-0.12, 1.12, 156)
    density = np.array([_smoothed(row, grid) for row in rows])
    with _canvas("pass_rates", 38.0 * len(rows) + 90) as (figure, finish):
        axes = plain_axes(figure, left=74, right=14, bottom=44, top=8)
        lift = 1.7 / density.max()
        axes.vlines([0, 0.25, 0.5, 0.75, 1], -1.8, len(rows) - 1, color=RULE, linewidth=0.8)
        for place, (row, curve) in enumerate(zip(rows, density, strict=True)):
            ridge = place - curve * lift
            axes.fill_between(grid, place, ridge, color=PAPER, alpha=0.75, linewidth=0)
            axes.fill_between(grid, place, ridge, color=ACCENT, alpha=0.2 + 0.6 * (place + 1) / len(rows), linewidth=0)
            axes.plot(grid, ridge, color=PAPER, linewidth=2.4)
            axes.plot(grid, ridge, color=ACCENT, linewidth=1.3)
            axes.plot([row["mean"]], [place], "o", color=INK, markersize=6, markeredgecolor=PAPER, zorder=3)
            label = str(row["first_step"])
            label += "" if row["first_step"] == row["last_step"] else f"–{row['last_step']}"
            axes.annotate(label, (-0.12, place), (-8, 1), textcoords="offset points", ha="right", color=MUTED, size=11)
        axes.annotate("steps", (-0.12, 0), (-8, 18), textcoords="offset points", ha="right", color=MUTED, size=11)
        axes.set_xlim(-0.12, 1.12)
        axes.set_ylim(len(rows) - 0.75, -1.85)
        axes.set_yticks([])
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["never", "¼", "½", "¾", "always"])
        axes.set_xlabel("observed pass rate of a group", **LABEL)
        return finish("Distribution of observed group pass rates from the first to the last steps")


def _smoothed(row: Section, grid: np.ndarray, *, width: float = 0.045) -> np.ndarray:
    """Density of the group pass rates of a window; a pass rate outside [0, 1] is drawn at the end it passed."""
    rate, count = np.clip(row["pass_rate"], 0, 1), np.array(row["count"])
    bells = np.exp(-0.5 * ((grid[:, None] - rate) / width) ** 2)
    density: np.ndarray = bells @ (count / row["groups"])
    return density


def signal_areas(rows: list[Section]) -> str:
    """All fail, mixed, all pass, stacked over steps; only the mixed groups have a gradient."""
    with _canvas("signal", 300) as (figure, finish):
        axes = plain_axes(figure, left=40, right=74, bottom=44, top=12)
        x = np.array([(row["first_step"] + row["last_step"]) / 2 for row in rows])
        mixed, fail, passed = (np.array([row[key] for row in rows]) for key in ("mixed", "all_fail", "all_pass"))
        # Mixed stands on the ground: its height is what one wants to read.
        layers = ((mixed, ACCENT, 0.9, "mixed", ACCENT), (fail, SOFT, 1.0, "all fail", INK))
        floor = np.zeros_like(x)
        for share, colour, alpha, label, text in (*layers, (passed, FAINT, 1.0, "all pass", MUTED)):
            axes.fill_between(x, floor, floor + share, color=colour, alpha=alpha, linewidth=0)
            axes.plot(x, floor + share, color=PAPER, linewidth=1.2)
            if share[-1] > 0.07:
                middle = floor[-1] + share[-1] / 2
                axes.annotate(
                    label,
                    (x[-1], middle),
                    (8, 0),
                    textcoords="offset points",
                    va="center",
                    color=text,
                    size=11,
                    annotation_clip=False,
                )
            floor = floor + share
        axes.set_xlim(x[0], x[-1])
        axes.set_ylim(0, 1)
        _percent_axis(axes)
        axes.set_xlabel("step", **LABEL)
        return finish("Share of groups that are mixed, all fail and all pass, over steps")


def calibration_plot(section: Section) -> str:
    """Believed against observed pass rate with intervals, and a strip of how many groups stand behind each point."""
    bins = section["bins"]
    predicted, realised, low, high = (
        np.array([row[key] for row in bins]) for key in ("predicted", "realised", "low", "high")
    )
    groups = np.array([row["groups"] for row in bins])
    with _canvas("calibration", 380) as (figure, finish):
        axes = plain_axes(figure, left=42, right=14, bottom=92, top=12)
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, dashes=(2, 3))
        axes.vlines(predicted, low, high, color=ACCENT, linewidth=2, alpha=0.55)
        axes.plot(predicted, realised, "o", color=ACCENT, markersize=7, markeredgecolor=PAPER, markeredgewidth=1.2)
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.03, 1.03)
        _percent_axis(axes)
        axes.set_xticks([])
        strip = plain_axes(figure, left=42, right=14, bottom=44, height=34)
        strip.bar(predicted, groups / groups.max(), width=0.05, color=SOFT)
        strip.set_xlim(-0.02, 1.02)
        strip.set_ylim(0, 1)
        strip.set_yticks([])
        strip.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
        strip.spines["bottom"].set_visible(True)
        strip.set_xlabel("believed pass rate when planned; bars count groups", **LABEL)
        return finish("Believed against observed pass rates")


def length_lines(rows: list[Section]) -> str:
    """Mean response length and context length over steps; the truncated share in a strip of its own if there is any."""
    x = np.array([(row["first_step"] + row["last_step"]) / 2 for row in rows])
    mean, tail, shortest, longest, cut = (
        np.array([np.nan if row[key] is None else row[key] for row in rows], dtype=float)
        for key in ("mean_tokens", "tokens_90th", "shortest_context", "longest_context", "truncated_share")
    )
    has_cuts = bool((cut > 0).any())
    with _canvas("lengths", 300 + 70 * has_cuts) as (figure, finish):
        axes = plain_axes(figure, left=46, right=84, bottom=44 + 82 * has_cuts, top=12)
        lines = (("mean response", mean, ACCENT, 2.2), ("90th percentile", tail, ACCENT, 1.0))
        ends = [(label, values, colour) for label, values, colour, _ in lines]
        for _, values, colour, width in lines:
            axes.plot(x, values, color=colour, linewidth=width)
        if not np.isnan(longest).all():
            axes.step(x, longest, where="mid", color=WARM, linewidth=1.8)
            axes.fill_between(x, shortest, longest, step="mid", color=WARM, alpha=0.15, linewidth=0)
            ends.append(("context", longest, WARM))
        highest = np.nanmax(np.stack([values for _, values, _ in ends]))
        axes.set_ylim(0, highest * 1.1)
        _label_ends(axes, x[-1], ends, gap=highest * 1.1 * 0.085)
        axes.set_xlim(x[0], x[-1])
        _number_axis(axes, "" if has_cuts else "step")
        axes.locator_params(axis="y", nbins=5)
        _grid(axes)
        if has_cuts:
            axes.set_xticklabels([])
            strip = plain_axes(figure, left=46, right=84, bottom=44, height=54)
            strip.fill_between(x, 0, cut, color=SOFT, linewidth=0)
            strip.set_xlim(x[0], x[-1])
            strip.set_ylim(0, cut.max() * 1.15)
            strip.set_yticks([0, cut.max()], ["0%", percent(cut.max())])
            strip.spines["bottom"].set_visible(True)
            strip.annotate(
                "truncated", (x[-1], cut.max() / 2), (8, 0), textcoords="offset points", va="center", size=11,
                color=MUTED, annotation_clip=False,
            )  # fmt: skip
            strip.set_xlabel("step", **LABEL)
        return finish("Response length, context length and truncated share over steps")


def _label_ends(
    axes: Axes, x: float, ends: list[tuple[str, np.ndarray, str]], *, gap: float, bold: str | None = None
) -> None:
    """Names at the right end of lines, pushed apart where the lines meet."""
    known = [(float(v[~np.isnan(v)][-1]), label, colour) for label, v, colour in ends if not np.isnan(v).all()]
    placed = -np.inf
    for value, label, colour in sorted(known):
        placed = max(value, placed + gap)
        axes.annotate(
            label, (x, placed), (8, 0), textcoords="offset points", va="center", color=colour,
            annotation_clip=False, **({"weight": "bold"} if label == bold else {"size": 11}),
        )  # fmt: skip


@contextmanager
def _canvas(name: str, height: float) -> Iterator[tuple[Figure, Callable[[str], str]]]:
    """A figure `height` pixels high, and the function that turns it into SVG for a page."""
    with style(name):
        figure = blank(height)
        yield figure, partial(to_svg, figure)


def _grid(axes: Axes) -> None:
    axes.grid(axis="y", color=RULE, linewidth=0.8)


def _limits(axes: Axes, low: float, high: float) -> tuple[float, float]:
    """Set and return a range from a round tick to a round tick, never outside [0, 1]."""
    step = 0.05 if high - low < 0.3 else 0.1 if high - low < 0.6 else 0.2
    bottom, top = max(0.0, np.floor(low / step) * step), min(1.0, np.ceil(high / step) * step)
    axes.set_ylim(bottom, top)
    ticks = np.arange(bottom, top + step / 2, step)
    axes.set_yticks(ticks, [f"{tick:.2f}" for tick in ticks])
    _grid(axes)
    return bottom, top


def _number_axis(axes: Axes, label: str) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: compact(value)))
    axes.set_xlabel(label, **LABEL)


def _percent_axis(axes: Axes, *, both: bool = False) -> None:
    ticks, names = [0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"]
    axes.set_yticks(ticks, names)
    if both:
        axes.set_xticks(ticks, names)
    _grid(axes)
