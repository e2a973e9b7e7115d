"""Prompts worth a look, with how sure one can be: from the outcomes of a run alone.

never_pass     at least `min_rollouts` scored rollouts, none of which passed: its reward is not above the run's
               `pass_above` or, where there is none, below 0.5. `bound` is the one-sided 95% upper bound of its pass
               rate, 1 - 0.05^(1/n). A broken answer looks like this; so does a hard prompt with few rollouts.
suspicious     never passed, although its like do: with q believed when a group was planned and n scored rollouts,
               `chance`, the product of (1 - q)^n over its groups, is 0.001 or less. Look at the answer. At most
               `expected_by_chance` if all q are right. Only in runs that told prompts apart before they were tried:
               a prior that all start from says nothing of one of them.
always_pass    the mirror image; `bound` is the lower bound.
relapse        the prompt's groups in order, cut in half, at least eight scored rollouts on each side: the pooled two-
               proportion z of earlier minus later is at least 3 and the pass rate fell by 0.25 or more. About one
               innocent prompt in 740 would reach z = 3, so `expected_by_chance` says how many of the tested ones.
budget         most rollouts, and most response tokens, with their share of the whole run.
trouble        most rollouts that errored, or were truncated.

It reads rewards, not texts: it cannot say why a prompt never passes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didact.report.history import RunHistory
from didact.report.intervals import zero_pass_bound

Finding = dict[str, Any]

RELAPSE_Z = 3.0
RELAPSE_DROP = 0.25
RELAPSE_ROLLOUTS = 8
SUSPICIOUS = 1e-3
CHANCE_OF_Z3 = 0.5 * math.erfc(RELAPSE_Z / math.sqrt(2))


def inspect_prompts(history: RunHistory, *, top: int = 10, min_rollouts: int = 16, excerpt: int = 160) -> Finding:
    """Findings by kind, the strongest evidence first, at most `top` of each; counts are of all of them."""
    if top < 1 or min_rollouts < 1:
        raise ValueError(f"top and min_rollouts must be at least 1, got {top} and {min_rollouts}")
    groups, rollouts = history.groups, history.rollouts
    num_prompts = len(history.prompts.ids)
    prompt = groups.prompt[rollouts.group]
    scored = ~rollouts.errored

    def count(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(prompt[mask], minlength=num_prompts)

    total, num_scored, passed = count(scored | True), count(scored), count(scored & rollouts.passed)
    known = ~np.isnan(rollouts.num_tokens)
    tokens = np.bincount(prompt[known], weights=rollouts.num_tokens[known], minlength=num_prompts)
    errored, truncated = count(rollouts.errored), count(rollouts.truncated)

    def describe(row: int) -> Finding:
        return {
            "prompt_id": history.prompts.ids[row],
            "prompt": shorten(history.prompts.text[row], excerpt),
            "answer": shorten(history.prompts.answer[row], 60),
            "rollouts": int(total[row]),
            "scored": int(num_scored[row]),
            "passed": int(passed[row]),
            "truncated": int(truncated[row]),
            "errored": int(errored[row]),
        }

    def ranked(mask: NDArray[np.bool_], score: NDArray[Any]) -> list[int]:
        rows = np.flatnonzero(mask)
        return [int(row) for row in rows[np.argsort(-score[rows], kind="stable")][:top]]

    enough = num_scored >= min_rollouts
    never, always = enough & (passed == 0), enough & (passed == num_scored)
    relapses, num_tested = _relapses(history, prompt, scored)
    chance = _chance_of_none(history, np.bincount(rollouts.group[scored], minlength=len(groups.prompt)))
    suspicious = (passed == 0) & (num_scored > 0) & (chance <= SUSPICIOUS)
    num_rollouts, num_tokens = max(int(total.sum()), 1), max(float(tokens.sum()), 1.0)
    return {
        "min_rollouts": min_rollouts,
        "prompts": history.pool_size,
        "prompts_are_more": history.pool_grew,
        "prompts_tried": int((total > 0).sum()),
        "never_pass": {
            "count": int(never.sum()),
            "prompts": [
                describe(row) | {"bound": zero_pass_bound(int(num_scored[row]))} for row in ranked(never, num_scored)
            ],
        },
        "suspicious": {
            "count": int(suspicious.sum()),
            "expected_by_chance": int((num_scored > 0).sum()) * SUSPICIOUS,
            "prompts": [describe(row) | {"chance": float(chance[row])} for row in ranked(suspicious, -chance)],
        },
        "always_pass": {
            "count": int(always.sum()),
            "prompts": [
                describe(row) | {"bound": 1 - zero_pass_bound(int(num_scored[row]))}
                for row in ranked(always, num_scored)
            ],
        },
        "relapse": {
            "count": len(relapses),
            "tested": num_tested,
            "expected_by_chance": num_tested * CHANCE_OF_Z3,
            "prompts": [describe(row) | found for row, found in relapses[:top]],
        },
        "most_rollouts": [
            describe(row) | {"share": float(total[row] / num_rollouts)} for row in ranked(total > 0, total)
        ],
        "most_tokens": [
            describe(row) | {"tokens": int(tokens[row]), "share": float(tokens[row] / num_tokens)}
            for row in ranked(tokens > 0, tokens)
        ],
        "most_errored": [describe(row) for row in ranked(errored > 0, errored)],
        "most_truncated": [describe(row) for row in ranked(truncated > 0, truncated)],
    }


def _chance_of_none(history: RunHistory, num_scored: NDArray[np.int64]) -> NDArray[np.float64]:
    """By prompt, the chance that none of its rollouts passes if all was as believed when its groups were planned; 1
    where all prompts were believed alike before they were tried.

    Args:
        num_scored: rollouts with a verdict, by group.
    """
    groups, num_prompts = history.groups, len(history.prompts.ids)
    believed = np.nan_to_num(groups.predicted, nan=0.0)
    untried = believed[np.unique(groups.prompt, return_index=True)[1]]  # groups are in the order first planned
    if len(untried) == 0 or np.ptp(untried) < 1e-9:
        return np.ones(num_prompts)
    failing = np.log1p(-np.minimum(believed, 1 - 1e-12))
    return np.exp(np.bincount(groups.prompt, weights=num_scored * failing, minlength=num_prompts))


def _relapses(
    history: RunHistory, prompt: NDArray[np.int64], scored: NDArray[np.bool_]
) -> tuple[list[tuple[int, Finding]], int]:
    """Prompts that passed more often in the first half of their groups than in the second, and how many were tested."""
    rollouts = history.rollouts
    rows = np.flatnonzero(scored)
    # Group rows are in the order first planned, so this puts each prompt's rollouts in the order of its groups.
    rows = rows[np.lexsort((rollouts.group[rows], prompt[rows]))]
    owner = prompt[rows]
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    tested, found = 0, []
    for own in np.split(rows, starts[1:]) if len(rows) else []:
        cut = np.flatnonzero(np.diff(rollouts.group[own])) + 1
        if not len(cut):
            continue
        middle = int(cut[np.argmin(np.abs(cut - len(own) / 2))])
        earlier, later = rollouts.passed[own[:middle]], rollouts.passed[own[middle:]]
        if min(len(earlier), len(later)) < RELAPSE_ROLLOUTS:
            continue
        tested += 1
        pooled = (earlier.sum() + later.sum()) / len(own)
        drop = float(earlier.mean() - later.mean())
        if drop < RELAPSE_DROP:
            continue
        z = drop / math.sqrt(pooled * (1 - pooled) * (1 / len(earlier) + 1 / len(later)))
        if z >= RELAPSE_Z:
            finding = {"earlier": float(earlier.mean()), "later": float(later.mean()), "z": z}
            finding |= {"earlier_rollouts": len(earlier), "later_rollouts": len(later)}
            found.append((int(prompt[own[0]]), finding))
    return sorted(found, key=lambda item: (-item[1]["z"], item[0])), tested


def shorten(text: str, limit: int) -> str:
    """One line of at most `limit` characters; the middle goes, since questions end with what is asked."""
    line = " ".join(text.split())
    if len(line) <= limit:
        return line
    head = (limit - 3) * 2 // 3
    return f"{line[:head].rstrip()} … {line[len(line) - (limit - 3 - head) :].lstrip()}"
