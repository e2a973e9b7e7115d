"""The oracle: told the true pass rates p, it draws prompts in proportion to a power of v = p(1-p).

It bounds what knowing the pass rates is worth to a selector of this kind; no method can be given it in practice. The
pass rates come from outside the budget (`Learner.pass_rates`) and are refreshed every `refresh_every` steps.

Drawing by v in equal groups is one rule of many, and not the best: with 128 rollouts an update, fewer or more prompts,
a sharper draw, or rollouts in proportion to sqrt(v) may be. `benchmarks/oracle.toml` compares them; the share of the
way to the oracle that a table prints is of the one that its settings name.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from didact.allocation import largest_remainder
from didact.bounds import one_of, real, whole
from didact.curriculum import Curriculum, Draft
from didact.prompts import PromptPool
from didact.selection import ShuffledPasses, draw


class Oracle(Curriculum):
    """Draws by the true v = p(1-p).

    Args:
        truth: gives the pass rate of every prompt, in the order of the pool.
        refresh_every: steps between two looks at the truth.
        power: prompts are drawn in proportion to v ** power: 0 is uniform among those that can have signal.
        allocation: "equal" groups, or rollouts in proportion to sqrt(v), which makes the variance of a prompt-mean
            gradient least (Neyman; CurES eq. 18 with gradients of one length), at least 2 each.

    Raises:
        ValueError: an option out of range.
    """

    name = "oracle"

    def __init__(
        self,
        pool: PromptPool,
        *,
        truth: Callable[[], NDArray[np.float64]],
        refresh_every: int = 10,
        power: float = 1.0,
        allocation: Literal["equal", "variance"] = "equal",
        **common: Any,
    ) -> None:
        options = {
            "refresh_every": whole("refresh_every", refresh_every, 1),
            "power": real("power", power, 0, 100),
            "allocation": one_of("allocation", allocation, ("equal", "variance")),
        }
        super().__init__(pool, options=options, **common)
        self.uneven = allocation == "variance" or self._divides_unevenly()
        self._truth, self._told_at = truth, -1
        self._variance = np.zeros(0)
        self._passes = ShuffledPasses(self.seed)

    def _draft(self, step: int, round: int, rng: np.random.Generator) -> Draft | None:
        if round > 0:
            return None
        if self._told_at < 0 or step - self._told_at >= self.options["refresh_every"]:
            pass_rates = np.clip(self._truth(), 0.0, 1.0)
            self._variance, self._told_at = pass_rates * (1 - pass_rates), step
        num = self._batch_size()
        weights = np.where(self._variance > 0, self._variance ** self.options["power"], 0.0)
        positions = draw(weights, num, rng) if weights.any() else np.zeros(0, dtype=np.int64)
        if len(positions) < num:  # fewer prompts than that have a chance of signal: fill up
            others = np.setdiff1d(self._passes.take(2 * num, len(self.pool)), positions)[: num - len(positions)]
            positions = np.concatenate([positions, others])
        shares = np.ones(len(positions))
        if self.options["allocation"] == "variance" and self._variance[positions].any():
            shares = np.sqrt(self._variance[positions])
        return Draft(positions, largest_remainder(shares, self.rollouts_per_step, 2))

    def _own_state(self) -> dict[str, Any]:
        return {"told_at": self._told_at, "variance": self._variance, "passes": self._passes.state_dict()}

    def _load_own_state(self, state: Mapping[str, Any]) -> None:
        self._told_at, self._variance = state["told_at"], np.array(state["variance"], dtype=np.float64)
        self._passes.load_state_dict(state["passes"])
