"""One run: its budget, its curve, its updates."""

import pytest

from didact import make
from didact.compare.run import COLUMNS, run
from didact.methods.uniform import Uniform
from didact.simulate import make_learner

SIZES = {"prompts_per_step": 8, "rollouts_per_step": 64, "seed": 0}


def _run(method: str = "uniform", rollouts: int = 640, every: int = 128, steps: int | None = None, **options):
    learner = make_learner("skills", "mixed", size=200, seed=0)
    curriculum = make(method, learner.pool, **SIZES, **options)
    return run(learner, curriculum, rollouts=rollouts, evaluate_every=every, steps=steps)


def test_the_curve_has_every_column_and_begins_before_the_first_rollout() -> None:
    curve = _run()["curve"]
    assert set(curve) == set(COLUMNS)
    assert {len(column) for column in curve.values()} == {6}
    assert curve["rollouts"] == [0, 128, 256, 384, 512, 640]
    assert curve["updates"] == [0, 2, 4, 6, 8, 10]


@pytest.mark.parametrize("method", ["cures", "dapo", "speed", "pilot_commit", "reinforce_ada"])
def test_all_rollouts_count_and_a_step_is_one_update(method: str) -> None:
    result = _run(method, rollouts=3200)
    curve, metrics = result["curve"], result["metrics"]
    assert 3200 <= metrics["rollouts"] == curve["rollouts"][-1] < 3200 + 64
    assert curve["rollouts_trained"][-1] < curve["rollouts"][-1]
    assert curve["updates"][-1] <= curve["step"][-1]


def test_a_budget_that_ends_within_a_step_is_not_overspent_by_more_than_a_plan() -> None:
    assert _run("dapo", rollouts=100)["metrics"]["rollouts"] == 128


def test_a_budget_in_steps_is_kept_whatever_rollouts_they_take() -> None:
    curve = _run("cures", rollouts=1, every=3, steps=11, steps_per_iteration=5)["curve"]
    assert curve["step"] == [0, 3, 6, 9, 11]
    # Three iterations began, each with four rollouts for 40 prompts, or what is left of the pool of 200.
    assert curve["rollouts"] == [0, 3 * 64 + 160, 6 * 64 + 320, 9 * 64 + 320, 11 * 64 + 480]


def test_a_method_that_asks_for_nothing_ends() -> None:
    class Idle(Uniform):
        def draft(self, turn, memory):
            return None if turn.step >= 3 else super().draft(turn, memory)

    learner = make_learner("skills", "mixed", size=200, seed=0)
    result = run(learner, make(Idle, learner.pool, **SIZES), rollouts=6400, evaluate_every=64)
    assert result["metrics"]["rollouts"] == 3 * 64


def test_updates_of_a_step_are_counted() -> None:
    learner = make_learner("skills", "mixed", size=200, seed=0)
    curriculum = make("uniform", learner.pool, **SIZES)
    curve = run(learner, curriculum, rollouts=640, evaluate_every=128, updates_per_step=4)["curve"]
    assert curve["step"] == [0, 2, 4, 6, 8, 10]
    assert curve["updates"] == [0, 8, 16, 24, 32, 40]


def test_the_objective_is_the_methods_own_or_the_one_that_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for given in ({}, {"advantage": "dr_grpo"}, {"advantage": "grpo", "loss_weighting": "token"}):
        learner = make_learner("skills", "mixed", size=200, seed=0)
        curriculum, used = make("uniform", learner.pool, **SIZES), set()

        def update(groups, advantage, weighting, num_updates, used=used):
            used.add((advantage, weighting))
            return num_updates

        monkeypatch.setattr(learner, "update", update)
        run(learner, curriculum, rollouts=128, evaluate_every=64, **given)
        assert used == {(given.get("advantage", "rloo"), given.get("loss_weighting", "prompt"))}


def test_the_prompts_that_trained_and_the_largest_share_of_one() -> None:
    curve = _run()["curve"]  # 8 prompts of 200 a step, in passes: each trains once
    assert curve["prompts_trained"] == [0, 16, 32, 48, 64, 80]
    assert curve["largest_share"] == [0, *(8 / rollouts for rollouts in (128, 256, 384, 512, 640))]
    few = _run("cures", rollouts=3200, subset_size=10)["curve"]
    assert few["prompts_trained"][-1] < few["updates"][-1] * 8
    assert few["largest_share"][-1] > 1 / few["prompts_trained"][-1]
    assert few["prompt_tokens"][-1] > few["prompt_tokens"][1] > 0
