"""Which groups train."""

import math
from typing import Any

import numpy as np
import pytest

from didact import make
from didact.admission import AdmitAll, AdmitBand, AdmitWithSignal, as_admission, has_signal
from didact.testing import AdmissionContract, pool_of


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


def test_signal_is_that_the_standard_deviation_exceeds_the_noise() -> None:
    rng = np.random.default_rng(0)
    for size in (2, 3, 8, 64):
        for scale in 10.0 ** rng.uniform(-9, 2, 200):
            rewards = scale * rng.choice([0.0, 1.0, 0.5], size, p=[0.8, 0.1, 0.1])
            assert has_signal(rewards) == (float(rewards.std()) > 1e-6)


def test_noise_of_the_verifier_is_no_signal() -> None:
    rewards = np.array([0.50, 0.51])
    assert AdmitWithSignal().admits(rewards)
    assert not AdmitWithSignal(noise=0.01).admits(rewards)


def test_a_band_excludes_its_bounds() -> None:
    assert [AdmitBand().admits(np.array(r)) for r in ([0.0, 0.0], [0.0, 1.0], [1.0, 1.0])] == [False, True, False]
    with pytest.raises(ValueError, match="low < high"):
        AdmitBand(1.0, 0.0)


@pytest.mark.parametrize("noise", [math.nan, -1.0, "0", None, True])
def test_bad_noise(noise: Any) -> None:
    with pytest.raises(ValueError, match="noise must be a number"):
        AdmitWithSignal(noise)


@pytest.mark.parametrize("bounds", [(math.nan, 1.0), ("a", "b"), (0.0, None), (1.0, 0.0), (0.5, 0.5)])
def test_bad_bands(bounds: Any) -> None:
    with pytest.raises(ValueError, match=r"low|high"):
        AdmitBand(*bounds)


@pytest.mark.parametrize(
    ("rule", "stands_for"),
    [("all", AdmitAll()), ("signal", AdmitWithSignal()), ([0.2, 0.8], AdmitBand(0.2, 0.8)), ((0, 1), AdmitBand())],
)
def test_a_rule_as_a_configuration_says_it(rule: Any, stands_for: Any) -> None:
    assert as_admission(rule) == stands_for
    curriculum = make("uniform", pool_of(4), prompts_per_step=2, rollouts_per_step=8, admission=rule)
    assert curriculum.options["admission"] == repr(stands_for)


@pytest.mark.parametrize("rule", [0, "", [], [0.2], [0.8, 0.2], ["a", 1], "band", {}, AdmitAll, 5, math.nan])
def test_a_rule_is_one_of_these_or_an_object_that_admits(rule: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="admission must be"):
        make("uniform", pool_of(4), prompts_per_step=2, rollouts_per_step=8, admission=rule)
