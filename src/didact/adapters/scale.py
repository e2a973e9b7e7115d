"""Whether rewards are on a scale on which the belief knows a pass from a failure.

Without `pass_above` a reward is a fraction of a pass and is clipped to [0, 1]: with a judge's 0 to 10, a penalty for
length or a bonus for format nearly everything would be a pass, or nothing, and nobody would notice.
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

logger = logging.getLogger(__name__)

_ROUNDING = 1e-5  # of a sum of weighted rewards in 32 bits


class Scale:
    """Looks at the evidence of a run.

    Args:
        pass_above: the curriculum's option; None counts rewards from 0 to 1 as fractions, and -1 as a failure.
        argument: how a user gives it, with what number as an example: "curriculum_options={'pass_above': 0.5}".
    """

    def __init__(self, pass_above: float | None, argument: str) -> None:
        self._watching = pass_above is None
        self._argument = argument

    def look(self, rewards: Sequence[Any] | np.ndarray, step: int) -> None:
        """Take note of the evidence that came at `step`; nan is none.

        Raises:
            ValueError: on another scale at step 0, when nothing is trained yet. Later a warning is logged, once.
        """
        if not self._watching:
            return
        given = np.asarray(rewards, dtype=np.float64)
        given = given[np.isfinite(given)]
        outside = ((given < -_ROUNDING) & (given != -1.0)) | (given > 1.0 + _ROUNDING)
        if not outside.any():
            return
        message = (
            f"{outside.sum()} of {len(given)} rewards at step {step} are outside [0, 1] (from {given.min():g} to "
            f"{given.max():g}), and nothing says which of them is a pass: the belief would clip them. Say from where "
            f"on a response is right: {self._argument}"
        )
        if step == 0:
            raise ValueError(message)
        self._watching = False
        logger.warning("%s", message)
