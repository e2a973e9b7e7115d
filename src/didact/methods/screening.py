"""Screened curricula: a few rollouts for many prompts, the rest of the group for those that are worth it.

    screen      `num_screen` rollouts for each new prompt
    continue    `num_continue` more for the prompts that are accepted, in the same group
    train       `prompts_per_step` complete groups; accepted and complete ones wait in the ledger till their turn

One plan carries both phases: continuations first, and new prompts with what they leave of the budget, so that the
screening for the next batch needs no round of its own. What a prompt has to show, which accepted ones go first, and
which prompts are not looked at again are the method's: see SPEED-RL and Pilot-Commit. Rollouts of one group can stem
from several steps; nothing here corrects for that, `max_staleness` bounds it.
"""

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from didact.curriculum import Curriculum, Draft
from didact.ledger import OpenGroup
from didact.prompts import PromptPool

_CONTINUE = "continue"
#: Of a group that came back: waits for more of it, is to be continued, may train, or is not wanted (any more).
Phase = Literal["partial", "accepted", "ready", "out"]


class ScreenedCurriculum(Curriculum):
    """Base of the methods that screen.

    Args:
        num_screen: rollouts that screen a prompt; None is a quarter of the group, at least 2. No more than the group.
        num_continue: further rollouts of an accepted one; None is the rest of the group, rollouts_per_step //
            prompts_per_step.
        prompts_per_round: most new prompts in a plan; None is `oversampling` times prompts_per_step.
        max_staleness: steps after which a screened group that has not trained is dropped; None sets no bound.
        max_rounds: rounds after which a step goes ahead with the groups it has.

    Which of them a method calls otherwise it has checked under its own name.
    """

    #: The reason of screening rollouts, and the published ratio of prompts screened to prompts trained on.
    probe: ClassVar[str] = "screen"
    oversampling: ClassVar[int] = 4

    def __init__(
        self,
        pool: PromptPool,
        *,
        num_screen: int | None,
        num_continue: int | None,
        prompts_per_round: int | None,
        max_staleness: int | None,
        max_rounds: int,
        **common: Any,
    ) -> None:
        super().__init__(pool, **common)
        size, budget = max(self.rollouts_per_step // self.prompts_per_step, 2), self.rollouts_per_step
        wanted = max(size // 4, 2) if num_screen is None else num_screen
        self._num_screen = min(wanted, size) if num_continue is None else wanted
        self._num_continue = size - self._num_screen if num_continue is None else num_continue
        if not 2 <= self._num_screen <= budget:
            raise ValueError(f"a screen takes 2 to rollouts_per_step={budget} rollouts, got {self._num_screen}")
        if self._num_continue > budget:
            raise ValueError(f"a continuation takes 1 to rollouts_per_step={budget} rollouts, got {num_continue}")
        self._prompts_per_round = prompts_per_round or self.oversampling * self.prompts_per_step
        self._max_staleness = max_staleness
        self._max_rounds = max_rounds
        self._passes = pool.passes(self.seed)

    @abstractmethod
    def _accepts(self, rewards: NDArray[np.float64]) -> bool:
        """Whether a prompt whose screening gave these (usable) rewards, shape (n,), n >= 1, is continued."""

    def _first(self, accepted: list[OpenGroup], missing: int, rng: np.random.Generator) -> list[OpenGroup]:
        """Which accepted groups are continued now, those to continue first at the front; `missing` fill the batch."""
        return accepted

    def _passed_over(self, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these prompts are not screened now, shape (n,)."""
        return np.zeros(len(positions), dtype=np.bool_)

    def _draft(self, step: int, round: int, rng: np.random.Generator) -> Draft | None:
        waiting = [(group, self._phase(group)) for group in self._ledger.waiting()]
        # Settled now and not when the step ends: many rounds in a hopeless pool must not judge them all again in each.
        self._settle([group for group, phase in waiting if phase == "out"], {})
        missing = self._batch_size() - self.num_admitted - sum(phase == "ready" for _, phase in waiting)
        if round >= self._max_rounds or missing <= 0:
            return None
        accepted: dict[int, OpenGroup] = {}
        for group, phase in waiting:
            if phase == "accepted":
                accepted.setdefault(group.position, group)  # late outcomes can leave two groups of one prompt
        chosen = self._first(list(accepted.values()), missing, rng)
        room = self._fitting(self.rollouts_per_step, self.rollouts_per_step)
        chosen = chosen[: room // max(self._num_continue, 1)]
        left = room - len(chosen) * self._num_continue
        busy = {group.position for group, phase in waiting if phase != "out"}
        new = self._next_prompts(min(self._prompts_per_round, left // self._num_screen), busy)
        return Draft(
            np.array([group.position for group in chosen] + new, dtype=np.int64),
            np.repeat([self._num_continue, self._num_screen], [len(chosen), len(new)]),
            reason=[_CONTINUE] * len(chosen) + [self.probe] * len(new),
            group_ids=[*(group.group_id for group in chosen), *[None] * len(new)],
        )

    def _next_prompts(self, num: int, busy: Collection[int]) -> list[int]:
        """The next prompts of the shuffled passes that are neither busy nor passed over, `num` if there are as many."""
        found: dict[int, None] = {}
        drawn = 0
        while len(found) < num and drawn < 2 * len(self.pool):  # a whole pass is among that many
            # Where nearly all are passed over, larger draws; what they find too much waits for the next pass.
            batch = self._passes.take(max(num - len(found), drawn // 16), len(self.pool))
            drawn += len(batch)
            free = batch[~self._passed_over(batch)].tolist()
            found |= dict.fromkeys(position for position in free if position not in busy)
        return list(found)[:num]

    def _phase(self, group: OpenGroup) -> Phase:
        if self._max_staleness is not None and self._step - group.step > self._max_staleness:
            return "out"
        if group.completed < 0:
            return "partial"
        if group.reason == self.probe:
            if not group.usable or not self._accepts(_rewards(group, group.usable)):
                return "out"
            if self._num_continue > 0:
                return "accepted"
        kept = self._kept(group)
        return "ready" if kept and self.admission.admits(_rewards(group, kept)) else "out"

    def _held(self, group: OpenGroup) -> bool:
        return self._phase(group) != "out"

    def _admit(self, groups: Sequence[OpenGroup]) -> list[OpenGroup]:
        ready = [group for group in groups if self._phase(group) == "ready"]
        return ready[: self.prompts_per_step - self.num_admitted]

    def _own_state(self) -> dict[str, Any]:
        return {"passes": self._passes.state_dict()}

    def _load_own_state(self, state: Mapping[str, Any]) -> None:
        self._passes.load_state_dict(state["passes"])


def _rewards(group: OpenGroup, rollouts: Sequence[int]) -> NDArray[np.float64]:
    return np.array([group.rewards[index] for index in rollouts])
