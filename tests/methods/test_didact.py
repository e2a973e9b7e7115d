"""Didact, the default: what it spends rollouts on, when it is uniform, and what it learns from what comes back."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from didact import Curriculum, GroupOutcome, Plan, PromptPool, make
from didact.sharded import ShardedPool
from didact.state import seal
from didact.testing import CurriculumContract, SimulatedPolicy, VariantContract, outcomes_of, play, pool_of

SIZES: dict[str, Any] = {"prompts_per_step": 8, "rollouts_per_step": 64}
FOURS: dict[str, Any] = {"prompts_per_step": 16, "rollouts_per_step": 64, "group_size": None}


def columns_of(ids: Sequence[str]) -> dict[str, Any]:
    last = np.array([ord(name[-1]) for name in ids])
    return {
        "source": [f"source-{each % 3}" for each in last],
        "difficulty": np.where(last % 4 == 3, np.nan, last % 4),
        "prompt_tokens": 10 + last,
        "features": np.stack([np.cos(last), np.sin(last)], axis=1),
        "pass_rate": last % 5 / 5,
    }


class TestDidact(CurriculumContract):
    build = partial(make, "didact")
    keeps_budget = True


class TestDidactThatIsToldAll(VariantContract):
    """Groups as the budget says, and never uniform."""

    keeps_budget = True
    columns = staticmethod(columns_of)
    build = partial(make, "didact", group_size=None, leave_below=0.0, candidates=2, price=1.0)


class TestDidactThatIsSoonUniform(VariantContract):
    keeps_budget = True
    build = partial(make, "didact", leave_below=0.6)


# What it spends rollouts on -------------------------------------------------------------------------------------

DEAD, SOLVED, LIVE = 0, 1, 2
RATES = np.array([0.0, 1.0, 0.5])


def hard(size: int = 1000, *, labels: bool) -> tuple[PromptPool, np.ndarray, SimulatedPolicy]:
    """A pool of which three quarters never pass, its kinds of prompts, and its policy."""
    kinds = np.random.default_rng(0).choice(3, size, p=[0.75, 0.05, 0.2])
    pool = pool_of(size, source=np.array(["dead", "solved", "live"])[kinds].tolist()) if labels else pool_of(size)
    return pool, kinds, SimulatedPolicy(dict(zip(pool.ids, RATES[kinds].tolist(), strict=True)))


def share_of_live(curriculum: Curriculum, kinds: np.ndarray) -> float:
    spent = curriculum.pass_rates().num_rollouts
    return float(spent[kinds == LIVE].sum() / spent.sum())


def test_on_a_hard_pool_rollouts_go_to_live_prompts() -> None:
    pool, kinds, policy = hard(labels=True)
    curriculum, _ = play(make("didact", pool, **SIZES), policy, range(30))
    assert share_of_live(curriculum, kinds) > 0.8  # a plain draw: 0.2
    plain, _ = play(make("uniform", pool, **SIZES), policy, range(30))
    gained = curriculum.metrics()["share_with_signal_so_far"] / plain.metrics()["share_with_signal_so_far"]
    assert gained > 2  # though of its groups of 2 every other one is silent at the best


def test_where_nothing_is_known_of_prompts_their_own_outcomes_tell() -> None:
    """On a pool of which each prompt is looked at several times."""
    pool, kinds, policy = hard(200, labels=False)
    curriculum, _ = play(make("didact", pool, **SIZES), policy, range(60))
    assert share_of_live(curriculum, kinds) > 0.7


def test_whatever_is_believed_no_prompt_is_drawn_more_than_its_passes_allow() -> None:
    """Candidates come in passes of distinct prompts: in 40 steps of 4 candidates for each of 32 places 5,120 looks, of
    which each is of all 100 prompts or fewer: 40 times at most, and 52 without that limit."""
    pool, kinds, policy = hard(100, labels=True)
    curriculum, _ = play(make("didact", pool, candidates=4, **SIZES), policy, range(40))
    groups = curriculum.pass_rates().num_rollouts / 2
    assert groups.max() <= 53
    assert groups[kinds == LIVE].max() > 35


def test_one_candidate_a_place_is_a_plain_draw() -> None:
    pool, _, policy = hard(64, labels=True)
    curriculum, _ = play(make("didact", pool, candidates=1, leave_below=0.0, **FOURS), policy, range(16))
    assert set(curriculum.pass_rates().num_rollouts.tolist()) == {16}


def test_a_share_of_places_goes_to_the_next_of_the_pass() -> None:
    pool, kinds, policy = hard(labels=True)
    curriculum = make("didact", pool, group_size=4, coverage=0.25, **SIZES)
    reasons: Counter[str] = Counter()
    for step in range(41):
        plan = curriculum.plan(step)
        reasons.update(group.reason for group in plan if step)
        curriculum.observe(policy.roll_out(plan))
        curriculum.admitted(step)
    assert sum(reasons.values()) == 640
    assert 120 < reasons["coverage"] < 200
    assert (curriculum.pass_rates().num_rollouts[kinds == DEAD] > 0).sum() > 80


def with_lengths(pool: PromptPool, plan: Plan) -> list[GroupOutcome]:
    """Outcomes at a pass rate of one half, 20 tokens long for a prompt of source "short", else 500."""
    short = {prompt for prompt, source in zip(pool.ids, pool.source, strict=True) if source == "short"}
    return [
        replace(outcome, num_tokens=[20 if outcome.prompt_id in short else 500] * len(outcome.rewards))
        for outcome in SimulatedPolicy(default=0.5).roll_out(plan)
    ]


@pytest.mark.parametrize(("price", "least", "most"), [(0.0, 0.1, 0.85), (0.5, 0.9, 1.0)])
def test_of_equal_signal_the_shorter_responses_are_preferred(price: float, least: float, most: float) -> None:
    pool = pool_of(1000, source=["short", "long"] * 500)
    curriculum = make("didact", pool, price=price, leave_below=0.0, seed=1, **SIZES)
    for step in range(20):
        curriculum.observe(with_lengths(pool, curriculum.plan(step)))
        curriculum.admitted(step)
    assert least < curriculum.pass_rates().num_rollouts[::2].sum() / (20 * 64) < most


def test_kinds_that_teach_alike_both_train() -> None:
    """Whatever kind came first. More is known of what was tried, so a run can prefer one of them for a while."""
    shares = []
    for seed in range(6):
        pool, policy = pool_of(4000, source=["a", "b"] * 2000), SimulatedPolicy(default=0.5, seed=seed)
        curriculum = make("didact", pool, price=0.0, leave_below=0.0, seed=seed, **SIZES)
        curriculum, _ = play(curriculum, policy, range(30))
        spent = curriculum.pass_rates().num_rollouts
        shares.append(spent[::2].sum() / spent.sum())
    assert 0.35 < np.mean(shares) < 0.65
    assert 0.1 < min(shares) < max(shares) < 0.9


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ({}, {2: 32}),
        ({"group_size": 4}, {4: 16}),
        ({"group_size": None}, {8: 8}),
        ({"group_size": 16}, {8: 8}),  # the budget's groups are smaller already
        ({"group_size": 5}, {5: 8, 6: 4}),
    ],
)
def test_groups_are_small_and_the_budget_is_kept(options: dict[str, Any], sizes: dict[int, int]) -> None:
    """After a first step in the budget's own groups; a trainer is told beforehand that there will be others."""
    curriculum = make("didact", pool_of(100), leave_below=0.0, **options, **SIZES)
    assert Counter(group.num_rollouts for group in curriculum.plan(0)) == {8: 8}
    assert Counter(group.num_rollouts for group in curriculum.plan(1)) == sizes
    assert curriculum.uneven == (sizes != {8: 8})


# When it is uniform ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [64, 1000])
def test_where_nearly_all_groups_have_signal_it_is_uniform(size: int) -> None:
    """Of groups of 8 at a pass rate of one half, one in 128 is silent."""
    pool, policy = pool_of(size), SimulatedPolicy(default=0.5)
    curriculum, _ = play(make("didact", pool, group_size=8, **SIZES), policy, range(20))
    seen: Counter[str] = Counter()
    for step in range(20, 44):  # three passes through 64 prompts, begun in the middle of one
        plan = curriculum.plan(step)
        assert {group.reason for group in plan} == {"uniform"}
        seen.update(group.prompt_id for group in plan)
        curriculum.observe(policy.roll_out(plan))
        curriculum.admitted(step)
    assert set(seen.values()) <= {2, 3, 4} if size == 64 else set(seen.values()) == {1}


def groups_of(curriculum: Curriculum, policy: SimulatedPolicy, steps: int) -> list[list[tuple[str, int]]]:
    """What each plan asks for, in its order."""
    groups = []
    for step in range(steps):
        plan = curriculum.plan(step)
        groups.append([(group.prompt_id, group.num_rollouts) for group in plan])
        curriculum.observe(policy.roll_out(plan))
        curriculum.admitted(step)
    return groups


def test_left_altogether_it_plans_as_uniform_does() -> None:
    """The same prompts in the same order and groups, whatever comes back."""
    pool, _, policy = hard(40, labels=True)
    plain, left = (
        groups_of(make(method, pool, seed=5, **options, **SIZES), policy, 12)
        for method, options in (("uniform", {}), ("didact", {"leave_below": 1.0}))
    )
    assert left == plain


@pytest.mark.parametrize("rate", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("labels", [True, False])
def test_where_all_prompts_are_live_it_plans_as_uniform_does(rate: float, labels: bool) -> None:
    """Once a first step of enough groups has said so: 16, against the 32 that the belief at the start counts as."""
    pool = pool_of(200, source=["a", "b"] * 100) if labels else pool_of(200)
    plain, seen = (
        groups_of(make(method, pool, prompts_per_step=16, rollouts_per_step=128), SimulatedPolicy(default=rate), 40)
        for method in ("uniform", "didact")
    )
    assert seen == plain


@pytest.mark.parametrize("options", [{}, {"leave_below": 0.0}, {"candidates": 64, "coverage": 0.0, "group_size": 2}])
def test_the_first_step_is_uniform(options: dict[str, Any]) -> None:
    """The user's own prompts a step in their own groups, whatever the options."""
    pool, _, policy = hard(labels=True)
    [plain], [first, second] = (
        groups_of(make(method, pool, seed=3, **given, **SIZES), policy, steps)
        for method, given, steps in (("uniform", {}, 1), ("didact", options, 2))
    )
    assert first == plain
    assert len(second) > len(plain)


def test_what_is_lacking_is_measured_on_plain_draws() -> None:
    """Beside what the belief says, which counts as 32 groups; a step later 0.98 is left of a count."""
    pool, _, policy = hard(labels=True)
    curriculum = make("didact", pool, group_size=4, coverage=0.25, leave_below=0.0, **SIZES)
    plain = signal = 0.0
    for step in range(8):
        plan = curriculum.plan(step)
        overall = curriculum.memory.compared.overall
        lately = 1 - (32 * (1 - overall["lacking_in_a_plain_draw"]) + signal) / (32 + plain)
        assert overall["lacking_lately"] == pytest.approx(lately)
        outcomes = policy.roll_out(plan)
        drawn = [outcome.rewards for group, outcome in zip(plan, outcomes, strict=True) if group.reason != "train"]
        assert 0 < len(drawn) < 16
        plain, signal = 0.98 * plain + len(drawn), 0.98 * signal
        signal += sum(
            4 * passed * (len(each) - passed) / len(each) / (len(each) - 1) for each in drawn for passed in [sum(each)]
        )
        curriculum.observe(outcomes)
        curriculum.admitted(step)
    assert 0 < signal < plain


@pytest.mark.parametrize("size", [2, 4, 8])
def test_what_is_lacking_does_not_depend_on_the_size_of_groups(size: int) -> None:
    """At a pass rate of 0.85 or 0.15 half of it is, of which the belief knows nothing yet."""
    pool, policy = pool_of(4000), SimulatedPolicy(default=0.85)
    curriculum = make("didact", pool, leave_below=1.0, prompts_per_step=512 // size, rollouts_per_step=512)
    curriculum, _ = play(curriculum, policy, range(20))
    curriculum.plan(20)
    assert curriculum.memory.compared.overall["lacking_lately"] == pytest.approx(1 - 4 * 0.85 * 0.15, abs=0.04)


def test_chosen_groups_do_not_hide_that_others_are_silent() -> None:
    """It trains on groups with signal, since it selects: that is no reason to stop."""
    pool, _, policy = hard(labels=True)
    curriculum, _ = play(make("didact", pool, **SIZES), policy, range(60))
    plan = curriculum.plan(60)
    assert "train" in {group.reason for group in plan}
    overall = curriculum.memory.compared.overall
    assert overall["lacking_in_the_plan"] < 0.35 < overall["lacking_lately"]


def test_it_comes_back_when_groups_fall_silent() -> None:
    pool, policy = pool_of(200), SimulatedPolicy(default=0.5)
    curriculum, _ = play(make("didact", pool, group_size=8, **SIZES), policy, range(20))
    assert {group.reason for group in curriculum.plan(20)} == {"uniform"}
    policy.default = 1.0  # all is learnt
    curriculum, _ = play(curriculum, policy, range(21, 60))
    assert "train" in {group.reason for group in curriculum.plan(60)}


def test_it_logs_when_it_leaves_and_when_it_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="didact")
    pool, policy = pool_of(200), SimulatedPolicy(default=0.5)
    curriculum, _ = play(make("didact", pool, prompts_per_step=32, rollouts_per_step=256), policy, range(20))
    policy.default = 1.0  # all is learnt
    play(curriculum, policy, range(20, 60))
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert said[0].startswith("step 0: didact plans as uniform does (belief is worth 0.00, leave below 0.35, ")
    assert said[1].startswith("step 2")
    assert ": didact chooses prompts (" in said[1]
    assert "lacking lately 0.3" in said[1]


# Pools of every kind --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 5, 8, 15, 17])
def test_small_pools_get_the_whole_budget(size: int) -> None:
    pool, policy = pool_of(size), SimulatedPolicy(default=0.3)
    curriculum, trace = play(make("didact", pool, leave_below=0.0, **SIZES), policy, range(6))
    plans = [entry[3:] for entry in trace if entry[0] == "plan" and len(entry) > 3]
    assert [sum(group[2] for group in plan) for plan in plans] == [64] * 6
    assert [len(plan) for plan in plans] == [min(size, 8), *[size] * 5]
    assert np.abs(curriculum.pass_rates().mean - 0.3).max() < 0.15 if size <= 8 else True


@pytest.mark.parametrize("name", ["source", "difficulty", "prompt_tokens", "features", "pass_rate"])
def test_any_one_column_is_enough_to_learn_from(name: str) -> None:
    """Half of the pool never passes, and the column says which."""
    live = np.arange(400) % 2
    column = [f"kind {each}" for each in live] if name == "source" else 0.2 + 0.5 * live
    pool = pool_of(400, **{name: column if name != "prompt_tokens" else 10 + 90 * live})
    policy = SimulatedPolicy({prompt: 0.5 * float(each) for prompt, each in zip(pool.ids, live, strict=True)})
    curriculum, _ = play(make("didact", pool, **SIZES), policy, range(15))
    unseen = curriculum.pass_rates().num_rollouts == 0
    mean = curriculum.pass_rates().mean
    assert mean[unseen & (live == 0)].max() < 0.25
    assert mean[unseen & (live == 1)].min() > 0.35


def test_prompts_that_join_with_new_labels_are_trained_on_and_a_state_goes_on() -> None:
    def built(pool: PromptPool) -> Curriculum:
        return make("didact", pool, **SIZES)

    pool, policy = pool_of(30, source=["a", "b"] * 15, difficulty=[1, 2] * 15), SimulatedPolicy()
    curriculum, _ = play(built(pool), policy, range(4))
    pool.extend([f"late-{index}" for index in range(30)], source=["c", "d"] * 15, difficulty=np.arange(30))
    resumed = built(pool)
    resumed.load_state_dict(curriculum.state_dict())
    ends = [play(each, policy, range(4, 12)) for each in (curriculum, resumed)]
    assert ends[0][1] == ends[1][1]
    assert (ends[0][0].pass_rates().num_rollouts[30:] > 0).mean() > 0.5


def test_a_pool_in_shards_goes_on_where_it_was_saved() -> None:
    ids = [f"prompt-{index}" for index in range(60)]

    def built() -> Curriculum:
        return make("didact", ShardedPool.split(ids, 3, **columns_of(ids)), **SIZES)

    curriculum, _ = play(built(), SimulatedPolicy(), range(4))
    resumed = built()
    resumed.load_state_dict(curriculum.state_dict())
    for one in (curriculum, resumed):
        one, _ = play(one, SimulatedPolicy(), range(4, 7))
    assert curriculum.state_dict()["digest"] == resumed.state_dict()["digest"]


# What comes back ------------------------------------------------------------------------------------------------


def told(reward: float, **outcome: Any) -> np.ndarray:
    """What is believed of two steps' prompts after all rollouts of a first plan came back like this."""
    curriculum = make("didact", pool_of(40), **FOURS)
    plan = curriculum.plan(0)
    curriculum.observe(replace(each, **outcome) for each in outcomes_of(plan, lambda num: [reward] * num))
    curriculum.admitted(0)
    curriculum.plan(1)
    mean: np.ndarray = curriculum.pass_rates().mean[curriculum.pool.positions([group.prompt_id for group in plan])]
    return mean


def test_passes_raise_and_failures_lower_what_is_believed() -> None:
    assert (told(1.0) > 0.9).all()
    assert (told(0.0) < 0.1).all()
    assert (np.abs(told(0.5) - 0.5) < 0.01).all()  # a graded reward is a fraction of a pass


def test_errored_and_truncated_rollouts_say_nothing_of_the_pass_rate() -> None:
    for marked in ("errored", "truncated"):
        assert told(0.0, **{marked: [True] * 4}) == pytest.approx(np.full(16, 0.5))
        half = told(0.0, **{marked: [True, True, True, False]})
        assert (told(0.0) < half).all()
        assert (half < 0.5).all()


def test_lengths_of_rollouts_without_a_verdict_are_learnt() -> None:
    curriculum = make("didact", pool_of(40), **FOURS)
    plan = curriculum.plan(0)
    curriculum.observe(
        replace(outcome, truncated=[True] * 4, num_tokens=[300] * 4)
        for outcome in outcomes_of(plan, lambda num: [0.0] * num)
    )
    curriculum.plan(1)
    assert curriculum.memory.outlook.lengths.expected(np.ones((1, 1)))[0] == pytest.approx(300, rel=0.01)


def test_what_an_older_policy_did_counts_less() -> None:
    def shift_after(version: int) -> float:
        curriculum = make("didact", pool_of(16), **FOURS)
        plans = [curriculum.plan(step) for step in range(30)]
        curriculum.observe(
            replace(outcome, policy_version=version) for outcome in outcomes_of(plans[29], lambda num: [1.0] * num)
        )
        curriculum.plan(30)
        return float(curriculum.pass_rates().mean.mean())

    fresh, old = shift_after(29), shift_after(0)
    assert 0.5 < old < fresh - 0.002


def test_late_and_partial_outcomes_are_learnt_once() -> None:
    """In one call, in halves, or the second half a step later: nothing is lost, and nothing counts twice."""
    ends = []
    for way in ("whole", "twice", "halves", "late"):
        curriculum = make("didact", pool_of(16), **FOURS)
        plan = curriculum.plan(0)
        whole = outcomes_of(plan, lambda num: [1.0, 0.0, 0.0, 0.0])
        halves = [replace(each, rewards=each.rewards[a : a + 2], part=a) for a in (0, 2) for each in whole]
        parts = {
            "whole": [whole],
            "twice": [[*whole, *whole]],
            "halves": [[*halves[::-1], *halves]],
            "late": [halves[:16], halves],
        }[way]
        for step, part in enumerate(parts, start=1):
            curriculum.observe(part)
            curriculum.admitted(step - 1)
            curriculum.plan(step)
        ends.append(curriculum.pass_rates().mean)
    assert np.array_equal(ends[0], ends[1])
    assert np.array_equal(ends[0], ends[2])
    assert (ends[0] < 0.3).all()
    assert ends[3] == pytest.approx(ends[0], abs=0.1)  # two updates are not quite one of both


# What groups are compared with ----------------------------------------------------------------------------------


def test_a_chosen_group_is_compared_with_what_was_believed_of_it_too() -> None:
    """(sum of its rewards + w * what was believed when it was planned) / (their number + w), w what belief is worth."""
    pool, _, policy = hard(labels=True)
    curriculum, _ = play(make("didact", pool, **SIZES), policy, range(5))
    plan = curriculum.plan(5)
    worth = curriculum.memory.compared.overall["belief_is_worth"]
    outcomes = policy.roll_out(plan)
    curriculum.observe(outcomes)
    chosen = {group.group_id: group for group in curriculum.admitted(5)}
    assert len(chosen) == 32
    for group, outcome in zip(plan, outcomes, strict=True):
        if group.group_id in chosen:
            expected = (sum(outcome.rewards) + worth * group.pass_rate) / (len(outcome.rewards) + worth)
            assert chosen[group.group_id].baseline == pytest.approx(expected)
    assert 0.5 < worth <= 8


def test_belief_counts_for_nothing_before_it_was_tried_and_for_no_more_than_it_may() -> None:
    pool, _, policy = hard(labels=True)
    for most in (2.0, 8.0):
        curriculum = make("didact", pool, baseline_rollouts=most, **SIZES)
        worth = []
        for step in range(60):
            curriculum.observe(policy.roll_out(curriculum.plan(step)))
            curriculum.admitted(step)
            worth.append(curriculum.memory.returns.worth(most))
        assert worth[0] == 0
        assert worth[1] < 1
        assert max(worth) == most  # every live prompt passes half of the time, and belief finds that out


@pytest.mark.parametrize("options", [{"leave_below": 1.0}, {"baseline_rollouts": 0}, {"pass_above": 0.5}])
def test_groups_have_their_own_mean_where_it_is_uniform_or_where_rewards_are_no_pass_rates(options: Any) -> None:
    pool, _, policy = hard(labels=True)
    curriculum = make("didact", pool, **{"leave_below": 0.0, **options}, **SIZES)
    for step in range(3):
        curriculum.observe(policy.roll_out(curriculum.plan(step)))
        assert {group.baseline for group in curriculum.admitted(step)} == {None}


# What it believes -----------------------------------------------------------------------------------------------


def test_it_believes_nearer_to_the_truth_than_own_outcomes_alone() -> None:
    """On a pool whose columns say something, and not all."""
    rng = np.random.default_rng(1)
    level = rng.integers(0, 5, 600)
    rates = 1 / (1 + np.exp(-(1.2 * (2 - level) + 0.8 * rng.standard_normal(600))))
    pool = pool_of(600, difficulty=level)
    policy = SimulatedPolicy(dict(zip(pool.ids, rates.tolist(), strict=True)))
    curriculum, _ = play(make("didact", pool, **SIZES), policy, range(40))
    shared = np.abs(curriculum.pass_rates().mean - rates)
    own = np.abs(curriculum.belief.mean(step=39) - rates)  # the engine's Beta belief, after the same outcomes
    seen = curriculum.pass_rates().num_rollouts > 0
    assert 200 < seen.sum() < 600
    assert shared[~seen].mean() < 0.6 * own[~seen].mean()
    assert shared[seen].mean() < 0.9 * own[seen].mean()
    assert curriculum.metrics()["calibration_error"] < 0.1


def test_what_it_believes_is_what_plans_and_pass_rates_say() -> None:
    pool, _, policy = hard(labels=True)
    curriculum, _ = play(make("didact", pool, **SIZES), policy, range(10))
    plan = curriculum.plan(10)
    said = curriculum.pass_rates().mean[pool.positions([group.prompt_id for group in plan])]
    assert [group.pass_rate for group in plan] == pytest.approx(said.tolist())


# States and options ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"returns": {"plain": -1.0}}, "plain must be from 0"),
        ({"returns": {"plain": 3.0, "signal": -1.0}}, "signal must be from 0"),
        ({"returns": {"plain": 3.0, "signal": 7.0}}, "3 groups drawn plainly cannot have had"),
        ({"returns": {"news": {"0": [1.0, 1.0]}}}, "of a group four finite numbers are kept"),
        ({"outlook": {"news": {"0": [99.0, 0.0, 1.0, 4.0, 0.0, 0.0]}}}, "news of a prompt of this pool are six"),
    ],
)
def test_a_memory_that_no_run_has_is_refused(changes: dict[str, Any], words: str) -> None:
    curriculum, _ = play(make("didact", pool_of(40), **SIZES), SimulatedPolicy(), range(2))
    state = {name: value for name, value in curriculum.state_dict().items() if name != "digest"}
    memory = state["memory"]
    state["memory"] = {
        name: {**part, **changes.get(name, {})} if name in changes else part for name, part in memory.items()
    }
    fresh = make("didact", pool_of(40), **SIZES)
    with pytest.raises(ValueError, match=words):
        fresh.load_state_dict(seal(state))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"candidates": 0}, "candidates must be a whole number from 1"),
        ({"coverage": 1.5}, "coverage must be a number from 0 to 1"),
        ({"group_size": 1}, "group_size must be a whole number"),
        ({"price": -1}, "price must be a number from 0 to 1"),
    ],
)
def test_bad_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make("didact", pool_of(8), **SIZES, **options)
