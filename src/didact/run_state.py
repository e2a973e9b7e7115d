"""What changes as a run goes: where it stands, the open groups, the books, the belief, the walk and the memory."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from didact import memory
from didact.arrays import Floats
from didact.belief import Belief
from didact.books import Books
from didact.bounds import MAX_PER_STEP, one_of
from didact.draft import Drafted, Then
from didact.group import OpenGroup
from didact.ledger import Ledger
from didact.passes import Passes
from didact.plan import AdmittedGroup, PlannedGroup
from didact.pool import Pool
from didact.state import in_order
from didact.turn import Arrivals


class RunState:
    """The state of a run, at its beginning; the curriculum writes down here what happens.

    Attributes:
        step, round: of the latest plan; -1 and 0 before the first.
        then: whether the step has another round.
        admitted: groups that train at this step, so far.
        memory: the method's.
    """

    #: What a state holds.
    KEYS = ("step", "round", "then", "ledger", "admitted", "books", "belief", "walk", "memory")

    def __init__(self, belief: Belief, walk: Passes) -> None:
        self.step, self.round = -1, 0
        self.then: Then = "later"
        self.admitted: list[AdmittedGroup] = []
        self.ledger, self.books = Ledger(), Books(belief.passes)
        self.belief, self.walk = belief, walk
        self.memory: Any = None

    # The course of a step ---------------------------------------------------------------------------------------

    def begin(self, step: int) -> None:
        """Go on to a new step, and give up what nobody answered for."""
        self.step, self.round, self.then, self.admitted = step, 0, "later", []
        self.books.next_step()
        self.books.lost(self.ledger.give_up(step))

    @contextmanager
    def staying_if_refused(self) -> Iterator[None]:
        """Whatever is raised inside, step and round stay what they were."""
        before = self.step, self.round, self.then, self.admitted, self.books.now
        try:
            yield
        except BaseException:
            self.step, self.round, self.then, self.admitted, self.books.now = before
            raise

    def planned(
        self, rows: Sequence[Drafted], prompt_ids: Iterable[str], predicted: Floats, context: int | None
    ) -> list[PlannedGroup]:
        """The groups of a draft, opened."""
        last_seen = self.belief.last_seen(np.array([row.position for row in rows], dtype=np.int64))
        ages = self.step - last_seen[last_seen >= 0]
        groups = []
        told = zip(rows, prompt_ids, predicted.tolist(), strict=True)
        for (position, num_rollouts, reason, group_id, weight), prompt_id, mean in told:
            if group_id is None:
                group = self.ledger.open(position, self.step, reason, mean, num_rollouts, weight)
            else:
                group = self.ledger.extend(group_id, num_rollouts, self.step, reason, weight)
            groups.append(PlannedGroup(group.group_id, prompt_id, num_rollouts, context, reason, mean))
        age = float(ages.mean()) if len(ages) else 0.0
        self.books.planned(sum(row.num_rollouts for row in rows), context_length=context, evidence_age=age)
        return groups

    def settle(self, group: OpenGroup, admitted: AdmittedGroup | None) -> None:
        """A group trains, or is discarded."""
        if admitted is not None:
            self.admitted.append(admitted)
        self.books.settle(group, admitted)
        self.ledger.close(group)

    def spent(self, arrivals: Arrivals, pool: Pool) -> list[range]:
        """Write down what came back, whether or not it tells anything; returns where each stands in its group."""
        placed = []
        for group, outcome in arrivals:
            length = pool.prompt_length(group.position) if outcome.prompt_tokens is None else outcome.prompt_tokens
            placed.append(self.books.came(group, outcome, self.step, length or 0))
            self.ledger.close(group)
        rollouts = np.array([len(outcome.rewards) for outcome in arrivals.outcomes], dtype=np.int64)
        tokens = np.array([sum(outcome.num_tokens or ()) for outcome in arrivals.outcomes], dtype=np.int64)
        unique, index = np.unique(arrivals.positions, return_inverse=True)
        before = self.belief.num_rollouts(unique).astype(np.float64)
        added = np.bincount(index, weights=rollouts).astype(np.float64)
        self.books.spent(before, added, int(tokens.sum()), arrivals.verdicts)
        self.belief.count(arrivals.positions, rollouts, tokens, step=self.step)
        return placed

    def believe(self, arrivals: Arrivals, forgotten: list[bool]) -> None:
        """Take the rewards into the belief, but for those of groups whose prompt was forgotten since."""
        used = [[] if gone else usable for gone, usable in zip(forgotten, arrivals.rewards, strict=True)]
        sizes = np.array([len(usable) for usable in used], dtype=np.int64)
        rewards = np.fromiter((reward for usable in used for reward in usable), np.float64, int(sizes.sum()))
        predicted = [group.predicted for group in arrivals.groups]
        self.books.calibration.observe(predicted, sizes, self.belief.passes(rewards))
        versions = [
            group.asked if outcome.policy_version is None else outcome.policy_version for group, outcome in arrivals
        ]
        self.belief.observe(
            arrivals.positions, sizes, rewards, step=self.step, versions=np.array(versions, dtype=np.int64)
        )

    # States -----------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "round": self.round,
            "then": self.then,
            "ledger": self.ledger.state_dict(),
            "admitted": [
                [group.group_id, group.prompt_id, list(group.rollouts), group.baseline, group.weight]
                for group in self.admitted
            ],
            "books": self.books.state_dict(),
            "belief": self.belief.state_dict(),
            "walk": self.walk.state_dict(),
            "memory": memory.save(self.memory),
        }

    def load_state_dict(self, state: Mapping[str, Any], pool: Pool) -> None:
        """Restore a state, into a run that has only begun.

        Raises:
            ValueError, or what a part of another kind makes of it: a part that no run could have led to. This object is
                of no use then.
        """
        self.step, self.round, self.then = state["step"], state["round"], state["then"]
        if {type(self.step), type(self.round)} != {int} or self.step < -1 or self.round < 0:
            raise ValueError(f"steps and rounds are whole numbers, got step {self.step!r}, round {self.round!r}")
        one_of("then", self.then, ("none", "now", "later"))
        self.ledger.load_state_dict(state["ledger"])
        self.admitted = [
            AdmittedGroup(group, prompt, tuple(rows), baseline, weight)
            for group, prompt, rows, baseline, weight in state["admitted"]
        ]
        self.books.load_state_dict(state["books"])
        self.belief.load_state_dict(state["belief"])
        self.walk.load_state_dict(state["walk"])
        memory.load(self.memory, state["memory"], pool_size=len(pool), step=self.step)

    def check(self, pool: Pool) -> None:
        """Raises ValueError where figures that are kept in two places differ, or point to nothing."""
        totals, groups, size = self.books.totals, list(self.ledger), len(pool)
        planned = totals["rollouts"] + sum(group.in_flight for group in groups) + totals["rollouts_lost"]
        if planned != totals["rollouts_planned"]:
            raise ValueError(f"{totals['rollouts_planned']:g} rollouts were planned, {planned:g} came, are out or lost")
        counted = [totals[name] for name in ("rollouts", "response_tokens", "prompts_seen")]
        spent = self.belief.spent()
        if not all(math.isclose(total, known, rel_tol=1e-12) for total, known in zip(counted, spent, strict=True)):
            raise ValueError(f"rollouts, response tokens and prompts: {counted} came, the belief has {spent}")
        if any(group.position >= size or group.step > self.step for group in groups):
            raise ValueError(f"an open group is of a step after {self.step}, or of no prompt among {size}")
        ids = [group.group_id for group in self.admitted]
        if len(set(ids)) < len(ids) or not all(self.ledger.gave_out(group_id) for group_id in ids):
            raise ValueError(f"admitted groups must be groups that were planned, each once, got {ids}")
        pool.positions([group.prompt_id for group in self.admitted])
        for group in self.admitted:
            rows, baseline = np.array(group.rollouts), group.baseline
            if rows.dtype.kind != "i" or not in_order(rows, 1 << 31) or not math.isfinite(baseline or 0.0):
                raise ValueError(f"no group can be admitted like this: {group}")
            if type(group.weight) is not float or not 0 < group.weight <= MAX_PER_STEP:
                raise ValueError(f"no group can weigh like this: {group}")
