"""CDAS: train on the prompts whose difficulty is nearest to the policy's competence, from both sides.

Kong et al., "Rethinking the Sampling Criteria in Reinforcement Learning for LLM Reasoning: A Competence-Difficulty
Alignment Perspective", arXiv:2505.17652, and the released code, DeyangKong/CDAS.

    visit      e = 1 / (1 + exp(-(C - d)));   d <- ((m - 1) d + (e - q)) / m,   m = visits with this one + 1
    ability    C <- C - mean change of d over all prompts, visited or not
    select     half of the batch from the prompts nearest to C with d <= C, half from those with d > C; where one side
               is short, the other gives more

C and all d are 0 at first, and one shuffled pass comes before the first selection. d is a mean over all visits, so it
lags behind the policy; e is no pass rate to go by, and `pass_rates()` is the belief in own outcomes as ever.

Departures: equals are drawn at random, where the code takes the same ones in each step; fractions of a pass count as
such, where it counts rewards of exactly 1; all visits of a step are rated at the C before it. A visit is what came of
a prompt since the last plan.
"""

from dataclasses import dataclass

import numpy as np

from didact.arrays import Floats, Positions
from didact.columns import Columns
from didact.memory import kept
from didact.method import Arrivals, Draft, Method, Run, Turn, option
from didact.rounds.news import News, check_news, note, read
from didact.selection import top_k


@dataclass
class Memory:
    """Competence, and each prompt's difficulty and visits."""

    prompts: Columns
    ability: float = kept(0.0)
    warm: int = kept(0, least=0)  # prompts that the pass before the first selection has given
    warmed: bool = kept(False)
    news: News = kept({})


@dataclass(frozen=True, kw_only=True)
class CDAS(Method):
    """Prompts as difficult as the policy is competent, half from either side.

    Not for sharded pools: each selection passes over the difficulties of the whole pool.
    """

    name = "cdas"
    paper = "arXiv:2505.17652"
    one_round = True
    advantage = "grpo"
    loss_weighting = "token"

    warm_up: bool = option(True, "begin with one shuffled pass through the pool, as published")

    def init(self, run: Run) -> Memory:
        prompts = run.pool.columns(difficulty=np.float64(0), visits=np.int32(0))
        return Memory(prompts, warmed=not self.warm_up)

    def draft(self, turn: Turn, memory: Memory) -> Draft:
        self._learn(turn, memory)
        if not memory.warmed:
            drawn = turn.walk(turn.batch)
            memory.warm += len(drawn)
            memory.warmed = memory.warm >= len(turn.pool)
            return turn.equal(drawn)
        difficulty = memory.prompts.get("difficulty", np.arange(len(turn.pool)))
        return turn.equal(window(difficulty, memory.ability, turn.batch, turn.rng))

    def observed(self, arrivals: Arrivals, run: Run, memory: Memory) -> None:
        note(memory.news, arrivals)

    def resume(self, run: Run, memory: Memory) -> None:
        check_news(memory.news, len(run.pool))

    def _learn(self, turn: Turn, memory: Memory) -> None:
        came: dict[int, list[float]] = {}
        for position, rewards in read(memory.news):
            came.setdefault(position, []).extend(turn.belief.passes(rewards).tolist())
        memory.news = {}
        if not came:
            return
        positions = np.array(list(came), dtype=np.int64)
        rate = np.array([np.mean(passes) for passes in came.values()])
        before, visits = (memory.prompts.get(name, positions) for name in ("difficulty", "visits"))
        expected = 1 / (1 + np.exp(before - memory.ability))
        after = ((visits + 1) * before + expected - rate) / (visits + 2)
        memory.prompts.put("difficulty", positions, after)
        memory.prompts.put("visits", positions, visits + 1)
        memory.ability -= float((after - before).sum()) / len(turn.pool)


def window(difficulty: Floats, ability: float, num: int, rng: np.random.Generator) -> Positions:
    """The `num` positions nearest to `ability`, half of them (the odd one too) not above it; equals at random."""
    shuffled = rng.permutation(len(difficulty))
    away = difficulty[shuffled] - ability
    below, above = shuffled[away <= 0], shuffled[away > 0]
    low = min(max(num - num // 2, num - len(above)), len(below))
    nearest = top_k(away[away <= 0], low), top_k(-away[away > 0], num - low)
    return np.concatenate([below[nearest[0]], above[nearest[1]]])
