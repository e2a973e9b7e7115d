"""What a run finds out before it spends anything: settings that TRL takes, prompts that fit the model, a curriculum."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoTokenizer
from trl import GRPOConfig

from didact.curriculum import Curriculum
from didact.methods import check_options, make
from didact.naming import nearest
from didact.training.beds import bed
from didact.training.config import TrainConfig
from didact.training.data import Data, read, settle
from didact.training.display import Display
from didact.training.small_model import SmallModelConfig, build_tokenizer
from didact.training.wording import Wording


@dataclass(frozen=True)
class Preparation:
    """What a run needs beside the model's weights, all of it checked."""

    arguments: GRPOConfig
    tokenizer: Any
    wording: Wording
    data: Data
    curriculum: Curriculum


def prepare(
    config: TrainConfig,
    folder: Path,
    source: str | None,
    display: Display,
    *,
    begun: bool = False,
    accept_changes: bool = False,
) -> Preparation:
    """Everything but the weights. Nothing is written.

    Args:
        source: where the model is; None for the small one, which need not be there yet.
        begun: whether the run began before, so that its folder says what its prompts are.
        accept_changes: as for `settle`.

    Raises:
        ValueError, TypeError, OSError, ImportError: what was given is no good.
    """
    tried = check_method(config)
    arguments = _arguments(config, folder)
    found = read(config, display)
    positions: int | None
    if source is None:
        small = bed(config.task)
        tokenizer, positions = build_tokenizer(small.vocabulary(), skipped=small.skipped), SmallModelConfig().max_length
    else:
        tokenizer, positions = load_tokenizer(source), _positions(source)
    wording = Wording(config, tokenizer, [example for prompts in found for example in prompts.examples])
    for note in wording.notes:
        display.note(note)
    most = room(config, arguments, positions, getattr(tried.context, "longest", None), display)
    data = settle(config, folder if begun else None, wording, found, most, display, accept_changes)
    curriculum = make(config.method, data.pool(words=tried.method.wants_words), **_options(config))
    if "scale_rewards" in config.trl and (curriculum.uneven or curriculum.advantage not in ("rloo", "grpo")):
        display.note(f"[trl] scale_rewards is not used: {config.method} makes its own advantages")
    spread = arguments.steps_per_generation // arguments.gradient_accumulation_steps
    if spread > 1:
        display.note(
            f"[trl] steps_per_generation: the {config.rollouts_per_step:,} rollouts of a plan train in {spread} steps"
        )
    return Preparation(arguments, tokenizer, wording, data, curriculum)


def check_method(config: TrainConfig) -> Curriculum:
    """Refuse bad method options before anything expensive is done. Gives the method on a pool that was made up."""
    return check_options(config.method, **_options(config))


def load_tokenizer(path: str) -> Any:
    with named(path):
        tokenizer = AutoTokenizer.from_pretrained(path, padding_side="left", trust_remote_code=False)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


@contextmanager
def named(path: str) -> Iterator[None]:
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


def on_cpu(config: TrainConfig) -> bool:
    return config.device == "cpu" or not torch.cuda.is_available()


def _positions(path: str) -> int | None:
    """How many tokens the model has positions for, if it says."""
    with named(path):
        model = AutoConfig.from_pretrained(path, trust_remote_code=False).get_text_config()
    most = getattr(model, "max_position_embeddings", None)
    return most if isinstance(most, int) and most > 0 else None


def room(
    config: TrainConfig, arguments: GRPOConfig, positions: int | None, longest: int | None, display: Display
) -> int | None:
    """Tokens of the longest prompt that can be sent; None where the model sets no limit."""
    if config.max_prompt_tokens is not None:
        return config.max_prompt_tokens
    served = arguments.vllm_max_model_length if arguments.use_vllm else None
    most = min((each for each in (positions, served) if each), default=None)
    if most is None:
        return None
    response = max(config.max_completion_length or 0, longest or 0)
    if response < most:
        return most - response
    what = f"max_completion_length={config.max_completion_length}"
    if response == longest:
        what = f"the longest context of {config.method}, {longest:,} tokens,"
    display.note(f"{what} leaves no room for a prompt: the model has {most:,} positions")
    return most - 1


def _options(config: TrainConfig) -> dict[str, Any]:
    return {
        "prompts_per_step": config.prompts_per_step,
        "rollouts_per_step": config.rollouts_per_step,
        "seed": config.seed,
        **config.method_options,
    }


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
        **({"use_cpu": True, "bf16": False, "gradient_checkpointing": False} if on_cpu(config) else {}),
        **config.trl,
    }
    for name in config.trl:
        if name not in (known := [each.name for each in fields(GRPOConfig)]):
            raise ValueError(f"[trl]: TRL's GRPOConfig has no field {name!r}{nearest(name, known)}")
    try:
        return GRPOConfig(**settings)
    except (ValueError, TypeError) as error:
        raise ValueError(f"TRL's GRPOConfig refuses the settings: {error}") from error
