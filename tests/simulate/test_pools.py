"""Initial pass rates: the promised shares, exactly, and rates of one's own."""

import numpy as np
import pytest

from didact.simulate import POOLS, InitialRates, given_rates, pool_rates


@pytest.mark.parametrize(
    ("kind", "never", "always"), [("easy-heavy", 100, 550), ("hard-heavy", 750, 50), ("mixed", 400, 200)]
)
def test_a_pool_has_the_promised_shares(kind: str, never: int, always: int) -> None:
    rate = pool_rates(kind, 1000, seed=3).rate
    # Families of 250 each round to one prompt.
    assert [(rate == 0).sum(), (rate == 1).sum()] == pytest.approx([never, always], abs=4)


def test_each_source_has_a_shape_of_its_own() -> None:
    initial = pool_rates("sources", 4000)
    assert initial.names == ("easy", "hard", "mixed", "between")
    never = {name: (initial.rate[initial.source == index] == 0).mean() for index, name in enumerate(initial.names)}
    assert never == {"easy": 0.10, "hard": 0.75, "mixed": 0.40, "between": 0.10}


@pytest.mark.parametrize("kind", POOLS)
def test_a_seed_is_a_pool_and_its_order_tells_nothing(kind: str) -> None:
    one, same, other = (pool_rates(kind, 1000, seed=seed) for seed in (1, 1, 2))
    assert (one.rate == same.rate).all()
    assert (one.rate != other.rate).any()
    assert abs(one.rate[:500].mean() - one.rate[500:].mean()) < 0.1


def test_tiny_pools() -> None:
    for size in (1, 2, 5):
        assert len(pool_rates("hard-heavy", size)) == size


def test_a_misspelt_pool_is_named() -> None:
    with pytest.raises(ValueError, match="unknown pool 'hard-hevy'; did you mean 'hard-heavy'"):
        pool_rates("hard-hevy", 10)


@pytest.mark.parametrize("size", [0, -1, 2.5, True])
def test_a_size_is_a_whole_number(size: int) -> None:
    with pytest.raises(ValueError, match="size"):
        pool_rates("mixed", size)


def test_given_rates_keep_their_order() -> None:
    initial = given_rates([0.1, 0.9, 0.0], source=["b", "a", "b"])
    assert initial.rate.tolist() == [0.1, 0.9, 0.0]
    assert [initial.names[source] for source in initial.source] == ["b", "a", "b"]


@pytest.mark.parametrize("size", [50, 1000])
def test_given_rates_of_another_number_keep_their_distribution(size: int) -> None:
    rates = np.r_[np.zeros(120), np.linspace(0.2, 0.8, 60), np.ones(20)]
    drawn = given_rates(rates, size, seed=1).rate
    assert len(drawn) == size
    assert [(drawn == 0).mean(), (drawn == 1).mean()] == pytest.approx([0.6, 0.1], abs=0.05)
    assert set(drawn) <= set(rates)


@pytest.mark.parametrize("rates", [[], [0.5, 1.2], [-0.1], [float("nan")], [[0.5]]])
def test_bad_rates_are_refused(rates: list[float]) -> None:
    with pytest.raises(ValueError, match="initial pass rates must"):
        given_rates(rates)


def test_sources_must_match() -> None:
    with pytest.raises(ValueError, match="a source for each of 2 rates"):
        given_rates([0.5, 0.5], source=["a"])
    with pytest.raises(ValueError, match="a source for each of 1 rates"):
        InitialRates(np.array([0.5]), np.array([4]))
