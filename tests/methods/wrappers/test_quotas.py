"""Quotas by source: floors and ceilings on what trains, under methods that screen, stage and redraw."""

from typing import Any

import numpy as np
import pytest

from didact import make
from didact.methods import check_options
from didact.methods.wrappers import Quotas
from didact.sharded.pool import ShardedPool
from didact.testing import SimulatedPolicy, play, pool_of

pytestmark = pytest.mark.filterwarnings("ignore::didact.silence.NothingLearnt")
SIZES: dict[str, Any] = {"prompts_per_step": 8, "rollouts_per_step": 64}


def trained_shares(method: str, steps: int, rates: dict[str, float], sizes: dict[str, int], **options: Any) -> Any:
    """The share of each source among the groups that trained, and of the rollouts; in the order of the sources."""
    sources = [name for name, size in sizes.items() for _ in range(size)]
    lengths = [{"long": 500}.get(name, 50) for name in sources]
    pool = pool_of(len(sources), source=sources, prompt_tokens=lengths)
    of = dict(zip(pool.ids, sources, strict=True))
    policy = SimulatedPolicy({prompt: rates[name] for prompt, name in of.items()})
    curriculum = make(method, pool, **SIZES, **options)
    _, trace = play(curriculum, policy, range(steps))
    trained = [of[group[1]] for entry in trace if entry[0] == "admitted" for group in entry[2:]]
    rollouts = np.bincount(
        np.array([list(sizes).index(name) for name in sources]), curriculum.pass_rates().num_rollouts
    )
    return {name: trained.count(name) / len(trained) for name in sizes}, rollouts / rollouts.sum(), curriculum


def test_a_source_that_screening_leaves_out_comes_to_its_floor() -> None:
    """A tenth of the pool passes 3 times in 100: SPEED screens a tenth of it and trains on hardly any."""
    rates, sizes = {"hard": 0.03, "easy": 0.5}, {"hard": 50, "easy": 450}
    without, _, _ = trained_shares("speed", 60, rates, sizes)
    share, rollouts, curriculum = trained_shares("speed", 60, rates, sizes, quotas={"hard": 0.1})
    assert without["hard"] < 0.02
    assert share["hard"] == pytest.approx(0.1, abs=0.03)
    assert curriculum.metrics()["groups_trained"] == 60 * 8
    assert rollouts[0] < 0.65  # what that costs


def test_a_source_whose_prompts_are_long_trains_in_the_short_stages_too() -> None:
    rates, sizes = {"long": 0.5, "short": 0.5}, {"long": 50, "short": 450}
    stages = {"total_steps": 400, "max_context": 64}  # the first of them lasts longer than this run
    without, _, _ = trained_shares("fastcurl", 30, rates, sizes, **stages)
    share, _, _ = trained_shares("fastcurl", 30, rates, sizes, quotas={"long": 0.1}, **stages)
    assert without["long"] == 0
    assert share["long"] == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("method", ["uniform", "dapo", "cures"])
def test_floors_and_ceilings_hold(method: str) -> None:
    rates, sizes = {"a": 0.5, "b": 0.5, "c": 0.5}, {"a": 300, "b": 60, "c": 40}
    quotas = {"a": [None, 0.5], "c": 0.3}
    share, _, _ = trained_shares(method, 50, rates, sizes, quotas=quotas)
    assert share["a"] <= 0.52
    assert share["c"] >= 0.28
    assert share["b"] > 0.1


def test_quotas_that_hold_already_change_nothing() -> None:
    plans = []
    for quotas in (None, {"a": [0.0, 1.0]}):
        curriculum = make("uniform", pool_of(40, source=["a", "b"] * 20), quotas=quotas, **SIZES)
        plans.append([entry for entry in play(curriculum, SimulatedPolicy(), range(6))[1] if entry[0] == "plan"])
    assert plans[0] == plans[1]


def test_a_source_that_never_trains_does_not_take_all() -> None:
    rates, sizes = {"dead": 0.0, "mixed": 0.5}, {"dead": 50, "mixed": 450}
    share, rollouts, _ = trained_shares("dapo", 40, rates, sizes, quotas={"dead": 0.2})
    assert share["dead"] == 0
    assert 0.3 < rollouts[0] < 0.6


def test_sources_that_join_are_counted_and_saved() -> None:
    pool = pool_of(40, source=["a", "b"] * 20)
    curriculum, _ = play(make("dapo", pool, quotas={"b": [None, 0.2]}, **SIZES), SimulatedPolicy(), range(4))
    pool.extend([f"late-{index}" for index in range(20)], source=["late"] * 20)
    curriculum, _ = play(curriculum, SimulatedPolicy(), range(4, 8))
    resumed = make("dapo", pool, quotas={"b": [None, 0.2]}, **SIZES)
    resumed.load_state_dict(curriculum.state_dict())
    for one in (curriculum, resumed):
        play(one, SimulatedPolicy(), range(8, 12))
    assert curriculum.memory.planned[2] > 0
    assert curriculum.state_dict()["digest"] == resumed.state_dict()["digest"]


@pytest.mark.parametrize(
    ("quotas", "words"),
    [
        ({"maths": 0.2}, r"quotas of source 'maths', which no prompt has; did you mean 'math'\?"),
        ({"math": 1.2}, "quotas of source 'math' must be a number from 0 to 1, got 1.2"),
        ({"math": [0.5, 0.2]}, "cross: at least 0.5 and at most 0.2"),
        ({"math": [0.5]}, r"are \[least, most\]"),
        ({"math": 0.7, "code": 0.6}, "promise 1.3 of the groups"),
        ({"math": [0, 0.3], "code": [0, 0.3]}, "give 0.4 of the groups to no source"),
        ([0.5], "quotas are shares by source"),
    ],
)
def test_quotas_that_cannot_be(quotas: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make("uniform", pool_of(20, source=["math", "code"] * 10), quotas=quotas, **SIZES)


def test_quotas_need_sources_in_one_place() -> None:
    with pytest.raises(ValueError, match=r"this pool has no such column: PromptPool\(ids, source="):
        make("uniform", pool_of(20), quotas={"a": 0.5}, **SIZES)
    ids = [f"prompt-{index}" for index in range(20)]
    with pytest.raises(ValueError, match="cannot be a ShardedPool"):
        make("uniform", ShardedPool.split(ids, 2, source=["a"] * 20), quotas={"a": 0.5}, **SIZES)


def test_options_are_checked_before_a_pool_is_there() -> None:
    assert isinstance(check_options("cures", quotas={"mine": 0.5}, **SIZES).method, Quotas)
