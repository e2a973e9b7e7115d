"""Group-relative advantages and loss weights that stay right when groups have unequal sizes.

With rewards r_j of a group of n rollouts, mean m and sample standard deviation s (ddof 1):

    grpo                   (r - m) / (s + epsilon)          arXiv:2402.03300; depends on n even in expectation
    dr_grpo                r - m                            arXiv:2503.20783; expectation (n - 1) / n of the gradient
    rloo                   (r - m) n / (n - 1)              arXiv:2402.14740; unbiased for every n >= 2
    reinforce_pp           r whitened over all tokens of the batch, no group baseline       arXiv:2501.03262
    reinforce_pp_baseline  r - m, then whitened over all tokens

RLOO with the prompt-mean loss (each prompt counts once, CurES arXiv:2510.01037 eq. 16) is the one combination in which
the allocation changes the variance of the update and nothing else. `grpo` multiplies a hard prompt's weight by 2.6
between 4 and 32 rollouts; token- and sequence-mean losses multiply it by the number of rollouts.
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.arrays import Floats, Positions

AdvantageKind = Literal["rloo", "grpo", "dr_grpo", "reinforce_pp", "reinforce_pp_baseline"]
WeightMode = Literal["token", "sequence", "prompt"]


def group_advantages(
    rewards: ArrayLike,
    group_ids: Sequence[object] | NDArray[Any],
    kind: AdvantageKind = "rloo",
    lengths: ArrayLike | None = None,
    *,
    epsilon: float = 1e-6,
    singleton: Literal["reward", "zero"] = "reward",
    baselines: Sequence[float | None] | Floats | None = None,
) -> Floats:
    """Advantage of every rollout, shape (n,).

    Args:
        rewards: shape (n,); nan marks a rollout without a reward: its advantage is 0 and its group ignores it.
        group_ids: shape (n,), the group of each rollout, in any order; groups may have any sizes.
        kind: see the module's docstring.
        lengths: response tokens, shape (n,); only the reinforce_pp kinds use them (None: every rollout counts once).
        epsilon: added to the standard deviation by `grpo` (verl 1e-6, TRL 1e-4).
        singleton: the advantage of a rollout alone in its group, which has nothing to be compared with: its reward (as
            in verl's GRPO and looped RLOO) or zero (no signal).
        baselines: shape (n,); where not None or nan, the advantage is the reward less this, undivided
            (`AdmittedGroup.baseline`): for groups of which not all rollouts are here, or `offered_baselines`.

    Raises:
        ValueError: shapes that do not match, or an unknown kind.
    """
    rewards, group, lengths = _columns(rewards, group_ids, lengths)
    if kind not in get_args(AdvantageKind):
        raise ValueError(f"unknown advantage kind {kind!r}; expected one of {', '.join(get_args(AdvantageKind))}")
    valid = np.isfinite(rewards)
    reward = np.where(valid, rewards, 0.0)
    if kind == "reinforce_pp":
        return _whiten(reward, lengths * valid)
    num_groups = int(group.max()) + 1 if len(group) else 0
    size = np.bincount(group, weights=valid, minlength=num_groups)[group]
    mean = np.bincount(group, weights=reward, minlength=num_groups)[group] / np.maximum(size, 1)
    centred = np.where(valid, reward - mean, 0.0)
    if kind == "rloo":
        advantage = centred * size / np.maximum(size - 1, 1)
    elif kind == "grpo":
        squares = np.bincount(group, weights=centred**2, minlength=num_groups)[group]
        advantage = centred / (np.sqrt(squares / np.maximum(size - 1, 1)) + epsilon)
    else:
        advantage = centred
    if singleton == "reward":
        advantage = np.where((size == 1) & valid, reward, advantage)
    if baselines is not None:
        given = np.asarray(baselines, dtype=np.float64)
        advantage = np.where(np.isnan(given) | ~valid, advantage, reward - given)
    if kind == "reinforce_pp_baseline":
        return _whiten(advantage, lengths * valid)
    return advantage


def offered_baselines(baselines: Sequence[float | None] | Floats, rewards: ArrayLike) -> Floats:
    """Baselines that a method offers (`Method.offers_baseline`), shape (n,), nan where the group's mean is to do.

    They are pass rates: where a reward is not between 0 and 1 what trains is in other units, and none is taken.
    """
    known = np.asarray(rewards, dtype=np.float64)
    known = known[np.isfinite(known)]
    fits = known.min(initial=0.0) >= 0 and known.max(initial=0.0) <= 1
    return np.where(fits, np.asarray(baselines, dtype=np.float64), np.nan)


def loss_weights(
    group_ids: Sequence[object] | NDArray[Any],
    lengths: ArrayLike | None = None,
    mode: WeightMode = "prompt",
    *,
    weights: ArrayLike | None = None,
) -> Floats:
    """The weight of every rollout's mean token loss, shape (n,), adding up to 1.

    `token`: in proportion to its tokens (a prompt weighs n_i times its mean length). `sequence`: every rollout alike
    (a prompt weighs n_i). `prompt`: 1 / n_i within a prompt and every prompt alike, whatever the allocation.

    Args:
        weights: shape (n,), what each rollout's group counts (`AdmittedGroup.weight`): the shares above are multiplied
            by it in every mode, so with `prompt` a prompt drawn k times weighs k times (arXiv:2510.01037, eq. 16).
            None: all 1.

    Raises:
        ValueError: shapes that do not match, an unknown mode, `token` without lengths, or a weight that is not
            positive and finite.
    """
    if mode == "token" and lengths is None:
        raise ValueError("mode 'token' weighs rollouts by their tokens: give lengths")
    _, group, lengths = _columns(np.zeros(len(group_ids)), group_ids, lengths)
    weight = np.ones(len(group)) if weights is None else np.asarray(weights, dtype=np.float64)
    if weight.shape != group.shape or not ((weight > 0) & (weight < np.inf)).all():
        raise ValueError(f"weights must be {len(group)} positive numbers, got {weight}")
    if mode == "token":
        return np.asarray(lengths * weight / ((lengths * weight).sum() or 1.0))
    if mode == "sequence":
        return np.asarray(weight / weight.sum())
    if mode == "prompt":
        size = np.bincount(group)
        return np.asarray(weight / ((np.bincount(group, weights=weight) / size).sum() * size[group]))
    raise ValueError(f"unknown mode {mode!r}; expected one of {', '.join(get_args(WeightMode))}")


def weighted_advantages(
    advantages: Floats, group_ids: Sequence[object] | NDArray[Any], weights: ArrayLike, mode: WeightMode
) -> Floats:
    """Advantages for a trainer whose loss is a mean over rollouts or tokens, shape (n,), as large on average as before.

    `prompt` makes that mean one over prompts: each advantage times mean(n) / n_i, for equal groups 1. Otherwise the
    trainer's mean stays what it is, and only what a group counts changes it.

    Args:
        weights: shape (n,), what each rollout's group counts (`AdmittedGroup.weight`).
        mode: the method's `loss_weighting`.
    """
    weights = np.asarray(weights, dtype=np.float64)
    if mode == "prompt":
        return np.asarray(advantages * loss_weights(group_ids, weights=weights) * len(group_ids))
    return np.asarray(advantages * (weights / weights.mean()))


def _columns(
    rewards: ArrayLike, group_ids: Sequence[object] | NDArray[Any], lengths: ArrayLike | None
) -> tuple[Floats, Positions, Floats]:
    rewards = np.asarray(rewards, dtype=np.float64)
    if rewards.ndim != 1 or len(rewards) != len(group_ids):
        raise ValueError(f"rewards of shape {rewards.shape} do not match {len(group_ids)} group ids")
    _, group = np.unique(np.asarray(group_ids), return_inverse=True)
    lengths = np.ones(len(rewards)) if lengths is None else np.asarray(lengths, dtype=np.float64)
    if lengths.shape != rewards.shape:
        raise ValueError(f"lengths of shape {lengths.shape} do not match {len(rewards)} rewards")
    return rewards, group.reshape(-1), lengths


def _whiten(values: Floats, tokens: Floats) -> Floats:
    """Zero mean and unit variance over tokens (Bessel-corrected), a rollout counting once for each of its tokens."""
    total = tokens.sum()
    if total <= 1:
        return np.zeros(len(values))
    mean = (values * tokens).sum() / total
    variance = (tokens * (values - mean) ** 2).sum() / (total - 1)
    return np.where(tokens > 0, (values - mean) / np.sqrt(variance + 1e-8), 0.0)
