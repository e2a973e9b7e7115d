"""Rewards of which nobody said what a pass is stop a run before anything is trained."""

from types import SimpleNamespace

import numpy as np
import pytest

from didact.adapters.scale import check_scale


def look(rewards, step=0, pass_above=None):
    check_scale(rewards, SimpleNamespace(step=step, options={"pass_above": pass_above}), "pass_above=NUMBER")


@pytest.mark.parametrize("rewards", [[0, 1, 0.5], [-1, 1, -1], [1.000001, -1e-7], [np.nan, 0], []])
def test_rewards_that_the_belief_understands(rewards):
    look(rewards)


@pytest.mark.parametrize("rewards", [[0, 10], [1.2, 0], [-0.5, 0.5], [-3, -7], [-1, 1.5]])
def test_others_stop_the_first_step_unless_somebody_says_what_a_pass_is(rewards):
    message = rf"\d of 2 rewards .* \[0, 1\] \(from {min(rewards)} to {max(rewards)}\), .* right: pass_above=NUMBER"
    with pytest.raises(ValueError, match=message):
        look(rewards)
    look(rewards, pass_above=0.5)
    look(rewards, step=1)  # the engine warns
