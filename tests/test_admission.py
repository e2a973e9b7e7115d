"""Which groups train."""

import numpy as np
import pytest

from didact.admission import AdmitAll, AdmitBand, AdmitWithSignal, has_signal
from didact.testing import AdmissionContract


class TestAdmitAll(AdmissionContract):
    build = staticmethod(AdmitAll)


class TestAdmitWithSignal(AdmissionContract):
    build = staticmethod(AdmitWithSignal)


class TestAdmitBand(AdmissionContract):
    build = staticmethod(AdmitBand)


@pytest.mark.parametrize(
    ("rewards", "signal"),
    [([1.0], False), ([1, 1, 1], False), ([0.1] * 7, False), ([0, 1], True), ([0.2, 0.2, 0.7], True)],
)
def test_signal(rewards: list[float], signal: bool) -> None:
    assert has_signal(np.array(rewards, dtype=float)) is signal


def test_noise_of_the_verifier_is_no_signal() -> None:
    rewards = np.array([0.50, 0.51])
    assert AdmitWithSignal().admits(rewards)
    assert not AdmitWithSignal(noise=0.01).admits(rewards)


def test_a_band_excludes_its_bounds() -> None:
    assert [AdmitBand().admits(np.array(r)) for r in ([0.0, 0.0], [0.0, 1.0], [1.0, 1.0])] == [False, True, False]
    with pytest.raises(ValueError, match="low < high"):
        AdmitBand(1.0, 0.0)
