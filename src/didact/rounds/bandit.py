"""A bandit over the pool's sources, paid by how large the advantages of their rollouts are. What SEC and DUMP share.

payment    |A| of a rollout, A = (r - q) / std of its group, as in GRPO; its mean over a group of pass rate q is
           2 sqrt(q (1 - q)): 1 at a half, 0 where all pass or fail
select     for each place of a batch a source ~ exp(score), and a prompt of it at random
"""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from didact.arms import Arms
from didact.arrays import Floats, Positions
from didact.memory import derived, kept
from didact.method import Arrivals, Draft, Method, Run, Turn
from didact.rounds.news import News, check_news, note, read


def payments(rewards: Floats) -> Floats:
    """|A| of each rollout of a group, shape (n,)."""
    apart = np.abs(rewards - rewards.mean())
    return np.asarray(apart / (rewards.std() or 1.0))


@dataclass
class Paid:
    """What sources have paid, in the order of their first prompts in the pool."""

    value: Floats = kept(np.zeros(0), least=0)  # Q of SEC
    paid: list[list[float]] = kept([], least=0)  # the window of DUMP
    rollouts: Positions = kept(np.zeros(0, dtype=np.int64), least=0)  # n of DUMP
    news: News = kept({})
    arms: Arms = derived(lambda: Arms(0))


@dataclass(frozen=True, kw_only=True)
class Bandit(Method):
    """A method that chooses among sources. What came moves it once a step, however much came.

    Not for sharded pools: the prompts of each source are held in memory.
    """

    one_round = True
    advantage = "grpo"
    loss_weighting = "token"

    def init(self, run: Run) -> Paid:
        return Paid(arms=self._arms(run, Arms(run.seed)))

    def draft(self, turn: Turn, memory: Paid) -> Draft:
        new = len(self._arms(turn, memory.arms).members) - len(memory.value)
        memory.value = np.pad(memory.value, (0, new))
        memory.rollouts = np.pad(memory.rollouts, (0, new))
        memory.paid = [*memory.paid, *([] for _ in range(new))]
        if memory.news:
            came: list[list[float]] = [[] for _ in memory.paid]
            for position, rewards in read(memory.news):
                came[memory.arms.of[position]] += payments(rewards).tolist()
            self.pay(came, memory)
            memory.news = {}
        score = self.scores(memory)
        places = memory.arms.places(np.exp(score - score.max()), turn.batch, turn.rng)
        return turn.equal(memory.arms.draw(places, turn.rng))

    def observed(self, arrivals: Arrivals, run: Run, memory: Paid) -> None:
        note(memory.news, arrivals)

    def resume(self, run: Run, memory: Paid) -> None:
        check_news(memory.news, len(run.pool))
        known = len(memory.value)  # of the pool as it was: sources that joined since come with the next draft
        if not known == len(memory.paid) == len(memory.rollouts) <= len(memory.arms.members):
            raise ValueError(f"the pool has {len(memory.arms.members)} sources, the state is of others")

    def _arms(self, run: Run, arms: Arms) -> Arms:
        why = f"{self.name} chooses among the sources of prompts"
        arms.grow(run.needed("source", method=self.name, because=why))
        return arms

    @abstractmethod
    def pay(self, came: list[list[float]], memory: Paid) -> None:
        """Take in the payments of a step, by source."""

    @abstractmethod
    def scores(self, memory: Paid) -> Floats:
        """The logarithm of each source's chance, but for a constant."""
