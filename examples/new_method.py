"""Frontier: prefer prompts that pass about half of the time, and prompts that little is known about.

    weight_i = exp( -(p_i - target)^2 / (2 width^2) ) + curiosity * std_i

A group has signal only when some of its rollouts pass and some fail, which is likeliest at a pass rate of one half; the
second term keeps prompts in play that were hardly tried. It is an example and no published method.

    python examples/new_method.py            # on simulated prompts: share of groups with signal, against uniform
"""

from dataclasses import dataclass

import numpy as np

from didact import Draft, Method, Turn, make, option
from didact.selection import draw


@dataclass(frozen=True, kw_only=True)
class Frontier(Method):
    """Prompts that pass about half of the time, and those that little is known about."""

    name = "frontier"
    one_round = True

    target: float = option(0.5, "the pass rate that is preferred", least=0, most=1)
    width: float = option(0.2, "distance from it at which the preference has fallen by two fifths", above=0)
    curiosity: float = option(1.0, "weight of what is not known", above=0)

    def draft(self, turn: Turn, memory: None) -> Draft:
        believed = turn.belief.pass_rates(turn.pool.ids, step=turn.step)
        closeness = np.exp(-0.5 * ((believed.mean - self.target) / self.width) ** 2)
        return turn.equal(draw(closeness + self.curiosity * believed.std, turn.batch, turn.rng))


if __name__ == "__main__":
    from didact.testing import SimulatedPolicy, play, pool_of

    rates = np.random.default_rng(0).beta(0.3, 1.0, size=400)  # many hard prompts, few easy ones
    policy = SimulatedPolicy({f"prompt-{index}": rate for index, rate in enumerate(rates)})
    for method in ("uniform", Frontier):
        curriculum = make(method, pool_of(400), prompts_per_step=32, rollouts_per_step=256, discount=0.9)
        play(curriculum, policy, range(200))
        print(f"{curriculum.name:<8} groups with signal: {curriculum.metrics()['share_with_signal_so_far']:.0%}")
