"""The shared belief: against the posterior itself, against a known truth, and what it says of prompts never seen."""

from typing import Any

import numpy as np
import pytest

from didact.belief.shared import SharedBelief, over_logits, own_columns, sigmoid
from didact.columns import ArrayColumns
from didact.testing import pool_of

SPREAD, PRIOR, CONSTANT = 1.2, 0.8, 2.0


def belief_of(size: int, width: int, **options: Any) -> SharedBelief:
    return SharedBelief(
        width, own_columns(pool_of(size)), **{"spread": SPREAD, "prior": PRIOR, "constant": CONSTANT, **options}
    )


def rows_of(num: int, width: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((num, width))
    rows[:, 0] = 1
    return rows


def learnt(belief: SharedBelief, rows: np.ndarray, positions: np.ndarray, passes: Any, trials: Any, step: int) -> None:
    belief.learn(rows, positions, np.array(passes, dtype=float), np.array(trials, dtype=float), step)


# The update -----------------------------------------------------------------------------------------------------

PASSES = np.array([0.0, 4.0, 1.0, 3.0, 0.0, 2.5])
TRIALS = np.array([4.0, 4.0, 8.0, 3.0, 1.0, 4.0])


def posterior(
    rows: np.ndarray, passes: np.ndarray, trials: np.ndarray, mean: np.ndarray, precision: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mode of p(w, u | outcomes) and the inverse of its Hessian there, all at once and densely."""
    design = np.concatenate([rows, np.eye(len(rows))], axis=1)  # logits = design @ (w, u)

    def objective(z: np.ndarray) -> tuple[float, np.ndarray]:
        logits, away = design @ z, z - mean
        value = (trials * np.logaddexp(0, logits) - passes * logits).sum() + away @ precision @ away / 2
        return value, design.T @ (trials * sigmoid(logits) - passes) + precision @ away

    mode = (
        pytest.importorskip("scipy.optimize")
        .minimize(objective, mean, jac=True, method="BFGS", options={"gtol": 1e-9})
        .x
    )
    rates = sigmoid(design @ mode)
    return mode, np.linalg.inv(precision + (design.T * (trials * rates * (1 - rates))) @ design)


def test_a_batch_leads_to_the_mode_and_curvature_of_the_joint_posterior() -> None:
    rows, positions = rows_of(6, 3), np.array([7, 2, 0, 5, 1, 9])
    belief = belief_of(10, 3)
    belief.learn(rows, positions, PASSES, TRIALS, 0)
    prior = 1 / np.array([CONSTANT**2, PRIOR**2, PRIOR**2, *[SPREAD**2] * 6])
    mode, covariance = posterior(rows, PASSES, TRIALS, np.zeros(9), np.diag(prior))
    assert belief.weights == pytest.approx(mode[:3], abs=1e-3)
    assert belief.covariance == pytest.approx(covariance[:3, :3], abs=1e-3)
    assert belief.own.get("shift", positions) == pytest.approx(mode[3:], abs=1e-3)
    mean, _ = belief.logits(rows, positions, 0)
    assert mean == pytest.approx(rows @ mode[:3] + mode[3:], abs=1e-3)


def test_the_next_batch_begins_where_the_last_one_ended() -> None:
    """With drift of the weights and decay of the own deviations in between."""
    belief = belief_of(10, 3, drift=0.02, decay=0.9)
    first, second = np.array([0, 1, 2, 3, 4, 5]), np.array([2, 3, 6, 7])
    belief.learn(rows_of(6, 3), first, PASSES, TRIALS, 0)
    weights, covariance = belief.weights.copy(), belief.covariance.copy()
    shift = belief.own.get("shift", second).astype(float)
    variance = 1 / (belief.own.get("certainty", second) + 1 / SPREAD**2)
    rows, passes, trials = rows_of(4, 3, seed=1), np.array([3.0, 0.0, 2.0, 4.0]), np.full(4, 4.0)
    belief.learn(rows, second, passes, trials, 5)
    gained = 5 * 0.02 * np.diag([CONSTANT**2, PRIOR**2, PRIOR**2])
    left = 0.9**5
    after = left**2 * variance + (1 - left**2) * SPREAD**2
    precision = np.zeros((7, 7))
    precision[:3, :3] = np.linalg.inv(covariance + gained)
    precision[3:, 3:] = np.diag(1 / after)
    mode, joint = posterior(rows, passes, trials, np.concatenate([weights, left * shift]), precision)
    assert belief.weights == pytest.approx(mode[:3], abs=1e-3)
    assert belief.covariance == pytest.approx(joint[:3, :3], abs=1e-3)
    assert belief.own.get("shift", second) == pytest.approx(mode[3:], abs=1e-3)


def test_batches_in_which_all_pass_or_fail_converge() -> None:
    for passes in (0.0, 512.0):
        belief = belief_of(6, 3)
        belief.learn(rows_of(6, 3), np.arange(6), np.full(6, passes), np.full(6, 512.0), 0)
        prior = 1 / np.array([CONSTANT**2, PRIOR**2, PRIOR**2, *[SPREAD**2] * 6])
        mode, _ = posterior(rows_of(6, 3), np.full(6, passes), np.full(6, 512.0), np.zeros(9), np.diag(prior))
        assert belief.weights == pytest.approx(mode[:3], abs=1e-2)


def test_the_order_of_prompts_within_a_batch_does_not_matter() -> None:
    rows, order = rows_of(6, 3), np.array([5, 2, 0, 1, 4, 3])
    one, other = belief_of(6, 3), belief_of(6, 3)
    one.learn(rows, np.arange(6), PASSES, TRIALS, 0)
    other.learn(rows[order], order, PASSES[order], TRIALS[order], 0)
    assert one.weights == pytest.approx(other.weights, abs=1e-9)
    assert one.own.get("shift", np.arange(6)) == pytest.approx(other.own.get("shift", np.arange(6)), abs=1e-6)


def test_no_outcomes_change_nothing() -> None:
    belief = belief_of(4, 2)
    learnt(belief, rows_of(4, 2), np.arange(4), [1] * 4, [4] * 4, 0)
    before = belief.logits(rows_of(4, 2), np.arange(4), 9)
    belief.learn(np.zeros((0, 2)), np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0), 5)
    assert np.array_equal(before, belief.logits(rows_of(4, 2), np.arange(4), 9))


# What it comes to know ------------------------------------------------------------------------------------------


def test_it_learns_a_known_truth_and_knows_how_well() -> None:
    rng, size = np.random.default_rng(3), 2000
    rows, truth = rows_of(size, 3, seed=2), np.array([-1.0, 1.0, 0.5])
    logits = rows @ truth + 0.7 * rng.standard_normal(size)
    belief = belief_of(2 * size, 3, spread=0.7, prior=1.0, drift=0.0, decay=1.0)
    for batch in np.split(np.arange(size), 50):
        passes = rng.binomial(4, sigmoid(logits[batch])).astype(float)
        belief.learn(rows[batch], batch, passes, np.full(len(batch), 4.0), 0)
    assert (np.abs(belief.weights - truth) < 4 * np.sqrt(np.diag(belief.covariance))).all()
    assert np.sqrt(np.diag(belief.covariance)).max() < 0.05
    seen, variance = belief.logits(rows, np.arange(size), 0)
    assert np.mean((seen - logits) ** 2 / variance) == pytest.approx(1.0, abs=0.15)
    unseen, _ = belief.logits(rows, size + np.arange(size), 0)
    assert np.mean((seen - logits) ** 2) < 0.8 * np.mean((unseen - logits) ** 2)  # own outcomes say more than the kind


KIND = np.array([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]])


def test_a_prompt_never_seen_moves_with_its_kind() -> None:
    belief = belief_of(40, 3)
    assert belief.logits(KIND, np.array([38, 39]), 0)[0].tolist() == [0.0, 0.0]
    kinds = np.arange(20) % 2
    belief.learn(KIND[kinds], np.arange(20), np.where(kinds, 4.0, 0.0), np.full(20, 4.0), 0)
    mean, variance = belief.logits(KIND, np.array([38, 39]), 0)
    assert mean[0] < -1
    assert mean[1] > 1
    before = CONSTANT**2 + PRIOR**2 + SPREAD**2
    assert (variance < before / 2).all()
    assert (variance > SPREAD**2).all()  # what is its own, nobody knows


def test_a_prompt_seen_long_ago_moves_with_its_kind_too() -> None:
    """A model learns a kind: what passed never, now passes, a prompt included that nobody rolled out since."""
    belief, ones = belief_of(40, 1, drift=0.02), np.ones((8, 1))
    for step in range(20):
        positions = np.arange(8) + 8 * (step % 4)
        belief.learn(ones, positions, np.full(8, 0.0 if step < 4 else 4.0), np.full(8, 4.0), step)
        if step == 3:
            before = belief.logits(ones[:1], np.array([0]), 3)[0]
            belief.learn(ones[:1], np.array([39]), np.array([0.0]), np.array([4.0]), 3)
    assert before < -1.5
    assert belief.logits(ones[:1], np.array([39]), 20)[0] > 0


def test_an_own_deviation_shrinks_with_versions_and_becomes_unsure_again() -> None:
    belief, one = belief_of(4, 1, drift=0.0, decay=0.9), np.ones((1, 1))
    learnt(belief, one, np.array([2]), [8], [8], 5)
    shift = float(belief.own.get("shift", np.array([2]))[0])
    shared, certain = belief.weights[0], belief.covariance[0, 0]
    assert shift > 0.3
    for later in (0, 1, 10):
        mean, variance = belief.logits(one, np.array([2]), 5 + later)
        assert mean[0] == pytest.approx(shared + 0.9**later * shift)
        own = variance[0] - certain
        known = 1 / (belief.own.get("certainty", np.array([2]))[0] + 1 / SPREAD**2)
        assert own == pytest.approx(SPREAD**2 - 0.81**later * (SPREAD**2 - known))
    assert belief.logits(one, np.array([2]), 1000)[1][0] == pytest.approx(certain + SPREAD**2)


def test_weights_drift_in_between() -> None:
    belief, one = belief_of(4, 1, drift=0.01), np.ones((1, 1))
    learnt(belief, one, np.array([0]), [2], [4], 3)
    variances = [belief.logits(one, np.array([1]), 3 + later)[1][0] for later in (0, 10)]
    assert variances[1] - variances[0] == pytest.approx(0.01 * 10 * CONSTANT**2)


# What is drawn of it -------------------------------------------------------------------------------------------


def learnt_belief() -> tuple[SharedBelief, np.ndarray, np.ndarray]:
    """A belief of three kinds of weight, and five prompts of which three were tried."""
    belief = belief_of(10, 3, drift=0.02, decay=0.9)
    belief.learn(rows_of(6, 3), np.arange(6), PASSES, TRIALS, 2)
    return belief, rows_of(5, 3, seed=4), np.array([0, 3, 5, 8, 9])


def test_what_is_drawn_of_the_weights_and_what_is_left_add_up_to_what_is_believed() -> None:
    """The weights are the same for all prompts of a draw: those alike move together, by as much as w is in doubt."""
    belief, rows, positions = learnt_belief()
    rng, num = np.random.default_rng(1), 20_000
    draws = [belief.drawn(rows, positions, 6, rng) for _ in range(num)]
    means = np.array([mean for mean, _ in draws])
    believed, total = belief.logits(rows, positions, 6)
    assert (np.abs(means.mean(axis=0) - believed) < 4 * np.sqrt(total / num)).all()
    of_weights = belief.covariance + 4 * 0.02 * np.diag([CONSTANT**2, PRIOR**2, PRIOR**2])
    together = rows @ of_weights @ rows.T
    assert np.cov(means.T) == pytest.approx(together, abs=0.05 * total.max())
    assert np.abs(together[~np.eye(5, dtype=bool)]).max() > 0.2 * total.max()
    assert all(left == pytest.approx(total - np.diag(together)) for _, left in draws[:3])


# Its cost -------------------------------------------------------------------------------------------------------


class Asked(ArrayColumns):
    """Counts how many prompts it is asked about."""

    most = 0

    def get(self, name: str, positions: Any) -> Any:
        self.most = max(self.most, len(positions))
        return super().get(name, positions)

    def put(self, name: str, positions: Any, values: Any) -> None:
        self.most = max(self.most, len(positions))
        super().put(name, positions, values)


def test_a_batch_out_of_a_million_prompts_touches_the_batch() -> None:
    start = {"shift": np.float32(0), "certainty": np.float32(0), "told": np.int32(-1)}
    columns = Asked(lambda: 1_000_000, start)
    belief = SharedBelief(3, columns)
    positions = np.arange(6) * 150_000
    belief.learn(rows_of(6, 3), positions, PASSES, TRIALS, 0)
    belief.logits(rows_of(6, 3), positions, 1)
    assert columns.most == 6
    assert len(columns.state_dict()["seen"]) == 6


# Its state, and rates -------------------------------------------------------------------------------------------


def test_a_state_goes_on_as_it_was_and_brings_its_width() -> None:
    one, other = belief_of(10, 3), belief_of(10, 5)
    one.learn(rows_of(6, 3), np.arange(6), PASSES, TRIALS, 2)
    other.load_state_dict(one.state_dict())
    for each in (one, other):
        each.learn(rows_of(6, 3, 1), 2 + np.arange(6), PASSES, TRIALS, 4)
    assert np.array_equal(
        one.logits(rows_of(10, 3, 2), np.arange(10), 9), other.logits(rows_of(10, 3, 2), np.arange(10), 9)
    )
    learnt(one, rows_of(1, 3), np.array([0]), [0], [4], 9)
    assert not np.array_equal(one.weights, other.weights)  # what was handed over is a copy


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("weights", np.zeros(2), r"weights of shape \(2,\) have no covariance of shape \(3, 3\)"),
        ("covariance", np.eye(4), r"weights of shape \(3,\) have no covariance of shape \(4, 4\)"),
        ("weights", np.array([0.0, np.inf, 0.0]), "must be finite"),
        ("covariance", -np.eye(3), "variances positive"),
        ("step", -1, "step must be a whole number of at least 0, got -1"),
        ("step", 1.5, "step must be a whole number"),
    ],
)
def test_a_state_that_cannot_be_is_refused(name: str, value: object, words: str) -> None:
    belief = belief_of(4, 3)
    with pytest.raises(ValueError, match=words):
        belief.load_state_dict({**belief.state_dict(), name: value})


def test_rates_at_the_nodes_have_the_mean_of_draws() -> None:
    mean, variance = np.array([0.0, -2.0, 3.0]), np.array([4.0, 0.5, 1.0])
    rates, masses = over_logits(mean, variance)
    draws = sigmoid(mean[:, None] + np.sqrt(variance)[:, None] * np.random.default_rng(0).normal(size=400_000))
    assert rates @ masses == pytest.approx(draws.mean(axis=1), abs=0.003)
    assert (rates * (1 - rates)) @ masses == pytest.approx((draws * (1 - draws)).mean(axis=1), abs=0.003)
    certain, _ = over_logits(np.array([1.0, -900.0]), np.array([0.0, 1.0]))
    assert certain[0] == pytest.approx(np.full(9, 1 / (1 + np.exp(-1))))
    assert np.isfinite(certain).all()
