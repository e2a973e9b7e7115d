"""Random numbers by address: distributed as they should be, and the same whoever asks."""

import numpy as np
import pytest

from didact.simulate.variates import Stream


def test_uniform_variates_fill_the_unit_interval_evenly() -> None:
    """Neighbouring prompts and visits, in 20 bins of 5,000 each: chi-square below its 99.9% point, 43.8."""
    prompt, visit = (key.ravel() for key in np.meshgrid(np.arange(1000), np.arange(100)))
    values = Stream(0, "rewards").uniform(prompt, visit)
    counts = np.histogram(values, bins=20, range=(0, 1))[0]
    assert ((counts - 5000) ** 2 / 5000).sum() < 43.8
    table = values.reshape(100, 1000)
    for other in (np.roll(table, 1, axis=0), np.roll(table, 1, axis=1)):  # neighbours do not move together
        assert np.corrcoef(table.ravel(), other.ravel())[0, 1] == pytest.approx(0, abs=0.015)


def test_normal_variates_have_the_moments_of_a_normal() -> None:
    values = Stream(3, "lengths").normal(np.arange(400_000), np.zeros(400_000, dtype=np.int64))
    moments = [float((values**power).mean()) for power in (1, 2, 3, 4)]
    assert moments == pytest.approx([0, 1, 0, 3], abs=0.06)


def test_a_variate_depends_on_its_address_alone() -> None:
    prompts, visits = np.array([5, 17, 17]), np.array([0, 0, 1])
    together = Stream(1, "rewards").uniform(prompts, visits)
    alone = [Stream(1, "rewards").uniform(prompts[[row]], visits[[row]])[0] for row in range(3)]
    assert together.tolist() == alone
    assert len({*together, *Stream(1, "lengths").uniform(prompts, visits), *Stream(2, "rewards").uniform(prompts)}) == 8


def test_a_variate_is_the_same_on_every_machine() -> None:
    assert Stream(0, "rewards").uniform(np.array([7]), np.array([3]))[0] == pytest.approx(
        0.07250363343762573, rel=1e-15
    )
