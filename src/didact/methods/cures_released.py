"""What the released code of CurES does (ZexuSun/CurES, commit of October 2025), with its constants.

* The temperature is (a + 1) / 0.01 for a prompt with a passes in the pilot, so that sampling is uniform to within 0.3%.
* Sample sizes come once, from the raw pilot rate a / N': each of 8 shards of the subset spreads the budget of a whole
  batch over its prompts in proportion to sqrt(p(1-p)) and rounds half to even. Each unit then stands for 4 rollouts. So
  a step takes several times `rollouts_per_step`.
* A batch is drawn from all prompts of the subset, and those of size 0 (all at 0/4 and 4/4) are dropped from it
  afterwards; what is left is topped up to a multiple of 8 by adding 1 from the largest on. No batch, no step.
* Nothing is updated between pilots; pilot rollouts never train; GRPO advantages, token-mean loss.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from didact.method import Arrivals, Draft, Floats, Positions, Run, Turn
from didact.selection import draw

NUM_GPUS = 8
ROLLOUTS_PER_COPY = 4


def largest_batch(run: Run) -> int:
    """No batch has more rollouts: each shard rounds the budget over its prompts, and the sum is aligned."""
    return (NUM_GPUS * run.rollouts_per_step + run.prompts_per_step + NUM_GPUS) * ROLLOUTS_PER_COPY


def note(accepted: dict[int, int], arrivals: Arrivals) -> None:
    """Take in the passes of pilots, by position."""
    for group in arrivals.groups:
        if group.reason == "pilot":  # all parts so far
            accepted[group.position] = sum(reward > 0.5 for reward in group.rewards)


def draft(turn: Turn, subset: Positions, accepted: Mapping[int, int], pilot_rollouts: int) -> Draft:
    """A step on a subset, given the passes of its pilots by position."""
    passes = np.array([accepted.get(position, 0) for position in subset.tolist()])
    chosen, sizes = batch(passes, pilot_rollouts, turn.prompts_per_step, turn.rollouts_per_step, turn.rng)
    return Draft(subset[chosen], sizes, then="none")


def batch(
    accepted: NDArray[np.int64], pilot_rollouts: int, prompts: int, budget: int, rng: np.random.Generator
) -> tuple[Positions, NDArray[np.int64]]:
    """The prompts of a step, as indices into `accepted`, the passes of each pilot; and the rollouts of each."""
    sizes = copies(accepted, pilot_rollouts, budget)
    chosen = draw(distribution(accepted, pilot_rollouts), min(prompts, len(accepted)), rng)
    chosen = chosen[sizes[chosen] > 0]
    return chosen, align(sizes[chosen], NUM_GPUS) * ROLLOUTS_PER_COPY


def distribution(accepted: NDArray[np.int64], pilot_rollouts: int) -> Floats:
    """Sampling probabilities by pilot passes."""
    mean = (accepted + 1) / (pilot_rollouts + 2)
    weights = np.exp(np.sqrt(mean * (1 - mean)) / ((accepted + 1) / 0.01))
    return np.asarray(weights / weights.sum())


def copies(accepted: NDArray[np.int64], pilot_rollouts: int, budget: int) -> NDArray[np.int64]:
    """Sample sizes in copies, shard by shard."""
    rate = accepted / pilot_rollouts
    sigma = np.sqrt(rate * (1 - rate))
    shards = np.array_split(sigma, min(NUM_GPUS, len(sigma)))
    sizes = [np.round(shard * budget / shard.sum()) if shard.sum() > 0 else np.zeros(len(shard)) for shard in shards]
    return np.concatenate(sizes).astype(np.int64)


def align(sizes: NDArray[np.int64], multiple: int) -> NDArray[np.int64]:
    """Raise the sum to a multiple by adding 1 to one size after the other, largest first."""
    missing = -int(sizes.sum()) % multiple
    order = np.argsort(-sizes, kind="stable")
    sizes = sizes.copy()
    for index in range(missing):
        sizes[order[index % len(order)]] += 1
    return sizes
