"""Iterations: a pilot of every prompt of a subset, then steps. What CurES and GVM share."""

import numpy as np

from didact.method import Positions, Then, Turn


def next_pilots(turn: Turn, pending: Positions, rollouts: int) -> tuple[Positions, Positions, Then]:
    """The prompts that are piloted in this round, as many as fit the budget; those still to come; and what follows.

    While pilots are still to come, the next round waits for nothing; then it waits for the pilots.
    """
    num = min(max(turn.rollouts_per_step // rollouts, 1), len(pending))
    batch, left = np.split(pending, [turn.fitting(num, num * rollouts)])
    more = len(left) > 0 and turn.fits((len(batch) + 1) * rollouts)
    return batch, left, "now" if more else "later"
