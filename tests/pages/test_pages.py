"""The kit of the pages; what a page says is tested with its maker."""

import subprocess
import sys

import pytest

from didact.pages import Figure, Table, render

FRAME = {"title": "<t>", "eyebrow": ["<n>", "a & b"], "headline": "<h>", "evidence": "'e'"}
REPORT = {"value": "", "change": "", "numbers": [], "notes": [], "commands": [], "lists": [], "settings": "{}"}


def page(**values):
    return render("report.html", **{**FRAME, **REPORT, "sections": [], **values})


def test_whatever_is_given_is_text_and_only_svg_is_markup():
    figure = Figure("<title>", "<caption>", "<svg></svg>", keys=[("accent", "<trained>"), ("soft", "did not")])
    bars = Figure("bars", bars=[("<prompt>", "<said>", 0.25)])
    shown = page(sections=[("<section>", "<lead>", [figure, bars])], notes=["<note>"], commands=[("<go>", "a > b")])
    for text in ("t", "n", "h", "title", "caption", "trained", "prompt", "said", "section", "lead", "note", "go"):
        assert f"&lt;{text}&gt;" in shown
    assert shown.count("<svg></svg>") == 1
    assert "a &amp; b" in shown
    assert "<pre>a &gt; b</pre>" in shown
    assert "</span>did not. &lt;caption&gt;</figcaption>" in shown
    assert '<i style="width: 25.0%"></i>' in shown


def test_a_section_without_figures_is_left_out():
    assert "<h2>Empty</h2>" not in page(sections=[("Empty", "nothing", [])])


def test_a_cell_of_a_table_may_have_a_class():
    failures = Table(("variant", "<error>"), [["<v>", ("<out of memory>", "worse")], ["w", "<none>"]])
    shown = render(
        "comparison.html",
        **{**FRAME, "settings": "{}", "rule": "", "least_pairs": 6, "overview": None, "cells": [], "training_note": ""},
        axes_note="", target="", summary={"warnings": [], "baseline": "<b>"}, failures=failures,
    )  # fmt: skip
    assert '<tr><th>&lt;v&gt;</th><td><span class="worse">&lt;out of memory&gt;</span></td></tr>' in shown
    assert "<tr><th>w</th><td>&lt;none&gt;</td></tr>" in shown
    assert "against &lt;b&gt; with the same seed" in shown


def test_a_value_that_a_template_lacks_is_an_error():
    from jinja2 import UndefinedError

    given = {name: value for name, value in {**FRAME, **REPORT, "sections": []}.items() if name != "evidence"}
    with pytest.raises(UndefinedError, match="evidence"):
        render("report.html", **given)


def test_reading_a_run_does_not_need_the_templates_library():
    code = "import sys, didact.report; sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
