"""The simulated learners: rollouts at the true rates, the exact gradient, and the same luck in every run."""

import numpy as np
import pytest

from didact import Plan, PlannedGroup, make
from didact.advantage import AdvantageKind
from didact.compare.learner import Learner, mini_batches
from didact.plan import AdmittedGroup
from didact.seeding import generator
from didact.simulate import POOLS, IndependentPrompts, SharedSkills, given_rates, make_learner
from didact.simulate.learner import SimulatedLearner

KINDS = ("skills", "independent")


def rolled(learner: SimulatedLearner, positions: list[int], num: int, *, step: int = 0) -> list[AdmittedGroup]:
    """Roll prompts out, and admit all that came back; groups are numbered from 0."""
    names = learner.pool.ids
    groups = [PlannedGroup(index, names[position], num) for index, position in enumerate(positions)]
    learner.keep([])
    learner.roll_out(Plan(step, 0, groups))
    return [AdmittedGroup(group.group_id, group.prompt_id, tuple(range(num))) for group in groups]


def played(learner: SimulatedLearner, num_steps: int, *, method: str = "uniform", **options: int) -> list[object]:
    """A run with all that can be seen of it."""
    curriculum = make(method, learner.pool, prompts_per_step=16, rollouts_per_step=128, **options)
    trace: list[object] = []
    for step in range(num_steps):
        while plan := curriculum.plan(step):
            outcomes = learner.roll_out(plan)
            curriculum.observe(outcomes)
            trace += outcomes
        learner.update(curriculum.admitted(step), "rloo", "prompt")
        learner.keep([])
        trace.append(learner.evaluate())
    return trace


# Rollouts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_rollouts_pass_at_the_true_rate(kind: str) -> None:
    """20,000 rollouts of each prompt: within four standard errors, 0.014 at most."""
    learner = make_learner(kind, [0.02, 0.3, 0.5, 0.9])
    plan = Plan(0, 0, [PlannedGroup(index, prompt, 20_000) for index, prompt in enumerate(learner.pool.ids)])
    means = [np.mean(outcome.rewards) for outcome in learner.roll_out(plan)]
    assert means == pytest.approx([0.02, 0.3, 0.5, 0.9], abs=0.014)
    assert learner.pass_rates() == pytest.approx([0.02, 0.3, 0.5, 0.9], abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_never_and_always_start_beyond_the_floor(kind: str) -> None:
    rates = make_learner(kind, np.repeat([0.0, 0.001, 1.0], 200), floor=0.01).pass_rates()
    assert rates[:200].max() <= 0.01
    assert rates[:200].min() >= 0.0001
    assert len(set(rates[:200])) == 200
    assert rates[200:400] == pytest.approx(0.01)
    assert rates[400:].min() >= 0.99


def test_outcomes_are_complete() -> None:
    learner = make_learner("skills", "mixed", size=50)
    plan = Plan(3, 2, [PlannedGroup(7, "prompt-4", 5), PlannedGroup(9, "prompt-1", 2)])
    first, second = learner.roll_out(plan)
    assert (first.group_id, first.prompt_id, first.part, first.policy_version) == (7, "prompt-4", plan.part, 3)
    assert [len(first.rewards), len(first.num_tokens or ()), len(second.rewards)] == [5, 5, 2]
    assert min(first.num_tokens or (0,)) >= 1


def test_a_short_context_cuts_responses_off_and_they_fail() -> None:
    learner = make_learner("independent", [0.9] * 20, response_tokens=100)
    groups = [PlannedGroup(index, prompt, 100, context_length=90) for index, prompt in enumerate(learner.pool.ids)]
    outcomes = learner.roll_out(Plan(0, 0, groups))
    tokens = np.array([outcome.num_tokens for outcome in outcomes])
    cut = np.array([outcome.truncated for outcome in outcomes])
    rewards = np.array([outcome.rewards for outcome in outcomes])
    assert 0.1 < cut.mean() < 0.9
    assert (tokens[cut] == 90).all()
    assert tokens[~cut].max() <= 90
    assert (rewards[cut] == 0).all()
    assert rewards[~cut].mean() == pytest.approx(0.9, abs=0.05)


def test_hard_prompts_take_longer_responses() -> None:
    learner = make_learner("skills", [0.05, 0.95] * 200)
    plan = Plan(0, 0, [PlannedGroup(index, prompt, 4) for index, prompt in enumerate(learner.pool.ids)])
    tokens = np.array([np.mean(outcome.num_tokens or ()) for outcome in learner.roll_out(plan)])
    assert tokens[::2].mean() > 1.3 * tokens[1::2].mean()


def test_a_learner_serves_the_protocol() -> None:
    learner: Learner = make_learner("skills", "mixed", size=40)
    assert len(learner.pass_rates()) == len(learner.pool) == 40


# The gradient -----------------------------------------------------------------------------------------------------


def skilled(**options: object) -> SharedSkills:
    """Twelve prompts, no noise, and a step that is the gradient itself."""
    initial = given_rates(np.linspace(0.1, 0.9, 12))
    return SharedSkills(initial, num_skills=8, optimiser="sgd", **{"learning_rate": 1.0, "score_noise": 0.0, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("num", [2, 5])
def test_the_mean_step_is_the_gradient_of_the_mean_pass_rate(num: int) -> None:
    """RLOO with prompt-mean weights is unbiased: against finite differences of the mean pass rate over the batch."""
    learner, batch = skilled(), [0, 3, 7, 11]
    exact = np.empty(8)
    for skill in range(8):
        nudged = np.zeros((2, 8))
        nudged[:, skill] = 1e-5, -1e-5
        up, down = (learner._needs.rates(theta, np.array(batch)).mean() for theta in nudged)
        exact[skill] = (up - down) / 2e-5
    steps = []
    for step in range(2000):
        learner._theta[:] = 0.0
        learner.update(rolled(learner, batch, num, step=step), "rloo", "prompt")
        steps.append(learner._theta.copy())
    error = np.std(steps, axis=0) / np.sqrt(len(steps))
    assert (np.abs(np.mean(steps, axis=0) - exact) <= 4 * error + 1e-12).all()
    assert np.abs(exact).max() > 20 * error.max()


def test_noise_changes_the_spread_of_the_step_and_not_its_mean() -> None:
    noisy, plain = skilled(score_noise=2.0), skilled()
    gaps, expected = [], []
    for step in range(2000):
        for learner in (noisy, plain):
            learner._theta[:] = 0.0
            groups = rolled(learner, [2, 5, 8], 8, step=step)
            rewards = [learner._groups[group.group_id].rewards for group in groups]
            learner.update(groups, "dr_grpo", "prompt")
        gaps.append(noisy._theta - plain._theta)
        centred = np.array(rewards) - np.mean(rewards, axis=1, keepdims=True)
        expected.append(4.0 * (centred**2).sum() / 24**2)
    assert np.mean(gaps, axis=0) == pytest.approx(0, abs=4 * np.std(gaps) / np.sqrt(2000))
    assert np.mean(np.square(gaps)) == pytest.approx(np.mean(expected), rel=0.05)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("advantage", ["rloo", "grpo", "dr_grpo"])
def test_silent_groups_change_nothing(kind: str, advantage: AdvantageKind) -> None:
    learner = make_learner(kind, [0.0] * 20 + [1.0] * 20, floor=1e-9)
    before = learner.pass_rates()
    groups = rolled(learner, list(range(40)), 8)
    learner.update(groups, advantage, "prompt")
    assert (learner.pass_rates() == before).all()


def test_a_baseline_takes_the_place_of_the_groups_mean() -> None:
    """One rollout that passed, measured against 1/4: the pull is 3/4 (1 - p)."""
    learner = IndependentPrompts(given_rates([0.5]), learning_rate=1.0, score_noise=0.0)
    group = rolled(learner, [0], 16)[0]
    passed = learner._groups[0].rewards.index(1.0)
    learner.update([AdmittedGroup(0, group.prompt_id, (passed,), baseline=0.25)], "rloo", "prompt")
    assert learner._theta[0] == pytest.approx(0.75 * 0.5)


def test_a_mini_batch_that_gained_enough_already_is_clipped() -> None:
    """One prompt and a step so large that the first rollout settles it: the other seven move nothing."""
    initial = given_rates([0.5])
    learner = IndependentPrompts(initial, learning_rate=1000.0, score_noise=0.0)
    groups = rolled(learner, [0], 8)
    rewards = np.array(learner._groups[0].rewards)
    assert 0 < rewards.sum() < 8
    assert learner.update(groups, "dr_grpo", "prompt", 8) == 8
    first = int(mini_batches(8, 8, generator(0, "mini-batches", 0))[0][0])
    assert learner._theta[0] == pytest.approx(1000 * (rewards[first] - rewards.mean()) * (rewards[first] - 0.5))


def test_small_steps_on_mini_batches_add_up_to_one_on_the_whole() -> None:
    whole, parts = (skilled(learning_rate=rate) for rate in (1e-4, 1e-4 / 4))
    assert whole.update(rolled(whole, [0, 3, 7, 11], 8), "rloo", "prompt") == 1
    assert parts.update(rolled(parts, [0, 3, 7, 11], 8), "rloo", "prompt", 4) == 4
    assert parts._theta == pytest.approx(whole._theta, rel=1e-3)
    assert np.abs(whole._theta).max() > 0


def test_there_are_no_more_updates_than_rollouts() -> None:
    learner = skilled()
    assert learner.update(rolled(learner, [0], 4), "rloo", "prompt", 100) == 4


def test_what_is_learned_is_shared_between_skills_and_never_between_independent_prompts() -> None:
    for kind, shared in (("skills", True), ("independent", False)):
        learner = make_learner(kind, [0.5] * 40)
        before = learner.pass_rates()
        for step in range(5):
            learner.update(rolled(learner, [0, 1, 2], 8, step=step), "rloo", "prompt")
        moved = learner.pass_rates() != before
        assert moved[:3].all()
        assert moved[3:].any() == shared


def test_rollouts_that_were_not_kept_cannot_train() -> None:
    learner = make_learner("skills", "mixed", size=20)
    groups = rolled(learner, [0, 1], 4)
    learner.keep([1])
    learner.update(groups[1:], "rloo", "prompt")
    with pytest.raises(ValueError, match="group 0 was not rolled out by this learner, or was not kept"):
        learner.update(groups, "rloo", "prompt")


# Randomness -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_run(kind: str) -> None:
    one, same, other = (played(make_learner(kind, "mixed", 200, seed=seed), 6) for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_the_same_rollout_of_a_prompt_has_the_same_luck_whatever_was_planned_before() -> None:
    """Rollouts 8 to 15 of prompt 3, made in one plan with others or alone and in parts."""
    one, other = (make_learner("skills", "mixed", 50, seed=5) for _ in range(2))
    whole = one.roll_out(Plan(0, 0, [PlannedGroup(0, "prompt-9", 8), PlannedGroup(1, "prompt-3", 16)]))[1]
    parts = [other.roll_out(Plan(step, 0, [PlannedGroup(step, "prompt-3", num)]))[0] for step, num in enumerate((8, 8))]
    assert whole.rewards == (*parts[0].rewards, *parts[1].rewards)
    assert whole.num_tokens == (*(parts[0].num_tokens or ()), *(parts[1].num_tokens or ()))


# The pool ---------------------------------------------------------------------------------------------------------


def test_the_pool_tells_something_about_its_prompts_and_not_everything() -> None:
    learner = make_learner("skills", "mixed", 4000)
    rates, pool = learner.pass_rates(), learner.pool
    assert pool.source is not None
    assert pool.difficulty is not None
    assert pool.features is not None
    assert set(pool.source) == {"family-0", "family-1", "family-2", "family-3"}
    assert set(pool.difficulty) == {0, 25, 50, 75, 100}
    assert -0.8 < np.corrcoef(pool.difficulty, rates)[0, 1] < -0.5
    columns = np.c_[pool.features, np.ones(4000)]
    residual = rates - columns @ np.linalg.lstsq(columns, rates, rcond=None)[0]
    assert 0.02 < 1 - residual.var() / rates.var() < 0.6


def test_held_out_prompts_start_like_the_pool() -> None:
    for kind in POOLS:
        learner = make_learner("skills", kind, 4000)
        assert learner.evaluate() == pytest.approx(learner.pass_rates().mean(), abs=0.05)


@pytest.mark.slow
def test_a_million_prompts() -> None:
    learner = make_learner("skills", "hard-heavy", 1_000_000, seed=1)
    curriculum = make("uniform", learner.pool, prompts_per_step=512, rollouts_per_step=4096)
    plan = curriculum.plan(0)
    curriculum.observe(learner.roll_out(plan))
    learner.update(curriculum.admitted(0), "rloo", "prompt")
    assert len(learner.pass_rates()) == 1_000_000


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pool", POOLS)
def test_a_uniform_run_learns(kind: str, pool: str) -> None:
    trace = [entry for entry in played(make_learner(kind, pool, 300), 40) if isinstance(entry, float)]
    assert trace[-1] > trace[0]


# Bad input --------------------------------------------------------------------------------------------------------


def test_misspelt_names_and_options() -> None:
    with pytest.raises(ValueError, match="unknown learner 'skill'; did you mean 'skills'"):
        make_learner("skill", "mixed")
    with pytest.raises(TypeError, match=r"unknown option 'learning_rat' for learner 'independent'.*'learning_rate'"):
        make_learner("independent", "mixed", learning_rat=1.0)
    with pytest.raises(ValueError, match="leave size out"):
        make_learner("skills", given_rates([0.5, 0.5]), 3)


@pytest.mark.parametrize(
    "option",
    [
        {"floor": 0.0},
        {"floor": 0.5},
        {"learning_rate": float("nan")},
        {"score_noise": -1.0},
        {"response_tokens": 0},
        {"context_length": 0},
        {"optimiser": "lion"},
        {"num_skills": 3},
        {"skills_per_prompt": 0},
        {"num_held_out": 0},
    ],
)
def test_options_out_of_range(option: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        make_learner("skills", "mixed", 20, **option)


def test_a_plan_of_another_pool() -> None:
    with pytest.raises(ValueError, match="unknown prompt id 'other'"):
        make_learner("skills", "mixed", 20).roll_out(Plan(0, 0, [PlannedGroup(0, "other", 2)]))
