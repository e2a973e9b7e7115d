"""Counts that two reference models feed, by hand. Whole runs of them are in the tests of `bots`."""

import numpy as np
import pytest

from didact.belief import BetaBelief
from didact.belief.interpolation import InterpolatedCounts, Interpolation
from didact.belief.reference import ReferenceRates
from didact.ledger import OpenGroup
from didact.testing import pool_of


def interpolation(weak: list[float], strong: list[float], **options: bool) -> Interpolation:
    rates = ReferenceRates("weak", weak), ReferenceRates("strong", strong)
    return Interpolation(*rates, **{"lam": 0.1, "adaptive_rho": False, "group_size": 4, "pool_size": 3, **options})


def seen(passes: int) -> InterpolatedCounts:
    """Of three prompts the first was rolled out four times."""
    memory = InterpolatedCounts.of(pool_of(3))
    memory.rho = 0.1
    memory.evidence.add([OpenGroup(0, 0, 0, "train", 0.5, 4)], [[1.0] * passes + [0.0] * (4 - passes)], BetaBelief(3))
    return memory


def test_rates_lie_between_the_references_and_within_bounds() -> None:
    between = interpolation([0.2, 0.5, np.nan], [0.6, 0.9, 0.5])
    assert between.rates(slice(None), 0.5) == pytest.approx([0.4, 0.7, np.nan], nan_ok=True)
    assert between.rates(np.array([1, 0]), 10.0).tolist() == [1.0, 1.0]


def test_a_step_by_hand() -> None:
    """1 of 4 passes: cap = (.25 - .2) / .4 = .125; the others get rho m p = .1 * 4 * .25 of a pass, or nothing."""
    between, memory = interpolation([0.2, 0.2, np.nan], [0.6, 0.6, 0.5]), seen(passes=1)
    cap, rho = between.learnt(memory)
    assert (cap, rho) == (pytest.approx(0.125, rel=1e-4), 0.1)
    assert between.counts(slice(None), memory) == pytest.approx(np.array([[1, 0.1, 0], [3, 0.3, 0]]), rel=1e-5)
    assert between.counts(np.array([1]), memory) == pytest.approx(np.array([[0.1], [0.3]]), rel=1e-5)
    assert (memory.cap, memory.rho) == (None, 0.1)  # until the step is settled


def test_rho_is_halved_where_the_interpolation_is_off() -> None:
    between, memory = interpolation([0.0, 0.0, 0.0], [1.0, 1.0, 1.0], adaptive_rho=True), seen(passes=0)
    memory.cap = 1.0
    assert between.learnt(memory) == (pytest.approx(0.9), 0.05)


def test_without_references_counts_only_fade() -> None:
    alone, memory = Interpolation(None, None, 0.1, False, 4, 3), seen(passes=4)
    memory.counts.put("passes", slice(None), 10.0)
    assert alone.counts(slice(None), memory)[0] == pytest.approx([13.0, 9.0, 9.0])
    assert alone.learnt(memory) == (None, 0.1)
