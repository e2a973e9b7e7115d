"""How long a response may be, in tokens, as training goes on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from didact.bounds import MAX_TOKENS, shortened, whole, whole_or_none


class ContextSchedule(Protocol):
    """Anything with this method can set the context length."""

    def context_length(self, step: int, metrics: Mapping[str, float]) -> int | None:
        """Response tokens allowed at `step`; None leaves the trainer's own setting alone."""


@dataclass(frozen=True)
class FixedContext:
    """The same length throughout."""

    length: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "length", as_length(self.length))

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
        pairs = isinstance(self.stages, Sequence) and all(isinstance(stage, Sequence) for stage in self.stages)
        stages = tuple(tuple(stage) for stage in self.stages) if pairs else ()
        if not stages or any(len(stage) != 2 for stage in stages):
            raise ValueError(f"context needs stages (number of steps, length), got {shortened(self.stages)}")
        checked = tuple(
            (whole("steps of a stage", steps, 1), whole("a context length in tokens", length, 1, MAX_TOKENS))
            for steps, length in stages
        )
        object.__setattr__(self, "stages", checked)

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


@dataclass(frozen=True)
class DraftedContext:
    """The method's drafts set the length; `longest` is the largest that can come up, None if it does not know."""

    longest: int | None = None

    def context_length(self, step: int, metrics: Mapping[str, float]) -> int | None:
        return None


def as_context(context: object) -> ContextSchedule:
    """A schedule itself, or as a configuration says it: tokens or None for a fixed length, [[steps, length], ...] for
    stages.

    Raises:
        ValueError: a number out of range, stages that are none, or nothing of the kind.
    """
    if not isinstance(context, type) and callable(getattr(context, "context_length", None)):
        return context  # type: ignore[return-value]
    if isinstance(context, Sequence) and not isinstance(context, str):
        return StagedContext(context)
    try:
        return FixedContext(context)  # type: ignore[arg-type]
    except ValueError as error:
        raise ValueError(f"context: {error}; or give stages, [[steps, length], ...]") from None


def as_length(length: object) -> int | None:
    """A context length in tokens, which None leaves to the trainer.

    Raises:
        ValueError: something else.
    """
    return whole_or_none("a context length in tokens", length, 1, MAX_TOKENS)
