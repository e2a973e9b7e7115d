"""A comparison written by hand: every curve a straight line, so that every answer can be worked out on paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from didact.journal import Journal
from didact.sealed import write_sealed

Curve = dict[str, Any]

CELL = "hard/arithmetic/G8"
BUDGET = 1000


def straight(slope: float, *, start: float = 0.2, trained: float = 1.0, tokens: float = 10.0) -> Curve:
    """Accuracy rises by `slope` over the budget; each evaluation after 100 rollouts, the last beyond the budget.

    Each 100 rollouts train ten prompts that were not trained before, the first of them ten times as much.
    """
    rollouts = [100.0 * place for place in range(12)]
    return {
        "step": [place * 10 for place in range(12)],
        "updates": [x / 10 for x in rollouts],
        "rollouts": rollouts,
        "rollouts_trained": [x * trained for x in rollouts],
        "tokens": [x * tokens for x in rollouts],
        "prompt_tokens": [x * 7 for x in rollouts],
        "prompts_trained": [x / 10 for x in rollouts],
        "largest_share": [None] + [0.1] * 11,
        "calibration": [0.0] + [0.05] * 11,
        "seconds": [x / 50 for x in rollouts],
        "accuracy": [start + slope * x / BUDGET for x in rollouts],
        "share_with_signal": [0.0] + [0.5] * 11,
        "evidence_age": [0.0] + [4.0] * 11,
        "pass_rate": [0.0] + [0.3] * 11,
    }


def record(variant: str, seed: int, curve: Curve | None, *, cell: str = CELL) -> dict[str, Any]:
    return {
        "schema": 1,
        "cell": cell,
        "variant": variant,
        "method": variant,
        "options": {},
        "seed": seed,
        "learning_rate": 0.001,
        "status": "finished" if curve else "failed",
        "error": None if curve else "RuntimeError: out of <memory>",
        "budget": {"rollouts": BUDGET},
        "curve": curve or {},
        "metrics": {"share_with_signal_so_far": 0.25},
    }


def write(
    folder: Path,
    records: list[dict[str, Any]],
    *,
    variants: Sequence[str | dict[str, Any]] = ("uniform", "oracle", "cures"),
    cells: Sequence[str | dict[str, Any]] = (CELL,),
    seeds: int = 8,
    **settings: Any,
) -> Path:
    """FOLDER as the runner leaves it; a variant given by its name is the method of that name."""
    config = {
        "name": "by hand",
        "baseline": "uniform",
        "targets": {"gain": 0.1},
        "cells": [{"name": row} if isinstance(row, str) else row for row in cells],
        "variants": [{"name": row, "method": row, "options": {}} if isinstance(row, str) else row for row in variants],
        "seeds": list(range(seeds)),
        **settings,
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_sealed(folder / "config.json", config)
    journal = Journal(folder / "runs.jsonl")
    for row in records:
        journal.append(row)
    journal.close()
    return folder


def three_methods(folder: Path, *, seeds: int = 8) -> Path:
    """Over 8 seeds: uniform gains 0.2 + 0.01 a seed, the oracle twice, cures one and a half times as much.

    Half of the rollouts of cures train, and its responses are twice as long.
    """
    times = {"uniform": 1.0, "oracle": 2.0, "cures": 1.5}
    odd = {"trained": 0.5, "tokens": 20.0}
    return write(
        folder,
        [
            record(name, seed, straight((0.2 + 0.01 * seed) * factor, **(odd if name == "cures" else {})))
            for seed in range(seeds)
            for name, factor in times.items()
        ],
        seeds=seeds,
    )
