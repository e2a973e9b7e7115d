"""E2H Reasoner: levels of difficulty from easy to hard, by a schedule that is fixed before the run.

Parashar et al., "Curriculum Reinforcement Learning from Easy to Hard Tasks Improves LLM Reasoning", arXiv:2506.06632,
and the released code, divelab/E2H-Reasoning. Levels 0 to K - 1, step t of T; each place of a batch draws a level:

    classical   only level min(floor(t K / T), K - 1)
    balanced    1 / K each
    cosine      a (K - i) / S + (1 - a) (i + 1) / S,   a = (1 + cos(pi t / T)) / 2,   S = K (K + 1) / 2
    gaussian    f + (1 - K f) w_i,   w_i ~ exp(-(i - m)^2 / (2 width^2)),   m = (t / T)^exponent (K - 1),   f = 1 / S

f is the least chance that a level has; the cosine keeps to it by itself. The prompts of a level come in a fixed
shuffled order, round and round.

It is blind to the policy, and needs to know how long a run is: after T the last mixture stays. Departure: a batch holds
distinct prompts, and a level with fewer than its places leaves them to the others.
"""

from dataclasses import dataclass
from math import cos, pi

import numpy as np

from didact.arms import Arms
from didact.arrays import Floats, Positions
from didact.bounds import MAX_STEP
from didact.memory import derived, kept
from didact.method import Draft, Method, Run, Turn, option

_MOST_LABELS = 20  # distinct difficulties that are taken for levels
_LEVELS = 4  # that finer ones are cut into: trivial, easy, medium and hard in the paper


@dataclass
class Memory:
    """Where the levels begin, and how far each was read, in the order of their first prompts in the pool."""

    cuts: Floats = kept(np.zeros(0))  # of the pool as it was at the start; none where each difficulty is a level
    cursors: Positions = kept(np.zeros(0, dtype=np.int64), least=0)
    arms: Arms = derived(lambda: Arms(0))


@dataclass(frozen=True, kw_only=True)
class E2H(Method):
    """Levels of difficulty by a schedule from easy to hard, whatever comes back.

    The pool needs `difficulty`. Not for sharded pools: the prompts of each level are held in memory.
    """

    name = "e2h"
    paper = "arXiv:2506.06632"
    one_round = True
    advantage = "grpo"
    loss_weighting = "token"

    schedule: str = option("gaussian", "how the mixture moves", choices=("classical", "balanced", "cosine", "gaussian"))
    total_steps: int = option(1200, "T, steps from the easiest to the hardest mixture", least=1, most=MAX_STEP)
    levels: int | None = option(None, "of equal size; None: each difficulty, or four if over 20", least=2, most=4096)
    exponent: float = option(0.5, "of the time at which the gaussian's centre moves; the paper's beta", above=0)
    width: float = option(0.5, "of the gaussian, in levels; the paper's sigma", above=0)
    floor: bool = option(True, "of the gaussian: no level has less than 2 / (K (K + 1))")

    def chances(self, step: int, num: int) -> Floats:
        """The chance of each of `num` levels at a step, the easiest first, shape (num,)."""
        time, level, total = min(step / self.total_steps, 1.0), np.arange(num), num * (num + 1) / 2
        if self.schedule == "classical":
            return np.asarray(level == min(int(time * num), num - 1), dtype=np.float64)
        if self.schedule == "balanced":
            return np.full(num, 1 / num)
        if self.schedule == "cosine":
            early = 0.5 * (1 + cos(pi * time))
            return np.asarray(early * (num - level) / total + (1 - early) * (level + 1) / total)
        away = ((level - time**self.exponent * (num - 1)) / self.width) ** 2 / 2
        weight = np.exp(away.min() - away)
        least = 1 / total if self.floor else 0.0
        return np.asarray(least + (1 - num * least) * weight / weight.sum())

    def init(self, run: Run) -> Memory:
        difficulty, levels = self._difficulty(run), self.levels
        if levels is None and len(np.unique(difficulty)) > _MOST_LABELS:
            levels = _LEVELS
        cuts = np.zeros(0) if levels is None else np.quantile(difficulty, np.arange(1, levels) / levels)
        return self._grown(run, Memory(cuts=np.unique(cuts).astype(np.float64), arms=Arms(run.seed)))

    def draft(self, turn: Turn, memory: Memory) -> Draft:
        if len(memory.arms.of) < len(turn.pool):
            self._grown(turn, memory)
        memory.cursors = np.pad(memory.cursors, (0, len(memory.arms.members) - len(memory.cursors)))
        easiest_first = np.argsort([float(label) for label in memory.arms.labels])
        chances = np.zeros(len(easiest_first))
        chances[easiest_first] = self.chances(turn.step, len(easiest_first))
        places = memory.arms.places(chances, turn.batch, turn.rng)
        return turn.equal(memory.arms.next_ones(places, memory.cursors))

    def resume(self, run: Run, memory: Memory) -> None:
        memory.arms = Arms(run.seed)  # by the cuts that were saved
        sizes = self._grown(run, memory).arms.sizes
        if len(memory.cursors) > len(sizes) or (memory.cursors >= sizes[: len(memory.cursors)]).any():
            raise ValueError(f"levels of {sizes.tolist()} prompts cannot be read up to {memory.cursors.tolist()}")

    def _grown(self, run: Run, memory: Memory) -> Memory:
        difficulty = self._difficulty(run)
        memory.arms.grow(np.searchsorted(memory.cuts, difficulty, side="right") if len(memory.cuts) else difficulty)
        return memory

    def _difficulty(self, run: Run) -> Floats:
        why = "e2h goes from easy to hard"
        return run.needed("difficulty", method=self.name, because=why, complete=True)
