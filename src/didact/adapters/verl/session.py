"""A curriculum's dealings with one verl run: what is with verl, what came back, what trains, what waits.

verl asks for prompts row by row (`bind`) and hands over what was rolled out (`observe`); `admit` gives the groups that
train. Rollouts are known by the keys under which verl stores them, so this imports nothing of verl.

Synchronous runs finish a step, round by round, before the next begins. Asynchronous ones are always ahead: a step may
begin while groups of earlier ones are out, but never more groups than the trainer has asked for.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

from didact.adapters.scale import check_scale
from didact.adapters.verl.settings import PASS_ABOVE
from didact.outcomes import GroupOutcome
from didact.pace import Pace
from didact.plan import PlannedGroup
from didact.state import check_seal, seal

SCHEMA = 2
_STATE = ("schema", "curriculum", "queue", "sent", "ready", "groups", "asynchronous", "flags", "asked")
#: Steps in a row that may plan nothing, or admit nothing in an asynchronous run, before that is said.
PATIENCE = 10


@dataclass(frozen=True, slots=True)
class Sent:
    """A planned group as verl knows it; `part` tells the rounds of one group apart."""

    group: PlannedGroup
    part: int

    @property
    def mark(self) -> tuple[int, int]:
        return self.group.group_id, self.part


@dataclass(frozen=True, slots=True)
class Returned:
    """What verl stored of one `Sent`, an entry per rollout; `version` is that of the oldest policy, None if unknown."""

    uid: str
    keys: Sequence[str]
    rewards: Sequence[float]
    num_tokens: Sequence[int]
    truncated: Sequence[bool]
    prompt_tokens: int
    version: int | None = None


@dataclass(frozen=True, slots=True)
class TrainingGroup:
    """The rollouts of a group that train, what to subtract from their rewards if not their mean, and what it counts in
    the loss."""

    uid: str
    keys: Sequence[str]
    baseline: float | None = None
    weight: float = 1.0


class Session:
    """One curriculum in one run.

    Args:
        curriculum: a Curriculum.
        asynchronous: whether verl asks for the prompts of a step before the one before it has trained.
    """

    def __init__(self, curriculum: Any, *, asynchronous: bool = False) -> None:
        self.curriculum, self.asynchronous = curriculum, asynchronous
        self.queue: deque[Sent] = deque()  # planned, not with verl yet
        self.sent: dict[tuple[int, int], Sent] = {}
        self.ready: list[TrainingGroup] = []  # admitted, not handed to the trainer yet
        self.rolled_out = False  # whether anything was, at this step
        self._keys: dict[int, list[str | None]] = {}  # of each open group, in the order observed; None where it failed
        self._uids: dict[int, str] = {}  # the uid by which verl groups all of its rollouts
        self._pace = Pace(curriculum)
        self._may_begin = True  # whether the next step may begin
        self._asked = 0  # groups that the trainer asked for, less those it got

    @property
    def wanted(self) -> int:
        """Groups that the trainer asked for and that are neither with verl nor ready."""
        return self._asked - len(self.sent) - len(self.ready)

    @property
    def idle(self) -> bool:
        """Whether nothing is out, nothing is queued, and `admit` has nothing new to look at."""
        return not (self.sent or self.queue or self._pace.news)

    def bind(self, *, asked: bool = True) -> Sent | None:
        """The group that verl's next row stands for; None if there is nothing to roll out now.

        `asked` is false for rows that the adapter itself requests, on top of those of the trainer.
        """
        self._asked += asked
        if not self.queue and (self.wanted > 0 or not self.asynchronous):
            self.draw()
        if not self.queue or (self.asynchronous and asked and self.wanted <= 0):
            return None
        bound = self.queue.popleft()
        self.sent[bound.mark] = bound
        self.rolled_out = True
        return bound

    def draw(self) -> None:
        """Queue what may be planned now: the next round of the step or, where that has none left, the next step."""
        pace = self._pace
        while not self.queue and not pace.waits(back=not self.sent):
            # What is certain to be empty is asked for all the same: several rounds are admitted before the next step.
            another = pace.open and not self.curriculum.one_round
            if not another and not self._may_begin:
                return
            self.rolled_out &= another
            plan = pace.plan(self.curriculum.step if another else self.curriculum.step + 1)
            self.queue.extend(Sent(group, plan.part) for group in plan)
            if not plan:  # the step is over, is skipped, or has enough groups waiting: `admit` says which
                self._may_begin, pace.news = False, True
                return
            if not another:
                self._may_begin = self.asynchronous

    def observe(self, returned: Mapping[tuple[int, int], Returned | None], version: int) -> None:
        """Tell the curriculum what came back, in the order in which it was sent; None where all rollouts failed.

        `version` is that of the present policy. A synchronous run may skip steps in which nothing is trained, so its
        rollouts are as many steps old as they are versions old.

        Raises:
            ValueError: rewards of the first step outside [0, 1], and nobody said what a pass is; see `check_scale`.
        """
        step = self.curriculum.step
        came = [reward for back in returned.values() if back for reward in back.rewards]
        check_scale(came, self.curriculum, PASS_ABOVE)
        outcomes = []
        for mark in [mark for mark in self.sent if mark in returned]:
            group, back = self.sent.pop(mark).group, returned[mark]
            failed = group.num_rollouts - (len(back.keys) if back else 0)
            keys = self._keys.setdefault(group.group_id, [])
            keys += [*(back.keys if back else []), *[None] * failed]
            if back:
                self._uids.setdefault(group.group_id, back.uid)
            outcomes.append(
                GroupOutcome(
                    group.group_id,
                    group.prompt_id,
                    [*(back.rewards if back else []), *[float("nan")] * failed],
                    [*(back.num_tokens if back else []), *[0] * failed],
                    [*(back.truncated if back else []), *[False] * failed],
                    policy_version=None if not back or back.version is None
                    else min(back.version, step) if self.asynchronous else max(step - version + back.version, 0),
                    prompt_tokens=back.prompt_tokens if back else None,
                    part=mark[1],
                )
            )  # fmt: skip
        self.curriculum.observe(outcomes)
        self._pace.news |= bool(outcomes)

    def uid_of(self, group_id: int) -> str | None:
        """The uid that an open group already has."""
        return self._uids.get(group_id)

    def admit(self) -> list[TrainingGroup]:
        """Move what trains now to `ready`; return the other groups that are done with, to be forgotten.

        An asynchronous run asks often, so only of a step whose rounds are all planned, and of complete groups.
        """
        curriculum, pace = self.curriculum, self._pace
        if self.asynchronous and (not pace.news or (pace.open and not curriculum.one_round)):
            return []
        self._may_begin |= self.asynchronous
        dropped = []
        for group in pace.collect(complete=self.asynchronous):
            keys, uid = self._keys.pop(group.group_id), self._uids.pop(group.group_id)
            chosen = [keys[rollout] for rollout in group.rollouts]
            self.ready.append(TrainingGroup(uid, [key for key in chosen if key], group.baseline, group.weight))
            dropped.append(TrainingGroup(uid, [key for key in keys if key and key not in chosen]))
        waiting = {*curriculum.held(), *(group_id for group_id, _ in self.sent)}
        waiting |= {each.group.group_id for each in self.queue}
        for group_id in [group_id for group_id in self._keys if group_id not in waiting]:
            uid = self._uids.pop(group_id, "")
            dropped.append(TrainingGroup(uid, [key for key in self._keys.pop(group_id) if key]))
        return [group for group in dropped if group.keys]

    def next_step(self) -> None:
        """Let the next step begin, without anything that trains."""
        self._may_begin = True
        self.draw()

    def take(self, num: int | None) -> list[TrainingGroup]:
        """The groups for the trainer, oldest first, at most `num`; the step is over."""
        taken = self.ready if num is None else self.ready[:num]
        self.ready = self.ready[len(taken) :]
        self._asked = self._asked - num if num is not None else 0
        self._may_begin = True
        return taken

    def keys(self) -> list[str]:
        """Where the rollouts lie that a later step may train on."""
        return [key for keys in self._keys.values() for key in keys if key] + [
            key for group in self.ready for key in group.keys
        ]

    def state_dict(self) -> dict[str, Any]:
        """Everything, as numbers, strings, lists, dicts and numpy arrays."""
        contents = {
            "schema": SCHEMA,
            "curriculum": self.curriculum.state_dict(),
            "queue": [[list(astuple(each.group)), each.part] for each in self.queue],
            "sent": [[list(astuple(each.group)), each.part] for each in self.sent.values()],
            "ready": [[group.uid, list(group.keys), group.baseline, group.weight] for group in self.ready],
            "groups": [[group_id, self._uids.get(group_id), list(keys)] for group_id, keys in self._keys.items()],
            "asynchronous": self.asynchronous,
            "flags": [self._pace.open, self._may_begin, self._pace.news, self.rolled_out],
            "asked": self._asked,
        }
        return seal(contents)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises:
            ValueError: a state of another kind of run or of another curriculum, or one that was altered; nothing has
                changed then.
        """
        check_seal(state, "verl session", _STATE, SCHEMA)
        if state["asynchronous"] != self.asynchronous:
            kinds = {True: "asynchronous", False: "synchronous"}
            raise ValueError(
                f"the checkpoint is of a run that is {kinds[not self.asynchronous]}, this one is "
                f"{kinds[self.asynchronous]}: start anew, or go back to its trainer_mode"
            )
        try:
            queue = deque(Sent(PlannedGroup(*group), part) for group, part in state["queue"])
            sent = {each.mark: each for each in (Sent(PlannedGroup(*group), part) for group, part in state["sent"])}
            ready = [TrainingGroup(uid, [*keys], *rest) for uid, keys, *rest in state["ready"]]
            groups = [(group_id, uid, [*keys]) for group_id, uid, keys in state["groups"]]
            opened, may_begin, news, rolled_out = state["flags"]
        except (TypeError, ValueError) as error:
            raise ValueError(f"this is no state that a verl session could have saved: {error}") from error
        self.curriculum.load_state_dict(state["curriculum"])
        self.queue, self.sent, self.ready = queue, sent, ready
        self._keys = {group_id: keys for group_id, _, keys in groups}
        self._uids = {group_id: uid for group_id, uid, _ in groups if uid is not None}
        self._pace.open, self._may_begin, self._pace.news, self.rolled_out = opened, may_begin, news, rolled_out
        self._asked = state["asked"]
