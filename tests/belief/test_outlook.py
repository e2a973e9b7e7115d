"""The outlook: what it notes of outcomes, when it learns from them, and what it says of prompts."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from didact import GroupOutcome
from didact.belief import BetaBelief, outlook
from didact.belief.outlook import Outlook
from didact.group import OpenGroup
from didact.memory import load, save
from didact.testing import pool_of
from didact.turn import Arrivals

SIZE = 12
POOL = pool_of(SIZE, source=["a", "b", "c"] * 4)
RUN: Any = SimpleNamespace(belief=BetaBelief(SIZE))  # all that `note` asks a run for
ALL = np.arange(SIZE)


def fresh() -> Outlook:
    seen = Outlook.of(POOL)
    seen.shared.decay = 0.8
    return seen


def outcome(group_id: int, position: int, rewards: list[float], **columns: Any) -> tuple[OpenGroup, GroupOutcome]:
    """What came back of a group asked for at step 3."""
    group = OpenGroup(group_id, position, 3, "train", 0.5, 4, asked=3)
    return group, GroupOutcome(group_id, POOL.ids[position], rewards, **columns)


def noted(*arrived: tuple[OpenGroup, GroupOutcome], truncated: Any = "exclude") -> Outlook:
    seen = fresh()
    for each in arrived:
        seen.note(Arrivals([each[0]], [each[1]], truncated), RUN)
    return seen


def means(seen: Outlook, step: int = 4) -> np.ndarray:
    seen.learn(POOL, step)
    return seen.rates(POOL, ALL, step)[0]


SOME = [
    outcome(7, 0, [1.0, 1.0], num_tokens=[30, 50], part=0),
    outcome(8, 1, [0.0, 0.0, 0.0, 0.25], num_tokens=[90] * 4),
    outcome(7, 0, [1.0, 0.0], num_tokens=[20, 20], part=1),
    outcome(9, 5, [0.0, 1.0, 0.0, 0.0], policy_version=1),
]


def test_outcomes_are_noted_by_group_and_learnt_once() -> None:
    seen = noted(*SOME)
    assert seen.news == {
        7: [0.0, 3.0, 3.0, 4.0, 4.0, 120.0],
        8: [1.0, 3.0, 0.25, 4.0, 4.0, 360.0],
        9: [5.0, 1.0, 1.0, 4.0, 0.0, 0.0],
    }
    first = means(seen)
    assert seen.news == {}
    assert np.array_equal(means(seen), first)
    assert not np.array_equal(first, means(fresh()))


def test_nothing_depends_on_the_order_of_arrival() -> None:
    """To the last digit, sums over several groups of one prompt included."""
    graded = [outcome(20 + late, 4, [0.1 + 0.07 * late] * 3, policy_version=late % 4) for late in range(12)]
    one, other = noted(*SOME, *graded), noted(*graded[::-1], *SOME[::-1])
    assert np.array_equal(means(one), means(other))
    assert np.array_equal(one.shared.weights, other.shared.weights)
    assert np.array_equal(one.shared.covariance, other.shared.covariance)
    rows = one.description.rows(POOL, ALL)
    assert np.array_equal(one.lengths.expected(rows), other.lengths.expected(rows))


def test_two_groups_of_a_prompt_are_learnt_as_one() -> None:
    rewards = [1.0, 0.0, 0.0, 0.0]
    twice = noted(outcome(1, 2, rewards), outcome(2, 2, rewards))
    assert means(twice) == pytest.approx(means(noted(outcome(1, 2, rewards * 2))))


def test_prompts_move_by_their_outcomes_and_their_kind() -> None:
    mean = means(noted(*(outcome(position, position, [float(position % 3 == 0)] * 4) for position in range(6))))
    assert mean[0] > mean[9] > 0.5 > mean[10] > mean[1]  # 9 and 10 are of the same sources, and were not tried
    assert math.isclose(mean[6], mean[9])


def test_rollouts_of_older_policies_count_less() -> None:
    """`decay` for each version that they are late; without a version, that of the step at which they were asked for."""
    passes = [1.0] * 4
    ways = [outcome(1, 0, passes, policy_version=version) for version in (3, 2, 0)]
    fresh_ones, late, latest = (means(noted(way))[0] for way in ways)
    assert fresh_ones > late > latest > 0.5
    assert means(noted(outcome(1, 0, passes)))[0] == fresh_ones
    fewer = noted(outcome(1, 0, passes))
    fewer.news[1][2:4] = [4 * 0.8, 4 * 0.8]
    assert means(fewer)[0] == pytest.approx(late)


def test_rollouts_without_a_verdict_say_how_long_they_are() -> None:
    group, cut = outcome(1, 0, [0.0] * 4, num_tokens=[300] * 4, truncated=[True] * 4)
    start = means(fresh())
    for way in (cut, replace(cut, truncated=None, errored=[True] * 4)):
        seen = noted((group, way))
        assert means(seen) == pytest.approx(start)
        assert seen.lengths.expected(seen.description.rows(POOL, ALL[:1]))[0] == pytest.approx(300, rel=0.05)
    assert means(noted((group, cut), truncated="observe"))[0] < start[0] - 0.2


def test_mean_and_deviation_are_those_of_the_belief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many prompts they are worked out in parts."""
    seen = noted(*SOME)
    seen.learn(POOL, 4)
    mean, std = seen.rates(POOL, ALL, 6)
    logits, variance = seen.shared.logits(seen.description.rows(POOL, ALL), ALL, 6)
    draws = logits + np.sqrt(variance) * np.random.default_rng(0).standard_normal((200_000, SIZE))
    rates = 1 / (1 + np.exp(-draws))
    assert mean == pytest.approx(rates.mean(axis=0), abs=0.005)
    assert std == pytest.approx(rates.std(axis=0), abs=0.005)
    monkeypatch.setattr(outlook, "_ROWS", 5)
    assert np.allclose(seen.rates(POOL, ALL, 6), (mean, std), atol=1e-12)
    backwards = seen.rates(POOL, ALL[::-1], 6)
    assert np.allclose(backwards, (mean[::-1], std[::-1]), atol=1e-12)


def test_a_state_goes_on_with_what_was_noted() -> None:
    seen = noted(*SOME)
    seen.learn(POOL, 4)
    seen.note(Arrivals(*zip(outcome(11, 3, [1.0, 0.0]), strict=True), "exclude"), RUN)
    restored = load(fresh(), save(seen), pool_size=SIZE, step=4)
    restored.check(POOL)
    assert restored.news == seen.news
    assert np.array_equal(means(restored, 5), means(seen, 5))


@pytest.mark.parametrize(
    "news",
    [
        [99.0, 0.0, 1.0, 4.0, 0.0, 0.0],  # a prompt that the pool has not
        [1.0, 0.0],
        [1.0, 0.0, -1.0, 4.0, 0.0, 0.0],
    ],
)
def test_news_that_no_run_has_are_refused(news: list[float]) -> None:
    seen = fresh()
    seen.news = {0: news}
    with pytest.raises(ValueError, match="news of a prompt of this pool are six numbers of at least 0, got"):
        seen.check(POOL)


def test_parts_of_different_widths_are_refused() -> None:
    seen = fresh()
    seen.lengths = type(seen.lengths)(7)
    with pytest.raises(ValueError, match=r"prompts are described by 4 numbers, what was learnt is of \[4, 7\]"):
        seen.check(POOL)


def test_what_groups_are_expected_to_lack() -> None:
    """1 - 4 p (1 - p), over the doubt: of prompts that surely pass half of the time nothing."""
    seen = fresh()
    assert 0.3 < seen.lacking(POOL, ALL, 0) < 0.7
    seen.shared.covariance, seen.shared.spread = 1e-12 * np.eye(seen.description.width), 1e-6
    assert seen.lacking(POOL, ALL, 0) == pytest.approx(0, abs=1e-9)
    seen.shared.weights[0] = 3.0  # that pass 95 times of 100
    assert seen.lacking(POOL, ALL, 0) == pytest.approx(1 - 4 * 0.04518, abs=1e-4)
