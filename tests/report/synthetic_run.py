"""Writes a run folder as training would, from a simulated learner whose prompts get easier with practice.

A third of each step's rollouts pilots many prompts four times; the most promising of them are then continued. Some
prompts have broken answers, one family relapses, a few verifiers crash, and the context length tightens.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from didact.journal import SCHEMA, Journal

SOURCES = ("add", "sub", "mul")


def write_run(
    folder: Path,
    *,
    steps: int = 40,
    planned_steps: int | None = None,
    pool_size: int = 300,
    prompts_per_step: int = 16,
    rollouts_per_step: int = 128,
    seed: int = 0,
    evaluations: bool = True,
    tokens: bool = True,
    pilots: bool = True,
    error_rate: float = 0.004,
) -> Path:
    """A finished run, or one that stopped at `steps` of `planned_steps`."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    level = rng.integers(1, 9, pool_size)
    family = rng.integers(0, 3, pool_size)
    hardness = 0.62 * level + 0.8 * family + rng.normal(0, 0.8, pool_size)
    broken = rng.random(pool_size) < 0.03
    ids = [f"{SOURCES[f]}-{i:04d}" for i, f in enumerate(family)]
    method = "pilot_commit" if pilots else "uniform"
    _write_side_files(
        folder, method, ids, level, family, rng, planned_steps or steps, prompts_per_step, rollouts_per_step
    )
    journal = Journal(folder / "journal.jsonl")
    pool = {"size": pool_size, "fingerprint": "5f1c2a9e"}
    journal.append(
        {
            "kind": "start",
            "schema": SCHEMA,
            "method": method,
            "options": {},
            "seed": seed,
            "prompts_per_step": prompts_per_step,
            "rollouts_per_step": rollouts_per_step,
            "pool": pool,
        }
    )
    seen, passed = np.full(pool_size, 2.0), np.full(pool_size, 0.7)
    held_out = rng.normal(4.2, 1.9, 512)
    noise = rng.random(512)
    total, total_tokens, next_group = 0, 0, 0

    def ability(step: int) -> float:
        return 2.1 + 2.6 * (1 - np.exp(-1.9 * step / max(planned_steps or steps, 1)))

    def pass_rate(rows: np.ndarray, step: int) -> np.ndarray:
        rate = 1 / (1 + np.exp(1.4 * (hardness[rows] - ability(step))))
        late = step > 0.55 * (planned_steps or steps)
        rate = np.where((family[rows] == 0) & (level[rows] == 3) & late, rate * 0.25, rate)
        return np.where(broken[rows], 0.0, rate)

    def evaluate(step: int) -> None:
        right = (1 / (1 + np.exp(3 * (held_out - ability(step)))) > noise).astype(int)
        rate = float(right.mean())
        half = 1.96 * np.sqrt(rate * (1 - rate) / 512)
        journal.append(
            {
                "kind": "evaluation",
                "step": step,
                "rollouts": total,
                "tokens": total_tokens if tokens else None,
                "num_prompts": 512,
                "passed": right.tolist(),
                "pass_rate": rate,
                "low": rate - half,
                "high": rate + half,
            }
        )

    def roll_out(step: int, round_: int, groups: list[int], rows: np.ndarray, sizes: list[int], reason: str) -> list:
        nonlocal total, total_tokens
        context = 40 if step < 0.4 * steps else 32 if step < 0.7 * steps else 24
        journal.append(
            {
                "kind": "plan",
                "step": step,
                "round": round_,
                "groups": groups,
                "prompts": [ids[row] for row in rows],
                "rollouts": sizes,
                "context_length": [context] * len(groups) if tokens else None,
                "reasons": [reason] * len(groups),
                "predicted": (passed[rows] / seen[rows]).tolist(),
            }
        )
        rewards, lengths, cut = [], [], []
        for row, size in zip(rows, sizes, strict=True):
            won = rng.random(size) < pass_rate(np.array([row]), step)[0]
            length = np.minimum(rng.poisson(5 + 2.4 * level[row] - 4 * step / steps, size), context)
            crashed = rng.random(size) < error_rate
            rewards.append([None if bad else float(ok) for ok, bad in zip(won, crashed, strict=True)])
            lengths.append(length.tolist())
            cut.append((length == context).tolist())
            seen[row] += size
            passed[row] += won.sum()
            total += size
            total_tokens += int(length.sum())
        journal.append(
            {
                "kind": "outcomes",
                "step": step,
                "groups": groups,
                "prompts": [ids[row] for row in rows],
                "rewards": rewards,
                "num_tokens": lengths if tokens else None,
                "truncated": cut if tokens else None,
                "errored": [[reward is None for reward in group] for group in rewards],
                "policy_version": [step] * len(groups),
            }
        )
        return rewards

    for step in range(steps):
        if evaluations and step % max(1, (planned_steps or steps) // 16) == 0:
            evaluate(step)
        believed = passed / seen
        weight = np.sqrt(believed * (1 - believed)) + 0.05
        num_tried = 2 * prompts_per_step if pilots else prompts_per_step
        rows = rng.choice(pool_size, min(num_tried, pool_size), replace=False, p=weight / weight.sum())
        groups = list(range(next_group, next_group + len(rows)))
        next_group += len(rows)
        size = max(2, rollouts_per_step // (3 * len(rows))) if pilots else rollouts_per_step // len(rows)
        first = roll_out(step, 0, groups, rows, [size] * len(rows), "pilot" if pilots else "train")
        chosen, rewards = list(range(len(rows))), first
        if pilots:
            mean = np.array([np.mean([r for r in group if r is not None] or [0.0]) for group in first])
            chosen = np.argsort(np.abs(mean - 0.5), kind="stable")[: prompts_per_step // 2].tolist()
            left = rollouts_per_step - size * len(rows)
            sizes = [left // len(chosen) + (position % 3 - 1) * 2 for position in range(len(chosen))]
            more = roll_out(step, 1, [groups[i] for i in chosen], rows[chosen], sizes, "train")
            rewards = [first[i] + extra for i, extra in zip(chosen, more, strict=True)]
        usable = [[place for place, reward in enumerate(group) if reward is not None] for group in rewards]
        admitted = [groups[i] for i in chosen]
        journal.append({"kind": "admitted", "step": step, "groups": admitted, "rollouts": usable})
    if evaluations and planned_steps in (None, steps):
        evaluate(steps)
    journal.close()
    return folder


def _write_side_files(folder, method, ids, level, family, rng, steps, prompts_per_step, rollouts_per_step) -> None:
    config = {
        "method": method,
        "method_options": {},
        "task": "arithmetic",
        "model": "small",
        "seed": 0,
        "steps": steps,
        "prompts_per_step": prompts_per_step,
        "rollouts_per_step": rollouts_per_step,
    }
    (folder / "config.json").write_text(json.dumps(config))
    lines = []
    for index, prompt_id in enumerate(ids):
        a, b = rng.integers(10 ** (level[index] - 1), 10 ** level[index], 2)
        text = f"<b>Work out</b> {a} {'+-*'[family[index]]} {b} column by column & give $x$ after the # sign."
        row = {"prompt_id": prompt_id, "prompt": text, "answer": str(a + b), "source": SOURCES[family[index]]}
        lines.append(json.dumps(row | {"difficulty": int(level[index]), "prompt_tokens": 12}))
    (folder / "prompts.jsonl").write_text("\n".join(lines) + "\n")
    timing = [json.dumps({"step": step, "seconds": 0.4 + 0.1 * float(rng.random())}) for step in range(steps)]
    (folder / "timing.jsonl").write_text("\n".join(timing) + "\n")
