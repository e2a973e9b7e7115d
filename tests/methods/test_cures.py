"""CurES against vectors worked out from its formulas (CV1 to CV9), and the contract in each of its variants."""

from typing import Any

import numpy as np
import pytest

from didact import Curriculum, GroupOutcome, PromptPool, make
from didact.methods import cures_released
from didact.methods.cures import sampling_distribution
from didact.plan import Plan
from didact.testing import MethodContract, SimulatedPolicy, VariantContract, outcomes_of, play, pool_of

SIZES = {"prompts_per_step": 4, "rollouts_per_step": 32}


class TestCurES(MethodContract):
    keeps_budget = True

    @staticmethod
    def build(pool: PromptPool, **options: Any) -> Curriculum:
        return make("cures", pool, steps_per_iteration=3, **options)


class TestCurESWholePool(VariantContract):
    keeps_budget = True

    @staticmethod
    def build(pool: PromptPool, **options: Any) -> Curriculum:
        return make("cures", pool, **options)


class TestCurESTrainingOnPilots(VariantContract):
    keeps_budget = True

    @staticmethod
    def build(pool: PromptPool, **options: Any) -> Curriculum:
        return make("cures", pool, steps_per_iteration=2, train_on_pilot=True, **options)


class TestCurESThatFades(VariantContract):
    keeps_budget = True

    @staticmethod
    def build(pool: PromptPool, **options: Any) -> Curriculum:
        return make("cures", pool, steps_per_iteration=3, reset=False, discount=0.8, **options)


class TestCurESWithWindow(VariantContract):
    keeps_budget = True

    @staticmethod
    def build(pool: PromptPool, **options: Any) -> Curriculum:
        return make("cures", pool, steps_per_iteration=3, reset=False, window=2, **options)


class TestCurESWithReplacement(VariantContract):
    keeps_budget = True

    @staticmethod
    def build(pool: PromptPool, **options: Any) -> Curriculum:
        return make("cures", pool, steps_per_iteration=3, with_replacement=True, max_rollouts=20, **options)


class TestCurESAsReleased(VariantContract):
    within_budget = False  # the released code multiplies its budget, see didact.methods.cures_released

    @staticmethod
    def build(pool: PromptPool, **options: Any) -> Curriculum:
        return make("cures", pool, steps_per_iteration=3, as_released=True, **options)


# The distribution and the posterior ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [
        (1.0, [0.187150, 0.206569, 0.212562, 0.206569, 0.187150]),
        (0.1, [0.091407, 0.245325, 0.326536, 0.245325, 0.091407]),
        (0.05, [0.034284, 0.246956, 0.437519, 0.246956, 0.034284]),
        (0.01, [0.000003, 0.051404, 0.897187, 0.051404, 0.000003]),
    ],
)
def test_cv1_distribution(temperature: float, expected: list[float]) -> None:
    p_hat = (np.arange(5) + 1) / 6
    assert sampling_distribution(p_hat, temperature) == pytest.approx(expected, abs=5e-7)


def test_cv2_six_prompts() -> None:
    p_hat = (np.array([0, 1, 2, 3, 4, 2]) + 1) / 6
    expected = [0.068906, 0.184937, 0.246157, 0.184937, 0.068906, 0.246157]
    assert sampling_distribution(p_hat, 0.1) == pytest.approx(expected, abs=5e-7)


@pytest.mark.parametrize(("prior", "means"), [((1.0, 1.0), (1 / 3, 0.5)), ((0.0, 0.0), (0.25, 0.5))])
def test_cv3_update(prior: tuple[float, float], means: tuple[float, float]) -> None:
    """Pilot 1 of 4, then 4 of 6."""
    curriculum = make("cures", pool_of(1), prompts_per_step=1, rollouts_per_step=6, prior=prior)
    curriculum.observe(outcomes_of(curriculum.plan(0), lambda num: [1.0] + [0.0] * (num - 1)))
    assert curriculum.pass_rates().mean == pytest.approx([means[0]])
    curriculum.observe(outcomes_of(curriculum.plan(0), lambda num: [1.0] * 4 + [0.0] * (num - 4)))
    assert curriculum.pass_rates().mean == pytest.approx([means[1]])


# As released --------------------------------------------------------------------------------------------------


def test_cv1_code_row() -> None:
    expected = [0.200359, 0.200084, 0.199946, 0.199849, 0.199762]
    assert cures_released.distribution(np.arange(5), 4) == pytest.approx(expected, abs=5e-7)


def test_cv7_a_shard_of_eight() -> None:
    """Eight shards alike, so that each of the eight GPUs sees the vector's shard."""
    accepted = np.tile([0, 0, 1, 2, 3, 4, 4, 1], 8)
    copies = cures_released.copies(accepted, 4, 64)
    assert copies.reshape(8, 8).tolist() == [[0, 0, 15, 18, 15, 0, 0, 15]] * 8
    aligned = cures_released.align(copies[:8], 8)
    assert aligned.tolist() == [0, 0, 15, 19, 15, 0, 0, 15]
    assert aligned.sum() * cures_released.ROLLOUTS_PER_COPY == 256


def test_as_released_draws_from_all_prompts_and_drops_those_of_size_0() -> None:
    """The authors' pilot counts, 0 to 4 of 4, of 9,994 prompts; batches of 1,024 with a stated budget of 8 a prompt."""
    shares = np.array([43.6, 14.3, 15.2, 15.7, 11.2])
    rng = np.random.default_rng(0)
    accepted = rng.permutation(np.repeat(np.arange(5), np.round(9994 * shares / shares.sum()).astype(int)))
    batches = [cures_released.batch(accepted, 4, 1024, 8192, rng) for _ in range(100)]
    assert np.mean([len(chosen) for chosen, _ in batches]) == pytest.approx(463, abs=4)
    assert np.mean([sizes.sum() for _, sizes in batches]) == pytest.approx(26_850, rel=0.01)
    assert all((sizes > 0).all() and sizes.sum() % 32 == 0 for _, sizes in batches)


def test_as_released_trains_on_mixed_pilots_only_and_never_updates() -> None:
    curriculum = make("cures", pool_of(40), as_released=True, **SIZES)
    policy = SimulatedPolicy({f"prompt-{i}": [0.0, 0.5, 1.0][i % 3] for i in range(40)})
    pilot_passes: dict[str, float] = {}
    sizes: dict[str, set[int]] = {}
    for step in range(10):
        while plan := curriculum.plan(step):
            outcomes = policy.roll_out(plan)
            curriculum.observe(outcomes)
            for group, outcome in zip(plan, outcomes, strict=True):
                if group.reason == "pilot":
                    pilot_passes[group.prompt_id] = sum(outcome.rewards)
                else:
                    sizes.setdefault(group.prompt_id, set()).add(group.num_rollouts // 4)
    assert all(0 < pilot_passes[prompt] < 4 for prompt in sizes)
    assert all(max(seen) - min(seen) <= 8 for seen in sizes.values())  # fixed but for the alignment to 8 GPUs
    assert (curriculum.advantage, curriculum.loss_weighting) == ("grpo", "token")


def test_as_released_counts_a_pilot_that_comes_in_parts() -> None:
    from dataclasses import replace

    whole, parts = (make("cures", pool_of(8), as_released=True, **SIZES) for _ in range(2))
    outcomes = SimulatedPolicy().roll_out(whole.plan(0))
    whole.observe(outcomes)
    parts.plan(0)
    for half in (slice(None, 2), slice(2, None)):
        parts.observe(replace(outcome, rewards=outcome.rewards[half], num_tokens=None) for outcome in outcomes)
    assert whole.plan(0) == parts.plan(0)


def test_as_released_skips_a_batch_when_no_pilot_was_mixed() -> None:
    curriculum = make("cures", pool_of(8), as_released=True, **SIZES)
    curriculum.observe(outcomes_of(curriculum.plan(0), lambda num: [1.0] * num))
    assert not curriculum.plan(0)


# Iterations ---------------------------------------------------------------------------------------------------


def plans_by_step(curriculum: Curriculum, policy: SimulatedPolicy, steps: int) -> list[list[Plan]]:
    plans: list[list[Plan]] = []
    for step in range(steps):
        plans.append([])
        while plan := curriculum.plan(step):
            plans[-1].append(plan)
            curriculum.observe(policy.roll_out(plan))
        curriculum.admitted(step)
    return plans


def test_a_pilot_for_every_prompt_of_the_subset_then_batches_from_it() -> None:
    curriculum = make("cures", pool_of(60), steps_per_iteration=5, **SIZES)
    plans = plans_by_step(curriculum, SimulatedPolicy(), 15)
    subsets = []
    for start in (0, 5, 10):
        pilots = [group for plan in plans[start] for group in plan if group.reason == "pilot"]
        assert [group.num_rollouts for group in pilots] == [4] * 20
        subsets.append({group.prompt_id for group in pilots})
        assert len(subsets[-1]) == 20
        for step in range(start, start + 5):
            batch = plans[step][-1]
            assert {group.prompt_id for group in batch} <= subsets[-1]
            assert batch.num_rollouts == 32
            assert len(batch) == 4
            assert all(group.num_rollouts >= 2 for group in batch)
            assert len(plans[step]) == (4 if step == start else 1)  # 20 pilots of 4 fit 32 rollouts at a time
    assert len(set.union(*subsets)) == 60, "the three subsets are disjoint"
    metrics = curriculum.metrics()
    assert metrics["rollouts_pilot"] == metrics["rollouts_discarded"] == 3 * 20 * 4
    assert metrics["rollouts_trained"] == 15 * 32


def test_pilots_train_when_asked_to() -> None:
    curriculum = make("cures", pool_of(20), steps_per_iteration=5, train_on_pilot=True, **SIZES)
    plans = plans_by_step(curriculum, SimulatedPolicy(), 8)
    assert [step[0].groups[0].reason for step in plans] == ["pilot"] * 3 + ["train"] * 5
    assert all(len(step) == 1 for step in plans)
    metrics = curriculum.metrics()
    assert metrics["rollouts_trained"] == metrics["rollouts"] == 20 * 4 + 5 * 32


def test_an_iteration_forgets_what_the_last_knew() -> None:
    curriculum = make("cures", pool_of(8), steps_per_iteration=2, subset_size=8, **SIZES)
    plans_by_step(curriculum, SimulatedPolicy(default=1.0), 2)
    assert curriculum.pass_rates().mean.min() > 0.8
    curriculum.plan(2)
    assert curriculum.pass_rates().mean == pytest.approx([0.5] * 8)
    assert curriculum.pass_rates().num_rollouts.sum() == 8 * 4 + 2 * 32, "what was spent stays counted"


def test_without_reset_only_prompts_short_of_evidence_are_piloted() -> None:
    curriculum = make("cures", pool_of(8), steps_per_iteration=2, subset_size=8, reset=False, **SIZES)
    plans = plans_by_step(curriculum, SimulatedPolicy(), 6)
    assert [plan.groups[0].reason for step in plans for plan in step].count("pilot") == 1


def test_the_online_update_moves_the_next_draw() -> None:
    """Two prompts of ten pass half of the time; the other eight, which the pilot liked too, turn out to pass always."""
    curriculum = make(
        "cures", pool_of(10), temperature=0.02, steps_per_iteration=50, prompts_per_step=2, rollouts_per_step=64
    )
    curriculum.observe(outcomes_of(curriculum.plan(0), lambda num: [1.0, 0.0] * (num // 2)))
    assert curriculum.pass_rates().mean == pytest.approx([0.5] * 10)
    policy = SimulatedPolicy({"prompt-3": 0.5, "prompt-7": 0.5}, default=1.0)
    plans = plans_by_step(curriculum, policy, 40)
    late = [group.prompt_id for step in plans[20:] for group in step[-1]]
    assert sum(prompt in ("prompt-3", "prompt-7") for prompt in late) / len(late) > 0.8


def test_rollouts_go_where_the_variance_is() -> None:
    curriculum = make("cures", pool_of(2), prompts_per_step=2, rollouts_per_step=24, pilot_rollouts=10)
    plan = curriculum.plan(0)
    rewards = iter([[1.0] * 5 + [0.0] * 5, [1.0] * 10])
    curriculum.observe(outcomes_of(plan, lambda num: next(rewards)))
    sizes = {group.prompt_id: group.num_rollouts for group in curriculum.plan(0)}
    assert sizes == {"prompt-0": 24}  # 10 of 10 has sigma 0, and a drawn prompt that gets nothing is no group


def test_pseudo_counts_let_nobody_starve() -> None:
    """CV8: with posterior means 1/3, 1/2, 1/6."""
    curriculum = make("cures", pool_of(3), prompts_per_step=3, rollouts_per_step=24, prior=(1.0, 1.0))
    passes = dict(zip(("prompt-0", "prompt-1", "prompt-2"), (1, 2, 0), strict=True))
    curriculum.observe(_piloted(curriculum.plan(0), passes))
    assert {group.prompt_id: group.num_rollouts for group in curriculum.plan(0)} == {
        "prompt-0": 8,
        "prompt-1": 9,
        "prompt-2": 7,
    }


def test_cv8_raw_counts() -> None:
    curriculum = make("cures", pool_of(3), prompts_per_step=3, rollouts_per_step=24)
    passes = dict(zip(("prompt-0", "prompt-1", "prompt-2"), (1, 2, 0), strict=True))
    curriculum.observe(_piloted(curriculum.plan(0), passes))
    assert {group.prompt_id: group.num_rollouts for group in curriculum.plan(0)} == {"prompt-0": 11, "prompt-1": 13}


def test_where_every_pilot_was_unanimous_the_batch_is_rolled_out_in_equal_groups() -> None:
    curriculum = make("cures", pool_of(8), **SIZES)
    curriculum.observe(outcomes_of(curriculum.plan(0), lambda num: [0.0] * num))
    assert [group.num_rollouts for group in curriculum.plan(0)] == [8, 8, 8, 8]


@pytest.mark.parametrize(
    ("options", "silent"),
    [
        ({}, (0.02, 0.15)),
        ({"temperature": 0.1}, (0.02, 0.10)),
        ({"temperature": 0.1, "min_rollouts": 2}, (0.07, 0.18)),
        ({"temperature": 0.1, "min_rollouts": 2, "prior": (1.0, 1.0)}, (0.55, 0.80)),
    ],
)
def test_where_the_training_rollouts_go_on_a_hard_pool(options: dict[str, Any], silent: tuple[float, float]) -> None:
    """Three quarters never pass, a tenth always does. Without pseudo-counts few rollouts train in silent groups."""
    rng = np.random.default_rng(0)
    rates = np.concatenate([np.zeros(768), np.ones(102), rng.uniform(0.05, 0.95, 154)])
    curriculum = make("cures", pool_of(1024), prompts_per_step=16, rollouts_per_step=128, **options)
    spent = {True: 0, False: 0}
    for step in range(60):
        while plan := curriculum.plan(step):
            outcomes = []
            for group in plan:
                rewards = (rng.random(group.num_rollouts) < rates[int(group.prompt_id.split("-")[1])]).astype(float)
                outcomes.append(GroupOutcome(group.group_id, group.prompt_id, rewards.tolist()))
                if group.reason != "pilot":
                    spent[bool(rewards.std() == 0)] += group.num_rollouts
            curriculum.observe(outcomes)
        curriculum.admitted(step)
    assert sum(spent.values()) == 60 * 128
    assert silent[0] <= spent[True] / sum(spent.values()) <= silent[1]


def _piloted(plan: Plan, passes: dict[str, int]) -> list[GroupOutcome]:
    """Pilots of which so many rollouts passed."""
    return [
        GroupOutcome(group.group_id, group.prompt_id, [float(k < passes[group.prompt_id]) for k in range(4)])
        for group in plan
    ]


def test_gradients_of_the_pilot_move_the_allocation() -> None:
    curriculum = make("cures", pool_of(2), prompts_per_step=2, rollouts_per_step=24, gradient_norms=True)
    assert curriculum.wants_gradients
    curriculum.observe(outcomes_of(curriculum.plan(0), lambda num: [1.0, 0.0] * (num // 2)))
    for prompt, length in (("prompt-0", 1.0), ("prompt-1", 3.0)):
        curriculum.observe_gradients(prompt, np.eye(4) * length**2, [True, False, True, False])
    state = curriculum.state_dict()
    sizes = {group.prompt_id: group.num_rollouts for group in curriculum.plan(0)}
    assert sizes == {"prompt-0": 6, "prompt-1": 18}
    again = make("cures", pool_of(2), prompts_per_step=2, rollouts_per_step=24, gradient_norms=True)
    again.load_state_dict(state)
    assert {group.prompt_id: group.num_rollouts for group in again.plan(0)} == sizes
    with pytest.raises(ValueError, match="unknown prompt"):
        curriculum.observe_gradients("nobody", np.eye(4), [True] * 4)


def test_drawing_with_replacement_adds_shares_up() -> None:
    """One prompt dominates: at a low temperature it takes nearly every share of the batch."""
    curriculum = make("cures", pool_of(4), temperature=0.005, pilot_rollouts=8, with_replacement=True, **SIZES)
    plan = curriculum.plan(0)
    while plan.groups and plan.groups[0].reason == "pilot":
        curriculum.observe(
            outcomes_of(plan, lambda num: [1.0] * num)
            if "prompt-2" not in {group.prompt_id for group in plan}
            else [
                outcome
                for group in plan
                for outcome in outcomes_of(
                    Plan(0, 0, [group]),
                    lambda num, half=group.prompt_id == "prompt-2": [1.0, 0.0] * 4 if half else [1.0] * 8,
                )
            ]
        )
        plan = curriculum.plan(0)
    assert [group.prompt_id for group in plan] == ["prompt-2"]
    assert plan.num_rollouts == 32
    curriculum.observe(outcomes_of(plan, lambda num: [1.0, 0.0] * 16))
    assert [group.weight for group in curriculum.admitted(0)] == [4.0]  # all four draws of the batch were of it


def test_a_prompt_drawn_k_times_has_k_shares_and_weighs_k_times() -> None:
    """Eq. 16 sums over draws; all pilots are half right, so a draw's share is 32 / 4 rollouts."""
    curriculum = make("cures", pool_of(5), with_replacement=True, seed=1, **SIZES)
    seen = set()
    for step in range(20):
        plan = curriculum.plan(step)
        while plan and plan.groups[0].reason == "pilot":
            curriculum.observe(outcomes_of(plan, lambda num: [1.0, 0.0] * (num // 2)))
            plan = curriculum.plan(step)
        curriculum.observe(outcomes_of(plan, lambda num: [1.0, 0.0] * (num // 2)))
        weights = {group.group_id: group.weight for group in curriculum.admitted(step)}
        assert weights == {group.group_id: group.num_rollouts / 8 for group in plan}
        assert sum(weights.values()) == 4
        seen.update(weights.values())
    assert seen >= {1.0, 2.0}


def test_without_replacement_and_as_released_groups_weigh_alike() -> None:
    for options in ({}, {"with_replacement": True, "as_released": True}):
        curriculum = make("cures", pool_of(20), **options, **SIZES)
        assert not curriculum.weighs_groups
        trace = play(curriculum, SimulatedPolicy(), range(4))[1]
        assert {row[4] for entry in trace if entry[0] == "admitted" for row in entry[2:]} == {1.0}


def test_bounds_hold() -> None:
    curriculum = make("cures", pool_of(40), min_rollouts=5, max_rollouts=9, **SIZES)
    for step in plans_by_step(curriculum, SimulatedPolicy(default=0.9), 10):
        assert all(5 <= group.num_rollouts <= 9 for group in step[-1])


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"temperature": 0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"pilot_rollouts": 0}, "pilot_rollouts"),
        ({"pilot_rollouts": 33}, "pilot_rollouts"),
        ({"steps_per_iteration": 0}, "steps_per_iteration"),
        ({"subset_size": 0}, "subset_size"),
        ({"advantage": "gae"}, "advantage"),
        ({"min_rollouts": -1}, "min_rollouts"),
        ({"min_rollouts": 9}, "min_rollouts"),
        ({"max_rollouts": 7}, "max_rollouts"),
        ({"min_rollouts": 8, "max_rollouts": 8, "rollouts_per_step": 33}, "max_rollouts"),
        ({"rollouts_per_step": 100, "prompts_per_step": 50, "min_rollouts": 1, "max_rollouts": 0}, "max_rollouts"),
        ({"prior": (-1, 1)}, "prior"),
        ({"prior": (float("nan"), 1)}, "prior"),
        ({"discount": 0}, "discount"),
        ({"discount": 0.9, "window": 3}, "discount"),
        ({"truncated": "drop"}, "truncated"),
        ({"context": 0}, "context"),
        ({"seed": 1.5}, "seed"),
    ],
)
def test_options_out_of_range(options: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        make("cures", pool_of(100), **{**SIZES, **options})


def test_play_matches_the_loop_of_the_readme() -> None:
    _curriculum, trace = play(make("cures", pool_of(40), **SIZES), SimulatedPolicy(), range(2))
    assert [entry[0] for entry in trace].count("admitted") == 2


def test_rewards_between_0_and_1_are_weighed_by_their_spread():
    """Always 0.5 has no spread, though its pass rate is one half; 0 or 1 at random has the largest."""
    sizes = {"prompts_per_step": 2, "rollouts_per_step": 16, "pilot_rollouts": 8, "prior": (1.0, 1.0)}
    curriculum = make("cures", PromptPool(["still", "mixed"]), **sizes)
    plan = curriculum.plan(0)
    rewards = {"still": [0.5] * 8, "mixed": [0.0, 1.0] * 4}
    curriculum.observe([GroupOutcome(group.group_id, group.prompt_id, rewards[group.prompt_id]) for group in plan])
    planned = {group.prompt_id: group.num_rollouts for group in curriculum.plan(0)}
    assert curriculum.pass_rates().mean.tolist() == [0.5, 0.5]
    assert planned["mixed"] > planned["still"]
    # The prior counts as one reward of 1 and one of 0: variance (8 * 0.25 + 1) / 10 - 0.25 = 0.05, and 0.25.
    assert curriculum.belief.spread() == pytest.approx([0.05**0.5, 0.5])


def test_what_comes_late_from_before_a_reset_stays_forgotten():
    """As if it had come in time: believed, then forgotten when its prompt was taken up again."""
    for reset, evidence in ((True, 0.0), (False, 16.0)):
        options = {"steps_per_iteration": 1, "subset_size": 4, "pilot_rollouts": 2, "reset": reset}
        curriculum = make("cures", pool_of(4), prompts_per_step=2, rollouts_per_step=8, **options)
        held = outcomes_of(curriculum.plan(0), lambda num: [1.0] * num)
        held += outcomes_of(curriculum.plan(0), lambda num: [1.0] * num)
        curriculum.plan(1)
        curriculum.observe(held)
        assert curriculum.pass_rates().evidence.sum() == evidence
        assert curriculum.metrics()["rollouts"] == 16
