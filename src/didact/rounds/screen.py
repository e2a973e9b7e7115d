"""Screening: a few rollouts for many prompts, the rest of the group for those that are worth it.

    screen      `num_screen` rollouts for each new prompt
    continue    `num_continue` more for the prompts that are accepted, in the same group
    train       `prompts_per_step` complete groups; accepted and complete ones wait in the ledger till their turn

One plan carries both phases: continuations first, and new prompts with what they leave of the budget, so that the
screening for the next batch needs no round of its own. What a prompt has to show, which accepted ones go first, and
which prompts are not looked at again are the method's; SPEED-RL and Pilot-Commit share the rest. Rollouts of one group
can stem from several steps; nothing here corrects for that, `max_staleness` bounds it.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from didact.arrays import Floats, Positions
from didact.ledger import OpenGroup
from didact.method import Draft, Method, Run, Turn, Verdict, admits, rewards_of


@dataclass(frozen=True)
class Screen:
    """How a method screens in a run.

    Attributes:
        reason: of screening rollouts.
        num_screen, num_continue: rollouts that screen a prompt, and further ones of an accepted one, 0 for none.
        prompts_per_round: most new prompts in a plan.
        max_staleness: steps after which a screened group that has not trained is dropped; None sets no bound.
        max_rounds: rounds after which a step goes ahead with the groups it has.
    """

    reason: str
    num_screen: int
    num_continue: int
    prompts_per_round: int
    max_staleness: int | None
    max_rounds: int

    def verdict(self, group: OpenGroup, run: Run, accepts: Callable[[Floats], bool], first: int = 0) -> Verdict:
        """What becomes of a group.

        Args:
            accepts: says whether a prompt whose screening gave these rewards, shape (n,), n >= 1, is continued.
            first: position in the group of the first rollout that may train.
        """
        if self.max_staleness is not None and run.step - group.step > self.max_staleness:
            return Verdict("discarded")
        if group.completed < 0:
            return Verdict("waits")
        if group.reason == self.reason:
            if not group.usable or not accepts(rewards_of(group)):
                return Verdict("discarded")
            if self.num_continue > 0:
                return Verdict("waits")
        rollouts = [index for index in group.usable if index >= first]
        return Verdict("trains" if admits(group, run, rollouts) else "discarded", rollouts)

    def draft(
        self,
        turn: Turn,
        method: Method,
        memory: Any,
        first: Callable[[list[OpenGroup], int], list[OpenGroup]] = lambda accepted, missing: accepted,
        walk: Callable[[int], Positions] | None = None,
    ) -> Draft:
        """Accepted groups, continued, and new prompts.

        Args:
            first: which accepted groups are continued now, the first at the front, given how many the batch needs.
            walk: goes on by so many prompts of the shuffled passes, and gives those that may be screened; None is all.
        """
        waiting = [(group, method.verdict(group, turn, memory).fate) for group in turn.waiting]
        # Dropped now and not when the step ends: many rounds in a hopeless pool must not judge them all again in each.
        dropped = [group for group, fate in waiting if fate == "discarded"]
        missing = turn.batch - turn.num_admitted - sum(fate == "trains" for _, fate in waiting)
        if turn.round >= self.max_rounds or missing <= 0:
            return Draft.nothing("later", dropped)
        accepted: dict[int, OpenGroup] = {}
        for group, fate in waiting:
            if fate == "waits" and group.completed >= 0:
                accepted.setdefault(group.position, group)  # late outcomes can leave two groups of one prompt
        room = turn.fitting(turn.rollouts_per_step, turn.rollouts_per_step)
        further = first(list(accepted.values()), missing)[: room // max(self.num_continue, 1)]
        left = room - len(further) * self.num_continue
        busy = {group.position for group, fate in waiting if fate != "discarded"}
        num = min(self.prompts_per_round, left // self.num_screen)
        new = _new_prompts(num, len(turn.pool), walk or turn.walk, busy)
        return Draft(
            np.array([group.position for group in further] + new, dtype=np.int64),
            np.repeat([self.num_continue, self.num_screen], [len(further), len(new)]),
            reason=["continue"] * len(further) + [self.reason] * len(new),
            group_ids=[*(group.group_id for group in further), *[None] * len(new)],
            dropped=dropped,
        )


def sizes(run: Run, num_screen: int | None, num_continue: int | None) -> tuple[int, int]:
    """Rollouts that screen a prompt, and further ones of an accepted one.

    Args:
        num_screen: None is a quarter of the group, at least 2.
        num_continue: None is the rest of the group, rollouts_per_step // prompts_per_step, and the screen is no more
            than the group.

    Raises:
        ValueError: more than a plan has room for.
    """
    size, budget = max(run.share, 2), run.rollouts_per_step
    screened = max(size // 4, 2) if num_screen is None else num_screen
    screened = min(screened, size) if num_continue is None else screened
    continued = size - screened if num_continue is None else num_continue
    if not 2 <= screened <= budget:
        raise ValueError(f"a screen takes 2 to rollouts_per_step={budget} rollouts, got {screened}")
    if continued > budget:
        raise ValueError(f"a continuation takes 1 to rollouts_per_step={budget} rollouts, got {continued}")
    return screened, continued


def _new_prompts(num: int, pool_size: int, walk: Callable[[int], Positions], busy: Collection[int]) -> list[int]:
    """The next prompts of the walk that are not busy, `num` if there are as many."""
    found: dict[int, None] = {}
    drawn = 0
    while len(found) < num and drawn < 2 * pool_size:  # a whole pass is among that many
        # Where nearly all are left out, larger draws; what they find too much waits for the next pass.
        step = min(max(num - len(found), drawn // 16), pool_size)
        drawn += step
        found |= dict.fromkeys(position for position in walk(step).tolist() if position not in busy)
    return list(found)[:num]
