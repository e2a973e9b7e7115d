"""SEC and DUMP: a bandit over the pool's sources, paid by how large the advantages of their rollouts are.

    payment    |A| of a rollout, A = (r - q) / std of its group, as in GRPO; its mean over a group of pass rate q is
               2 sqrt(q (1 - q)): 1 at a half, 0 where all pass or fail

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

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from didact.arms import Arms
from didact.bounds import MAX_PER_STEP
from didact.memory import derived, kept
from didact.method import Arrivals, Draft, Floats, Method, Positions, Run, Turn, option
from didact.rounds.news import News, check_news, note, read


def payments(rewards: Floats) -> Floats:
    """|A| of each rollout of a group, shape (n,)."""
    apart = np.abs(rewards - rewards.mean())
    return np.asarray(apart / (rewards.std() or 1.0))


@dataclass
class Memory:
    """What sources have paid, in the order of their first prompts in the pool."""

    value: Floats = kept(np.zeros(0), least=0)  # Q of SEC
    paid: list[list[float]] = kept([], least=0)  # the window of DUMP
    rollouts: Positions = kept(np.zeros(0, dtype=np.int64), least=0)  # n of DUMP
    news: News = kept({})
    arms: Arms = derived(lambda: Arms(0))


@dataclass(frozen=True, kw_only=True)
class _Bandit(Method):
    """Not for sharded pools: the prompts of each source are held in memory."""

    one_round = True
    advantage = "grpo"
    loss_weighting = "token"

    def init(self, run: Run) -> Memory:
        return Memory(arms=self._arms(run, Arms(run.seed)))

    def draft(self, turn: Turn, memory: Memory) -> Draft:
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

    def observed(self, arrivals: Arrivals, run: Run, memory: Memory) -> None:
        note(memory.news, arrivals)

    def resume(self, run: Run, memory: Memory) -> None:
        check_news(memory.news, len(run.pool))
        known = len(memory.value)  # of the pool as it was: sources that joined since come with the next draft
        if not known == len(memory.paid) == len(memory.rollouts) <= len(memory.arms.members):
            raise ValueError(f"the pool has {len(memory.arms.members)} sources, the state is of others")

    def _arms(self, run: Run, arms: Arms) -> Arms:
        source = run.column("source", self.name)
        if source is None:
            raise ValueError(f"{self.name} chooses among the sources of prompts: PromptPool(ids, source=...)")
        arms.grow(source)
        return arms

    @abstractmethod
    def pay(self, came: list[list[float]], memory: Memory) -> None:
        """Take in the payments of a step, by source."""

    @abstractmethod
    def scores(self, memory: Memory) -> Floats:
        """The logarithm of each source's chance, but for a constant."""


@dataclass(frozen=True, kw_only=True)
class SEC(_Bandit):
    """Sources in proportion to the exponential of how large advantages were lately."""

    name = "sec"
    paper = "arXiv:2505.14970"

    alpha: float = option(0.5, "how much of a value a step replaces; the code's own default is 0.1", above=0, most=1)
    temperature: float = option(1.0, "of the choice; the paper takes 0.2 to 1, by task", above=0)
    fades: bool = option(True, "a source of which nothing came is paid 0; if false, its value stays")

    def pay(self, came: list[list[float]], memory: Memory) -> None:
        for arm, paid in enumerate(came):
            if paid or self.fades:
                memory.value[arm] += self.alpha * ((np.mean(paid) if paid else 0.0) - memory.value[arm])

    def scores(self, memory: Memory) -> Floats:
        return memory.value / self.temperature


@dataclass(frozen=True, kw_only=True)
class DUMP(_Bandit):
    """Sources by the mean size of their latest advantages and an upper confidence bound."""

    name = "dump"
    paper = "arXiv:2504.09710"

    window: int = option(300, "rollouts of each source that its mean is over", least=1, most=MAX_PER_STEP)
    temperature: float = option(0.1, "of the choice", above=0)

    def pay(self, came: list[list[float]], memory: Memory) -> None:
        for arm, paid in enumerate(came):
            memory.rollouts[arm] += len(paid)
            memory.paid[arm] = [*memory.paid[arm], *paid][-self.window :]

    def scores(self, memory: Memory) -> Floats:
        mean = np.array([np.mean(paid) if paid else 0.0 for paid in memory.paid])
        bonus = np.sqrt(2 * np.log(memory.rollouts.sum() + 1) / (memory.rollouts + 1))
        return np.asarray((mean + bonus) / self.temperature)
