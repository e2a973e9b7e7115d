"""Greedy accuracy on held-out prompts, and the verifier behind it and behind the rewards."""

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

import torch

from didact.adapters.trl import CurriculumGRPOTrainer
from didact.journal import Journal
from didact.report.intervals import wilson
from didact.tasks import Example
from didact.tasks.verifier import Score, Verifier
from didact.training.config import TrainConfig
from didact.training.data import Data
from didact.training.display import Display
from didact.training.wording import Wording

#: Steps' worth of rollouts in a row whose every verdict is an error before a run stops; all steps of a shorter run.
ERROR_STEPS: Final = 3


class VerifierFailedError(RuntimeError):
    """The verifier judged nothing; it has to be mended before the run can go on."""


class Evaluator:
    """Greedy accuracy on held-out prompts, written into the journal. It never touches the curriculum."""

    def __init__(
        self,
        trainer: CurriculumGRPOTrainer,
        data: Data,
        wording: Wording,
        scorer: "Scorer",
        config: TrainConfig,
        journal: Journal,
        display: Display,
    ) -> None:
        self._trainer, self._wording, self._scorer, self._config = trainer, wording, scorer, config
        self._journal, self._display = journal, display
        self._examples = sorted(data.held_out, key=lambda example: len(example.prompt))  # less padding
        self._on_training = data.on_training
        self.seconds = 0.0

    def run(self, step: int) -> None:
        """Evaluate, unless there is nothing to evaluate on.

        Raises:
            RuntimeError: the verifier could not judge a single response.
        """
        if not self._examples:
            return
        began = time.monotonic()
        passed: list[int | None] = []
        size = 128
        for start in range(0, len(self._examples), size):
            self._display.stage("evaluating", start, len(self._examples))
            passed += self._pass(self._examples[start : start + size])
        self._display.stage("evaluating", len(self._examples), len(self._examples))
        spent = self._trainer.curriculum.metrics()
        record = {
            "kind": "evaluation",
            "step": step,
            "rollouts": int(spent["rollouts"]),
            "tokens": int(spent["response_tokens"]),
            **accuracy(passed, [example.source for example in self._examples]),
            **({"on": "training prompts"} if self._on_training else {}),
        }
        self.seconds += time.monotonic() - began
        if record["errors"] == len(passed):
            raise VerifierFailedError(
                f"step {step}: the verifier {self._config.task!r} failed on all {len(passed):,} responses of the "
                f"evaluation: {self._scorer.latest_error}; mend it first"
            )
        self._journal.append(record)
        self._display.note(f"step {step}: {described(record)}")

    def _pass(self, examples: Sequence[Example]) -> list[int | None]:
        trainer, config, chat = self._trainer, self._config, self._wording.chat
        tokenizer = trainer.processing_class
        texts = [self._wording.text(example) for example in examples]
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
        return [None if score.value is None else int(score.value >= 0.5) for score in scores]


def described(record: dict[str, Any]) -> str:
    """An evaluation in words."""
    judged = record["num_prompts"] - record["errors"]
    what = "accuracy on training prompts" if record.get("on") else "held-out accuracy"
    text = f"{what} {record['pass_rate']:.3f} [{record['low']:.3f}, {record['high']:.3f}] on {judged} prompts"
    if record["errors"]:
        text += f"; {record['errors']} more could not be judged"
    if sources := record.get("by_source"):
        shares = [f"{name} {passed / max(num, 1):.3f} of {num}" for name, (passed, num) in sources.items()]
        text += f"; by source: {', '.join(shares[:8])}{', ...' if len(shares) > 8 else ''}"
    return text


def accuracy(passed: Sequence[int | None], sources: Sequence[str]) -> dict[str, Any]:
    """What an evaluation record says of these verdicts; None is an error and counts neither as right nor as wrong."""
    judged = [each for each in passed if each is not None]
    low, high = (float(bound) for bound in wilson(sum(judged), max(len(judged), 1)))
    by_source: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for each, source in zip(passed, sources, strict=True):
        right, num = by_source[source]
        by_source[source] = [right + (each or 0), num + (each is not None)]
    return {
        "num_prompts": len(passed),
        "errors": len(passed) - len(judged),
        "passed": list(passed),
        "pass_rate": sum(judged) / max(len(judged), 1),
        "low": low,
        "high": high,
        **({"by_source": dict(sorted(by_source.items()))} if len(by_source) > 1 else {}),
    }


def verifier_of(config: TrainConfig, data: Data) -> Verifier:
    """The verifier of a run, tried on some gold answers.

    Raises:
        ValueError: there is none of that name, or it cannot be used.
    """
    verifier = Verifier(config.task, timeout=config.verifier_timeout, **config.verifier_options)
    if why := verifier.check([example.answer for example in data.training]):
        verifier.close()
        raise ValueError(f"the verifier {config.task!r} cannot be used: {why}")
    return verifier


class Scorer:
    """The verifier, which says so when it first fails: errors are no evidence, but they are not hidden either."""

    def __init__(self, verifier: Verifier, config: TrainConfig, display: Display) -> None:
        self._verifier, self._display = verifier, display
        self._name = config.task
        self._steps = min(ERROR_STEPS, config.steps)
        self._limit = self._steps * config.rollouts_per_step
        self._in_a_row = 0
        self.latest_error = ""

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[Score]:
        """A verdict on each response."""
        scores = self._verifier.score(responses, answers)
        errors = [score.detail for score in scores if score.errored]
        if errors and not self.latest_error:
            self._display.note(f"the verifier failed on {len(errors)} of {len(scores)} responses: {errors[0]}")
        self.latest_error = errors[-1] if errors else self.latest_error
        return scores

    def score_rollouts(self, responses: Sequence[str], answers: Sequence[str]) -> list[Score]:
        """The same for rollouts, which are paid for.

        Raises:
            VerifierFailedError: the verdicts on the latest `ERROR_STEPS` steps' worth of rollouts are all errors.
        """
        scores = self.score(responses, answers)
        for score in scores:
            self._in_a_row = self._in_a_row + 1 if score.errored else 0
        if self._in_a_row >= self._limit:
            raise VerifierFailedError(
                f"the verifier {self._name!r} failed on each of the last {self._in_a_row:,} rollouts, {self._steps} "
                f"steps' worth: {self.latest_error}; nothing can be learnt from them, mend it first"
            )
        return scores
