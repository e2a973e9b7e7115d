"""BetaBelief: means, spreads and samples of the posterior, options, states."""

import numpy as np
import pytest

from didact.belief import BetaBelief
from tests.belief.feeding import IDS, SIZE, feed


def test_four_rollouts_three_pass() -> None:
    belief = BetaBelief(1)
    feed(belief, 0, [1, 1, 0, 1], 0)
    snapshot = belief.pass_rates(IDS[:1])
    assert snapshot.mean == pytest.approx([4 / 6])
    assert snapshot.std == pytest.approx([np.sqrt(4 * 2 / (36 * 7))])
    assert snapshot.reward_mean == pytest.approx([0.75])
    assert snapshot.reward_std == pytest.approx([np.sqrt(0.1875)])


def test_faded_evidence_still_has_a_finite_mean() -> None:
    belief = BetaBelief(1, discount=0.5)
    feed(belief, 0, [1.0, 0.0], 0)
    snapshot = belief.pass_rates(IDS[:1], step=200)
    assert snapshot.mean == pytest.approx([0.5])
    assert snapshot.reward_mean == pytest.approx([0.5])


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
