"""The books: what a run has planned, paid for, trained on and thrown away."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from didact import silence
from didact.admission import has_signal
from didact.arrays import Floats
from didact.calibration import Calibration
from didact.group import OpenGroup, rewards_of
from didact.outcomes import GroupOutcome
from didact.plan import AdmittedGroup

#: Reasons of rollouts that are made to learn about a prompt before the rest of its group, if any.
PROBES = ("pilot", "screen")
#: Figures of the whole run, in the order in which metrics name them.
TOTALS = (
    *("rollouts", "rollouts_planned", "rollouts_trained", "rollouts_discarded", "rollouts_pilot", "rollouts_errored"),
    *("rollouts_truncated", "rollouts_lost", "response_tokens", "prompt_tokens"),
    *("groups", "groups_trained", "groups_with_signal", "groups_all_pass", "groups_all_fail"),
    *("outcomes", "outcomes_late", "outcomes_partial", "outcomes_duplicate", "prompts_seen", "_rollout_squares"),
)


class Books:
    """Totals of the run and figures of the current step.

    Args:
        passes: says how much of a pass each reward is, as the belief does.
    """

    def __init__(self, passes: Callable[[Floats], Floats]) -> None:
        self._passes = passes
        self.calibration = Calibration()
        self.totals: dict[str, float] = dict.fromkeys(TOTALS, 0.0)
        self.now: dict[str, float] = {}

    def count(self, name: str, value: float) -> None:
        """Add to a figure of the current step."""
        self.now[name] = self.now.get(name, 0.0) + value

    # The course of a step ---------------------------------------------------------------------------------------

    def next_step(self) -> None:
        """The figures of the step start anew, but for those that go on with the next one."""
        capped = self.now.get("capped_steps", 0.0)
        self.now = {**silence.added_up(self.now), **({"capped_steps": capped} if capped else {})}

    def fitting(self, num: int, num_rollouts: int, most: int) -> int:
        """How many of `num` groups alike, of `num_rollouts` in all, can still be planned at this step, of `most`."""
        room = self.room(most)
        if num_rollouts <= room:
            return num
        if not self.now.get("capped"):  # the step came to its cap
            self.now["capped"] = 1.0
            self.count("capped_steps", 1)
        return num * room // num_rollouts

    def room(self, most: int) -> int:
        """Rollouts that may still be planned at this step, of `most`."""
        return most - int(self.now.get("planned", 0.0))

    def planned(self, num_rollouts: int, *, context_length: int | None, evidence_age: float) -> None:
        """A plan of so many rollouts; the figures of its context and of the belief it rests on are the step's."""
        self.totals["rollouts_planned"] += float(num_rollouts)
        self.count("planned", float(num_rollouts))
        self.now |= {"context_length": float(context_length or 0), "evidence_age": evidence_age}

    def came(self, group: OpenGroup, outcome: GroupOutcome, step: int, prompt_tokens: int) -> range:
        """Write an outcome into its group and the counters; returns the positions of its rollouts in the group."""
        totals, size, errored = self.totals, len(outcome.rewards), sum(outcome.errored or ())
        truncated = sum(outcome.truncated or ())
        totals["rollouts_lost"] -= group.record(outcome, step)
        totals["outcomes"] += 1
        totals["outcomes_partial"] += len(group.rewards) < group.planned
        totals["outcomes_late"] += group.step < step
        totals["rollouts_errored"] += errored
        totals["rollouts_truncated"] += truncated
        totals["rollouts_pilot"] += size if group.reason in PROBES else 0
        totals["rollouts_discarded"] += size if group.settled else 0
        totals["prompt_tokens"] += prompt_tokens * size
        self.count("errored", errored)
        self.count("truncated", truncated)
        self.count("lag", step - (group.asked if outcome.policy_version is None else outcome.policy_version))
        self.count("lag_count", 1)
        return range(len(group.rewards) - size, len(group.rewards))

    def lost(self, num_rollouts: int, *, again: bool = False) -> None:
        """Rollouts were written off, and perhaps as many asked for again; less than 0 of them were found."""
        self.totals["rollouts_lost"] += num_rollouts
        self.totals["rollouts_planned"] += num_rollouts if again else 0

    def spent(self, before: Floats, added: Floats, tokens: int, rewards: Sequence[float]) -> None:
        """Rollouts of distinct prompts, which had so many before; their response tokens, and all rewards they got."""
        self.totals["_rollout_squares"] += float(((before + added) ** 2 - before**2).sum())
        self.totals["rollouts"] += float(added.sum())
        self.totals["response_tokens"] += float(tokens)
        self.totals["prompts_seen"] += float(((before == 0) & (added > 0)).sum())
        self.count("passes", float(self._passes(np.array(rewards)).sum()))
        self.count("scored", len(rewards))

    def settle(self, group: OpenGroup, admitted: AdmittedGroup | None) -> None:
        """A group trains, or is discarded."""
        rewards = rewards_of(group)
        group.settled = True
        kept = 0 if admitted is None else len(admitted.rollouts)
        self.totals["rollouts_trained"] += kept
        self.totals["rollouts_discarded"] += len(group.rewards) - kept
        self.totals["groups"] += 1
        self.totals["groups_trained"] += kept > 0
        self.count("groups", 1)
        if has_signal(rewards):
            self.totals["groups_with_signal"] += 1
            self.count("with_signal", 1)
            self.count("admitted_with_signal", kept > 0)
        elif len(rewards):
            passed = self._passes(rewards).mean() >= 0.5
            self.totals["groups_all_pass" if passed else "groups_all_fail"] += 1

    # What they say ----------------------------------------------------------------------------------------------

    def metrics(self) -> dict[str, float]:
        totals, now = self.totals, self.now
        return {
            **{name: float(totals[name]) for name in TOTALS if not name.startswith("_")},
            "share_with_signal": _ratio(now.get("with_signal"), now.get("groups")),
            "share_with_signal_so_far": _ratio(totals["groups_with_signal"], totals["groups"]),
            "pass_rate": _ratio(now.get("passes"), now.get("scored")),
            "evidence_age": now.get("evidence_age", 0.0),
            "lag": _ratio(now.get("lag"), now.get("lag_count")),
            "calibration_error": self.calibration.error,
            "effective_prompts": _ratio(totals["rollouts"] ** 2, totals["_rollout_squares"]),
            "context_length": now.get("context_length", 0.0),
            "steps_without_signal": now.get("silent_steps", 0.0),
            "capped_steps": now.get("capped_steps", 0.0),
        }

    def state_dict(self) -> dict[str, Any]:
        return {"totals": dict(self.totals), "now": dict(self.now), "calibration": self.calibration.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state. Raises ValueError for figures that are missing, not finite, or less than 0."""
        totals, now = dict(state["totals"]), dict(state["now"])
        if set(totals) != set(TOTALS) or not all(isinstance(x, float) for x in [*totals.values(), *now.values()]):
            raise ValueError(f"totals must be one number for each of {', '.join(TOTALS)}, got {totals}")
        if not all(0 <= total < math.inf for total in totals.values()):
            raise ValueError(f"totals must be finite and not negative, got {totals}")
        if not all(map(math.isfinite, now.values())):
            raise ValueError(f"the figures of the step must be finite, got {now}")
        done = totals["rollouts_trained"] + totals["rollouts_discarded"]
        if done > totals["rollouts"] or totals["groups_trained"] > totals["groups"]:
            raise ValueError(f"{done:g} of {totals['rollouts']:g} rollouts cannot have trained or been discarded")
        self.calibration.load_state_dict(state["calibration"])
        self.totals, self.now = totals, now


def _ratio(part: float | None, whole: float | None) -> float:
    return (part or 0.0) / whole if whole else 0.0
