"""What a belief is: all that the engine, methods and adapters may ask, wherever it is kept."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didact.arrays import Floats, Positions
from didact.bounds import MAX_REWARD, MAX_STEP, real, two, whole_or_none
from didact.pass_rates import PassRates

#: Evidence that is as good as none, and the pseudo-counts that stand for it: no variance is 0 / 0.
NOTHING = 1e-12
_EDGE = 0.01  # the least and (from 1) the most that another model's pass rate makes believed: no prior is certain

#: The prompts that are asked about: positions, or a slice of the pool.
Where = Positions | slice
ALL = slice(None)


class Belief(ABC):
    """How often each prompt of a pool passes, as far as its outcomes tell.

    Args:
        prior: pseudo-counts (passes, failures), each at most 1e9; (1, 1) is uniform on [0, 1]. With (0, 0) the counts
            speak for themselves, so that 0 of 4 is 0; a prompt without evidence is believed at 1/2.
        discount: factor on all evidence per step, in (0, 1]; 1 never forgets. It is applied when a prompt is read or
            observed, so a step costs as much as its batch and not as much as the pool.
        window: remember only the outcomes of the latest `window` policy versions, exactly.
        pass_above: a rollout passes when its reward is greater than this. None: rewards are clipped to [0, 1] and
            counted as fractions.
        prior_weight: pseudo-rollouts that a known pass rate counts for, in place of `prior`; 0 looks at none.
        known: gives the pass rates that are known of some positions, float of their shape, nan where none is. Rates
            below 0.01 count as 0.01, those above 0.99 as 0.99. It is asked when a prompt is read, and fades never.

    Raises:
        ValueError: an option out of range, or both discount and window.
    """

    def __init__(
        self,
        *,
        prior: tuple[float, float] = (1.0, 1.0),
        discount: float = 1.0,
        window: int | None = None,
        pass_above: float | None = None,
        prior_weight: float = 0.0,
        known: Callable[[Positions], NDArray[Any]] | None = None,
    ) -> None:
        self.discount = real("discount", discount, 0, 1)
        if self.discount == 0:
            raise ValueError("discount must be in (0, 1], got 0: that would forget what has just come in")
        self.prior = two("prior", prior, "(passes, failures), pseudo-counts", 0)
        if 0 < sum(self.prior) < 2 * NOTHING:
            raise ValueError(f"prior must be (0, 0) or add up to {2 * NOTHING:g} or more, got {self.prior}")
        self.prior_weight = real("prior_weight", prior_weight, 0)
        if 0 < self.prior_weight < 2 * NOTHING:
            raise ValueError(f"prior_weight must be 0, or {2 * NOTHING:g} or more, got {prior_weight}")
        self._known = known if self.prior_weight > 0 else None
        self.window = whole_or_none("window", window, 1, MAX_STEP)
        if self.window is not None and self.discount < 1:
            raise ValueError("give discount or window, not both: each is a way to forget")
        self.pass_above = None if pass_above is None else real("pass_above", pass_above, -MAX_REWARD, MAX_REWARD)

    def passes(self, rewards: Floats) -> Floats:
        """How much of a pass each reward is, in [0, 1]."""
        if self.pass_above is None:
            return np.clip(rewards, 0.0, 1.0)
        return (rewards > self.pass_above).astype(np.float64)

    def prior_at(self, positions: Where = ALL) -> tuple[Floats | float, Floats | float]:
        """Pseudo-counts of passes and failures that these prompts start from; numbers where they all start alike."""
        if self._known is None:
            return self.prior
        rates = self._known(np.arange(len(self))[positions]).astype(np.float64)
        passes = self.prior_weight * np.clip(rates, _EDGE, 1 - _EDGE)
        unknown = np.isnan(rates)
        return np.where(unknown, self.prior[0], passes), np.where(unknown, self.prior[1], self.prior_weight - passes)

    @abstractmethod
    def __len__(self) -> int:
        """Prompts that there is room for."""

    @abstractmethod
    def grow(self, size: int) -> None:
        """Make room for prompts that joined the pool; they start at the prior."""

    @abstractmethod
    def observe(
        self, positions: Positions, sizes: Positions, rewards: Floats, *, step: int, versions: Positions | None = None
    ) -> None:
        """Take in groups of rewards: group k is of prompt positions[k] and has sizes[k] rewards, laid end to end.

        A prompt may occur in several groups. Groups without rewards change nothing. `versions`, one for each group,
        are those of the policies that made them; None takes `step` for all.
        """

    @abstractmethod
    def count(self, positions: Positions, num_rollouts: Positions, tokens: Positions, *, step: int) -> None:
        """Count what was spent on prompts, whether or not it told anything about their pass rates."""

    @abstractmethod
    def reset(self, positions: Positions) -> None:
        """Forget the evidence about some prompts; what was spent on them stays counted."""

    @abstractmethod
    def mean(self, positions: Where = ALL, *, step: int = 0) -> Floats:
        """Posterior mean pass rate, in [0, 1]."""

    @abstractmethod
    def spread(self, positions: Where = ALL, *, step: int = 0) -> Floats:
        """Believed standard deviation of one rollout's reward, the prior counting as so many rewards of 1 and 0.

        For rewards that are 0 or 1 this is sqrt(p(1-p)) with p the posterior mean.
        """

    @abstractmethod
    def evidence(self, positions: Where = ALL, *, step: int = 0) -> Floats:
        """Remembered rollouts per prompt."""

    @abstractmethod
    def num_rollouts(self, positions: Where = ALL) -> NDArray[np.int32]:
        """Rollouts that were counted, per prompt."""

    @abstractmethod
    def last_seen(self, positions: Where = ALL) -> NDArray[np.int32]:
        """The latest step at which anything was counted, per prompt; -1 for none."""

    @abstractmethod
    def spent(self) -> tuple[int, int, int]:
        """What was counted, of all prompts together: rollouts, response tokens, and prompts with any rollouts."""

    @abstractmethod
    def pass_rates(self, ids: NDArray[np.object_], *, step: int = 0) -> PassRates:
        """A snapshot of the whole pool, in this process."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Only prompts that were ever seen are stored, so a checkpoint grows with the run and not with the pool."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state; prompts that joined since it was saved come with the next `grow`.

        Raises ValueError for more prompts than are here, and for what no observations can lead to.
        """
