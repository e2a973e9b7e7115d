"""A test bed of real training: a warm-started small model, a pool of a given shape, held-out prompts.

The pass rates of many candidate prompts are measured under the warm-started model (`PROBES` rollouts each), and prompts
are drawn so that given shares of them never, sometimes and always pass. Held-out prompts come from the task's test
split and have the same shape. All this happens before a comparison and outside its budget; a bed is built once per seed
and cached, so that every method starts from the same model, pool and test set.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from didact.compare.config import Cell
from didact.features import WordFeatures
from didact.files import locked
from didact.prompts import PromptPool
from didact.sealed import read_sealed, write_sealed
from didact.seeding import generator
from didact.tasks import Example, Split, task

PROBES = 12
_BLOCKS: dict[str, int] = {"train": 2048, "test": 512}  # candidates measured at a time
_MAX_BLOCKS = 16
_FORMAT = 2  # raise it when the code changes which prompts a bed holds

#: Shares of prompts that never, sometimes and always pass; None takes the task's prompts as they come.
SHAPES: dict[str, tuple[float, ...] | None] = {
    "easy-heavy": (0.15, 0.35, 0.50),
    "hard-heavy": (0.75, 0.15, 0.10),
    "mixed": (0.40, 0.20, 0.40),
    # Pilot counts about like those that CurES's authors found (benchmarks/miniature-trained.toml); kinds by `_EDGES`.
    "cures": (0.34, 0.0, 0.59, 0.07),
    "sources": None,
}
_SOMETIMES, _ALWAYS = np.nextafter(0.0, 1.0), 1.0
#: The pass rates at which the next kind of prompts begins.
_EDGES: dict[str, tuple[float, ...]] = {"cures": (_SOMETIMES, 0.3, 0.8)}


@dataclass(frozen=True)
class Bed:
    """Everything a run starts from."""

    model: str
    examples: list[Example]
    base_pass_rates: list[float]
    held_out: list[Example]

    def pool(self, known: str = "measured") -> PromptPool:
        """The pool as a user would describe it.

        Args:
            known: "text": source, level (as difficulty) and length of each prompt, and features out of its words.
                "measured": source, length, source and level as features, and the offline difficulty (0 to 100) that
                AdaRFT asks for: 100 (1 - pass rate) of the model before training, from rollouts outside the budget.
        """
        sources = [example.source for example in self.examples]
        levels = np.array([example.difficulty or 0.0 for example in self.examples])
        texts = [example.prompt for example in self.examples]
        if known == "text":
            difficulty, features = levels, WordFeatures(texts).of(texts)
        else:
            names = sorted(set(sources))
            labels = np.array([[source == name for name in names] for source in sources], dtype=np.float64)
            difficulty = 100 * (1 - np.array(self.base_pass_rates))
            features = np.column_stack([labels, levels / max(levels.max(), 1.0)])
        return PromptPool(
            [example.prompt_id for example in self.examples],
            source=sources,
            difficulty=difficulty,
            prompt_tokens=[len(text.split()) for text in texts],
            features=features,
        )


def check_bed(cell: Cell) -> None:
    """Refuse a bed that cannot be built, as far as can be told without building it.

    Raises:
        ValueError: an unknown task or pool, bad task options, or more prompts than are ever measured.
    """
    from didact.training.beds import bed

    where = f"cell {cell.name!r}"
    options = {**bed(cell.task).task_options, **cell.task_options}
    if cell.pool not in SHAPES:
        raise ValueError(f"{where}: unknown pool {cell.pool!r}; pools: {', '.join(SHAPES)}")
    for name, size, split in (("pool_size", cell.pool_size, "train"), ("held_out", cell.held_out, "test")):
        if size > (most := _MAX_BLOCKS * _BLOCKS[split]):
            raise ValueError(f"{where}: {name} of a real model must be {most:,} at most, got {size:,}")
    try:
        task(cell.task).examples("train", num=1, seed=0, **options)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise ValueError(f"{where}: task_options {cell.task_options}: {error}") from error


def bed_name(cell: Cell, seed: int) -> str:
    """The same for cells and seeds that share a bed: the name of its file."""
    from didact.training.beds import bed
    from didact.training.warm_start import WarmStartConfig

    options = {**bed(cell.task).task_options, **cell.task_options}
    sizes = [cell.pool, cell.pool_size, cell.held_out, cell.max_completion_length]
    return _name("bed", WarmStartConfig.for_task(cell.task, seed=seed).key(), cell.task, options, *sizes, seed)


def bed_of(cell: Cell, seed: int) -> Bed:
    """The bed of a cell for a seed, from the cache or built now (a minute or two).

    Raises:
        ValueError: the task has too few prompts of a kind for the pool's shape.
    """
    from didact.training.beds import bed
    from didact.training.warm_start import WarmStartConfig, warm_started_model

    cell = replace(cell, task_options={**bed(cell.task).task_options, **cell.task_options})
    model = str(warm_started_model(WarmStartConfig.for_task(cell.task, seed=seed)))

    def read(stored: Mapping[str, Any]) -> Bed:
        examples, held_out = ([Example(**row) for row in stored[name]] for name in ("examples", "held_out"))
        return Bed(model, examples, stored["base_pass_rates"], held_out)

    def build() -> dict[str, Any]:
        examples, rates = _shaped(cell, seed, model, "train", cell.pool_size)
        held_out, _ = _shaped(cell, seed, model, "test", cell.held_out)
        return {
            "examples": [asdict(example) for example in examples],
            "base_pass_rates": rates,
            "held_out": [asdict(example) for example in held_out],
        }

    return _cached(bed_name(cell, seed), read, build)


Kept = TypeVar("Kept")


def _cached(name: str, read: Callable[[Mapping[str, Any]], Kept], build: Callable[[], dict[str, Any]]) -> Kept:
    """What a file of the cache holds; built now, and put there, if there is none or it is damaged."""
    from didact.training.warm_start import cache_folder

    path = cache_folder() / name

    def found() -> Kept | None:
        try:
            return read(read_sealed(path))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    if (kept := found()) is not None:
        return kept
    with locked(path.with_suffix(".lock"), seconds=None):
        if (kept := found()) is None:
            values = build()
            write_sealed(path, values)
            kept = read(values)
    return kept


def _name(kind: str, *parts: Any) -> str:
    text = json.dumps([_FORMAT, *parts], sort_keys=True)
    return f"{kind}-{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}.json"


def _shaped(cell: Cell, seed: int, model: str, split: Split, size: int) -> tuple[list[Example], list[float]]:
    """`size` prompts of a split, in random order, with their measured pass rates."""
    shape = SHAPES[cell.pool]
    shares = shape or (0.0, 0.0, 0.0)
    wanted = [round(share * size) for share in shares]
    wanted[-1] = size - sum(wanted[:-1])
    examples: list[Example] = []
    rates: list[float] = []
    found, exhausted = [0] * len(wanted), ""
    for block in range(1, _MAX_BLOCKS + 1):
        try:
            drawn = task(cell.task).examples(split, num=_BLOCKS[split] * block, seed=seed, **cell.task_options)
        except ValueError as error:  # a task may have only so many prompts of a level
            exhausted = f" ({error})"
            break
        rates += _measured(cell, seed, model, drawn[len(examples) :])
        examples = drawn
        kind = np.digitize(rates, _EDGES.get(cell.pool, (_SOMETIMES, _ALWAYS)))
        rows = [np.flatnonzero(kind == each) for each in range(len(wanted))]
        found = [len(each) for each in rows]
        if shape is None and len(rates) >= size:
            chosen: Sequence[int] = range(size)
        elif shape is not None and all(len(each) >= num for each, num in zip(rows, wanted, strict=True)):
            chosen = np.concatenate([each[:num] for each, num in zip(rows, wanted, strict=True)]).tolist()
        else:
            continue
        order = generator(seed, "bed", split).permutation(np.array(chosen)).tolist()
        return [examples[row] for row in order], [rates[row] for row in order]
    raise ValueError(
        f"{cell.name}: of {len(examples):,} {split} prompts of {cell.task}, {found} are of each kind, from never to "
        f"always passing; the {cell.pool!r} pool needs {wanted}: make pool_size or held_out smaller{exhausted}"
    )


def _measured(cell: Cell, seed: int, model: str, examples: Sequence[Example]) -> list[float]:
    """Pass rates under the warm-started model, kept for pools of other shapes."""
    from didact.compare.policy import policy_of

    ids = [example.prompt_id for example in examples]

    def build() -> dict[str, Any]:
        with policy_of(cell, model, examples, [], seed=seed, num_probes=PROBES) as policy:
            return {"pass_rates": policy.pass_rates().tolist()}

    def read(stored: Mapping[str, Any]) -> list[float]:
        rates: list[float] = stored["pass_rates"]
        return rates

    return _cached(_name("rates", PROBES, Path(model).name, seed, cell.max_completion_length, ids), read, build)
