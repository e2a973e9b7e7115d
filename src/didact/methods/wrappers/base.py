"""What all wrappers share: they are their method in all that they do not say themselves, and edit its drafts."""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from didact.advantage import AdvantageKind, WeightMode
from didact.allocation import largest_remainder
from didact.ledger import OpenGroup
from didact.method import Arrivals, Comparison, Draft, Floats, Method, Positions, Run, Turn, Verdict

#: What is said of a method once, on its class.
_TRAITS = [
    name
    for name, value in vars(Method).items()
    if not (name.startswith("_") or callable(value) or isinstance(value, property))
]


@dataclass(frozen=True, kw_only=True)
class Wrapper(Method):
    """A method around another, which it is in all that it does not say itself."""

    method: Method

    def __post_init__(self) -> None:
        super().__post_init__()
        for trait in _TRAITS:
            object.__setattr__(self, trait, getattr(self.method, trait))

    @property
    def objective(self) -> tuple[AdvantageKind, WeightMode]:
        return self.method.objective

    @property
    def weighs_groups(self) -> bool:
        return self.method.weighs_groups

    @property
    def wants_gradients(self) -> bool:
        return self.method.wants_gradients

    def uneven(self, run: Run) -> bool:
        return self.method.uneven(run)

    def chooses(self, run: Run) -> bool:
        return self.method.chooses(run)

    def longest_context(self, run: Run) -> int | None:
        return self.method.longest_context(run)

    def most_rollouts(self, run: Run) -> int:
        return self.method.most_rollouts(run)

    def recorded(self) -> dict[str, Any]:
        own = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "method"}
        return {**self.method.recorded(), **own}

    def draft(self, turn: Turn, memory: Any) -> Draft | None:
        draft = self.method.draft(turn, memory.inner)
        if draft is None:
            return None
        reasons = [draft.reason] * len(draft.positions) if isinstance(draft.reason, str) else draft.reason
        known = draft.group_ids or [None] * len(reasons)
        if not self.continues and any(group is not None for group in known):
            raise ValueError(f"method {self.name!r} continues groups: to be wrapped, it must declare continues = True")
        each = zip(known, reasons, strict=True)
        places = np.flatnonzero([group is None and (self.continues or reason == "train") for group, reason in each])
        return self.edited(draft, places, turn, memory) if len(places) else draft

    def edited(self, draft: Draft, places: Positions, turn: Turn, memory: Any) -> Draft:
        """A draft of the method with other groups at `places`: those of its new groups that can train, at least one."""
        return draft

    def observed(self, arrivals: Arrivals, run: Run, memory: Any) -> None:
        self.method.observed(arrivals, run, memory.inner)

    def predict(self, positions: Positions, run: Run, memory: Any) -> tuple[Floats, Floats] | None:
        return self.method.predict(positions, run, memory.inner)

    def compared(self, run: Run, memory: Any) -> Comparison | None:
        return self.method.compared(run, memory.inner)

    def verdict(self, group: OpenGroup, run: Run, memory: Any) -> Verdict:
        return self.method.verdict(group, run, memory.inner)

    def forgot(self, group: OpenGroup, memory: Any) -> bool:
        return self.method.forgot(group, memory.inner)

    def gradients(self, position: int, gram: ArrayLike, passed: ArrayLike, memory: Any) -> None:
        self.method.gradients(position, gram, passed, memory.inner)

    def resume(self, run: Run, memory: Any) -> None:
        self.method.resume(run, memory.inner)


def busy(draft: Draft, turn: Turn) -> Positions:
    """Prompts that are in the draft or have a group that waits: none of them can take another's place."""
    return np.union1d(draft.positions, np.array([group.position for group in turn.waiting], dtype=np.int64))


def replaced(draft: Draft, places: Positions, prompts: Positions) -> Draft:
    """Other prompts at some places, which share the rollouts of these equally and weigh 1."""
    positions, sizes = draft.positions.copy(), draft.num_rollouts.copy()
    positions[places], weights = prompts, draft.weights
    if len(places):
        sizes[places] = largest_remainder(np.ones(len(places)), int(sizes[places].sum()))
    if weights is not None:
        weights = np.array(weights, dtype=np.float64)
        weights[places] = 1.0
    return replace(draft, positions=positions, num_rollouts=sizes, weights=weights)
