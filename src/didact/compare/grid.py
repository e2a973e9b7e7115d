"""All runs of a comparison, in parallel processes, resumable.

    FOLDER/config.json     what is compared, fixed before the first run
    FOLDER/runs.jsonl      one record a run, appended as they end (the journal's format: checksummed lines)
    FOLDER/tuning.jsonl    the same for tuning runs; tuning.json says what was chosen

A run that failed is recorded as failed, and run again when the same comparison is started again. Seeds are the outer
loop: after each of them all variants can be compared.
"""

import json
import math
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from filelock import FileLock, Timeout

from didact.compare.config import ORACLE, Cell, CompareConfig, Variant, compare_config
from didact.journal import Journal, read_journal
from didact.methods import check_options, make

SCHEMA = 1
#: Small tensors come and go all the time: keep their memory instead of handing it back to the kernel each time.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "100000000",
}


class Progress(Protocol):
    """Where the progress of a comparison goes."""

    def stage(self, name: str, done: int, total: int) -> None:
        """How far a stage is: preparing, tuning, comparing."""

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
    """Run what is missing of a comparison; whether it is complete then (false after Ctrl-C).

    Raises:
        ValueError: the folder holds another comparison, or a variant's options are bad.
    """
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}")
    check(config)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder), _interruptible(progress) as asked, _workers(jobs) as submit:
        _check_folder(config, folder)
        _write(folder / "config.json", json.dumps(config.to_dict(), indent=2) + "\n")
        beds = {(cell.learner, cell.task, cell.pool, cell.pool_size, cell.held_out): cell for cell in config.cells}
        seeds = [*config.seeds, *(config.tuning.seeds if config.tuning else [])]
        todo = [(cell, seed) for cell in beds.values() for seed in seeds if cell.learner == "policy"]
        for number, _ in enumerate(_as_completed([(prepare, each) for each in todo], submit, asked, jobs), start=1):
            progress.stage("preparing test beds", number, len(todo))
        chosen = _tune(config, folder, submit, asked, jobs, progress)
        wanted = [
            Job(
                replace(cell, learning_rate=chosen.get((cell.tuned_on or cell.name, variant.name), cell.learning_rate)),
                variant,
                seed,
            )
            for seed in config.seeds
            for cell in config.cells
            for variant in config.variants
        ]
        if not asked():
            _run_all(wanted, folder / "runs.jsonl", "comparing", submit, asked, jobs, progress)
        return not asked()


def check(config: CompareConfig) -> None:
    """Refuse a misspelt method, a bad option or a pool that is not there now, and not in the middle of the night."""
    for cell in config.cells:
        _check_pool(cell)
        sizes = {"prompts_per_step": cell.prompts_per_step, "rollouts_per_step": cell.rollouts_per_step, "seed": 0}
        for variant in config.variants:
            try:
                if variant.method != ORACLE:
                    check_options(variant.method, **{**sizes, **variant.options})
            except (ValueError, TypeError) as error:
                raise ValueError(f"variant {variant.name!r} in cell {cell.name!r}: {error}") from error


def _check_pool(cell: Cell) -> None:
    if cell.learner != "policy":
        from didact.simulate import POOLS, from_histogram

        if cell.pool not in POOLS:
            try:
                from_histogram(cell.pool, cell.pool_size)
            except FileNotFoundError as error:
                raise FileNotFoundError(f"{error}; pools by name are {', '.join(POOLS)}") from error
        return
    from didact.compare.bed import SHAPES
    from didact.training.beds import bed

    bed(cell.task)
    if cell.pool not in SHAPES:
        raise ValueError(f"cell {cell.name!r}: unknown pool {cell.pool!r}; pools: {', '.join(SHAPES)}")


def play(job: Job) -> dict[str, Any]:
    """One run, as its record. Never raises: a failed run is a record with status "failed"."""
    from didact.compare.oracle import Oracle
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
        "learning_rate": cell.learning_rate,
        "budget": {"rollouts": cell.rollouts},
    }
    sizes: dict[str, Any] = {
        "prompts_per_step": cell.prompts_per_step,
        "rollouts_per_step": cell.rollouts_per_step,
        "seed": job.seed,
    }
    try:
        with _learner(cell, job.seed) as learner:
            if variant.method == ORACLE:
                curriculum: Any = Oracle(learner.pool, truth=learner.pass_rates, **{**sizes, **variant.options})
            else:
                curriculum = make(variant.method, learner.pool, **{**sizes, **variant.options})
            advantage, weighting = variant.advantage or cell.advantage, variant.loss_weighting or cell.loss_weighting
            if advantage != "own":
                curriculum.advantage = advantage
            if weighting != "own":
                curriculum.loss_weighting = weighting
            every = max(cell.rollouts // cell.evaluations, 1)
            result = run(learner, curriculum, rollouts=cell.rollouts, evaluate_every=every)
    except Exception as error:  # whatever a method does, the grid goes on, and the record says what happened
        where = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__}: {error} ({Path(where.filename).name}, line {where.lineno})"
        return {**record, "status": "failed", "error": what}
    return {**record, "status": "finished", "error": None, **_rounded(result)}


def prepare(cell: Cell, seed: int) -> None:
    """Build a test bed, so that no two runs wait for the same one later."""
    import torch

    from didact.compare.bed import bed_of

    torch.set_num_threads(1)
    bed_of(cell, seed)


@contextmanager
def _learner(cell: Cell, seed: int) -> Iterator[Any]:
    if cell.learner != "policy":
        from didact.simulate import POOLS, from_histogram, make_learner

        options: dict[str, Any] = {"num_held_out": cell.held_out} if cell.learner == "skills" else {}
        if cell.learning_rate is not None:
            options["learning_rate"] = cell.learning_rate
        pool = cell.pool if cell.pool in POOLS else from_histogram(cell.pool, cell.pool_size, seed=seed)
        yield make_learner(cell.learner, pool, cell.pool_size, seed=seed, **{**options, **cell.learner_options})
        return
    import torch

    from didact.compare.bed import bed_of
    from didact.compare.policy import policy_of

    torch.set_num_threads(1)
    bed = bed_of(cell, seed)
    with policy_of(cell, bed.model, bed.examples, bed.held_out, seed=seed, pool=bed.pool()) as policy:
        yield policy


Submit = Callable[..., "Future[Any]"]
Asked = Callable[[], bool]


def _tune(
    config: CompareConfig, folder: Path, submit: Submit, asked: Asked, jobs: int, progress: Progress
) -> dict[tuple[str, str], float]:
    """The learning rate of each (cell, variant), where there is tuning."""
    if config.tuning is None or asked():
        return {}
    wanted = [
        Job(replace(cell, learning_rate=rate), variant, seed)
        for seed in config.tuning.seeds
        for cell in config.cells
        if cell.tuned_on in (None, cell.name)
        for variant in config.variants
        for rate in config.tuning.learning_rates
    ]
    records = _run_all(wanted, folder / "tuning.jsonl", "tuning", submit, asked, jobs, progress)
    if asked():
        return {}
    scores: dict[tuple[str, str], dict[float, list[float]]] = {}
    for record in records.values():
        where = scores.setdefault((record["cell"], record["variant"]), {})
        area = -np.inf if record["status"] == "failed" else area_of(record)
        where.setdefault(record["learning_rate"], []).append(float(area))
    chosen = {where: max(rates, key=lambda rate: np.mean(rates[rate])) for where, rates in scores.items()}
    table = [
        {"cell": cell, "variant": variant, "learning_rate": rate, "areas": scores[cell, variant]}
        for (cell, variant), rate in chosen.items()
    ]
    _write(folder / "tuning.json", json.dumps(table, indent=1) + "\n")
    return chosen


def area_of(record: dict[str, Any]) -> float:
    """Mean held-out accuracy over the budget."""
    from didact.compare.measures import area_under

    curve = record["curve"]
    return area_under(np.array(curve["rollouts"]), np.array(curve["accuracy"]), record["budget"]["rollouts"])


def _run_all(
    wanted: Sequence[Job], path: Path, stage: str, submit: Submit, asked: Asked, jobs: int, progress: Progress
) -> dict[tuple[Any, ...], dict[str, Any]]:
    done = {_key(record): record for record in (read_journal(path) if path.exists() else [])}
    todo = [job for job in wanted if done.get(job.key, {}).get("status") != "finished"]
    progress.stage(stage, len(wanted) - len(todo), len(wanted))
    journal = Journal(path)
    try:
        for number, record in enumerate(_as_completed([(play, (job,)) for job in todo], submit, asked, jobs), start=1):
            journal.append(record)
            done[_key(record)] = record
            if record["status"] == "failed":
                progress.note(f"{record['variant']} on {record['cell']}, seed {record['seed']}: {record['error']}")
            progress.stage(stage, len(wanted) - len(todo) + number, len(wanted))
    finally:
        journal.sync()
        journal.close()
    return {job.key: done[job.key] for job in wanted if job.key in done}


def _as_completed(
    calls: Sequence[tuple[Callable[..., Any], tuple[Any, ...]]], submit: Submit, asked: Asked, jobs: int
) -> Iterator[Any]:
    """Results in the order in which they come; nothing new is begun once Ctrl-C was pressed."""
    waiting = iter(calls)
    running: set[Future[Any]] = set()
    while True:
        while len(running) < jobs and not asked() and (call := next(waiting, None)):
            running.add(submit(call[0], *call[1]))
        if not running:
            return
        ended, running = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
        for future in ended:
            try:
                yield future.result()
            except BrokenProcessPool as error:
                raise RuntimeError(
                    "a worker process was killed (out of memory?): what ended is kept; start again with fewer --jobs"
                ) from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(f"another process is working on {folder}") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _workers(jobs: int) -> Iterator[Submit]:
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update({name: value for name, value in _ENVIRONMENT.items() if name not in os.environ})
    executor = ProcessPoolExecutor(
        jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_begin_worker, max_tasks_per_child=200
    )
    try:
        yield executor.submit
    except BaseException:
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    import logging
    import warnings

    warnings.simplefilter("ignore")
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        import transformers
    except ModuleNotFoundError:  # simulated learners need none
        return
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


@contextmanager
def _interruptible(progress: Progress) -> Iterator[Asked]:
    """The first Ctrl-C lets the runs under way end; the second stops at once."""
    pressed = 0

    def press(number: int, frame: Any) -> None:
        nonlocal pressed
        pressed += 1
        if pressed > 1:
            raise KeyboardInterrupt
        progress.note("stopping when the runs under way have ended (Ctrl-C again stops at once)")

    before = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, press)
    except ValueError:  # not in the main thread: then signals do not come here anyway
        pass
    try:
        yield lambda: pressed > 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_folder(config: CompareConfig, folder: Path) -> None:
    """More seeds, cells and variants may be asked for than before; what was there must be the same."""
    path = folder / "config.json"
    if not path.exists():
        if any(entry.name != ".lock" for entry in folder.iterdir()):
            raise ValueError(f"{folder} is not empty and holds no comparison: choose another --folder")
        return
    old, new = compare_config(json.loads(path.read_text(encoding="utf-8"))).to_dict(), config.to_dict()
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


def _write(path: Path, text: str) -> None:
    beside = path.with_name(path.name + ".tmp")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)
