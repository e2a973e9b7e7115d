"""A target difficulty that follows the reward: it climbs while the policy passes and falls while it fails.

    T <- clip(T + eta tanh(alpha (R - beta)), d_min, d_max),   R = mean reward of a batch

Shi et al. (AdaRFT), arXiv:2504.05520, algorithm 1.
"""

from math import tanh


def next_target(
    target: float,
    reward: float,
    *,
    beta: float = 0.5,
    alpha: float = 2.0,
    eta: float = 50.0,
    difficulty_range: tuple[float, float] = (0.0, 100.0),
) -> float:
    """The target difficulty after a batch with this mean reward.

    Args:
        beta: mean reward at which the target stands still.
        alpha: sensitivity to the distance of the reward from it.
        eta: step size, in units of difficulty.
        difficulty_range: lowest and highest target.
    """
    low, high = difficulty_range
    return min(max(target + eta * tanh(alpha * (reward - beta)), low), high)
