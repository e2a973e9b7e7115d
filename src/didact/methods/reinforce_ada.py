"""Reinforce-Ada: keep sampling a prompt, round by round, until its group is worth training on; train on a part of it.

Xiong et al., "Reinforce-Ada: An Adaptive Sampling Framework for Reinforce-Style LLM Training", arXiv:2510.04996, and
the released code, RLHFlow/Reinforce-Ada.

    all prompts of the batch are active; up to max_rounds times:
        rollouts_per_round more for each active prompt, added to its group
        retire it with keep/2 passes and keep/2 failures ("balance"), or with one pass ("positive")
    train on keep rollouts of each, first come first, as near to half and half as the group allows
    advantage = reward - mean reward of the whole group, not of the part that is kept; no standard deviation

A rollout passes when its reward is greater than `threshold`. Every prompt of the batch trains; a group whose rewards
are all the same has zero advantages. Nothing is remembered across steps. The advantages of what is kept need not add up
to zero, and a balanced group weighs hard and easy prompts up by about 1 / (2 min(p, 1-p)): that is the method.

Departures: a round whose rollouts exceed the budget of a plan takes several plans; `keep` is the group size,
rollouts_per_step // prompts_per_step, 4 in the paper; the mean is of the rewards, where the code takes the share above
the threshold, which is the same for 0 and 1.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from didact.arrays import Positions
from didact.bounds import MAX_PER_STEP, MAX_REWARD
from didact.ledger import OpenGroup
from didact.memory import kept
from didact.method import NONE, Draft, Method, Run, Turn, Verdict, admits, option, rewards_of


@dataclass
class Memory:
    """Where the step stands."""

    pending: Positions = kept(NONE, holds="positions")  # prompts of the batch still to start


@dataclass(frozen=True, kw_only=True)
class ReinforceAda(Method):
    """Sample a prompt until some pass and some fail, train on a few of these."""

    name = "reinforce_ada"
    paper = "arXiv:2510.04996"
    continues = True
    shardable = True
    own_baseline = True
    advantage = "dr_grpo"
    loss_weighting = "token"

    mode: Literal["balance", "positive"] = option("balance", "when a prompt is done", choices=("balance", "positive"))
    rollouts_per_round: int = option(8, "of each active prompt; cut to rollouts_per_step", least=2, most=MAX_PER_STEP)
    max_rounds: int = option(4, "rounds of a prompt", least=1, most=MAX_PER_STEP)
    keep: int | None = option(None, "rollouts of a prompt that train; None: the group size; published 4", least=2)
    threshold: float = option(0.7, "a rollout passes when its reward is greater", least=-MAX_REWARD, most=MAX_REWARD)

    def uneven(self, run: Run) -> bool:
        return False

    def most_rollouts(self, run: Run) -> int:
        """All rounds of all prompts."""
        return run.prompts_per_step * self._per_round(run) * self.max_rounds

    def init(self, run: Run) -> Memory:
        keep, most = self._keep(run), self._per_round(run) * self.max_rounds
        if keep > most:
            raise ValueError(f"keep={keep} exceeds rollouts_per_round * max_rounds = {most}: give keep, or raise these")
        return Memory()

    def draft(self, turn: Turn, memory: Memory) -> Draft:
        if turn.round == 0:
            memory.pending = turn.walk(turn.batch)
        size = self._per_round(turn)
        most = turn.rollouts_per_step // size
        if num := min(len(memory.pending), most):
            batch, memory.pending = np.split(memory.pending, [turn.fitting(num, num * size)])
            more = len(memory.pending) > 0 and turn.fits((len(batch) + 1) * size)
            return Draft(batch, np.full(len(batch), size), then="now" if more else "later")
        active = [group for group in turn.waiting if group.step == turn.step and self._wants_more(group, turn)]
        fewest = min((group.planned for group in active), default=0)  # one round after the other
        active = [group for group in active if group.planned == fewest][:most]
        return Draft.further(active[: turn.fitting(len(active), len(active) * size)], size)

    def verdict(self, group: OpenGroup, run: Run, memory: Memory) -> Verdict:
        if not admits(group, run):
            return Verdict("discarded")
        passed, failed = self._sides(group)
        keep = self._keep(run)
        num_failed = min(keep - min(keep // 2, len(passed)), len(failed))
        rollouts = sorted(passed[: keep - num_failed] + failed[:num_failed])
        return Verdict("trains", rollouts, baseline=float(rewards_of(group).mean()))

    def _per_round(self, run: Run) -> int:
        return min(self.rollouts_per_round, run.rollouts_per_step)

    def _keep(self, run: Run) -> int:
        return max(run.share, 2) if self.keep is None else self.keep

    def _wants_more(self, group: OpenGroup, run: Run) -> bool:
        passed, failed = self._sides(group)
        keep = self._keep(run)
        enough = len(passed) >= keep // 2 and len(failed) >= keep - keep // 2
        done = len(passed) > 0 if self.mode == "positive" else enough
        return group.completed >= 0 and group.planned < self._per_round(run) * self.max_rounds and not done

    def _sides(self, group: OpenGroup) -> tuple[list[int], list[int]]:
        """Which rollouts passed, and which failed."""
        passed = [index for index in group.usable if group.rewards[index] > self.threshold]
        return passed, [index for index in group.usable if not group.rewards[index] > self.threshold]
