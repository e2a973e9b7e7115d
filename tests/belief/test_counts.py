"""Counts beyond a prior, with the evidence of the running step beside them."""

import numpy as np
import pytest

from didact.belief import BetaBelief
from didact.belief.counts import PassCounts
from didact.ledger import OpenGroup
from didact.testing import pool_of


def test_they_are_read_and_settled_together() -> None:
    counts = PassCounts.of(pool_of(4), left=np.float32(1))
    counts.evidence.add([OpenGroup(0, 2, 0, "train", 0.5, 2)], [[1.0, 0.0]], BetaBelief(4))
    before = counts.get(np.array([2, 0]))
    assert before.dtype == np.float32
    assert before.tolist() == [[0, 0], [0, 0], [1, 1]]
    counts.settle(np.array([2]), np.array([[3.0], [5.0], [0.5]]))
    assert before.tolist() == [[0, 0], [0, 0], [1, 1]]  # a copy
    assert counts.get(slice(None))[:, 2].tolist() == [3.0, 5.0, 0.5]
    assert len(counts.evidence.gathered()[0]) == 0


def test_negative_counts_are_refused() -> None:
    counts = PassCounts.of(pool_of(3))
    counts.check(3)
    counts.settle(np.array([1]), np.array([[1.0], [-1.0]]))
    with pytest.raises(ValueError, match="at least 0 for each of 3 prompts"):
        counts.check(3)
