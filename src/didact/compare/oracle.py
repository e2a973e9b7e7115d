"""The oracle: told the true pass rates p, it draws prompts in proportion to a power of v = p(1-p).

It bounds what knowing the pass rates is worth to a selector of this kind; no method can be given it in practice. The
pass rates come from outside the budget (`Learner.pass_rates`) and are refreshed every `refresh_rollouts` rollouts.

Drawing by v in equal groups is one rule of many, and not the best: with 128 rollouts an update, fewer or more prompts,
a sharper draw, or rollouts in proportion to sqrt(v) may be. `benchmarks/oracle.toml` compares them; the share of the
way to the oracle that a table prints is of the one that its settings name.

With `knows="columns"` it is told only what a regression of all true logits on the pool's columns says
(`belief/description.py`): what such a belief can come to from columns alone, however many outcomes it has seen.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from didact.allocation import largest_remainder
from didact.belief.description import Description
from didact.belief.shared import over_logits
from didact.memory import kept
from didact.method import Draft, Floats, Method, Positions, Run, Turn, option
from didact.pool import Pool
from didact.selection import draw

_EDGE = 0.005  # of a pass rate whose logit is taken


@dataclass
class Memory:
    """What it was told, and when."""

    pass_rates: Floats = kept(np.zeros(0), least=0, most=1)  # of the pool as it was then
    variance: Floats = kept(np.zeros(0), least=0, most=0.25)  # of a reward, expected; with the rates known p (1 - p)
    told_at: int = kept(0, least=0)  # in rollouts planned


@dataclass(frozen=True, kw_only=True)
class Oracle(Method):
    """Told the true pass rates p, it draws prompts by p(1-p).

    Args:
        truth: gives the pass rate of every prompt, in the order of the pool. No option: states do not hold it.
    """

    name = "oracle"
    one_round = True

    truth: Callable[[], Floats]
    refresh_rollouts: int = option(1920, "rollouts between two looks at the truth", least=1)
    power: float = option(
        1.0,
        "prompts are drawn in proportion to v ** power: 0 is uniform among those that can have signal",
        least=0,
        most=100,
    )
    allocation: str = option(
        "equal",
        '"equal" groups, or, with "variance", rollouts in proportion to sqrt(v), at least 2 each, which makes the '
        "variance of a prompt-mean gradient least (Neyman; CurES eq. 18 with gradients of one length)",
        choices=("equal", "variance"),
    )

    group_size: int | None = option(None, "rollouts of a prompt; None: as prompts_per_step says", least=2)
    knows: str = option(
        "rates", "all pass rates, or what columns of the pool say of them", choices=("rates", "columns")
    )

    def recorded(self) -> dict[str, Any]:
        return {name: value for name, value in super().recorded().items() if name != "truth"}

    def uneven(self, run: Run) -> bool:
        return self.allocation == "variance" or self.group_size is not None or super().uneven(run)

    def init(self, run: Run) -> Memory:
        memory = Memory()
        self._look(run.pool, memory)
        return memory

    def draft(self, turn: Turn, memory: Memory) -> Draft:
        grown = len(memory.pass_rates) < len(turn.pool)
        if grown or turn.num_planned - memory.told_at >= self.refresh_rollouts:
            self._look(turn.pool, memory)
            memory.told_at = turn.num_planned
        batch = turn.batch if self.group_size is None else turn.rollouts_per_step // self.group_size
        batch = min(batch, len(turn.pool))
        variance = memory.variance
        weights = np.where(variance > 0, variance**self.power, 0.0)
        positions = draw(weights, batch, turn.rng) if weights.any() else np.zeros(0, dtype=np.int64)
        if (missing := batch - len(positions)) > 0:  # fewer prompts have a chance of signal: fill up
            others = np.setdiff1d(turn.walk(2 * batch), positions)[:missing]
            positions = np.concatenate([positions, others])
        shares = np.ones(len(positions))
        if self.allocation == "variance" and variance[positions].any():
            shares = np.sqrt(variance[positions])
        return Draft(positions, largest_remainder(shares, turn.rollouts_per_step, 2))

    def predict(self, positions: Positions, run: Run, memory: Memory) -> tuple[Floats, Floats] | None:
        """What it was told last; nothing of its own for a pool that has grown since, until it looks again."""
        if len(memory.pass_rates) < len(run.pool):
            return None
        return memory.pass_rates[positions], np.zeros(len(positions))

    def _look(self, pool: Pool, memory: Memory) -> None:
        """Be told the truth, or what can be known of it."""
        rates = np.clip(np.asarray(self.truth(), dtype=np.float64), 0.0, 1.0)
        memory.pass_rates, memory.variance = rates, rates * (1 - rates)
        if self.knows == "columns":
            rows = Description(pool).rows(pool, np.arange(len(pool)))
            inner = np.clip(rates, _EDGE, 1 - _EDGE)
            logits = np.log(inner / (1 - inner))
            fitted = rows @ np.linalg.lstsq(rows, logits, rcond=None)[0]
            nodes, masses = over_logits(fitted, np.full(len(fitted), np.var(logits - fitted)))
            memory.pass_rates, memory.variance = nodes @ masses, (nodes * (1 - nodes)) @ masses
