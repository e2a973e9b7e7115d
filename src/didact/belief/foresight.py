"""Foresight: how many rollouts a believed pass rate is worth, by what came of the groups it was believed of lately.

n rollouts estimate a pass rate p with the variance p (1 - p) / n, a belief with an error of its own: it is worth the n
at which the two are alike, p (1 - p) over the mean of (p - believed)^2. Of a group with mean m and unbiased variance v,
(m - believed)^2 - v / n estimates that square, and v estimates p (1 - p).
"""

from dataclasses import dataclass

import numpy as np

from didact.group import rewards_of
from didact.memory import kept
from didact.turn import Arrivals, Run

_FADES = 0.9  # what is left of the sums after a step


@dataclass
class Foresight:
    """A memory, or a part of one. Before it was tried a belief is worth nothing."""

    error: float = kept(1.0)  # the sum of the squares, some of whose estimates are less than 0
    noise: float = kept(0.0, least=0)  # the sum of the variances
    news: dict[int, list[float]] = kept({})  # what a group adds to the two, by its id: sums do not depend on the order

    def note(self, arrivals: Arrivals, run: Run) -> None:
        """Keep what came back for the next `learn`, beside what was believed when it was planned."""
        for group in arrivals.came_back:
            passes = run.belief.passes(rewards_of(group))
            if len(passes) > 1:
                variance = float(np.var(passes, ddof=1))
                gap = float(passes.mean()) - group.predicted
                self.news[group.group_id] = [gap**2 - variance / len(passes), variance]

    def learn(self) -> None:
        """A step has gone by: take in what came back since."""
        error, noise = np.array([self.news[group] for group in sorted(self.news)]).reshape(-1, 2).sum(axis=0).tolist()
        self.error, self.noise, self.news = _FADES * self.error + error, _FADES * self.noise + noise, {}

    def rollouts(self, most: float) -> float:
        """What a believed pass rate is worth, at most `most`."""
        return most if self.error * most <= self.noise else self.noise / self.error

    def check(self) -> None:
        """Refuse what no run can have led to.

        Raises:
            ValueError: news that are none.
        """
        for news in self.news.values():
            if len(news) != 2 or not np.isfinite(news).all() or news[1] < 0:
                raise ValueError(f"of a group two numbers are kept, its error and its noise, got {news}")
