"""Greedy accuracy on held-out prompts, and the verifier behind it and behind the rewards."""

import time
from collections.abc import Sequence
from typing import Any

import torch

from didact.adapters.trl import CurriculumGRPOTrainer
from didact.journal import Journal
from didact.report.intervals import wilson
from didact.tasks import Example, task
from didact.tasks.verifier import Score, Verifier
from didact.training.config import TrainConfig
from didact.training.display import Display


class Evaluator:
    """Greedy accuracy on held-out prompts, written into the journal. It never touches the curriculum."""

    def __init__(
        self,
        trainer: CurriculumGRPOTrainer,
        examples: Sequence[Example],
        scorer: "Scorer",
        config: TrainConfig,
        journal: Journal,
        display: Display,
    ) -> None:
        self._trainer, self._scorer, self._config = trainer, scorer, config
        self._journal, self._display = journal, display
        self._examples = sorted(examples, key=lambda example: len(example.prompt))  # less padding
        self.seconds = 0.0

    def run(self, step: int) -> None:
        began = time.monotonic()
        passed: list[int] = []
        size = 128
        for start in range(0, len(self._examples), size):
            self._display.stage("evaluating", start, len(self._examples))
            passed += self._pass(self._examples[start : start + size])
        self._display.stage("evaluating", len(self._examples), len(self._examples))
        low, high = (float(bound) for bound in wilson(sum(passed), len(passed)))
        spent = self._trainer.curriculum.metrics()
        record = {
            "kind": "evaluation",
            "step": step,
            "rollouts": int(spent["rollouts"]),
            "tokens": int(spent["response_tokens"]),
            "num_prompts": len(passed),
            "passed": passed,
            "pass_rate": sum(passed) / len(passed),
            "low": low,
            "high": high,
        }
        self._journal.append(record)
        self.seconds += time.monotonic() - began
        share = record["pass_rate"]
        self._display.note(
            f"step {step}: held-out accuracy {share:.3f} [{low:.3f}, {high:.3f}] on {len(passed)} prompts"
        )

    def _pass(self, examples: Sequence[Example]) -> list[int]:
        trainer, config = self._trainer, self._config
        tokenizer = trainer.processing_class
        chat = uses_chat(config, tokenizer)
        texts = [prompt_of(example, config, chat) for example in examples]
        if chat:
            texts = [tokenizer.apply_chat_template(text, tokenize=False, add_generation_prompt=True) for text in texts]
        model = trainer.accelerator.unwrap_model(trainer.model)
        inputs = tokenizer(texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=not chat)
        inputs = {name: inputs[name].to(model.device) for name in ("input_ids", "attention_mask")}
        training = model.training
        model.eval()
        try:
            with torch.no_grad():
                output = model.generate(
                    **inputs,
                    do_sample=False,
                    max_new_tokens=config.max_completion_length,
                    pad_token_id=tokenizer.pad_token_id,
                )
        finally:
            model.train(training)
        responses = tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        scores = self._scorer.score(responses, [example.answer for example in examples])
        return [int(score.value is not None and score.value >= 0.5) for score in scores]


class Scorer:
    """The verifier, which says so when it first fails: errors are no evidence, but they are not hidden either."""

    def __init__(self, verifier: Verifier, display: Display) -> None:
        self._verifier, self._display = verifier, display
        self._told = False

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[Score]:
        scores = self._verifier.score(responses, answers)
        errors = [score.detail for score in scores if score.errored]
        if errors and not self._told:
            self._told = True
            self._display.note(f"the verifier failed on {len(errors)} of {len(scores)} responses: {errors[0]}")
        return scores


def uses_chat(config: TrainConfig, tokenizer: Any) -> bool:
    """Whether prompts are wrapped in the chat template.

    Raises:
        ValueError: asked for, and the tokenizer has none.
    """
    if config.chat and tokenizer.chat_template is None:
        raise ValueError(f"chat=true, but {config.model} has no chat template; leave it out to send plain prompts")
    if config.chat is None:
        return tokenizer.chat_template is not None and config.task != "arithmetic"
    return config.chat


def prompt_of(example: Example, config: TrainConfig, chat: bool) -> Any:
    """A prompt as TRL takes it: with the task's instruction, as text or as a conversation."""
    instruction = "" if config.own_verifier else task(config.task).instruction
    text = f"{example.prompt}\n{instruction}" if instruction else example.prompt
    return [{"role": "user", "content": text}] if chat else text
