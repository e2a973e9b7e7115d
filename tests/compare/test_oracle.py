"""The oracle draws by the true p(1-p)."""

import numpy as np
import pytest

from didact.compare.oracle import Oracle
from didact.testing import CurriculumContract, SimulatedPolicy, play, pool_of

TRUTH = np.where(np.arange(200) % 4 == 0, 0.5, np.where(np.arange(200) % 4 == 1, 1.0, 0.0))


class TestOracle(CurriculumContract):
    """It keeps the contract of every curriculum; what it is told does not move here."""

    @staticmethod
    def build(pool, **options):
        return Oracle(pool, truth=lambda: np.linspace(0, 1, len(pool)), **options)


def _oracle(truth, **options):
    return Oracle(pool_of(200), truth=truth, **{"prompts_per_step": 16, "rollouts_per_step": 128, **options})


def test_only_prompts_that_can_have_signal_are_drawn() -> None:
    curriculum = _oracle(lambda: TRUTH)
    policy = SimulatedPolicy(dict(zip(curriculum.pool.ids, TRUTH, strict=True)))
    _, trace = play(curriculum, policy, range(10))
    planned = {group[1] for entry in trace if entry[0] == "plan" for group in entry[3:]}
    assert planned <= {prompt for prompt, rate in zip(curriculum.pool.ids, TRUTH, strict=True) if rate == 0.5}
    assert len(planned) > 40


def test_too_few_of_them_are_filled_up_with_others() -> None:
    truth = np.zeros(200)
    truth[:5] = 0.5
    plan = _oracle(lambda: truth).plan(0)
    assert len({group.prompt_id for group in plan}) == 16
    assert {f"prompt-{index}" for index in range(5)} <= {group.prompt_id for group in plan}


@pytest.mark.parametrize(("every", "looks"), [(1, 10), (10, 1), (4, 3)])
def test_it_looks_at_the_truth_as_often_as_asked(every: int, looks: int) -> None:
    asked = []

    def truth():
        asked.append(1)
        return TRUTH

    curriculum = _oracle(truth, refresh_every=every)
    play(curriculum, SimulatedPolicy(dict.fromkeys(curriculum.pool.ids, 0.5)), range(10))
    assert len(asked) == looks
