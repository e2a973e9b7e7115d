"""Evidence, as a belief reads it, against counting by hand: it fades, leaves a window, or is reset."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from didact.belief import BetaBelief
from tests.belief.feeding import IDS, SIZE, feed

#: (step advance, position, rewards); rewards of all kinds.
rewards = st.lists(st.sampled_from([0.0, 1.0, 0.3, -1.0, 2.0]), min_size=0, max_size=6)
histories = st.lists(st.tuples(st.integers(0, 3), st.integers(0, SIZE - 1), rewards), max_size=25)


def by_hand(seen: list[tuple[int, int, list[float]]], now: int, discount: float, window: int | None) -> np.ndarray:
    """passes, evidence, reward sum: counted anew from the whole history."""
    counts = np.zeros((3, SIZE))
    for step, position, values in seen:
        if window is None or step > now - window:
            weight = discount ** (now - step)
            passes = sum(min(max(value, 0.0), 1.0) for value in values)
            counts[:, position] += np.array([passes, len(values), sum(values)]) * weight
    return counts


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories, st.sampled_from([(1.0, None), (0.7, None), (1.0, 1), (1.0, 3)]), st.booleans())
def test_lazy_discount_and_window_agree_with_counting_anew(
    history: list[tuple[int, int, list[float]]], memory: tuple[float, int | None], reload: bool
) -> None:
    discount, window = memory
    belief = BetaBelief(SIZE, discount=discount, window=window)
    step, seen = 0, []
    for advance, position, values in history:
        step += advance
        seen.append((step, position, values))
        feed(belief, position, values, step)
        if reload:
            saved, belief = belief.state_dict(), BetaBelief(SIZE, discount=discount, window=window)
            belief.load_state_dict(saved)
        passes, evidence, total = by_hand(seen, step, discount, window)
        assert belief.mean(step=step) == pytest.approx((passes + 1) / (evidence + 2))
        snapshot = belief.pass_rates(IDS, step=step)
        assert snapshot.evidence == pytest.approx(evidence)
        known = evidence > 0
        assert snapshot.reward_mean[known] == pytest.approx((total / np.maximum(evidence, 1e-300))[known], abs=1e-9)
        assert np.isnan(snapshot.reward_mean[~known]).all()
    snapshot = belief.pass_rates(IDS, step=step)
    assert snapshot.num_rollouts.sum() == sum(len(values) for *_, values in history)
    assert (snapshot.response_tokens == 10 * snapshot.num_rollouts).all()


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, SIZE - 1), rewards), max_size=20),
    st.data(),
    st.sampled_from([(1.0, None), (0.7, None), (1.0, 1), (1.0, 3)]),
    st.booleans(),
)
def test_the_belief_does_not_depend_on_when_evidence_arrives(
    made: list[tuple[int, int, list[float]]], data: st.DataObject, memory: tuple[float, int | None], reload: bool
) -> None:
    """Any order, batching and delay of the same outcomes; versions newer than the step they arrive at included."""
    discount, window = memory
    arrivals = data.draw(st.permutations(made))
    belief, step = BetaBelief(SIZE, discount=discount, window=window), 0
    while arrivals:
        size = data.draw(st.integers(1, len(arrivals)))
        step += data.draw(st.integers(0, 2))
        batch, arrivals = arrivals[:size], arrivals[size:]
        positions, sizes = (
            np.array(column) for column in zip(*((p, len(values)) for _, p, values in batch), strict=True)
        )
        belief.count(positions, sizes, sizes, step=step)
        belief.observe(
            positions,
            sizes,
            np.array([value for *_, values in batch for value in values]),
            step=step,
            versions=np.array([version for version, *_ in batch]),
        )
        belief.mean(step=step)  # looking must not change anything
        if reload:
            saved, belief = belief.state_dict(), BetaBelief(SIZE, discount=discount, window=window)
            belief.load_state_dict(saved)
    now = max([step, *(version for version, *_ in made)])
    passes, evidence, _ = by_hand(made, now, discount, window)
    assert belief.mean(step=now) == pytest.approx((passes + 1) / (evidence + 2))
    assert belief.evidence(step=now) == pytest.approx(evidence)


def test_evidence_is_as_old_as_its_policy() -> None:
    one = np.array([1])
    for options, kept in (({"discount": 0.5}, 0.125), ({"window": 3}, 0.0), ({"window": 4}, 1.0), ({}, 1.0)):
        belief = BetaBelief(2, **options)
        belief.observe(one, one, np.array([1.0]), step=5, versions=np.array([2]))
        assert belief.evidence(step=5).tolist() == [0, kept]


def test_a_version_from_the_future_weighs_one_and_fades_from_there() -> None:
    belief, one = BetaBelief(2, discount=0.5), np.array([1])
    belief.observe(one, one, np.array([1.0]), step=2, versions=np.array([2]))
    belief.observe(one, one, np.array([1.0]), step=2, versions=np.array([4]))
    assert belief.evidence(step=2)[1] == belief.evidence(step=4)[1] == 1.25
    assert belief.evidence(step=5)[1] == 0.625


def test_a_window_forgets_rewards_below_zero_exactly() -> None:
    """Rewards of -1 and +1 (as in DAPO): forgetting must not clip sums at 0."""
    belief = BetaBelief(1, window=2)
    for step, values in enumerate([[1.0, 1.0], [-1.0, -1.0], [-1.0]]):
        feed(belief, 0, values, step)
    assert belief.pass_rates(IDS[:1], step=2).reward_mean.tolist() == [-1.0]
    assert np.isnan(belief.pass_rates(IDS[:1], step=9).reward_mean).all()


def test_evidence_is_exact_under_an_odd_prior() -> None:
    belief = BetaBelief(1, prior=(0.1, 0.3))
    for _ in range(4):
        feed(belief, 0, [0.3], 0)
    assert belief.evidence().tolist() == [4.0]


def test_reset_forgets_the_evidence_and_keeps_the_cost() -> None:
    for options in ({}, {"window": 3}, {"discount": 0.9}):
        belief = BetaBelief(SIZE, **options)
        for position in (0, 1):
            feed(belief, position, [1.0, 1.0], 0)
        belief.reset(np.array([0]))
        assert belief.mean(step=1)[0] == 0.5
        assert belief.mean(step=1)[1] > 0.5
        assert belief.num_rollouts().tolist() == [2, 2, 0, 0, 0]
        feed(belief, 0, [0.0], 2)
        assert belief.mean(step=9).max() <= 0.75
        assert belief.mean(step=9).min() >= 1 / 3
