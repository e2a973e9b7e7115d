"""Stages: parts of a run with a context length, a split of the pool and a size of their own, for staged methods."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from didact.allocation import largest_remainder
from didact.bounds import MAX_STEP, one_of, real, shortened, whole
from didact.naming import nearest

Split = Literal["short", "all", "long"]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a run; `prompts` and `rollouts_per_prompt` count relative to those of the other stages."""

    steps: int
    context_length: int
    split: Split
    prompts: int
    rollouts_per_prompt: int
    kl_coefficient: float = 0.001
    entropy_coefficient: float = 0.001

    def __post_init__(self) -> None:
        for what in ("steps", "context_length", "prompts", "rollouts_per_prompt"):
            object.__setattr__(self, what, whole(f"{what} of a stage", getattr(self, what), 1, MAX_STEP))
        for what in ("kl_coefficient", "entropy_coefficient"):
            object.__setattr__(self, what, real(f"{what} of a stage", getattr(self, what)))
        one_of("split of a stage", self.split, get_args(Split))

    @property
    def rollouts_per_step(self) -> int:
        return self.prompts * self.rollouts_per_prompt


def scaled(
    stages: Sequence[Stage], *, total_steps: int | None = None, max_context: int | None = None
) -> tuple[Stage, ...]:
    """The same stages for a run of another length and context, in proportion."""
    if total_steps is not None and total_steps < len(stages):
        raise ValueError(f"total_steps must be at least one for each of {len(stages)} stages, got {total_steps}")
    steps = [stage.steps for stage in stages]
    longest = max(stage.context_length for stage in stages)
    parts = steps if total_steps is None else largest_remainder(steps, total_steps, minimum=1).tolist()
    contexts = [max(round(stage.context_length * (max_context or longest) / longest), 1) for stage in stages]
    return tuple(
        replace(stage, steps=part, context_length=context)
        for stage, part, context in zip(stages, parts, contexts, strict=True)
    )


def as_stages(stages: str | Sequence[Stage], schedules: Mapping[str, tuple[Stage, ...]]) -> tuple[Stage, ...]:
    """Stages themselves, or a published schedule by its name.

    Raises:
        ValueError: an unknown name, or no list of stages.
    """
    known = f"{', '.join(schedules)} or a non-empty list of Stage"
    if isinstance(stages, str):
        if stages not in schedules:
            raise ValueError(f"unknown stages {stages!r}{nearest(stages, schedules)}; known: {known}")
        return schedules[stages]
    listed: tuple[Any, ...] = tuple(stages) if isinstance(stages, Sequence) else ()
    if not listed or not all(isinstance(stage, Stage) for stage in listed):
        raise ValueError(f"stages must be one of {known}, got {shortened(stages)}")
    return listed
