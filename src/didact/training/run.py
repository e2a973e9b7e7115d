"""A training run in its folder: TRL with a curriculum, a journal, held-out evaluation, and exact resumption.

RUN/config.json         resolved settings              RUN/checkpoints/    TRL's, with the curriculum's state
RUN/prompts.jsonl       the pool, with text            RUN/model/          the final model
RUN/eval_prompts.jsonl  the held-out prompts           RUN/timing.jsonl    clock times (they do not repeat exactly)
RUN/journal.jsonl       plans, outcomes, evaluations   RUN/resumes.jsonl   what each resumption had to do again
RUN/metrics.jsonl       the curriculum's figures
"""

import json
import math
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, TrainerCallback

from didact.adapters.trl import CurriculumGRPOTrainer
from didact.adapters.trl.checkpoints import STATE_FILE, checkpoints, newest, step_of
from didact.curriculum import Curriculum
from didact.files import locked
from didact.interrupts import Interrupts
from didact.journal import Journal, Recorder, read_journal
from didact.manifest import MANIFEST, clear, files_in, seal
from didact.state import load_state
from didact.training.config import TrainConfig, config_from, read_config, write_config
from didact.training.display import Display, Silent
from didact.training.evaluation import Evaluator, Scorer, verifier_of
from didact.training.preparation import Preparation, check_method, load_tokenizer, named, on_cpu, prepare

_FILES: Final = (
    *("config.json", "prompts.jsonl", "eval_prompts.jsonl", "journal.jsonl", "metrics.jsonl"),
    *("timing.jsonl", "resumes.jsonl", "checkpoints", "model", "model.tmp"),
)
_BAD_INPUT: Final = (ValueError, TypeError, OSError, ImportError, ArithmeticError, RecursionError)  # until it trains


@dataclass(frozen=True)
class RunResult:
    """How a run ended; `finished` is false when it was interrupted and can be resumed.

    Attributes:
        warning: what has to be said of a run in which nothing could be learnt; None of any other.
    """

    folder: str
    finished: bool
    steps: int
    evaluations: list[dict[str, Any]]
    metrics: dict[str, float]
    warning: str | None = None


def start_run(config: TrainConfig, folder: str | os.PathLike[str], display: Display | None = None) -> RunResult:
    """Train from the beginning in a new folder.

    Raises:
        FileExistsError: the folder holds something already. ValueError, TypeError: bad settings.
    """
    folder = Path(folder)
    refuse_unless_empty(folder)
    check_method(config)
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        refuse_unless_empty(folder)  # another process may have come and gone
        try:
            write_config(folder / "config.json", config)
            return _train(config, folder, display or Silent(), resume=False)
        except _BAD_INPUT:
            _give_up(folder, new)
            raise


def resume_run(
    folder: str | os.PathLike[str],
    display: Display | None = None,
    steps: int | None = None,
    *,
    accept_changed_data: bool = False,
) -> RunResult:
    """Go on from the latest whole checkpoint (from the beginning, if there is none).

    Args:
        steps: train up to this many steps instead of the number in the config.
        accept_changed_data: go on with texts and answers that have changed since the run began.

    Raises:
        FileNotFoundError: no run in that folder. ValueError: its files are damaged, or its prompts have changed.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder} is no run: it has no config.json")
    _refuse_links(folder)
    display = display or Silent()
    with locked(folder / ".lock"):
        config = read_config(folder / "config.json")
        if steps is not None and steps != config.steps:
            done = step_of(latest_checkpoint(folder))
            if steps < done:
                raise ValueError(f"steps={steps}, but {folder} has trained for {done}; give at least as many")
            config = config_from({**config.to_dict(), "steps": steps})
            write_config(folder / "config.json", config)
        return _train(config, folder, display, resume=True, accept_changes=accept_changed_data)


def latest_checkpoint(folder: Path, display: Display | None = None) -> Path | None:
    """The newest checkpoint that is whole and from which a run can go on exactly; the display hears of newer ones."""

    def passed_over(checkpoint: Path, why: str) -> None:
        if display is not None:
            display.note(f"{checkpoint.name} is passed over: {why}")

    return newest(folder / "checkpoints", passed_over)


def refuse_unless_empty(folder: Path) -> None:
    """Raises FileExistsError where something is in the way of a new run."""
    if folder.exists() and any(entry.name != ".lock" for entry in folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty: resume it with --resume {folder}, or choose another --run")


def _refuse_links(folder: Path) -> None:
    """Nothing outside the folder is written, cut back or removed through a link in it."""
    ours = [folder / name for name in _FILES] + checkpoints(folder / "checkpoints")
    if link := next((path for path in ours if path.is_symlink()), None):
        raise ValueError(
            f"{link} is a link, and a run keeps its files in its own folder: put back what is behind it, or move the "
            "whole folder and link that"
        )


def _give_up(folder: Path, new: Sequence[Path]) -> None:
    """After bad input leave nothing behind, so that the corrected command finds the folder free.

    What was made until then has no value and is known by name; what anybody else put there stays. Of `new`, the folders
    that were not there before, those go that are empty.
    """
    with suppress(OSError):
        (folder / "checkpoints").rmdir()
    if (folder / "checkpoints").exists():
        return
    for name in (*_FILES[:5], ".lock"):
        with suppress(OSError):
            (folder / name).unlink()
    for path in new:
        with suppress(OSError):
            path.rmdir()


def _train(
    config: TrainConfig, folder: Path, display: Display, *, resume: bool, accept_changes: bool = False
) -> RunResult:
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device='cuda', but torch finds no GPU; leave device out or give 'cpu'")
    if on_cpu(config):
        torch.set_num_threads(config.threads)
    checkpoint = latest_checkpoint(folder, display) if resume else None
    complete = step_of(checkpoint) >= config.steps
    source = config.model or _small_model(config, display)
    ready = prepare(config, folder, source, display, begun=resume, accept_changes=accept_changes)
    data = ready.data
    if resume:
        dropped = _forget_after(folder, checkpoint, data.changed)
        where = f"from {checkpoint.name}" if checkpoint else "from the beginning: there is no whole checkpoint yet"
        display.note(f"resuming {where}; {dropped:,} rollouts made since then are made again")
    model = _load_model(config, str(checkpoint) if complete else source)
    data.write(folder)
    with (
        Journal(folder / "journal.jsonl") as journal,
        Journal(folder / "metrics.jsonl") as metrics,
        verifier_of(config, data) as verifier,
        _interrupts(display) as interrupts,
    ):
        curriculum = ready.curriculum
        curriculum.listen(Recorder(journal, metrics))
        scorer = Scorer(verifier, config, display)
        trainer = _build_trainer(ready, model, curriculum, scorer)
        evaluator = Evaluator(trainer, data, ready.wording, scorer, config, journal, display)
        trainer.add_callback(_Recorder(folder, journal, curriculum, evaluator, interrupts, config, display))
        if checkpoint is None and not read_journal(journal.path)[1:]:
            evaluator.run(0)
        try:
            if complete and checkpoint:  # TRL would train one step more
                curriculum.load_state_dict(load_state(checkpoint / STATE_FILE)["curriculum"])
                steps = step_of(checkpoint)
            else:
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
                steps = trainer.state.global_step
            if steps < config.steps and not interrupts.asked:
                raise RuntimeError(f"TRL stopped at step {steps} of {config.steps}")
            if steps >= config.steps:
                _save_model(trainer, source, folder / "model")
            evaluations = [record for record in read_journal(journal.path) if record["kind"] == "evaluation"]
        except _BAD_INPUT as error:
            paid = checkpoint is None and curriculum.metrics()["rollouts"] > 0
            if paid or trainer.state.global_step > step_of(checkpoint):  # it trained: then the input was not bad
                raise RuntimeError(f"training failed at step {trainer.state.global_step}: {error}") from error
            raise
    figures = curriculum.metrics()
    return RunResult(str(folder), steps >= config.steps, steps, evaluations, figures, _warning(figures))


def _warning(metrics: dict[str, float]) -> str | None:
    if not metrics["rollouts"] or metrics["groups_with_signal"]:
        return None
    return (
        f"not one group of {metrics['rollouts']:,.0f} rollouts had signal: in each, all passed, all failed or none "
        "could be judged, so the model has learnt nothing"
    )


def _build_trainer(ready: Preparation, model: Any, curriculum: Curriculum, scorer: Scorer) -> CurriculumGRPOTrainer:
    data = ready.data
    shortest = data.training[int(np.argmin(data.tokens))]
    rows = [
        {
            "prompt": ready.wording.prompt(shortest if example.prompt_id in data.unfit else example),
            "answer": example.answer,
            "prompt_id": example.prompt_id,
        }
        for example in data.training
    ]

    def verified(completions: list[Any], answer: list[str], prompt_id: list[str], **_: Any) -> list[float | None]:
        responses = [
            completion if isinstance(completion, str) else completion[0]["content"] for completion in completions
        ]
        scores = scorer.score_rollouts(responses, answer)
        return [
            None if score.errored or name in data.unfit else score.value
            for score, name in zip(scores, prompt_id, strict=True)
        ]

    trainer = CurriculumGRPOTrainer(
        model=model,
        reward_funcs=[verified],
        args=ready.arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=ready.tokenizer,
        curriculum=curriculum,
        accept_changed_data=True,  # prompts.jsonl says what changed, and was asked about it
    )
    for callback in ("PrinterCallback", "ProgressCallback"):
        for installed in [each for each in trainer.callback_handler.callbacks if type(each).__name__ == callback]:
            trainer.remove_callback(installed)
    return trainer


def _load_model(config: TrainConfig, path: str) -> Any:
    with named(path):
        return AutoModelForCausalLM.from_pretrained(
            path, dtype=torch.float32 if on_cpu(config) else "auto", trust_remote_code=False
        )


class _Recorder(TrainerCallback):
    """Journal, timing, evaluation, progress and a graceful Ctrl-C, from TRL's own callback points."""

    def __init__(
        self,
        folder: Path,
        journal: Journal,
        curriculum: Curriculum,
        evaluator: Evaluator,
        interrupts: Interrupts,
        config: TrainConfig,
        display: Display,
    ) -> None:
        self._timing = folder / "timing.jsonl"
        self._journal, self._curriculum, self._evaluator = journal, curriculum, evaluator
        self._interrupts, self._config, self._display = interrupts, config, display
        self._began = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if logs and "loss" in logs:
            kept = {name: logs.get(name) for name in ("loss", "grad_norm", "learning_rate", "entropy", "reward")}
            if wild := [name for name, value in kept.items() if not math.isfinite(value or 0)]:
                kept.update(dict.fromkeys(wild))
                self._display.note(f"step {state.global_step}: {wild[0]} is not finite; try a lower learning_rate")
            self._journal.append({"kind": "update", "step": state.global_step, **kept})
            if state.global_step % self._config.eval_every == 0 or state.global_step == self._config.steps:
                self._evaluator.run(state.global_step)
            figures = self._curriculum.metrics()
            figures["context_length"] = figures["context_length"] or float(self._config.max_completion_length or 0)
            self._display.step(state.global_step, self._config.steps, figures)
            now = time.monotonic()
            line = {
                "step": state.global_step,
                "seconds": now - self._began,
                "evaluation_seconds": self._evaluator.seconds,
            }
            with open(self._timing, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            self._began, self._evaluator.seconds = now, 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        window = args.steps_per_generation * args.num_iterations
        if self._interrupts.asked and state.global_step * args.gradient_accumulation_steps % window == 0:
            control.should_save = control.should_training_stop = True


def _interrupts(display: Display) -> Interrupts:
    """The first signal asks for a checkpoint after this step."""
    return Interrupts(lambda: display.note("stopping after this step, with a checkpoint (Ctrl-C again stops at once)"))


def _small_model(config: TrainConfig, display: Display) -> str:
    from didact.training.warm_start import WarmStartConfig, warm_started_model

    def progress(done: int, total: int) -> None:
        display.stage("warm start", done, total)

    return str(
        warm_started_model(WarmStartConfig.for_task(config.task, seed=config.warm_start_seed), progress=progress)
    )


def _forget_after(folder: Path, checkpoint: Path | None, changed: Sequence[str]) -> int:
    """Note what a resumption makes again; without a checkpoint, start the journals anew. The journals themselves are
    cut back when the curriculum's state is loaded, and later checkpoints are written over."""
    rollouts, kept = _rollouts_in(folder), 0
    if checkpoint is None:
        for name in ("journal.jsonl", "metrics.jsonl"):
            (folder / name).unlink(missing_ok=True)
    else:
        kept = int(load_state(checkpoint / STATE_FILE)["curriculum"]["curriculum"]["books"]["totals"]["rollouts"])
    line: dict[str, Any] = {"step": step_of(checkpoint), "dropped_rollouts": rollouts - kept}
    if changed:
        line["changed_prompts"] = list(changed)
    with open(folder / "resumes.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    return rollouts - kept


def _rollouts_in(folder: Path) -> int:
    path = folder / "journal.jsonl"
    records = read_journal(path) if path.exists() else []
    return sum(len(rewards) for record in records if record["kind"] == "outcomes" for rewards in record["rewards"])


def _save_model(trainer: CurriculumGRPOTrainer, source: str, path: Path) -> None:
    """Write the model beside its place and move it there. An earlier one is replaced file by file, the manifest last:
    what anybody else put into the folder stays."""
    beside = path.with_name(path.name + ".tmp")
    clear(beside)
    before = files_in(beside)
    trainer.accelerator.unwrap_model(trainer.model).save_pretrained(beside)
    load_tokenizer(source).save_pretrained(beside)  # TRL's own copy remembers how it padded last
    names = seal(beside, before)
    if not path.exists():
        os.replace(beside, path)
        return
    clear(path)
    path.mkdir(exist_ok=True)
    for name in (*names, MANIFEST):
        os.replace(beside / name, path / name)
    with suppress(OSError):
        beside.rmdir()
