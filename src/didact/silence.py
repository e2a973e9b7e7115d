"""What a run says when it pays for rollouts and learns nothing from them: once, and then ever more seldom.

A step is silent when rollouts came back, and no group that was admitted has signal or more than half of the rollouts
have no verdict. One such step is bad luck; PATIENCE in a row are said, and again when they have doubled.
"""

import warnings
from collections.abc import Mapping, Sequence

#: Silent steps in a row after which it is said.
PATIENCE = 5
#: What a curriculum adds up over silent steps in a row.
FIGURES = (
    "silent_steps",
    "silent_rollouts",
    "silent_errored",
    "silent_cut_off",
    "silent_passed",
    "silent_with_signal",
)
_DUST = 1e-6


class NothingLearnt(UserWarning):
    """Rollouts are paid for, and what comes back cannot be learnt from as it is."""


def added_up(now: Mapping[str, float]) -> dict[str, float]:
    """FIGURES up to the current step, of which these are the curriculum's figures; empty if it was not silent."""
    errored, scored = now.get("errored", 0.0), now.get("scored", 0.0)
    if now.get("admitted_with_signal") and errored <= scored:
        return {}
    before = {name: now.get(name, 0.0) for name in FIGURES}
    if errored + scored == 0:  # nothing came back, so nothing can be said
        return {name: value for name, value in before.items() if value}
    figures = {"silent_steps": 1.0, "silent_rollouts": errored + scored, "silent_errored": errored}
    figures |= {"silent_cut_off": now.get("truncated", 0.0), "silent_passed": now.get("passes", 0.0)}
    figures["silent_with_signal"] = now.get("with_signal", 0.0)
    return {name: before[name] + figures[name] for name in FIGURES}


def say(now: Mapping[str, float], said: int) -> int:
    """Warn if the current step, of which these are the figures, ends as a silent one, and the silent steps are PATIENCE
    by that, and twice as many as when it was `said` last; returns when that was.
    """
    figures = added_up(now)
    steps = int(figures.get("silent_steps", 0))
    if steps <= now.get("silent_steps", 0) or steps < max(PATIENCE, 2 * said):
        return said
    warnings.warn(_said(steps, figures), NothingLearnt, stacklevel=3)
    return steps


def out_of_range(rewards: Sequence[float]) -> bool:
    """Whether rewards leave [0, 1], which is said: without `pass_above` the belief clips them."""
    low, high = min(rewards, default=0.0), max(rewards, default=1.0)
    if low >= -_DUST and high <= 1 + _DUST:
        return False
    warnings.warn(
        f"rewards from {low:g} to {high:g} came back; the belief clips them to [0, 1] and counts them as fractions "
        "of a pass. Say what passes: pass_above=0 for rewards of -1 and +1; on a scale, the score above which an "
        "answer is right; or give it the verifier's own verdict instead of a sum with bonuses",
        NothingLearnt,
        stacklevel=3,
    )
    return True


def _said(steps: int, figures: Mapping[str, float]) -> str:
    num, errored, cut, passed = (figures[f"silent_{name}"] for name in ("rollouts", "errored", "cut_off", "passed"))
    counts = (
        f"{steps} steps in a row gave nothing to train on: of {num:,.0f} rollouts {errored:,.0f} have no verdict, "
        f"{passed:,.0f} passed, {num - errored - passed:,.0f} failed; {cut:,.0f} were cut off by the context length"
    )
    if 2 * errored > num:
        why = (
            "The verifier gives no verdict: call it on a response and its answer, and look at what it raises or returns"
        )
    elif figures["silent_with_signal"]:
        why = (
            "What had signal was only probed, or not admitted: see the options admission and max_rollouts_per_step; "
            "ask admitted(step) in each step"
        )
    elif 2 * cut > num:
        why = "Raise the context length, or shorten the responses"
    elif passed <= _DUST * num:
        why = "Nothing passes: read some responses, and try the verifier on gold answers; or the prompts are too hard"
    elif passed >= (1 - _DUST) * (num - errored):
        why = "Everything passes: try the verifier on wrong answers; or the prompts are too easy"
    else:
        why = "Each prompt passes always or never: take other prompts, or larger groups"
    return f"{counts}. {why}"
