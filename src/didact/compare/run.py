"""One run of a comparison: a learner and a curriculum until the budget is spent, with its curve."""

import math
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from didact.advantage import AdvantageKind, WeightMode
from didact.compare.learner import Learner
from didact.curriculum import Curriculum

COLUMNS = (
    "step",
    "updates",
    "rollouts",
    "rollouts_trained",
    "tokens",
    "prompt_tokens",
    "seconds",
    "accuracy",
    "share_with_signal",
    "evidence_age",
    "pass_rate",
    "prompts_trained",
    "largest_share",
    "calibration",
)
#: Steps without one rollout after which a run is stopped: a method that has nothing more to ask.
_IDLE_STEPS = 10


def run(
    learner: Learner,
    curriculum: Curriculum,
    *,
    rollouts: int,
    evaluate_every: int,
    steps: int | None = None,
    updates_per_step: int = 1,
    advantage: AdvantageKind | None = None,
    loss_weighting: WeightMode | None = None,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Train until `rollouts` rollouts have been made, all of them counted.

    A step in which no admitted group has rollouts makes no update. The last plan may overshoot the budget by less than
    itself; areas are taken up to the budget.

    Args:
        evaluate_every: rollouts between two evaluations, which happen at the end of a step. Their time is not counted.
        steps: train for so many steps instead, whatever rollouts they take; then `evaluate_every` counts steps, too.
        updates_per_step: optimiser steps a step, see `Learner.update`.
        advantage, loss_weighting: the objective; None is the method's own.

    Returns:
        curve: a list for each of `COLUMNS`, one entry an evaluation, the first before any rollout.
        metrics: the curriculum's figures at the end.
    """
    curve: dict[str, list[float]] = {name: [] for name in COLUMNS}
    budget = rollouts if steps is None else steps
    objective = advantage or curriculum.advantage, loss_weighting or curriculum.loss_weighting
    updates, step, spent, due, idle, seconds = 0, 0, 0.0, evaluate_every, 0, 0.0
    trained: Counter[str] = Counter()  # rollouts, by prompt
    since: dict[str, list[float]] = {"share_with_signal": [], "evidence_age": [], "pass_rate": []}

    def examine(metrics: dict[str, float]) -> None:
        figures = {
            "step": step,
            "updates": updates,
            "rollouts": metrics["rollouts"],
            "rollouts_trained": metrics["rollouts_trained"],
            "tokens": metrics["response_tokens"],
            "prompt_tokens": metrics["prompt_tokens"],
            "seconds": round(seconds, 4),
            "accuracy": learner.evaluate(),
            "prompts_trained": len(trained),
            "calibration": metrics["calibration_error"],
            "largest_share": max(trained.values(), default=0) / max(trained.total(), 1),
            **{name: float(np.mean(values)) if values else 0.0 for name, values in since.items()},
        }
        for name in COLUMNS:
            curve[name].append(figures[name])
        for values in since.values():
            values.clear()

    metrics = curriculum.metrics()
    examine(metrics)
    while spent < budget and idle < _IDLE_STEPS:
        began, before = time.perf_counter(), metrics["rollouts"]
        while plan := curriculum.plan(step):
            curriculum.observe(learner.roll_out(plan))
            if steps is None and curriculum.metrics()["rollouts"] >= rollouts:
                break
        admitted = [group for group in curriculum.admitted(step) if group.rollouts]
        if admitted:
            updates += learner.update(admitted, *objective, updates_per_step)
            for group in admitted:
                trained[group.prompt_id] += len(group.rollouts)
        learner.keep(curriculum.held())
        seconds += time.perf_counter() - began
        step += 1
        metrics = curriculum.metrics()
        spent = metrics["rollouts"] if steps is None else step
        idle = 0 if metrics["rollouts"] > before else idle + 1
        for name, values in since.items():
            values.append(metrics[name])
        if spent >= min(due, budget) and metrics["rollouts"] > curve["rollouts"][-1]:
            examine(metrics)
            due = (math.floor(spent / evaluate_every) + 1) * evaluate_every
        if progress is not None:
            progress(min(spent / budget, 1.0))
    return {"curve": curve, "metrics": metrics}
