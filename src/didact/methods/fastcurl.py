"""FastCuRL: short prompts in a short context first, then all, then the long ones in a long context, and back.

Song et al., "FastCuRL: Curriculum Reinforcement Learning with Stage-wise Context Scaling for Efficient Training R1-like
Reasoning Models", arXiv:2503.17287; stages from the scripts of nick7nlp/FastCuRL.

    short split = prompts no longer than the mean prompt length; long split = the others
    stage k     = (steps, context length, split, prompts a step, rollouts a prompt), as data: see `FOUR_STAGES`

The paper counts characters of the problem text; here a length is the pool's `prompt_tokens`, so give it what you want
counted. Nothing is learned about prompts: within a stage they come in shuffled passes of its split.

Sizes keep their published proportions: the stage with most prompts gets `prompts_per_step`, the one with most rollouts
`rollouts_per_step`. With the published stages (128 x 8, 64 x 8, 64 x 8, 64 x 16) these are all of both, half of both,
half of both, and half of the prompts with all of the rollouts.

The paper moves from stage to stage by hand; `advance="truncation"` is a rule in its place, see `FastCuRL`. KL and
entropy coefficients of a stage are written down for the trainer; no curriculum can set them.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.allocation import largest_remainder
from didact.bounds import MAX_STEP, MAX_TOKENS, one_of, real, shortened, whole, whole_or_none
from didact.curriculum import Curriculum, Draft
from didact.ledger import OpenGroup
from didact.outcomes import GroupOutcome
from didact.prompts import PromptPool
from didact.seeding import hashed_seed
from didact.selection import ShuffledPasses

Split = Literal["short", "all", "long"]
_ADVANCE = ("steps", "truncation")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a run; `prompts` and `rollouts_per_prompt` count relative to those of the other stages."""

    steps: int
    context_length: int
    split: Split
    prompts: int
    rollouts_per_prompt: int
    kl_coefficient: float = 0.001
    entropy_coefficient: float = 0.001

    def __post_init__(self) -> None:
        for what in ("steps", "context_length", "prompts", "rollouts_per_prompt"):
            object.__setattr__(self, what, whole(f"{what} of a stage", getattr(self, what), 1, MAX_STEP))
        for what in ("kl_coefficient", "entropy_coefficient"):
            object.__setattr__(self, what, real(f"{what} of a stage", getattr(self, what)))
        one_of("split of a stage", self.split, get_args(Split))

    @property
    def rollouts_per_step(self) -> int:
        return self.prompts * self.rollouts_per_prompt


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


class FastCuRL(Curriculum):
    """FastCuRL as published; the pool needs `prompt_tokens`.

    If all prompts are equally long there is nothing to split: the run is one stage, the last, on all prompts.

    Args:
        stages: "four_stages" (the Preview model), "v2", "v3", or a list of `Stage`. The last one stays.
        total_steps: scale the stages to a run of so many steps; None keeps the published numbers (1,560).
        max_context: scale context lengths so that the longest is this; None keeps the published numbers.
        advance: "steps" ends a stage after its steps. "truncation" can end it sooner, by the share of rollouts of its
            latest `truncation_window` steps that the context cut off: at `truncation_low` or less, because answers fit;
            or, if the next context is longer, when those cut off in groups where another rollout passed make up
            `truncation_high` or more. Where none of a group passes, more room is no remedy.
        truncation_low: about the share at which stage 1 of the paper ended.
        truncation_high: a little less than the share on all prompts at 8K which the paper set out to avoid.
        truncation_window: steps that the shares are taken over; no stage ends sooner.

    Further options: those of `Curriculum`, except `context`.
    """

    name = "fastcurl"
    one_round = True
    advantage = "grpo"
    loss_weighting = "token"

    def __init__(
        self,
        pool: PromptPool,
        *,
        stages: str | Sequence[Stage] = "four_stages",
        total_steps: int | None = None,
        max_context: int | None = None,
        advance: str = "steps",
        truncation_low: float = 0.1,
        truncation_high: float = 0.4,
        truncation_window: int = 10,
        **common: Any,
    ) -> None:
        if common.get("context") is not None:
            raise ValueError("fastcurl sets the context length by its stages: give max_context or stages, not context")
        one_of("advance", advance, _ADVANCE)
        truncation_low = real("truncation_low", truncation_low, 0, 1)
        truncation_high = real("truncation_high", truncation_high, 0, 1)
        if not truncation_low < truncation_high:
            raise ValueError(
                f"need 0 <= truncation_low < truncation_high <= 1, got {truncation_low} and {truncation_high}"
            )
        truncation_window = whole("truncation_window", truncation_window, 1, MAX_STEP)
        total_steps = whole_or_none("total_steps", total_steps, 1, MAX_STEP)
        max_context = whole_or_none("max_context", max_context, 1, MAX_TOKENS)
        self._schedule = scaled(_named(stages), total_steps=total_steps, max_context=max_context)
        options = {
            "stages": stages if isinstance(stages, str) else [repr(stage) for stage in self._schedule],
            "total_steps": total_steps,
            "max_context": max_context,
            "advance": advance,
            "truncation_low": truncation_low,
            "truncation_high": truncation_high,
            "truncation_window": truncation_window,
        }
        super().__init__(pool, options=options, **common)
        self.context = self  # the context length follows from the stage
        self._threshold = self._mean_length()
        self._index, self._began = 0, 0
        self._passes = self._new_passes()
        self._splits: dict[str, NDArray[np.int32]] = {}  # for a pool of `_size` prompts
        self._size = 0
        self._cuts: dict[int, list[int]] = {}  # by group: step, rollouts, cut off, whether one passed
        sizes = [self._sizes(stage) for stage in self.stages]
        self.uneven = any(rollouts % prompts > 0 for prompts, rollouts in sizes)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages of this run, with its own steps and context lengths."""
        if self._threshold is None and any(stage.split != "all" for stage in self._schedule):
            return (replace(self._schedule[-1], split="all"),)
        return self._schedule

    @property
    def stage(self) -> Stage:
        """The stage of the latest plan."""
        return self.stages[self._index]

    @property
    def longest(self) -> int:
        """The largest context length that can come up."""
        return max(stage.context_length for stage in self.stages)

    def context_length(self, step: int, metrics: Mapping[str, float]) -> int:
        """This curriculum is its own context schedule."""
        return self.stage.context_length

    def _draft(self, step: int, round: int, rng: np.random.Generator) -> Draft | None:
        if round > 0:
            return None
        self._enter_stage(step)
        num, rollouts = self._sizes(self.stage)
        members = self._split(self.stage.split)
        positions = self._passes.take(num, len(self.pool) if members is None else len(members))
        positions = positions if members is None else members[positions].astype(np.int64)
        return Draft(positions, largest_remainder(np.ones(num), rollouts))

    def _enter_stage(self, step: int) -> None:
        while self._index < len(self.stages) - 1:
            if step - self._began >= self.stage.steps:
                began = self._began + self.stage.steps
            elif self.options["advance"] == "truncation" and self._done(step):
                began = step
            else:
                return
            self._index, self._began = self._index + 1, began
            self._passes, self._cuts = self._new_passes(), {}

    def _done(self, step: int) -> bool:
        """Whether the share of rollouts cut off ends the stage."""
        first = step - self.options["truncation_window"]
        self._cuts = {group: row for group, row in self._cuts.items() if row[0] >= max(first, self._began)}
        if first < self._began or not self._cuts:
            return False
        _, rollouts, cut, passed = np.array(list(self._cuts.values())).T
        longer = self.stages[self._index + 1].context_length > self.stage.context_length
        promising = (cut * passed).sum() / rollouts.sum()
        return bool(
            cut.sum() / rollouts.sum() <= self.options["truncation_low"]
            or (longer and promising >= self.options["truncation_high"])
        )

    def _observed(self, positions: NDArray[np.int64], fresh: Sequence[tuple[OpenGroup, GroupOutcome]]) -> None:
        if self.options["advance"] != "truncation":
            return
        for group, outcome in fresh:
            row = self._cuts.setdefault(group.group_id, [group.step, 0, 0, 0])
            rewards = np.array([group.rewards[index] for index in group.usable])
            row[1] = len(group.rewards)
            row[2] += sum(outcome.truncated or ())
            row[3] = int((self.belief.passes(rewards) >= 0.5).any())

    def _sizes(self, stage: Stage) -> tuple[int, int]:
        """Prompts and rollouts of a step of this stage."""
        most = max(each.prompts for each in self.stages), max(each.rollouts_per_step for each in self.stages)
        members = self._split(stage.split)
        available = len(self.pool) if members is None else len(members)
        num = min(max(self.prompts_per_step * stage.prompts // most[0], 1), available, self.rollouts_per_step // 2)
        return num, max(self.rollouts_per_step * stage.rollouts_per_step // most[1], 2 * num)

    def _mean_length(self) -> float | None:
        """The mean length of the pool as it is now; None where nothing is split, or could be."""
        if all(stage.split == "all" for stage in self._schedule):
            return None
        lengths = self._lengths()
        return None if split_by_prompt_length(lengths).all() else float(lengths.mean(dtype=np.float64))

    def _lengths(self) -> NDArray[Any]:
        lengths = self._column("prompt_tokens", complete=True)
        if lengths is None:
            raise ValueError(
                "fastcurl splits by prompt length: give PromptPool(ids, prompt_tokens=...), or stages on all"
            )
        return lengths

    def _split(self, split: Split) -> NDArray[np.int32] | None:
        """Positions of a split, or None for all. The threshold stays, so that prompts that join come at the end."""
        if split == "all" or self._threshold is None:
            return None
        if self._size != len(self.pool):
            short = split_by_prompt_length(self._lengths(), threshold=self._threshold)
            halves = {"short": short, "long": ~short}
            self._splits = {name: np.flatnonzero(half).astype(np.int32) for name, half in halves.items()}
            self._size = len(self.pool)
        return self._splits[split]

    def _new_passes(self) -> ShuffledPasses:
        return ShuffledPasses(hashed_seed(self.seed, "stage", self._index))

    def _own_state(self) -> dict[str, Any]:
        return {
            "threshold": self._threshold,
            "stage": self._index,
            "began": self._began,
            "passes": self._passes.state_dict(),
            "cuts": {str(group): list(row) for group, row in self._cuts.items()},
        }

    def _load_own_state(self, state: Mapping[str, Any]) -> None:
        self._threshold = state["threshold"]
        self._index, self._began = state["stage"], state["began"]
        self._size = 0  # the threshold is another
        self._passes = self._new_passes()
        self._passes.load_state_dict(state["passes"])
        self._cuts = {int(group): list(row) for group, row in state["cuts"].items()}
        if not (0 <= self._index < len(self.stages) and 0 <= self._began <= max(self._step, 0)):
            raise ValueError(f"stage {self._index} of {len(self.stages)} cannot have begun at step {self._began}")


def scaled(
    stages: Sequence[Stage], *, total_steps: int | None = None, max_context: int | None = None
) -> tuple[Stage, ...]:
    """The same stages for a run of another length and context, in proportion."""
    if total_steps is not None and total_steps < len(stages):
        raise ValueError(f"total_steps must be at least one for each of {len(stages)} stages, got {total_steps}")
    steps = [stage.steps for stage in stages]
    longest = max(stage.context_length for stage in stages)
    parts = steps if total_steps is None else largest_remainder(steps, total_steps, minimum=1).tolist()
    return tuple(
        replace(
            stage,
            steps=part,
            context_length=max(round(stage.context_length * (max_context or longest) / longest), 1),
        )
        for stage, part in zip(stages, parts, strict=True)
    )


def _named(stages: str | Sequence[Stage]) -> tuple[Stage, ...]:
    if isinstance(stages, str):
        if stages not in SCHEDULES:
            close = difflib.get_close_matches(stages, list(SCHEDULES), n=1, cutoff=0.4)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"unknown stages {stages!r}{hint}; known: {', '.join(SCHEDULES)}, or a list of Stage")
        return SCHEDULES[stages]
    listed: tuple[Any, ...] = tuple(stages) if isinstance(stages, Sequence) else ()
    if not listed or not all(isinstance(stage, Stage) for stage in listed):
        known = ", ".join(SCHEDULES)
        raise ValueError(f"stages must be one of {known} or a non-empty list of Stage, got {shortened(stages)}")
    return listed
