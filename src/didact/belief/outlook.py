"""What to expect of a prompt: its pass rate by the shared belief, and how long its responses will be.

Outcomes are noted as they come and learnt once a step, all together: nothing depends on the order in which they arrive.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from didact.arrays import Floats, Positions
from didact.belief.description import Description
from didact.belief.lengths import ResponseLengths
from didact.belief.shared import SharedBelief, over_logits, own_columns
from didact.memory import kept
from didact.pool import Pool
from didact.turn import Arrivals, Run

_ROWS = 1 << 16  # prompts described at a time


@dataclass
class Outlook:
    """A memory, or a part of one."""

    description: Description
    shared: SharedBelief
    lengths: ResponseLengths
    news: dict[int, list[float]] = kept({})  # by group: position, version, passes, trials, responses, tokens

    @classmethod
    def of(cls, pool: Pool) -> Self:
        """At the start of a run."""
        description = Description(pool)
        width = description.width
        return cls(description, SharedBelief(width, own_columns(pool)), ResponseLengths(width))

    def note(self, arrivals: Arrivals, run: Run) -> None:
        """Keep what came back for the next `learn`."""
        sizes = np.array([len(rewards) for rewards in arrivals.rewards], dtype=np.int64)
        every = np.array([reward for rewards in arrivals.rewards for reward in rewards], dtype=np.float64)
        passes = np.bincount(np.repeat(np.arange(len(sizes)), sizes), run.belief.passes(every), len(sizes)).tolist()
        for (group, outcome), passed, size in zip(arrivals, passes, sizes.tolist(), strict=True):
            version = group.asked if outcome.policy_version is None else outcome.policy_version
            news = self.news.setdefault(group.group_id, [float(group.position), float(version), *[0.0] * 4])
            tokens = outcome.num_tokens or ()
            added = passed, size, len(tokens), sum(tokens)
            news[2:] = [before + float(more) for before, more in zip(news[2:], added, strict=True)]

    def learn(self, pool: Pool, step: int) -> None:
        """Take in all that was noted; what an older policy did counts less."""
        news = np.array([self.news[group_id] for group_id in sorted(self.news)]).reshape(-1, 6)
        self.news = {}
        positions, index = np.unique(news[:, 0].astype(np.int64), return_inverse=True)
        if len(positions) == 0:
            return
        rows = self.description.rows(pool, positions)
        fresh = self.shared.decay ** np.maximum(step - 1 - news[:, 1], 0.0)
        passes, trials, responses, tokens = (
            np.bincount(index, weights=column).astype(np.float64)
            for column in (fresh * news[:, 2], fresh * news[:, 3], news[:, 4], news[:, 5])
        )
        told, answered = trials > 0, responses > 0
        self.shared.learn(rows[told], positions[told], passes[told], trials[told], step)
        self.lengths.learn(rows[answered], tokens[answered] / responses[answered])

    def rates(self, pool: Pool, positions: Positions, step: int) -> tuple[Floats, Floats]:
        """Mean and standard deviation of pass rates, shape (n,) each."""
        mean, std = np.zeros(len(positions)), np.zeros(len(positions))
        for first in range(0, len(positions), _ROWS):
            some = slice(first, first + _ROWS)
            rates, masses = self.nodes(pool, positions[some], step)
            mean[some] = rates @ masses
            std[some] = np.sqrt(np.maximum(rates**2 @ masses - mean[some] ** 2, 0.0))
        return mean, std

    def nodes(self, pool: Pool, positions: Positions, step: int) -> tuple[Floats, Floats]:
        """Pass rates at the nodes of a quadrature over the doubt, shape (n, nodes), and the nodes' masses."""
        return over_logits(*self.shared.logits(self.description.rows(pool, positions), positions, step))

    def lacking(self, pool: Pool, positions: Positions, step: int) -> float:
        """What these prompts are expected to lack of the signal that groups can have, on average: 1 - 4 p (1 - p)."""
        rates, masses = self.nodes(pool, positions, step)
        return 1 - 4 * float(((rates * (1 - rates)) @ masses).mean())

    def check(self, pool: Pool) -> None:
        """Refuse what no run on this pool can have led to.

        Raises:
            ValueError: says what.
        """
        widths = [self.description.width, len(self.shared.weights), len(self.lengths.moment)]
        if len(set(widths)) > 1:
            raise ValueError(f"prompts are described by {widths[0]} numbers, what was learnt is of {widths[1:]}")
        for news in self.news.values():
            if len(news) != 6 or not 0 <= news[0] < len(pool) or min(news) < 0:
                raise ValueError(f"news of a prompt of this pool are six numbers of at least 0, got {news}")
