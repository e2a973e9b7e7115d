"""`didact train --check`: all that a run would find out before it spends anything, and what it would do then."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from didact.training.config import TrainConfig
from didact.training.display import Display, Silent
from didact.training.evaluation import verifier_of
from didact.training.preparation import prepare


@dataclass(frozen=True)
class Checked:
    """What a run would do; nothing of it was done.

    Attributes:
        counts: what was found among the training and the held-out prompts, by name.
        pool: prompts to train on.
        held_out: prompts to evaluate on; 0 for a run without evaluation.
        longest_prompt: tokens.
        steps: optimiser steps.
        rollouts_to_train: rollouts that train. Methods that pilot, screen or redraw make more; the journal counts all.
        response_tokens: no more than so many, of the rollouts that train.
        passes: how often each prompt would come up, if all came up equally often.
        evaluations: how many there are, each a greedy response to every held-out prompt.
    """

    counts: dict[str, dict[str, int]]
    pool: int
    held_out: int
    longest_prompt: int
    steps: int
    rollouts_to_train: int
    response_tokens: int
    passes: float
    evaluations: int

    def lines(self) -> list[str]:
        """The same for a person to read."""
        evaluation = f"{self.evaluations:,} times on {self.held_out:,} prompts, greedily" if self.held_out else "none"
        return [
            f"pool        {self.pool:,} prompts, the longest of {self.longest_prompt:,} tokens",
            f"training    {self.steps:,} steps, {self.rollouts_to_train:,} rollouts that train (methods that pilot or "
            f"redraw make more), {self.passes:.1f} passes",
            f"tokens      at most {self.response_tokens:,} of responses, for these rollouts",
            f"evaluation  {evaluation}",
        ]


def check_run(config: TrainConfig, display: Display | None = None) -> Checked:
    """Read model configuration, tokenizer and prompts, try the verifier, and say what the run would do.

    No weights are loaded, nothing is rolled out and nothing is left behind.

    Raises:
        ValueError, TypeError, OSError, ImportError: the run could not start.
    """
    with tempfile.TemporaryDirectory() as folder:
        ready = prepare(config, Path(folder), config.model, display or Silent())
    data = ready.data
    with verifier_of(config, data):
        pass
    longest = getattr(ready.curriculum.context, "longest", None) or config.max_completion_length or 0
    window = ready.arguments.steps_per_generation * ready.arguments.num_iterations
    plans = -(-config.steps * ready.arguments.gradient_accumulation_steps // window)
    rollouts = plans * config.rollouts_per_step
    due = {0, *range(config.eval_every, config.steps, config.eval_every), config.steps}
    return Checked(
        counts=data.counts,
        pool=len(data.training),
        held_out=len(data.held_out),
        longest_prompt=max(data.tokens),
        steps=config.steps,
        rollouts_to_train=rollouts,
        response_tokens=rollouts * longest,
        passes=plans * config.prompts_per_step / len(data.training),
        evaluations=len(due) if data.held_out else 0,
    )
