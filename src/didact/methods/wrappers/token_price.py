"""A price on tokens: rollouts go where responses are short, for the same sum of rollouts."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from didact.allocation import largest_remainder
from didact.columns import Columns
from didact.memory import kept
from didact.method import Arrivals, Draft, Positions, Run, Turn, option
from didact.methods.wrappers.base import Wrapper

_KNOWN = 8  # rollouts of the pool's mean length that a prompt's own are added to


@dataclass
class Memory:
    """How long responses were."""

    inner: Any
    lengths: Columns  # "tokens" and "rollouts" of each prompt, where the length was told
    tokens: int = kept(0, least=0)  # of all responses whose length was told
    rollouts: int = kept(0, least=0)


@dataclass(frozen=True, kw_only=True)
class TokenPrice(Wrapper):
    """Rollouts by what they are expected to cost: n_i L_i^-token_price, where the method gives n_i.

    Where n_i goes as the standard deviation of a rollout's contribution, an exponent of 1/2 has the least variance for
    a budget in tokens. L_i is the mean length of a prompt's own responses and of 8 more of the pool's mean length.
    """

    token_price: float = option(0.0, "exponent of response tokens by which rollouts are divided", least=0, most=1)

    def uneven(self, run: Run) -> bool:
        return True

    def init(self, run: Run) -> Memory:
        if self.continues:
            raise ValueError(
                f"token_price moves rollouts between the new groups of a plan, and method {self.name!r} sizes its "
                "groups by continuing them: leave token_price out, or take another method"
            )
        lengths = run.pool.columns(tokens=np.int64(0), rollouts=np.int64(0))
        return Memory(self.method.init(run), lengths)

    def edited(self, draft: Draft, places: Positions, turn: Turn, memory: Memory) -> Draft:
        if not memory.tokens:
            return draft
        mean = memory.tokens / memory.rollouts
        own = [memory.lengths.get(name, draft.positions[places]) for name in ("tokens", "rollouts")]
        price = ((own[0] / mean + _KNOWN) / (own[1] + _KNOWN)) ** self.token_price
        sizes = draft.num_rollouts.copy()
        sizes[places] = largest_remainder(sizes[places] / price, sizes[places].sum(), np.minimum(sizes[places], 2))
        return replace(draft, num_rollouts=sizes)

    def observed(self, arrivals: Arrivals, run: Run, memory: Memory) -> None:
        super().observed(arrivals, run, memory)
        told = [(group.position, outcome.num_tokens) for group, outcome in arrivals if outcome.num_tokens]
        positions, row = np.unique(np.array([position for position, _ in told], dtype=np.int64), return_inverse=True)
        for name, count in (("tokens", sum), ("rollouts", len)):
            counts = [count(each) for _, each in told]
            added = np.bincount(row, weights=counts, minlength=len(positions)).astype(np.int64)
            memory.lengths.put(name, positions, memory.lengths.get(name, positions) + added)
            setattr(memory, name, getattr(memory, name) + int(added.sum()))
