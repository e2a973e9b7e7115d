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

It has no belief about pass rates, and knows nothing of a prompt before its first visit.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didact.admission import AdmitWithSignal, has_signal
from didact.allocation import largest_remainder
from didact.bounds import MAX_PER_STEP, MAX_REWARD, MAX_STEP, flag, real, whole, whole_or_none
from didact.curriculum import Curriculum, Draft
from didact.ledger import OpenGroup
from didact.outcomes import GroupOutcome
from didact.prompts import PromptPool
from didact.selection import ShuffledPasses

_COUNTS = ("visits", "easy", "hard", "round_visits", "round_silent")
_LONGEST_RUN = 30000  # of visits; far past the point where min_keep rules


class GRESO(Curriculum):
    """GRESO as the paper has it.

    Args:
        base_easy, base_hard: bases b at the start.
        easy_at, hard_at: mean rewards from which, and up to which, a visit is easy, hard.
        silent_target: share of silent groups that the bases steer toward, a third of it easy and two thirds hard.
        base_step: what a base moves by in a step.
        base_low, base_high: bounds of the bases.
        min_keep: least probability of not being skipped.
        request_margin: factor on the prompts that are asked for to fill a batch.
        min_request: least number of prompts in a round; None is a quarter of prompts_per_step, the paper's 64 for 256.
        prompts_per_round: most prompts in a round, and those of the first. None is prompts_per_step, so that no plan
            exceeds the budget of a step; the paper draws 384 for 256 that train.
        max_rounds: rounds after which a step goes ahead with the groups it has, as in `dapo`.
        as_released: stop drawing after the first request that is expected to fill the batch, filled or not.

    Further options: those of `Curriculum`; `admission` defaults to groups with signal.
    """

    name = "greso"
    advantage = "grpo"
    loss_weighting = "token"

    def __init__(
        self,
        pool: PromptPool,
        *,
        base_easy: float = 0.5,
        base_hard: float = 0.5,
        easy_at: float = 0.98,
        hard_at: float = 0.11,
        silent_target: float = 0.25,
        base_step: float = 0.01,
        base_low: float = 0.05,
        base_high: float = 0.95,
        min_keep: float = 0.01,
        request_margin: float = 1.25,
        min_request: int | None = None,
        prompts_per_round: int | None = None,
        max_rounds: int = 10,
        as_released: bool = False,
        **common: Any,
    ) -> None:
        options: dict[str, Any] = {
            "base_easy": real("base_easy", base_easy, 0, 1),
            "base_hard": real("base_hard", base_hard, 0, 1),
            "easy_at": real("easy_at", easy_at, -MAX_REWARD, MAX_REWARD),
            "hard_at": real("hard_at", hard_at, -MAX_REWARD, MAX_REWARD),
            "silent_target": real("silent_target", silent_target, 0, 1),
            "base_step": real("base_step", base_step, 0, 1),
            "base_low": real("base_low", base_low, 0, 1),
            "base_high": real("base_high", base_high, 0, 1),
            "min_keep": real("min_keep", min_keep, 0, 1),
            "request_margin": real("request_margin", request_margin, 1),
            "min_request": whole_or_none("min_request", min_request, 1, MAX_PER_STEP),
            "prompts_per_round": whole_or_none("prompts_per_round", prompts_per_round, 1, MAX_PER_STEP),
            "max_rounds": whole("max_rounds", max_rounds, 1, MAX_STEP),
            "as_released": flag("as_released", as_released),
        }
        if not 0 < base_low <= min(base_easy, base_hard) <= max(base_easy, base_hard) <= base_high:
            raise ValueError(
                f"need 0 < base_low <= base_easy, base_hard <= base_high <= 1, got base_easy={base_easy}, "
                f"base_hard={base_hard} and bounds {base_low} and {base_high}"
            )
        if not hard_at < easy_at:
            raise ValueError(f"hard_at must be less than easy_at, got {hard_at} and {easy_at}")
        for what in ("silent_target", "base_step", "min_keep"):
            if not options[what] > 0:
                raise ValueError(f"{what} must be in (0, 1], got {options[what]}")
        common = {**common, "admission": AdmitWithSignal() if common.get("admission") is None else common["admission"]}
        super().__init__(pool, options=options, **common)
        self.uneven = self.rollouts_per_step % self.prompts_per_step > 0
        self._passes = ShuffledPasses(self.seed)
        self._walked = 0  # prompts that the passes gave out, skipped or not
        self._runs = np.zeros(len(pool), dtype=np.int16)  # latest silent visits in a row: > 0 easy, < 0 hard
        self._bases = [options["base_easy"], options["base_hard"]]
        self._seen = dict.fromkeys(_COUNTS, 0)
        self._last_request = False  # whether as_released has drawn the last round of its step

    @property
    def bases(self) -> tuple[float, float]:
        """The bases now, easy and hard."""
        return self._bases[0], self._bases[1]

    def keep_probability(self, positions: NDArray[np.int64] | slice = slice(None)) -> NDArray[np.float64]:
        """The probability that a prompt is not skipped when its turn comes."""
        runs = self._runs[positions]
        base = np.where(runs > 0, self._bases[0], self._bases[1])
        return np.asarray(np.maximum(base ** np.abs(runs), self.options["min_keep"]))

    def _draft(self, step: int, round: int, rng: np.random.Generator) -> Draft | None:
        if len(self._runs) < len(self.pool):
            self._runs = np.concatenate([self._runs, np.zeros(len(self.pool) - len(self._runs), np.int16)])
        if round == 0:
            self._adapt()
        missing = self.prompts_per_step - len(self._admitted) - len(super()._admit(self._ledger.waiting()))
        if round >= self.options["max_rounds"] or missing <= 0 or self._last_request:
            return None
        batch = min(self.prompts_per_step, self.rollouts_per_step // 2)  # a group needs two rollouts to have signal
        num = self._request(missing, self.options["prompts_per_round"] or batch, first=round == 0)
        positions = self._walk(self._fitting(num, self.rollouts_per_step * num // batch), rng)
        groups = max(batch, len(positions))
        per_group = largest_remainder(np.ones(groups), self.rollouts_per_step * groups // batch)
        return Draft(positions, per_group[: len(positions)])

    def _adapt(self) -> None:
        """Move the bases by what came back since the last step."""
        seen, self._seen, self._last_request = self._seen, dict.fromkeys(_COUNTS, 0), False
        if seen["visits"] == 0 or self._walked < len(self.pool):
            return
        target, step = self.options["silent_target"], self.options["base_step"]
        for index, (kind, share) in enumerate({"easy": 1 / 3, "hard": 2 / 3}.items()):
            move = -step if seen[kind] / seen["visits"] >= share * target else step
            self._bases[index] = min(
                max(round(self._bases[index] + move, 9), self.options["base_low"]), self.options["base_high"]
            )

    def _request(self, missing: int, most: int, *, first: bool) -> int:
        """How many prompts to draw: enough to fill the batch, if as many are silent as in the round before."""
        visits, silent = self._seen["round_visits"], self._seen["round_silent"]
        self._seen["round_visits"] = self._seen["round_silent"] = 0
        if first or silent == visits:
            return most
        wanted = ceil(round(self.options["request_margin"] * missing * visits / (visits - silent), 9))
        self._last_request = self.options["as_released"] and wanted <= most
        least = self.options["min_request"] or -(-self.prompts_per_step // 4)
        return int(min(max(wanted, least), most))

    def _walk(self, num: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """The next prompts of the passes that are not skipped: `num` of them, or what one walk through the pool gives.

        No more are taken off the passes than are looked at, so that none is lost. A walk that skips all goes on.
        """
        size, start = len(self.pool), self._walked
        chosen: dict[int, None] = {}  # in order; a new pass can begin on the way and bring a prompt again
        while len(chosen) < min(num, size) and (self._walked - start < size or not chosen):
            positions = self._passes.take(min(num, size) - len(chosen), size)
            self._walked += len(positions)
            kept = positions[rng.random(len(positions)) < self.keep_probability(positions)]
            chosen |= dict.fromkeys(kept.tolist())
        return np.fromiter(chosen, np.int64, len(chosen))

    def _observed(self, positions: NDArray[np.int64], fresh: Sequence[tuple[OpenGroup, GroupOutcome]]) -> None:
        for _, group in sorted({group.group_id: group for group, _ in fresh}.items()):
            rewards = np.array([group.rewards[index] for index in group.usable])
            if group.completed < 0 or len(rewards) == 0:
                continue
            mean, run = rewards.mean(), int(self._runs[group.position])
            easy, hard = bool(mean >= self.options["easy_at"]), bool(mean <= self.options["hard_at"])
            run = max(run, 0) + 1 if easy else min(run, 0) - 1 if hard else 0
            self._runs[group.position] = min(max(run, -_LONGEST_RUN), _LONGEST_RUN)
            found = {
                "visits": 1,
                "easy": easy,
                "hard": hard,
                "round_visits": 1,
                "round_silent": not has_signal(rewards),
            }
            for name, one in found.items():
                self._seen[name] += int(one)

    def _admit(self, groups: Sequence[OpenGroup]) -> list[OpenGroup]:
        return super()._admit(groups)[: self.prompts_per_step - len(self._admitted)]

    def _own_state(self) -> dict[str, Any]:
        return {
            "passes": self._passes.state_dict(),
            "walked": self._walked,
            "runs": self._runs.copy(),
            "bases": list(self._bases),
            "seen": dict(self._seen),
            "last_request": self._last_request,
        }

    def _load_own_state(self, state: Mapping[str, Any]) -> None:
        self._passes.load_state_dict(state["passes"])
        self._walked, self._runs = state["walked"], np.array(state["runs"], dtype=np.int16)
        self._bases, self._seen = list(state["bases"]), dict(state["seen"])
        self._last_request = state["last_request"]
        low, high = self.options["base_low"], self.options["base_high"]
        if len(self._runs) > len(self.pool) or self._walked < 0 or not all(low <= base <= high for base in self._bases):
            raise ValueError(f"bases must be from {low} to {high}, got {self._bases}; and runs of prompts of the pool")
        if set(self._seen) != set(_COUNTS) or not all(0 <= count < np.inf for count in self._seen.values()):
            raise ValueError(f"counts of the step must be {', '.join(_COUNTS)}, none negative, got {self._seen}")
