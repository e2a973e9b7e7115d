# ruff: noqa: RUF001 - dashes, quotes and minus signs as readers expect them
"""Every number the report shows, as one plain dictionary.

`summarise(history)` returns what `didact report --json` prints. The figures are drawn from this dictionary and from
nothing else, so a number on the page is a number in the JSON. None stands for "unknown" or "does not apply".

Definitions. A group's pass rate is the mean reward of its rollouts that did not error or, for a run with `pass_above`,
the share of them with a reward above it. A group has signal when those rewards differ; otherwise its group-relative
advantage is zero and it is silent. Sections over time have at most 48 windows of equally many steps. Nothing here is
smoothed.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didact.report.history import DISCARDED, TRAINED, UNDECIDED, Evaluation, RunHistory
from didact.report.intervals import difference, paired_difference, wilson

Section = dict[str, Any]

MAX_WINDOWS = 48
MAX_SLICES = 9
MAX_CELLS = 10
BANDS = ("never", "up to ¼", "¼ to ½", "½ to ¾", "above ¾", "always")
UNLABELLED = "(none)"


def summarise(history: RunHistory, beside: Sequence[RunHistory] = ()) -> Section:
    """The whole report in numbers.

    Args:
        beside: other runs, of which only their evaluations are shown.

    Raises:
        ValueError: one of these was not evaluated, or on another number of prompts.
    """
    return {
        "run": _run(history),
        "headline": _headline(history),
        "totals": _totals(history),
        "held_out": _held_out(history),
        "beside": [_beside(other, history) for other in beside],
        "fates": _fates(history),
        "bands": _bands(history),
        "cells": _cells(history),
        "concentration": _concentration(history),
        "group_sizes": _group_sizes(history),
        "pass_rates": _pass_rates(history),
        "signal": (signal := _signal(history)),
        "signal_change": _signal_change(signal),
        "calibration": _calibration(history),
        "lengths": _lengths(history),
    }


def _held_out(history: RunHistory) -> list[Section]:
    names = ("step", "rollouts", "tokens", "pass_rate", "low", "high", "num_prompts", "errors", "by_source")
    return [{name: getattr(evaluation, name) for name in names} for evaluation in history.evaluations]


def _beside(other: RunHistory, history: RunHistory) -> Section:
    nums = [{evaluation.num_prompts for evaluation in each.evaluations[:1]} for each in (history, other)]
    if nums[0] != nums[1] or not nums[0]:
        said = ["no evaluation" if not num else f"an evaluation on {num.pop():,} prompts" for num in nums]
        raise ValueError(f"{other.path} has {said[1]} and {history.path} {said[0]}: they cannot be shown side by side")
    method = other.config.get("method") or other.start.get("method")
    return {"name": other.path.resolve().name, "method": method, "held_out": _held_out(other)}


def _run(history: RunHistory) -> Section:
    config = history.config
    planned = config.get("steps")
    done = history.num_steps
    return {
        "name": history.path.resolve().name,
        "path": str(history.path),
        "method": config.get("method") or history.start.get("method"),
        "method_options": config.get("method_options") or history.start.get("options") or {},
        "task": config.get("task"),
        "model": config.get("model"),
        "seed": config.get("seed", history.start.get("seed")),
        "prompts_per_step": config.get("prompts_per_step") or history.start.get("prompts_per_step"),
        "rollouts_per_step": config.get("rollouts_per_step") or history.start.get("rollouts_per_step"),
        "pass_above": history.pass_above,
        "pool_size": history.pool_size,
        "pool_grew": history.pool_grew,
        "pool_fingerprint": (history.start.get("pool") or {}).get("fingerprint"),
        "steps_done": done,
        "steps_planned": planned,
        "eval_on_train": bool(config.get("eval_on_train")),
        "finished": None if planned is None else done >= planned,
        "seconds": history.seconds,
        "commands": _commands(history),
    }


def _commands(history: RunHistory) -> dict[str, str]:
    """What to type next; only `inspect` and `explain` for a folder that `didact train` did not write."""
    from didact.training.config import TrainConfig

    folder = shlex.quote(str(history.path))
    commands = {"inspect": f"didact inspect {folder}", "explain": f"didact explain {folder}"}
    defaults = TrainConfig().to_dict()
    if not history.config or not set(history.config) <= set(defaults):
        return commands
    words = ["didact", "train"]
    for name, value in history.config.items():
        if isinstance(value, dict):
            flags = {"method_options": "-o", "task_options": "-t", "verifier_options": "--verifier-option"}
            flag = flags.get(name, "--trl")
            for key, item in value.items():
                words += [flag, f"{key}={item if isinstance(item, str) else json.dumps(item)}"]
        elif isinstance(value, bool) and value != defaults[name]:
            words.append(f"--{'' if value else 'no-'}{name.replace('_', '-')}")
        elif value is not None and value != defaults[name]:
            for each in value if isinstance(value, list) else [value]:
                words += [f"--{name.replace('_', '-')}", str(each)]
    return commands | {"reproduce": shlex.join(words), "resume": f"didact train --resume {folder}"}


def _headline(history: RunHistory) -> Section:
    """The sentence a reader wants, and the numbers in it. A run that could learn nothing says so first."""
    headline, silent = _change(history), _silence(history)
    return {**headline, "text": f"{silent} {headline['text']}" if silent else headline["text"], "silent": bool(silent)}


def _silence(history: RunHistory) -> str:
    groups, num = history.groups, len(history.rollouts)
    if not num or groups.mixed.any():
        return ""
    if not groups.num_scored.any():
        return f"No rollout of {num:,} had a verdict, so there was nothing to learn from."
    return "No group had signal, so there was nothing to learn from."


def _change(history: RunHistory) -> Section:
    """What happened on the held-out prompts."""
    totals = f"{len(history.rollouts):,} rollouts"
    if not history.evaluations:
        rates = history.groups.pass_rate[~np.isnan(history.groups.pass_rate)]
        said = f"mean pass rate {rates.mean():.2f} over the prompts it chose" if len(rates) else "no scored rollout yet"
        return {"text": f"No held-out evaluation: {said}, {totals}", "kind": "none"}
    first, last = history.evaluations[0], history.evaluations[-1]
    what = "Accuracy on training prompts" if history.config.get("eval_on_train") else "Held-out accuracy"
    if first is last:
        text = (
            f"{what} {first.pass_rate:.2f} (95% interval {first.low:.2f} to {first.high:.2f}, "
            f"{first.num_prompts:,} prompts), evaluated once, at {_spent(first)}"
        )
        return {"text": text, "kind": "single", "pass_rate": first.pass_rate, "low": first.low, "high": first.high}
    gap, low, high, paired = compare_evaluations(first, last)
    over = f"paired over {last.num_prompts:,} prompts" if paired else "two separate sets of prompts"
    change = f"{gap:+.2f}".replace("-", "−")
    interval = f"{low:.2f} to {high:.2f}".replace("-", "−")
    return {
        "text": f"{what} {first.pass_rate:.2f} → {last.pass_rate:.2f} "
        f"({change}, 95% interval {interval}, {over}) after {_spent(last)}",
        "kind": "change",
        "first": first.pass_rate,
        "last": last.pass_rate,
        "difference": gap,
        "low": low,
        "high": high,
        "paired": paired,
        "num_prompts": last.num_prompts,
        "rollouts": last.rollouts,
        "tokens": last.tokens,
    }


def compare_evaluations(first: Evaluation, last: Evaluation) -> tuple[float, float, float, bool]:
    """Difference, its 95% interval, and whether the comparison could be made prompt by prompt."""
    if first.passed and last.passed and len(first.passed) == len(last.passed):
        pairs = [pair for pair in zip(first.passed, last.passed, strict=True) if None not in pair]
        if pairs:
            return *paired_difference(*zip(*pairs, strict=True)), True
    passed = [evaluation.pass_rate * evaluation.num_prompts for evaluation in (first, last)]
    return *difference(passed[0], first.num_prompts, passed[1], last.num_prompts), False


def _spent(evaluation: Evaluation) -> str:
    tokens = "" if evaluation.tokens is None else f", {evaluation.tokens / 1e6:,.2f}M response tokens"
    return f"{evaluation.rollouts:,} rollouts{tokens}"


def _totals(history: RunHistory) -> Section:
    groups, rollouts = history.groups, history.rollouts
    counted = max(len(rollouts), 1)
    scored = groups.num_scored > 0
    known = ~np.isnan(rollouts.num_tokens)
    return {
        "rollouts": len(rollouts),
        "response_tokens": int(rollouts.num_tokens[known].sum()) if known.any() else None,
        "rollouts_without_token_count": int((~known).sum()),
        "outstanding": int(groups.num_planned.sum()) - len(rollouts),
        "trained": int((rollouts.fate == TRAINED).sum()),
        "discarded": int((rollouts.fate == DISCARDED).sum()),
        "undecided": int((rollouts.fate == UNDECIDED).sum()),
        "trained_share": float((rollouts.fate == TRAINED).sum() / counted),
        "groups": len(groups),
        "groups_with_signal": int(groups.mixed.sum()),
        "signal_share": float(groups.mixed.sum() / scored.sum()) if scored.any() else None,
        "errored": int(rollouts.errored.sum()),
        "errored_share": float(rollouts.errored.sum() / counted),
        "truncated": int(rollouts.truncated.sum()),
        "truncated_share": float(rollouts.truncated.sum() / counted),
        "rewards_outside_unit": int(((rollouts.reward < 0) | (rollouts.reward > 1)).sum()),
        "surplus": history.num_surplus,
        "resumes": len(history.resumes),
        "repeated_after_resume": sum(int(row.get("dropped_rollouts") or 0) for row in history.resumes),
        "prompts_tried": len(np.unique(groups.prompt[groups.num_rollouts > 0])),
    }


def _fates(history: RunHistory) -> list[Section]:
    """Rollouts by the reason they were planned for and what became of them."""
    rollouts = history.rollouts
    rows = []
    for code, reason in enumerate(history.reasons):
        fate = rollouts.fate[rollouts.reason == code]
        trained, discarded, undecided = (int((fate == value).sum()) for value in (TRAINED, DISCARDED, UNDECIDED))
        rows.append({"reason": reason, "trained": trained, "discarded": discarded, "undecided": undecided})
    return sorted(rows, key=lambda row: -(row["trained"] + row["discarded"] + row["undecided"]))


def _bands(history: RunHistory) -> list[Section]:
    """Rollouts by the observed pass rate of their group."""
    rate = history.groups.pass_rate
    band = np.select(
        [np.isnan(rate), rate <= 0, rate >= 1, rate <= 0.25, rate <= 0.5, rate <= 0.75], [-1, 0, 5, 1, 2, 3], 4
    )
    of_rollout, trained = band[history.rollouts.group], history.rollouts.fate == TRAINED
    return [
        {
            "band": name,
            "trained": int((trained & (of_rollout == code)).sum()),
            "not_trained": int((~trained & (of_rollout == code)).sum()),
        }
        for code, name in enumerate(BANDS)
    ]


def _cells(history: RunHistory) -> Section | None:
    """Rollouts per pool prompt by source and difficulty; None where the pool has neither."""
    prompts = history.prompts
    source = [UNLABELLED if value is None else str(value) for value in prompts.source]
    difficulty, columns = _levels(prompts.difficulty)
    rows = sorted(set(source), key=lambda name: (-source.count(name), name))
    if len(rows) * len(columns) < 2:
        return None
    if len(rows) > MAX_CELLS:
        kept = set(rows[: MAX_CELLS - 1])
        source = [name if name in kept else "(others)" for name in source]
        rows = [*rows[: MAX_CELLS - 1], "(others)"]
    at = (np.array([rows.index(name) for name in source]), difficulty)
    size = np.zeros((len(rows), len(columns)), dtype=int)
    spent = np.zeros_like(size)
    np.add.at(size, at, 1)
    np.add.at(spent, at, _rollouts_per_prompt(history))
    return {"sources": rows, "difficulties": columns, "prompts": size.tolist(), "rollouts": spent.tolist()}


def _levels(labels: list[Any]) -> tuple[NDArray[np.int64], list[str]]:
    """Difficulty labels as column numbers and column names; many different numbers become equally filled ranges."""
    numeric = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in labels)
    distinct = sorted(set(labels)) if numeric else sorted({str(UNLABELLED if v is None else v) for v in labels})
    if len(distinct) <= MAX_CELLS:
        place = {value: column for column, value in enumerate(distinct)}
        columns = [place[value if numeric else str(UNLABELLED if value is None else value)] for value in labels]
        return np.array(columns, dtype=np.int64), [f"{value:g}" if numeric else str(value) for value in distinct]
    if not numeric:
        names = sorted({str(value) for value in labels}, key=lambda name: -sum(str(v) == name for v in labels))
        kept = [*names[: MAX_CELLS - 1], "(others)"]
        return np.array([kept.index(str(v)) if str(v) in kept else MAX_CELLS - 1 for v in labels]), kept
    values = np.array(labels, dtype=float)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, 7)))
    column = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    return column, [f"{low:.3g}–{high:.3g}" for low, high in pairwise(edges)]


def _rollouts_per_prompt(history: RunHistory) -> NDArray[np.int64]:
    counts = np.zeros(len(history.prompts.ids), dtype=np.int64)
    np.add.at(counts, history.groups.prompt, history.groups.num_rollouts)
    return counts


def _concentration(history: RunHistory) -> Section:
    """How unevenly the rollouts fell on the pool: the most used prompts first."""
    counts = np.sort(_rollouts_per_prompt(history))[::-1]
    cumulative, size = (
        np.cumsum(counts) / max(counts.sum(), 1),
        history.pool_size,
    )  # prompts may be known by number only
    at = np.unique(np.linspace(0, size, min(size, 60) + 1).astype(int))
    half = int(np.searchsorted(cumulative, 0.5) + 1)
    return {
        "share_of_pool": (at / size).tolist(),
        "share_of_rollouts": np.concatenate([[0.0], cumulative])[np.minimum(at, len(counts))].tolist(),
        "half_of_rollouts_on": half / size,
        "untried": size - int(np.count_nonzero(counts)),
        # The number of equally used prompts that would be as concentrated; the same as in the engine's metrics.
        "effective_prompts": float(counts.sum() ** 2 / max((counts**2).sum(), 1)),
        "most": int(counts.max(initial=0)),
    }


def _group_sizes(history: RunHistory) -> list[Section]:
    sizes, groups = np.unique(history.groups.num_rollouts[history.groups.num_rollouts > 0], return_counts=True)
    return [
        {"rollouts": int(size), "groups": int(count), "rollouts_in_total": int(size * count)}
        for size, count in zip(sizes, groups, strict=True)
    ]


def _windows(history: RunHistory, limit: int) -> list[tuple[int, int, NDArray[np.bool_]]]:
    """Steps cut into at most `limit` windows: first step, last step, and the groups of the window with an outcome."""
    step = history.groups.step
    seen = history.groups.num_rollouts > 0
    if not seen.any():
        return []
    end = int(step[seen].max()) + 1
    edges = np.unique(np.linspace(0, end, min(limit, end) + 1).astype(int))
    cut = [(int(a), int(b) - 1, seen & (step >= a) & (step < b)) for a, b in pairwise(edges)]
    return [window for window in cut if window[2].any()]


def _pass_rates(history: RunHistory) -> list[Section]:
    """Observed group pass rates from start to end, as counts of (pass rate, rollouts) pairs per window."""
    groups = history.groups
    rows = []
    for first, last, member in _windows(history, MAX_SLICES):
        member = member & (groups.num_scored > 0)
        pairs = np.stack([np.round(groups.pass_rate[member], 4), groups.num_scored[member]], axis=1)
        values, counts = np.unique(pairs, axis=0, return_counts=True)
        rows.append(
            {
                "first_step": first,
                "last_step": last,
                "groups": int(member.sum()),
                "mean": float(pairs[:, 0].mean()) if len(pairs) else None,
                "pass_rate": values[:, 0].tolist(),
                "rollouts": values[:, 1].astype(int).tolist(),
                "count": counts.tolist(),
            }
        )
    return rows


def _signal(history: RunHistory) -> list[Section]:
    """Share of groups whose rollouts all fail, differ, or all pass; groups where every rollout errored are apart."""
    groups = history.groups
    rows = []
    for first, last, member in _windows(history, MAX_WINDOWS):
        scored = member & (groups.num_scored > 0)
        silent = scored & ~groups.mixed
        num = max(int(scored.sum()), 1)
        rows.append(
            {
                "first_step": first,
                "last_step": last,
                "groups": int(scored.sum()),
                "all_fail": float((silent & (groups.pass_rate < 0.5)).sum() / num),
                "mixed": float(groups.mixed[member].sum() / num),
                "all_pass": float((silent & (groups.pass_rate >= 0.5)).sum() / num),
                "all_errored": int((member & (groups.num_scored == 0)).sum()),
            }
        )
    return rows


def _signal_change(windows: list[Section]) -> Section | None:
    """Share of groups with signal in the first and last fifth of the windows; None for fewer than five."""
    fifth = len(windows) // 5
    if not fifth:
        return None
    ends = (windows[:fifth], windows[-fifth:])
    groups = [sum(row["groups"] for row in end) for end in ends]
    if not all(groups):
        return None
    first, last = (
        sum(row["mixed"] * row["groups"] for row in end) / num for end, num in zip(ends, groups, strict=True)
    )
    return {"first_fifth": first, "last_fifth": last}


def _calibration(history: RunHistory) -> Section | None:
    """Pass rate believed when planned against the one observed, in ten bins; None for a method that believes nothing.

    Rollouts of one group share a prompt and are not independent, so the Wilson interval of a bin uses the effective
    number of rollouts: p(1-p) over the squared standard error between groups, at most the true number.
    """
    groups = history.groups
    used = ~np.isnan(groups.predicted) & (groups.num_scored > 0)
    if not used.any():
        return None
    predicted, rate, weight = groups.predicted[used], groups.pass_rate[used], groups.num_scored[used].astype(float)
    column = np.clip((predicted * 10).astype(int), 0, 9)
    bins = []
    for code in np.unique(column):
        member = column == code
        total = weight[member].sum()
        realised = float(np.average(rate[member], weights=weight[member]))
        squared_error = float((weight[member] ** 2 * (rate[member] - realised) ** 2).sum() / total**2)
        variance = realised * (1 - realised)
        effective = min(total, variance / squared_error) if squared_error > 0 and variance > 0 else total
        low, high = wilson(realised * effective, effective)
        bins.append(
            {
                "predicted": float(np.average(predicted[member], weights=weight[member])),
                "realised": realised,
                "low": float(low),
                "high": float(high),
                "groups": int(member.sum()),
                "rollouts": int(total),
            }
        )
    gaps = [(abs(row["realised"] - row["predicted"]), row["rollouts"]) for row in bins]
    return {
        "bins": bins,
        "groups": int(used.sum()),
        "mean_gap": sum(gap * num for gap, num in gaps) / sum(num for _, num in gaps),
        "bias": float(np.average(predicted - rate, weights=weight)),
    }


def _lengths(history: RunHistory) -> list[Section] | None:
    """Response length, context length and truncated share over time; None where nothing about length is known."""
    groups, rollouts = history.groups, history.rollouts
    if np.isnan(rollouts.num_tokens).all() and np.isnan(groups.context_length).all():
        return None
    rows = []
    for first, last, member in _windows(history, MAX_WINDOWS):
        inside = member[rollouts.group]
        tokens = rollouts.num_tokens[inside]
        tokens = tokens[~np.isnan(tokens)]
        context = groups.context_length[member]
        context = context[~np.isnan(context)]
        rows.append(
            {
                "first_step": first,
                "last_step": last,
                "mean_tokens": float(tokens.mean()) if len(tokens) else None,
                "tokens_90th": float(np.quantile(tokens, 0.9)) if len(tokens) else None,
                "shortest_context": float(context.min()) if len(context) else None,
                "longest_context": float(context.max()) if len(context) else None,
                "truncated_share": float(rollouts.truncated[inside].mean()),
            }
        )
    return rows
