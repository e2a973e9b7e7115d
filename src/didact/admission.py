"""Which groups train: a yes or no for each group that came back."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from didact.bounds import MAX_REWARD, real, shortened


class Admission(Protocol):
    """Anything with this method can decide."""

    def admits(self, rewards: NDArray[np.float64]) -> bool:
        """Whether a group with these (usable) rewards, shape (n,), n >= 1, is trained on."""


@dataclass(frozen=True)
class AdmitAll:
    """Every group that has at least one usable rollout."""

    def admits(self, rewards: NDArray[np.float64]) -> bool:
        return True


@dataclass(frozen=True)
class AdmitWithSignal:
    """Groups whose rewards differ by more than the verifier's noise: the others have zero advantage.

    Args:
        noise: standard deviation of the reward below which rewards count as equal. Float dust of constant groups must
            not pass for signal.
    """

    noise: float = 1e-6

    def __post_init__(self) -> None:
        object.__setattr__(self, "noise", real("noise", self.noise, 0, MAX_REWARD))

    def admits(self, rewards: NDArray[np.float64]) -> bool:
        return has_signal(rewards, self.noise)


@dataclass(frozen=True)
class AdmitBand:
    """Groups whose mean reward lies strictly between two bounds (SPEED-RL's screen, DAPO's filter in general form)."""

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            object.__setattr__(self, name, real(name, getattr(self, name), -math.inf, math.inf))
        if not self.low < self.high:
            raise ValueError(f"a band needs low < high, got {self.low} and {self.high}")

    def admits(self, rewards: NDArray[np.float64]) -> bool:
        return bool(self.low < rewards.mean() < self.high)


def as_admission(admission: object) -> Admission:
    """The rule itself, or as a configuration says it: "all", "signal", or a band [low, high] of mean rewards.

    Raises:
        ValueError: bounds that make no band. TypeError: another word, an object without the method `admits`, or a class
            where an object of it was meant.
    """
    if isinstance(admission, str) and admission in _BY_NAME:
        return _BY_NAME[admission]
    if isinstance(admission, Sequence) and not isinstance(admission, str | bytes) and len(admission) == 2:
        try:
            return AdmitBand(*admission)
        except ValueError as error:
            raise ValueError(f"admission must be a band [low, high], got {shortened(admission)}: {error}") from None
    if isinstance(admission, type) or not callable(getattr(admission, "admits", None)):
        raise TypeError(
            f'admission must be "all", "signal", a band [low, high] or an object with a method admits(rewards), got '
            f"{shortened(admission)}"
        )
    return admission  # type: ignore[return-value]


_BY_NAME: dict[str, Admission] = {"all": AdmitAll(), "signal": AdmitWithSignal()}


def has_signal(rewards: NDArray[np.float64], noise: float = 1e-6) -> bool:
    """Whether a group's rewards differ: a group-relative advantage is zero if they do not."""
    values: list[float] = rewards.tolist()
    if len(values) < 2:
        return False
    apart = max(values) - min(values)
    if apart == 0 or apart > noise * math.sqrt(2 * len(values)) * 1.001:  # a deviation is at least apart / sqrt(2 n)
        return apart > 0
    return float(rewards.std()) > noise
