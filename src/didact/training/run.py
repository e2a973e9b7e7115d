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
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import torch
from datasets import Dataset
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig

from didact.adapters.trl import CurriculumGRPOTrainer
from didact.adapters.trl_checkpoints import STATE_FILE, checkpoints, newest, step_of
from didact.files import locked, write_whole
from didact.interrupts import Interrupts
from didact.journal import Journal, RecordedCurriculum, read_journal
from didact.manifest import MANIFEST, clear, files_in, seal
from didact.methods import check_options, make
from didact.prompts import PromptPool
from didact.state import load_state
from didact.tasks import Example, Split, task
from didact.tasks.files import drawn, load_examples
from didact.tasks.verifier import Verifier
from didact.training.config import TrainConfig, config_from, read_config, write_config
from didact.training.display import Display, Silent
from didact.training.evaluation import Evaluator, Scorer, prompt_of, uses_chat

_FILES: Final = (
    *("config.json", "prompts.jsonl", "journal.jsonl", "metrics.jsonl", "timing.jsonl", "resumes.jsonl"),
    *("checkpoints", "model", "model.tmp"),
)
_BAD_INPUT: Final = (ValueError, TypeError, OSError, ImportError, ArithmeticError, RecursionError)  # until it trains


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
    _refuse_unless_empty(folder)
    _check_method(config)
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        _refuse_unless_empty(folder)  # another process may have come and gone
        try:
            write_config(folder / "config.json", config)
            return _train(config, folder, display or Silent(), resume=False)
        except _BAD_INPUT:
            _give_up(folder, new)
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
        return _train(config, folder, display, resume=True)


def latest_checkpoint(folder: Path, display: Display | None = None) -> Path | None:
    """The newest checkpoint that is whole and from which a run can go on exactly; the display hears of newer ones."""

    def passed_over(checkpoint: Path, why: str) -> None:
        if display is not None:
            display.note(f"{checkpoint.name} is passed over: {why}")

    return newest(folder / "checkpoints", passed_over)


def _refuse_unless_empty(folder: Path) -> None:
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
    for name in ("config.json", "prompts.jsonl", "journal.jsonl", "metrics.jsonl", ".lock"):
        with suppress(OSError):
            (folder / name).unlink()
    for path in new:
        with suppress(OSError):
            path.rmdir()


def _train(config: TrainConfig, folder: Path, display: Display, resume: bool) -> RunResult:
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device='cuda', but torch finds no GPU; leave device out or give 'cpu'")
    if _on_cpu(config):
        torch.set_num_threads(config.threads)
    checkpoint = latest_checkpoint(folder, display) if resume else None
    complete = step_of(checkpoint) >= config.steps
    dropped = _forget_after(folder, checkpoint) if resume else 0
    if resume:
        where = f"from {checkpoint.name}" if checkpoint else "from the beginning: there is no whole checkpoint yet"
        display.note(f"resuming {where}; {dropped:,} rollouts made since then are made again")
    source = config.model or _small_model(config, display)
    train, held_out = _examples(config, display)
    model, tokenizer = _load_model(config, str(checkpoint) if complete else source), _load_tokenizer(source)
    lengths = [len(row) for row in tokenizer([example.prompt for example in train])["input_ids"]]
    _write_prompts(folder / "prompts.jsonl", train, lengths)
    pool = PromptPool(
        [example.prompt_id for example in train],
        source=[example.source for example in train],
        difficulty=[float("nan") if example.difficulty is None else example.difficulty for example in train],
        prompt_tokens=lengths,
    )
    with (
        Journal(folder / "journal.jsonl") as journal,
        Journal(folder / "metrics.jsonl") as metrics,
        Verifier(config.task, timeout=config.verifier_timeout, **config.verifier_options) as verifier,
        _interrupts(display) as interrupts,
    ):
        curriculum = RecordedCurriculum(make(config.method, pool, **_options(config)), journal, metrics)
        scorer = Scorer(verifier, display)
        trainer = _build_trainer(config, folder, model, tokenizer, train, curriculum, scorer)
        evaluator = Evaluator(trainer, held_out, scorer, config, journal, display)
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
    return RunResult(str(folder), steps >= config.steps, steps, evaluations, curriculum.metrics())


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


def _load_model(config: TrainConfig, path: str) -> Any:
    with _named(path):
        return AutoModelForCausalLM.from_pretrained(
            path, dtype=torch.float32 if _on_cpu(config) else "auto", trust_remote_code=False
        )


def _load_tokenizer(path: str) -> Any:
    with _named(path):
        tokenizer = AutoTokenizer.from_pretrained(path, padding_side="left", trust_remote_code=False)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


@contextmanager
def _named(path: str) -> Iterator[None]:
    """What the libraries raise about a model's folder or name, in one line that says which."""
    try:
        if Path(path).is_file():  # it would be looked for on the hub
            raise ValueError("it is a file")
        yield
    except (OSError, ValueError, SafetensorError) as error:
        raise ValueError(
            f"no model can be read from {path!r}: {error} (expected: a folder that save_pretrained wrote, or a name on "
            "the hub)"
        ) from error


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
    cut back when the curriculum's state is loaded, and later checkpoints are written over."""
    rollouts, kept = _rollouts_in(folder), 0
    if checkpoint is None:
        for name in ("journal.jsonl", "metrics.jsonl"):
            (folder / name).unlink(missing_ok=True)
    else:
        kept = int(load_state(checkpoint / STATE_FILE)["curriculum"]["curriculum"]["totals"]["rollouts"])
    with open(folder / "resumes.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step_of(checkpoint), "dropped_rollouts": rollouts - kept}) + "\n")
    return rollouts - kept


def _rollouts_in(folder: Path) -> int:
    path = folder / "journal.jsonl"
    records = read_journal(path) if path.exists() else []
    return sum(len(rewards) for record in records if record["kind"] == "outcomes" for rewards in record["rewards"])


def _write_prompts(path: Path, examples: Sequence[Example], lengths: Sequence[int]) -> None:
    if not path.exists():
        rows = [{**asdict(each), "prompt_tokens": num} for each, num in zip(examples, lengths, strict=True)]
        write_whole(path, "".join(json.dumps(row) + "\n" for row in rows))


def _save_model(trainer: CurriculumGRPOTrainer, source: str, path: Path) -> None:
    """Write the model beside its place and move it there. An earlier one is replaced file by file, the manifest last:
    what anybody else put into the folder stays."""
    beside = path.with_name(path.name + ".tmp")
    clear(beside)
    before = files_in(beside)
    trainer.accelerator.unwrap_model(trainer.model).save_pretrained(beside)
    _load_tokenizer(source).save_pretrained(beside)  # TRL's own copy remembers how it padded last
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


def _on_cpu(config: TrainConfig) -> bool:
    return config.device == "cpu" or not torch.cuda.is_available()
