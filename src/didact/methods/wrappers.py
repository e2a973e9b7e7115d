"""Wrappers: methods around a method, for what any run may need whatever its method is. `make` puts them on.

    uniform_share   a share of the prompts comes in shuffled passes, so that each comes now and then
    quotas          floors and ceilings, by source, on the share of the groups that train
    token_price     rollouts go where responses are short, for the same sum of rollouts

A wrapper edits the drafts of its method: it moves *new groups that can train*. Those are planned with the reason
"train", or, by a method that `continues` its groups, with any reason. Continuations stay, and so do pilots that never
train (CurES, GVM). A prompt that is replaced has lost its turn: the method is not told, but of what came back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from didact.advantage import AdvantageKind, WeightMode
from didact.allocation import largest_remainder
from didact.arms import Arms
from didact.bounds import real, shortened
from didact.columns import Columns
from didact.ledger import OpenGroup
from didact.memory import derived, kept
from didact.method import Arrivals, Draft, Floats, Method, Positions, Run, Turn, Verdict, option
from didact.naming import nearest_or_all
from didact.seeding import hashed_seed
from didact.selection import ShuffledPasses

Shares = Mapping[str, float | Sequence[float | None]]  # by source the least, or [least, most]
#: What is said of a method once, on its class.
_TRAITS = [
    name
    for name, value in vars(Method).items()
    if not (name.startswith("_") or callable(value) or isinstance(value, property))
]
_FADE = 0.95  # of what quotas have counted, by step
_MOST = 0.5  # of a plan's new groups that a floor can take, if it is no more itself
_KNOWN = 8  # rollouts of the pool's mean length that a prompt's own are added to


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

    def verdict(self, group: OpenGroup, run: Run, memory: Any) -> Verdict:
        return self.method.verdict(group, run, memory.inner)

    def forgot(self, group: OpenGroup, memory: Any) -> bool:
        return self.method.forgot(group, memory.inner)

    def gradients(self, position: int, gram: ArrayLike, passed: ArrayLike, memory: Any) -> None:
        self.method.gradients(position, gram, passed, memory.inner)

    def resume(self, run: Run, memory: Any) -> None:
        self.method.resume(run, memory.inner)


def _busy(draft: Draft, turn: Turn) -> Positions:
    """Prompts that are in the draft or have a group that waits: none of them can take another's place."""
    return np.union1d(draft.positions, np.array([group.position for group in turn.waiting], dtype=np.int64))


def _replaced(draft: Draft, places: Positions, prompts: Positions) -> Draft:
    """Other prompts at some places, which share the rollouts of these equally and weigh 1."""
    positions, sizes = draft.positions.copy(), draft.num_rollouts.copy()
    positions[places], weights = prompts, draft.weights
    if len(places):
        sizes[places] = largest_remainder(np.ones(len(places)), int(sizes[places].sum()))
    if weights is not None:
        weights = np.array(weights, dtype=np.float64)
        weights[places] = 1.0
    return replace(draft, positions=positions, num_rollouts=sizes, weights=weights)


# A share of uniform ---------------------------------------------------------------------------------------------


@dataclass
class _Walked:
    inner: Any
    passes: ShuffledPasses
    owed: float = kept(0.0, least=0, most=1)  # of the next prompt


@dataclass(frozen=True, kw_only=True)
class UniformShare(Wrapper):
    """A share of the prompts in shuffled passes of their own."""

    uniform_share: float = option(0.0, "share of a plan's prompts that come in shuffled passes", least=0, most=1)

    def init(self, run: Run) -> _Walked:
        return _Walked(self.method.init(run), run.pool.passes(hashed_seed(run.seed, "uniform share")))

    def edited(self, draft: Draft, places: Positions, turn: Turn, memory: _Walked) -> Draft:
        owed = memory.owed + self.uniform_share * len(places)
        num = int(owed + 1e-9)
        memory.owed = max(owed - num, 0.0)
        walked = memory.passes.take(num, len(turn.pool))
        new = walked[~np.isin(walked, _busy(draft, turn))]  # the others are being rolled out as it is
        free = places[~np.isin(draft.positions[places], walked)]
        return _replaced(draft, np.sort(turn.rng.choice(free, len(new), replace=False)), new)


# Quotas by source -----------------------------------------------------------------------------------------------


@dataclass
class _Counted:
    inner: Any
    planned: Floats = kept(np.zeros(0), least=0)  # new groups by source, in the order of their first prompts
    trained: Floats = kept(np.zeros(0), least=0)  # those that came back fit to train
    cursors: Positions = kept(np.zeros(0, dtype=np.int64), least=0)
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
        object.__setattr__(self, "quotas", _as_quotas(self.quotas))

    def init(self, run: Run) -> _Counted:
        arms = self._arms(run, Arms(run.seed))
        for name in self.quotas or {}:
            if name not in arms.labels:
                raise ValueError(f"quotas of source {name!r}, which no prompt has{nearest_or_all(name, arms.labels)}")
        ceilings = self._bounds(arms)[1]
        if ceilings.sum() < 1 - 1e-9:
            most = ceilings.sum()
            raise ValueError(f"quotas give {1 - most:.3g} of the groups to no source: ceilings add up to {most:.3g}")
        return _Counted(self.method.init(run), arms=arms)

    def edited(self, draft: Draft, places: Positions, turn: Turn, memory: _Counted) -> Draft:
        arms = self._arms(turn, memory.arms)
        joined = len(arms.members) - len(memory.cursors)
        for name in ("planned", "trained", "cursors"):
            setattr(memory, name, np.pad(getattr(memory, name), (0, joined)))
        if turn.round == 0:
            memory.planned, memory.trained = _FADE * memory.planned, _FADE * memory.trained
        source = arms.of[draft.positions[places]]
        have = np.bincount(source, minlength=len(arms.members))
        moved = self._wanted(have, memory) - have
        new = self._next(np.maximum(moved, 0), _busy(draft, turn), memory)
        given_up = [np.zeros(0, dtype=np.int64)]
        for arm in np.flatnonzero(moved < 0):
            given_up.append(turn.rng.choice(places[source == arm], -moved[arm], replace=False))
        draft = _replaced(draft, turn.rng.permutation(np.concatenate(given_up))[: len(new)], new)
        memory.planned = memory.planned + np.bincount(arms.of[draft.positions[places]], minlength=len(have))
        return draft

    def observed(self, arrivals: Arrivals, run: Run, memory: _Counted) -> None:
        super().observed(arrivals, run, memory)
        for group in arrivals.came_back:
            if self.verdict(group, run, memory).fate == "trains":
                memory.trained[memory.arms.of[group.position]] += 1

    def resume(self, run: Run, memory: _Counted) -> None:
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

    def _wanted(self, have: Positions, memory: _Counted) -> Positions:
        """New groups of each source in a plan for which the method has drafted so many."""
        floor, ceiling = self._bounds(memory.arms)
        num = int(have.sum())
        fit = np.minimum((memory.trained + 1) / (memory.planned + 1), 1.0)  # chance that a new group trains
        total = memory.trained.sum() + (have * fit).sum()
        least = np.ceil(np.clip((floor * total - memory.trained) / fit, 0, np.maximum(floor, _MOST) * num) - 1e-9)
        least = least.astype(np.int64)
        if least.sum() > num:
            least = largest_remainder(least, num)
        most = np.clip(np.floor((ceiling * total - memory.trained) / fit + 1e-9), least, num).astype(np.int64)
        wanted = np.clip(have, least, most)
        missing = num - int(wanted.sum())
        if missing < 0:
            return wanted - largest_remainder(wanted - least, -missing, maximum=wanted - least)
        room = np.minimum(most - wanted, memory.arms.sizes)
        missing = min(missing, int(room.sum()))  # where all are at their ceilings, these yield
        return wanted + largest_remainder(np.where(room > 0, memory.arms.sizes, 0), missing, maximum=room)

    def _next(self, moved: Positions, busy: Positions, memory: _Counted) -> Positions:
        """The next prompts that are not busy, so many of each source or as many as it has."""
        found = [np.zeros(0, dtype=np.int64)]
        for arm, num in enumerate(moved.tolist()):
            members, cursor = memory.arms.members[arm], int(memory.cursors[arm])
            reach = min(num + len(busy), len(members)) if num else 0
            ahead = members[(cursor + np.arange(reach)) % len(members)]
            free = np.flatnonzero(~np.isin(ahead, busy))[:num]
            found.append(ahead[free])
            memory.cursors[arm] = (cursor + (int(free[-1]) + 1 if len(free) else 0)) % len(members)
        return np.concatenate(found)


def _as_quotas(given: object) -> dict[str, list[float]]:
    """Floor and ceiling by source.

    Raises:
        ValueError: no such mapping, shares out of range or crossing, or floors of more than 1 in sum.
    """
    if not isinstance(given, Mapping) or not given:
        raise ValueError(
            'quotas are shares by source, such as {"math": 0.2, "code": [0, 0.5]} (on the command line '
            f"-o 'quotas={{math = 0.2}}'), got {shortened(given)}"
        )
    quotas = {}
    for name, bounds in given.items():
        pair = list(bounds) if isinstance(bounds, list | tuple) else [bounds, None]
        if len(pair) != 2:
            raise ValueError(f"quotas of source {name!r} are [least, most], got {shortened(bounds)}")
        least, most = (
            default if share is None else real(f"quotas of source {name!r}", share, 0, 1)
            for share, default in zip(pair, (0.0, 1.0), strict=True)
        )
        if least > most:
            raise ValueError(f"quotas of source {name!r} cross: at least {least:g} and at most {most:g}")
        quotas[str(name)] = [least, most]
    if (total := sum(least for least, _ in quotas.values())) > 1 + 1e-9:
        raise ValueError(f"quotas promise {total:g} of the groups: the least shares must add up to 1 or less")
    return quotas


# A price on tokens ----------------------------------------------------------------------------------------------


@dataclass
class _Priced:
    inner: Any
    lengths: Columns
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

    def init(self, run: Run) -> _Priced:
        if self.continues:
            raise ValueError(
                f"token_price moves rollouts between the new groups of a plan, and method {self.name!r} sizes its "
                "groups by continuing them: leave token_price out, or take another method"
            )
        lengths = run.pool.columns(tokens=np.int64(0), rollouts=np.int64(0))
        return _Priced(self.method.init(run), lengths)

    def edited(self, draft: Draft, places: Positions, turn: Turn, memory: _Priced) -> Draft:
        if not memory.tokens:
            return draft
        mean = memory.tokens / memory.rollouts
        own = [memory.lengths.get(name, draft.positions[places]) for name in ("tokens", "rollouts")]
        price = ((own[0] / mean + _KNOWN) / (own[1] + _KNOWN)) ** self.token_price
        sizes = draft.num_rollouts.copy()
        sizes[places] = largest_remainder(sizes[places] / price, sizes[places].sum(), np.minimum(sizes[places], 2))
        return replace(draft, num_rollouts=sizes)

    def observed(self, arrivals: Arrivals, run: Run, memory: _Priced) -> None:
        super().observed(arrivals, run, memory)
        told = [(group.position, outcome.num_tokens) for group, outcome in arrivals if outcome.num_tokens]
        positions, row = np.unique(np.array([position for position, _ in told], dtype=np.int64), return_inverse=True)
        for name, count in (("tokens", sum), ("rollouts", len)):
            counts = [count(each) for _, each in told]
            added = np.bincount(row, weights=counts, minlength=len(positions)).astype(np.int64)
            memory.lengths.put(name, positions, memory.lengths.get(name, positions) + added)
            setattr(memory, name, getattr(memory, name) + int(added.sum()))


#: The option that puts each wrapper on, the innermost first: what is priced are the prompts that are planned at last.
WRAPPERS: dict[str, type[Wrapper]] = {"uniform_share": UniformShare, "quotas": Quotas, "token_price": TokenPrice}


def wrapped(method: Method, options: Mapping[str, Any]) -> Method:
    """A method in those wrappers that the options ask for; 0 and None ask for none."""
    for name, wrapper in WRAPPERS.items():
        asked = options.get(name)
        if asked is not None and not (isinstance(asked, Mapping | int | float) and not asked):
            method = wrapper(method=method, **{name: asked})
    return method
