"""A real model in a comparison: rolled out, verified and trained as by `didact train`, without TRL's bookkeeping.

Advantages, loss weights and the curriculum are the code that the TRL adapter uses; what is left here is a loss of one
line. `tests/compare/test_policy.py` trains both side by side on the same rollouts and holds the weights equal.

    loss = - sum over rollouts of  w_i A_i mean_t log pi(token_t),  w_i from `loss_weights`

One on-policy update a step, no clipping (the ratio is 1), no KL term. With several updates a step its rollouts are
dealt into mini-batches at random, and each token's ratio to the policy at the beginning of the step is clipped as by
PPO (arXiv:1707.06347, eq. 7). Rollouts with advantage 0 contribute nothing to this sum, so their forward pass is left
out. Rollouts that waited (SPEED's buffer) are trained as if they were fresh, as the methods' own code does.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, AutoTokenizer, get_constant_schedule_with_warmup

from didact.advantage import AdvantageKind, WeightMode, group_advantages, loss_weights
from didact.compare.config import Cell
from didact.compare.learner import CLIP, mini_batches
from didact.outcomes import GroupOutcome
from didact.plan import AdmittedGroup, Plan
from didact.prompts import PromptPool
from didact.seeding import generator
from didact.tasks import Example
from didact.tasks.verifier import Verifier
from didact.training.sampler import Response, Sampler

_ROWS = 512  # decoded at a time: beyond that the caches no longer fit the processor's


@contextmanager
def policy_of(
    cell: Cell,
    model: str,
    examples: Sequence[Example],
    held_out: Sequence[Example],
    *,
    seed: int,
    pool: PromptPool | None = None,
    num_probes: int = 8,
    measured: Sequence[float] | None = None,
) -> Iterator["Policy"]:
    """The model in a folder as the policy of a cell, with its verifier running."""
    with Verifier(cell.task, isolate=False) as verifier:  # the bed's own prompts: nothing to be protected from
        yield Policy(
            AutoModelForCausalLM.from_pretrained(
                model, dtype=torch.float32, trust_remote_code=False, use_safetensors=True
            ),
            AutoTokenizer.from_pretrained(model, trust_remote_code=False),
            examples,
            held_out,
            verifier,
            pool=pool or PromptPool([example.prompt_id for example in examples]),
            seed=seed,
            learning_rate=cell.learning_rate or 1e-3,
            warmup_steps=cell.warmup_steps,
            max_completion_length=cell.max_completion_length,
            num_probes=num_probes,
            measured=measured,
        )


@dataclass
class _Rollouts:
    """What came back for a group so far."""

    prompt: list[int]
    responses: list[Response] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)


_Row = tuple[_Rollouts, int, float]  # a rollout of a group, and its weight times its advantage


class Policy:
    """A `didact.compare.learner.Learner` over a small Llama model.

    Args:
        model, tokenizer: as `AutoModelForCausalLM` and `AutoTokenizer` give them; the model is trained in place.
        examples, held_out: prompts with answers; the pool is made of `examples`.
        verifier: scores responses.
        seed: of the rollouts' randomness.
        learning_rate, warmup_steps: of AdamW (betas 0.9 and 0.99, no weight decay, gradients clipped at norm 1).
        max_completion_length: response tokens at most, where the plan sets no context length.
        num_probes: rollouts a prompt for `pass_rates`.
        measured: what `pass_rates` says until the first update, where that is known already.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        examples: Sequence[Example],
        held_out: Sequence[Example],
        verifier: Verifier,
        *,
        pool: PromptPool,
        seed: int,
        learning_rate: float,
        warmup_steps: int = 10,
        max_completion_length: int = 24,
        num_probes: int = 8,
        measured: Sequence[float] | None = None,
    ) -> None:
        self.pool, self.seed = pool, seed
        self._model, self._tokenizer, self._verifier = model.train(), tokenizer, verifier
        self._limit, self._num_probes, self._probes = max_completion_length, num_probes, 0
        self._measured = None if measured is None else np.array(measured, dtype=np.float64)
        self._sampler = Sampler(model, tokenizer.eos_token_id)
        self._examples = {example.prompt_id: example for example in examples}
        self._held_out = sorted(held_out, key=lambda example: len(example.prompt))
        every = [*examples, *held_out]
        ids = tokenizer([example.prompt for example in every])["input_ids"]
        self._prompts = {example.prompt_id: row for example, row in zip(every, ids, strict=True)}
        self._groups: dict[int, _Rollouts] = {}
        self._scores: dict[tuple[str, tuple[int, ...]], float | None] = {}
        self._optimizer = torch.optim.AdamW(
            model.parameters(), lr=learning_rate, betas=(0.9, 0.99), weight_decay=0.0, foreach=True
        )
        self._schedule = get_constant_schedule_with_warmup(self._optimizer, warmup_steps)

    def roll_out(self, plan: Plan) -> list[GroupOutcome]:
        limit = plan.groups[0].context_length or self._limit
        examples = [self._examples[group.prompt_id] for group in plan]
        num = [group.num_rollouts for group in plan]
        uniforms = generator(self.seed, "rollouts", plan.step, plan.round).random((sum(num), limit), dtype=np.float32)
        responses, scores = self._respond(examples, num, uniforms, limit)
        rewards = [float("nan") if score is None else score for score in scores]
        prompts, start = [self._prompts[example.prompt_id] for example in examples], 0
        for group, prompt in zip(plan, prompts, strict=True):
            part = slice(start, start + group.num_rollouts)
            start = part.stop
            rollouts = self._groups.setdefault(group.group_id, _Rollouts(prompt))
            rollouts.responses += responses[part]
            rollouts.rewards += rewards[part]
        return plan.outcomes(
            rewards,
            num_tokens=[len(response) for response in responses],
            truncated=[response[-1] != self._tokenizer.eos_token_id for response in responses],
            prompt_tokens=[len(prompt) for prompt in prompts],
        )

    def update(
        self, groups: Sequence[AdmittedGroup], advantage: AdvantageKind, weighting: WeightMode, num_updates: int = 1
    ) -> int:
        rows = self._rows(groups, advantage, weighting)
        self._measured = None
        batches = mini_batches(len(rows), num_updates, generator(self.seed, "mini-batches", self._schedule.last_epoch))
        parts = [self._parts([(*rows[row][:2], rows[row][2] * len(batches)) for row in batch]) for batch in batches]
        before: list[list[torch.Tensor | None]] = [[None] * len(part) for part in parts]
        if len(batches) > 1:
            with torch.no_grad():
                before = [[self._log_probabilities(taught)[0] for taught in part] for part in parts]
        for part, old in zip(parts, before, strict=True):
            for taught, then in zip(part, old, strict=True):
                self._backward(taught, then)
            torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
            self._optimizer.step()
            self._schedule.step()
            self._optimizer.zero_grad(set_to_none=False)
        return len(batches)

    def gradient(
        self, groups: Sequence[AdmittedGroup], advantage: AdvantageKind, weighting: WeightMode
    ) -> torch.Tensor:
        """What one update on these groups would follow, unclipped, shape (parameters,); nothing is trained."""
        for part in self._parts(self._rows(groups, advantage, weighting)):
            self._backward(part, None)
        found = [torch.zeros_like(each) if each.grad is None else each.grad for each in self._model.parameters()]
        flat = torch.cat([each.flatten() for each in found])
        self._optimizer.zero_grad(set_to_none=False)
        return flat

    def _rows(self, groups: Sequence[AdmittedGroup], advantage: AdvantageKind, weighting: WeightMode) -> list[_Row]:
        rows = [(self._groups[group.group_id], index) for group in groups for index in group.rollouts]
        lengths = np.array([len(rollouts.responses[index]) for rollouts, index in rows])
        rewards = np.array([rollouts.rewards[index] for rollouts, index in rows])
        ids = np.repeat([group.group_id for group in groups], [len(group.rollouts) for group in groups])
        baselines = [group.baseline for group in groups for _ in group.rollouts]
        advantages = group_advantages(
            rewards, ids, advantage, lengths, singleton="zero", baselines=np.array(baselines, dtype=np.float64)
        )
        shares = [group.weight for group in groups for _ in group.rollouts]
        weights = advantages * loss_weights(ids, lengths, weighting, weights=shares)
        return [(rollouts, index, float(weight)) for (rollouts, index), weight in zip(rows, weights, strict=True)]

    def keep(self, group_ids: Sequence[int]) -> None:
        kept = set(group_ids)
        self._groups = {group_id: rollouts for group_id, rollouts in self._groups.items() if group_id in kept}

    def evaluate(self) -> float:
        """Greedy accuracy on the held-out prompts."""
        _, scores = self._respond(self._held_out, [1] * len(self._held_out), None, self._limit)
        return sum(score is not None and score >= 0.5 for score in scores) / len(scores)

    def pass_rates(self) -> NDArray[np.float64]:
        """Mean reward of `num_probes` rollouts of every prompt."""
        if self._measured is not None:
            return self._measured
        examples = [self._examples[prompt_id] for prompt_id in self.pool.ids]
        self._probes += 1
        rng = generator(self.seed, "probes", self._probes)
        uniforms = rng.random((len(examples) * self._num_probes, self._limit), dtype=np.float32)
        _, scores = self._respond(examples, [self._num_probes] * len(examples), uniforms, self._limit)
        rewards = np.array([np.nan if score is None else score for score in scores]).reshape(len(examples), -1)
        return np.asarray(np.nan_to_num(np.nanmean(rewards, axis=1)))

    def _respond(
        self, examples: Sequence[Example], num: Sequence[int], uniforms: NDArray[Any] | None, limit: int
    ) -> tuple[list[Response], list[float | None]]:
        responses: list[Response] = []
        start, row = 0, 0
        while start < len(examples):
            stop, rows = start, 0
            while stop < len(examples) and (stop == start or rows + num[stop] <= _ROWS):
                rows, stop = rows + num[stop], stop + 1
            prompts = [self._prompts[example.prompt_id] for example in examples[start:stop]]
            draws = None if uniforms is None else uniforms[row : row + rows]
            responses += self._sampler.sample(prompts, num[start:stop], draws, limit)
            start, row = stop, row + rows
        answers = [example.answer for example, count in zip(examples, num, strict=True) for _ in range(count)]
        keys = [(answer, tuple(response)) for answer, response in zip(answers, responses, strict=True)]
        fresh = list(dict.fromkeys(key for key in keys if key not in self._scores))
        if fresh:
            texts = self._tokenizer.batch_decode([list(tokens) for _, tokens in fresh], skip_special_tokens=True)
            for key, score in zip(fresh, self._verifier.score(texts, [answer for answer, _ in fresh]), strict=True):
                self._scores[key] = None if score.errored else score.value
        scores = [self._scores[key] for key in keys]
        if len(self._scores) > 200_000:
            self._scores.clear()
        return responses, scores

    def _parts(self, rows: Sequence[_Row]) -> list[list[_Row]]:
        """The rows that teach, in up to three parts of about one length each: less padding."""
        taught = [row for row in rows if row[2] != 0]
        taught.sort(key=lambda row: len(row[0].prompt) + len(row[0].responses[row[1]]))
        cuts = np.array_split(np.arange(len(taught)), min(3, max(len(taught), 1)))
        return [[taught[row] for row in cut] for cut in cuts if len(cut)]

    def _backward(self, rows: Sequence[_Row], before: torch.Tensor | None) -> None:
        """Add the gradient of some rows; `before`: what `_log_probabilities` gave under the policy of the rollouts."""
        now, weights = self._log_probabilities(rows)
        if before is None:
            (-now * weights).sum().backward()
            return
        ratio = (now - before).exp()
        torch.minimum(ratio * weights, ratio.clamp(*CLIP) * weights).sum().neg().backward()

    def _log_probabilities(self, rows: Sequence[_Row]) -> tuple[torch.Tensor, torch.Tensor]:
        """Of every response token of the rows, and its weight in the sum, shape (tokens,) each."""
        sequences = [rollouts.prompt + rollouts.responses[index] for rollouts, index, _ in rows]
        width = max(map(len, sequences))
        tokens = torch.tensor([row + [0] * (width - len(row)) for row in sequences])
        weights = torch.zeros(len(rows), width - 1)
        for row, (rollouts, index, weight) in enumerate(rows):
            length = len(rollouts.responses[index])
            first = len(rollouts.prompt) - 1
            weights[row, first : first + length] = weight / length
        # Padding stands on the right, where causal attention never looks: no mask is needed.
        hidden = self._model.model(tokens[:, :-1], use_cache=False).last_hidden_state
        answered = weights != 0
        logits = self._model.lm_head(hidden[answered])
        losses = torch.nn.functional.cross_entropy(logits, tokens[:, 1:][answered], reduction="none")
        return -losses, weights[answered]
