"""A test bed of real training: a warm-started small model, a pool of a given shape, held-out prompts.

The pass rates of many candidate prompts are measured under the warm-started model (`PROBES` rollouts each), and prompts
are drawn so that given shares of them never, sometimes and always pass. Held-out prompts come from the task's test
split and have the same shape. All this happens before a comparison and outside its budget; a bed is built once per seed
and cached, so that every method starts from the same model, pool and test set.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from didact.compare.config import Cell
from didact.prompts import PromptPool
from didact.seeding import generator
from didact.tasks import Example, Split, task

PROBES = 12
_BLOCKS: dict[str, int] = {"train": 2048, "test": 512}  # candidates measured at a time
_MAX_BLOCKS = 16
_FORMAT = 1  # raise it when the code changes which prompts a bed holds

#: Shares of prompts that never, sometimes and always pass; None takes the task's prompts as they come.
SHAPES: dict[str, tuple[float, float, float] | None] = {
    "easy-heavy": (0.15, 0.35, 0.50),
    "hard-heavy": (0.75, 0.15, 0.10),
    "mixed": (0.40, 0.20, 0.40),
    "sources": None,
}


@dataclass(frozen=True)
class Bed:
    """Everything a run starts from."""

    model: str
    examples: list[Example]
    base_pass_rates: list[float]
    held_out: list[Example]

    def pool(self) -> PromptPool:
        """The pool as a user would describe it, and with the offline difficulty (0 to 100) that AdaRFT asks for:
        100 (1 - pass rate) of the model before training."""
        sources = [example.source for example in self.examples]
        levels = np.array([example.difficulty or 0.0 for example in self.examples])
        known = sorted(set(sources))
        features = np.array([[source == name for name in known] for source in sources], dtype=np.float64)
        return PromptPool(
            [example.prompt_id for example in self.examples],
            source=sources,
            difficulty=100 * (1 - np.array(self.base_pass_rates)),
            prompt_tokens=[len(example.prompt.split()) for example in self.examples],
            features=np.column_stack([features, levels / max(levels.max(), 1.0)]),
        )


def bed_of(cell: Cell, seed: int) -> Bed:
    """The bed of a cell for a seed, from the cache or built now (a minute or two).

    Raises:
        ValueError: the task has too few prompts of a kind for the pool's shape.
    """
    from filelock import FileLock

    from didact.training.beds import bed
    from didact.training.warm_start import WarmStartConfig, cache_folder

    cell = replace(cell, task_options={**bed(cell.task).task_options, **cell.task_options})
    start = WarmStartConfig.for_task(cell.task, seed=seed)
    wanted = [_FORMAT, start.key(), cell.task, cell.task_options, cell.pool, cell.pool_size, cell.held_out, seed]
    digest = hashlib.blake2b(json.dumps(wanted, sort_keys=True).encode(), digest_size=8).hexdigest()
    path = cache_folder() / f"bed-{digest}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if (found := _read(path)) is None:
            found = _build(cell, seed, start)
            beside = path.with_suffix(".tmp")
            beside.write_text(json.dumps(asdict(found)), encoding="utf-8")
            os.replace(beside, path)
    return found


def _read(path: Path) -> Bed | None:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        for name in ("examples", "held_out"):
            stored[name] = [Example(**row) for row in stored[name]]
        found = Bed(**stored)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if Path(found.model).is_dir() else None


def _build(cell: Cell, seed: int, start: Any) -> Bed:
    from didact.training.warm_start import warm_started_model

    folder = str(warm_started_model(start))
    examples, rates = _shaped(cell, seed, folder, "train", cell.pool_size)
    held_out, _ = _shaped(cell, seed, folder, "test", cell.held_out)
    return Bed(folder, examples, rates, held_out)


def _shaped(cell: Cell, seed: int, model: str, split: Split, size: int) -> tuple[list[Example], list[float]]:
    """`size` prompts of a split, in random order, with their measured pass rates."""
    shape = SHAPES[cell.pool]
    shares = shape or (0.0, 0.0, 0.0)
    wanted = [round(share * size) for share in shares]
    wanted[2] = size - wanted[0] - wanted[1]
    examples: list[Example] = []
    rates: list[float] = []
    for block in range(1, _MAX_BLOCKS + 1):
        drawn = task(cell.task).examples(split, num=_BLOCKS[split] * block, seed=seed, **cell.task_options)
        rates += _measured(cell, seed, model, drawn[len(examples) :])
        examples = drawn
        kind = 1 + (np.array(rates) >= 1).astype(int) - (np.array(rates) <= 0)
        rows = [np.flatnonzero(kind == each) for each in range(3)]
        if shape is None:
            chosen: Sequence[int] = range(size)
        elif all(len(each) >= num for each, num in zip(rows, wanted, strict=True)):
            chosen = np.concatenate([each[:num] for each, num in zip(rows, wanted, strict=True)]).tolist()
        else:
            continue
        order = generator(seed, "bed", split).permutation(np.array(chosen)).tolist()
        return [examples[row] for row in order], [rates[row] for row in order]
    found = [len(each) for each in rows]
    raise ValueError(
        f"{cell.name}: of {len(examples):,} {split} prompts of {cell.task}, {found} never, sometimes and always pass; "
        f"the {cell.pool!r} pool needs {wanted}: make pool_size or held_out smaller"
    )


def _measured(cell: Cell, seed: int, model: str, examples: Sequence[Example]) -> list[float]:
    """Pass rates under the warm-started model, kept for pools of other shapes."""
    from didact.compare.policy import policy_of

    wanted = [_FORMAT, PROBES, Path(model).name, seed, cell.max_completion_length]
    text = json.dumps([*wanted, [example.prompt_id for example in examples]])
    path = Path(model).parent / f"rates-{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}.json"
    try:
        rates: list[float] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        with policy_of(cell, model, examples, [], seed=seed, num_probes=PROBES) as policy:
            rates = policy.pass_rates().tolist()
        beside = path.with_suffix(f".{os.getpid()}.tmp")
        beside.write_text(json.dumps(rates), encoding="utf-8")
        os.replace(beside, path)
    return rates
