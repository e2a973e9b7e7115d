"""Returns: what groups that came back lately say of a belief, and of what a plain draw would give. Sums that fade.

What plain draws lack: a group has a signal of 4 p (1 - p) where its prompt passes with rate p, 1 at the best. Of groups
that came by their turn, four times the unbiased variance v estimates it, whatever their size. Groups that were chosen
have signal because they were chosen, and do not count.

What belief is worth: n rollouts estimate p with the variance p (1 - p) / n, a belief q with an error of its own, so it
is worth the n at which the two are alike. Of any group with mean m and n rollouts (m - q)^2 - v / n estimates the
square of the error, and v estimates p (1 - p).
"""

from dataclasses import dataclass

import numpy as np

from didact.memory import kept
from didact.method import Arrivals, Run

#: Reasons of planned groups that came by their turn: all of a plan, or a share of it.
UNIFORM, COVERAGE = "uniform", "coverage"
_PLAIN_FADE, _FADE = 0.98, 0.9  # what is left of a sum after a step
_EXPECTED = 32.0  # groups that an expectation counts as


@dataclass
class Returns:
    """A memory, or a part of one. Before it was tried a belief is worth nothing."""

    plain: float = kept(0.0, least=0)  # groups that came by their turn
    signal: float = kept(0.0, least=0)  # theirs, at most 2 each
    error: float = kept(1.0)  # squares, some of whose estimates are less than 0
    variance: float = kept(0.0, least=0)
    news: dict[int, list[float]] = kept({})  # what a group adds to the four, by its id: no sum depends on the order

    def note(self, arrivals: Arrivals, run: Run) -> None:
        """Keep what came back for the next `learn`, beside what was believed of it when it was planned."""
        usable = [(group, group.usable) for group in arrivals.came_back]
        back = [(group, rollouts) for group, rollouts in usable if len(rollouts) > 1]
        sizes = np.array([len(rollouts) for _, rollouts in back], dtype=np.int64)
        row = np.repeat(np.arange(len(back)), sizes)
        rewards = [group.rewards[rollout] for group, rollouts in back for rollout in rollouts]
        passes = run.belief.passes(np.array(rewards, dtype=np.float64))
        mean = np.bincount(row, passes, len(back)) / sizes
        variance = np.bincount(row, (passes - mean[row]) ** 2, len(back)) / (sizes - 1)
        error = (mean - [group.predicted for group, _ in back]) ** 2 - variance / sizes
        plain = np.array([group.reason in (UNIFORM, COVERAGE) for group, _ in back])
        news = np.stack([plain, plain * 4 * variance, error, variance], axis=1).tolist()
        self.news.update(zip([group.group_id for group, _ in back], news, strict=True))

    def learn(self) -> None:
        """A step has gone by: take in what came back since."""
        news = np.array([self.news[group] for group in sorted(self.news)]).reshape(-1, 4).sum(axis=0).tolist()
        self.plain, self.signal = _PLAIN_FADE * self.plain + news[0], _PLAIN_FADE * self.signal + news[1]
        self.error, self.variance = _FADE * self.error + news[2], _FADE * self.variance + news[3]
        self.news = {}

    def lacking(self, expected: float) -> float:
        """What a plain draw lacks of the signal that it can have, by what came back and by what is `expected`."""
        return 1 - (_EXPECTED * (1 - expected) + self.signal) / (_EXPECTED + self.plain)

    def worth(self, most: float) -> float:
        """The rollouts that a believed pass rate is worth, at most `most`; the same until the next `learn`."""
        return most if self.error * most <= self.variance else self.variance / self.error

    def check(self) -> None:
        """Refuse what no run can have led to.

        Raises:
            ValueError: more signal than so many groups can have, or news that are none.
        """
        if self.signal > 2.001 * self.plain:
            raise ValueError(f"{self.plain:g} groups drawn plainly cannot have had a signal of {self.signal:g}")
        for news in self.news.values():
            if len(news) != 4 or not np.isfinite(news).all() or min(news[0], news[1], news[3]) < 0:
                raise ValueError(f"of a group four finite numbers are kept, of which one may be negative, got {news}")
