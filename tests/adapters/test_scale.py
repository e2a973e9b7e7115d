"""Rewards of which nobody said what a pass is are noticed."""

import numpy as np
import pytest

from didact.adapters.scale import Scale


@pytest.mark.parametrize("rewards", [[0, 1, 0.5], [-1, 1, -1], [1.000001, -1e-7], [np.nan, 0], []])
def test_rewards_that_the_belief_understands(rewards, caplog):
    Scale(None, "").look(rewards, 0)
    Scale(None, "").look(rewards, 7)
    assert caplog.text == ""


@pytest.mark.parametrize("rewards", [[0, 10], [1.2, 0], [-0.5, 0.5], [-3, -7], [-1, 1.5]])
def test_others_stop_a_run_before_anything_is_trained(rewards, caplog):
    message = r"are outside \[0, 1\] \(from -?[\d.]+ to -?[\d.]+\), and nothing says .* right: pass_above=NUMBER"
    with pytest.raises(ValueError, match=message):
        Scale(None, "pass_above=NUMBER").look(rewards, 0)
    later = Scale(None, "pass_above=NUMBER")
    later.look([0.0, 1.0], 0)
    later.look(rewards, 3)
    later.look(rewards, 4)
    assert caplog.text.count("nothing says which of them is a pass") == 1
    assert "at step 3" in caplog.text


def test_who_says_what_a_pass_is_is_left_alone(caplog):
    Scale(5.0, "").look([0, 10, -3], 0)
    assert caplog.text == ""
