"""A read-only snapshot of what is believed about every prompt of the pool."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from didact.arrays import Floats, Positions


@dataclass(frozen=True, eq=False)
class PassRates:
    """Arrays over the pool, one entry per prompt, in order of position; none can be written to.

    Attributes:
        ids: prompt ids (objects of type str).
        mean: believed pass rate of the current policy, in [0, 1].
        std: standard deviation of that belief (not of the reward).
        num_rollouts: rollouts observed so far, whatever the belief still remembers of them.
        evidence: rollouts the belief still rests on, after discount, window or reset.
        reward_mean, reward_std: mean and standard deviation of the remembered rewards; nan without evidence.
        response_tokens: response tokens spent on the prompt so far.
        last_seen: step of the latest outcome, -1 if there is none.
    """

    ids: NDArray[np.object_]
    mean: Floats
    std: Floats
    num_rollouts: Positions
    evidence: Floats
    reward_mean: Floats
    reward_std: Floats
    response_tokens: Positions
    last_seen: Positions

    def __post_init__(self) -> None:
        for field in fields(self):
            getattr(self, field.name).flags.writeable = False

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, positions: Positions) -> "PassRates":
        """The snapshot of some prompts, in the order of `positions`."""
        return PassRates(**{field.name: getattr(self, field.name)[positions] for field in fields(self)})
