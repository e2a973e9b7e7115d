"""Refilling: groups are drawn until as many as a batch holds will train. What DAPO and GRESO share."""

from collections.abc import Callable
from typing import Any

import numpy as np

from didact.allocation import largest_remainder
from didact.arrays import Positions
from didact.method import Draft, Method, Turn


def filled(turn: Turn, method: Method, memory: Any) -> int:
    """Groups of the step's batch that train, or would if they were asked for now."""
    fates = (method.verdict(group, turn, memory).fate for group in turn.waiting)
    return turn.num_admitted + sum(fate == "trains" for fate in fates)


def groups_of(turn: Turn, num: int, take: Callable[[int], Positions]) -> Draft:
    """`num` groups, or as many as the step has room for, each as large as those of a full batch.

    Args:
        take: gives the prompts, at most as many as it is asked for.
    """
    batch = min(turn.prompts_per_step, turn.rollouts_per_step // 2)  # a group needs two rollouts to have signal
    positions = take(turn.fitting(num, turn.rollouts_per_step * num // batch))
    groups = max(batch, len(positions))
    sizes = largest_remainder(np.ones(groups), turn.rollouts_per_step * groups // batch)
    return Draft(positions, sizes[: len(positions)])
