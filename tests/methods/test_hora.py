"""HORA against the posterior it states, by numerical integration and by trying all splits."""

from itertools import product

import numpy as np
import pytest

from didact import Curriculum, make
from didact.methods.hora import allocate_hits, hit_gain
from didact.outcomes import GroupOutcome
from didact.testing import MethodContract, SimulatedPolicy, VariantContract, play, pool_of

SIZES = {"prompts_per_step": 4, "rollouts_per_step": 32}


class TestHORA(MethodContract):
    @staticmethod
    def build(pool, **options):
        return make("hora", pool, **options)


class TestHORAWithACap(VariantContract):
    @staticmethod
    def build(pool, **options):
        return make("hora", pool, probe_rollouts=2, max_rollouts=9, **options)


@pytest.mark.parametrize(("passes", "failures"), [(0, 0), (0, 4), (1, 3), (4, 0), (2, 14)])
@pytest.mark.parametrize("extra", [0, 1, 5, 60])
def test_identity_6(passes: int, failures: int, extra: int) -> None:
    """E[p (1-p)^l] under Beta(1+s, 1+f), by the midpoint rule; and the product of the identity."""
    p = (np.arange(200_000) + 0.5) / 200_000
    density = p**passes * (1 - p) ** failures
    expected = (density * p * (1 - p) ** extra).sum() / density.sum()
    assert hit_gain(passes, failures, extra) == pytest.approx(expected, rel=1e-4)
    a, b = 1 + passes, 1 + failures
    by_product = a / (a + b) * np.prod([(b + j) / (a + b + j + 1) for j in range(extra)])
    assert hit_gain(passes, failures, extra) == pytest.approx(by_product, rel=1e-9)


def utility(passes: int, failures: int, extra: int) -> float:
    return sum(hit_gain(passes, failures, l) for l in range(extra))  # noqa: E741


@pytest.mark.parametrize(("total", "maximum"), [(7, 7), (9, 4), (12, 4)])
def test_greedy_is_optimal(total: int, maximum: int) -> None:
    counts = [(0, 4), (1, 3), (4, 0)]
    parts = allocate_hits(*zip(*counts, strict=True), total, 0, maximum)
    best = max(
        sum(utility(*count, extra) for count, extra in zip(counts, split, strict=True))
        for split in product(range(maximum + 1), repeat=3)
        if sum(split) == total
    )
    assert parts.sum() == total
    assert sum(utility(*c, int(n)) for c, n in zip(counts, parts, strict=True)) == pytest.approx(best)


def probed(curriculum: Curriculum, passes: list[int]) -> dict[str, int]:
    """Probe, observe so many passes in the order of the plan, and return the extra rollouts by prompt."""
    plan = curriculum.plan(0)
    assert {group.reason for group in plan} == {"screen"}
    sizes = [group.num_rollouts for group in plan]
    curriculum.observe(
        GroupOutcome(group.group_id, group.prompt_id, [1.0] * hits + [0.0] * (size - hits))
        for group, size, hits in zip(plan, sizes, passes, strict=True)
    )
    more = curriculum.plan(0)
    assert {group.group_id for group in more} <= {group.group_id for group in plan}
    assert {group.reason for group in more} <= {"continue"}
    assert not curriculum.plan(0)
    extra = {group.prompt_id: group.num_rollouts for group in more}
    return {group.prompt_id: extra.get(group.prompt_id, 0) for group in plan}


def test_two_rounds_make_one_group_each_and_cost_what_uniform_costs() -> None:
    curriculum = make("hora", pool_of(40), **SIZES)
    play(curriculum, SimulatedPolicy(), range(10))
    metrics = curriculum.metrics()
    assert metrics["rollouts"] == metrics["rollouts_trained"] == 10 * 32
    assert metrics["rollouts_pilot"] == 10 * 16
    assert metrics["groups_trained"] == 40


def test_fewer_hits_among_the_probes_more_rollouts_up_to_the_cap() -> None:
    """After 4 of 4 one rollout hits with 5/6 and the next adds 5/42; after 0 of 4 the gains are 1/6, 5/42, 5/56..."""
    assert [hit_gain(4, 0, l) for l in range(2)] == pytest.approx([5 / 6, 5 / 42])  # noqa: E741
    assert [hit_gain(0, 4, l) for l in range(3)] == pytest.approx([1 / 6, 5 / 42, 5 / 56])  # noqa: E741
    extra = list(probed(make("hora", pool_of(40), **SIZES), [0, 1, 2, 4]).values())
    assert extra == allocate_hits([0, 1, 2, 4], [4, 3, 2, 0], 16, 0, 28).tolist()
    assert extra == sorted(extra, reverse=True)
    capped = probed(make("hora", pool_of(40), max_rollouts=9, **SIZES), [0, 4, 4, 4])
    assert max(capped.values()) == 5
    assert sum(capped.values()) == 16


def test_one_probe_never_makes_a_group_of_one() -> None:
    extra = probed(make("hora", pool_of(40), probe_rollouts=1, **SIZES), [1, 1, 0, 0])
    assert min(extra.values()) >= 1
    assert sum(extra.values()) == 28


def test_groups_that_did_not_come_back_get_no_more() -> None:
    curriculum = make("hora", pool_of(40), **SIZES)
    plan = curriculum.plan(0)
    outcomes = SimulatedPolicy().roll_out(plan)
    curriculum.observe(outcomes[:2])
    more = curriculum.plan(0)
    assert {group.group_id for group in more} == {outcome.group_id for outcome in outcomes[:2]}
    assert more.num_rollouts == 16
    curriculum.observe(outcomes[2:])
    assert not curriculum.plan(0)


@pytest.mark.parametrize(
    "option", [{"probe_rollouts": 0}, {"probe_rollouts": 9}, {"max_rollouts": 0}, {"max_rollouts": 7}]
)
def test_bad_options(option: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        make("hora", pool_of(8), **SIZES, **option)
