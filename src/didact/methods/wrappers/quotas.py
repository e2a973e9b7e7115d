"""Quotas: floors and ceilings, by source, on the share of the groups that train."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from didact.arms import Arms
from didact.memory import derived, kept
from didact.method import NONE, Arrivals, Draft, Floats, Positions, Run, Turn, option
from didact.methods.wrappers.base import Wrapper, busy, replaced
from didact.methods.wrappers.shares import Shares, as_quotas, within_shares
from didact.naming import nearest_or_all

_FADE = 0.95  # of what was counted, by step


@dataclass
class Memory:
    """New groups of late, by source in the order of their first prompts."""

    inner: Any
    planned: Floats = kept(np.zeros(0), least=0)
    trained: Floats = kept(np.zeros(0), least=0)  # those that came back fit to train
    cursors: Positions = kept(NONE, least=0)  # the next prompt of each source
    arms: Arms = derived(lambda: Arms(0))


@dataclass(frozen=True, kw_only=True)
class Quotas(Wrapper):
    """Floors and ceilings on the share of the groups that train, by source.

    It counts, over about the last twenty steps, the new groups of each source and those that came back fit to train. Of
    a plan's new groups each source gets as many as bring it to its floor and not above its ceiling, if its groups go
    on to train as often as they did; a floor that is not met takes at most half of them, so that a source which never
    trains does not get all rollouts.
    """

    quotas: Shares | None = option(None, 'least share of a source, or [least, most]: {"math": 0.2, "code": [0.1, 0.5]}')

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "shardable", False)  # the prompts of each source are held in memory
        object.__setattr__(self, "quotas", as_quotas(self.quotas))

    def init(self, run: Run) -> Memory:
        arms = self._arms(run, Arms(run.seed))
        for name in self.quotas or {}:
            if name not in arms.labels:
                raise ValueError(f"quotas of source {name!r}, which no prompt has{nearest_or_all(name, arms.labels)}")
        ceilings = self._bounds(arms)[1]
        if ceilings.sum() < 1 - 1e-9:
            most = ceilings.sum()
            raise ValueError(f"quotas give {1 - most:.3g} of the groups to no source: ceilings add up to {most:.3g}")
        return Memory(self.method.init(run), arms=arms)

    def edited(self, draft: Draft, places: Positions, turn: Turn, memory: Memory) -> Draft:
        arms = self._arms(turn, memory.arms)
        joined = len(arms.members) - len(memory.cursors)
        for name in ("planned", "trained", "cursors"):
            setattr(memory, name, np.pad(getattr(memory, name), (0, joined)))
        if turn.round == 0:
            memory.planned, memory.trained = _FADE * memory.planned, _FADE * memory.trained
        source = arms.of[draft.positions[places]]
        have = np.bincount(source, minlength=len(arms.members))
        moved = within_shares(have, memory.planned, memory.trained, *self._bounds(arms), arms.sizes) - have
        new = arms.next_ones(np.maximum(moved, 0), memory.cursors, busy(draft, turn))
        given_up = [NONE]
        for arm in np.flatnonzero(moved < 0):
            given_up.append(turn.rng.choice(places[source == arm], -moved[arm], replace=False))
        draft = replaced(draft, turn.rng.permutation(np.concatenate(given_up))[: len(new)], new)
        memory.planned = memory.planned + np.bincount(arms.of[draft.positions[places]], minlength=len(have))
        return draft

    def observed(self, arrivals: Arrivals, run: Run, memory: Memory) -> None:
        super().observed(arrivals, run, memory)
        for group in arrivals.came_back:
            if self.verdict(group, run, memory).fate == "trains":
                memory.trained[memory.arms.of[group.position]] += 1

    def resume(self, run: Run, memory: Memory) -> None:
        super().resume(run, memory)
        sizes, known = memory.arms.sizes, len(memory.cursors)  # of the pool as it was
        if not len(memory.planned) == len(memory.trained) == known <= len(sizes):
            raise ValueError(f"the pool has {len(sizes)} sources, quotas were counted for others")
        if (memory.cursors >= sizes[:known]).any():
            raise ValueError(f"sources of {sizes.tolist()} prompts cannot be read up to {memory.cursors.tolist()}")

    def _arms(self, run: Run, arms: Arms) -> Arms:
        arms.grow(run.needed("source", method=self.name, because="quotas are by source"))
        return arms

    def _bounds(self, arms: Arms) -> tuple[Floats, Floats]:
        """Floors and ceilings of the sources, shape (num_arms,) each."""
        found = np.array([(self.quotas or {}).get(label, [0.0, 1.0]) for label in arms.labels], dtype=np.float64)
        return found[:, 0], found[:, 1]
