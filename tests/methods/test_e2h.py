"""E2H: the four schedules, and the levels they draw from."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from didact import Curriculum, PromptPool, make
from didact.methods.e2h import E2H
from didact.testing import CurriculumContract, SimulatedPolicy, play, pool_of

SIZES: dict[str, Any] = {"prompts_per_step": 8, "rollouts_per_step": 64}


def levels(ids: Sequence[str]) -> dict[str, Any]:
    """A level of 1, 2 or 3 for each prompt."""
    return {"difficulty": [ord(name[-1]) % 3 + 1 for name in ids]}


class TestE2H(CurriculumContract):
    keeps_budget = True
    columns = staticmethod(levels)

    @staticmethod
    def build(pool: PromptPool, **options: Any) -> Curriculum:
        return make("e2h", pool, total_steps=8, **options)


class TestE2HCutIntoLevels(CurriculumContract):
    keeps_budget = True
    columns = staticmethod(levels)

    @staticmethod
    def build(pool: PromptPool, **options: Any) -> Curriculum:
        return make("e2h", pool, total_steps=8, levels=2, schedule="cosine", **options)


def chances(step: int, num: int, **options: Any) -> list[float]:
    return E2H(total_steps=100, **options).chances(step, num).tolist()


@pytest.mark.parametrize(("step", "level"), [(0, 0), (24, 0), (25, 1), (50, 2), (75, 3), (99, 3), (100, 3), (500, 3)])
def test_classical_goes_level_by_level(step: int, level: int) -> None:
    assert chances(step, 4, schedule="classical") == [float(index == level) for index in range(4)]


def test_balanced_stays() -> None:
    assert chances(0, 4, schedule="balanced") == chances(99, 4, schedule="balanced") == [0.25] * 4


def test_cosine_goes_from_one_triangle_to_the_other() -> None:
    """K = 3, S = 6: 3/6, 2/6, 1/6 at first, a third each in the middle, 1/6, 2/6, 3/6 at last and for ever."""
    assert chances(0, 3, schedule="cosine") == pytest.approx([3 / 6, 2 / 6, 1 / 6])
    assert chances(50, 3, schedule="cosine") == pytest.approx([1 / 3] * 3)
    assert chances(100, 3, schedule="cosine") == pytest.approx([1 / 6, 2 / 6, 3 / 6])
    assert chances(900, 3, schedule="cosine") == pytest.approx([1 / 6, 2 / 6, 3 / 6])
    early = (1 + math.cos(math.pi / 4)) / 2
    assert chances(25, 3, schedule="cosine")[0] == pytest.approx(early * 3 / 6 + (1 - early) / 6)


def test_gaussian_moves_its_centre_by_the_root_of_time() -> None:
    """At a quarter of the run, K = 3: the centre is at sqrt(1/4) * 2, its neighbours have exp(-2) of its weight, and
    the floor of 1/6 shares out half of the chances equally."""
    weights = np.array([math.exp(-2), 1.0, math.exp(-2)])
    weights /= weights.sum()
    assert chances(25, 3, floor=False) == pytest.approx(weights)
    assert chances(25, 3) == pytest.approx(1 / 6 + 0.5 * weights)
    assert chances(25, 3, exponent=1.0)[0] > chances(25, 3)[0]
    assert chances(0, 3, floor=False) == pytest.approx(chances(100, 3, floor=False)[::-1])


@pytest.mark.parametrize("schedule", ["classical", "balanced", "cosine", "gaussian"])
def test_chances_are_chances(schedule: str) -> None:
    for num in (1, 2, 5, 30):
        for step in (0, 1, 37, 99, 100, 10**6):
            found = chances(step, num, schedule=schedule, width=1e-3)
            assert sum(found) == pytest.approx(1)
            assert min(found) >= (0 if schedule == "classical" else 2 / (num * (num + 1)) - 1e-12)


def levels_drawn(curriculum: Curriculum, step: int) -> list[float]:
    play(curriculum, SimulatedPolicy(), range(curriculum.step + 1, step))
    plan = curriculum.plan(step)
    assert curriculum.pool.difficulty is not None
    return curriculum.pool.difficulty[curriculum.pool.positions([group.prompt_id for group in plan])].tolist()


def test_a_run_goes_from_the_easy_to_the_hard() -> None:
    pool = pool_of(90, difficulty=np.arange(90) % 3 * 10)
    curriculum = make("e2h", pool, schedule="classical", total_steps=6, **SIZES)
    assert [set(levels_drawn(curriculum, step)) for step in range(7)] == [{0}, {0}, {10}, {10}, {20}, {20}, {20}]


@pytest.mark.parametrize(("schedule", "expected"), [("cosine", [0.5, 1 / 3, 1 / 6]), ("balanced", [1 / 3] * 3)])
def test_rollouts_follow_the_schedule(schedule: str, expected: list[float]) -> None:
    pool = pool_of(300, difficulty=np.arange(300) % 3)
    curriculum = make("e2h", pool, schedule=schedule, total_steps=10**6, **SIZES)
    curriculum, _ = play(curriculum, SimulatedPolicy(), range(150))
    rollouts = curriculum.pass_rates().num_rollouts
    shares = np.bincount(np.arange(300) % 3, weights=rollouts) / rollouts.sum()
    assert shares == pytest.approx(expected, abs=0.04)


def test_a_level_comes_round_before_a_prompt_of_it_comes_again() -> None:
    pool = pool_of(24, difficulty=[1.0] * 24)
    curriculum = make("e2h", pool, **SIZES)
    for first in (0, 3, 6):
        seen = [group.prompt_id for step in range(first, first + 3) for group in curriculum.plan(step)]
        assert sorted(seen) == sorted(pool.ids)


def test_a_level_with_few_prompts_leaves_its_places() -> None:
    pool = pool_of(43, difficulty=[0] * 3 + [1] * 40)
    curriculum = make("e2h", pool, schedule="classical", total_steps=1000, **SIZES)
    assert sorted(levels_drawn(curriculum, 0)) == [0] * 3 + [1] * 5


def test_fine_difficulties_are_cut_into_levels_of_equal_size_which_stay() -> None:
    pool = pool_of(100, difficulty=np.arange(100) / 7)
    curriculum = make("e2h", pool, schedule="classical", total_steps=4, **SIZES)
    assert curriculum.memory.arms.sizes.tolist() == [25] * 4
    state = curriculum.state_dict()
    pool.extend([f"late-{index}" for index in range(50)], difficulty=np.linspace(-5, 0, 50))
    resumed = make("e2h", pool, schedule="classical", total_steps=4, **SIZES)
    resumed.load_state_dict(state)
    for one in (curriculum, resumed):
        assert max(levels_drawn(one, 0)) <= 24 / 7
        assert one.memory.arms.sizes.tolist() == [75, 25, 25, 25]
    assert len(make("e2h", pool, levels=30, **SIZES).memory.arms.sizes) == 30
    assert len(make("e2h", pool_of(60, difficulty=np.arange(60) % 20), **SIZES).memory.arms.sizes) == 20


def test_a_level_that_joins_takes_its_place_between_the_others() -> None:
    pool = pool_of(40, difficulty=[1] * 20 + [3] * 20)
    curriculum = make("e2h", pool, schedule="classical", total_steps=3, **SIZES)
    pool.extend([f"late-{index}" for index in range(20)], difficulty=[2] * 20)
    assert [set(levels_drawn(curriculum, step)) for step in range(3)] == [{1}, {2}, {3}]


def test_a_pool_without_levels_says_how_to_give_them() -> None:
    with pytest.raises(ValueError, match=r"PromptPool\(ids, difficulty="):
        make("e2h", pool_of(8), **SIZES)
    with pytest.raises(ValueError, match="'e2h' needs 'difficulty' of every prompt, and that of 'prompt-1' in row 1"):
        make("e2h", pool_of(8, difficulty=[1, None] * 4), **SIZES)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"schedule": "linear"}, "schedule must be one of classical, balanced, cosine, gaussian"),
        ({"total_steps": 0}, "total_steps"),
        ({"levels": 1}, "levels"),
        ({"exponent": 0}, "exponent must be more than 0"),
        ({"width": 0}, "width must be more than 0"),
        ({"floor": "yes"}, "floor must be true or false"),
    ],
)
def test_bad_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make("e2h", pool_of(8, difficulty=[1, 2] * 4), **SIZES, **options)
