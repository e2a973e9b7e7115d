"""Plain draws: how many groups are silent that nobody chose, lately. It says whether there is anything to choose."""

from dataclasses import dataclass

from didact.admission import has_signal
from didact.memory import kept
from didact.method import Arrivals, rewards_of

#: The reason of a planned group that came by its turn. Groups that were chosen have signal because they were chosen.
PLAIN = "uniform"
_FADES = 0.98  # what is left of a count after a step
_EXPECTED = 32.0  # groups that an expectation counts as


@dataclass
class PlainDraws:
    """A memory, or a part of one."""

    groups: float = kept(0.0, least=0)
    silent: float = kept(0.0, least=0)  # of those

    def fade(self) -> None:
        """A step has gone by."""
        self.groups, self.silent = _FADES * self.groups, _FADES * self.silent

    def note(self, arrivals: Arrivals) -> None:
        """Count what came back."""
        plain = [group for group in arrivals.came_back if group.reason == PLAIN]
        self.groups += len(plain)
        self.silent += sum(not has_signal(rewards_of(group)) for group in plain)

    def silent_share(self, expected: float) -> float:
        """Of plain draws, by what came back of them and by what is `expected`."""
        return (_EXPECTED * expected + self.silent) / (_EXPECTED + self.groups)

    def check(self) -> None:
        """Refuse what no run can have led to.

        Raises:
            ValueError: more silent groups than groups.
        """
        if self.silent > self.groups:
            raise ValueError(f"of {self.groups:g} groups drawn plainly no {self.silent:g} can have been silent")
