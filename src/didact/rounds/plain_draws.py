"""Plain draws: what groups that nobody chose lack of the signal that a group can have. It says what there is to gain.

Of groups at a pass rate of one half nothing is lacking, of those that always or never pass all: 1 - 4 p (1 - p). Four
times a group's unbiased variance estimates the rest, whatever its size.
"""

from dataclasses import dataclass

import numpy as np

from didact.memory import kept
from didact.method import Arrivals, Run, rewards_of

#: Reasons of planned groups that came by their turn: all of a plan, or a share of it. Groups that were chosen have
#: signal because they were chosen.
UNIFORM, COVERAGE = "uniform", "coverage"
_FADES = 0.98  # what is left of a count after a step
_EXPECTED = 32.0  # groups that an expectation counts as


@dataclass
class PlainDraws:
    """A memory, or a part of one: groups that came back lately, and their signal."""

    groups: float = kept(0.0, least=0)
    signal: float = kept(0.0, least=0)  # the sum of theirs, at most 2 each
    news: dict[int, float] = kept({}, least=0)  # the signal of a group, by its id: sums do not depend on the order

    def note(self, arrivals: Arrivals, run: Run) -> None:
        """Keep what came back for the next `learn`."""
        for group in arrivals.came_back:
            passes = run.belief.passes(rewards_of(group))
            if group.reason in (UNIFORM, COVERAGE) and len(passes) > 1:
                self.news[group.group_id] = 4 * float(np.var(passes, ddof=1))

    def learn(self) -> None:
        """A step has gone by: take in what came back since."""
        signal = sum(self.news[group] for group in sorted(self.news))
        self.groups, self.signal = _FADES * self.groups + len(self.news), _FADES * self.signal + signal
        self.news = {}

    def lacking(self, expected: float) -> float:
        """What plain draws lack, by what came back of them and by what is `expected`."""
        return 1 - (_EXPECTED * (1 - expected) + self.signal) / (_EXPECTED + self.groups)

    def check(self) -> None:
        """Refuse what no run can have led to.

        Raises:
            ValueError: more signal than so many groups can have.
        """
        if self.signal > 2.001 * self.groups:
            raise ValueError(f"{self.groups:g} groups drawn plainly cannot have had a signal of {self.signal:g}")
