"""MoPPS: Thompson sampling among candidates."""

from pathlib import Path

import numpy as np
import pytest

from didact import Curriculum, GroupOutcome, make
from didact.testing import MethodContract, SimulatedPolicy, VariantContract, outcomes_of, play, pool_of

SIZES = {"prompts_per_step": 4, "rollouts_per_step": 32}


class TestMoPPS(MethodContract):
    keeps_budget = True

    @staticmethod
    def build(pool, **options):
        return make("mopps", pool, **options)


class TestMoPPSWithAllOptions(VariantContract):
    keeps_budget = True

    @staticmethod
    def build(pool, **options):
        rates = np.linspace(0, 1, max(200, len(pool)))  # more than the pool has: for prompts that join
        rates[30:] = np.nan
        return make("mopps", pool, candidate_ratio=2, mode="band", lam=0.5, offline_rates=rates, **options)


def counts(curriculum: Curriculum) -> np.ndarray:
    """alpha and beta of all prompts, as their means and standard deviations say."""
    believed = curriculum.pass_rates()
    total = believed.mean * (1 - believed.mean) / believed.std**2 - 1
    return np.round(np.stack([believed.mean * total, (1 - believed.mean) * total]), 6)


def visit(curriculum: Curriculum, step: int, passes: int) -> None:
    plan = curriculum.plan(step)
    curriculum.observe(outcomes_of(plan, lambda num: [1.0] * passes + [0.0] * (num - passes)))


def test_a_visit_keeps_lam_of_the_evidence_and_adds_its_own() -> None:
    """alpha <- lam alpha + (1 - lam) alpha_0 + s with (1, 1), lam = 0.5, n = 8: 2 of 8, then 8 of 8."""
    curriculum = make("mopps", pool_of(1), prompts_per_step=1, rollouts_per_step=8, lam=0.5)
    visit(curriculum, 0, passes=2)
    assert counts(curriculum).ravel().tolist() == [3.0, 7.0]
    visit(curriculum, 1, passes=8)
    assert counts(curriculum).ravel().tolist() == [0.5 * 3 + 0.5 + 8, 0.5 * 7 + 0.5]


def test_steady_evidence_with_lam_one_half_is_two_visits() -> None:
    curriculum = make("mopps", pool_of(1), prompts_per_step=1, rollouts_per_step=8, lam=0.5)
    for step in range(40):
        visit(curriculum, step, passes=4)
    assert counts(curriculum).sum() == pytest.approx(2 + 2 * 8, rel=1e-5)


def test_without_forgetting_the_counts_are_the_belief() -> None:
    curriculum, _ = play(make("mopps", pool_of(40), **SIZES), SimulatedPolicy(default=0.3), range(30))
    assert np.allclose(curriculum.pass_rates().mean, curriculum.belief.mean())


def test_unvisited_prompts_do_not_decay() -> None:
    curriculum = make("mopps", pool_of(100), candidate_ratio=1, lam=0.5, **SIZES)
    play(curriculum, SimulatedPolicy(), [0])
    before = counts(curriculum).copy()
    play(curriculum, SimulatedPolicy(), [1])
    untouched = curriculum.belief.last_seen() != 1
    assert np.array_equal(counts(curriculum)[:, untouched], before[:, untouched])


def test_only_candidates_compete() -> None:
    """Sixteen times the batch out of a shuffled pass; with ratio 1 a pass over the pool sees every prompt once."""
    curriculum = make("mopps", pool_of(40), candidate_ratio=1, **SIZES)
    play(curriculum, SimulatedPolicy(), range(10))
    assert set(curriculum.pass_rates().num_rollouts) == {8}


def test_offline_rates_count_three_times() -> None:
    curriculum = make("mopps", pool_of(3), prompts_per_step=2, rollouts_per_step=8, offline_rates=[0.0, 1.0, np.nan])
    assert counts(curriculum).T.tolist() == [[1.0, 4.0], [4.0, 1.0], [1.0, 1.0]]


def test_it_prefers_prompts_that_pass_half_of_the_time() -> None:
    policy = SimulatedPolicy({f"prompt-{index}": 0.5 if index < 20 else 0.02 for index in range(200)})
    curriculum = make("mopps", pool_of(200), prompts_per_step=8, rollouts_per_step=64)
    play(curriculum, policy, range(100))
    spent = curriculum.pass_rates().num_rollouts
    assert spent[:20].mean() > 5 * spent[20:].mean()


def test_what_it_believes_is_what_everybody_is_told() -> None:
    """Twelve visits that fade, on top of offline rates, by hand: what `pass_rates` says, and the next plan."""
    truth, lam = np.linspace(0, 1, 60), 0.5
    offline = np.clip(truth + 0.05, 0, 1)
    policy = SimulatedPolicy({f"prompt-{index}": rate for index, rate in enumerate(truth)})
    curriculum = make("mopps", pool_of(60), lam=lam, offline_rates=offline, offline_weight=24, **SIZES)
    alpha, beta = 1 + 24 * offline, 1 + 24 * (1 - offline)
    for step in range(12):
        outcomes = policy.roll_out(curriculum.plan(step))
        curriculum.observe(outcomes)
        curriculum.admitted(step)
        for outcome in outcomes:
            at, passes = int(outcome.prompt_id.split("-")[1]), sum(outcome.rewards)
            alpha[at] = lam * alpha[at] + (1 - lam) + passes
            beta[at] = lam * beta[at] + (1 - lam) + len(outcome.rewards) - passes
    digest, believed = curriculum.state_dict()["digest"], curriculum.pass_rates()
    assert believed.mean == pytest.approx(alpha / (alpha + beta), abs=1e-6)
    own = np.abs(alpha / (alpha + beta) - truth).mean()
    assert np.abs(believed.mean - truth).mean() == pytest.approx(own, abs=1e-6)
    assert own < np.abs(curriculum.belief.mean() - truth).mean() / 3
    assert curriculum.state_dict()["digest"] == digest
    plan = curriculum.plan(12)
    told = [believed.mean[curriculum.pool.positions([group.prompt_id])[0]] for group in plan]
    assert [group.pass_rate for group in plan] == told


def test_one_rollout_and_fractional_rewards_are_counted_as_they_are() -> None:
    """The released code sets both counts to 8 for a group of one."""
    curriculum = make("mopps", pool_of(1), prompts_per_step=1, rollouts_per_step=8)
    group = curriculum.plan(0).groups[0]
    curriculum.observe([GroupOutcome(group.group_id, group.prompt_id, [0.25])])
    assert counts(curriculum).ravel().tolist() == [1.25, 1.75]


def test_offline_rates_from_a_file_and_another_column_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "rates.npy", np.array([0.0, 0.5, 1.0]))
    (tmp_path / "rates.json").write_text("[0.0, 0.5, 1.0]")
    sizes = {"prompts_per_step": 2, "rollouts_per_step": 8}
    first = make("mopps", pool_of(3), offline_rates=str(tmp_path / "rates.npy"), **sizes)
    second = make("mopps", pool_of(3), offline_rates=str(tmp_path / "rates.json"), **sizes)
    second.load_state_dict(first.state_dict())
    other = make("mopps", pool_of(3), offline_rates=[0.0, 0.5, 0.9], **sizes)
    with pytest.raises(ValueError, match="offline_rates"):
        other.load_state_dict(first.state_dict())


@pytest.mark.parametrize(
    "option",
    [
        {"candidate_ratio": 0},
        {"candidate_ratio": 1.5},
        {"target": 1.5},
        {"mode": "best"},
        {"low": 0.7, "high": 0.3},
        {"low": "0.3"},
        {"lam": 1.1},
        {"offline_weight": -1.0},
        {"offline_rates": [0.5]},
        {"offline_rates": [2.0] * 8},
    ],
)
def test_bad_options(option: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        make("mopps", pool_of(8), prompts_per_step=2, rollouts_per_step=8, **option)
