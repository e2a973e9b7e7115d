"""The desk of an asynchronous trainer: workers take leases and report, the trainer advances and takes what trains.

    desk = Dispatcher(make("cures", pool, ...), max_lag=4, lease_seconds=600, folder="desk")
    work = desk.ask("worker-3")                       # a lease on a group or a part of one; None: ask again later
    desk.report(work.lease, rewards, policy_version=version)
    desk.advance(version)                             # the trainer: new weights are out
    groups = desk.admitted()                          # the trainer: what became trainable since the last call

Any number of workers and threads may call. What is handed out is leased: a lease that runs out, or whose worker is
`lost`, is handed out again, and if its outcome comes after all it counts as what it is, rollouts that were paid for.
At any moment

    rollouts_planned = rollouts + rollouts_in_flight + rollouts_lost.

A call is refused before it changes anything, or done. One that is interrupted half-way, by a full disk or a bug in a
method, is undone: the next call starts from what the `folder` has. Without a folder nothing can be undone, and the desk
says that it cannot go on.

Plans are drawn when somebody asks and nothing is queued, so they know all that came back by then: those of step s while
s <= version + max_lag, a further round of a step once a `quorum` of its groups is back. With a `folder` every call is
on file before it is answered, and opening the folder again gives the state before the kill.

It makes no rollouts, knows no network, and starts no thread; `didact.adapters.ray` puts it into an actor.
"""

import math
import os
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from didact.bounds import MAX_STEP, shortened, whole
from didact.curriculum import Curriculum
from didact.desk.call_log import CallLog
from didact.desk.leases import MAX_PARTS, Assignment, Lease, Leases, Receipt
from didact.ledger import LATE_STEPS
from didact.outcomes import GroupOutcome
from didact.pace import Pace
from didact.pass_rates import PassRates
from didact.plan import AdmittedGroup, Plan, PlannedGroup
from didact.state import check_seal, seal

SCHEMA = 2
_MAX_NAME = 256  # characters of a worker or a request
_COUNTS = ("leases", "leases_expired", "leases_lost", "leases_abandoned", "reports_duplicate", "reports_late")
_LAGS = ("lag_sum", "lag_count", "lag_max")
_STATE: tuple[str, ...] = ("schema", "options", "curriculum", "version", "next_lease", "queue", "leases", "receipts")
_STATE += ("awaited", "step", "ready", "answer", "counts")


@dataclass(slots=True)
class _Work:
    """Something to hand out; `origin` is the lease it is handed out again for, -1 for the first time."""

    group: PlannedGroup
    step: int
    attempt: int = 1
    origin: int = -1


class Dispatcher:
    """A curriculum behind a desk.

    Args:
        curriculum: any Curriculum. From now on the desk alone talks to it.
        max_lag: steps that plans may run ahead of the policy version; 0 is synchronous.
        quorum: share of a step's groups that must be back (or given up) before its next round is drawn, where that
            round depends on them.
        max_rollouts: most rollouts of a lease; a larger group is shared by several. None leases whole groups.
        lease_seconds: seconds until a lease runs out; a partial report starts them anew. None never ends one.
        max_attempts: times that rollouts are handed out before they are given up: a prompt that kills its workers must
            not kill them all.
        folder: where calls and snapshots are written; what lies there is taken up again. None keeps nothing.
        snapshot_every: calls between snapshots, which take as long as writing the curriculum's state.
        clock: seconds since some fixed moment; with a folder, one that a restart does not set back.

    Raises:
        ValueError: an option out of range; a folder of another curriculum; a folder that another process has open.
    """

    def __init__(
        self,
        curriculum: Curriculum,
        *,
        max_lag: int = 1,
        quorum: float = 1.0,
        max_rollouts: int | None = None,
        lease_seconds: float | None = 600.0,
        max_attempts: int = 3,
        folder: str | os.PathLike[str] | None = None,
        snapshot_every: int = 5000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        counts = {"max_lag": max_lag, "max_attempts": max_attempts, "snapshot_every": snapshot_every}
        for what, value in {**counts, "max_rollouts": 1 if max_rollouts is None else max_rollouts}.items():
            whole(what, value, 0 if what == "max_lag" else 1, 1 << 30)
        if not 0 < quorum <= 1:
            raise ValueError(f"quorum must be in (0, 1], got {quorum!r}")
        if lease_seconds is not None and not lease_seconds > 0:
            raise ValueError(f"lease_seconds must be positive, or None for no end, got {lease_seconds!r}")
        self.curriculum = curriculum
        self.options: dict[str, Any] = {
            "max_lag": int(max_lag),
            "quorum": float(quorum),
            "max_rollouts": None if max_rollouts is None else int(max_rollouts),
            "lease_seconds": None if lease_seconds is None else float(lease_seconds),
            "max_attempts": int(max_attempts),
        }
        self._clock = clock
        self._snapshot_every = snapshot_every
        self._lock = threading.RLock()
        self._version = max(curriculum.step, 0)
        self._queue: deque[_Work] = deque()
        self._leases = Leases()
        self._pace = Pace(curriculum)
        self._awaited: dict[int, int] = {}  # rollouts still to come by group of the current step
        self._asked = 0  # groups asked for at the current step, in all its rounds
        self._back = 0  # of these, groups that are back or given up
        self._ready: list[AdmittedGroup] = []
        self._answer: tuple[str, list[AdmittedGroup]] | None = None
        self._counts = dict.fromkeys(_COUNTS + _LAGS, 0)
        self._changes = 0
        self._failed: str | None = None  # what left memory ahead of the file
        self._closed = False
        self._log: CallLog | None = None
        if folder is not None:
            log = CallLog(Path(folder))
            try:
                self._take_up(log)
            except BaseException:
                log.close()
                raise
            self._log = log

    @property
    def version(self) -> int:
        """The newest policy version the trainer told of."""
        return self._version

    # Workers ----------------------------------------------------------------------------------------------------

    def ask(self, worker: str = "worker", *, request: str | None = None) -> Assignment | None:
        """The next piece of work, leased to `worker`; None when nothing may be handed out now: ask again later.

        Asking again with the same `request` gives the same lease while that is open: for callers whose answer got lost.
        """
        found = self.ask_many(1, worker, request=request)
        return found[0] if found else None

    def ask_many(self, num: int, worker: str = "worker", *, request: str | None = None) -> list[Assignment]:
        """At most `num` leases at once, fewer where no more may be handed out now.

        Raises:
            ValueError: a number out of range; a worker or request that is no text of 1 to 256 characters.
        """
        given = {"num": whole("num", num, 0, MAX_STEP), "worker": _name("worker", worker)}
        given["request"] = None if request is None else _name("request", request)
        leases: list[Lease] = self._perform("ask", **given, now=self._clock())
        return [Assignment(lease.number, lease.group, lease.step) for lease in leases]

    def report(
        self,
        lease: int,
        rewards: Sequence[float],
        *,
        num_tokens: Sequence[int] | None = None,
        truncated: Sequence[bool] | None = None,
        errored: Sequence[bool] | None = None,
        policy_version: int | None = None,
        prompt_tokens: int | None = None,
        part: int = 0,
    ) -> Receipt:
        """Say what came of a lease; columns as in `GroupOutcome`. The same (lease, part) again changes nothing.

        Fewer rewards than were leased leave the rest leased: number the deliveries of such a lease with `part`.
        `policy_version` None takes the version that was out when the lease was.

        Raises:
            ValueError, TypeError: a lease that was never handed out, no rewards, more than are out, or columns that do
                not fit or are out of range.
        """
        part = whole("part", part, 0, MAX_PARTS - 1)
        outcome = GroupOutcome(
            self._group_of(lease), "", rewards, num_tokens, truncated, errored, policy_version, None, prompt_tokens
        )
        columns = {
            "rewards": [reward if math.isfinite(reward) else None for reward in outcome.rewards],
            "num_tokens": _listed(outcome.num_tokens),
            "truncated": _listed(outcome.truncated),
            "errored": _listed(outcome.errored),
            "policy_version": outcome.policy_version,
            "prompt_tokens": outcome.prompt_tokens,
        }
        receipt: Receipt = self._perform("report", lease=int(lease), part=part, now=self._clock(), columns=columns)
        return receipt

    def report_many(self, reports: Sequence[Mapping[str, Any]]) -> list[Receipt]:
        """Several reports at once: each a dict of the arguments of `report`.

        Raises:
            ValueError, TypeError: a bad report, by its index: those before it were taken, those after it were not. All
                may be sent again once it is mended; what was taken counts once.
        """
        receipts: list[Receipt] = []
        for report in reports:
            try:
                receipts.append(self.report(**report))
            except (ValueError, TypeError) as error:
                kind = TypeError if isinstance(error, TypeError) else ValueError
                taken = f"report {len(receipts)} of the list, and none after it, was taken"
                raise kind(f"{error} (not {taken})") from error
        return receipts

    def lost(self, worker: str) -> int:
        """A worker is gone: its leases are handed out again. Returns how many rollouts that concerns.

        Raises:
            ValueError: a worker that is no text of 1 to 256 characters.
        """
        concerned: int = self._perform("lost", worker=_name("worker", worker))
        return concerned

    # The trainer ------------------------------------------------------------------------------------------------

    def advance(self, version: int) -> None:
        """New weights are out; `version` counts the curriculum's steps that were trained on.

        Raises:
            ValueError: a version before the newest, or no whole number below 2**31 - `max_lag`.
        """
        self._perform("advance", version=whole("version", version, 0, MAX_STEP - self.options["max_lag"]))

    def admitted(self, *, request: str | None = None) -> list[AdmittedGroup]:
        """The groups that became trainable since the last call; each once. Same `request`, same answer.

        A group is considered when it has what it was planned with, or the rest was given up, and its step has no
        further round.

        Raises:
            ValueError: a request that is no text of 1 to 256 characters.
        """
        request = None if request is None else _name("request", request)
        groups: list[AdmittedGroup] = self._perform("admitted", request=request)
        return list(groups)

    def open_groups(self) -> list[int]:
        """Ids of groups that may still be admitted, or wait to be fetched: drop the rollouts of all others."""
        with self._turn():
            return sorted({*self.curriculum.open_groups(), *(group.group_id for group in self._ready)})

    def pass_rates(self) -> PassRates:
        """What the curriculum believes."""
        with self._turn():
            return self.curriculum.pass_rates()

    def metrics(self) -> dict[str, float]:
        """The curriculum's metrics, and those of the desk; docs/asynchronous.md explains each."""
        with self._turn():
            counts = self._counts
            out = self._leases.out()
            queued = sum(work.group.num_rollouts for work in self._queue)
            lags = max(counts["lag_count"], 1)
            return {
                **self.curriculum.metrics(),
                **{name: float(counts[name]) for name in _COUNTS},
                "leases_out": float(len(out)),
                "rollouts_queued": float(queued),
                "rollouts_in_flight": float(queued + sum(lease.rest for lease in out)),
                "policy_version": float(self._version),
                "steps_ahead": float(max(self.curriculum.step, 0) - self._version),
                "lag_mean": counts["lag_sum"] / lags,
                "lag_max": float(counts["lag_max"]),
            }

    # State ------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything, open leases and the curriculum included: saving and loading changes nothing."""
        with self._turn():
            return self._state()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state. Leases handed out since it was saved are void: numbers are not given out twice.

        Raises:
            ValueError: no state of a desk, or of another curriculum. RuntimeError: the desk was closed.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError("this desk cannot go on: it was closed; open its folder again")
            self._restore(state)
            self._failed = None
            if self._log is not None:
                try:
                    self._log.snapshot(self._state())
                except BaseException as error:
                    self._failed = f"loading a state failed half-way with {type(error).__name__}: {error}"
                    raise

    def close(self) -> None:
        """Write a snapshot and let go of the folder."""
        with self._lock:
            if self._log is not None:
                if self._failed is None:
                    self._snapshot()
                self._log.close()
                self._log, self._closed = None, True

    # Calls, as they are written and replayed --------------------------------------------------------------------

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One caller at a time, each with the desk as its folder has it."""
        with self._lock:
            if self._closed:
                raise RuntimeError("this desk cannot go on: it was closed; open its folder again")
            if self._failed is not None:
                self._undo()
            yield

    def _undo(self) -> None:
        if self._log is None:
            raise RuntimeError(f"this desk cannot go on: {self._failed}; load an earlier state, or give it a folder")
        try:
            self._take_up(self._log)
        except Exception as error:
            raise RuntimeError(
                f"this desk cannot go on: {self._failed}; that could not be undone now ({error}): mend the cause and "
                f"call again, or open {self._log.folder} anew"
            ) from error
        self._failed = None

    def _perform(self, kind: str, **given: Any) -> Any:
        with self._turn():
            before = self._changes
            try:
                answer = _CALLS[kind](self, **given)
                if self._log is not None and self._changes != before:
                    self._log.append({"kind": kind, "given": given, "leases": self._leases.next_number})
            except BaseException as error:
                if self._changes != before or not isinstance(error, Exception):  # memory is ahead of the file
                    self._failed = f"{kind} failed half-way with {type(error).__name__}: {error}"
                raise
            if self._log is not None and self._changes != before and self._log.events % self._snapshot_every == 0:
                self._snapshot()
            return answer

    def _snapshot(self) -> None:
        """Opening is quicker with it, no more: without, all calls are still on file."""
        assert self._log is not None
        try:
            self._log.snapshot(self._state())
        except OSError as error:
            warnings.warn(f"no snapshot in {self._log.folder} ({error}); its calls are kept", stacklevel=2)

    def _ask(self, num: int, worker: str, request: str | None, now: float) -> list[Lease]:
        held = self._leases.of(worker)
        same = [lease for lease in held if request is not None and lease.request == request and lease.deadline > now]
        if same:
            return same
        self._expire(now)
        leases: list[Lease] = []
        while len(leases) < num and (self._queue or self._draw()):
            leases.append(self._hand_out(self._queue.popleft(), worker, request, now))
        return leases

    def _report(self, lease: int, part: int, now: float, columns: Mapping[str, Any]) -> Receipt:
        held = self._leases.get(lease)
        group, parts = self._leases.reported(lease)
        size = len(columns["rewards"])
        if part in parts and len(parts[part]) not in (0, size):
            raise ValueError(
                f"part {part} of lease {lease} was reported with {len(parts[part])} rewards before and has {size} now: "
                "number the deliveries of a lease, part=0, 1, ..."
            )
        if held is None or part in parts:
            self._counts["reports_duplicate"] += 1
            self._changes += 1
            return Receipt(lease, group, parts.get(part, range(0)), duplicate=True)
        if not 1 <= size <= held.rest:
            raise ValueError(
                f"lease {lease} was reported with {size} rewards, and {held.rest} of its {held.group.num_rollouts} "
                "rollouts are out; report an aborted rollout as errored"
            )
        version = held.version if columns["policy_version"] is None else columns["policy_version"]
        rest = {name: column for name, column in columns.items() if name != "policy_version"}
        label = held.number * MAX_PARTS + part
        outcome = GroupOutcome(group, held.group.prompt_id, policy_version=version, part=label, **rest)
        self._changes += 1
        self._take_back(held, size)
        positions = self.curriculum.observe([outcome])[0]
        self._count_lag(self._version - version)
        held.done += size
        held.parts[part] = positions
        if held.status == "out" and self.options["lease_seconds"] is not None:
            held.deadline = now + self.options["lease_seconds"]
        if held.rest == 0:
            self._leases.close(held)
        return Receipt(lease, group, positions, duplicate=not positions)

    def _lost(self, worker: str) -> int:
        leases = self._leases.of(worker)
        self._counts["leases_lost"] += len(leases)
        rollouts = sum(lease.rest for lease in leases)
        for lease in reversed(leases):
            self._hand_back(lease)
        return rollouts

    def _advance(self, version: int) -> None:
        if version < self._version:
            raise ValueError(f"policy versions do not go back: {version} after {self._version}; load an earlier state")
        self._changes += version > self._version
        self._version = version

    def _admitted(self, request: str | None) -> list[AdmittedGroup]:
        if request is not None and self._answer is not None and self._answer[0] == request:
            return self._answer[1]
        self._collect()
        groups, self._ready = self._ready, []
        self._changes += bool(groups)
        if request is not None and groups:
            self._answer = (request, groups)
        return groups

    # Planning ---------------------------------------------------------------------------------------------------

    def _draw(self) -> bool:
        """Queue the next plan, if one may be drawn now."""
        pace = self._pace
        while not pace.waits(back=self._back >= self.options["quorum"] * self._asked):
            step = self.curriculum.step
            if pace.over:
                step = max(step + 1, self._version)  # a step that the trainer has passed is left out
                if step > self._version + self.options["max_lag"]:
                    return False
                self._collect()
                self._forget(step)
                self._awaited, self._asked, self._back = {}, 0, 0
            self._changes += 1
            plan = pace.plan(step)
            pace.news = True
            if plan:
                self._enqueue(plan)
                return True
        return False

    def _enqueue(self, plan: Plan) -> None:
        for group in plan:
            most = self.options["max_rollouts"] or group.num_rollouts
            pieces = -(-group.num_rollouts // most)
            for index in range(pieces):
                size = group.num_rollouts * (index + 1) // pieces - group.num_rollouts * index // pieces
                self._queue.append(_Work(replace(group, num_rollouts=size), plan.step))
            self._asked += group.group_id not in self._awaited
            self._awaited[group.group_id] = self._awaited.get(group.group_id, 0) + group.num_rollouts

    def _collect(self) -> None:
        """Ask the curriculum what trains, where rounds to come cannot change that."""
        if self._pace.news and self.curriculum.step >= 0 and self._pace.over:
            self._changes += 1
            self._ready += self._pace.collect(complete=True)

    # Leases -----------------------------------------------------------------------------------------------------

    def _hand_out(self, work: _Work, worker: str, request: str | None, now: float) -> Lease:
        self._changes += 1
        if work.origin >= 0:
            origin = self._leases[work.origin]
            self.curriculum.lost(work.group.group_id, work.group.num_rollouts, again=True)
            origin.status = "lost"
        seconds = self.options["lease_seconds"]
        deadline = math.inf if seconds is None else now + seconds
        self._counts["leases"] += 1
        return self._leases.hand_out(
            work.group,
            work.step,
            work.attempt,
            version=self._version,
            worker=worker,
            request=request,
            deadline=deadline,
        )

    def _expire(self, now: float) -> None:
        due = self._leases.due(now)
        self._counts["leases_expired"] += len(due)
        for lease in reversed(due):
            self._hand_back(lease)

    def _hand_back(self, lease: Lease) -> None:
        """What is left of a lease is handed out again, before anything else; or given up."""
        self._changes += 1
        self._leases.leave(lease)
        if lease.attempt < self.options["max_attempts"]:
            lease.status = "queued"
            group = replace(lease.group, num_rollouts=lease.rest)
            self._queue.appendleft(_Work(group, lease.step, lease.attempt + 1, lease.number))
            return
        self._give_up(lease)

    def _give_up(self, lease: Lease) -> None:
        lease.status = "abandoned"
        self._counts["leases_abandoned"] += 1
        self.curriculum.lost(lease.group.group_id, lease.rest)
        self._arrived(lease.group.group_id, lease.rest)

    def _take_back(self, lease: Lease, size: int) -> None:
        """Rollouts of this lease came: if it was handed back, they were not lost after all."""
        group_id = lease.group.group_id
        self._counts["reports_late"] += lease.status != "out"
        if lease.status == "queued":
            work = next(work for work in self._queue if work.origin == lease.number)
            work.group = replace(work.group, num_rollouts=work.group.num_rollouts - size)
            if work.group.num_rollouts == 0:
                self._queue.remove(work)
        elif lease.status != "out":
            self.curriculum.found(group_id, size)
        if lease.status == "abandoned":
            self._pace.news = True  # the group was counted as back when it was given up
        else:
            self._arrived(group_id, size)

    def _arrived(self, group_id: int, size: int) -> None:
        self._pace.news = True
        left = self._awaited.get(group_id)
        if left is None:
            return
        self._awaited[group_id] = left - size
        if left <= size:
            del self._awaited[group_id]
            self._back += 1

    def _forget(self, step: int) -> None:
        """Leases are waited for as long as the curriculum waits, so that the books stay bounded and add up: those that
        are out when `plan(step)` would give their rollouts up, and lost ones after that."""
        overdue = set(self.curriculum.overdue(step))
        for lease in self._leases.out():
            if lease.group.group_id in overdue:
                self._leases.leave(lease)
                self._give_up(lease)
        first = self.curriculum.step - LATE_STEPS
        for lease in [each for each in self._leases if each.status in ("lost", "abandoned") and each.step < first]:
            self._leases.remove(lease)

    def _count_lag(self, lag: int) -> None:
        counts = self._counts
        counts["lag_sum"] += lag
        counts["lag_count"] += 1
        counts["lag_max"] = max(counts["lag_max"], lag)

    def _group_of(self, lease: int) -> int:
        known = isinstance(lease, int | np.integer) and not isinstance(lease, bool)
        with self._turn():
            num = self._leases.next_number
            if not known or not 0 <= lease < num:
                raise ValueError(f"unknown lease {shortened(lease)}: leases so far are the whole numbers below {num}")
            return self._leases.reported(int(lease))[0]

    # Loading ----------------------------------------------------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        contents = {
            "schema": SCHEMA,
            "options": dict(self.options),
            "curriculum": self.curriculum.state_dict(),
            "version": self._version,
            "queue": [[list(astuple(work.group)), work.step, work.attempt, work.origin] for work in self._queue],
            **self._leases.state(),
            "awaited": [list(item) for item in self._awaited.items()],
            "step": [not self._pace.open, self._asked, self._back, self.curriculum.num_admitted, self._pace.news],
            "ready": [list(astuple(group)) for group in self._ready],
            "answer": None
            if self._answer is None
            else [self._answer[0], [list(astuple(group)) for group in self._answer[1]]],
            "counts": dict(self._counts),
        }
        return seal(contents)

    def _take_up(self, log: CallLog) -> None:
        """What the folder has: its snapshot, and the calls since made again."""
        state, records = log.latest()
        mine = self.options
        if state is not None:
            self._leases.next_number = 0  # those of calls that are not on file were given to nobody
            self._restore(state)
            self.options = dict(state["options"])  # what was decided under these is decided again
            try:
                for record in records:
                    self._repeat(record, log)
            finally:
                self.options = mine
        log.go_on()
        if state is None or state["options"] != mine:
            log.snapshot(self._state())

    def _repeat(self, record: Mapping[str, Any], log: CallLog) -> None:
        try:
            _CALLS[record["kind"]](self, **record["given"])
            same = self._leases.next_number == record["leases"]
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise ValueError(f"{log.folder}: {record} cannot be done again: {error}") from error
        if not same:
            raise ValueError(f"{log.folder} was written by another curriculum or version of didact")

    def _restore(self, state: Mapping[str, Any]) -> None:
        """Everything is read before anything is changed."""
        check_seal(state, "dispatcher", _STATE, SCHEMA)
        try:
            version = whole("version", state["version"], 0, MAX_STEP - self.options["max_lag"])
            queue = deque(_Work(PlannedGroup(*group), *rest) for group, *rest in state["queue"])
            leases = Leases.restored(state)
            awaited = dict(state["awaited"])
            over, asked, back, _, news = state["step"]
            ready = [_admitted_of(row) for row in state["ready"]]
            answer = (
                None if state["answer"] is None else (state["answer"][0], list(map(_admitted_of, state["answer"][1])))
            )
            counts = {name: state["counts"][name] for name in _COUNTS + _LAGS}
            queued = [lease.number for lease in leases if lease.status == "queued"]
            if sorted(queued) != sorted(work.origin for work in queue if work.origin >= 0):
                raise ValueError("what is queued again is not what was handed back")
        except (LookupError, TypeError, ValueError) as error:
            raise ValueError(f"this state of a dispatcher is damaged ({type(error).__name__}: {error})") from error
        self.curriculum.load_state_dict(state["curriculum"])
        leases.next_number = max(leases.next_number, self._leases.next_number)  # a number is given out once
        self._version, self._queue, self._leases, self._awaited = version, queue, leases, awaited
        self._pace.open, self._pace.news, self._asked, self._back = not over, news, asked, back
        self._ready, self._answer, self._counts = ready, answer, counts


_CALLS: dict[str, Callable[..., Any]] = {
    "ask": Dispatcher._ask,
    "report": Dispatcher._report,
    "lost": Dispatcher._lost,
    "advance": Dispatcher._advance,
    "admitted": Dispatcher._admitted,
}


def _name(what: str, value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= _MAX_NAME or not _is_text(value):
        raise ValueError(f"{what} must be a text of 1 to {_MAX_NAME} characters, got {shortened(value)}")
    return str(value)


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def _listed(column: Sequence[Any] | None) -> list[Any] | None:
    return None if column is None else list(column)


def _admitted_of(row: Sequence[Any]) -> AdmittedGroup:
    group_id, prompt_id, rollouts, baseline, weight = row
    return AdmittedGroup(group_id, prompt_id, tuple(rollouts), baseline, weight)
