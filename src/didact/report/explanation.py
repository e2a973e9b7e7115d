"""Why this prompt, why so many rollouts, why not that one: a step of a run, replayed from its journal.

A replay makes every plan again, so what was believed when a plan was made is known exactly, and of a method that says
what it `compared`, also which prompts it looked at. Where a plan comes out otherwise than it was, nothing is said.

Figures of a prompt, as they were when the plan was made:

    believed, deviation   mean and standard deviation of its pass rate
    quantile              share of the pool that was believed to pass less often; of equals, half
    rollouts, last_seen   its own so far, and the step of the latest; None where there are none
    evidence, reward      how many of these are still remembered, and their mean reward
    figures               what the method compared it by
    rank                  among all that were compared, by the figure that decided; 1 is the best
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from didact.arrays import Floats
from didact.curriculum import Curriculum
from didact.methods import about
from didact.naming import nearest
from didact.plan import Plan
from didact.report.inspection import shorten
from didact.report.records import Record, is_text
from didact.report.replay import Logged, is_logged
from didact.silence import NothingLearnt

Finding = dict[str, Any]


def explain(
    run: str | os.PathLike[str],
    *,
    step: int | None = None,
    prompt: str | None = None,
    method: str | None = None,
    tell: Callable[[int, int], None] | None = None,
    excerpt: int = 160,
) -> Finding:
    """What the plans of `step` held (None: of the last one), and what their method looked at to make them.

    Args:
        prompt: id of a prompt to say more about.
        method: where the run's method lies, if it is not one of didact's.
        tell: is told records replayed, and records to be.
        excerpt: characters of a prompt's text.

    Returns:
        "rounds", one for each plan of the step: the "groups" that it holds, and what was looked at and "left", the best
        first; with `prompt`, also what became of that.

    Raises:
        FileNotFoundError: no run. ValueError: a damaged one, a step without a plan, an unknown prompt, another method,
            or a run that its method does not plan again as it was.
    """
    logged = Logged.read(run)
    plans = {number: each["step"] for number, each in enumerate(logged.records, start=1) if each["kind"] == "plan"}
    step = _checked(step, list(plans.values()), logged)
    last = max(number for number, each in plans.items() if each == step)
    if prompt is not None and prompt not in logged.pool:
        num = len(logged.pool)
        raise ValueError(f"prompt {prompt!r} is not among the {num:,} of {run}{nearest(prompt, logged.pool.ids)}")
    rounds: list[Finding] = []
    with logged.replayed(), warnings.catch_warnings():
        warnings.simplefilter("ignore", NothingLearnt)  # it was said when it happened
        curriculum = logged.curriculum(method)
        course = None if prompt is None else _Course(prompt, curriculum)
        for number, (record, plan) in enumerate(logged.retraced(curriculum), start=1):
            if tell is not None:
                tell(number, last)
            if plan is not None and not is_logged(plan, record):
                raise ValueError(
                    f"{run} is not what this version of didact plans: replayed, its plan of step {record['step']} "
                    f"comes out otherwise, so why step {step} is as it is cannot be said; take the version of the run"
                )
            if plan is not None and plan.step == step:
                seen = _Round(logged, curriculum, plan, excerpt)
                rounds.append(seen.found() if course is None else {**seen.found(), "prompt": course.told(seen)})
            if number == last:
                break
            if course is not None:
                course.note(record, plan)
    return {
        "run": str(logged.path),
        "method": curriculum.name,
        "about": about(method or curriculum.name)[0],
        "step": step,
        "last_step": max(plans.values()),
        "pool_size": len(logged.pool),
        "prompt_id": prompt,
        "rounds": rounds,
    }


def _checked(step: int | None, steps: list[int], logged: Logged) -> int:
    if not steps:
        raise ValueError(f"{logged.path} has no plan: nothing was planned yet; try again after the first step")
    step = steps[-1] if step is None else step
    if step not in steps:
        raise ValueError(f"{logged.path} has no plan of step {step}: its plans are of steps {steps[0]} to {steps[-1]}")
    return step


class _Round:
    """A plan at the moment it was made."""

    def __init__(self, logged: Logged, curriculum: Curriculum, plan: Plan, excerpt: int) -> None:
        self.plan, self.pool, self.method = plan, logged.pool, curriculum.name
        self._logged, self._excerpt = logged, excerpt
        self.compared = compared = curriculum.compared()
        self._believed = curriculum.pass_rates()
        self._sorted = np.sort(self._believed.mean)
        self.positions = self.pool.positions([group.prompt_id for group in plan]).tolist()
        self.looked_at: dict[int, int] = {}
        deciding = np.zeros(0)
        if compared is not None:
            self.looked_at = {position: row for row, position in enumerate(compared.positions.tolist())}
            deciding = np.full(len(self.looked_at), np.nan) if compared.by is None else compared.figures[compared.by]
        self.deciding, self.ranks = deciding, _ranks(deciding)
        self.num_compared = int(np.isfinite(deciding).sum())

    @property
    def last_taken(self) -> float | None:
        """Of the planned prompts that were compared, the least of the figure that decided."""
        taken = [self.deciding[self.looked_at[each]] for each in self.positions if each in self.looked_at]
        return min((float(value) for value in taken if np.isfinite(value)), default=None)

    def found(self) -> Finding:
        """All of it."""
        compared, planned = self.compared, set(self.positions)
        left = [self.prompt(position) for position in self.looked_at if position not in planned]
        return {
            "round": self.plan.round,
            "num_rollouts": self.plan.num_rollouts,
            "rule": compared and compared.rule,
            "looked_at": compared and len(compared.positions),
            "compared": compared and self.num_compared,
            "by": compared and compared.by,
            "last_taken": self.last_taken,
            "overall": {name: _known(value) for name, value in compared.overall.items()} if compared else {},
            "groups": self.groups(),
            "left": sorted(left, key=lambda row: row["rank"] or len(left) + len(planned)),
        }

    def groups(self) -> list[Finding]:
        """The groups of the plan, in its order."""
        return [
            {
                **self.prompt(position, group.pass_rate),
                "group": group.group_id,
                "planned": group.num_rollouts,
                "reason": group.reason,
                "context_length": group.context_length,
            }
            for group, position in zip(self.plan, self.positions, strict=True)
        ]

    def prompt(self, position: int, mean: float | None = None) -> Finding:
        """What was known of a prompt; `mean` is its pass rate as the plan has it, where it does."""
        believed, row = self._believed, self.looked_at.get(position)
        mean = float(believed.mean[position]) if mean is None else mean
        below = np.searchsorted(self._sorted, mean, "left") + np.searchsorted(self._sorted, mean, "right")
        figures = self.compared.figures if self.compared is not None and row is not None else {}
        text: Any = self._logged.rows[position].get("prompt")
        return {
            "prompt_id": self.pool.ids[position],
            "prompt": shorten(text, self._excerpt) if is_text(text) else "",
            "believed": mean,
            "deviation": float(believed.std[position]),
            "quantile": float(below) / 2 / len(self.pool),
            "rollouts": int(believed.num_rollouts[position]),
            "last_seen": int(believed.last_seen[position]) if believed.last_seen[position] >= 0 else None,
            "evidence": float(believed.evidence[position]),
            "reward": _known(float(believed.reward_mean[position])),
            "figures": {name: _known(float(figure[row])) for name, figure in figures.items()},
            "rank": None if row is None or not self.ranks[row] else int(self.ranks[row]),
        }


class _Course:
    """What happened to one prompt until a plan."""

    def __init__(self, prompt: str, curriculum: Curriculum) -> None:
        self._prompt, self._curriculum = prompt, curriculum
        self._position = int(curriculum.pool.positions([prompt])[0])
        self._began: dict[int, int] = {}  # its groups, and the step of each
        self._looked_at: int | None = None  # the latest step at which it was

    def note(self, record: Record, plan: Plan | None) -> None:
        """Go on with what happened."""
        if plan is None:
            return
        for group, prompt in zip(record["groups"], record["prompts"], strict=True):
            if prompt == self._prompt:
                self._began.setdefault(group, record["step"])
        compared = self._curriculum.compared()
        if compared is not None and self._position in compared.positions:
            self._looked_at = record["step"]

    def told(self, seen: _Round) -> Finding:
        """What became of it in a plan that was just made, in figures and in sentences."""
        planned = next((row for row in seen.groups() if row["prompt_id"] == self._prompt), None)
        row = planned or seen.prompt(self._position)
        if planned is not None:
            fate, said = "planned", [self._why_planned(planned, seen), *self._why_so_many(seen)]
        elif self._position in seen.looked_at:
            fate, said = "left", [f"looked at and not planned{self._standing(row, seen)}"]
        elif seen.compared is not None:
            fate, said = "not looked at", [self._not_looked_at(seen)]
        else:
            fate = "not planned"
            said = [f"not planned; method {seen.method!r} does not say which prompts it looked at"]
        return {**row, "fate": fate, "said": [*said, *self._open(planned), _belief(row, seen), _own(row)]}

    def _why_planned(self, row: Finding, seen: _Round) -> str:
        since = self._began.get(row["group"])
        what = f"{row['planned']:,} rollouts in a new group" if since is None else f"{row['planned']:,} more rollouts"
        where = "" if since is None else f" of its group of step {since}"
        standing = self._standing(row, seen)
        if seen.compared is not None and self._position not in seen.looked_at:
            standing = ", though the method did not look at it: a wrapper, or a group that goes on"
        return f"planned, {what}{where}, reason {row['reason']!r}{standing}"

    def _why_so_many(self, seen: _Round) -> list[str]:
        sizes = [group.num_rollouts for group in seen.plan]
        least, most = min(sizes), max(sizes)
        return [f"groups of this plan have {least}" + (f" to {most} rollouts" if most > least else " rollouts each")]

    def _standing(self, row: Finding, seen: _Round) -> str:
        """Where it stands among those that were compared."""
        if seen.compared is None or seen.compared.by is None or self._position not in seen.looked_at:
            return ""
        if row["rank"] is None:
            return ", without being compared"
        by, last = seen.compared.by, seen.last_taken
        said = f": its {by} of {row['figures'][by]:.4g} is rank {row['rank']:,} of {seen.num_compared:,}"
        return said if last is None else f"{said}, and the last one taken has {last:.4g}"

    def _not_looked_at(self, seen: _Round) -> str:
        before = "it was not looked at before either"
        if self._looked_at is not None:
            before = f"it was looked at last at step {self._looked_at}"
        num = len(seen.looked_at)
        return f"not among the {num:,} prompts looked at, so not compared; {before}, when its turn comes is not known"

    def _open(self, planned: Finding | None) -> list[str]:
        """Its groups of earlier plans that are not settled."""
        now, held = planned and planned["group"], set(self._curriculum.held())
        return [
            f"its group of step {self._began[group]} "
            + ("came back, and waits to train" if group in held else "is still open: it waits for outcomes")
            for group in self._curriculum.open_groups()
            if group in self._began and group != now
        ]


def _belief(row: Finding, seen: _Round) -> str:
    planned = [group["believed"] for group in seen.groups()]
    return (
        f"believed to pass {row['believed']:.3f} ± {row['deviation']:.3f}, more often than {row['quantile']:.0%} of "
        f"the pool; what was planned, {min(planned):.3f} to {max(planned):.3f}"
    )


def _own(row: Finding) -> str:
    if not row["rollouts"]:
        return "no rollouts of its own so far"
    remembered = ", none of them remembered"
    if row["reward"] is not None:
        remembered = f", {row['evidence']:.4g} of them remembered with a mean reward of {row['reward']:.3f}"
    return f"{row['rollouts']:,} rollouts of its own so far, the latest at step {row['last_seen']}{remembered}"


def _ranks(figure: Floats) -> Floats:
    """1 for the greatest, equals alike; 0 for nan."""
    known = np.sort(-figure[np.isfinite(figure)])
    return np.where(np.isfinite(figure), np.searchsorted(known, -figure, "left") + 1, 0)


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
