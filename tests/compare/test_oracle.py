"""The oracle draws by the true p(1-p)."""

import numpy as np
import pytest

from didact import make
from didact.compare.oracle import Oracle
from didact.testing import MethodContract, SimulatedPolicy, play, pool_of

TRUTH = np.where(np.arange(200) % 4 == 0, 0.5, np.where(np.arange(200) % 4 == 1, 1.0, 0.0))


class TestOracle(MethodContract):
    """It keeps the contract of every curriculum; what it is told does not move here."""

    @staticmethod
    def build(pool, **options):
        return make(Oracle, pool, truth=lambda: np.linspace(0, 1, len(pool)), **options)


def _oracle(truth, **options):
    return make(Oracle, pool_of(200), truth=truth, **{"prompts_per_step": 16, "rollouts_per_step": 128, **options})


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


@pytest.mark.parametrize(("rollouts", "looks"), [(1, 10), (128, 10), (1280, 1), (512, 3), (500, 3)])
def test_it_looks_at_the_truth_as_often_as_asked(rollouts: int, looks: int) -> None:
    asked = []

    def truth():
        asked.append(1)
        return TRUTH

    curriculum = _oracle(truth, refresh_rollouts=rollouts)
    play(curriculum, SimulatedPolicy(dict.fromkeys(curriculum.pool.ids, 0.5)), range(10))
    assert len(asked) == looks


def _drawn(steps: int = 200, **options) -> np.ndarray:
    """Rollouts of each prompt of a pool in which half have v = 0.25 and half 0.0475."""
    truth = np.where(np.arange(200) % 2 == 0, 0.5, 0.05)
    curriculum = _oracle(lambda: truth, **options)
    policy = SimulatedPolicy(dict(zip(curriculum.pool.ids, truth, strict=True)))
    num = np.zeros(200, dtype=int)
    for step in range(steps):
        plan = curriculum.plan(step)
        for group in plan:
            num[curriculum.pool.positions([group.prompt_id])[0]] += group.num_rollouts
        curriculum.observe(policy.roll_out(plan))
        curriculum.admitted(step)
    return num.reshape(-1, 2).sum(axis=0) / num.sum()


def test_what_it_was_told_is_what_it_says() -> None:
    """In plans, in `pass_rates`, and after loading; the prompts that joined count once it has looked again."""
    truth = [TRUTH, TRUTH[::-1]]
    curriculum, again = (_oracle(lambda: truth[0], refresh_rollouts=128) for _ in range(2))
    assert curriculum.pass_rates().mean.tolist() == TRUTH.tolist()
    assert (curriculum.pass_rates().std == 0).all()
    play(curriculum, SimulatedPolicy(), range(1))
    truth.pop(0)
    assert {group.pass_rate for group in curriculum.plan(1)} == {0.5}
    assert curriculum.pass_rates().mean.tolist() == TRUTH[::-1].tolist()
    again.load_state_dict(curriculum.state_dict())
    assert again.pass_rates().mean.tolist() == TRUTH[::-1].tolist()
    truth[0] = np.append(TRUTH, 1.0)
    curriculum.pool.extend(["late"])
    assert len(curriculum.plan(2)) == 16
    assert curriculum.pass_rates().mean.tolist() == truth[0].tolist()


def test_a_power_sharpens_the_draw() -> None:
    """Shares of the rollouts by v ** power: 0.25 against 0.0475 is 84 to 16, their squares 97 to 3, power 0 even."""
    assert _drawn()[0] == pytest.approx(0.84, abs=0.03)
    assert _drawn(power=2.0)[0] == pytest.approx(0.965, abs=0.02)
    assert _drawn(power=0.0)[0] == pytest.approx(0.5, abs=0.03)


def test_allocation_by_variance_gives_rollouts_in_proportion_to_its_root() -> None:
    curriculum = _oracle(lambda: np.where(np.arange(200) % 2 == 0, 0.5, 0.05), allocation="variance", power=0.0)
    assert curriculum.uneven
    by_rate = {0: set(), 1: set()}
    for group in curriculum.plan(0):
        by_rate[int(curriculum.pool.positions([group.prompt_id])[0]) % 2].add(group.num_rollouts)
    assert max(by_rate[1]) <= 6 < 9 <= min(by_rate[0])


@pytest.mark.parametrize("option", [{"power": -1}, {"allocation": "more"}, {"refresh_rollouts": 0}])
def test_options_out_of_range(option) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        _oracle(lambda: TRUTH, **option)


def test_it_may_know_no_more_than_columns_tell() -> None:
    """Of two levels one has prompts at 0.5, the other at 0 and 1: of a level all are alike to it."""
    level, truth = (
        np.arange(200) % 2,
        np.where(np.arange(200) % 2 == 1, 0.5, np.where(np.arange(200) % 4 == 0, 0.0, 1.0)),
    )
    pool = pool_of(200, difficulty=level.astype(float))
    curriculum = make(Oracle, pool, truth=lambda: truth, knows="columns", prompts_per_step=16, rollouts_per_step=128)
    believed = curriculum.pass_rates().mean
    assert np.allclose([believed[level == 0].std(), believed[level == 1].std()], 0)
    assert believed[1] == pytest.approx(0.5, abs=0.01)
    plan = curriculum.plan(0)
    assert {group.prompt_id for group in plan} & {f"prompt-{index}" for index in np.flatnonzero(truth == 0.0)}
