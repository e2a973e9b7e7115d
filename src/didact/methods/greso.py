"""GRESO: dynamic sampling that skips, before any rollout, prompts whose latest visits were silent.

Zheng et al., "Act Only When It Pays: Efficient Reinforcement Learning for LLM Reasoning via Selective Rollouts",
arXiv:2506.02177; constants from Infini-AI-Lab/GRESO.

    skip     with probability 1 - max(b^z, 0.01), z = latest visits in a row that were all easy, or all hard
             easy: mean reward >= 0.98, b = b_easy;   hard: mean reward <= 0.11, b = b_hard
    adapt    after the first pass through the pool, each step: b <- b - 0.01 if the share of such groups was at least
             its target, else b + 0.01, within [0.05, 0.95]; the targets are 1/3 (easy) and 2/3 (hard) of 0.25
    fill     redraw until prompts_per_step groups have signal, ceil(1.25 missing / (1 - silent share)) prompts at a time

A skipped prompt waits for the next pass. A group counts as a visit once all its rollouts came back; those cut off by
the context count with their reward, for it is what decides whether a group has signal. The published batch sizes (384
drawn and at least 64, for 256 that train) are kept in proportion, but no plan holds more prompts than train in a step.

It has no belief about pass rates, and knows nothing of a prompt before its first visit. This file is longer than others
for the published constants, which are fourteen options, and for the walk that skips.
"""

from dataclasses import dataclass
from math import ceil

import numpy as np

from didact.admission import has_signal
from didact.bounds import MAX_PER_STEP, MAX_REWARD, MAX_STEP
from didact.columns import Columns
from didact.memory import kept
from didact.method import Arrivals, Draft, Floats, Method, Positions, Run, Turn, option, rewards_of
from didact.rounds.refill import filled, groups_of

_LONGEST_RUN = 30000  # of visits; far past the point where min_keep rules


@dataclass
class Memory:
    """The bases, and what came back since they moved."""

    silent: Columns  # "run": latest silent visits of a prompt in a row, > 0 easy, < 0 hard
    bases: list[float]  # easy, hard
    walked: int = kept(0, least=0)  # prompts that the passes gave out, skipped or not
    visits: int = kept(0, least=0)  # of the step
    easy: int = kept(0, least=0)
    hard: int = kept(0, least=0)
    round_visits: int = kept(0, least=0)  # since the last request
    round_silent: int = kept(0, least=0)
    last_request: bool = kept(False)  # whether as_released has drawn the last round of its step


@dataclass(frozen=True, kw_only=True)
class GRESO(Method):
    """Dynamic sampling that skips what was silent in its latest visits."""

    name = "greso"
    paper = "arXiv:2506.02177"
    shardable = True
    admission = "signal"
    surplus = "discarded"
    advantage = "grpo"
    loss_weighting = "token"

    base_easy: float = option(0.5, "base b of easy prompts at the start", least=0, most=1)
    base_hard: float = option(0.5, "base b of hard prompts at the start", least=0, most=1)
    easy_at: float = option(0.98, "mean reward from which a visit is easy", least=-MAX_REWARD, most=MAX_REWARD)
    hard_at: float = option(0.11, "mean reward up to which a visit is hard", least=-MAX_REWARD, most=MAX_REWARD)
    silent_target: float = option(0.25, "share of silent groups steered toward, 1/3 easy, 2/3 hard", above=0, most=1)
    base_step: float = option(0.01, "what a base moves by in a step", above=0, most=1)
    base_low: float = option(0.05, "least that a base can be", above=0, most=1)
    base_high: float = option(0.95, "most that a base can be", least=0, most=1)
    min_keep: float = option(0.01, "least probability of not being skipped", above=0, most=1)
    request_margin: float = option(1.25, "factor on the prompts that are asked for to fill a batch", least=1)
    min_request: int | None = option(None, "least of a round; None: a quarter of a batch", least=1, most=MAX_PER_STEP)
    prompts_per_round: int | None = option(None, "most of a round; None: prompts_per_step", least=1, most=MAX_PER_STEP)
    max_rounds: int = option(10, "rounds until a step trains on what it has, as in dapo", least=1, most=MAX_STEP)
    as_released: bool = option(False, "stop after the first request expected to fill the batch, filled or not")

    def __post_init__(self) -> None:
        super().__post_init__()
        low, easy, hard, high = self.base_low, self.base_easy, self.base_hard, self.base_high
        if not low <= min(easy, hard) <= max(easy, hard) <= high:
            raise ValueError(f"base_easy={easy} and base_hard={hard} must be from base_low={low} to base_high={high}")
        if not self.hard_at < self.easy_at:
            raise ValueError(f"hard_at must be less than easy_at, got {self.hard_at} and {self.easy_at}")

    def uneven(self, run: Run) -> bool:
        return run.rollouts_per_step % run.prompts_per_step > 0

    def init(self, run: Run) -> Memory:
        return Memory(run.pool.columns(run=np.int16(0)), [self.base_easy, self.base_hard])

    def keep_probability(self, positions: Positions, memory: Memory) -> Floats:
        """The probability that prompts are not skipped when their turn comes, shape (n,)."""
        runs = memory.silent.get("run", positions)
        base = np.where(runs > 0, memory.bases[0], memory.bases[1])
        return np.asarray(np.maximum(base ** np.abs(runs), self.min_keep))

    def draft(self, turn: Turn, memory: Memory) -> Draft | None:
        if turn.round == 0:
            self._adapt(turn, memory)
        missing = turn.prompts_per_step - filled(turn, self, memory)
        if turn.round >= self.max_rounds or missing <= 0 or memory.last_request:
            return None
        num = self._request(missing, turn, memory)
        return groups_of(turn, num, lambda room: self._walk(room, turn, memory))

    def observed(self, arrivals: Arrivals, run: Run, memory: Memory) -> None:
        visited = arrivals.came_back
        positions = np.unique([group.position for group in visited]).astype(np.int64)
        runs = dict(zip(positions.tolist(), memory.silent.get("run", positions).tolist(), strict=True))
        for group in visited:  # a prompt can be among them twice
            rewards, latest = rewards_of(group), runs[group.position]
            easy, hard = bool(rewards.mean() >= self.easy_at), bool(rewards.mean() <= self.hard_at)
            latest = max(latest, 0) + 1 if easy else min(latest, 0) - 1 if hard else 0
            runs[group.position] = min(max(latest, -_LONGEST_RUN), _LONGEST_RUN)
            memory.visits, memory.round_visits = memory.visits + 1, memory.round_visits + 1
            memory.easy, memory.hard = memory.easy + easy, memory.hard + hard
            memory.round_silent += not has_signal(rewards)
        memory.silent.put("run", positions, list(runs.values()))

    def resume(self, run: Run, memory: Memory) -> None:
        if len(memory.bases) != 2 or not all(self.base_low <= base <= self.base_high for base in memory.bases):
            raise ValueError(f"bases must be two from {self.base_low} to {self.base_high}, got {memory.bases}")

    def _adapt(self, turn: Turn, memory: Memory) -> None:
        """Move the bases by what came back since the last step."""
        if memory.visits and memory.walked >= len(turn.pool):
            for index, (num, share) in enumerate(((memory.easy, 1 / 3), (memory.hard, 2 / 3))):
                move = -self.base_step if num / memory.visits >= share * self.silent_target else self.base_step
                memory.bases[index] = min(max(round(memory.bases[index] + move, 9), self.base_low), self.base_high)
        memory.visits = memory.easy = memory.hard = memory.round_visits = memory.round_silent = 0
        memory.last_request = False

    def _request(self, missing: int, turn: Turn, memory: Memory) -> int:
        """How many prompts to draw: enough to fill the batch, if as many are silent as in the round before."""
        most = self.prompts_per_round or min(turn.prompts_per_step, turn.rollouts_per_step // 2)
        visits, silent = memory.round_visits, memory.round_silent
        memory.round_visits = memory.round_silent = 0
        if turn.round == 0 or silent == visits:
            return most
        wanted = ceil(round(self.request_margin * missing * visits / (visits - silent), 9))
        memory.last_request = self.as_released and wanted <= most
        least = self.min_request or -(-turn.prompts_per_step // 4)
        return min(max(wanted, least), most)

    def _walk(self, num: int, turn: Turn, memory: Memory) -> Positions:
        """The next prompts of the passes that are not skipped: `num` of them, or what one walk through the pool gives.

        No more are taken off the passes than are looked at, so that none is lost. A walk that skips all goes on.
        """
        size, start = len(turn.pool), memory.walked
        num = min(num, size)
        chosen: dict[int, None] = {}  # in order; a new pass can begin on the way and bring a prompt again
        while len(chosen) < num and (memory.walked - start < size or not chosen):
            positions = turn.walk(num - len(chosen))
            memory.walked += len(positions)
            kept = positions[turn.rng.random(len(positions)) < self.keep_probability(positions, memory)]
            chosen |= dict.fromkeys(kept.tolist())
        return np.fromiter(chosen, np.int64, len(chosen))
