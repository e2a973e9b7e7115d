"""A TRL training script with a curriculum: what differs from plain TRL is one import and one argument.

    python examples/trl_script.py                                              # a tiny model, made here, on a toy task
    python examples/trl_script.py --method uniform --steps 60
    python examples/trl_script.py --model PATH_OR_NAME --dataset prompts.jsonl --max-completion-length 512

Without --model, a random model of some ten thousand parameters is made in the output folder, and the toy task asks it
for a number of words that are numbers: a random model sometimes does so, and can learn to. With --model, the prompts of
--dataset (parquet, jsonl, json or csv with a prompt and an answer column) are verified as mathematics.
"""

import argparse
from pathlib import Path

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig

from didact.adapters.trl import CurriculumGRPOTrainer
from didact.tasks import task
from didact.tasks.arithmetic import vocabulary
from didact.tasks.files import load_examples
from didact.training.small_model import SmallModelConfig, build_model, build_tokenizer


def tiny_model(folder: Path) -> Path:
    tokenizer = build_tokenizer(vocabulary())
    shape = SmallModelConfig(hidden_size=32, num_layers=1, num_heads=2, intermediate_size=64)
    build_model(shape, tokenizer, seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def toy_prompts() -> Dataset:
    """Ask for one to eight numbers: from nearly always passed to never, by a random model."""
    rows = [(row, wanted) for wanted in range(1, 9) for row in range(32)]
    return Dataset.from_list(
        [{"prompt": f"{wanted} {row} =", "answer": str(wanted), "prompt_id": f"{wanted}/{row}"} for row, wanted in rows]
    )


def enough_numbers(completions: list[str], answer: list[str], **_: object) -> list[float]:
    numbers = [sum(word.isdigit() for word in text.split()) for text in completions]
    return [float(found >= int(wanted)) for found, wanted in zip(numbers, answer, strict=True)]


def file_prompts(path: str) -> Dataset:
    examples, report = load_examples(path)
    print(f"{path}: {report}")
    rows = [{"prompt": each.prompt, "answer": each.answer, "prompt_id": each.prompt_id} for each in examples]
    return Dataset.from_list(rows)


def correct(completions: list[str], answer: list[str], **_: object) -> list[float | None]:
    """None says that the verifier failed: an error is not a wrong answer."""
    verdicts: list[float | None] = []
    for text, gold in zip(completions, answer, strict=True):
        try:
            verdicts.append(task("math").verify(text, gold))
        except Exception:
            verdicts.append(None)
    return verdicts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model")
    parser.add_argument("--dataset")
    parser.add_argument("--method", default="didact")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--prompts-per-step", type=int, default=8)
    parser.add_argument("--rollouts-per-prompt", type=int, default=8, help="on average, where groups are uneven")
    parser.add_argument("--max-completion-length", type=int, default=8)
    parser.add_argument("--output", type=Path, default=Path("runs/trl-script"))
    given = parser.parse_args()
    if (given.model is None) != (given.dataset is None):
        parser.error("--model and --dataset go together: the model made here only knows the toy task")
    model = given.model or str(tiny_model(given.output / "tiny-model"))
    on_cpu = not torch.cuda.is_available()
    tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    trainer = CurriculumGRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(model),
        args=GRPOConfig(
            output_dir=str(given.output),
            max_steps=given.steps,
            per_device_train_batch_size=given.prompts_per_step * given.rollouts_per_prompt,
            num_generations=given.rollouts_per_prompt,
            max_completion_length=given.max_completion_length,
            learning_rate=1e-2 if given.model is None else 1e-6,
            loss_type="grpo",
            logging_steps=5,
            save_steps=20,
            report_to="none",
            disable_tqdm=True,
            **({"use_cpu": True, "bf16": False, "gradient_checkpointing": False} if on_cpu else {}),
        ),
        train_dataset=file_prompts(given.dataset) if given.dataset else toy_prompts(),
        reward_funcs=[correct if given.dataset else enough_numbers],
        processing_class=tokenizer,
        curriculum=given.method,  # the one more argument
        # A model that knows no end of text is cut off every time: take its rewards as they are.
        curriculum_options=None if given.model else {"truncated": "observe"},
    )
    trainer.train()
    metrics = trainer.curriculum.metrics()
    print(
        f"{given.method}: pass rate {metrics['pass_rate']:.2f} at the last step, {metrics['rollouts']:,.0f} rollouts, "
        f"{metrics['share_with_signal_so_far']:.0%} of groups with signal"
    )


if __name__ == "__main__":
    main()
