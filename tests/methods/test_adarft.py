"""AdaRFT: the target difficulty, and the prompts nearest to it."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from didact import Curriculum, GroupOutcome, PromptPool, make
from didact.reward_target import next_target
from didact.testing import MethodContract, SimulatedPolicy, VariantContract, outcomes_of, play, pool_of

SIZES: dict[str, Any] = {"prompts_per_step": 4, "rollouts_per_step": 16}


def difficulties(ids: Sequence[str]) -> dict[str, Any]:
    """0, 25, 50, 75 or 100 for each."""
    return {"difficulty": [(len(name) * 7 + ord(name[-1])) % 5 * 25 for name in ids]}


class TestAdaRFT(MethodContract):
    keeps_budget = True
    columns = staticmethod(difficulties)

    @staticmethod
    def build(pool: PromptPool, **options: Any) -> Curriculum:
        return make("adarft", pool, **options)


class TestAdaRFTAsReleased(VariantContract):
    keeps_budget = True
    columns = staticmethod(difficulties)

    @staticmethod
    def build(pool: PromptPool, **options: Any) -> Curriculum:
        return make("adarft", pool, as_released=True, scale="range", difficulty_range=(1.0, 5.0), **options)


def run(curriculum: Curriculum, step: int, reward: float) -> list[str]:
    plan = curriculum.plan(step)
    curriculum.observe(outcomes_of(plan, lambda num: [reward] * num))
    curriculum.admitted(step)
    return [group.prompt_id for group in plan]


def chosen(curriculum: Curriculum, step: int, reward: float) -> list[float]:
    difficulty = curriculum.pool.difficulty
    assert difficulty is not None
    positions = curriculum.pool.positions(run(curriculum, step, reward))
    return sorted(difficulty[positions].tolist())


def test_a_run_follows_the_reward() -> None:
    curriculum = make("adarft", pool_of(101, difficulty=np.arange(101)), **SIZES)
    assert curriculum.memory.target == 0
    assert chosen(curriculum, 0, 1.0) == [0, 1, 2, 3]
    assert chosen(curriculum, 1, 0.5) == [37, 38, 39, 40]  # T = 38.08
    assert curriculum.memory.target == pytest.approx(38.0797, abs=1e-4)
    assert chosen(curriculum, 2, 0.5) == [37, 38, 39, 40]  # a batch at beta: T stands still, and so does the batch
    for step in range(3, 7):
        chosen(curriculum, step, 1.0)
    assert curriculum.memory.target == 100
    assert chosen(curriculum, 7, 0.0) == [97, 98, 99, 100]


def test_equals_are_drawn_at_random_unless_as_released() -> None:
    labels = np.repeat([0, 50, 100], 100)
    seen: set[str] = set()
    curriculum = make("adarft", pool_of(300, difficulty=labels), **SIZES)
    released = make("adarft", pool_of(300, difficulty=labels), as_released=True, **SIZES)
    for step in range(40):
        seen |= set(run(curriculum, step, 0.5))
        assert run(released, step, 0.5) == [f"prompt-{index}" for index in range(4)]
    assert 60 < len(seen) <= 100
    assert all(int(name.removeprefix("prompt-")) < 100 for name in seen)


def test_labels_can_be_mapped_onto_the_range() -> None:
    """Levels 1 to 5 become 0, 25, 50, 75, 100: after one batch that always passes T = 38 is nearest to level 3 (50)."""
    pool = pool_of(50, difficulty=np.tile([1, 2, 3, 4, 5], 10))
    curriculum = make("adarft", pool, scale="range", **SIZES)
    assert chosen(curriculum, 0, 1.0) == [1] * 4
    assert chosen(curriculum, 1, 1.0) == [3] * 4
    pool.extend(["late-1", "late-2"], difficulty=[7, 5])  # the map stays
    assert chosen(curriculum, 2, 1.0) == [4] * 4
    assert chosen(curriculum, 3, 1.0) == [5] * 4


def test_what_is_cut_off_or_errored_does_not_move_the_target() -> None:
    curriculum = make("adarft", pool_of(8, difficulty=np.arange(8)), **SIZES)
    curriculum.observe(
        GroupOutcome(
            group.group_id,
            group.prompt_id,
            [1.0, 1.0, 0.0, 0.0],
            truncated=[False, False, True, False],
            errored=[False, False, False, True],
        )
        for group in curriculum.plan(0)
    )
    curriculum.plan(1)
    assert curriculum.memory.target == pytest.approx(next_target(0, 1.0))


def test_it_finds_the_level_at_which_half_passes() -> None:
    rates = {f"prompt-{index}": 1 - index / 1000 for index in range(1001)}
    curriculum = make(
        "adarft", pool_of(1001, difficulty=np.arange(1001) / 10), prompts_per_step=32, rollouts_per_step=256
    )
    targets = []
    for step in range(60):
        play(curriculum, SimulatedPolicy(rates), [step])
        targets.append(curriculum.memory.target)
    assert np.mean(targets[20:]) == pytest.approx(50, abs=3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"alpha": 0}, "alpha"),
        ({"eta": -1}, "eta"),
        ({"beta": math.nan}, "beta"),
        ({"difficulty_range": (5, 5)}, "difficulty_range"),
        ({"scale": "rank"}, "scale must be one of none, range"),
    ],
)
def test_bad_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make("adarft", pool_of(8, difficulty=np.arange(8)), **SIZES, **options)


def test_a_pool_without_difficulty_says_how_to_give_it() -> None:
    with pytest.raises(ValueError, match=r"PromptPool\(ids, difficulty="):
        make("adarft", pool_of(8), **SIZES)
    with pytest.raises(
        ValueError, match=r"needs 'difficulty' of every prompt, and that of 'prompt-0' in row 0 is unknown"
    ):
        make("adarft", pool_of(8, difficulty=[math.nan] * 8), **SIZES)
