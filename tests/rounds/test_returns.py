"""What belief is worth, and what plain draws lack, by what came back."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from didact.belief.beta import BetaBelief
from didact.group import OpenGroup
from didact.memory import load, save
from didact.outcomes import GroupOutcome
from didact.rounds.returns import Returns
from didact.turn import Arrivals

RUN: Any = SimpleNamespace(belief=BetaBelief(1))


def told(error: float, worth: int, size: int, num: int = 20_000) -> Returns:
    """After groups of prompts that pass by rates of their own, of which the belief is off by `error`."""
    rng, seen = np.random.default_rng(worth), Returns()
    rates = np.where(rng.random(num) < 0.5, 0.4, 0.6)
    believed = rates + np.where(rng.random(num) < 0.5, error, -error)
    groups = [
        OpenGroup(number, 0, 0, "train", float(mean), size, rewards=(rng.random(size) < rate).astype(float).tolist())
        for number, (rate, mean) in enumerate(zip(rates, believed, strict=True))
    ]
    for group in groups:
        group.completed = 0
    outcomes = [GroupOutcome(group.group_id, "a", group.rewards) for group in groups]
    seen.note(Arrivals(groups, outcomes, "exclude"), RUN)
    seen.learn()
    return seen


@pytest.mark.parametrize("size", [2, 4, 8])
@pytest.mark.parametrize("worth", [1, 4])
def test_it_is_the_number_of_rollouts_whose_mean_is_as_far_off(size: int, worth: int) -> None:
    """At a variance of 0.24, an error of 0.24 / n in the square is worth n rollouts, whatever the size of groups."""
    assert told((0.24 / worth) ** 0.5, worth, size).worth(100) == pytest.approx(worth, rel=0.15)


def test_a_belief_that_is_right_is_worth_the_most_that_it_may_and_one_that_was_never_tried_nothing() -> None:
    assert told(0.0, 9, 4).worth(8) == 8
    assert Returns().worth(8) == 0
    assert Returns(error=-1.0, variance=1.0).worth(8) == 8
    assert Returns(error=0.0, variance=1.0).worth(0) == 0


def test_what_was_long_ago_counts_less() -> None:
    seen = told(0.5, 1, 2, num=1000)
    before = seen.worth(100)
    for _ in range(50):
        seen.learn()
    later = told(0.05, 2, 2, num=1000)
    seen.error, seen.variance = seen.error + later.error, seen.variance + later.variance
    assert before < 1.2
    assert seen.worth(100) > 10


def test_single_rollouts_tell_nothing_and_a_state_goes_on() -> None:
    seen = told(0.5, 1, 1, num=10)
    assert (seen.error, seen.variance) == (0.9, 0.0)
    assert load(Returns(), save(told(0.5, 1, 2)), pool_size=1, step=0) == told(0.5, 1, 2)


@pytest.mark.parametrize("news", [{"0": [0.1]}, {"0": [0.0, 0.0, 0.1, -0.1]}, {"0": [0.0, 0.0, float("nan"), 0.1]}])
def test_news_that_are_none_are_refused(news: Any) -> None:
    with pytest.raises(ValueError, match=r"of a group four finite numbers are kept|must be"):
        load(Returns(), {**save(Returns()), "news": news}, pool_size=1, step=0).check()
