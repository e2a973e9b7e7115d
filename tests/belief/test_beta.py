"""BetaBelief against counting by hand."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from didact.belief import BetaBelief

SIZE = 5
#: (step advance, position, rewards); rewards of all kinds.
rewards = st.lists(st.sampled_from([0.0, 1.0, 0.3, -1.0, 2.0]), min_size=0, max_size=6)
histories = st.lists(st.tuples(st.integers(0, 3), st.integers(0, SIZE - 1), rewards), max_size=25)
IDS = np.array([f"p{i}" for i in range(SIZE)], dtype=object)


def feed(belief: BetaBelief, position: int, values: list[float], step: int) -> None:
    where, sizes = np.array([position]), np.array([len(values)])
    belief.count(where, sizes, np.array([10 * len(values)]), step=step)
    belief.observe(where, sizes, np.array(values), step=step)


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


def test_four_rollouts_three_pass() -> None:
    belief = BetaBelief(1)
    feed(belief, 0, [1, 1, 0, 1], 0)
    snapshot = belief.pass_rates(IDS[:1])
    assert snapshot.mean == pytest.approx([4 / 6])
    assert snapshot.std == pytest.approx([np.sqrt(4 * 2 / (36 * 7))])
    assert snapshot.reward_mean == pytest.approx([0.75])
    assert snapshot.reward_std == pytest.approx([np.sqrt(0.1875)])


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


def test_faded_evidence_still_has_a_finite_mean() -> None:
    belief = BetaBelief(1, discount=0.5)
    feed(belief, 0, [1.0, 0.0], 0)
    snapshot = belief.pass_rates(IDS[:1], step=200)
    assert snapshot.mean == pytest.approx([0.5])
    assert snapshot.reward_mean == pytest.approx([0.5])


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


def test_growth_starts_at_the_prior() -> None:
    belief = BetaBelief(1, prior=(1, 3))
    feed(belief, 0, [1.0], 0)
    belief.grow(3)
    belief.grow(2)
    assert len(belief) == 3
    assert belief.mean().tolist() == [0.4, 0.25, 0.25]
    assert belief.last_seen().tolist() == [0, -1, -1]


def test_what_counts_as_a_pass() -> None:
    assert BetaBelief(1).passes(np.array([-1, 0, 0.3, 1, 7.0])).tolist() == [0, 0, 0.3, 1, 1]
    assert BetaBelief(1, pass_above=0.5).passes(np.array([-1, 0.5, 0.6])).tolist() == [0, 0, 1]


def test_samples_come_from_the_posterior() -> None:
    belief = BetaBelief(2)
    feed(belief, 0, [1.0] * 30, 0)
    draws = np.array([belief.sample(np.random.default_rng(seed)) for seed in range(400)])
    assert draws.mean(axis=0) == pytest.approx(belief.mean(), abs=0.06)


@pytest.mark.parametrize(
    "options",
    [
        {"discount": 0.0},
        {"discount": 1.1},
        {"discount": np.nan},
        {"window": 0},
        {"prior": (0, 1e-13)},
        {"prior": (-1, 2)},
        {"prior": (np.nan, 1)},
        {"prior": (np.inf, 1)},
        {"discount": 0.5, "window": 2},
    ],
)
def test_options_out_of_range(options: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        BetaBelief(3, **options)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[
            ("prior", value)
            for value in ([1], (1, 1, 1), "11", ("1", "1"), (1, -1), (1e-300, 1e-300), (0, 1e-13), 1.0, None)
        ],
        *[("prior", value) for value in ((1, np.inf), (np.nan, 1), (1e308, 1e308), (True, 1), {1, 2})],
        *[("discount", value) for value in (0, -0.5, 1.5, np.nan, "1", None, True, [])],
        *[("window", value) for value in (0, -1, 1.5, np.nan, "1", True, 2**31, [])],
        *[("pass_above", value) for value in (np.nan, np.inf, "0.5", True, 1e308, [])],
    ],
)
def test_options_that_no_belief_can_work_with(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        BetaBelief(3, **{name: value})  # type: ignore[arg-type]


def test_without_pseudo_counts_the_counts_speak_for_themselves() -> None:
    belief = BetaBelief(4, prior=(0, 0), discount=0.5)
    for position, rewards in ((0, [0.0] * 4), (1, [1.0, 0.0, 0.0, 0.0]), (2, [1.0] * 4)):
        feed(belief, position, rewards, 0)
    for step in (0, 1, 1074, 5000):  # what has faded to nothing is as if it had never come
        rates = belief.pass_rates(np.array(list("abcd"), dtype=object), step=step)
        assert rates.mean.tolist() == [0.0, 0.25, 1.0, 0.5] if step < 2 else rates.mean.tolist() == [0.5] * 4
        assert np.isfinite(rates.std).all()
        expected = [0.0, 0.1875**0.5, 0.0, 0.5] if step < 2 else [0.5] * 4
        assert belief.spread(step=step) == pytest.approx(expected)
        assert belief.mean(step=step).tolist() == rates.mean.tolist()
    assert np.isfinite(belief.sample(np.random.default_rng(0), step=0)).all()


def test_options_of_numpy_become_numbers_of_python() -> None:
    belief = BetaBelief(1, prior=np.array([1, 2]), window=np.int64(3), pass_above=np.float32(0.5))  # type: ignore[arg-type]
    assert (belief.prior, belief.window, belief.pass_above) == ((1.0, 2.0), 3, 0.5)
    assert [type(each) for each in (*belief.prior, belief.window, belief.pass_above)] == [float, float, int, float]


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("seen", [1, 0]),
        ("seen", [0, 0]),
        ("seen", [-1, 1]),
        ("seen", [0, SIZE]),
        ("passes", [-1.0, 0.0]),
        ("passes", [9.0, 0.0]),
        ("passes", [np.nan, 0.0]),
        ("passes", [1.0]),
        ("evidence", [np.inf, 2.0]),
        ("evidence", [np.nan, 2.0]),
        ("num_rollouts", [2, -2]),
        ("response_tokens", [-1, 20]),
        ("last_seen", [-1, 0]),
        ("updated", [-1, 0]),
        ("steps", [1, 0]),
        ("positions", [0, SIZE]),
        ("positions", [0]),
        ("sizes", [2, 1]),
    ],
)
def test_a_belief_that_cannot_be_is_refused(where: str, value: list[float]) -> None:
    belief = BetaBelief(SIZE, window=5)
    for step, position in enumerate((0, 1)):
        feed(belief, position, [1.0, 0.0], step)
    state, before = belief.state_dict(), belief.pass_rates(IDS, step=1)
    part = state if where == "seen" else state["columns"] if where in state["columns"] else state["recent"]
    part[where] = np.array(value, dtype=part[where].dtype)
    with pytest.raises(ValueError):
        belief.load_state_dict(state)
    for name, column in vars(belief.pass_rates(IDS, step=1)).items():
        assert np.array_equal(column, getattr(before, name), equal_nan=name != "ids"), name


def test_a_belief_loads_into_one_that_has_room_and_forgets_alike() -> None:
    belief = BetaBelief(SIZE, window=5)
    feed(belief, 0, [1.0, 0.0], 0)
    for other, words in ((BetaBelief(SIZE - 1, window=5), "about"), (BetaBelief(SIZE), "only a window remembers")):
        with pytest.raises(ValueError, match=words):
            other.load_state_dict(belief.state_dict())
    assert belief.spent() == (2, 20, 1)
