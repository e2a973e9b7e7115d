"""FastCuRL: short prompts in a short context first, then all, then the long ones in a long context, and back.

Song et al., "FastCuRL: Curriculum Reinforcement Learning with Stage-wise Context Scaling for Efficient Training R1-like
Reasoning Models", arXiv:2503.17287; stages from the scripts of nick7nlp/FastCuRL.

    short split = prompts no longer than the mean prompt length; long split = the others
    stage k     = (steps, context length, split, prompts a step, rollouts a prompt), as data: see `FOUR_STAGES`

The paper counts characters of the problem text; here a length is the pool's `prompt_tokens`, so give it what you want
counted. Nothing is learned about prompts: within a stage they come in shuffled passes of its split.

Sizes keep their published proportions: the stage with most prompts gets `prompts_per_step`, the one with most rollouts
`rollouts_per_step`. The paper moves from stage to stage by hand; `advance="truncation"` is a rule in its place, see
`FastCuRL`. KL and entropy coefficients of a stage are written down for the trainer; no curriculum can set them.

This file is longer than those of other methods: it holds the published schedules, and each stage has a split, sizes and
passes of its own, which follow the pool as it grows. What a stage is and how stages scale: `didact.stages`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.allocation import largest_remainder
from didact.bounds import MAX_STEP, MAX_TOKENS
from didact.memory import derived, kept
from didact.method import Arrivals, Draft, Method, Run, Turn, option
from didact.rounds.truncation import Cuts, check_cuts, note_cuts, shares_cut
from didact.seeding import hashed_seed
from didact.selection import ShuffledPasses
from didact.stages import Stage, as_stages, scaled

FOUR_STAGES = (
    Stage(steps=160, context_length=8192, split="short", prompts=128, rollouts_per_prompt=8),
    Stage(steps=590, context_length=16384, split="all", prompts=64, rollouts_per_prompt=8),
    Stage(steps=230, context_length=24576, split="long", prompts=64, rollouts_per_prompt=8),
    Stage(steps=580, context_length=16384, split="all", prompts=64, rollouts_per_prompt=16),
)
# Published as totals of about 1,710 and 2,620 steps that count 128 prompts each, against 860 of the four stages.
V2 = (*FOUR_STAGES, replace(FOUR_STAGES[3], steps=1700, kl_coefficient=0.0, entropy_coefficient=1e-6))
V3 = (*FOUR_STAGES, replace(FOUR_STAGES[3], steps=3520, kl_coefficient=0.0, entropy_coefficient=0.0))
SCHEDULES: dict[str, tuple[Stage, ...]] = {"four_stages": FOUR_STAGES, "v2": V2, "v3": V3}


def split_by_prompt_length(lengths: ArrayLike, *, threshold: float | None = None) -> NDArray[np.bool_]:
    """Which prompts are in the short split, shape (n,): those no longer than `threshold`, by default the mean length.

    Raises:
        ValueError: no lengths, or one that is negative or not finite.
    """
    array = np.asarray(lengths, dtype=np.float64)
    if array.ndim != 1 or len(array) == 0 or not np.isfinite(array).all() or (array < 0).any():
        raise ValueError("lengths must be a non-empty list of finite numbers that are not negative")
    return np.asarray(array <= (array.mean() if threshold is None else threshold))


@dataclass
class Memory:
    """Where the run is among its stages."""

    passes: ShuffledPasses  # through the split of the stage
    threshold: float = kept(0.0, least=0)  # mean prompt length at the start; 0 where nothing is split, or could be
    index: int = kept(0, least=0)  # of the stage
    began: int = kept(0, least=0)  # the step at which it did
    cuts: Cuts = kept({}, least=0)  # of the latest steps of the stage
    splits: dict[str, NDArray[np.int32]] = derived(dict)  # positions, of the first `size` prompts
    size: int = derived(int)


@dataclass(frozen=True, kw_only=True)
class FastCuRL(Method):
    """Short prompts in a short context, then all, then long ones, and back.

    The pool needs `prompt_tokens`. If all prompts are equally long there is nothing to split: the run is one stage, the
    last, on all prompts. Not for sharded pools: a split is a list of positions of the whole pool.

    `advance="truncation"` can end a stage before its steps, by the share of rollouts of its latest `truncation_window`
    steps that the context cut off: at `truncation_low` or less, because answers fit; or, if the next context is longer,
    when those cut off in groups where another rollout passed make up `truncation_high` or more. Where none of a group
    passes, more room is no remedy.
    """

    name = "fastcurl"
    paper = "arXiv:2503.17287"
    one_round = True
    sets_context = True
    advantage = "grpo"
    loss_weighting = "token"

    stages: str | Sequence[Stage] = option("four_stages", '"four_stages", "v2", "v3", or a list of Stage')
    total_steps: int | None = option(None, "scale the stages to so many; None: as published", least=1, most=MAX_STEP)
    max_context: int | None = option(None, "scale the longest to this; None: as published", least=1, most=MAX_TOKENS)
    advance: str = option("steps", '"truncation" can end a stage before its steps', choices=("steps", "truncation"))
    truncation_low: float = option(0.1, "share cut off at or below which the stage ends: answers fit", least=0, most=1)
    truncation_high: float = option(0.4, "share cut off in groups with a pass that ends the stage", least=0, most=1)
    truncation_window: int = option(10, "steps the shares are over; no stage ends sooner", least=1, most=MAX_STEP)

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = self.truncation_low, self.truncation_high
        if not low < high:
            raise ValueError(f"truncation_low must be less than truncation_high, got {low} and {high}")
        if not isinstance(self.stages, str):
            object.__setattr__(self, "stages", as_stages(self.stages, SCHEDULES))
        self.schedule  # noqa: B018 - refused here and not in the middle of a run

    @cached_property
    def schedule(self) -> tuple[Stage, ...]:
        """The stages with the run's own steps and context lengths."""
        stages = as_stages(self.stages, SCHEDULES)
        return scaled(stages, total_steps=self.total_steps, max_context=self.max_context)

    def stages_of(self, memory: Memory) -> tuple[Stage, ...]:
        """The stages of a run."""
        if memory.threshold == 0 and any(stage.split != "all" for stage in self.schedule):
            return (replace(self.schedule[-1], split="all"),)
        return self.schedule

    def stage(self, memory: Memory) -> Stage:
        """The stage of the latest plan."""
        return self.stages_of(memory)[memory.index]

    def recorded(self) -> dict[str, Any]:
        listed = None if isinstance(self.stages, str) else [repr(stage) for stage in self.schedule]
        return {**super().recorded(), "stages": listed or self.stages}

    def longest_context(self, run: Run) -> int:
        return max(stage.context_length for stage in self.stages_of(self.init(run)))

    def uneven(self, run: Run) -> bool:
        memory = self.init(run)
        sizes = [self._sizes(stage, run, memory) for stage in self.stages_of(memory)]
        return any(rollouts % prompts > 0 for prompts, rollouts in sizes)

    def init(self, run: Run) -> Memory:
        memory = Memory(_passes(run, 0))
        if any(stage.split != "all" for stage in self.schedule):
            lengths = self._lengths(run)
            if not split_by_prompt_length(lengths).all():
                memory.threshold = float(lengths.mean(dtype=np.float64))
        return memory

    def draft(self, turn: Turn, memory: Memory) -> Draft:
        self._enter_stage(turn, memory)
        stage = self.stage(memory)
        num, rollouts = self._sizes(stage, turn, memory)
        members = self._split(stage, turn, memory)
        positions = memory.passes.take(num, len(turn.pool) if members is None else len(members))
        positions = positions if members is None else members[positions].astype(np.int64)
        return Draft(positions, largest_remainder(np.ones(num), rollouts), context_length=stage.context_length)

    def observed(self, arrivals: Arrivals, run: Run, memory: Memory) -> None:
        if self.advance == "truncation":
            note_cuts(memory.cuts, arrivals, run.belief)

    def resume(self, run: Run, memory: Memory) -> None:
        stages = self.stages_of(memory)
        if not (memory.index < len(stages) and memory.began <= max(run.step, 0)):
            raise ValueError(f"stage {memory.index} of {len(stages)} cannot have begun at step {memory.began}")
        check_cuts(memory.cuts)
        walked = memory.passes.state_dict()
        memory.passes = _passes(run, memory.index)
        memory.passes.load_state_dict(walked)

    def _enter_stage(self, turn: Turn, memory: Memory) -> None:
        while memory.index < len(self.stages_of(memory)) - 1:
            if turn.step - memory.began >= self.stage(memory).steps:
                began = memory.began + self.stage(memory).steps
            elif self.advance == "truncation" and self._done(turn.step, memory):
                began = turn.step
            else:
                return
            memory.index, memory.began = memory.index + 1, began
            memory.passes, memory.cuts = _passes(turn, memory.index), {}

    def _done(self, step: int, memory: Memory) -> bool:
        """Whether the share of rollouts cut off ends the stage."""
        first = step - self.truncation_window
        memory.cuts = {group: row for group, row in memory.cuts.items() if row[0] >= max(first, memory.began)}
        if first < memory.began or not memory.cuts:
            return False
        cut, promising = shares_cut(memory.cuts)
        longer = self.stages_of(memory)[memory.index + 1].context_length > self.stage(memory).context_length
        return cut <= self.truncation_low or (longer and promising >= self.truncation_high)

    def _sizes(self, stage: Stage, run: Run, memory: Memory) -> tuple[int, int]:
        """Prompts and rollouts of a step of this stage."""
        stages, members = self.stages_of(memory), self._split(stage, run, memory)
        most = max(each.prompts for each in stages), max(each.rollouts_per_step for each in stages)
        available = len(run.pool) if members is None else len(members)
        num = min(max(run.prompts_per_step * stage.prompts // most[0], 1), available, run.rollouts_per_step // 2)
        return num, max(run.rollouts_per_step * stage.rollouts_per_step // most[1], 2 * num)

    def _split(self, stage: Stage, run: Run, memory: Memory) -> NDArray[np.int32] | None:
        """Positions of its split, or None for all. The threshold stays, so that prompts that join come at the end."""
        if stage.split == "all" or memory.threshold == 0:
            return None
        if memory.size != len(run.pool):
            short = split_by_prompt_length(self._lengths(run), threshold=memory.threshold)
            halves = {"short": short, "long": ~short}
            memory.splits = {name: np.flatnonzero(half).astype(np.int32) for name, half in halves.items()}
            memory.size = len(run.pool)
        return memory.splits[stage.split]

    def _lengths(self, run: Run) -> NDArray[Any]:
        why = 'fastcurl splits by length unless all its stages are on "all"'
        return run.needed("prompt_tokens", method=self.name, because=why, complete=True)


def _passes(run: Run, index: int) -> ShuffledPasses:
    return ShuffledPasses(hashed_seed(run.seed, "stage", index))
