"""When to plan: whether the step at hand has another round, and whether that must wait for what is still out.

The desk and verl's session both run ahead of the trainer and ask a curriculum for plans when they need work. What they
share is here: what the curriculum said of its step, and what it has not been asked to admit yet. What they do not share
stays with them: when the next step may begin (the desk goes by policy versions, verl by what it asked for and by what
was admitted), and when enough is back (the desk has a quorum, verl waits for all).
"""

from typing import Any

from didact.plan import AdmittedGroup, Plan


class Pace:
    """A curriculum as its planner sees it; all plans and admissions go through here.

    Args:
        curriculum: a Curriculum.
    """

    def __init__(self, curriculum: Any) -> None:
        self.curriculum = curriculum
        self.open = False  # whether the step may have another round, by its latest plan
        self.news = False  # whether anything happened since `collect`; the owner says so

    @property
    def over(self) -> bool:
        """Whether the step has no further round, for certain."""
        return not self.open or self.curriculum.next_round == "none"

    def waits(self, *, back: bool) -> bool:
        """Whether the next round of the step depends on what is out, while not enough of it is `back`."""
        return self.open and not back and self.curriculum.next_round == "later"

    def plan(self, step: int) -> Plan:
        """The next round of `step`; an empty one ends it."""
        plan: Plan = self.curriculum.plan(step)
        self.open = bool(plan)
        return plan

    def collect(self, *, complete: bool) -> list[AdmittedGroup]:
        """The groups that became trainable since this was last called, or since the step began."""
        before = self.curriculum.num_admitted
        groups: list[AdmittedGroup] = self.curriculum.admitted(self.curriculum.step, complete=complete)
        self.news = False
        return groups[before:]
