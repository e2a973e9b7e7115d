"""Advantages as TRL gets them: whose estimator, and whose baselines."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from didact import AdmittedGroup
from didact.adapters.trl.losses import advantages


def trainer(*, uneven: bool, own_baseline: bool = False, weights: list[float] | None = None) -> Any:
    curriculum = SimpleNamespace(uneven=uneven, own_baseline=own_baseline, advantage="rloo", loss_weighting="prompt")
    return SimpleNamespace(
        curriculum=curriculum,
        reward_weights=torch.tensor(weights or [1.0]),
        multi_objective_aggregation="sum_then_normalize",
        scale_rewards="none",
    )


def found(trainer: Any, rewards: list[list[float]]) -> list[float]:
    groups = [AdmittedGroup(0, "a", (0, 1), 0.25), AdmittedGroup(1, "b", (0, 1))]
    return advantages(trainer, groups, np.array(rewards), np.full(4, 3.0)).tolist()


REWARDS = [[1.0], [0.0], [1.0], [0.0]]


def test_a_baseline_that_is_offered_is_taken_with_the_method_s_own_estimator() -> None:
    assert found(trainer(uneven=True), REWARDS) == pytest.approx([0.75, -0.25, 1.0, -1.0])


def test_a_baseline_that_is_offered_is_left_aside_where_trl_s_estimator_is_at_work() -> None:
    assert found(trainer(uneven=False), REWARDS) == pytest.approx([0.5, -0.5, 0.5, -0.5])
    assert found(trainer(uneven=False, own_baseline=True), REWARDS) == pytest.approx([0.75, -0.25, 1.0, -1.0])


def test_a_baseline_that_is_offered_is_left_aside_where_the_reward_is_no_pass_rate() -> None:
    """A weight of 2, as well as a bonus for format."""
    assert found(trainer(uneven=True, weights=[2.0]), REWARDS) == pytest.approx([2.0, -2.0, 2.0, -2.0])
    bonus = [[1.0, 1.0], [0.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
    assert found(trainer(uneven=True, weights=[1.0, 0.5]), bonus) == pytest.approx([1.5, -1.5, 1.0, -1.0])
