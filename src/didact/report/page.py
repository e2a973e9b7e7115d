# ruff: noqa: RUF001 - dashes, quotes and minus signs as readers expect them
"""One self-contained HTML page about one run: no script, no network, light and dark, desk and phone.

`render_page(summary, findings)` is a pure function of two dictionaries, so the same run gives the same bytes;
`write_page` puts it in place in one move, so a reader never meets half a page. The layout is `page.html` beside this
file.

Every text that came from outside (prompts, answers, names, paths, options) passes through `html.escape`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from didact.files import write_whole
from didact.report.figures import compact, draw_figures

Section = dict[str, Any]


def render_page(summary: Section, findings: Section) -> str:
    """The page as text."""
    run, headline = summary["run"], summary["headline"]
    claim, evidence = _headline(headline)
    figures = draw_figures(summary)
    sections = [
        _section("Held-out accuracy", HELD_OUT_LEAD, _held_out_figures(summary, figures)),
        _section(
            "Where the rollouts went", SPENDING_LEAD, _spending_figures(summary, figures) + _top_prompts(findings)
        ),
        _section("What the groups said", GROUPS_LEAD, _group_figures(summary, figures)),
        _prompts(findings),
        _settings(summary),
    ]
    template = Template(files("didact.report").joinpath("page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(f"{run['name']}{' · no signal' * headline['silent']} · didact"),
        eyebrow=_eyebrow(run),
        headline=claim,
        evidence=evidence,
        numbers="\n".join(_numbers(summary)),
        notes="\n".join(f"<li>{note}</li>" for note in _notes(summary)),
        commands=_commands(run),
        sections="\n".join(section for section in sections if section),
        footer="Drawn from the run’s journal. Every number on this page: <code>didact report RUN --json</code>.",
    )


def write_page(page: str, path: str | Path) -> Path:
    """Write the page whole."""
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give a file name such as {path / 'report.html'}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"no folder {path.parent} to write {path.name} into; create it first")
    write_whole(path, page)
    return path


HELD_OUT_LEAD = (
    "Greedy answers to prompts that never train, after every rollout and token spent so far, pilots included."
)
SPENDING_LEAD = "Each rollout costs the same whether or not it trains, so all of them are here."
GROUPS_LEAD = "Measured on the prompts the curriculum chose, so a rise here is progress and selection together."


def _eyebrow(run: Section) -> str:
    state = {True: "finished", False: "stopped early or still running", None: "length not recorded"}[run["finished"]]
    steps = f"{run['steps_done']:,}" + (f" of {run['steps_planned']:,}" if run["steps_planned"] else "")
    facts = [run["method"], run["task"], run["model"], None if run["seed"] is None else f"seed {run['seed']}"]
    facts += [f"{steps} steps, {state}", _duration(run["seconds"])]
    return " · ".join([f"<b>{escape(run['name'])}</b>", *(escape(str(fact)) for fact in facts if fact)])


def _duration(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _headline(headline: Section) -> tuple[str, str]:
    """The claim in large letters, the evidence for it below; together they are `headline["text"]`."""
    text = escape(headline["text"])
    if headline["kind"] == "change":
        claim, _, evidence = text.partition(" (")
        change, _, evidence = evidence.partition(", ")
        claim = claim.replace("accuracy ", 'accuracy <span class="value">') + "</span>"
        return f"{claim}, {change}", evidence.replace(")", "", 1)
    claim, separator, evidence = text.partition(" (" if headline["kind"] == "single" else ": ")
    return claim, evidence.replace(")", "", 1) if separator else ""


def _numbers(summary: Section) -> list[str]:
    totals = summary["totals"]
    tokens = totals["response_tokens"]
    tiles = [
        ("rollouts, pilots included", f"{totals['rollouts']:,}", False),
        (
            "response tokens" if tokens is not None else "response tokens not recorded",
            "–" if tokens is None else compact(tokens),
            False,
        ),
        ("of rollouts trained", _percent(totals["trained_share"]), False),
        ("of groups had signal", _percent(totals["signal_share"]), False),
        ("of rollouts truncated", _percent(totals["truncated_share"]), totals["truncated_share"] > 0.05),
        ("of rollouts errored", _percent(totals["errored_share"]), totals["errored_share"] > 0.01),
    ]
    return [f"<div{' class=warn' * warn}><dd>{value}</dd><dt>{label}</dt></div>" for label, value, warn in tiles]


def _notes(summary: Section) -> list[str]:
    totals, run = summary["totals"], summary["run"]
    counted = f"({totals['trained']:,} trained, {totals['discarded']:,} did not)"
    notes = [
        f"Every rollout with an outcome counts, also pilots, discarded and errored ones {counted}.",
    ]
    if totals["errored"]:
        notes.append(f"Pass rates leave {totals['errored']:,} errored rollouts out: an error is not a wrong answer.")
    if summary["run"]["eval_on_train"]:
        notes.append("Accuracy was measured on training prompts, as an overfit check: what is called held out was not.")
    if judged := summary["held_out"]:
        errors = sum(row["errors"] or 0 for row in judged)
        if errors:
            notes.append(f"{errors:,} held-out answers had no verdict; they are not counted as wrong.")
    if totals["truncated"]:
        notes.append(f"{totals['truncated']:,} truncated rollouts are in, with the reward they got.")
    if run["pass_above"] is not None:
        notes.append(
            f"A rollout passes when its reward is above {run['pass_above']:g}. Rewards of a group in which all pass or "
            "none does may differ all the same: then it has signal."
        )
    elif totals["rewards_outside_unit"]:
        notes.append(
            f"{totals['rewards_outside_unit']:,} rewards lie outside 0 to 1: read “pass rate” as mean reward, "
            "and bands and calibration with care."
        )
    if totals["undecided"]:
        notes.append(f"{totals['undecided']:,} rollouts belong to a step that had not been admitted yet.")
    if totals["outstanding"] > 0:
        notes.append(f"{totals['outstanding']:,} planned rollouts have no outcome and are not counted.")
    if totals["surplus"]:
        notes.append(f"{totals['surplus']:,} rollouts were delivered a second time and left out.")
    if totals["resumes"]:
        notes.append(
            f"Resumed {_times(totals['resumes'])}: {totals['repeated_after_resume']:,} rollouts after the last "
            "checkpoint were paid for twice and are counted once here."
        )
    if summary["headline"].get("paired") is False:
        notes.append("First and last evaluation could not be matched prompt by prompt; their interval is unpaired.")
    if totals["rollouts_without_token_count"]:
        notes.append(f"{totals['rollouts_without_token_count']:,} rollouts have no token count.")
    seed = "" if run["seed"] is None else f" ({escape(str(run['seed']))})"
    notes.append(
        f"One run, one seed{seed}: intervals cover the choice of held-out prompts, not what another seed would do."
    )
    return notes


def _times(num: int) -> str:
    return {1: "once", 2: "twice"}.get(num, f"{num} times")


def _commands(run: Section) -> str:
    labels = {"resume": "Go on from here", "reproduce": "The same again", "inspect": "Look at the prompts"}
    if run["finished"]:
        labels["resume"] = f"Go on further, here to step {2 * run['steps_done']:,}"
    commands = dict(run["commands"])
    if run["finished"] and "resume" in commands:
        commands["resume"] += f" --steps {2 * run['steps_done']}"
    shown = [(labels[name], commands[name]) for name in labels if name in commands]
    return "".join(f"<p>{label}</p><pre>{escape(command)}</pre>" for label, command in shown)


def _section(title: str, lead: str, drawn: list[str]) -> str:
    if not drawn:
        return ""
    body = "\n".join(drawn)
    return f'<section><h2>{title}</h2><p class="lead">{lead}</p><div class="figures">{body}</div></section>'


def _figure(svg: str | None, title: str, caption: str) -> list[str]:
    if svg is None:
        return []
    return [f"<figure><h3>{title}</h3>{svg}<figcaption>{caption}</figcaption></figure>"]


def _key(variable: str, label: str) -> str:
    return f'<span class="key" style="background: var(--{variable})"></span>{label}'


def _held_out_figures(summary: Section, figures: dict[str, str]) -> list[str]:
    rows = summary["held_out"]
    if "held_out_rollouts" not in figures:
        return []
    best = max(rows, key=lambda row: row["pass_rate"])
    paired = ""
    if summary["headline"].get("paired"):
        paired = " The interval of the change, at the top, is narrower: both ends answer the same prompts."
    caption = f"Band: 95% interval of each evaluation over {rows[-1]['num_prompts']:,} prompts."
    return [
        *_figure(
            figures["held_out_rollouts"],
            "Against rollouts",
            f"{caption} Best {best['pass_rate']:.2f} at {best['rollouts']:,} rollouts." + paired,
        ),
        *_figure(
            figures.get("held_out_tokens"),
            "Against response tokens",
            "The same evaluations against what generation costs: short answers move a point to the left.",
        ),
        *_by_source(rows[0]["by_source"] or {}, rows[-1]["by_source"] or {}),
    ]


def _by_source(first: Section, last: Section) -> list[str]:
    """Accuracy by source as a list with bars, the largest source first."""
    items = ""
    for name, (passed, judged) in sorted(last.items(), key=lambda item: (-item[1][1], item[0])):
        before, share = first.get(name, (0, 0)), passed / max(judged, 1)
        start = f"{before[0] / before[1]:.2f} → " if before[1] else ""
        items += (
            f'<li><span class="text"><span>{escape(name)}</span><b>{start}{share:.2f} of {judged:,}</b></span>'
            f'<i style="width: {100 * share:.1f}%"></i></li>'
        )
    return _figure(f"<ol>{items}</ol>" if items else None, "By source", "First and last evaluation.")


def _spending_figures(summary: Section, figures: dict[str, str]) -> list[str]:
    totals, spread, bands = summary["totals"], summary["concentration"], summary["bands"]
    counted = max(totals["rollouts"], 1)
    silent = sum(row["trained"] + row["not_trained"] for row in (bands[0], bands[-1])) / counted
    middle = sum(row["trained"] + row["not_trained"] for row in bands[2:4]) / counted
    least_of = "at least " * summary["run"]["pool_grew"]
    groups = {row["rollouts"]: row["groups"] for row in summary["group_sizes"]}
    sizes = f"Between {min(groups)} and {max(groups)} rollouts per group" if groups else ""
    return [
        *_figure(
            figures.get("fates"),
            f"{_percent(totals['trained_share'])} of the rollouts trained the model",
            "By the reason each rollout was planned for. A pilot that is continued trains with its group.",
        ),
        *_figure(
            figures.get("bands"),
            f"{_percent(silent)} went to groups that all failed or all passed, {_percent(middle)} to rates of ¼ to ¾",
            f"{_key('accent', 'trained')} &nbsp; {_key('soft', 'did not')}. A group that never or always passes has "
            "zero advantage.",
        ),
        *_figure(
            figures.get("cells"),
            "Rollouts per prompt, by source and difficulty",
            "Uniform sampling would give every cell about the same number.",
        ),
        *_figure(
            figures.get("concentration"),
            f"As if {spread['effective_prompts']:,.0f} prompts had been used equally",
            f"{spread['untried']:,} of {least_of}{summary['run']['pool_size']:,} prompts were never tried; the most "
            f"used one got {spread['most']:,} rollouts. With n rollouts on a prompt, the title says (Σn)² / Σn².",
        ),
        *_figure(figures.get("group_sizes"), sizes, "Continued groups count once, with all their rollouts."),
    ]


def _top_prompts(findings: Section, *, num: int = 5) -> list[str]:
    """The most used prompts as a list with bars: prompts are text, and a figure would cut them shorter."""
    rows = findings["most_rollouts"][:num]
    items = "".join(
        f'<li><span class="text"><span>{escape(row["prompt"] or row["prompt_id"])}</span>'
        f"<b>{row['rollouts']:,}</b></span>"
        f'<i style="width: {100 * row["rollouts"] / rows[0]["rollouts"]:.1f}%"></i></li>'
        for row in rows
    )
    share = sum(row["share"] for row in rows)
    title = f"The {len(rows)} most used prompts took {_percent(share)}"
    return _figure(f"<ol>{items}</ol>" if rows else None, title, "Rollouts per prompt; more of them further down.")


def _group_figures(summary: Section, figures: dict[str, str]) -> list[str]:
    change, ridges, belief = summary["signal_change"], summary["pass_rates"], summary["calibration"]
    drawn = []
    if "signal" in figures:
        title = "Groups with and without signal"
        if change:
            title = f"Groups with signal: {_percent(change['first_fifth'])} in the first fifth of the steps, "
            title += f"{_percent(change['last_fifth'])} in the last"
        caption = "A group trains only when its rollouts differ; the rest is silent."
        drawn += _figure(figures["signal"], title, caption)
    if "lengths" in figures:
        contexts = any(row["longest_context"] is not None for row in summary["lengths"])
        drawn += _figure(
            figures["lengths"],
            "Length of responses, in tokens",
            "Over all rollouts of a window." + " The context line is what the plan allowed." * contexts,
        )
    if "pass_rates" in figures:
        known = [row["mean"] for row in ridges if row["mean"] is not None]
        drawn += _figure(
            figures["pass_rates"],
            f"Pass rate of the chosen prompts: mean {known[0]:.2f} at the start, {known[-1]:.2f} at the end",
            "One ridge per window of steps, the first on top. Mass at the two ends is silent; the dot is the mean.",
        )
    if "calibration" in figures:
        bias = belief["bias"]
        lean = ", mostly too high" if bias > 0 else ", mostly too low"
        title = f"The belief is off by {belief['mean_gap']:.2f} on average"
        title += lean if abs(bias) > belief["mean_gap"] / 2 else ""
        caption = (
            f"{belief['groups']:,} groups by what was believed when they were planned. Dotted: belief and observation "
        )
        caption += "agree. Lines: 95% intervals, widened because the rollouts of a group share a prompt."
        drawn += _figure(figures["calibration"], title, caption)
    return drawn


def _prompts(findings: Section) -> str:
    least = findings["min_rollouts"]
    relapse = findings["relapse"]
    blocks = [
        _finding(
            "Never pass", findings["never_pass"],
            f"At least {least} scored rollouts, not one pass. A broken answer looks like this; so does a hard prompt.",
            lambda p: f"<b>0 of {p['scored']}</b> · pass rate below {p['bound']:.2f} (95%)",
        ),
        _finding(
            "Relapse", relapse,
            "Passed significantly more often in the first half of their groups than in the second (z ≥ 3, fell by "
            f"0.25 or more). {relapse['tested']:,} prompts had enough rollouts; chance alone would flag about "
            f"{relapse['expected_by_chance']:.1f}.",
            lambda p: f"<b>{p['earlier']:.2f} → {p['later']:.2f}</b> · z = {p['z']:.1f}",
        ),
        _finding(
            "Most of the budget", {"count": findings["prompts_tried"], "prompts": findings["most_rollouts"]},
            "The prompts with the most rollouts.",
            lambda p: f"<b>{p['rollouts']:,} rollouts</b> · {p['share']:.1%} of all · passed {p['passed']:,}",
            unit="tried",
        ),
        _finding(
            "Always pass", findings["always_pass"],
            f"At least {least} scored rollouts, all passed: group-relative advantages of zero.",
            lambda p: f"<b>{p['passed']} of {p['scored']}</b> · pass rate above {p['bound']:.2f} (95%)",
        ),
        _finding(
            "Errored most", {"count": len(findings["most_errored"]), "prompts": findings["most_errored"]},
            "The verifier failed or the rollout was aborted.",
            lambda p: f"<b>{p['errored']} of {p['rollouts']}</b> errored",
            unit="shown",
        ),
        _finding(
            "Truncated most", {"count": len(findings["most_truncated"]), "prompts": findings["most_truncated"]},
            "Cut off by the context length; a wrong answer may only be an unfinished one.",
            lambda p: f"<b>{p['truncated']} of {p['rollouts']}</b> truncated",
            unit="shown",
        ),
    ]  # fmt: skip
    body = "\n".join(block for block in blocks if block)
    if not body:
        return ""
    return f'<section><h2>Prompts worth a look</h2><div class="list">{body}</div></section>'


def _finding(title: str, found: Section, about: str, fact: Callable[[Section], str], *, unit: str = "prompts") -> str:
    if not found["prompts"]:
        return ""
    items = "\n".join(
        f'<li><span class="text">{escape(p["prompt"] or p["prompt_id"])}<small>{escape(p["prompt_id"])}'
        f"{' · answer ' + escape(p['answer']) if p['answer'] else ''}</small></span>"
        f'<span class="fact">{fact(p)}</span></li>'
        for p in found["prompts"]
    )
    return (
        f"<details><summary>{title}<span class=count>{found['count']:,} {unit}</span></summary>"
        f"<p>{about}</p><ol>{items}</ol></details>"
    )


def _settings(summary: Section) -> str:
    run = {key: value for key, value in summary["run"].items() if key != "commands"}
    text = escape(json.dumps(run, indent=2, sort_keys=True, ensure_ascii=False, default=str))
    return f'<section class="settings"><details><summary>Settings</summary><pre>{text}</pre></details></section>'


def _percent(share: float | None) -> str:
    if share is None:
        return "–"
    return f"{share:.0%}" if share >= 0.0995 or share == 0 else f"{share:.1%}"
