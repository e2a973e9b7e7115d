"""All runs of a comparison, in parallel processes, resumable.

    FOLDER/config.json     what is compared, with its digest, fixed before the first run
    FOLDER/runs.jsonl      one record a run, appended as they end (the journal's format: checksummed lines)
    FOLDER/tuning.jsonl    the same for tuning runs; tuning.json says what was chosen, for people: nothing reads it

A run that failed is recorded as failed, and run again when the same comparison is started again. Seeds are the outer
loop: after each of them all variants can be compared. Everything is checked before the folder is touched.
"""

import json
import math
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from didact.compare.config import BOUNDS, ORACLE, Cell, CompareConfig, Variant, check_size, compare_config
from didact.compare.oracle import Oracle
from didact.compare.records import SCHEMA, read_records, run_of
from didact.compare.workers import Call, Workers, workers
from didact.files import locked, write_whole
from didact.journal import Journal
from didact.methods import check_options, make
from didact.prompts import PromptPool
from didact.sealed import read_sealed, write_sealed

#: What a comparison killed before its settings were written may have left.
_BEFORE_SETTINGS = {".lock", "config.json.tmp"}


class Progress(Protocol):
    """Where the progress of a comparison goes."""

    def stage(self, name: str, done: int, total: int) -> None:
        """How far a stage is: preparing, tuning, comparing. Called a few times a second, news or not."""

    def note(self, text: str) -> None:
        """One line worth keeping."""


@dataclass(frozen=True)
class Job:
    """One run."""

    cell: Cell
    variant: Variant
    seed: int

    @property
    def key(self) -> tuple[Any, ...]:
        return self.cell.name, self.variant.name, self.seed, self.cell.learning_rate


def compare(config: CompareConfig, folder: Path, *, jobs: int, progress: Progress) -> bool:
    """Run what is missing of a comparison; whether all of it has ended then, well or badly (false after Ctrl-C).

    Raises:
        ValueError: bad settings, or the folder holds another comparison. Nothing was written.
        KeyboardInterrupt: Ctrl-C twice. What ended is kept.
    """
    check(config)
    _check_folder(config, folder)
    with workers(jobs, progress.note) as crew:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".lock"):
            _check_folder(config, folder)  # again: somebody else may have begun in between
            write_sealed(folder / "config.json", config.to_dict())
            _prepare_beds(config, crew, progress)
            chosen = _tune(config, folder, crew, progress)
            wanted = [
                Job(_tuned(cell, variant, chosen), variant, seed)
                for seed in config.seeds
                for cell in config.cells
                for variant in config.variants
            ]
            if not crew.asked_to_stop:
                _run_all(wanted, folder / "runs.jsonl", "comparing", crew, progress)
            return not crew.asked_to_stop


def check(config: CompareConfig) -> None:
    """Refuse a misspelt method, a bad option or a pool that is not there now, and not in the middle of the night."""
    for cell in config.cells:
        _check_pool(cell)
        for variant in config.variants:
            try:
                _check_variant(cell, variant)
            except (ValueError, TypeError, ArithmeticError) as error:
                raise ValueError(f"variant {variant.name!r} in cell {cell.name!r}: {error}") from error


def _check_pool(cell: Cell) -> None:
    if cell.learner != "policy":
        from didact.simulate import POOLS, from_histogram, pool_rates

        if cell.pool not in POOLS:
            try:
                from_histogram(cell.pool, cell.pool_size)
            except FileNotFoundError as error:
                raise FileNotFoundError(f"{error}; pools by name are {', '.join(POOLS)}") from error
        try:
            _simulated(cell, pool_rates("mixed", 8), seed=0)
        except (ValueError, TypeError, ArithmeticError) as error:
            raise ValueError(f"learner_options of cell {cell.name!r}: {error}") from error
        return
    from didact.compare.bed import check_bed

    check_bed(cell)


def _check_variant(cell: Cell, variant: Variant) -> None:
    if "seed" in variant.options:
        raise ValueError("seed is no option of a variant: the seeds of the comparison are for all")
    options = {**_sizes(cell, 0), **variant.options}
    for name in ("prompts_per_step", "rollouts_per_step"):  # before anything is made in that size
        if isinstance(options[name], int | float):
            check_size(name, options[name], BOUNDS[name])
    if variant.method == ORACLE:
        make(Oracle, PromptPool(["a", "b"]), truth=lambda: np.zeros(2), **options)
    else:
        check_options(variant.method, **options)


def _sizes(cell: Cell, seed: int) -> dict[str, Any]:
    return {"prompts_per_step": cell.prompts_per_step, "rollouts_per_step": cell.rollouts_per_step, "seed": seed}


def play(job: Job) -> dict[str, Any]:
    """One run, as its record. Never raises: a failed run is a record with status "failed"."""
    from didact.compare.run import run

    cell, variant = job.cell, job.variant
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "cell": cell.name,
        "variant": variant.name,
        "method": variant.method,
        "options": variant.options,
        "seed": job.seed,
        "advantage": variant.advantage or cell.advantage,
        "loss_weighting": variant.loss_weighting or cell.loss_weighting,
        "updates_per_step": variant.updates_per_step or cell.updates_per_step,
        "learning_rate": cell.learning_rate,
        "budget": {"rollouts": cell.rollouts} if cell.steps is None else {"step": cell.steps},
    }
    options = {**_sizes(cell, job.seed), **variant.options}
    try:
        with _learner(cell, job.seed) as learner:
            if variant.method == ORACLE:
                curriculum = make(Oracle, learner.pool, truth=learner.pass_rates, **options)
            else:
                curriculum = make(variant.method, learner.pool, **options)
            objective = {name: record[name] for name in ("advantage", "loss_weighting") if record[name] != "own"}
            every = max((cell.steps or cell.rollouts) // cell.evaluations, 1)
            result = run(
                learner,
                curriculum,
                rollouts=cell.rollouts,
                evaluate_every=every,
                steps=cell.steps,
                updates_per_step=record["updates_per_step"],
                **objective,
            )
        finished = {**record, "status": "finished", "error": None, **_rounded(result)}
        run_of(finished, "the result")  # a run that diverged to nan would make the whole comparison unreadable
        return finished
    except Exception as error:  # whatever a method does, the grid goes on, and the record says what happened
        where = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__}: {error} ({Path(where.filename).name}, line {where.lineno})"
        return {**record, "status": "failed", "error": what}


def warm_start(task: str, seed: int) -> None:
    """Train the model that every cell of a task starts from, or find it in the cache."""
    import torch

    from didact.training.warm_start import WarmStartConfig, warm_started_model

    torch.set_num_threads(1)
    warm_started_model(WarmStartConfig.for_task(task, seed=seed))


def prepare(cell: Cell, seed: int) -> None:
    """Build a test bed, so that no two runs wait for the same one later."""
    import torch

    from didact.compare.bed import bed_of

    torch.set_num_threads(1)
    bed_of(cell, seed)


@contextmanager
def _learner(cell: Cell, seed: int) -> Iterator[Any]:
    if cell.learner != "policy":
        from didact.simulate import POOLS, from_histogram

        yield _simulated(
            cell, cell.pool if cell.pool in POOLS else from_histogram(cell.pool, cell.pool_size, seed=seed), seed=seed
        )
        return
    import torch

    from didact.compare.bed import bed_of
    from didact.compare.policy import policy_of

    torch.set_num_threads(1)
    bed = bed_of(cell, seed)
    with policy_of(
        cell,
        bed.model,
        bed.examples,
        bed.held_out,
        seed=seed,
        pool=bed.pool(cell.known),
        measured=bed.base_pass_rates,
    ) as policy:
        yield policy


def _simulated(cell: Cell, pool: Any, *, seed: int) -> Any:
    from didact.simulate import make_learner

    options: dict[str, Any] = {"num_held_out": cell.held_out} if cell.learner == "skills" else {}
    if cell.learning_rate is not None:
        options["learning_rate"] = cell.learning_rate
    size = cell.pool_size if isinstance(pool, str) else None
    return make_learner(cell.learner, pool, size, seed=seed, **{**options, **cell.learner_options})


def _prepare_beds(config: CompareConfig, crew: Workers, progress: Progress) -> None:
    from didact.compare.bed import bed_name

    seeds = [*config.seeds, *(config.tuning.seeds if config.tuning else [])]
    wanted = [(cell, seed) for cell in config.cells if cell.learner == "policy" for seed in seeds]
    models = dict.fromkeys((cell.task, seed) for cell, seed in wanted)
    _do_all("warm-starting models", [(warm_start, each) for each in models], crew, progress)
    beds = {bed_name(*each): each for each in wanted}
    _do_all("measuring pools", [(prepare, each) for each in beds.values()], crew, progress)


def _do_all(stage: str, todo: list[Call], crew: Workers, progress: Progress) -> None:
    done = 0

    def show() -> None:
        progress.stage(stage, done, len(todo))

    if todo:
        show()
    for _ in crew.results(todo, show):
        done += 1
        show()


def _tune(config: CompareConfig, folder: Path, crew: Workers, progress: Progress) -> dict[tuple[str, str], float]:
    """The learning rate of each (cell, variant), where there is tuning."""
    if config.tuning is None or crew.asked_to_stop:
        return {}
    wanted = [
        Job(replace(cell, learning_rate=rate), variant, seed)
        for seed in config.tuning.seeds
        for cell in config.cells
        if cell.tuned_on in (None, cell.name)
        for variant in config.variants
        for rate in config.tuning.learning_rates
    ]
    records = _run_all(wanted, folder / "tuning.jsonl", "tuning", crew, progress)
    if crew.asked_to_stop:
        return {}
    areas: dict[tuple[str, str], dict[float, list[float | None]]] = {}
    for record in records.values():
        where = areas.setdefault((record["cell"], record["variant"]), {})
        area = None if record["status"] == "failed" else area_of(record)
        where.setdefault(record["learning_rate"], []).append(area)

    def score(found: Sequence[float | None]) -> float:
        return float(np.mean([-np.inf if area is None else area for area in found]))

    chosen = {where: max(rates, key=lambda rate: score(rates[rate])) for where, rates in areas.items()}
    table = [
        {"cell": cell, "variant": variant, "learning_rate": rate, "areas": areas[cell, variant]}
        for (cell, variant), rate in chosen.items()
    ]
    write_whole(folder / "tuning.json", json.dumps(table, indent=1, allow_nan=False) + "\n")
    return chosen


def _tuned(cell: Cell, variant: Variant, chosen: dict[tuple[str, str], float]) -> Cell:
    return replace(cell, learning_rate=chosen.get((cell.tuned_on or cell.name, variant.name), cell.learning_rate))


def area_of(record: dict[str, Any]) -> float:
    """Mean held-out accuracy over the budget."""
    from didact.compare.measures import area_under

    curve, ((axis, budget),) = record["curve"], record["budget"].items()
    return float(area_under(np.array(curve[axis]), np.array(curve["accuracy"]), budget))


def _run_all(
    wanted: Sequence[Job], path: Path, stage: str, crew: Workers, progress: Progress
) -> dict[tuple[Any, ...], dict[str, Any]]:
    done = {_key(record): record for record in read_records(path)}
    todo: list[Call] = [(play, (job,)) for job in wanted if done.get(job.key, {}).get("status") != "finished"]
    num_done = len(wanted) - len(todo)

    def show() -> None:
        progress.stage(stage, num_done, len(wanted))

    show()
    journal = Journal(path)
    try:
        for record in crew.results(todo, show):
            journal.append(record)
            done[_key(record)] = record
            num_done += 1
            if record["status"] == "failed":
                progress.note(f"{record['variant']} on {record['cell']}, seed {record['seed']}: {record['error']}")
            show()
    finally:
        journal.sync()
        journal.close()
    return {job.key: done[job.key] for job in wanted if job.key in done}


def _check_folder(config: CompareConfig, folder: Path) -> None:
    """More seeds, cells and variants may be asked for than before; what was there must be the same once it has run."""
    names = {entry.name for entry in folder.iterdir()} if folder.exists() else set()
    if "config.json" not in names:
        if names - _BEFORE_SETTINGS:
            raise ValueError(f"{folder} is not empty and holds no comparison: choose another --folder")
        return
    before = read_sealed(folder / "config.json")
    if not any((folder / name).stat().st_size for name in ("runs.jsonl", "tuning.jsonl") if name in names):
        return
    old, new = compare_config(before).to_dict(), config.to_dict()
    for name, value in old.items():
        if name == "seeds":
            same = set(value) <= set(new[name])
        elif name in ("cells", "variants"):
            same = all(row in new[name] for row in value)
        else:
            same = value == new[name]
        if not same:
            raise ValueError(
                f"{folder} holds a comparison with other {name}: choose another --folder, or give it the same settings "
                "(seeds, cells and variants may be added)"
            )


def _key(record: dict[str, Any]) -> tuple[Any, ...]:
    return record["cell"], record["variant"], record["seed"], record["learning_rate"]


def _rounded(value: Any) -> Any:
    """Six digits: enough for every figure, and files that can be committed. JSON has no nan: None."""
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return float(f"{value:.6g}") if isinstance(value, float) and not value.is_integer() else value
