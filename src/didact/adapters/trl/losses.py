"""From rewards to what TRL's losses multiply: right for groups of any size, and TRL's own numbers for equal ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from didact.adapters.trl.checks import own_estimator
from didact.advantage import AdvantageKind, group_advantages, offered_baselines, weighted_advantages
from didact.plan import AdmittedGroup


def weighted_sum(rewards: np.ndarray, weights: Any) -> np.ndarray:
    """The reward of each rollout, shape (rows,), nan where no function gave one: no evidence, no advantage.

    Args:
        rewards: shape (rows, reward functions).
        weights: TRL's tensor of one weight per function.
    """
    total = np.nansum(rewards * weights.double().cpu().numpy(), axis=1)
    return np.where(np.isnan(rewards).all(axis=1), np.nan, total)


def spread(values: np.ndarray) -> float:
    """The standard deviation as TRL has it (Bessel-corrected), 0 where fewer than two values are known."""
    return float(np.nanstd(values, ddof=1)) if np.isfinite(values).sum() > 1 else 0.0


def advantages(trainer: Any, groups: Sequence[AdmittedGroup], rewards: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """By the curriculum's own estimator where it makes uneven groups, else by TRL's configuration; shape (rows,).

    Args:
        rewards, lengths: shapes (rows, reward functions) and (rows,), in the order of the groups' rollouts.
    """
    curriculum, sizes = trainer.curriculum, [len(group.rollouts) for group in groups]
    ids, weights = (np.repeat(each, sizes) for each in ([g.group_id for g in groups], [g.weight for g in groups]))
    baselines = np.repeat(np.array([group.baseline for group in groups], dtype=np.float64), sizes)  # None is nan
    total, kind = weighted_sum(rewards, trainer.reward_weights), curriculum.advantage
    if not curriculum.own_baseline:  # what is offered goes with the method's own estimator
        baselines = offered_baselines(baselines, total) if own_estimator(curriculum) else np.full(len(ids), np.nan)
    if own_estimator(curriculum) or not np.isnan(baselines).all():
        found = group_advantages(total, ids, kind, lengths, singleton="zero", baselines=baselines)
    elif trainer.multi_objective_aggregation == "normalize_then_sum":
        each = [group_advantages(column, ids, "grpo", epsilon=1e-4, singleton="zero") for column in rewards.T]
        total = weighted_sum(np.where(np.isnan(rewards), np.nan, np.stack(each, axis=1)), trainer.reward_weights)
        found = np.nan_to_num((total - np.nanmean(total)) / (spread(total) + 1e-4))
    else:
        stock: AdvantageKind = "grpo" if trainer.scale_rewards == "group" else "dr_grpo"
        found = group_advantages(total, ids, stock, epsilon=1e-4, singleton="zero")
        found /= spread(total) + 1e-4 if trainer.scale_rewards == "batch" else 1.0
    return weighted_advantages(found, ids, weights, curriculum.loss_weighting)


def loss_scale(trainer: Any, num_rows: int, num_trained: int, context: int | None) -> float:
    """What advantages are multiplied by so that TRL's loss is as if there were no rows that only fill up.

    Args:
        num_rows, num_trained: rows of all processes, and those of them that train.
        context: the completion length of TRL's configuration.
    """
    scale = num_rows / max(num_trained, 1) if trainer.loss_type in ("grpo", "sapo", "luspo", "dr_grpo") else 1.0
    if trainer.loss_type == "dr_grpo" and not hasattr(trainer, "liger_loss"):
        scale *= trainer.max_completion_length / context  # its divisor follows the context length
    return scale
