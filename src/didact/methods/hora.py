"""HORA: probe every prompt of the batch, then send the rest of the budget where a first hit is likeliest.

Wang et al., "Where to Spend Rollouts: Hit-Utility Optimal Rollout Allocation for Group-Based RLVR", arXiv:2605.07114.

    belief     p ~ Beta(1 + s, 1 + f)      after s passes and f failures among the probes of this step
    utility    U(m) = 1 - E[(1-p)^m]       chance of at least one hit in m more rollouts
    gain       U(l+1) - U(l) = E[p (1-p)^l] = a/(a+b) prod_{j<l} (b+j) / (a+b+j+1)

The gain falls with l, so handing out one rollout at a time where it gains most is the optimum. Both rounds make up one
group, all of it trains, and the total is that of the uniform run. Nothing is remembered across steps.

Where this departs from the paper: the number of probes and the cap are given as parts of the equal share, since the
notes this was written from name neither; what a cap leaves over in a small pool lifts the cap.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.allocation import greedy
from didact.bounds import MAX_PER_STEP
from didact.memory import kept
from didact.method import Draft, Method, Run, Turn, option, rewards_of
from didact.rounds.bounds import check_bounds


def hit_gain(passes: float, failures: float, extra: int) -> float:
    """What one rollout more adds to the chance of a hit, after `extra` more have been planned: E[p (1-p)^extra]."""
    a, b = 1.0 + passes, 1.0 + failures
    log = math.lgamma(a + b) - math.lgamma(b) + math.lgamma(b + extra) - math.lgamma(a + b + extra + 1)
    return a * math.exp(log)


def allocate_hits(passes: ArrayLike, failures: ArrayLike, total: int, minimum: int, maximum: int) -> NDArray[np.int64]:
    """Extra rollouts by prompt, shape (n,), between `minimum` and `maximum` each, that make the most of the hits."""
    counts = list(zip(np.asarray(passes, float).tolist(), np.asarray(failures, float).tolist(), strict=True))
    bounds = (np.full(len(counts), bound, dtype=np.int64) for bound in (minimum, maximum))
    return greedy(lambda index, have: hit_gain(*counts[index], have), total, *bounds)


@dataclass
class Memory:
    """Where the step stands."""

    probed: int = kept(0, least=0)  # prompts probed at this step


@dataclass(frozen=True, kw_only=True)
class HORA(Method):
    """Probe each prompt, then roll out where a first hit is likeliest."""

    name = "hora"
    paper = "arXiv:2605.07114"
    continues = True
    shardable = True
    advantage = "grpo"

    probe_rollouts: int | None = option(None, "G0 of each; None: half of an equal share", least=1, most=MAX_PER_STEP)
    max_rollouts: int | None = option(None, "of a prompt, probes too; None: 4 equal shares", least=1, most=MAX_PER_STEP)

    def uneven(self, run: Run) -> bool:
        return True

    def init(self, run: Run) -> Memory:
        share = run.rollouts_per_step // min(run.prompts_per_step, len(run.pool))
        if self.probe_rollouts is not None and self.probe_rollouts > share:
            raise ValueError(f"probe_rollouts={self.probe_rollouts} exceeds the equal share of {share} a prompt")
        check_bounds(run, 0, self.max_rollouts)
        return Memory()

    def draft(self, turn: Turn, memory: Memory) -> Draft:
        if turn.round > 0:
            return self._rest(turn, memory.probed)
        positions = turn.walk(turn.batch)
        memory.probed = len(positions)
        return Draft(positions, np.full(len(positions), self._probes(turn, memory.probed)), reason="screen")

    def resume(self, run: Run, memory: Memory) -> None:
        if memory.probed > run.prompts_per_step:
            raise ValueError(f"{memory.probed} prompts cannot have been probed for {run.prompts_per_step}")

    def _probes(self, run: Run, num: int) -> int:
        share = run.rollouts_per_step // num
        return min(self.probe_rollouts or max(share // 2, 1), share)

    def _rest(self, turn: Turn, num: int) -> Draft:
        """More rollouts for the probed groups that came back; the others have no belief to go by."""
        groups = [group for group in turn.waiting if group.step == turn.step]
        if not groups:
            return Draft.nothing()
        probes = self._probes(turn, num)
        passes = [float(turn.belief.passes(rewards_of(group)).sum()) for group in groups]
        failures = [len(group.usable) - hits for group, hits in zip(groups, passes, strict=True)]
        cap = self.max_rollouts or 4 * turn.share
        cap = max(cap, -(-turn.rollouts_per_step // num))  # a small pool still uses its budget
        least = max(2 - probes, 0)  # a group of one has no advantage
        total = turn.rollouts_per_step - probes * num
        extra = allocate_hits(passes, failures, total, least, max(cap - probes, least))
        chosen = np.flatnonzero(extra)
        return Draft.further([groups[index] for index in chosen], extra[chosen], then="none")
