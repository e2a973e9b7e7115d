"""A budget of rollouts as a knapsack: each prompt an item whose value grows with its rollouts.

Li et al., "Knapsack RL: Unlocking Exploration of LLMs via Optimizing Budget Allocation", arXiv:2509.25849.

    value of N rollouts of a prompt    (1 - p^N - (1-p)^N) * p (1-p)^2
    maximise the sum of values         subject to  sum N = total,  minimum <= N <= maximum

The first factor is the chance that the group has signal, the second what it gains. One rollout more adds
(p^N (1-p) + (1-p)^N p) * p (1-p)^2, which falls with N for every p: the value is concave, and handing out rollouts
where they add most is the exact optimum that the paper's dynamic programme finds, without its table.

A prompt at 0 or 1 has no value at any N. As in the code (liziniu/KnapsackRL): the mixed prompts are taken to need
log(1 - 0.9) / log(max(p, 1-p)) rollouts beyond the minimum each (signal with a chance of 0.9); what the budget has
beyond that goes to the prompts at 0 in equal parts, or to those at 1 if there are none.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.allocation import greedy, largest_remainder
from didact.arrays import Floats


def group_value(pass_rate: ArrayLike, num_rollouts: ArrayLike) -> Floats:
    """Value of a group of N rollouts of a prompt with pass rate p: (1 - p^N - (1-p)^N) p (1-p)^2."""
    p, num = np.asarray(pass_rate, dtype=np.float64), np.asarray(num_rollouts)
    return np.asarray((1 - p**num - (1 - p) ** num) * p * (1 - p) ** 2)


def knapsack(pass_rate: ArrayLike, total: int, minimum: int, maximum: int) -> NDArray[np.int64]:
    """Rollouts by prompt, shape (n,), with the largest sum of values; less than `total` if the bounds allow less."""
    rates: list[float] = np.asarray(pass_rate, dtype=np.float64).tolist()

    def gain(index: int, have: int) -> float:
        p, q = rates[index], 1 - rates[index]
        return float((p**have * q + q**have * p) * p * q * q)

    low, high = (np.full(len(rates), bound, dtype=np.int64) for bound in (minimum, maximum))
    return greedy(gain, total, low, high)


def split_budget(
    pass_rate: ArrayLike, total: int, minimum: int, maximum: int, confidence: float = 0.9
) -> NDArray[np.int64]:
    """The knapsack with the fallback for prompts at 0 and 1, shape (n,), summing to `total`.

    Raises:
        ValueError: bounds that cannot add up to `total`.
    """
    rate = np.asarray(pass_rate, dtype=np.float64)
    if not minimum * len(rate) <= total <= maximum * len(rate):
        raise ValueError(f"cannot split {total} over {len(rate)} prompts with {minimum} to {maximum} rollouts each")
    parts = np.full(len(rate), minimum, dtype=np.int64)
    mixed = (rate > 0) & (rate < 1)
    heirs = rate == 0 if (rate == 0).any() else rate == 1
    spare = total - minimum * len(rate)
    if heirs.any():
        wider = np.maximum(rate, 1 - rate)[mixed]
        need = np.minimum(np.log(1 - confidence) / np.log(wider), maximum).astype(np.int64)
        given = spare - min(int(need.sum()), spare, int(mixed.sum()) * (maximum - minimum))
        given = min(given, int(heirs.sum()) * (maximum - minimum))
        parts[heirs] += largest_remainder(np.ones(int(heirs.sum())), given)
        spare -= given
    if mixed.any():
        parts[mixed] = knapsack(rate[mixed], spare + int(parts[mixed].sum()), minimum, maximum)
    left = total - int(parts.sum())  # the mixed and the heirs are full: the rest goes to whoever has room
    return parts if left == 0 else parts + largest_remainder(maximum - parts, left, 0, maximum - parts)
