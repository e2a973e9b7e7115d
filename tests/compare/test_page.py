from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from didact.compare.figures import figure
from didact.compare.page import render_page, write_page
from didact.compare.summary import summarise
from tests.compare.written import record, straight, three_methods, write

VOID = {"meta", "br", "img", "link", "input"}


class Checker(HTMLParser):
    """Every element that opens closes, in order; every row of a table is as long as its head."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[int] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        if tag == "table":
            self.cells = []
        elif tag == "tr":
            self.cells.append(0)
        elif tag in ("td", "th"):
            self.cells[-1] += 1
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1:] == [tag], f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()
        assert tag != "table" or len(set(self.cells)) == 1


def check(page: str) -> None:
    checker = Checker()
    checker.feed(page)
    assert checker.open == []


def test_page_stands_alone(tmp_path: Path) -> None:
    path = write_page(three_methods(tmp_path))
    assert path == tmp_path / "comparison.html"
    assert (tmp_path / "summary.json").is_file()
    page = path.read_text(encoding="utf-8")
    check(page)
    assert not re.findall(r'<script|@import|<link|(?:src|href)="(?!#)[^"]*"|url\((?!#)', page)
    assert page.count("<svg") == page.count("</svg>") == 6 + 2 + 1  # axes, forests, one variant by itself
    assert "#fe01" not in page
    assert "#000000" not in page
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert "Better than uniform in 1 of 1 comparisons" in page


def test_what_does_not_stand_is_no_word_and_no_colour_anywhere(tmp_path: Path) -> None:
    """Eight variants, each better in all of six pairs: the interval says so, the corrected test cannot."""
    names = ("uniform", *(f"v{number}" for number in range(8)))
    records = [record("uniform", seed, straight(0.2)) for seed in range(6)]
    records += [record(name, seed, straight(0.3)) for name in names[1:] for seed in range(6)]
    page = render_page(summarise(write(tmp_path, records, variants=names, seeds=6)))
    assert "<h1>Better than uniform in 0 of 8 comparisons, worse in 0</h1>" in page
    assert "In 8 it cannot be told" in page
    assert 'class="better"' not in page
    forests = re.findall(r"<figure><h3>(?:Difference|Rollouts to target).*?</figure>", page, re.S)
    assert len(forests) == 2
    assert not [figure for figure in forests if "var(--accent)" in figure or "var(--warm)" in figure]


def test_colours_of_both_forest_plots_are_those_of_the_verdicts(tmp_path: Path) -> None:
    page = write_page(three_methods(tmp_path)).read_text(encoding="utf-8")
    forests = re.findall(r"<figure><h3>(?:Difference|Rollouts to target).*?</figure>", page, re.S)
    assert ["var(--accent)" in figure for figure in forests] == [True, True]
    assert "var(--warm)" not in "".join(forests)
    records = [
        record(name, seed, straight(gain)) for seed in range(6) for name, gain in (("uniform", 0.01), ("cures", 0.05))
    ]
    never = render_page(summarise(write(tmp_path / "never", records, variants=("uniform", "cures"), seeds=6)))
    forests = re.findall(r"<figure><h3>(?:Difference|Rollouts to target).*?</figure>", never, re.S)
    assert ["var(--accent)" in figure for figure in forests] == [True, False]  # nobody arrived: no ratio is known


def test_several_oracles_are_no_candidates(tmp_path: Path) -> None:
    variants = [
        {"name": name, "method": name.split(",")[0]} for name in ("uniform", "oracle", "oracle, sharp", "cures")
    ]
    slopes = {"uniform": 0.2, "oracle": 0.4, "oracle, sharp": 0.5, "cures": 0.3}
    records = [record(name, seed, straight(slope)) for seed in range(6) for name, slope in slopes.items()]
    page = render_page(summarise(write(tmp_path, records, variants=variants, seeds=6, oracle="oracle, sharp")))
    check(page)
    assert "<h1>Better than uniform in 1 of 1 comparisons, worse in 0</h1>" in page
    assert "broken: oracle and oracle, sharp, told the true pass rates" in page
    assert page.count("<svg") == 6 + 2 + 1  # one variant by itself
    assert "The oracle is oracle, sharp;" in page


def test_drawing_says_how_far_it_is(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    summary = summarise(write(tmp_path, [record("uniform", 0, straight(0.2))], cells=("hard/arithmetic/G8", "easy")))
    render_page(summary, lambda done, total: told.append((done, total)))
    assert told == [(0, 2), (1, 2), (2, 2)]


def test_page_is_the_same_every_time(tmp_path: Path) -> None:
    summary = summarise(three_methods(tmp_path))
    assert render_page(summary) == render_page(summary)


def test_what_comes_from_outside_is_escaped(tmp_path: Path) -> None:
    odd = "<i>cures</i> $x$"
    records = [record("uniform", seed, straight(0.2), cell="<b>hard") for seed in (0, 1)]
    records += [record(odd, 0, straight(0.3), cell="<b>hard"), record(odd, 1, None, cell="<b>hard")]
    page = render_page(summarise(write(tmp_path, records, variants=("uniform", odd), cells=("<b>hard",))))
    check(page)
    assert "<i>" not in page
    assert "<b>hard" not in page
    assert "out of &lt;memory&gt;" in page


def test_poor_comparisons_render(tmp_path: Path) -> None:
    check(render_page(summarise(write(tmp_path / "none", []))))
    check(render_page(summarise(write(tmp_path / "no-baseline", [record("cures", 0, straight(0.2))]))))
    never = [record(name, 0, straight(0.01)) for name in ("uniform", "cures")]
    check(render_page(summarise(write(tmp_path / "never", never, cells=("hard/arithmetic/G8", "easy")))))


def test_small_differences_keep_their_digits(tmp_path: Path) -> None:
    records = [record("uniform", seed, straight(0.2)) for seed in range(6)]
    records += [record("cures", seed, straight(0.2 + 0.001 * seed)) for seed in range(6)]
    page = render_page(summarise(write(tmp_path, records, variants=("uniform", "cures"), seeds=6)))
    assert re.findall(r">(0\.00[0-9]+)</text>", page)


@pytest.mark.parametrize("kind", ["curves", "differences", "ratios"])
def test_figures_for_a_readme(tmp_path: Path, kind: str) -> None:
    path = figure(summarise(three_methods(tmp_path)), kind, tmp_path / "figure.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_figures_that_cannot_be_drawn(tmp_path: Path) -> None:
    summary = summarise(three_methods(tmp_path / "a"))
    with pytest.raises(ValueError, match="there are curves, differences, ratios"):
        figure(summary, "pie", tmp_path / "figure.png")
    with pytest.raises(ValueError, match="no cell 'easy'"):
        figure(summary, "curves", tmp_path / "figure.png", cell="easy")
    with pytest.raises(ValueError, match="no axis 'watts'"):
        figure(summary, "curves", tmp_path / "figure.png", against="watts")
    with pytest.raises(ValueError, match="no finished run"):
        figure(summarise(write(tmp_path / "b", [])), "curves", tmp_path / "figure.png")


def test_names_of_any_length_and_kind_are_drawn(tmp_path: Path) -> None:
    names = ("uniform", "oracle", "W" * 80, "$\\frac$", "<b>&amp;", "a|b")
    records = [record(name, seed, straight(0.2 + 0.01 * seed)) for seed in range(8) for name in names]
    folder = write(tmp_path, records, variants=names, name="$x$ <i>")
    page = write_page(folder).read_text(encoding="utf-8")
    assert "&lt;b&gt;&amp;amp;" in page
    assert "<b>&amp;" not in page
