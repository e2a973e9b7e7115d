"""A training run in its folder: TRL with a curriculum, a journal, held-out evaluation, and exact resumption.

RUN/config.json     resolved settings              RUN/checkpoints/    TRL's checkpoints, with the curriculum's state
RUN/prompts.jsonl   the pool, with text            RUN/model/          the final model
RUN/journal.jsonl   plans, outcomes, evaluations   RUN/timing.jsonl    clock times (not part of what repeats exactly)
RUN/metrics.jsonl   the curriculum's figures       RUN/resumes.jsonl   what each resumption had to do again
"""

import inspect
import json
import math
import os
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from datasets import Dataset
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig

from didact.adapters.trl import STATE_FILE, CurriculumGRPOTrainer
from didact.journal import Journal, RecordedCurriculum, read_journal
from didact.methods import check_options, make
from didact.prompts import PromptPool
from didact.state import load_state
from didact.tasks import Example, Split, task
from didact.tasks.files import drawn, load_examples
from didact.tasks.verifier import Verifier
from didact.training.config import TrainConfig, config_from
from didact.training.display import Display, Silent
from didact.training.evaluation import Evaluator, Scorer, prompt_of, uses_chat


@dataclass(frozen=True)
class RunResult:
    """How a run ended; `finished` is false when it was interrupted and can be resumed."""

    folder: str
    finished: bool
    steps: int
    evaluations: list[dict[str, Any]]
    metrics: dict[str, float]


def start_run(config: TrainConfig, folder: str | os.PathLike[str], display: Display | None = None) -> RunResult:
    """Train from the beginning in a new folder.

    Raises:
        FileExistsError: the folder holds something already. ValueError, TypeError: bad settings.
    """
    folder = Path(folder)
    if folder.exists() and any(entry.name != ".lock" for entry in folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty: resume it with --resume {folder}, or choose another --run")
    _check_method(config)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        try:
            _write(folder / "config.json", json.dumps(config.to_dict(), indent=2) + "\n")
            return _train(config, folder, display or Silent(), resume=False)
        except Exception:
            if not _rollouts_in(folder):  # nothing is lost, and the corrected command finds the folder free
                shutil.rmtree(folder, ignore_errors=True)
            raise


def resume_run(folder: str | os.PathLike[str], display: Display | None = None, steps: int | None = None) -> RunResult:
    """Go on from the latest whole checkpoint (from the beginning, if there is none).

    Args:
        steps: train up to this many steps instead of the number in the config.

    Raises:
        FileNotFoundError: no run in that folder. ValueError: its files are damaged.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder} is no run: it has no config.json")
    try:
        config = config_from(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"{folder / 'config.json'} is damaged: {error}") from error
    with _locked(folder):
        if steps is not None and steps != config.steps:
            done = _step_of(latest_checkpoint(folder))
            if steps < done:
                raise ValueError(f"steps={steps}, but {folder} has trained for {done}; give at least as many")
            config = config_from({**config.to_dict(), "steps": steps})
            _write(folder / "config.json", json.dumps(config.to_dict(), indent=2) + "\n")
        return _train(config, folder, display or Silent(), resume=True)


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that is whole and from which a run can go on exactly."""
    return next(filter(_is_whole, sorted(_checkpoints(folder), key=_step_of, reverse=True)), None)


def _checkpoints(folder: Path) -> list[Path]:
    return [path for path in (folder / "checkpoints").glob("checkpoint-*") if path.name[11:].isdecimal()]


def _is_whole(checkpoint: Path) -> bool:
    """The curriculum's state is written last and carries checksums; of the weights a power cut may leave a part."""
    try:
        state = load_state(checkpoint / STATE_FILE)
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        for path in checkpoint.glob("*.safetensors"):
            safe_open(path, framework="pt")
        for path in checkpoint.glob("*.pt"):
            ZipFile(path).close()
    except (OSError, ValueError, SafetensorError, BadZipFile):
        return False
    return not state["window"]  # TRL would generate the rest of the window anew


def _step_of(checkpoint: Path | None) -> int:
    return int(checkpoint.name.split("-")[1]) if checkpoint else 0


def _train(config: TrainConfig, folder: Path, display: Display, resume: bool) -> RunResult:
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device='cuda', but torch finds no GPU; leave device out or give 'cpu'")
    if _on_cpu(config):
        torch.set_num_threads(config.threads)
    checkpoint = latest_checkpoint(folder) if resume else None
    complete = _step_of(checkpoint) >= config.steps
    dropped = _forget_after(folder, checkpoint) if resume else 0
    if resume:
        where = f"from {checkpoint.name}" if checkpoint else "from the beginning: there is no whole checkpoint yet"
        display.note(f"resuming {where}; {dropped:,} rollouts made since then are made again")
    model_path = str(checkpoint) if complete else config.model or _small_model(config, display)
    train, held_out = _examples(config, display)
    model, tokenizer = _load_model(config, model_path)
    lengths = [len(row) for row in tokenizer([example.prompt for example in train])["input_ids"]]
    _write_prompts(folder / "prompts.jsonl", train, lengths)
    journal, metrics = Journal(folder / "journal.jsonl"), Journal(folder / "metrics.jsonl")
    pool = PromptPool(
        [example.prompt_id for example in train],
        source=[example.source for example in train],
        difficulty=[float("nan") if example.difficulty is None else example.difficulty for example in train],
        prompt_tokens=lengths,
    )
    curriculum = RecordedCurriculum(make(config.method, pool, **_options(config)), journal, metrics)
    options = config.verifier_options
    with (
        Verifier(config.task, timeout=config.verifier_timeout, **options) as verifier,
        _Interrupt(display) as interrupt,
    ):
        scorer = Scorer(verifier, display)
        trainer = _build_trainer(config, folder, model, tokenizer, train, curriculum, scorer)
        evaluator = Evaluator(trainer, held_out, scorer, config, journal, display)
        trainer.add_callback(_Recorder(folder, journal, curriculum, evaluator, interrupt, config, display))
        if checkpoint is None and not read_journal(journal.path)[1:]:
            evaluator.run(0)
        if complete and checkpoint:  # TRL would train one step more
            curriculum.load_state_dict(load_state(checkpoint / STATE_FILE)["curriculum"])
        else:
            try:
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
            except (ValueError, TypeError) as error:
                if trainer.state.global_step > _step_of(checkpoint):  # it trained: then the input was not bad
                    raise RuntimeError(f"training failed at step {trainer.state.global_step}: {error}") from error
                raise
        steps = _step_of(checkpoint) if complete else trainer.state.global_step
        finished = steps >= config.steps
        if not finished and not interrupt.asked:
            raise RuntimeError(f"TRL stopped at step {steps} of {config.steps}")
        if finished:
            _save_model(trainer, folder / "model")
    evaluations = [record for record in read_journal(journal.path) if record["kind"] == "evaluation"]
    result = RunResult(str(folder), finished, steps, evaluations, curriculum.metrics())
    journal.close()
    metrics.close()
    return result


def _build_trainer(
    config: TrainConfig,
    folder: Path,
    model: Any,
    tokenizer: Any,
    train: Sequence[Example],
    curriculum: RecordedCurriculum,
    scorer: Scorer,
) -> CurriculumGRPOTrainer:
    chat = uses_chat(config, tokenizer)
    rows = [
        {"prompt": prompt_of(example, config, chat), "answer": example.answer, "prompt_id": example.prompt_id}
        for example in train
    ]

    def verified(completions: list[Any], answer: list[str], **_: Any) -> list[float | None]:
        responses = [
            completion if isinstance(completion, str) else completion[0]["content"] for completion in completions
        ]
        return [None if score.errored else score.value for score in scorer.score(responses, answer)]

    trainer = CurriculumGRPOTrainer(
        model=model,
        reward_funcs=[verified],
        args=_arguments(config, folder),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        curriculum=curriculum,
    )
    for callback in ("PrinterCallback", "ProgressCallback"):
        for installed in [each for each in trainer.callback_handler.callbacks if type(each).__name__ == callback]:
            trainer.remove_callback(installed)
    return trainer


def _load_model(config: TrainConfig, model_path: str) -> tuple[Any, Any]:
    try:
        if Path(model_path).is_file():  # it would be looked for on the hub
            raise ValueError("it is a file")
        model = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32 if _on_cpu(config) else "auto")
        tokenizer = AutoTokenizer.from_pretrained(model_path, padding_side="left")
    except (OSError, ValueError, SafetensorError) as error:
        raise ValueError(
            f"no model can be read from {model_path!r}: {error} (expected: a folder that save_pretrained wrote, or a "
            "name on the hub)"
        ) from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model, tokenizer


def _arguments(config: TrainConfig, folder: Path) -> GRPOConfig:
    micro = config.micro_batch_size or config.rollouts_per_step
    settings: dict[str, Any] = {
        "output_dir": str(folder / "checkpoints"),
        "max_steps": config.steps,
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": config.rollouts_per_step // micro,
        "num_generations": config.rollouts_per_step // config.prompts_per_step,
        "max_completion_length": config.max_completion_length,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": config.lr_schedule,
        "warmup_steps": config.warmup_steps,
        "adam_beta2": 0.99,
        "max_grad_norm": 1.0,
        "weight_decay": 0.0,
        "loss_type": config.loss_type,
        "temperature": 1.0,
        "beta": 0.0,
        "logging_steps": 1,
        "save_strategy": "steps",
        "save_steps": config.save_every,
        "save_total_limit": 2,
        "report_to": "none",
        "disable_tqdm": True,
        "seed": config.seed,
        **({"use_cpu": True, "bf16": False, "gradient_checkpointing": False} if _on_cpu(config) else {}),
        **config.trl,
    }
    for name in config.trl:
        if name not in (known := [each.name for each in fields(GRPOConfig)]):
            close = "".join(f"; did you mean {each!r}?" for each in get_close_matches(name, known, 1))
            raise ValueError(f"[trl]: TRL's GRPOConfig has no field {name!r}{close}")
    try:
        return GRPOConfig(**settings)
    except (ValueError, TypeError) as error:
        raise ValueError(f"TRL's GRPOConfig refuses the settings: {error}") from error


class _Recorder(TrainerCallback):
    """Journal, timing, evaluation, progress and a graceful Ctrl-C, from TRL's own callback points."""

    def __init__(
        self,
        folder: Path,
        journal: Journal,
        curriculum: RecordedCurriculum,
        evaluator: Evaluator,
        interrupt: "_Interrupt",
        config: TrainConfig,
        display: Display,
    ) -> None:
        self._timing = folder / "timing.jsonl"
        self._journal, self._curriculum, self._evaluator = journal, curriculum, evaluator
        self._interrupt, self._config, self._display = interrupt, config, display
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
        if self._interrupt.asked and state.global_step * args.gradient_accumulation_steps % window == 0:
            control.should_save = control.should_training_stop = True


class _Interrupt:
    """The first Ctrl-C or SIGTERM asks for a checkpoint after this step; the second stops at once."""

    def __init__(self, display: Display) -> None:
        self.asked = False
        self._display = display
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "_Interrupt":
        with suppress(ValueError):  # not in the main thread: then signals do not come here anyway
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        self._display.note("stopping after this step, with a checkpoint (Ctrl-C again stops at once)")


def _small_model(config: TrainConfig, display: Display) -> str:
    from didact.training.warm_start import WarmStartConfig, warm_started_model

    def progress(done: int, total: int) -> None:
        display.stage("warm start", done, total)

    return str(
        warm_started_model(WarmStartConfig.for_task(config.task, seed=config.warm_start_seed), progress=progress)
    )


def _examples(config: TrainConfig, display: Display) -> tuple[list[Example], list[Example]]:
    train = _load(config, config.prompts, "train", config.num_prompts, display)
    held_out = _load(config, config.eval_prompts, "test", config.num_eval_prompts, display)
    overlap = {example.prompt for example in train} & {example.prompt for example in held_out}
    if overlap:
        raise ValueError(
            f"{len(overlap)} held-out prompts are also training prompts, for example {overlap.pop()[:80]!r}"
        )
    return train, held_out


def _load(config: TrainConfig, path: str | None, split: Split, num: int | None, display: Display) -> list[Example]:
    if path is None:
        chosen = task(config.task)
        known = list(inspect.signature(chosen.examples).parameters)[3:]
        if unknown := [name for name in config.task_options if name not in known]:
            raise ValueError(f"task {config.task!r} has no option {unknown[0]!r}; its options: {', '.join(known)}")
        return chosen.examples(split, num=num, seed=config.seed, **config.task_options)
    examples, report = load_examples(path, split=split)
    if report.dropped_missing or report.dropped_duplicates:
        display.note(
            f"{path}: of {report.rows:,} rows, {report.dropped_duplicates:,} repeat a prompt and "
            f"{report.dropped_missing:,} lack a prompt or an answer; they are left out"
        )
    if num is not None and num > len(examples):
        display.note(f"{path}: it has {len(examples):,} prompts, all of them are used")
    return drawn(examples, None if num is None else min(num, len(examples)), config.seed)


def _options(config: TrainConfig) -> dict[str, Any]:
    return {
        "prompts_per_step": config.prompts_per_step,
        "rollouts_per_step": config.rollouts_per_step,
        "seed": config.seed,
        **config.method_options,
    }


def _check_method(config: TrainConfig) -> None:
    """Refuse bad method options before anything expensive is done."""
    check_options(config.method, **_options(config))


def _forget_after(folder: Path, checkpoint: Path | None) -> int:
    """Note what a resumption makes again; without a checkpoint, start the journals anew. The journals themselves are
    cut back when the curriculum's state is loaded. Later checkpoints are not whole: TRL, which keeps two, would count
    them and drop good ones instead."""
    for later in _checkpoints(folder):
        if _step_of(later) > _step_of(checkpoint):
            shutil.rmtree(later)
    rollouts, kept = _rollouts_in(folder), 0
    if checkpoint is None:
        for name in ("journal.jsonl", "metrics.jsonl"):
            (folder / name).unlink(missing_ok=True)
    else:
        kept = int(load_state(checkpoint / STATE_FILE)["curriculum"]["curriculum"]["totals"]["rollouts"])
    with open(folder / "resumes.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps({"step": _step_of(checkpoint), "dropped_rollouts": rollouts - kept}) + "\n")
    return rollouts - kept


def _rollouts_in(folder: Path) -> int:
    path = folder / "journal.jsonl"
    records = read_journal(path) if path.exists() else []
    return sum(len(rewards) for record in records if record["kind"] == "outcomes" for rewards in record["rewards"])


def _write_prompts(path: Path, examples: Sequence[Example], lengths: Sequence[int]) -> None:
    if not path.exists():
        rows = [{**asdict(each), "prompt_tokens": num} for each, num in zip(examples, lengths, strict=True)]
        _write(path, "".join(json.dumps(row) + "\n" for row in rows))


def _write(path: Path, text: str) -> None:
    beside = path.with_name(path.name + ".tmp")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)


def _save_model(trainer: CurriculumGRPOTrainer, path: Path) -> None:
    beside = path.with_name(path.name + ".tmp")
    shutil.rmtree(beside, ignore_errors=True)
    trainer.save_model(str(beside))
    trainer.processing_class.save_pretrained(str(beside))
    shutil.rmtree(path, ignore_errors=True)
    os.replace(beside, path)


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


def _on_cpu(config: TrainConfig) -> bool:
    return config.device == "cpu" or not torch.cuda.is_available()
