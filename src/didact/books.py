"""The books: what a run has planned, paid for, trained on and thrown away, and how well it predicted."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didact import silence
from didact.admission import has_signal
from didact.ledger import OpenGroup
from didact.outcomes import GroupOutcome
from didact.plan import AdmittedGroup

#: Reasons of rollouts that are made to learn about a prompt before the rest of its group, if any.
PROBES = ("pilot", "screen")
TOTALS = (
    "rollouts",
    "rollouts_planned",
    "rollouts_trained",
    "rollouts_discarded",
    "rollouts_pilot",
    "rollouts_errored",
    "rollouts_truncated",
    "rollouts_lost",
    "response_tokens",
    "prompt_tokens",
    "groups",
    "groups_trained",
    "groups_with_signal",
    "groups_all_pass",
    "groups_all_fail",
    "outcomes",
    "outcomes_late",
    "outcomes_partial",
    "outcomes_duplicate",
    "prompts_seen",
    "_rollout_squares",
)
_BINS = 10
_STATE = ("totals", "now", "calibration")


class Books:
    """Totals of the run and figures of the current step.

    Args:
        passes: says how much of a pass each reward is, as the belief does.
    """

    def __init__(self, passes: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> None:
        self._passes = passes
        self.totals: dict[str, float] = dict.fromkeys(TOTALS, 0.0)
        self.now: dict[str, float] = {}
        self._calibration = np.zeros((3, _BINS))  # rollouts, predicted passes, passes, by predicted pass rate

    def count(self, name: str, value: float) -> None:
        """Add to a figure of the current step."""
        self.now[name] = self.now.get(name, 0.0) + value

    # The course of a step ---------------------------------------------------------------------------------------

    def next_step(self) -> None:
        """The figures of the step start anew, but for those that go on with the next one."""
        capped = self.now.get("capped_steps", 0.0)
        self.now = {**self.silence(), **({"capped_steps": capped} if capped else {})}

    def planned(self, num_rollouts: int) -> None:
        self.totals["rollouts_planned"] += float(num_rollouts)
        self.count("planned", float(num_rollouts))

    def room(self, most: int) -> int:
        """Rollouts that may still be planned at this step, of `most`."""
        return most - int(self.now.get("planned", 0.0))

    def capped(self) -> None:
        """The step came to its cap."""
        if not self.now.get("capped"):
            self.now["capped"] = 1.0
            self.count("capped_steps", 1)

    def came(self, group: OpenGroup, outcome: GroupOutcome, step: int, prompt_tokens: int) -> None:
        """Write an outcome into its group and the counters; `prompt_tokens` is the length of its prompt."""
        totals, size = self.totals, len(outcome.rewards)
        errored = outcome.errored or (False,) * size
        truncated = outcome.truncated or (False,) * size
        group.record(outcome, step)
        found = max(-group.in_flight, 0)  # it was given up and comes after all, and nobody said so
        group.lost -= found
        totals["rollouts_lost"] -= found
        totals["outcomes"] += 1
        totals["outcomes_partial"] += size < group.planned and len(group.rewards) < group.planned
        totals["outcomes_late"] += group.step < step
        totals["rollouts_errored"] += sum(errored)
        totals["rollouts_truncated"] += sum(truncated)
        self.count("errored", sum(errored))
        self.count("truncated", sum(truncated))
        totals["rollouts_pilot"] += size if group.reason in PROBES else 0
        if group.settled:
            totals["rollouts_discarded"] += size
        self.count("lag", step - (group.asked if outcome.policy_version is None else outcome.policy_version))
        self.count("lag_count", 1)
        totals["prompt_tokens"] += prompt_tokens * size

    def scored(self, rewards: Sequence[float]) -> None:
        """Rewards of what came back, nan where there is none."""
        graded = np.array([reward for reward in rewards if not math.isnan(reward)])
        self.count("passes", float(self._passes(graded).sum()))
        self.count("scored", len(graded))

    def spent(self, before: NDArray[np.float64], added: NDArray[np.float64], tokens: int) -> None:
        """Rollouts of distinct prompts, which had so many before, and response tokens."""
        totals = self.totals
        totals["_rollout_squares"] += float(((before + added) ** 2 - before**2).sum())
        totals["rollouts"] += float(added.sum())
        totals["response_tokens"] += float(tokens)
        totals["prompts_seen"] += float(((before == 0) & (added > 0)).sum())

    def calibrate(self, predicted: Sequence[float], sizes: NDArray[np.int64], rewards: NDArray[np.float64]) -> None:
        """Compare what was believed when a group was planned with what came back."""
        mean = np.repeat(np.array(predicted), sizes)
        bins = np.minimum((mean * _BINS).astype(np.int64), _BINS - 1)
        for row, values in enumerate((np.ones(len(mean)), mean, self._passes(rewards))):
            self._calibration[row] += np.bincount(bins, weights=values, minlength=_BINS)

    def settle(self, group: OpenGroup, admitted: AdmittedGroup | None) -> None:
        """A group trains, or is discarded."""
        rewards = np.array([group.rewards[index] for index in group.usable])
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

    def silence(self) -> dict[str, float]:
        """What steps in a row up to the current one, which gave nothing to train on, add up to; empty if it did."""
        return silence.added_up(self.now)

    # What they say ----------------------------------------------------------------------------------------------

    def metrics(self) -> dict[str, float]:
        totals, now = self.totals, self.now
        weight, predicted, passed = self._calibration
        seen = weight > 0
        error = np.abs(predicted[seen] - passed[seen]).sum() / weight.sum() if seen.any() else 0.0
        groups, done = now.get("groups", 0.0), now.get("scored", 0.0)
        return {
            **{name: float(totals[name]) for name in TOTALS if not name.startswith("_")},
            "share_with_signal": now.get("with_signal", 0.0) / groups if groups else 0.0,
            "share_with_signal_so_far": totals["groups_with_signal"] / max(totals["groups"], 1.0),
            "pass_rate": now.get("passes", 0.0) / done if done else 0.0,
            "evidence_age": now.get("evidence_age", 0.0),
            "lag": now.get("lag", 0.0) / max(now.get("lag_count", 0.0), 1.0),
            "calibration_error": float(error),
            "effective_prompts": totals["rollouts"] ** 2 / max(totals["_rollout_squares"], 1.0),
            "context_length": now.get("context_length", 0.0),
            "steps_without_signal": now.get("silent_steps", 0.0),
            "capped_steps": now.get("capped_steps", 0.0),
        }

    def state_dict(self) -> dict[str, Any]:
        return {"totals": dict(self.totals), "now": dict(self.now), "calibration": self._calibration.copy()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state.

        Raises:
            ValueError: figures that are missing, not finite, or less than 0 where none can be.
        """
        totals, now, calibration = (state[name] for name in _STATE)
        if set(totals) != set(TOTALS) or not all(isinstance(x, float) for x in [*totals.values(), *now.values()]):
            raise ValueError(f"totals must be one number for each of {', '.join(TOTALS)}, got {totals}")
        if not all(0 <= total < math.inf for total in totals.values()):
            raise ValueError(f"totals must be finite and not negative, got {totals}")
        if not all(map(math.isfinite, now.values())) or calibration.shape != (3, _BINS):
            raise ValueError(f"the figures of the step must be finite, got {now}")
        if not ((calibration >= 0) & (calibration < math.inf)).all():
            raise ValueError("what was predicted and what came back are numbers of at least 0")
        done = totals["rollouts_trained"] + totals["rollouts_discarded"]
        if done > totals["rollouts"] or totals["groups_trained"] > totals["groups"]:
            raise ValueError(f"{done:g} of {totals['rollouts']:g} rollouts cannot have trained or been discarded")
        self.totals, self.now = dict(totals), dict(now)
        self._calibration = np.array(calibration, dtype=np.float64)
