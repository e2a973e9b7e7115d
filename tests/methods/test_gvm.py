"""GVM against vectors worked out from its formula (GV1, GV2), and the way an iteration's budget is cut into steps."""

import numpy as np
import pytest

from didact import Curriculum, make
from didact.allocation import largest_remainder
from didact.methods.gvm import allocation_weights
from didact.testing import MethodContract, SimulatedPolicy, VariantContract, outcomes_of, play, pool_of

SIZES = {"prompts_per_step": 4, "rollouts_per_step": 32}


class TestGVM(MethodContract):
    keeps_budget = True

    @staticmethod
    def build(pool, **options):
        return make("gvm", pool, **{"steps_per_iteration": 3, "pilot_rollouts": 4, **options})


class TestGVMWholePool(VariantContract):
    keeps_budget = True

    @staticmethod
    def build(pool, **options):
        return make("gvm", pool, **{"pilot_rollouts": 3, "max_pass_rate": 0.9, "prior": (0.5, 0.5), **options})


P = [0, 0.125, 0.5, 0.875, 1]


def test_gv1_equal_gradients() -> None:
    weights = allocation_weights(P, [0, 1, 1, 1, 1])
    assert weights / weights.sum() == pytest.approx([0, 0.440752, 0.226865, 0.171725, 0.160658], abs=5e-7)
    assert 40 * weights / weights.sum() == pytest.approx([0, 17.630, 9.075, 6.869, 6.426], abs=5e-4)
    assert largest_remainder(weights, 40).tolist() == [0, 18, 9, 7, 6]
    assert allocation_weights(P).tolist() == weights.tolist()


def test_gv2_gradient_lengths() -> None:
    weights = allocation_weights(P, [0, 5, 4, 3, 2])
    assert 40 * weights / weights.sum() == pytest.approx([0, 22.329, 9.195, 5.220, 3.256], abs=5e-4)
    assert largest_remainder(weights, 40).tolist() == [0, 23, 9, 5, 3]


def test_shape_of_the_weights() -> None:
    assert allocation_weights([0.125, 0.5, 1.0]) == pytest.approx([2.742, 1.411, 1.0], abs=5e-4)
    p = np.linspace(0.001, 1, 1000)
    weights = allocation_weights(p)
    assert p[weights.argmax()] == pytest.approx(np.sqrt(1e-3), abs=1e-3)
    assert weights.max() == pytest.approx(3.98, abs=5e-3)
    assert (np.diff(weights[31:]) < 0).all()
    assert allocation_weights([0.5], [0.0]).tolist() == [0.0]


def pilot(curriculum: Curriculum, passes: dict[str, int]) -> None:
    """Observe all pilots of step 0; prompts that are not named always fail."""
    while (plan := curriculum.plan(0)) and plan.groups[0].reason == "pilot":
        outcomes = []
        for group in plan:
            hits = passes.get(group.prompt_id, 0)
            rewards = [1.0] * hits + [0.0] * (group.num_rollouts - hits)
            outcomes += [o for o in outcomes_of(plan, lambda num, r=rewards: r) if o.group_id == group.group_id]
        curriculum.observe(outcomes)
        if not len(curriculum.memory.pending):
            return


def test_an_iteration_spends_the_split_of_its_budget_in_order() -> None:
    """GV1's four prompts and eight that never passed: the latter vanish, three steps hold the budget of the twelve."""
    curriculum = make("gvm", pool_of(12), steps_per_iteration=3, **SIZES)
    names = ["prompt-0", "prompt-1", "prompt-2", "prompt-3"]
    pilot(curriculum, dict(zip(names, [1, 4, 7, 8], strict=True)))
    sizes: dict[str, int] = {}
    seen: list[str] = []
    for step in range(3):
        plan = curriculum.plan(step)
        assert plan.num_rollouts == 32
        assert all(group.reason == "train" and group.num_rollouts >= 2 for group in plan)
        for group in plan:
            sizes[group.prompt_id] = sizes.get(group.prompt_id, 0) + group.num_rollouts
            seen += [group.prompt_id] if group.prompt_id not in seen else []
        curriculum.observe(outcomes_of(plan, lambda num: [0.0] * num))  # no update before the next pilot
    assert seen == [curriculum.pool.ids[position] for position in curriculum.memory.subset if position < 4]
    share = allocation_weights(P[1:])
    assert [sizes[name] for name in names] == pytest.approx((96 * share / share.sum()).tolist(), abs=3)
    assert curriculum.plan(3).groups[0].reason == "pilot"


@pytest.mark.parametrize("rollouts_per_step", [8, 9, 15, 32, 33])
def test_every_prompt_gets_its_share_up_to_the_cuts(rollouts_per_step: int) -> None:
    curriculum = make("gvm", pool_of(40), pilot_rollouts=8, prompts_per_step=4, rollouts_per_step=rollouts_per_step)
    policy = SimulatedPolicy({f"prompt-{index}": (index + 1) / 40 for index in range(40)})
    passes, spent, steps = np.zeros(40), np.zeros(40, dtype=int), 0
    for step in range(12):
        while plan := curriculum.plan(step):
            outcomes = policy.roll_out(plan)
            curriculum.observe(outcomes)
            positions = curriculum.pool.positions([group.prompt_id for group in plan])
            if plan.groups[0].reason == "pilot" and step > 0:  # the next iteration
                break
            if plan.groups[0].reason == "pilot":
                passes[positions] = [sum(outcome.rewards) for outcome in outcomes]
            else:
                assert plan.num_rollouts == rollouts_per_step
                spent[positions] += [group.num_rollouts for group in plan]
                steps += 1
    weights = allocation_weights(passes / 8)
    kept = weights > 0
    share = largest_remainder(weights[kept], 10 * rollouts_per_step, 2)
    assert not spent[~kept].any()
    # What is rounded at the cuts can make up a step of a tiny budget.
    assert steps == 10 if rollouts_per_step > 9 else steps in (9, 10, 11)
    assert np.abs(spent[kept] - share).sum() <= 2 * 10 + abs(10 - steps) * rollouts_per_step


def test_prompts_above_the_threshold_are_dropped() -> None:
    curriculum = make("gvm", pool_of(4), max_pass_rate=0.99, **SIZES)
    pilot(curriculum, {"prompt-0": 8, "prompt-1": 4})
    assert [group.prompt_id for group in curriculum.plan(0)] == ["prompt-1"]


def test_without_any_accepted_response_shares_are_equal() -> None:
    curriculum = make("gvm", pool_of(4), **SIZES)
    pilot(curriculum, {})
    assert [group.num_rollouts for group in curriculum.plan(0)] == [8] * 4


def test_pilots_are_counted_and_do_not_train() -> None:
    curriculum = make("gvm", pool_of(40), **SIZES)
    play(curriculum, SimulatedPolicy(), range(10))
    metrics = curriculum.metrics()
    assert metrics["rollouts_pilot"] == metrics["rollouts_discarded"] == 40 * 8
    assert metrics["rollouts_trained"] == 10 * 32


def test_gradients_of_accepted_responses_move_the_split() -> None:
    curriculum = make("gvm", pool_of(2), prompts_per_step=2, rollouts_per_step=40, gradient_norms=True)
    assert curriculum.wants_gradients
    plan = curriculum.plan(0)
    curriculum.observe(outcomes_of(plan, lambda num: [1.0, 0.0] * (num // 2)))
    for prompt, length in (("prompt-0", 1.0), ("prompt-1", 3.0)):
        lengths = np.array([length, 100.0] * 4)  # those of failures do not count
        curriculum.observe_gradients(prompt, np.diag(lengths**2), [True, False] * 4)
    state = curriculum.state_dict()
    again = make("gvm", pool_of(2), prompts_per_step=2, rollouts_per_step=40, gradient_norms=True)
    again.load_state_dict(state)
    for each in (curriculum, again):
        assert {group.prompt_id: group.num_rollouts for group in each.plan(0)} == {"prompt-0": 10, "prompt-1": 30}
    with pytest.raises(ValueError, match="Gram"):
        curriculum.observe_gradients("prompt-0", np.eye(3), [True, False])


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ({"pilot_rollouts": 0}, "pilot_rollouts"),
        ({"pilot_rollouts": 33}, "pilot_rollouts"),
        ({"steps_per_iteration": 0}, "steps_per_iteration"),
        ({"alpha": -1.0}, "alpha"),
        ({"beta": -1.0}, "beta"),
        ({"max_pass_rate": 0.0}, "max_pass_rate"),
    ],
)
def test_bad_options(option: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        make("gvm", pool_of(8), **{**SIZES, **option})


@pytest.mark.parametrize(("rate", "norm"), [([1.2], None), ([np.nan], None), ([0.5], [-1.0])])
def test_bad_rates_and_norms(rate: list[float], norm: list[float] | None) -> None:
    with pytest.raises(ValueError):
        allocation_weights(rate, norm)
