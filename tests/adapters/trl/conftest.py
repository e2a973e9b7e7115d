"""A tiny real model, a real data set and real TRL configurations for the adapter's tests."""

from pathlib import Path

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

from didact.tasks import task

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def model_path(tiny_model: Path) -> str:
    return str(tiny_model)


@pytest.fixture(scope="session")
def rows() -> list[dict[str, str]]:
    examples = task("arithmetic").examples("train", num=48)
    return [{"prompt": each.prompt, "answer": each.answer, "prompt_id": each.prompt_id} for each in examples]


def digits(completions: list[str], **_: object) -> list[float]:
    """A dense reward that a random model sometimes earns: whether the first half of the answer has more digits."""
    return [float(sum(token.isdigit() for token in text.split()[:4]) >= 2) for text in completions]


def length(completions: list[str], **_: object) -> list[float]:
    return [float(len(text.split()) % 3 == 0) for text in completions]


def arguments(output: Path, **settings: object) -> object:
    from trl import GRPOConfig

    usual: dict[str, object] = {
        "output_dir": str(output),
        "max_steps": 3,
        "per_device_train_batch_size": 16,
        "gradient_accumulation_steps": 2,
        "num_generations": 8,
        "max_completion_length": 8,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "bf16": False,
        "use_cpu": True,
        "gradient_checkpointing": False,
        "disable_tqdm": True,
        "temperature": 1.0,
        "shuffle_dataset": False,
        "seed": 0,
    }
    return GRPOConfig(**{**usual, **settings})


def build(cls: type, model_path: str, rows: list[dict[str, str]], output: Path, **more: object):
    """A trainer of class `cls`; what is no argument of a trainer goes into GRPOConfig.

    With a curriculum the first of several reward functions is the verifier, unless another one is named.
    """
    kept = ("curriculum", "curriculum_options", "verifier", "prompt_id", "peft_config", "eval_dataset", "reward_funcs")
    own = {name: more.pop(name) for name in kept if name in more}
    own.setdefault("reward_funcs", [digits, length])
    if len(own["reward_funcs"]) > 1 and "curriculum" in own:
        own.setdefault("verifier", own["reward_funcs"][0].__name__)
    from transformers import PrinterCallback

    trainer = cls(
        model=AutoModelForCausalLM.from_pretrained(model_path),
        args=arguments(output, **more),
        train_dataset=own.pop("train_dataset", None) or Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(model_path),
        **own,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def weights(trainer: object) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])
