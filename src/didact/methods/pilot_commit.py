"""Pilot-Commit: a pilot of a quarter of the group for many candidates, the other three quarters for those between.

Kim et al., "Pilot-Commit: Spend Your Rollouts Where It Counts", arXiv:2605.26606, and the released code,
databricks/pilot-commit.

    pilot     3 * prompts_per_step candidates, n/4 rollouts each; q is the pass rate of the pilot
    skip      q > 0.75; with q = 1 the prompt is left out of later passes
    defer     q < 0.125; it comes back with the next pass
    buffer    otherwise, for at most 4 steps
    commit    3n/4 more rollouts for prompts drawn from the buffer, in one plan with the next pilots; train on all n

The published sizes are 16 + 48 (4B to 14B models) and 32 + 96 (1.5B) rollouts for 128 prompts. Departures: plans keep
to the budget of a step, so that candidates are as many as the commits leave room for; a step that cannot be filled in
ten rounds trains on what it has, where the code raises; buffer and exclusions are in the state.

Nothing is left out on less than the published evidence: smaller pilots have to pass as often in a row, over several
visits, before their prompt is. And the excluded come back when a whole pass over the others found none to commit to,
or one by one after `retest_after` steps (of solved prompts, about 19% relapse later). With 2 of 2 for good, as the rule
reads for groups of 8, a pool of middling prompts is gone after a hundred steps.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didact.admission import has_signal
from didact.bounds import MAX_PER_STEP, MAX_STEP, real, whole, whole_or_none
from didact.ledger import OpenGroup
from didact.methods.screening import ScreenedCurriculum
from didact.outcomes import GroupOutcome
from didact.prompts import PromptPool


class PilotCommit(ScreenedCurriculum):
    """Pilot, then commit.

    Args:
        num_pilot: rollouts of a pilot. None is a quarter of the group, at least 2; published 16 of 64.
        num_commit: further rollouts of a buffered prompt. None is the rest of the group, rollouts_per_step //
            prompts_per_step; published 48 of 64.
        candidates: most pilots in a plan. None is 3 * prompts_per_step, as published; fewer where the budget of the
            plan, after its commits, does not allow as many.
        low, high: a pilot's pass rate for which its prompt is buffered, both bounds included.
        max_staleness: steps after which a buffered group that has not trained is dropped; None sets no bound.
        exclude_at: pass rate of a pilot from which its prompt is left out of later passes; None leaves none out.
        exclude_from: rollouts of such pilots in a row that it takes; published 16, in one pilot.
        retest_after: steps after which an excluded prompt may be piloted again; None is never, as published.
        max_rounds: rounds after which a step goes ahead with the groups it has; the released code raises.

    Further options: those of `Curriculum`.
    """

    name = "pilot_commit"
    probe = "pilot"
    oversampling = 3
    advantage = "grpo"
    loss_weighting = "token"

    def __init__(
        self,
        pool: PromptPool,
        *,
        num_pilot: int | None = None,
        num_commit: int | None = None,
        candidates: int | None = None,
        low: float = 0.125,
        high: float = 0.75,
        max_staleness: int | None = 4,
        exclude_at: float | None = 1.0,
        exclude_from: int = 16,
        retest_after: int | None = None,
        max_rounds: int = 10,
        **common: Any,
    ) -> None:
        low, high = real("low", low, 0, 1), real("high", high, 0, 1)
        if not low < high:
            raise ValueError(f"low and high must be pass rates with low < high, got {low} and {high}")
        exclude_at = None if exclude_at is None else real("exclude_at", exclude_at, high, 1)
        exclude_from = whole("exclude_from", exclude_from, 1, MAX_STEP)
        retest_after = whole_or_none("retest_after", retest_after, 1, MAX_STEP)
        num_pilot = whole_or_none("num_pilot", num_pilot, 2, MAX_PER_STEP)
        num_commit = whole_or_none("num_commit", num_commit, 1, MAX_PER_STEP)
        candidates = whole_or_none("candidates", candidates, 1, MAX_PER_STEP)
        max_staleness = whole_or_none("max_staleness", max_staleness, 0, MAX_STEP)
        max_rounds = whole("max_rounds", max_rounds, 1, MAX_STEP)
        options = {
            "num_pilot": num_pilot,
            "num_commit": num_commit,
            "candidates": candidates,
            "low": low,
            "high": high,
            "max_staleness": max_staleness,
            "exclude_at": exclude_at,
            "exclude_from": exclude_from,
            "retest_after": retest_after,
            "max_rounds": max_rounds,
        }
        super().__init__(
            pool,
            num_screen=num_pilot,
            num_continue=num_commit,
            prompts_per_round=candidates,
            max_staleness=max_staleness,
            max_rounds=max_rounds,
            options=options,
            **common,
        )
        self._low, self._high = low, high
        self._exclude_at, self._exclude_from, self._retest_after = exclude_at, exclude_from, retest_after
        self._excluded = np.full(len(pool), -1, dtype=np.int32)  # the step at which a prompt was excluded
        self._passed = np.zeros(len(pool), dtype=np.int32)  # rollouts of its pilots at `exclude_at` in a row
        self._barren = 0  # pilots since the last one to commit to

    def _accepts(self, rewards: NDArray[np.float64]) -> bool:
        # Rewards between 0 and 1 can be all the same within the bounds: nothing to commit to.
        return bool(self._low <= self.belief.passes(rewards).mean() <= self._high) and has_signal(rewards)

    def _first(self, accepted: list[OpenGroup], missing: int, rng: np.random.Generator) -> list[OpenGroup]:
        if len(accepted) <= missing:
            return accepted
        return [accepted[index] for index in np.sort(rng.choice(len(accepted), missing, replace=False))]

    def _passed_over(self, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
        since = self._excluded[positions]
        excluded: NDArray[np.bool_] = since >= 0
        return excluded if self._retest_after is None else excluded & (self._step - since < self._retest_after)

    def _next_prompts(self, num: int, busy: Collection[int]) -> list[int]:
        joined = len(self.pool) - len(self._excluded)
        if joined:
            self._excluded = np.concatenate([self._excluded, np.full(joined, -1, dtype=np.int32)])
            self._passed = np.concatenate([self._passed, np.zeros(joined, dtype=np.int32)])
        if num > 0 and self._barren >= np.count_nonzero(self._excluded < 0):  # a few dead prompts must not end a run
            self._excluded[:], self._passed[:], self._barren = -1, 0, 0
        return super()._next_prompts(num, busy)

    def _observed(self, positions: NDArray[np.int64], fresh: Sequence[tuple[OpenGroup, GroupOutcome]]) -> None:
        for group in {group.group_id: group for group, _ in fresh}.values():
            rewards = np.array([group.rewards[index] for index in group.usable])
            if group.reason != self.probe or group.completed < 0 or not len(rewards):
                continue
            self._barren = 0 if self._accepts(rewards) else self._barren + 1
            solved = self._exclude_at is not None and self.belief.passes(rewards).mean() >= self._exclude_at
            self._passed[group.position] = self._passed[group.position] + len(rewards) if solved else 0
            if self._passed[group.position] >= self._exclude_from:
                self._excluded[group.position] = self._step

    def _own_state(self) -> dict[str, Any]:
        own = {"excluded": self._excluded.copy(), "passed": self._passed.copy(), "barren": self._barren}
        return {**super()._own_state(), **own}

    def _load_own_state(self, state: Mapping[str, Any]) -> None:
        super()._load_own_state(state)
        self._excluded, self._passed = (np.array(state[name], dtype=np.int32) for name in ("excluded", "passed"))
        self._barren = state["barren"]
        if len(self._excluded) > len(self.pool) or not ((self._excluded >= -1) & (self._excluded <= self._step)).all():
            raise ValueError(f"prompts of the pool are excluded since a step up to {self._step}, or not (-1)")
        if self._passed.shape != self._excluded.shape or (self._passed < 0).any() or self._barren < 0:
            raise ValueError("each prompt has passed so many rollouts in a row, and no fewer than 0")
