"""The nearest of a ranking against a sort."""

import numpy as np
import pytest

from didact.ranking import Ranking


@pytest.mark.parametrize("drawn", [False, True])
def test_it_gives_the_nearest_of_any_values(drawn: bool) -> None:
    """As a sort of them all would, with many ties on both sides and targets outside of the values."""
    rng = np.random.default_rng(0)
    for trial in range(200):
        size = int(rng.integers(4, 30))
        values = rng.integers(0, 8, size).astype(np.float32) * 10
        target = float(rng.integers(0, 101))
        distance = np.abs(values - target)
        ranking = Ranking(values)
        positions = ranking.nearest(target, 4, np.random.default_rng(trial) if drawn else None)
        assert len(ranking) == size
        assert len(set(positions.tolist())) == 4
        assert sorted(distance[positions]) == sorted(distance)[:4]
        if not drawn:
            assert set(positions) == set(np.argsort(distance, kind="stable")[:4])
