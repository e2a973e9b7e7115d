"""The kit of the HTML pages: one style, one frame, and templates that escape by themselves.

    base.html          the frame of a page: no script, no network, light and dark, desk and phone
    style.css          what all pages look like
    kit.html           a figure, a table, a list that folds
    report.html        a run (`didact.report.page`)
    comparison.html    a comparison (`didact.compare.page`)
    drawing.py         figures as SVG that takes the page's fonts and colours

Whatever is given to a template is text; only a figure's SVG, which we draw, goes in as it is. The same values give the
same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True)
class Figure:
    """A drawing, or a list with bars, under its title.

    Attributes:
        svg: markup, not escaped: see `didact.pages.drawing`. Without it, `bars` are shown.
        bars: text, what is said beside it, and the length of its bar, from 0 to 1.
        keys: colours of the style by name, and what they stand for; before the caption.
    """

    title: str = ""
    caption: str = ""
    svg: str = ""
    bars: Sequence[tuple[str, str, float]] = ()
    keys: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Table:
    """A table that scrolls; a row begins with its name. A text may come with a class of the style: (text, class)."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str | tuple[str, str]]]


def render(template: str, **values: Any) -> str:
    """A page as text.

    Raises:
        ModuleNotFoundError: jinja2 is not installed.
    """
    return _templates().get_template(template).render(**values)


@cache
def _templates() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
