"""FastCuRL: splits by prompt length, and stages as data."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from didact import Curriculum, GroupOutcome, Plan, PromptPool, make
from didact.methods.fastcurl import FOUR_STAGES, V2, V3, Stage, scaled, split_by_prompt_length
from didact.testing import MethodContract, SimulatedPolicy, VariantContract, outcomes_of, play, pool_of

DATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
SIZES: dict[str, Any] = {"prompts_per_step": 8, "rollouts_per_step": 64}
LENGTHS = np.array([10, 20, 30, 40] * 10)


def lengths(ids: Sequence[str]) -> dict[str, Any]:
    return {"prompt_tokens": [ord(name[-1]) + 2 * ord(name[-2]) for name in ids]}


class TestFastCuRL(MethodContract):
    """Eight steps, so that all four stages come."""

    columns = staticmethod(lengths)

    @staticmethod
    def build(pool: PromptPool, **options: Any) -> Curriculum:
        return make("fastcurl", pool, total_steps=8, max_context=24, **options)


class TestFastCuRLByTruncation(VariantContract):
    columns = staticmethod(lengths)

    @staticmethod
    def build(pool: PromptPool, **options: Any) -> Curriculum:
        return make("fastcurl", pool, stages="v3", advance="truncation", truncation_window=2, **options)


class TestFastCuRLOfOneStage(VariantContract):
    """All prompts equally long: one stage, on all of them."""

    keeps_budget = True

    @staticmethod
    def build(pool: PromptPool, **options: Any) -> Curriculum:
        return make("fastcurl", pool, stages=[replace(FOUR_STAGES[-1], split="all")], **options)


def observe(curriculum: Curriculum, plan: Plan, *, cut: float = 0.0, passed: bool = True) -> None:
    """All rollouts of each group fail but the first, and a share of the others is cut off."""
    curriculum.observe(
        GroupOutcome(
            group.group_id,
            group.prompt_id,
            [float(passed)] + [0.0] * (group.num_rollouts - 1),
            truncated=[index >= round(group.num_rollouts * (1 - cut)) for index in range(group.num_rollouts)],
        )
        for group in plan
    )
    curriculum.admitted(plan.step)


def test_vector_fv1() -> None:
    assert split_by_prompt_length([10, 247, 248, 5154], threshold=247.24).tolist() == [True, True, False, False]


def test_vector_fv2() -> None:
    """Mean 250: two short, two long, and all four in stages on all."""
    assert split_by_prompt_length([100, 200, 300, 400]).tolist() == [True, True, False, False]
    pool = pool_of(4, prompt_tokens=[100, 200, 300, 400])
    curriculum = make("fastcurl", pool, prompts_per_step=8, rollouts_per_step=64, total_steps=4)
    seen = []
    for step in range(4):
        plan = curriculum.plan(step)
        seen.append({group.prompt_id for group in plan})
        observe(curriculum, plan)
    short, long = {"prompt-0", "prompt-1"}, {"prompt-2", "prompt-3"}
    assert seen == [short, short | long, long, short | long]


def test_vector_fv3() -> None:
    rollouts = [stage.steps * stage.prompts * stage.rollouts_per_prompt for stage in FOUR_STAGES]
    assert rollouts == [163_840, 302_080, 117_760, 593_920]
    assert sum(rollouts) == 1_177_600


def test_vector_fv4() -> None:
    """Steps that count 128 prompts: 860, and the published totals of V2 and V3."""
    totals = [sum(stage.steps * stage.prompts / 128 for stage in stages) for stages in (FOUR_STAGES, V2, V3)]
    assert totals == [860, 1_710, 2_620]


def test_the_published_contexts_and_coefficients() -> None:
    assert [stage.context_length for stage in FOUR_STAGES] == [8192, 16384, 24576, 16384]
    assert [stage.split for stage in V3] == ["short", "all", "long", "all", "all"]
    assert {(stage.kl_coefficient, stage.entropy_coefficient) for stage in FOUR_STAGES} == {(0.001, 0.001)}
    assert [(stages[4].kl_coefficient, stages[4].entropy_coefficient) for stages in (V2, V3)] == [(0, 1e-6), (0, 0)]


def test_the_split_of_deepscaler() -> None:
    """The counts of the published files: 24,976 short, 15,339 long, mean 247.24 characters."""
    path = DATA / "deepscaler.parquet"
    if not path.exists():
        pytest.skip("shared/data/deepscaler.parquet is not here")
    parquet = pytest.importorskip("pyarrow.parquet")
    problems = parquet.read_table(path, columns=["problem"]).column("problem").to_pylist()
    lengths = np.array([len(problem) for problem in problems])
    short = split_by_prompt_length(lengths)
    assert (int(short.sum()), int((~short).sum())) == (24_976, 15_339)
    assert lengths.mean() == pytest.approx(247.24, abs=0.005)
    assert (lengths[short].max(), lengths[~short].min()) == (247, 248)
    pool = PromptPool([f"problem-{row}" for row in range(len(problems))], prompt_tokens=lengths)
    curriculum = make("fastcurl", pool, prompts_per_step=128, rollouts_per_step=1024)
    plan = curriculum.plan(0)
    assert (len(plan), plan.num_rollouts, plan.groups[0].context_length) == (128, 1024, 8192)
    assert short[pool.positions([group.prompt_id for group in plan])].all()


def test_stages_follow_each_other_with_their_published_proportions() -> None:
    """With the sizes of the paper, plans are those of the paper; the last stage stays."""
    pool = pool_of(400, prompt_tokens=np.tile([10, 20, 30, 40], 100))
    curriculum = make("fastcurl", pool, prompts_per_step=128, rollouts_per_step=1024)
    assert curriculum.context.longest == 24576
    for step, expected in {
        0: (128, 8, 8192),
        159: (128, 8, 8192),
        160: (64, 8, 16384),
        749: (64, 8, 16384),
        750: (64, 8, 24576),
        980: (64, 16, 16384),
        5000: (64, 16, 16384),
    }.items():
        plan = curriculum.plan(step)
        assert {(len(plan), group.num_rollouts, group.context_length) for group in plan} == {expected}
        assert curriculum.metrics()["context_length"] == expected[2]


def test_a_short_run_on_a_small_model() -> None:
    stages = scaled(FOUR_STAGES, total_steps=39, max_context=48)
    assert [stage.steps for stage in stages] == [4, 15, 6, 14]
    assert [stage.context_length for stage in stages] == [16, 32, 48, 32]
    assert [stage.steps for stage in scaled(FOUR_STAGES, total_steps=4)] == [1, 1, 1, 1]


def test_a_stage_passes_through_its_split_before_it_repeats_a_prompt() -> None:
    curriculum = make("fastcurl", pool_of(40, prompt_tokens=LENGTHS), **SIZES)
    seen = []
    for step in range(5):
        plan = curriculum.plan(step)
        seen += [group.prompt_id for group in plan]
        observe(curriculum, plan)
    assert all(seen.count(f"prompt-{index}") == (2 if LENGTHS[index] <= 20 else 0) for index in range(40))


def test_equal_lengths_make_one_stage_of_all_prompts() -> None:
    curriculum = make("fastcurl", pool_of(40, prompt_tokens=[7] * 40), **SIZES)
    assert curriculum.method.stages_of(curriculum.memory) == (replace(FOUR_STAGES[-1], split="all"),)
    for step in (0, 1, 2, 3, 4):
        plan = curriculum.plan(step)
        assert (len(plan), plan.num_rollouts, plan.groups[0].context_length) == (8, 64, 16384)
        observe(curriculum, plan)
    assert (curriculum.pass_rates().num_rollouts == 8).all()


def test_prompts_that_join_are_split_at_the_same_length() -> None:
    pool = pool_of(40, prompt_tokens=LENGTHS)  # mean 25
    curriculum = make("fastcurl", pool, **SIZES)
    observe(curriculum, curriculum.plan(0))
    pool.extend([f"short-{index}" for index in range(30)], prompt_tokens=[25] * 30)
    pool.extend([f"long-{index}" for index in range(30)], prompt_tokens=[26] * 30)
    seen = set()
    for step in range(1, 7):
        plan = curriculum.plan(step)
        seen |= {group.prompt_id for group in plan}
        observe(curriculum, plan)
    assert {f"short-{index}" for index in range(30)} <= seen
    assert not any(name.startswith("long") for name in seen)


def stage_after(curriculum: Curriculum, steps: range, **observed: Any) -> int:
    for step in steps:
        observe(curriculum, curriculum.plan(step), **observed)
    curriculum.plan(steps.stop)
    return curriculum.memory.index


@pytest.mark.parametrize(
    ("observed", "moves"),
    [
        ({"cut": 0.0}, True),  # answers fit
        ({"cut": 0.125}, False),
        ({"cut": 0.25}, False),
        ({"cut": 0.5}, True),  # cut off, the next context is longer, and others of the group pass
        ({"cut": 0.5, "passed": False}, False),  # more room is no remedy where nothing passes
    ],
)
def test_truncation_ends_a_stage(observed: dict[str, Any], moves: bool) -> None:
    options = {"advance": "truncation", "truncation_window": 3, **SIZES}
    curriculum = make("fastcurl", pool_of(40, prompt_tokens=LENGTHS), **options)
    assert stage_after(curriculum, range(2), **observed) == 0, "no stage ends before the window is full"
    assert stage_after(curriculum, range(2, 3), **observed) == (1 if moves else 0)
    assert stage_after(curriculum, range(3, 160), cut=0.25) == 1, "and none lasts longer than its steps"


def test_a_shorter_context_waits_until_answers_fit() -> None:
    options = {"advance": "truncation", "truncation_window": 2, **SIZES}
    curriculum = make("fastcurl", pool_of(40, prompt_tokens=LENGTHS), **options)
    assert stage_after(curriculum, range(4)) == 2
    assert curriculum.method.stage(curriculum.memory).context_length == 24576
    assert stage_after(curriculum, range(4, 20), cut=0.5) == 2
    assert stage_after(curriculum, range(20, 23), cut=0.0) == 3


def test_by_steps_truncation_changes_nothing() -> None:
    curriculum = make("fastcurl", pool_of(40, prompt_tokens=LENGTHS), **SIZES)
    assert stage_after(curriculum, range(20), cut=0.0) == 0
    assert curriculum.memory.cuts == {}


@pytest.mark.parametrize("advance", ["steps", "truncation"])
def test_a_pool_that_became_uneven_resumes(advance: str) -> None:
    """The split is that of the pool as it was, also for a curriculum that is built on the larger pool."""
    pool = pool_of(1, prompt_tokens=[10])
    curriculum = make("fastcurl", pool, advance=advance, **SIZES)
    play(curriculum, SimulatedPolicy(), range(2))
    state = curriculum.state_dict()
    pool.extend(["other"], prompt_tokens=[99])
    fresh = make("fastcurl", pool, advance=advance, **SIZES)
    assert len(fresh.method.stages_of(fresh.memory)) == 4
    fresh.load_state_dict(state)
    assert fresh.method.stages_of(fresh.memory) == curriculum.method.stages_of(curriculum.memory)
    assert {group.prompt_id for group in fresh.plan(2)} == {"prompt-0", "other"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stages": "v22"}, "did you mean 'v2'"),
        ({"stages": []}, "non-empty list of Stage"),
        ({"stages": [1]}, "list of Stage"),
        ({"total_steps": 3}, "total_steps must be at least one for each of 4 stages"),
        ({"max_context": 0}, "max_context"),
        ({"advance": "hand"}, "advance must be one of steps, truncation"),
        ({"truncation_low": 0.5}, "truncation_low"),
        ({"truncation_window": 0}, "truncation_window"),
        ({"context": 512}, "sets the context length by its own options: do not give context"),
    ],
)
def test_bad_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make("fastcurl", pool_of(40, prompt_tokens=LENGTHS), **SIZES, **options)


@pytest.mark.parametrize("lengths", [[], [-1.0], [float("nan")], [[1, 2]]])
def test_bad_lengths(lengths: list[Any]) -> None:
    with pytest.raises(ValueError, match="lengths must be"):
        split_by_prompt_length(lengths)


def test_a_pool_without_lengths_is_enough_for_stages_on_all() -> None:
    with pytest.raises(ValueError, match=r"PromptPool\(ids, prompt_tokens="):
        make("fastcurl", pool_of(40), **SIZES)
    stage = Stage(steps=3, context_length=64, split="all", prompts=1, rollouts_per_prompt=8)
    curriculum = make("fastcurl", pool_of(40), stages=[stage, replace(stage, context_length=128)], **SIZES)
    assert curriculum.plan(0).groups[0].context_length == 64
    curriculum.observe(outcomes_of(curriculum.plan(3), lambda num: [1.0] * num))
    assert curriculum.method.stage(curriculum.memory).context_length == 128
