"""Ten bins by predicted pass rate, in cases worked out by hand."""

import numpy as np
import pytest

from didact.calibration import Calibration


def test_the_error_is_the_distance_of_passes_from_predicted_ones() -> None:
    calibration = Calibration()
    assert calibration.error == 0.0
    calibration.observe([0.25], np.array([4]), np.array([1.0, 0.0, 0.0, 0.0]))
    assert calibration.error == 0.0
    calibration.observe([1.0, 0.5], np.array([2, 0]), np.array([0.0, 0.5]))
    assert calibration.error == pytest.approx(1.5 / 6)  # 2 predicted, half a pass came, of 6 rollouts


def test_distances_in_one_bin_cancel_and_in_two_do_not() -> None:
    together, apart = Calibration(), Calibration()
    together.observe([0.52, 0.58], np.array([1, 1]), np.array([1.0, 0.0]))
    apart.observe([0.48, 0.58], np.array([1, 1]), np.array([1.0, 0.0]))
    assert together.error == pytest.approx(0.05)
    assert apart.error == pytest.approx(0.55)


def test_it_comes_back_as_it_was() -> None:
    calibration, again = Calibration(), Calibration()
    calibration.observe([0.9], np.array([3]), np.array([1.0, 1.0, 0.0]))
    again.load_state_dict(calibration.state_dict())
    assert again.error == calibration.error > 0


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (np.zeros((3, 9)), "numbers for 10 bins"),
        (np.full((3, 10), -1.0), "numbers of at least 0"),
        (np.full((3, 10), np.nan), "numbers of at least 0"),
        (np.full((3, 10), np.inf), "numbers of at least 0"),
    ],
)
def test_sums_that_cannot_be_are_refused(bad: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Calibration().load_state_dict(bad)
