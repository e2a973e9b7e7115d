# ruff: noqa: RUF001 - dashes as readers expect them
"""Figures for the pages: one size, one style, colours that the page decides.

Every figure is drawn at one narrow size, so that a page can set two side by side on a desk and one above the other on
a phone with text still readable. Colours are placeholders that become CSS variables (`var(--ink)` and so on) and text
stays text, so one drawing follows the page's fonts and its light or dark mode.

Matplotlib's object interface only: no pyplot, no display, no state left behind. It is imported when a figure is drawn.
"""

from __future__ import annotations

import io
import re
from contextlib import AbstractContextManager
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 440.0

# Placeholders: colours nobody draws with, each standing for one CSS variable.
PAPER, INK, MUTED, RULE = "#fe0101", "#fe0102", "#fe0103", "#fe0104"
ACCENT, WARM, SOFT, FAINT = "#fe0105", "#fe0106", "#fe0107", "#fe0108"
VARIABLES = {
    PAPER: "paper",
    INK: "ink",
    MUTED: "muted",
    RULE: "rule",
    ACCENT: "accent",
    WARM: "warm",
    SOFT: "soft",
    FAINT: "faint",
}

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans"],
    "font.size": 12,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": RULE,
    "axes.facecolor": "none",
    "axes.unicode_minus": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "lines.solid_capstyle": "round",
    "path.simplify": True,
}


def style(name: str = "") -> AbstractContextManager[None]:
    """Matplotlib as all figures want it; `name` keeps the ids apart that the figures of one page have."""
    from matplotlib import rc_context

    # The salt makes element ids the same every time, and different between the figures of one page.
    return rc_context({**STYLE, "svg.hashsalt": f"didact-{name}"})


def blank(height: float) -> Figure:
    """An empty figure, `WIDTH` by `height` pixels."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH / 72, height / 72))


def plain_axes(
    figure: Figure, *, left: float, right: float, bottom: float, top: float = 0, height: float | None = None
) -> Axes:
    """Axes by margins in pixels: no frame, ticks without marks."""
    full = figure.get_figheight() * 72
    tall = full - bottom - top if height is None else height
    axes = figure.add_axes((left / WIDTH, bottom / full, (WIDTH - left - right) / WIDTH, tall / full))
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0, pad=6, labelsize=11)
    axes.set_axisbelow(True)
    return axes


def to_svg(figure: Figure, description: str) -> str:
    """A figure as SVG for a page, whose style sheet decides fonts and colours."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    viewbox = re.search(r'viewBox="([^"]*)"', svg)
    inner = svg[svg.index(">") + 1 :]
    referenced = set(re.findall(r'(?:url\(|href=")#([^)"]+)', inner))
    inner = re.sub(r' id="([^"]*)"', lambda m: m.group(0) if m.group(1) in referenced else "", inner)
    inner = re.sub(r' transform="rotate\(-?0[ )][^"]*"', "", inner)
    for colour, variable in VARIABLES.items():
        inner = inner.replace(colour, f"var(--{variable})")
    # Coordinates need no more than two digits; labels, which stand between the tags, keep theirs.
    inner = re.sub(r"<[^>]+>", lambda tag: re.sub(r"(\d+\.\d{2})\d+", r"\1", tag.group(0)), inner)
    inner = re.sub(r"\s*\n\s*", "\n", inner)
    box = viewbox.group(1) if viewbox else f"0 0 {WIDTH} 300"
    return f'<svg viewBox="{box}" role="img" aria-label="{escape(description)}">{inner.strip()}'


def cut(name: str, length: int) -> str:
    """A name of at most `length` characters."""
    return name if len(name) <= length else name[: length - 1] + "…"


def percent(share: float | None) -> str:
    """45%; below ten, 4.5%; a dash for what is not known."""
    if share is None:
        return "–"
    return f"{share:.0%}" if share >= 0.0995 or share == 0 else f"{share:.1%}"


def compact(value: float) -> str:
    """32128 as 32k, 550000 as 550k, 1250000 as 1.25M."""
    for size, suffix in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"
