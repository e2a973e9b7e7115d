"""What `didact train` was asked to do: people write TOML and flags, the program writes the resolved JSON."""

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of a training run. Every field is a key of the TOML file; the tables are `[method_options]` and
    `[trl]`."""

    method: str = "cures"  # see `didact methods`
    method_options: dict[str, Any] = field(default_factory=dict)
    task: str = "arithmetic"  # says how responses are verified: arithmetic, gsm8k, math, reasoning_gym:NAME
    prompts: str | None = (
        None  # training prompts: a parquet, jsonl, json or csv file, or a hub name; None: the task's own
    )
    eval_prompts: str | None = None  # held-out prompts, likewise; None: the task's own test split
    model: str | None = None  # a folder or hub name; None: the small model, warm-started here (task arithmetic only)
    chat: bool | None = None  # wrap prompts in the chat template; None: if the model has one
    steps: int = 300
    prompts_per_step: int = 8
    rollouts_per_step: int = 64
    micro_batch_size: int | None = None  # rollouts in one forward pass; None: all of a step
    max_completion_length: int | None = None  # tokens; None: 19 for arithmetic (its longest solution), else 512
    learning_rate: float | None = None  # None: 6e-4 for the small model, 1e-6 for any other
    lr_schedule: str | None = None  # of transformers; None: linear for the small model, else constant_with_warmup
    warmup_steps: int = 20
    loss_type: str = "grpo"
    num_prompts: int | None = 2048  # size of the pool; None: all there are
    num_eval_prompts: int | None = 512
    eval_every: int = 50  # steps; also before the first and after the last
    save_every: int = 25
    seed: int = 0
    threads: int = 2  # of torch, on CPU
    device: str | None = None  # "cpu" or "cuda"; None: cuda if there is one
    verifier_timeout: float = 5.0  # seconds a verifier may take for one response
    trl: dict[str, Any] = field(default_factory=dict)  # any further field of TRL's GRPOConfig

    def __post_init__(self) -> None:
        small = self.model is None
        resolved = {
            "max_completion_length": 19 if self.task == "arithmetic" else 512,
            "learning_rate": 6e-4 if small else 1e-6,
            "lr_schedule": "linear" if small else "constant_with_warmup",
        }
        for name, value in resolved.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        for name in (
            "steps",
            "prompts_per_step",
            "rollouts_per_step",
            "max_completion_length",
            "eval_every",
            "save_every",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("num_prompts", "num_eval_prompts", "micro_batch_size"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.learning_rate or not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        if self.threads < 1:
            raise ValueError(f"threads must be at least 1, got {self.threads}")
        if not self.verifier_timeout > 0:
            raise ValueError(f"verifier_timeout must be positive, got {self.verifier_timeout}")
        if self.model is None and self.task != "arithmetic":
            raise ValueError(
                f"task {self.task!r} needs a model: the small model that is built here only knows arithmetic"
            )
        if self.micro_batch_size is not None and self.rollouts_per_step % self.micro_batch_size:
            raise ValueError(
                f"micro_batch_size={self.micro_batch_size} does not divide rollouts_per_step={self.rollouts_per_step}"
            )

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def config_from(values: Mapping[str, Any]) -> TrainConfig:
    """A config from plain values.

    Raises:
        ValueError: an unknown key (the nearest is named), a value of the wrong type or out of range.
    """
    hints = typing.get_type_hints(TrainConfig)
    checked = {}
    for name, value in values.items():
        if name not in hints:
            close = difflib.get_close_matches(name, hints, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; settings are {', '.join(sorted(hints))}"
            raise ValueError(f"unknown setting {name!r}{hint}")
        checked[name] = _typed(name, value, hints[name])
    return TrainConfig(**checked)


def read_toml(path: str | Path) -> dict[str, Any]:
    """Settings from a TOML file.

    Raises:
        FileNotFoundError, ValueError: no such file, or no TOML.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no config file {path}")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not TOML: {error}") from error


def _typed(name: str, value: Any, hint: Any) -> Any:
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    plain = tuple(typing.get_origin(kind) or kind for kind in kinds)
    if float in plain and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, plain) and not (isinstance(value, bool) and bool not in plain):
        return value
    wanted = " or ".join("nothing" if kind is type(None) else kind.__name__ for kind in plain)
    raise ValueError(f"setting {name!r} must be {wanted}, got {value!r}")
