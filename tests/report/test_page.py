from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from didact.report import RunHistory, inspect_prompts, render_page, summarise, write_page

VOID = {"meta", "br", "img", "link"}


class Checker(HTMLParser):
    """Every element that opens closes, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1:] == [tag], f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()


def page_of(history: RunHistory) -> str:
    return render_page(summarise(history), inspect_prompts(history))


def test_page_stands_alone(history: RunHistory) -> None:
    page = page_of(history)
    assert len(page.encode()) < 1_000_000
    assert "<script" not in page
    assert "@import" not in page
    assert "<link" not in page
    # Namespaces are names, not addresses that a browser would visit.
    assert not re.findall(r'(?:src|href)="(?!#)[^"]*"|url\((?!#)', page)
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert page.count("<svg") == page.count("</svg>") >= 9


def test_page_is_the_same_every_time(run_dir: Path) -> None:
    assert page_of(RunHistory.load(run_dir)) == page_of(RunHistory.load(run_dir))


def test_prompts_are_escaped(history: RunHistory) -> None:
    page = page_of(history)
    assert "&lt;b&gt;Work out&lt;/b&gt;" in page
    assert "<b>Work out" not in page


def test_colours_follow_the_page_and_ids_are_unique(history: RunHistory) -> None:
    page = page_of(history)
    assert "#fe01" not in page
    assert "#000000" not in page
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 0, "evaluations": False},
        {"steps": 1, "evaluations": False, "tokens": False},
        {"steps": 1, "pool_size": 1},
        {"steps": 3, "error_rate": 1.0},
        {"steps": 5, "planned_steps": 30},
        {"steps": 8, "pilots": False, "tokens": False},
    ],
)
def test_poor_runs_render(write_run: Callable[..., Path], tmp_path: Path, options: dict) -> None:
    page = page_of(RunHistory.load(write_run(tmp_path / "run", **options)))
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert "nan" not in re.sub(r"<style.*?</style>", "", page, flags=re.DOTALL).lower()
    assert ("--steps" in page.split("--resume")[1].split("</pre>")[0]) is ("planned_steps" not in options)


def test_run_without_side_files_renders(run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_bytes((run_dir / "journal.jsonl").read_bytes())
    page = page_of(RunHistory.load(tmp_path))
    assert "length not recorded" in page
    assert "didact train" not in page


def test_write_page_replaces_in_one_move(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    write_page("old", target)
    write_page("new", target)
    assert target.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(ValueError, match="is a folder"):
        write_page("x", tmp_path)
    with pytest.raises(FileNotFoundError, match="create it first"):
        write_page("x", tmp_path / "missing" / "report.html")


def test_the_last_step_is_explained(history: RunHistory) -> None:
    summary, findings = summarise(history), inspect_prompts(history)
    assert "Why these prompts, at step" not in render_page(summary, findings)
    row = {"prompt_id": "p1", "prompt": "<i>", "believed": 0.25, "deviation": 0.1, "rollouts": 8, "rank": 1}
    planned = {**row, "figures": {"value": 0.5}, "planned": 4}
    left = {**row, "figures": {"value": 0.125}, "rank": 2}
    seen = {
        "round": 0,
        "rule": "the best by value",
        "by": "value",
        "last_taken": 0.5,
        "overall": {"silent_lately": 0.3},
    }
    found = {
        "method": "didact",
        "about": "By value",
        "step": 1234,
        "rounds": [{**seen, "groups": [planned], "left": [left]}],
    }
    page = render_page(summary, findings, found)
    assert "Why these prompts, at step 1,234" in page
    assert "&lt;i&gt;<small>p1</small>" in page
    assert "<b>0.25 ± 0.10</b> · 4 rollouts · 8 before · value 0.5, rank 1" in page
    assert "The best by value; silent lately 0.30." in page
    assert "The best value first; the last one taken has 0.5." in page
    checker = Checker()
    checker.feed(page)
    assert checker.open == []


def test_a_silent_run_says_so_in_its_title(write_run: Callable[..., Path], tmp_path: Path) -> None:
    page = page_of(RunHistory.load(write_run(tmp_path / "run", steps=3, error_rate=1.0)))
    assert "· no signal · didact</title>" in page
    assert "had a verdict, so there was nothing to learn from." in page


def test_it_says_what_a_pass_is(history: RunHistory) -> None:
    reward = history.rollouts.reward.copy()
    reward[:3] = 7.0
    history = replace(history, rollouts=replace(history.rollouts, reward=reward))
    assert "3 rewards lie outside 0 to 1" in page_of(history)
    page = page_of(replace(history, pass_above=0.3))
    assert "A rollout passes when its reward is above 0.3." in page
    assert "outside 0 to 1" not in page


def test_accuracy_by_source_and_errors(history: RunHistory) -> None:
    assert "no signal" not in page_of(history)
    assert "By source" not in page_of(history)
    first = replace(history.evaluations[0], by_source={"<math>": (1, 4)})
    last = replace(history.evaluations[-1], by_source={"<math>": (3, 4), "code": (1, 1)}, errors=2)
    page = page_of(replace(history, evaluations=(first, last)))
    assert "&lt;math&gt;</span><b>0.25 → 0.75 of 4" in page
    assert "code</span><b>1.00 of 1" in page
    assert page.index("&lt;math&gt;") < page.index("code</span>")
    assert "2 held-out answers had no verdict; they are not counted as wrong." in page


def test_the_headline_of_an_overfit_check_is_whole(history: RunHistory) -> None:
    page = page_of(replace(history, config={**history.config, "eval_on_train": True}))
    assert re.search(r'<h1>Accuracy on training prompts <span class="value">0\.\d\d → 0\.\d\d</span>, \+', page)
