# ruff: noqa: RUF001 - dashes, quotes and minus signs as readers expect them
"""One self-contained HTML page about one run: what `didact.pages` shows of it, in `report.html`.

`render_page(summary, findings)` is a pure function of two dictionaries, so the same run gives the same bytes;
`write_page` puts it in place in one move, so a reader never meets half a page.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from didact.files import write_whole
from didact.pages import Figure, render
from didact.pages.drawing import compact, percent
from didact.report.figures import draw_figures

Section = dict[str, Any]


def render_page(summary: Section, findings: Section, explained: Section | None = None) -> str:
    """The page as text; `explained` is the last step, where it could be replayed."""
    run = summary["run"]
    figures = draw_figures(summary)
    settings = {key: value for key, value in run.items() if key != "commands"}
    return render(
        "report.html",
        title=f"{run['name']}{' · no signal' * summary['headline']['silent']}",
        eyebrow=_eyebrow(run),
        **_headline(summary["headline"]),
        numbers=_numbers(summary),
        notes=_notes(summary),
        commands=_commands(run),
        sections=[
            ("Held-out accuracy", HELD_OUT_LEAD, _held_out_figures(summary, figures)),
            (
                "Where the rollouts went", SPENDING_LEAD,
                [*_spending_figures(summary, figures), *_top_prompts(findings)],
            ),
            ("What the groups said", GROUPS_LEAD, _group_figures(summary, figures)),
        ],
        lists=[("Prompts worth a look", "", _findings(findings)), *_last_step(explained)],
        settings=json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False, default=str),
    )  # fmt: skip


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


def _eyebrow(run: Section) -> list[str]:
    state = {True: "finished", False: "stopped early or still running", None: "length not recorded"}[run["finished"]]
    steps = f"{run['steps_done']:,}" + (f" of {run['steps_planned']:,}" if run["steps_planned"] else "")
    facts = [run["method"], run["task"], run["model"], None if run["seed"] is None else f"seed {run['seed']}"]
    facts += [f"{steps} steps, {state}", _duration(run["seconds"])]
    return [run["name"], *(fact for fact in facts if fact)]


def _duration(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _headline(headline: Section) -> dict[str, str]:
    """The claim in large letters, the evidence for it below; together they are `headline["text"]`."""
    text, value, change = headline["text"], "", ""
    if headline["kind"] == "change":
        claim, _, evidence = text.partition(" (")
        change, _, evidence = evidence.partition(", ")
        claim, *ends = claim.rsplit(" ", 3)  # 0.25 → 0.52
        value = " ".join(ends)
    else:
        claim, _, evidence = text.partition(" (" if headline["kind"] == "single" else ": ")
    evidence = evidence.replace(")", "", 1)
    return {"headline": claim, "value": value, "change": change, "evidence": evidence}


def _numbers(summary: Section) -> list[tuple[str, str, bool]]:
    """Label, number, and whether it is one to worry about."""
    totals = summary["totals"]
    tokens = totals["response_tokens"]
    return [
        ("rollouts, pilots included", f"{totals['rollouts']:,}", False),
        (
            "response tokens" if tokens is not None else "response tokens not recorded",
            "–" if tokens is None else compact(tokens),
            False,
        ),
        ("of rollouts trained", percent(totals["trained_share"]), False),
        ("of groups had signal", percent(totals["signal_share"]), False),
        ("of rollouts truncated", percent(totals["truncated_share"]), totals["truncated_share"] > 0.05),
        ("of rollouts errored", percent(totals["errored_share"]), totals["errored_share"] > 0.01),
    ]


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
    seed = "" if run["seed"] is None else f" ({run['seed']})"
    notes.append(
        f"One run, one seed{seed}: intervals cover the choice of held-out prompts, not what another seed would do."
    )
    return notes


def _times(num: int) -> str:
    return {1: "once", 2: "twice"}.get(num, f"{num} times")


def _commands(run: Section) -> list[tuple[str, str]]:
    labels = {"resume": "Go on from here", "reproduce": "The same again", "inspect": "Look at the prompts"}
    labels["explain"] = "Why these prompts, at any step"
    if run["finished"]:
        labels["resume"] = f"Go on further, here to step {2 * run['steps_done']:,}"
    commands = dict(run["commands"])
    if run["finished"] and "resume" in commands:
        commands["resume"] += f" --steps {2 * run['steps_done']}"
    return [(labels[name], commands[name]) for name in labels if name in commands]


def _figure(svg: str | None, title: str, caption: str, *keys: tuple[str, str]) -> list[Figure]:
    return [Figure(title, caption, svg, keys=keys)] if svg else []


def _held_out_figures(summary: Section, figures: dict[str, str]) -> list[Figure]:
    rows = summary["held_out"]
    if "held_out_rollouts" not in figures:
        return []
    best = max(rows, key=lambda row: row["pass_rate"])
    paired = ""
    if summary["headline"].get("paired"):
        paired = " The interval of the change, at the top, is narrower: both ends answer the same prompts."
    caption = f"Band: 95% interval of each evaluation over {rows[-1]['num_prompts']:,} prompts."
    beside = "".join(f" In grey {_in_grey(other)}." for other in summary["beside"])
    return [
        *_figure(
            figures["held_out_rollouts"],
            "Against rollouts",
            f"{caption} Best {best['pass_rate']:.2f} at {best['rollouts']:,} rollouts.{paired}{beside}",
        ),
        *_figure(
            figures.get("held_out_tokens"),
            "Against response tokens",
            "The same evaluations against what generation costs: short answers move a point to the left.",
        ),
        *_by_source(rows[0]["by_source"] or {}, rows[-1]["by_source"] or {}),
    ]


def _in_grey(other: Section) -> str:
    last, name = other["held_out"][-1], other["name"]
    cost = f"{last['rollouts']:,} rollouts"
    cost += "" if last["tokens"] is None else f" and {last['tokens']:,} response tokens"
    return f"{other['method']}, {name}: {last['pass_rate']:.2f} after {cost}"


def _by_source(first: Section, last: Section) -> list[Figure]:
    """Accuracy by source as a list with bars, the largest source first."""
    bars = []
    for name, (passed, judged) in sorted(last.items(), key=lambda item: (-item[1][1], item[0])):
        before, share = first.get(name, (0, 0)), passed / max(judged, 1)
        start = f"{before[0] / before[1]:.2f} → " if before[1] else ""
        bars.append((name, f"{start}{share:.2f} of {judged:,}", share))
    return [Figure("By source", "First and last evaluation.", bars=bars)] if bars else []


def _spending_figures(summary: Section, figures: dict[str, str]) -> list[Figure]:
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
            f"{percent(totals['trained_share'])} of the rollouts trained the model",
            "By the reason each rollout was planned for. A pilot that is continued trains with its group.",
        ),
        *_figure(
            figures.get("bands"),
            f"{percent(silent)} went to groups that all failed or all passed, {percent(middle)} to rates of ¼ to ¾",
            "A group that never or always passes has zero advantage.",
            ("accent", "trained"),
            ("soft", "did not"),
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


def _top_prompts(findings: Section, *, num: int = 5) -> list[Figure]:
    """The most used prompts as a list with bars: prompts are text, and a figure would cut them shorter."""
    rows = findings["most_rollouts"][:num]
    bars = [
        (row["prompt"] or row["prompt_id"], f"{row['rollouts']:,}", row["rollouts"] / rows[0]["rollouts"])
        for row in rows
    ]
    title = f"The {len(rows)} most used prompts took {percent(sum(row['share'] for row in rows))}"
    return [Figure(title, "Rollouts per prompt; more of them further down.", bars=bars)] if bars else []


def _group_figures(summary: Section, figures: dict[str, str]) -> list[Figure]:
    change, ridges, belief = summary["signal_change"], summary["pass_rates"], summary["calibration"]
    drawn: list[Figure] = []
    if "signal" in figures:
        title = "Groups with and without signal"
        if change:
            title = f"Groups with signal: {percent(change['first_fifth'])} in the first fifth of the steps, "
            title += f"{percent(change['last_fifth'])} in the last"
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


def _findings(findings: Section) -> list[tuple[str, str, str, list[tuple[Section, tuple[str, str]]]]]:
    """Title, count, what it is, and prompts, each with the fact that put it there: the strong words, and the rest."""
    least = findings["min_rollouts"]
    relapse, suspicious = findings["relapse"], findings["suspicious"]
    kinds: list[tuple[str, Section, str, Callable[[Section], tuple[str, str]], str]] = [
        (
            "Never pass", findings["never_pass"],
            f"At least {least} scored rollouts, not one pass. A broken answer looks like this; so does a hard prompt.",
            lambda p: (f"0 of {p['scored']}", f"· pass rate below {p['bound']:.2f} (95%)"), "prompts",
        ),
        (
            "Suspicious", suspicious,
            "Never passed, although their like do, by what was believed when their groups were planned: look at the "
            f"answer. If beliefs are right, chance alone would flag at most {suspicious['expected_by_chance']:.1f}.",
            lambda p: (f"0 of {p['scored']}", f"· chance {p['chance']:.0e}"), "prompts",
        ),
        (
            "Relapse", relapse,
            "Passed significantly more often in the first half of their groups than in the second (z ≥ 3, fell by "
            f"0.25 or more). {relapse['tested']:,} prompts had enough rollouts; chance alone would flag about "
            f"{relapse['expected_by_chance']:.1f}.",
            lambda p: (f"{p['earlier']:.2f} → {p['later']:.2f}", f"· z = {p['z']:.1f}"), "prompts",
        ),
        (
            "Most of the budget", {"count": findings["prompts_tried"], "prompts": findings["most_rollouts"]},
            "The prompts with the most rollouts.",
            lambda p: (f"{p['rollouts']:,} rollouts", f"· {p['share']:.1%} of all · passed {p['passed']:,}"), "tried",
        ),
        (
            "Always pass", findings["always_pass"],
            f"At least {least} scored rollouts, all passed: group-relative advantages of zero.",
            lambda p: (f"{p['passed']} of {p['scored']}", f"· pass rate above {p['bound']:.2f} (95%)"), "prompts",
        ),
        (
            "Errored most", {"count": len(findings["most_errored"]), "prompts": findings["most_errored"]},
            "The verifier failed or the rollout was aborted.",
            lambda p: (f"{p['errored']} of {p['rollouts']}", "errored"), "shown",
        ),
        (
            "Truncated most", {"count": len(findings["most_truncated"]), "prompts": findings["most_truncated"]},
            "Cut off by the context length; a wrong answer may only be an unfinished one.",
            lambda p: (f"{p['truncated']} of {p['rollouts']}", "truncated"), "shown",
        ),
    ]  # fmt: skip
    return [
        (title, f"{kind['count']:,} {unit}", about, [(prompt, fact(prompt)) for prompt in kind["prompts"]])
        for title, kind, about, fact, unit in kinds
        if kind["prompts"]
    ]


def _last_step(explained: Section | None, *, num: int = 10) -> list[tuple[str, str, list[Any]]]:
    """What the last step held and what its method left, by round: at most `num` prompts of each, the best first."""
    if explained is None:
        return []
    shown = []
    for each in explained["rounds"]:
        groups, left, by = each["groups"], each["left"], each["by"]
        best = sorted(groups, key=lambda group: group["rank"] or len(groups) + len(left))
        rule = each["rule"] or "which prompts it looked at, this method does not say"
        known = {name: value for name, value in each["overall"].items() if value is not None}
        figures = [f"{name.replace('_', ' ')} {value:.2f}" for name, value in known.items()]
        last = "" if each["last_taken"] is None else f"; the last one taken has {each['last_taken']:.3g}"
        of = f" in round {each['round']}" * (len(explained["rounds"]) > 1)
        for title, rows, about in (
            (f"Planned{of}", best, "; ".join([rule[:1].upper() + rule[1:], *figures])),
            (f"Looked at and left{of}", left, f"The best {by} first{last}"),
        ):
            prompts = [(row | {"answer": ""}, _believed(row, by)) for row in rows[:num]]
            shown.append((title, f"{len(rows):,} prompts", f"{about}.", prompts))
    lead = f"{explained['method']}: {explained['about']}. Made again from the journal, with what it believed then."
    return [(f"Why these prompts, at step {explained['step']:,}", lead, [entry for entry in shown if entry[-1]])]


def _believed(row: Section, by: str | None) -> tuple[str, str]:
    """Belief, rollouts planned, and the figure that decided."""
    facts = [f"{row['planned']:,} rollouts"] if "planned" in row else []
    facts.append(f"{row['rollouts']:,} before")
    if by is not None:
        facts.append("not compared" if row["rank"] is None else f"{by} {row['figures'][by]:.3g}, rank {row['rank']:,}")
    return f"{row['believed']:.2f} ± {row['deviation']:.2f}", "".join(f" · {fact}" for fact in facts).lstrip()
