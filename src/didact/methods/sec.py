"""SEC and DUMP: a bandit over the pool's sources, paid by how large the advantages of their rollouts are.

    payment    |A| of a rollout, see `didact.rounds.bandit`

SEC   Chen et al., "Self-Evolving Curriculum for LLM Reasoning", arXiv:2505.14970.

    value      Q_c <- (1 - alpha) Q_c + alpha r_c,   r_c the mean payment of the category in a step, Q_c = 0 at first
    select     for each place a category ~ exp(Q_c / temperature), and a prompt of it at random

DUMP  Wang et al., "DUMP: Automated Distribution-Level Curriculum Learning for RL-based LLM Post-training",
      arXiv:2504.09710, ZhentingWang/DUMP.

    value      mean payment of the arm's last 300 rollouts + sqrt(2 ln(N + 1) / (n_c + 1)),   N = sum of n_c, rollouts
    select     for each place an arm ~ exp(value / 0.1), and a prompt of it at random

As in SEC's released code, a category of which nothing came in a step is paid 0, so that its value fades; its text does
not say so, and `fades=False` leaves it alone. DUMP's counts are never discounted, so its bonus fades for good.

Departures: a batch holds distinct prompts; a category with fewer than its places leaves them to the others; nothing is
learnt from validation rewards, which DUMP's code pushes into the same windows. Both aim at pass rates of one half,
however little there is to learn at them, and neither knows of single prompts or of cost.
"""

from dataclasses import dataclass

import numpy as np

from didact.arrays import Floats
from didact.bounds import MAX_PER_STEP
from didact.method import option
from didact.rounds.bandit import Bandit, Paid
from didact.rounds.bandit import payments as payments


@dataclass(frozen=True, kw_only=True)
class SEC(Bandit):
    """Sources in proportion to the exponential of how large advantages were lately."""

    name = "sec"
    paper = "arXiv:2505.14970"

    alpha: float = option(0.5, "how much of a value a step replaces; the code's own default is 0.1", above=0, most=1)
    temperature: float = option(1.0, "of the choice; the paper takes 0.2 to 1, by task", above=0)
    fades: bool = option(True, "a source of which nothing came is paid 0; if false, its value stays")

    def pay(self, came: list[list[float]], memory: Paid) -> None:
        for arm, paid in enumerate(came):
            if paid or self.fades:
                memory.value[arm] += self.alpha * ((np.mean(paid) if paid else 0.0) - memory.value[arm])

    def scores(self, memory: Paid) -> Floats:
        return memory.value / self.temperature


@dataclass(frozen=True, kw_only=True)
class DUMP(Bandit):
    """Sources by the mean size of their latest advantages and an upper confidence bound."""

    name = "dump"
    paper = "arXiv:2504.09710"

    advantage_window: int = option(300, "rollouts of each source that its mean is over", least=1, most=MAX_PER_STEP)
    temperature: float = option(0.1, "of the choice", above=0)

    def pay(self, came: list[list[float]], memory: Paid) -> None:
        for arm, paid in enumerate(came):
            memory.rollouts[arm] += len(paid)
            memory.paid[arm] = [*memory.paid[arm], *paid][-self.advantage_window :]

    def scores(self, memory: Paid) -> Floats:
        mean = np.array([np.mean(paid) if paid else 0.0 for paid in memory.paid])
        bonus = np.sqrt(2 * np.log(memory.rollouts.sum() + 1) / (memory.rollouts + 1))
        return np.asarray((mean + bonus) / self.temperature)
