"""What `didact train` was asked to do: people write TOML and flags, the program writes the resolved JSON."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from didact.naming import nearest_or_all
from didact.sealed import read_sealed, write_sealed
from didact.settings import from_table
from didact.tasks import TASKS
from didact.training.beds import BEDS
from didact.training.trl_fields import RESERVED

LOSS_TYPES: Final = ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo")
_RANGE: Final = {  # far beyond what anybody trains with: more is a slip of the finger, told before it takes memory
    **dict.fromkeys(("steps", "eval_every", "save_every"), (1, 10**9)),
    "warmup_steps": (0, 10**9),
    **dict.fromkeys(("prompts_per_step", "rollouts_per_step", "micro_batch_size"), (1, 10**6)),
    **dict.fromkeys(("num_prompts", "num_eval_prompts", "max_completion_length", "max_prompt_tokens"), (1, 10**7)),
    "threads": (1, 4096),
    **dict.fromkeys(("seed", "warm_start_seed"), (0, 2**32 - 1)),
    "verifier_timeout": (0.0, 1e6),
}
_VERIFIER_OPTIONS: Final = ("environment", "memory", "network", "processes", "workers", "writable")
_COLUMNS: Final = tuple(f"{name}_column" for name in ("prompt", "answer", "id", "source", "difficulty", "pass_rate"))

Paths = str | list[str] | None


def _setting(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of a training run. Every field is a key of the TOML file, with the tables
    `[method_options]`, `[task_options]`, `[verifier_options]` and `[trl]`."""

    method: str = _setting("didact", "How the curriculum is made, see `didact methods`.")
    method_options: dict[str, Any] = field(default_factory=dict)
    task: str = _setting("arithmetic", "How responses are verified: arithmetic, gsm8k, math, reasoning_gym:NAME, "
                         "or module:function of your own, of (response, answer), from 0 to 1.")  # fmt: skip
    task_options: dict[str, Any] = field(default_factory=dict)  # of the task's own prompts, e.g. levels = [1, 2]
    prompts: Paths = _setting(None, "Training prompts: files, folders, patterns or hub names; repeatable.  "  # noqa: RUF009
                              "[default: the task's own]")  # fmt: skip
    eval_prompts: Paths = _setting(None, "Held-out ones, likewise.  [default: the task's own test split]")  # noqa: RUF009
    eval_fraction: float | None = _setting(None, "Hold out this share of the training prompts instead.")
    eval_on_train: bool = _setting(False, "Evaluate on training prompts instead: an overfit check.")
    eval: bool = _setting(True, "Whether to evaluate at all.")
    prompt_column: str | None = _setting(None, "Of the files; a.b is b of the object in a. So are the next ones.  "
                                         "[default: found by its usual names]")  # fmt: skip
    answer_column: str | None = _setting(None, "The gold answer.  [default: found by its usual names]")
    id_column: str | None = _setting(None, "A prompt's id.  [default: found, else a hash of the text]")
    source_column: str | None = _setting(None, "Where a prompt is from.  [default: found, else the file's name]")
    difficulty_column: str | None = _setting(None, "A number, for methods that ask for it.")
    pass_rate_column: str | None = _setting(None, "How often another model passes, from 0 to 1: a first belief.")
    system_prompt: str | None = _setting(None, "A system message for prompts that have none.")
    instruction: str | None = _setting(None, 'What is appended to each prompt; "" for nothing.  [default: the '
                                       "task's, except to conversations]")  # fmt: skip
    max_prompt_tokens: int | None = _setting(None, "Longer prompts are left out.  [default: what the model has room "
                                             "for]")  # fmt: skip
    model: str | None = _setting(None, "A folder or a hub name.  [default: a small model made here, for arithmetic "
                                "or reasoning_gym:chain_sum]")  # fmt: skip
    chat: bool | None = _setting(None, "Wrap prompts in the chat template.  [default: if the model has one]")
    steps: int = _setting(300, "Optimiser steps.")
    prompts_per_step: int = _setting(8, "Groups that train in a step.")
    rollouts_per_step: int = _setting(64, "Rollouts that train in a step.")
    micro_batch_size: int | None = _setting(None, "Rollouts in one forward pass.  [default: all of a step]")
    max_completion_length: int | None = _setting(None, "Tokens of a response.  [default: what the small model's task "
                                                "needs, else 512]")  # fmt: skip
    learning_rate: float | None = _setting(None, "[default: 6e-4 for the small model, else 1e-6]")
    lr_schedule: str | None = _setting(None, "Of transformers.  [default: linear for the small model, else "
                                       "constant_with_warmup]")  # fmt: skip
    warmup_steps: int = _setting(20, "Steps until the full learning rate.")
    loss_type: str = _setting("grpo", "TRL's loss.")
    num_prompts: int | None = _setting(2048, "At most so many prompts in the pool.")
    num_eval_prompts: int | None = _setting(512, "At most so many held-out prompts.")
    eval_every: int = _setting(50, "Steps between evaluations; also before the first step and after the last.")
    save_every: int = _setting(25, "Steps between checkpoints.")
    seed: int = _setting(0, "Of prompts, plans and rollouts.")
    warm_start_seed: int = _setting(0, "Of the small model and its unreliable teacher.")
    threads: int = _setting(2, "Of torch, on CPU.")
    device: str | None = _setting(None, "cpu or cuda.  [default: cuda if there is one]")
    verifier_timeout: float = _setting(5.0, "Seconds a verifier may take for one response.")
    verifier_options: dict[str, Any] = field(default_factory=dict)  # what a verifier of one's own may do, see Verifier
    trl: dict[str, Any] = field(default_factory=dict)  # any further field of TRL's GRPOConfig

    def __post_init__(self) -> None:
        small = self.model is None
        bed = BEDS.get(self.task) if small or self.task == "arithmetic" else None
        if small and bed and (self.prompts is None or self.own_test_split):
            object.__setattr__(self, "task_options", {**bed.task_options, **self.task_options})
        resolved = {
            "max_completion_length": bed.max_response if bed else 512,
            "learning_rate": 6e-4 if small else 1e-6,
            "lr_schedule": "linear" if small else "constant_with_warmup",
        }
        for name, value in resolved.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        for name in ("learning_rate", "verifier_timeout"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be a positive number, got {getattr(self, name)}")
        for name, (least, most) in _RANGE.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
            if value is not None and value > most:
                raise ValueError(f"{name} must be at most {most:,}, got {value}")
        for name, known in {"loss_type": LOSS_TYPES, "device": ("cpu", "cuda")}.items():
            if (value := getattr(self, name)) is not None and value not in known:
                raise ValueError(f"unknown {name} {value!r}{nearest_or_all(value, known)}")
        for name in self.trl:
            if name in RESERVED:
                raise ValueError(f"[trl] cannot set {name!r}: {RESERVED[name]}")
        for name in self.verifier_options:
            if name not in _VERIFIER_OPTIONS:
                raise ValueError(f"[verifier_options] has no {name!r}{nearest_or_all(name, _VERIFIER_OPTIONS)}")
            if not self.own_verifier and name not in ("memory", "workers"):
                raise ValueError(f"[verifier_options] {name} is for a function of your own; {self.task!r} does without")
        self._check_prompts()
        self._check_task()
        for name in ("prompts_per_step", "micro_batch_size"):
            if (value := getattr(self, name)) is not None and self.rollouts_per_step % value:
                raise ValueError(f"{name}={value} does not divide rollouts_per_step={self.rollouts_per_step}")

    def _check_task(self) -> None:
        name = self.task.partition(":")[0]
        if name not in TASKS and ":" not in self.task:
            raise ValueError(f"there is no task {self.task!r}{nearest_or_all(name, TASKS)}")
        own_prompts = self.prompts is None or self.own_test_split
        if self.task_options and not own_prompts:
            raise ValueError("task_options choose among the task's own prompts, and none of them are used")
        if self.own_verifier and own_prompts:
            raise ValueError(
                f"there is no task {self.task!r}{nearest_or_all(name, TASKS)} (a function of your own, "
                "module:function, needs prompts, and eval_prompts, eval_fraction, eval_on_train or eval=false)"
            )
        if self.model is None and self.task not in BEDS:
            raise ValueError(
                f"task {self.task!r} needs a model: the small model that is built here knows only {' and '.join(BEDS)}"
            )

    def _check_prompts(self) -> None:
        for name in ("prompts", "eval_prompts"):
            value = getattr(self, name)
            if value is not None and not (value and all(value)):
                raise ValueError(f"{name} is empty; leave it out for the task's own")
        given = {
            "eval_prompts": self.eval_prompts is not None,
            "eval_fraction": self.eval_fraction is not None,
            "eval_on_train": self.eval_on_train,
            "eval=false": not self.eval,
        }
        if len(chosen := [name for name, is_given in given.items() if is_given]) > 1:
            raise ValueError(f"{' and '.join(chosen)} exclude each other: choose one")
        if self.eval_fraction is not None and not 0 < self.eval_fraction < 1:
            raise ValueError(f"eval_fraction must be between 0 and 1, got {self.eval_fraction}")
        if self.eval_fraction is not None and self.prompts is None:
            raise ValueError("eval_fraction holds out some of your prompts; the task's own have a test split")
        columns = [name for name in _COLUMNS if getattr(self, name) is not None]
        if columns and self.prompts is None and self.eval_prompts is None:
            raise ValueError(f"{columns[0]} is for files of your own; give prompts or eval_prompts")

    @property
    def own_verifier(self) -> bool:
        """Whether the task is a function of the user's, written module:function."""
        return ":" in self.task and self.task.partition(":")[0] not in TASKS

    @property
    def own_test_split(self) -> bool:
        """Whether the held-out prompts are the task's own."""
        return self.eval and not self.eval_on_train and self.eval_prompts is None and self.eval_fraction is None

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def config_from(values: Mapping[str, Any]) -> TrainConfig:
    """A config from plain values.

    Raises:
        ValueError: an unknown key (the nearest is named), a value of the wrong type or out of range.
    """
    return from_table(TrainConfig, values, "run")


def write_config(path: Path, config: TrainConfig) -> None:
    """The resolved settings as JSON, with a digest of them."""
    write_sealed(path, config.to_dict())


def read_config(path: Path) -> TrainConfig:
    """What `write_config` wrote. Who changes the settings on purpose removes the line "digest".

    Raises:
        FileNotFoundError: no such file. ValueError: it is cut off, not as it was written, or its settings are bad.
    """
    values = read_sealed(path, by_hand=True)
    try:
        return config_from(values)
    except (ValueError, TypeError) as error:
        raise ValueError(f'{path}: {error}; what is mended there goes without the line "digest"') from error
