"""Whether rewards are on a scale on which the belief knows a pass from a failure.

Without `pass_above` a reward is a fraction of a pass and is clipped to [0, 1]: with a judge's 0 to 10, a penalty for
length or a bonus for format nearly everything would be a pass, or nothing. The engine warns of that. In a trainer's log
a warning is one line of thousands, so the adapters stop while nothing has been trained yet.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

_ROUNDING = 1e-5  # of a sum of weighted rewards in 32 bits


def check_scale(rewards: Sequence[Any] | np.ndarray, curriculum: Any, argument: str) -> None:
    """Look at the evidence of a run's first step; nan is none, and -1 is a failure that clipping gets right.

    Args:
        argument: how a user of this trainer says what a pass is, such as "pass_above=NUMBER".

    Raises:
        ValueError: rewards outside [0, 1], and nothing says which of them pass.
    """
    if curriculum.step > 0 or curriculum.options.get("pass_above") is not None:
        return
    given = np.asarray(rewards, dtype=np.float64)
    given = given[np.isfinite(given)]
    outside = ((given < -_ROUNDING) & (given != -1.0)) | (given > 1.0 + _ROUNDING)
    if outside.any():
        raise ValueError(
            f"{outside.sum()} of {len(given)} rewards of the first step are outside [0, 1] (from {given.min():g} to "
            f"{given.max():g}), and nothing says which of them is a pass: the belief would clip them. Say above which "
            f"reward a response is right: {argument}"
        )
