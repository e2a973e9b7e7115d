"""BOTS: beliefs that move for every prompt in every step."""

from pathlib import Path

import numpy as np
import pytest

from didact import Curriculum, make
from didact.testing import MethodContract, SimulatedPolicy, VariantContract, outcomes_of, play, pool_of


class TestBOTS(MethodContract):
    """With references, some of them unknown, and prompts that join with theirs."""

    keeps_budget = True

    @staticmethod
    def build(pool, **options):
        size = max(200, len(pool))  # more than the pool has: for prompts that join
        weak = np.where(np.arange(size) % 7 == 3, np.nan, np.linspace(0, 0.6, size))
        return make("bots", pool, weak=weak, strong=np.linspace(0.4, 1.0, size), **options)


class TestBOTSWithoutReferences(VariantContract):
    keeps_budget = True

    @staticmethod
    def build(pool, **options):
        return make("bots", pool, **options)


class TestBOTSWithSoftMax(VariantContract):
    keeps_budget = True

    @staticmethod
    def build(pool, **options):
        return make("bots", pool, tau=0.1, thompson=False, **options)


def played(passes: list[int], **options: object) -> Curriculum:
    """One prompt a step out of two, m = 4: what alpha and beta become after each step is known by hand."""
    curriculum = make("bots", pool_of(2), prompts_per_step=1, rollouts_per_step=4, thompson=False, **options)
    for step, count in enumerate(passes):
        plan = curriculum.plan(step)
        curriculum.observe(outcomes_of(plan, lambda num, count=count: [1.0] * count + [0.0] * (num - count)))
    curriculum.plan(len(passes))
    return curriculum


def posterior(curriculum: Curriculum) -> np.ndarray:
    """alpha and beta of all prompts, as their means and standard deviations say."""
    believed = curriculum.pass_rates()
    total = believed.mean * (1 - believed.mean) / believed.std**2 - 1
    return np.round(np.stack([believed.mean * total, (1 - believed.mean) * total]), 6)


def counts(curriculum: Curriculum) -> dict[str, list[float]]:
    """alpha, beta of the prompt that was visited last, and of the other."""
    last = int(np.argmax(curriculum.belief.last_seen()))
    table = posterior(curriculum)
    return {"visited": table[:, last].tolist(), "other": table[:, 1 - last].tolist()}


def test_one_step_by_hand() -> None:
    """weak .2, strong .6, 1 of 4 passes: cap = (.25 - .2) / .4 = .125, ptilde = .25, rho m ptilde = .1 * 4 * .25."""
    curriculum = played([1], weak=[0.2, 0.2], strong=[0.6, 0.6])
    assert curriculum.memory.cap == pytest.approx(0.125, rel=1e-4)
    assert counts(curriculum)["visited"] == pytest.approx([1 + 1, 1 + 3])
    assert counts(curriculum)["other"] == pytest.approx([1 + 0.1, 1 + 0.3], rel=1e-5)


def test_capability_is_an_average_that_remembers_nine_tenths() -> None:
    """First .125, then a step of 3 of 4 passes estimates (.75 - .2) / .4 = 1.375."""
    curriculum = played([1, 3], weak=[0.2, 0.2], strong=[0.6, 0.6])
    assert curriculum.memory.cap == pytest.approx(0.9 * 0.125 + 0.1 * 1.375, rel=1e-4)


def test_steady_implicit_evidence_of_a_prompt_never_visited() -> None:
    """2 + rho m / lam, all of it from the interpolation: 18 at the published m = 16."""
    curriculum = make(
        "bots",
        pool_of(3),
        prompts_per_step=1,
        rollouts_per_step=16,
        weak=[0.2, 0.0, 0.0],
        strong=[0.8, 0.0, 0.0],
        thompson=False,
    )
    for step in range(200):
        curriculum.observe(outcomes_of(curriculum.plan(step), lambda num: [1.0] * (num // 2) + [0.0] * (num // 2)))
    never = curriculum.belief.last_seen() < 0
    assert never.sum() == 2
    assert posterior(curriculum)[:, never].sum(axis=0).tolist() == pytest.approx([18, 18], rel=1e-5)


def test_without_references_it_is_a_discounted_belief() -> None:
    """lam = 0.1 forgets as much as BetaBelief with discount 0.9."""
    curriculum, _ = play(
        make("bots", pool_of(20), prompts_per_step=4, rollouts_per_step=16, discount=0.9), SimulatedPolicy(), range(12)
    )
    assert np.allclose(curriculum.pass_rates().mean, curriculum.belief.mean(step=curriculum.step), atol=1e-5)


def test_the_published_recursion_over_a_run() -> None:
    """All prompts, step by step, in float64 and written as in the paper."""
    rng = np.random.default_rng(3)
    weak = rng.random(30) * 0.5
    strong = weak + 0.3
    curriculum = make("bots", pool_of(30), prompts_per_step=5, rollouts_per_step=40, weak=weak, strong=strong)
    policy = SimulatedPolicy({f"prompt-{index}": rate for index, rate in enumerate(weak + 0.1)})
    alpha, beta, cap, lam, rho, m = np.ones(30), np.ones(30), None, 0.1, 0.1, 8
    for step in range(40):
        plan = curriculum.plan(step)
        outcomes = policy.roll_out(plan)
        curriculum.observe(outcomes)
        curriculum.admitted(step)
        seen = curriculum.pool.positions([outcome.prompt_id for outcome in outcomes])
        rate = np.array([np.mean(outcome.rewards) for outcome in outcomes])
        estimate = (rate.mean() - weak[seen].mean()) / (strong[seen].mean() - weak[seen].mean())
        cap = estimate if cap is None else 0.9 * cap + 0.1 * estimate
        expected = np.clip(weak + cap * (strong - weak), 0, 1)
        passes, fails = np.zeros(30), np.zeros(30)
        expected[seen], passes[seen], fails[seen] = rate, m * rate, m * (1 - rate)
        alpha = (1 - lam) * alpha + lam + (1 - rho) * passes + rho * m * expected
        beta = (1 - lam) * beta + lam + (1 - rho) * fails + rho * m * (1 - expected)
    assert np.allclose(posterior(curriculum), [alpha, beta], rtol=1e-4)
    digest, believed, truth = curriculum.state_dict()["digest"], curriculum.pass_rates().mean, weak + 0.1
    own = np.abs(alpha / (alpha + beta) - truth).mean()
    assert np.abs(believed - truth).mean() == pytest.approx(own, abs=1e-5)
    assert own < np.abs(curriculum.belief.mean() - truth).mean()
    assert curriculum.state_dict()["digest"] == digest
    plan = curriculum.plan(40)
    told = believed[curriculum.pool.positions([group.prompt_id for group in plan])]
    assert [group.pass_rate for group in plan] == told.tolist()


def test_unknown_references_give_no_implicit_evidence() -> None:
    curriculum = played([2], weak=[np.nan, np.nan], strong=[0.5, 0.5])
    assert curriculum.memory.cap is None
    assert counts(curriculum)["other"] == [1.0, 1.0]
    assert counts(curriculum)["visited"] == [3.0, 3.0]


def test_equal_references_do_not_break_it() -> None:
    curriculum = played([4, 4, 4], weak=[0.5, 0.5], strong=[0.5, 0.5])
    assert np.isfinite(curriculum.pass_rates().mean).all()


def test_adaptive_rho_halves_while_the_interpolation_is_off() -> None:
    """The first step fits itself; then 0 of 4 against an interpolation near 1."""
    assert played([4, 0], weak=[0.0, 0.0], strong=[1.0, 1.0], adaptive_rho=True).memory.rho == 0.05
    assert played([4, 0], weak=[0.0, 0.0], strong=[1.0, 1.0]).memory.rho == 0.1


def test_a_step_without_outcomes_moves_nothing() -> None:
    curriculum = played([1], weak=[0.2, 0.2], strong=[0.6, 0.6])
    before = posterior(curriculum)
    curriculum.plan(2)
    curriculum.plan(3)
    assert np.array_equal(posterior(curriculum), before)


def test_a_small_tau_is_the_best_and_a_large_one_uniform() -> None:
    rates = np.linspace(0, 1, 41)
    for tau, spread in ((1e-4, 0.05), (1e4, 0.2)):
        drawn = []
        for seed in range(200):
            sizes = {"prompts_per_step": 1, "rollouts_per_step": 8, "seed": seed}
            curriculum = make("bots", pool_of(41), thompson=False, tau=tau, rho=1.0, weak=rates, strong=rates, **sizes)
            curriculum.memory.counts.put("passes", slice(None), rates * 1000)
            curriculum.memory.counts.put("failures", slice(None), 1000 - rates * 1000)
            drawn.append(int(curriculum.plan(0).groups[0].prompt_id.split("-")[1]))
        assert (np.abs(rates[drawn] - 0.5).mean() < spread) == (tau < 1)


def test_references_from_files_are_checked_by_what_they_hold(tmp_path: Path) -> None:
    np.save(tmp_path / "weak.npy", np.array([0.1, 0.2, np.nan]))
    (tmp_path / "strong.json").write_text("[0.5, 0.6, null]")
    sizes = {"prompts_per_step": 2, "rollouts_per_step": 8}
    files = make("bots", pool_of(3), weak=str(tmp_path / "weak.npy"), strong=str(tmp_path / "strong.json"), **sizes)
    numbers = make("bots", pool_of(3), weak=[0.1, 0.2, np.nan, np.nan], strong=[0.5, 0.6, np.nan], **sizes)
    numbers.load_state_dict(files.state_dict())
    other = make("bots", pool_of(3), weak=[0.1, 0.2, 0.3], strong=[0.5, 0.6, np.nan], **sizes)
    with pytest.raises(ValueError, match="weak"):
        other.load_state_dict(files.state_dict())
    with pytest.raises(FileNotFoundError, match="weak"):
        make("bots", pool_of(3), weak=str(tmp_path / "none.npy"), strong=[0.5] * 3, **sizes)
    with pytest.raises(ValueError, match="fingerprint"):
        make("bots", pool_of(3), weak=files.options["weak"], strong=[0.5] * 3, **sizes)


@pytest.mark.parametrize(
    "option",
    [
        {"lam": 1.5},
        {"rho": -0.1},
        {"target": 2.0},
        {"tau": -1.0},
        {"weak": [0.5] * 8},
        {"weak": [0.5] * 7, "strong": [0.5] * 8},
        {"strong": [[0.5] * 8], "weak": [0.5] * 8},
        {"strong": [1.5] * 8, "weak": [0.5] * 8},
    ],
)
def test_bad_options(option: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        make("bots", pool_of(8), prompts_per_step=2, rollouts_per_step=8, **option)
