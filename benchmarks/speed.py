"""How much faster the lean policy of comparisons is than TRL, on the same work and in one run.

    python benchmarks/speed.py [--steps 20] [--json benchmarks/results/speed.json]

Both train the warm-started small model with `uniform` on the same pool, 128 rollouts of at most 24 tokens a step, one
thread, no evaluation; steps of the two alternate in blocks, so that other work on the machine slows both alike.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig

from didact import PromptPool, make
from didact.adapters.trl import CurriculumGRPOTrainer
from didact.compare.policy import Policy
from didact.tasks import task
from didact.tasks.verifier import Verifier
from didact.training.warm_start import WarmStartConfig, warm_started_model

SIZES = {"prompts_per_step": 16, "rollouts_per_step": 128, "seed": 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    folder = warm_started_model(WarmStartConfig())
    examples = task("arithmetic").examples("train", num=1024, seed=0)
    pool = PromptPool([example.prompt_id for example in examples])
    with Verifier("arithmetic") as verifier, tempfile.TemporaryDirectory() as output:
        lean = LeanSteps(folder, examples, pool, verifier)
        clock = Clock(lean, given.steps)
        trainer = trl_trainer(folder, examples, pool, given.steps, output)
        trainer.add_callback(clock)
        trainer.train()
    slow, fast = statistics.median(clock.trl), statistics.median(clock.lean)
    result = {"steps": given.steps, "trl_seconds": slow, "lean_seconds": fast, "ratio": slow / fast}
    print(f"a step of 128 rollouts: TRL {slow * 1000:.0f} ms, lean {fast * 1000:.0f} ms, ratio {slow / fast:.1f}")
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


class LeanSteps:
    """The lean policy under a curriculum of its own, step by step."""

    def __init__(self, folder: Path, examples: list, pool: PromptPool, verifier: Verifier) -> None:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        self.policy = Policy(model, tokenizer, examples, [], verifier, pool=pool, seed=0, learning_rate=1e-3)
        self.curriculum = make("uniform", pool, **SIZES)
        self.done = 0

    def step(self) -> None:
        while plan := self.curriculum.plan(self.done):
            self.curriculum.observe(self.policy.roll_out(plan))
        admitted = self.curriculum.admitted(self.done)
        self.policy.update(admitted, self.curriculum.advantage, self.curriculum.loss_weighting)
        self.policy.keep([])
        self.done += 1


class Clock(TrainerCallback):
    """Times TRL's steps, and runs a lean step after each of them."""

    def __init__(self, lean: LeanSteps, steps: int) -> None:
        self.model, self.trl, self.lean, self.began = lean, [], [], 0.0

    def on_step_begin(self, args, state, control, **_) -> None:
        self.began = self.began or time.perf_counter()

    def on_step_end(self, args, state, control, **_) -> None:
        self.trl.append(time.perf_counter() - self.began)
        began = time.perf_counter()
        self.model.step()
        self.lean.append(time.perf_counter() - began)
        self.began = time.perf_counter()  # TRL generates for the next step before it says that it begins


def trl_trainer(folder: Path, examples: list, pool: PromptPool, steps: int, output: str) -> CurriculumGRPOTrainer:
    verify = task("arithmetic").verify

    def correct(completions: list[str], answer: list[str], **_) -> list[float]:
        return [verify(text, gold) for text, gold in zip(completions, answer, strict=True)]

    return CurriculumGRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        reward_funcs=[correct],
        args=GRPOConfig(
            output_dir=output, max_steps=steps, per_device_train_batch_size=128, num_generations=8,
            max_completion_length=24, learning_rate=1e-3, beta=0.0, loss_type="grpo", report_to="none", use_cpu=True,
            bf16=False, gradient_checkpointing=False, disable_tqdm=True, save_strategy="no", logging_steps=steps,
        ),
        train_dataset=Dataset.from_list(
            [{"prompt": each.prompt, "answer": each.answer, "prompt_id": each.prompt_id} for each in examples]
        ),
        processing_class=AutoTokenizer.from_pretrained(folder, padding_side="left"),
        curriculum=make("uniform", pool, **SIZES),
    )  # fmt: skip


if __name__ == "__main__":
    main()
