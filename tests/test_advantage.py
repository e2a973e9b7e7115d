"""Advantages and loss weights for unequal groups: known vectors, naive loops, exact expectations."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from didact.advantage import group_advantages, loss_weights, offered_baselines, weighted_advantages

REWARDS = [1, 0, 0, 0, 1, 1, 1, 1, 0, 1]
GROUPS = ["A"] * 4 + ["B"] * 2 + ["C"] + ["D"] * 3
LENGTHS = [10, 20, 30, 40, 10, 10, 10, 5, 50, 20]

batches = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from([0.0, 1.0, 0.25, -1.0]), st.integers(1, 50)), min_size=1, max_size=40
)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("grpo", [1.5, *[-0.5] * 3, 0, 0, 1, 0.57735, -1.1547, 0.57735]),
        ("dr_grpo", [0.75, *[-0.25] * 3, 0, 0, 1, 0.33333, -0.66667, 0.33333]),
        ("rloo", [1, *[-0.33333] * 3, 0, 0, 1, 0.5, -1, 0.5]),
        ("reinforce_pp", [1.46401, *[-0.67972] * 3, 1.46401, 1.46401, 1.46401, 1.46401, -0.67972, 1.46401]),
        (
            "reinforce_pp_baseline",
            [1.97875, *[-0.22883] * 3, 0.32306, 0.32306, 2.53064, 1.05892, -1.14866, 1.05892],
        ),
    ],
)
def test_vectors(kind: str, expected: list[float]) -> None:
    assert group_advantages(REWARDS, GROUPS, kind, LENGTHS) == pytest.approx(expected, abs=1e-5)  # type: ignore[arg-type]


def test_a_rollout_alone_in_its_group() -> None:
    for kind in ("rloo", "grpo", "dr_grpo"):
        assert group_advantages([0.7], [3], kind).tolist() == [0.7]  # type: ignore[arg-type]
        assert group_advantages([0.7], [3], kind, singleton="zero").tolist() == [0.0]  # type: ignore[arg-type]


def test_whitening_by_sequence_instead_of_by_token() -> None:
    advantage = group_advantages([1, 0, 1, 0, 1, 1, 0, 1], range(8), "reinforce_pp")
    assert advantage.mean() == pytest.approx(0, abs=1e-12)
    assert advantage.std(ddof=1) == pytest.approx(1)
    short = group_advantages(REWARDS, GROUPS, "reinforce_pp")
    assert sorted(set(short.round(4))) == pytest.approx([-1.1619, 0.7746], abs=1e-4)


@pytest.mark.parametrize(("mode", "share"), [("token", 100 / 120), ("sequence", 4 / 6), ("prompt", 0.5)])
def test_loss_share_of_a_long_large_group(mode: str, share: float) -> None:
    """A has 100 tokens in four rollouts, B has 20 in two."""
    weights = loss_weights(GROUPS[:6], LENGTHS[:6], mode)  # type: ignore[arg-type]
    assert weights[:4].sum() == pytest.approx(share)
    assert weights.sum() == pytest.approx(1)


def expected_weight(kind: str, n: int, p: float) -> float:
    """E[(1/n) sum_j A_j score_j] / grad p for a Bernoulli policy, over all groups of n."""
    total = 0.0
    for passes in range(n + 1):
        rewards = np.array([1.0] * passes + [0.0] * (n - passes))
        score = rewards / p - (1 - rewards) / (1 - p)
        probability = math.comb(n, passes) * p**passes * (1 - p) ** (n - passes)
        total += probability * (group_advantages(rewards, [0] * n, kind) * score).mean()  # type: ignore[arg-type]
    return total


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (2, [0.7071, 0.7071, 0.7071, 0.7071]),
        (4, [1.4809, 1.4638, 1.3995, 1.4638]),
        (8, [2.3133, 2.1774, 1.7358, 2.1774]),
        (16, [3.1634, 2.7574, 1.8727, 2.7574]),
        (32, [3.8798, 3.0945, 1.9370, 3.0945]),
    ],
)
def test_what_the_estimators_expect_by_exact_enumeration(n: int, expected: list[float]) -> None:
    rates = (0.05, 0.10, 0.50, 0.90)
    assert [expected_weight("grpo", n, p) for p in rates] == pytest.approx(expected, abs=1e-4)
    assert [expected_weight("rloo", n, p) for p in rates] == pytest.approx([1.0] * 4)
    assert [expected_weight("dr_grpo", n, p) for p in rates] == pytest.approx([(n - 1) / n] * 4)


def naive(rewards: list[float], groups: list[int], kind: str, epsilon: float = 1e-6) -> list[float]:
    advantages = []
    for reward, group in zip(rewards, groups, strict=True):
        members = [r for r, g in zip(rewards, groups, strict=True) if g == group]
        n, mean = len(members), statistics.fmean(members)
        if n == 1:
            advantages.append(reward)
        elif kind == "rloo":
            advantages.append(reward - (sum(members) - reward) / (n - 1))
        elif kind == "grpo":
            advantages.append((reward - mean) / (statistics.stdev(members) + epsilon))
        else:
            advantages.append(reward - mean)
    return advantages


@given(batches, st.sampled_from(["rloo", "grpo", "dr_grpo"]))
def test_equal_to_naive_loops(batch: list[tuple[int, float, int]], kind: str) -> None:
    groups, rewards, _ = map(list, zip(*batch, strict=True))
    assert group_advantages(rewards, groups, kind) == pytest.approx(naive(rewards, groups, kind), abs=1e-8)  # type: ignore[arg-type]


@given(batches, st.randoms(), st.sampled_from(["rloo", "grpo", "dr_grpo", "reinforce_pp", "reinforce_pp_baseline"]))
def test_the_order_of_rollouts_does_not_matter(batch: list[tuple[int, float, int]], random, kind: str) -> None:
    order = list(range(len(batch)))
    random.shuffle(order)
    groups, rewards, lengths = map(np.array, zip(*batch, strict=True))
    whole = group_advantages(rewards, groups, kind, lengths)  # type: ignore[arg-type]
    shuffled = group_advantages(rewards[order], groups[order], kind, lengths[order])  # type: ignore[arg-type]
    assert shuffled == pytest.approx(whole[order], abs=1e-9)


@given(batches)
def test_rloo_advantages_of_a_group_add_up_to_nothing(batch: list[tuple[int, float, int]]) -> None:
    groups, rewards, _ = map(np.array, zip(*batch, strict=True))
    advantages = group_advantages(rewards, groups, "rloo", singleton="zero")
    for group in set(groups.tolist()):
        assert advantages[groups == group].sum() == pytest.approx(0, abs=1e-9)


@given(batches, st.sampled_from(["token", "sequence", "prompt"]))
def test_loss_weights_add_up_to_one(batch: list[tuple[int, float, int]], mode: str) -> None:
    groups, _, lengths = map(np.array, zip(*batch, strict=True))
    weights = loss_weights(groups, lengths, mode)  # type: ignore[arg-type]
    assert weights.sum() == pytest.approx(1)
    assert (weights > 0).all()
    if mode == "prompt":
        shares = [weights[groups == group].sum() for group in set(groups.tolist())]
        assert shares == pytest.approx([1 / len(shares)] * len(shares))


def test_advantages_carry_what_a_prompt_counts():
    advantages, ids, draws = np.array([2.0, -2.0, 1.0, 1.0, -1.0, -1.0]), [4, 4, 8, 8, 8, 8], [3, 3, 1, 1, 1, 1]
    once = weighted_advantages(advantages, ids, np.ones(6), "prompt")
    assert once == pytest.approx([3.0, -3.0, 0.75, 0.75, -0.75, -0.75])  # mean(n) = 3, over n_i
    assert weighted_advantages(advantages, ids, draws, "prompt") == pytest.approx(
        advantages * loss_weights(ids, weights=draws) * 6
    )
    assert weighted_advantages(advantages, ids, np.ones(6), "token") == pytest.approx(advantages)
    assert weighted_advantages(advantages, ids, draws, "token") == pytest.approx(advantages * np.array(draws) * 0.6)


def test_a_prompt_drawn_twice_weighs_as_two_that_were_drawn_once() -> None:
    """CurES, eq. 16, sums over draws: here four draws of three prompts, the first of them drawn twice."""
    ids, draws = [5, 5, 5, 5, 6, 6, 7, 7, 7], [2, 2, 2, 2, 1, 1, 1, 1, 1]
    by_hand = [2 / 4 / 4] * 4 + [1 / 4 / 2] * 2 + [1 / 4 / 3] * 3
    assert loss_weights(ids, weights=draws) == pytest.approx(by_hand)
    assert loss_weights([5, 5, 8, 8, 6, 6, 7, 7, 7]) == pytest.approx(by_hand)  # each draw a group of its own


def test_a_weight_multiplies_what_its_rollouts_contribute_in_every_mode() -> None:
    ids, lengths, weights = [0, 0, 1], [10, 30, 40], [3, 3, 1]
    assert loss_weights(ids, lengths, "token", weights=weights) == pytest.approx([3 / 16, 9 / 16, 4 / 16])
    assert loss_weights(ids, lengths, "sequence", weights=weights) == pytest.approx([3 / 7, 3 / 7, 1 / 7])
    assert loss_weights(ids, lengths, "prompt", weights=weights) == pytest.approx([3 / 8, 3 / 8, 2 / 8])


@given(batches, st.sampled_from(["token", "sequence", "prompt"]))
def test_weights_of_one_change_not_a_bit_and_their_scale_does_not_matter(batch: list, mode: str) -> None:
    groups, _, lengths = map(np.array, zip(*batch, strict=True))
    plain = loss_weights(groups, lengths, mode)  # type: ignore[arg-type]
    assert (loss_weights(groups, lengths, mode, weights=np.ones(len(groups))) == plain).all()  # type: ignore[arg-type]
    draws = groups - groups.min() + 1.0
    once, more = (loss_weights(groups, lengths, mode, weights=each) for each in (draws, 7 * draws))  # type: ignore[arg-type]
    assert once.sum() == pytest.approx(1)
    assert once == pytest.approx(more)
    assert once / plain == pytest.approx(draws * (once / plain / draws)[0])  # in proportion


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.0], [1.0, -2.0], [1.0, np.nan], [1.0, np.inf], [[1.0, 1.0]], 1.0])
def test_weights_that_are_none_are_refused(weights: object) -> None:
    with pytest.raises(ValueError, match="weights must be 2 positive numbers"):
        loss_weights([0, 1], weights=weights)  # type: ignore[arg-type]


def test_rollouts_without_a_reward_are_ignored() -> None:
    whole = group_advantages([1, 0, 1, 0], [0, 0, 1, 1], "rloo")
    holed = group_advantages([1, np.nan, 0, 1, 0, np.nan], [0, 0, 0, 1, 1, 1], "rloo")
    assert holed.tolist() == [whole[0], 0, whole[1], whole[2], whole[3], 0]


def test_inputs_are_not_written_to() -> None:
    rewards, lengths = np.array(REWARDS, dtype=float), np.array(LENGTHS, dtype=float)
    rewards.flags.writeable = lengths.flags.writeable = False
    for kind in ("rloo", "grpo", "dr_grpo", "reinforce_pp", "reinforce_pp_baseline"):
        group_advantages(rewards, GROUPS, kind, lengths)  # type: ignore[arg-type]


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="unknown advantage kind 'gae'"):
        group_advantages([1.0], [0], "gae")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="do not match"):
        group_advantages([1.0, 0.0], [0])
    with pytest.raises(ValueError, match="lengths of shape"):
        group_advantages([1.0], [0], "rloo", [1, 2])
    with pytest.raises(ValueError, match="unknown mode 'word'"):
        loss_weights([0], [1], "word")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="give lengths"):
        loss_weights([0], mode="token")
    assert group_advantages([], []).tolist() == []
    assert loss_weights([]).tolist() == []


@pytest.mark.parametrize("kind", ["rloo", "grpo", "dr_grpo"])
def test_a_baseline_takes_the_place_of_the_groups_own_mean(kind):
    """Reinforce-Ada, vector RV1: 2 passes of 24 rollouts, 4 of which train."""
    rewards, ids = [1.0, 1.0, 0.0, 0.0, 1.0, 0.0], [7, 7, 7, 7, 8, 8]
    baselines = [2 / 24] * 4 + [None] * 2
    given = group_advantages(rewards, ids, kind, baselines=baselines)
    assert given[:4] == pytest.approx([0.916667, 0.916667, -0.083333, -0.083333], abs=1e-6)
    assert given[4:] == pytest.approx(group_advantages(rewards, ids, kind)[4:])
    assert group_advantages(rewards, ids, kind, baselines=[None] * 6) == pytest.approx(
        group_advantages(rewards, ids, kind)
    )


def test_a_rollout_without_a_reward_has_no_advantage_over_a_baseline_either():
    assert group_advantages([float("nan"), 1.0], [1, 1], baselines=[0.5, 0.5]).tolist() == [0.0, 0.5]


@pytest.mark.parametrize(
    ("rewards", "taken"),
    [([1.0, 0.0, 0.5], True), ([1.0, float("nan"), 0.0], True), ([], True), ([1.0, -1.0], False), ([0.0, 1.1], False)],
)
def test_baselines_that_are_offered_are_taken_where_all_rewards_are_pass_rates(rewards, taken):
    offered = [0.25 if index % 2 else None for index in range(len(rewards))]
    found = offered_baselines(offered, rewards)
    assert found == pytest.approx(np.array(offered if taken else [None] * len(rewards), dtype=float), nan_ok=True)
