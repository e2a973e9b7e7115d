"""Truncation: which rollouts of the latest steps the context cut off, for methods that set its length.

A memory keeps it in a field `cuts: Cuts = kept({}, least=0)`: by group its step, its rollouts, how many of them were
cut off, and whether one passed (1) or none (0). Nothing depends on the order of arrival.
"""

import numpy as np

from didact.belief import Belief
from didact.method import Arrivals, rewards_of

Cuts = dict[int, list[int]]


def note_cuts(cuts: Cuts, arrivals: Arrivals, belief: Belief) -> None:
    """Add what came back, in parts or whole; `belief` says what a pass is."""
    for group, outcome in arrivals:
        row = cuts.setdefault(group.group_id, [group.step, 0, 0, 0])
        row[1] = len(group.rewards)
        row[2] += sum(outcome.truncated or ())
        row[3] = int((belief.passes(rewards_of(group)) >= 0.5).any())


def shares_cut(cuts: Cuts) -> tuple[float, float]:
    """The share of all rollouts that was cut off, and the share cut off in groups where another rollout passed."""
    _, rollouts, cut, passed = np.array(list(cuts.values())).T
    return float(cut.sum() / rollouts.sum()), float((cut * passed).sum() / rollouts.sum())


def check_cuts(cuts: Cuts) -> None:
    """Refuse what is no such record.

    Raises:
        ValueError: says what was given.
    """
    if not all(type(group) is int and len(row) == 4 for group, row in cuts.items()):
        raise ValueError(f"what was cut off is four numbers for each group, got {cuts}")
