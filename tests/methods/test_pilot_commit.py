"""Pilot-Commit: pilots for many, commits for those between."""

from collections import Counter
from typing import Any

import pytest

from didact import Curriculum, make
from didact.outcomes import GroupOutcome
from didact.plan import Plan
from didact.sharded import ShardedPool
from didact.testing import MethodContract, SimulatedPolicy, VariantContract, play, pool_of


class TestPilotCommit(MethodContract):
    @staticmethod
    def build(pool, **options):
        return make("pilot_commit", pool, **options)


class TestPilotCommitThatRetests(VariantContract):
    @staticmethod
    def build(pool, **options):
        return make("pilot_commit", pool, retest_after=2, max_staleness=None, num_pilot=4, num_commit=4, **options)


def rolled(plan: Plan, passes: dict[str, int] | int) -> list[GroupOutcome]:
    """Every group passes as often as said."""
    outcomes = []
    for group in plan:
        num = passes if isinstance(passes, int) else passes[group.prompt_id]
        rewards = [1.0] * num + [0.0] * (group.num_rollouts - num)
        outcomes.append(GroupOutcome(group.group_id, group.prompt_id, rewards))
    return outcomes


def test_published_sizes() -> None:
    """64 rollouts for each of 4 prompts: 3 x 4 pilots of 16, then commits of 48 and pilots with what they leave."""
    curriculum = make("pilot_commit", pool_of(200), prompts_per_step=4, rollouts_per_step=4 * 64)
    first = curriculum.plan(0)
    assert [(group.reason, group.num_rollouts) for group in first] == [("pilot", 16)] * 12
    curriculum.observe(rolled(first, {group.prompt_id: 4 * int(index < 3) for index, group in enumerate(first)}))
    second = curriculum.plan(0)
    assert [(group.reason, group.num_rollouts) for group in second] == [("continue", 48)] * 3 + [("pilot", 16)] * 7
    curriculum.observe(rolled(second, 8))
    third = curriculum.plan(0)  # the last place, drawn from the seven that were buffered meanwhile
    assert [group.reason for group in third] == ["continue"] + ["pilot"] * 12
    assert third.groups[0].group_id in {group.group_id for group in second.groups[3:]}
    curriculum.observe(rolled(third, 0))
    assert not curriculum.plan(0)
    assert [len(group.rollouts) for group in curriculum.admitted(0)] == [64] * 4
    assert len(curriculum.held()) == 6


def test_skip_defer_and_buffer_by_pilot_passes() -> None:
    """Of 16: below 2 is deferred, 2 to 12 is buffered, 13 and more is skipped, 16 is excluded."""
    num = 17
    curriculum = make("pilot_commit", pool_of(num), prompts_per_step=num, rollouts_per_step=num * 64, max_rounds=2)
    plan = curriculum.plan(0)
    passes = {group.prompt_id: index for index, group in enumerate(plan)}
    curriculum.observe(rolled(plan, passes))
    second = curriculum.plan(0)
    assert sorted(passes[group.prompt_id] for group in second if group.reason == "continue") == list(range(2, 13))
    assert sorted(passes[group.prompt_id] for group in second if group.reason == "pilot") == [0, 1, 13, 14, 15]


def piloted(num: int, policy: SimulatedPolicy, steps: int, **options: Any) -> dict[str, list[int]]:
    """The steps at which each prompt of a pool is piloted, by four rollouts."""
    curriculum = make("pilot_commit", pool_of(num), prompts_per_step=2, rollouts_per_step=32, max_rounds=1, **options)
    _, trace = play(curriculum, policy, range(steps))
    seen: dict[str, list[int]] = {f"prompt-{index}": [] for index in range(num)}
    for step, group in ((entry[1], group) for entry in trace if entry[0] == "plan" for group in entry[3:]):
        if group[2] == 4:
            seen[group[1]].append(step)
    return seen


def test_a_prompt_is_left_out_after_16_passes_in_a_row_and_comes_back_only_if_asked() -> None:
    policy = SimulatedPolicy({"prompt-0": 1.0}, default=0.5)
    assert len(piloted(6, policy, 60)["prompt-0"]) == 4  # pilots are of four
    assert len(piloted(6, policy, 60, exclude_from=8)["prompt-0"]) == 2
    assert len(piloted(6, policy, 60, exclude_at=None)["prompt-0"]) > 10
    first, *later = piloted(6, policy, 60, exclude_from=4, retest_after=5)["prompt-0"]
    assert later
    assert later[0] >= first + 5


def test_no_middling_prompt_is_left_out_by_luck() -> None:
    """A pilot of four passes four times in one of sixteen visits; with 4 of 4 for good most would be gone."""
    last = {prompt: steps[-1] for prompt, steps in piloted(12, SimulatedPolicy(default=0.5), 120).items()}
    assert min(last.values()) > 100


def test_the_excluded_come_back_when_a_pass_over_the_others_finds_none_to_commit_to() -> None:
    dead = {f"prompt-{index}": 0.0 for index in range(3)}
    seen = piloted(6, SimulatedPolicy(dead, default=1.0), 60)
    assert all(len(seen[f"prompt-{index}"]) > 5 for index in range(3, 6))


def test_a_solved_pool_comes_back() -> None:
    curriculum, trace = play(
        make("pilot_commit", pool_of(6), prompts_per_step=2, rollouts_per_step=32, max_rounds=1),
        SimulatedPolicy(default=1.0),
        range(10),
    )
    assert all(entry[3:] for entry in trace if entry[0] == "plan" and entry[2] == 0)
    assert curriculum.metrics()["rollouts_trained"] == 0


def test_buffered_groups_are_dropped_after_four_steps() -> None:
    curriculum = make("pilot_commit", pool_of(30), prompts_per_step=2, rollouts_per_step=32, max_rounds=1)
    curriculum.observe(rolled(curriculum.plan(0), 2))
    assert curriculum.admitted(0) == []
    held = []
    for step in range(1, 7):
        curriculum.plan(step)  # what is planned from here on never comes back
        curriculum.admitted(step)
        held.append(len(curriculum.held()))
    assert held == [6, 6, 6, 6, 0, 0]


def test_the_draw_from_the_buffer_is_random_and_seeded() -> None:
    def committed(seed: int) -> list[int]:
        curriculum = make("pilot_commit", pool_of(60), prompts_per_step=8, rollouts_per_step=128, seed=seed)
        first = curriculum.plan(0)
        curriculum.observe(rolled(first, 2))
        return [group.group_id for group in curriculum.plan(0) if group.reason == "continue"]

    assert committed(0) == committed(0) != list(range(8))
    assert len(set(committed(0))) == 8


def test_expected_cost_of_a_trained_prompt() -> None:
    """At least n/4 / a + 3n/4 rollouts; surplus pilots that grow too old come on top."""
    curriculum = make("pilot_commit", pool_of(500), prompts_per_step=4, rollouts_per_step=4 * 16, max_rounds=1000)
    play(curriculum, SimulatedPolicy(default=0.2), range(200))
    metrics = curriculum.metrics()
    assert metrics["groups_trained"] == 800
    acceptance = 1 - 0.8**4 - 0.2**4  # 1, 2 or 3 of 4
    least = 4 / acceptance + 12
    assert 0.98 * least <= metrics["rollouts"] / metrics["groups_trained"] < 1.3 * least


@pytest.mark.filterwarnings("ignore::didact.silence.NothingLearnt")
def test_in_shards_prompts_are_left_out_and_come_back_across_a_reload() -> None:
    """Half of the pool is solved: excluded at once here, until the others have gone a pass without a commit."""
    ids, rates = pool_of(24).ids.tolist(), {f"prompt-{index}": 1.0 for index in range(12)}

    def new() -> Curriculum:
        pool = ShardedPool.split(ids, 3)
        return make("pilot_commit", pool, prompts_per_step=2, rollouts_per_step=16, exclude_from=2, max_rounds=3)

    def reload(curriculum: Curriculum) -> Curriculum:
        fresh = new()
        fresh.load_state_dict(curriculum.state_dict())
        return fresh

    policy = SimulatedPolicy(rates, default=0.0)
    curriculum, trace = play(new(), policy, range(20))
    reloaded, again = play(new(), policy, range(20), between=reload)
    assert again == trace
    assert reloaded.memory.num_excluded == curriculum.memory.num_excluded > 0
    pilots = Counter(group[1] for entry in trace if entry[0] == "plan" for group in entry[3:])
    assert 1 < min(pilots[prompt] for prompt in rates) < max(pilots[f"prompt-{index}"] for index in range(12, 24))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"num_pilot": 1}, "num_pilot"),
        ({"num_commit": 0}, "num_commit"),
        ({"candidates": 0}, "candidates"),
        ({"low": 0.8}, "low"),
        ({"exclude_at": 0.5}, "exclude_at"),
        ({"exclude_from": 0}, "exclude_from"),
        ({"retest_after": 0}, "retest_after"),
        ({"max_staleness": -1}, "max_staleness"),
        ({"max_rounds": 0}, "max_rounds"),
    ],
)
def test_bad_options(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        make("pilot_commit", pool_of(8), prompts_per_step=2, rollouts_per_step=16, **options)
