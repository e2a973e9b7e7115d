"""Uniform keeps the contract and gives every prompt its turn."""

from didact.methods.uniform import Uniform
from didact.testing import CurriculumContract, SimulatedPolicy, play, pool_of


class TestUniform(CurriculumContract):
    keeps_budget = True

    @staticmethod
    def build(pool: PromptPool, **options: Any) -> Curriculum:
        return make("uniform", pool, **options)


def test_every_prompt_is_planned_equally_often() -> None:
    pool = pool_of(12)
    curriculum = make("uniform", pool, prompts_per_step=5, rollouts_per_step=20)
    play(curriculum, SimulatedPolicy(), range(12))
    assert (curriculum.pass_rates().num_rollouts == 12 * 20 // 12).all()


def test_a_budget_that_does_not_divide_is_still_used_up() -> None:
    plan = make("uniform", pool_of(12), prompts_per_step=5, rollouts_per_step=23).plan(0)
    assert [group.num_rollouts for group in plan] == [5, 5, 5, 4, 4]
