"""Stages: what one may be, how they scale, and how they are found by name."""

from dataclasses import replace
from typing import Any

import pytest

from didact.stages import Stage, as_stages, scaled

FIRST = Stage(steps=30, context_length=1000, split="short", prompts=4, rollouts_per_prompt=8)
STAGES = (FIRST, replace(FIRST, steps=10, context_length=4000, split="all"))


@pytest.mark.parametrize("change", [{"steps": 0}, {"context_length": 0}, {"prompts": 0}, {"split": "middle"}])
def test_bad_stages(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        replace(FIRST, **change)


def test_they_scale_in_proportion() -> None:
    assert scaled(STAGES) == STAGES
    short = scaled(STAGES, total_steps=8, max_context=100)
    assert [(stage.steps, stage.context_length) for stage in short] == [(6, 25), (2, 100)]
    assert [stage.steps for stage in scaled(STAGES, total_steps=2)] == [1, 1]
    with pytest.raises(ValueError, match="at least one for each of 2 stages, got 1"):
        scaled(STAGES, total_steps=1)


def test_by_name_or_as_a_list() -> None:
    assert as_stages("both", {"both": STAGES}) == as_stages(list(STAGES), {}) == STAGES
    with pytest.raises(
        ValueError, match=r"unknown stages 'bot'; did you mean 'both'\?; known: both or a non-empty list"
    ):
        as_stages("bot", {"both": STAGES})
    with pytest.raises(ValueError, match="one of both or a non-empty list of Stage, got"):
        as_stages([], {"both": STAGES})
