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
visits. And the excluded come back when a whole pass over the others found none to commit to, or one by one after
`retest_after` steps.
"""

from dataclasses import dataclass

import numpy as np

from didact.admission import has_signal
from didact.bounds import MAX_PER_STEP, MAX_STEP, real
from didact.ledger import OpenGroup
from didact.method import Arrivals, Draft, Floats, Method, Positions, Run, Turn, Verdict, option, rewards_of
from didact.rounds.exclusion import Exclusions
from didact.rounds.screen import Screen, sizes


@dataclass(frozen=True, kw_only=True)
class PilotCommit(Method):
    """Pilot a quarter of the group, commit the rest where it is worth it."""

    name = "pilot_commit"
    paper = "arXiv:2605.26606"
    continues = True
    shardable = True
    surplus = "waits"
    advantage = "grpo"
    loss_weighting = "token"

    num_pilot: int | None = option(None, "pilot rollouts; None is a quarter of the group", least=2, most=MAX_PER_STEP)
    num_commit: int | None = option(None, "more if buffered; None is the rest of the group", least=1, most=MAX_PER_STEP)
    candidates: int | None = option(None, "most in a plan; None is 3 * prompts_per_step", least=1, most=MAX_PER_STEP)
    low: float = option(0.125, "least pass rate of a pilot for which its prompt is buffered", least=0, most=1)
    high: float = option(0.75, "largest pass rate of a pilot for which its prompt is buffered", least=0, most=1)
    max_staleness: int | None = option(4, "steps a group may wait; None is any", least=0, most=MAX_STEP)
    exclude_at: float | None = option(1.0, "pilot pass rate from which a prompt is left out; None is never", most=1)
    exclude_from: int = option(16, "rollouts of such pilots in a row that it takes", least=1, most=MAX_STEP)
    retest_after: int | None = option(None, "steps until the excluded return; None is never", least=1, most=MAX_STEP)
    max_rounds: int = option(10, "rounds after which a step trains on what it has", least=1, most=MAX_STEP)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.low < self.high:
            raise ValueError(f"low and high must be pass rates with low < high, got {self.low} and {self.high}")
        if self.exclude_at is not None:
            real("exclude_at", self.exclude_at, self.high, 1)

    def uneven(self, run: Run) -> bool:
        return False

    def init(self, run: Run) -> Exclusions:
        self._screen(run)
        return Exclusions.none_of(run.pool)

    def draft(self, turn: Turn, memory: Exclusions) -> Draft:
        def drawn(buffered: list[OpenGroup], missing: int) -> list[OpenGroup]:
            if len(buffered) <= missing:
                return buffered
            return [buffered[index] for index in np.sort(turn.rng.choice(len(buffered), missing, replace=False))]

        def walk(num: int) -> Positions:
            return memory.walk(num, turn, self.retest_after)

        return self._screen(turn).draft(turn, self, memory, drawn, walk)

    def observed(self, arrivals: Arrivals, run: Run, memory: Exclusions) -> None:
        pilots = [group for group in arrivals.came_back if group.reason == "pilot"]
        rewards = [rewards_of(group) for group in pilots]
        accepted = [self._accepts(each, run) for each in rewards]
        solved = [self._solved(each, run) for each in rewards]
        memory.note(pilots, accepted, solved, self.exclude_from, run.step)

    def verdict(self, group: OpenGroup, run: Run, memory: Exclusions) -> Verdict:
        return self._screen(run).verdict(group, run, lambda rewards: self._accepts(rewards, run))

    def resume(self, run: Run, memory: Exclusions) -> None:
        memory.resume(len(run.pool), run.step)

    def _accepts(self, rewards: Floats, run: Run) -> bool:
        # Rewards between 0 and 1 can be all the same within the bounds: nothing to commit to.
        return bool(self.low <= run.belief.passes(rewards).mean() <= self.high) and has_signal(rewards)

    def _solved(self, rewards: Floats, run: Run) -> bool:
        return self.exclude_at is not None and bool(run.belief.passes(rewards).mean() >= self.exclude_at)

    def _screen(self, run: Run) -> Screen:
        both = sizes(run, self.num_pilot, self.num_commit)
        return Screen("pilot", *both, self.candidates or 3 * run.prompts_per_step, self.max_staleness, self.max_rounds)
