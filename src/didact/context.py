"""How long a response may be, in tokens, as training goes on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


class ContextSchedule(Protocol):
    """Anything with this method can set the context length."""

    def context_length(self, step: int, metrics: Mapping[str, float]) -> int | None:
        """Response tokens allowed at `step`; None leaves the trainer's own setting alone."""


@dataclass(frozen=True)
class FixedContext:
    """The same length throughout."""

    length: int | None = None

    def __post_init__(self) -> None:
        _check(self.length)

    @property
    def longest(self) -> int | None:
        """The largest length that can come up, for trainers that must reserve room for it."""
        return self.length

    def context_length(self, step: int, metrics: Mapping[str, float]) -> int | None:
        return self.length


@dataclass(frozen=True)
class StagedContext:
    """Lengths by stages of steps, as in FastCuRL (arXiv:2503.17287); the last length stays after its steps.

    Args:
        stages: pairs (number of steps, length in tokens), for example [(160, 8192), (590, 16384)].
    """

    stages: Sequence[tuple[int, int]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", tuple((int(steps), int(length)) for steps, length in self.stages))
        if not self.stages:
            raise ValueError("StagedContext needs at least one stage (number of steps, length)")
        for steps, length in self.stages:
            if steps < 1:
                raise ValueError(f"a stage needs at least 1 step, got {steps}")
            _check(length)

    @property
    def longest(self) -> int | None:
        """The largest length that can come up."""
        return max(length for _, length in self.stages)

    def context_length(self, step: int, metrics: Mapping[str, float]) -> int | None:
        for steps, length in self.stages:
            if step < steps:
                return length
            step -= steps
        return self.stages[-1][1]


def as_context(context: "ContextSchedule | int | None") -> "ContextSchedule":
    """A number of tokens, or None, stands for a fixed context length."""
    return FixedContext(context) if context is None or isinstance(context, int) else context


def _check(length: int | None) -> None:
    if length is not None and length < 1:
        raise ValueError(f"a context length must be at least 1 token, got {length}")
