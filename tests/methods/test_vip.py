"""VIP: the prediction against Gaussian-process algebra by hand, and what follows from it."""

import zlib

import numpy as np
import pytest

from didact import Curriculum, GroupOutcome, PromptPool, make
from didact.gradient_variance import allocate_by_variance
from didact.testing import MethodContract, SimulatedPolicy, VariantContract, play, pool_of

SIZES = {"prompts_per_step": 4, "rollouts_per_step": 32}


def directions(ids):
    """A point on the circle for each prompt."""
    angles = np.array([zlib.crc32(prompt.encode()) % 628 / 100 for prompt in ids])
    return {"features": np.stack([np.cos(angles), np.sin(angles)], axis=1)}


class TestVIP(MethodContract):
    columns = staticmethod(directions)
    keeps_budget = True

    @staticmethod
    def build(pool, **options):
        return make("vip", pool, **options)


class TestVIPForDrGRPO(VariantContract):
    columns = staticmethod(directions)
    keeps_budget = True

    @staticmethod
    def build(pool, **options):
        return make("vip", pool, estimator="dr_grpo", history=8, max_rollouts=20, **options)


def told(curriculum: Curriculum, rewards: dict[str, list[float]]) -> Curriculum:
    plan = curriculum.plan(0)
    curriculum.observe(GroupOutcome(g.group_id, g.prompt_id, rewards[g.prompt_id]) for g in plan)
    return curriculum


def test_nothing_known_is_the_prior_and_equal_groups() -> None:
    pool = PromptPool(["a", "b"], features=[[0.0], [1.0]])
    curriculum = make("vip", pool, prompts_per_step=2, rollouts_per_step=16)
    assert curriculum.pass_rates().mean.tolist() == [0.5, 0.5]
    lower = make("vip", pool, prompts_per_step=2, rollouts_per_step=16, prior_mean=-1.0)
    assert lower.pass_rates().mean == pytest.approx([1 / (1 + np.e)] * 2)
    assert [group.num_rollouts for group in curriculum.plan(0)] == [8, 8]


def test_the_posterior_by_hand() -> None:
    """Two prompts at distance 1 (the median distance), 2 of 8 and 6 of 8; prior variance 4."""
    pool = PromptPool(["a", "b"], features=[[0.0], [1.0]])
    curriculum = make("vip", pool, prompts_per_step=2, rollouts_per_step=16)
    told(curriculum, {"a": [1.0] * 2 + [0.0] * 6, "b": [1.0] * 6 + [0.0] * 2})
    kernel = 4 * np.array([[1, np.exp(-0.5)], [np.exp(-0.5), 1]])
    logits = np.log([2.5 / 6.5, 6.5 / 2.5])
    noise = np.eye(2) * 4 / 8
    mean = kernel @ np.linalg.inv(kernel + noise) @ logits
    assert curriculum.pass_rates().mean == pytest.approx(1 / (1 + np.exp(-mean)))


def test_prompts_never_seen_are_predicted_from_their_neighbours() -> None:
    pool = PromptPool([f"p{i}" for i in range(200)], features=np.repeat([[0.0, 1.0], [1.0, 0.0]], 100, axis=0))
    rates = {f"p{i}": 0.05 if i < 100 else 0.5 for i in range(200)}
    curriculum = make("vip", pool, prompts_per_step=32, rollouts_per_step=256)
    play(curriculum, SimulatedPolicy(rates), range(2))
    fresh = np.flatnonzero(curriculum.pass_rates().num_rollouts == 0)
    predicted = curriculum.pass_rates().mean[fresh]
    assert (np.abs(predicted - [rates[f"p{i}"] for i in fresh]) < 0.1).all()
    plan = curriculum.plan(2)
    hard = [group.num_rollouts for group in plan if rates[group.prompt_id] < 0.1]
    even = [group.num_rollouts for group in plan if rates[group.prompt_id] > 0.1]
    assert max(hard) < min(even)


def test_what_it_believes_is_what_everybody_is_told() -> None:
    """200 prompts on a line, 120 of them visited; the process by hand, and the curriculum's own belief beside it."""
    feature = np.linspace(-1, 1, 200)
    truth = 1 / (1 + np.exp(-3 * feature))
    policy = SimulatedPolicy({f"prompt-{index}": rate for index, rate in enumerate(truth)})
    curriculum = make("vip", pool_of(200, features=feature[:, None]), prompts_per_step=20, rollouts_per_step=320)
    passes, rollouts = np.zeros(200), np.zeros(200)
    for step in range(6):
        outcomes = policy.roll_out(curriculum.plan(step))
        curriculum.observe(outcomes)
        curriculum.admitted(step)
        positions = curriculum.pool.positions([outcome.prompt_id for outcome in outcomes])
        passes[positions] = [sum(outcome.rewards) for outcome in outcomes]
        rollouts[positions] = [len(outcome.rewards) for outcome in outcomes]
    known = np.flatnonzero(rollouts)
    line = np.concatenate([feature[known], feature]).astype(np.float32).astype(np.float64)
    apart = (line[:, None] - line[None]) ** 2
    kernel = 4 * np.exp(-apart / (2 * np.median(apart[apart > 1e-9])))
    across, inside = kernel[120:, :120], np.linalg.inv(kernel[:120, :120] + np.diag(4 / rollouts[known]))
    logits = np.log((passes + 0.5) / (rollouts - passes + 0.5))[known]
    own = 1 / (1 + np.exp(-across @ inside @ logits))
    digest, believed = curriculum.state_dict()["digest"], curriculum.pass_rates()
    assert believed.mean == pytest.approx(own, abs=1e-6)
    assert np.abs(believed.mean - truth).mean() == pytest.approx(np.abs(own - truth).mean(), abs=1e-6)
    never = rollouts == 0
    assert np.abs(believed.mean - truth)[never].mean() < np.abs(curriculum.belief.mean() - truth)[never].mean() / 4
    variance = 4 - (across @ inside * across).sum(axis=1)
    draws = np.log(own / (1 - own))[:, None] + np.sqrt(variance)[:, None] * np.random.default_rng(0).normal(size=20000)
    assert believed.std == pytest.approx((1 / (1 + np.exp(-draws))).std(axis=1), rel=0.03)
    assert curriculum.state_dict()["digest"] == digest


def test_a_plan_says_what_it_was_drafted_by() -> None:
    """A batch is predicted as a whole, and the plan has the very rates that its rollouts follow from."""
    curriculum = make("vip", pool_of(40, difficulty=np.arange(40)), **SIZES)
    play(curriculum, SimulatedPolicy({f"prompt-{index}": index / 40 for index in range(40)}), range(12))
    plan = curriculum.plan(12)
    rates = [group.pass_rate for group in plan]
    assert len(set(rates)) > 1
    assert [group.num_rollouts for group in plan] == allocate_by_variance(rates, 32, 2, 32).tolist()


def test_a_pool_is_predicted_in_blocks() -> None:
    """700 prompts in blocks of 256, which condition on their own visits: no answer depends on the others' by much."""
    rates = np.linspace(0.1, 0.9, 700)
    policy = SimulatedPolicy({f"prompt-{index}": rate for index, rate in enumerate(rates)})
    sizes = {"prompts_per_step": 50, "rollouts_per_step": 400}
    curriculum = make("vip", pool_of(700, difficulty=rates), history=100, **sizes)
    play(curriculum, policy, range(10))
    believed = curriculum.pass_rates()
    assert len(believed.mean) == len(believed.std) == 700
    assert np.abs(believed.mean - rates).mean() < 0.1
    assert (believed.std > 0).all()


def test_other_columns_stand_in_for_features() -> None:
    num = 60
    source = ["easy" if index % 3 else "hard" for index in range(num)]
    rates = {f"prompt-{index}": 0.9 if index % 3 else 0.1 for index in range(num)}
    unknown = [np.nan] * num
    for columns in ({"source": source}, {"source": source, "prompt_tokens": [10] * num, "difficulty": unknown}):
        curriculum = make("vip", pool_of(num, **columns), prompts_per_step=20, rollouts_per_step=160)
        play(curriculum, SimulatedPolicy(rates), range(1))
        fresh = np.flatnonzero(curriculum.pass_rates().num_rollouts == 0)
        assert (np.abs(curriculum.pass_rates().mean[fresh] - [rates[f"prompt-{i}"] for i in fresh]) < 0.12).all()
    with pytest.raises(ValueError, match="features="):
        make("vip", pool_of(8), **SIZES)


def test_a_prompt_without_a_number_is_an_average_one() -> None:
    pool = PromptPool(["a", "b", "c"], difficulty=[0.0, 1.0, np.nan])
    curriculum = make("vip", pool, prompts_per_step=3, rollouts_per_step=24)
    told(curriculum, {"a": [1.0] * 8, "b": [0.0] * 8, "c": [0.0] * 8})
    predicted = curriculum.pass_rates().mean
    assert predicted[1] < predicted[2] < predicted[0]


def test_a_later_visit_replaces_an_earlier_one_and_the_history_is_bounded() -> None:
    pool = PromptPool(["a"], features=[[0.0]])
    curriculum = make("vip", pool, prompts_per_step=1, rollouts_per_step=8)
    for step, reward in enumerate([0.0, 1.0]):
        group = curriculum.plan(step).groups[0]
        curriculum.observe([GroupOutcome(group.group_id, group.prompt_id, [reward] * 8)])
    assert curriculum.pass_rates().mean[0] > 0.8
    many = make("vip", pool_of(40, difficulty=np.arange(40)), history=6, **SIZES)
    play(many, SimulatedPolicy(), range(5))
    many.plan(5)
    assert len(many.memory.recent) == 6
    assert set(many.memory.visits.steps(many.memory.recent)) == {3, 4}


def test_errored_and_truncated_rollouts_tell_nothing() -> None:
    pool = PromptPool(["a"], features=[[0.0]])
    for truncated, more in (("exclude", False), ("observe", True)):
        curriculum = make("vip", pool, prompts_per_step=1, rollouts_per_step=4, truncated=truncated)
        group = curriculum.plan(0).groups[0]
        cut = [True, True, False, False]
        curriculum.observe([GroupOutcome(group.group_id, "a", [1.0, 1.0, np.nan, None], truncated=cut)])
        assert (curriculum.pass_rates().mean[0] > 0.5) == more


@pytest.mark.parametrize(
    "option",
    [
        {"estimator": "grpo"},
        {"min_rollouts": 1},
        {"min_rollouts": 9},
        {"max_rollouts": 7},
        {"history": 0},
        {"prior_std": 0.0},
    ],
)
def test_bad_options(option: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        make("vip", pool_of(8, difficulty=np.arange(8)), **SIZES, **option)
