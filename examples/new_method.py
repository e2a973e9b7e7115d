"""Frontier: prefer prompts that pass about half of the time, and prompts that little is known about.

    weight_i = exp( -(p_i - target)^2 / (2 width^2) ) + curiosity * std_i

A group has signal only when some of its rollouts pass and some fail, which is likeliest at a pass rate of one half; the
second term keeps prompts in play that were hardly tried. It is an example and no published method.

    python examples/new_method.py            # on simulated prompts: share of groups with signal, against uniform
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from didact import PassRates, PromptPool, StagedCurriculum, make
from didact.selection import draw


@dataclass(frozen=True, kw_only=True)
class Frontier:
    """Weight a prompt by the closeness of its pass rate to `target`, and by what is not known about it."""

    target: float = 0.5
    width: float = 0.2
    curiosity: float = 1.0

    def choose(self, pass_rates: PassRates, num_prompts: int, rng: np.random.Generator) -> np.ndarray:
        closeness = np.exp(-0.5 * ((pass_rates.mean - self.target) / self.width) ** 2)
        return draw(closeness + self.curiosity * pass_rates.std, num_prompts, rng)


def frontier(pool: PromptPool, *, target: float = 0.5, **common: Any) -> StagedCurriculum:
    """Half-solved prompts first, in equal groups; evidence fades by a tenth a step, as the policy moves on."""
    return StagedCurriculum(pool, selection=Frontier(target=target), **{"discount": 0.9, **common})


if __name__ == "__main__":
    from didact.testing import SimulatedPolicy, play, pool_of

    rates = np.random.default_rng(0).beta(0.3, 1.0, size=400)  # many hard prompts, few easy ones
    policy = SimulatedPolicy({f"prompt-{index}": rate for index, rate in enumerate(rates)})
    size = {"prompts_per_step": 32, "rollouts_per_step": 256}
    for curriculum in (make("uniform", pool_of(400), **size), frontier(pool_of(400), **size)):
        play(curriculum, policy, range(200))
        print(f"{curriculum.name:<8} groups with signal: {curriculum.metrics()['share_with_signal_so_far']:.0%}")
