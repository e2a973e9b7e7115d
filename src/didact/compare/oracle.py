"""The oracle: told the true pass rates, it draws prompts in proportion to p(1-p), the variance of their rewards.

It bounds what knowing the pass rates is worth to a selector of this kind; no method can be given it in practice. The
pass rates come from outside the budget (`Learner.pass_rates`) and are refreshed every `refresh_every` steps.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didact.allocation import largest_remainder
from didact.curriculum import Curriculum, Draft
from didact.prompts import PromptPool
from didact.selection import ShuffledPasses, draw


class Oracle(Curriculum):
    """Draws by the true p(1-p), equal groups.

    Args:
        truth: gives the pass rate of every prompt, in the order of the pool.
        refresh_every: steps between two looks at the truth.

    Raises:
        ValueError: `refresh_every` is no whole number of at least 1.
    """

    name = "oracle"

    def __init__(
        self, pool: PromptPool, *, truth: Callable[[], NDArray[np.float64]], refresh_every: int = 10, **common: Any
    ) -> None:
        if isinstance(refresh_every, bool) or not isinstance(refresh_every, int) or refresh_every < 1:
            raise ValueError(f"refresh_every must be a whole number of at least 1, got {refresh_every!r}")
        super().__init__(pool, options={"refresh_every": refresh_every}, **common)
        self.uneven = self._divides_unevenly()
        self._truth, self._every, self._told_at = truth, refresh_every, -1
        self._variance = np.zeros(0)
        self._passes = ShuffledPasses(self.seed)

    def _draft(self, step: int, round: int, rng: np.random.Generator) -> Draft | None:
        if round > 0:
            return None
        if self._told_at < 0 or step - self._told_at >= self._every:
            pass_rates = np.clip(self._truth(), 0.0, 1.0)
            self._variance, self._told_at = pass_rates * (1 - pass_rates), step
        num = self._batch_size()
        positions = draw(self._variance, num, rng) if self._variance.any() else np.zeros(0, dtype=np.int64)
        if len(positions) < num:  # fewer prompts than that have a chance of signal: fill up
            others = np.setdiff1d(self._passes.take(2 * num, len(self.pool)), positions)[: num - len(positions)]
            positions = np.concatenate([positions, others])
        return Draft(positions, largest_remainder(np.ones(len(positions)), self.rollouts_per_step))

    def _own_state(self) -> dict[str, Any]:
        return {"told_at": self._told_at, "variance": self._variance, "passes": self._passes.state_dict()}

    def _load_own_state(self, state: Mapping[str, Any]) -> None:
        self._told_at, self._variance = state["told_at"], np.array(state["variance"], dtype=np.float64)
        self._passes.load_state_dict(state["passes"])
