"""Hashed seeds: the same everywhere, and not neighbours of each other."""

import numpy as np

from didact.seeding import generator, hashed_seed


def test_a_seed_is_the_same_on_every_machine() -> None:
    assert hashed_seed(0, "plan", 1, 2) == 334015414539899953333439600254794617053


def test_numpy_numbers_are_numbers() -> None:
    assert hashed_seed(np.int64(3), np.int32(1)) == hashed_seed(3, 1)


def test_parts_do_not_run_together() -> None:
    seeds = {hashed_seed(*parts) for parts in [(1, 11), (11, 1), (111,), ("1", 11), ("1\x1f11",), (0,), (1,), (2,)]}
    assert len(seeds) == 8


def test_neighbouring_seeds_share_nothing() -> None:
    draws = [set(generator(seed, "x").integers(0, 2**62, size=500).tolist()) for seed in range(4)]
    assert len(set.union(*draws)) == 2000
