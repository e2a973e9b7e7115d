"""A share of uniform: some of a plan's prompts come in shuffled passes, so that each prompt comes now and then."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from didact.memory import kept
from didact.method import Draft, Positions, Run, Turn, option
from didact.methods.wrappers.base import Wrapper, busy, replaced
from didact.passes import Passes
from didact.seeding import hashed_seed


@dataclass
class Memory:
    """The passes, and the fraction of a prompt that is still to come from them."""

    inner: Any
    passes: Passes
    owed: float = kept(0.0, least=0, most=1)  # of the next prompt


@dataclass(frozen=True, kw_only=True)
class UniformShare(Wrapper):
    """A share of the prompts in shuffled passes of their own."""

    uniform_share: float = option(0.0, "share of a plan's prompts that come in shuffled passes", least=0, most=1)

    def init(self, run: Run) -> Memory:
        return Memory(self.method.init(run), run.pool.passes(hashed_seed(run.seed, "uniform share")))

    def edited(self, draft: Draft, places: Positions, turn: Turn, memory: Memory) -> Draft:
        owed = memory.owed + self.uniform_share * len(places)
        num = int(owed + 1e-9)
        memory.owed = max(owed - num, 0.0)
        walked = memory.passes.take(num, len(turn.pool))
        new = walked[~np.isin(walked, busy(draft, turn))]  # the others are being rolled out as it is
        free = places[~np.isin(draft.positions[places], walked)]
        return replaced(draft, np.sort(turn.rng.choice(free, len(new), replace=False)), new)
