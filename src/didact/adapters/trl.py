"""TRL: GRPO on stock TRL, with the curriculum deciding what is rolled out and what trains.

    from didact.adapters.trl import CurriculumGRPOTrainer
    trainer = CurriculumGRPOTrainer(..., train_dataset=dataset, curriculum="cures")     # all else as with GRPOTrainer

`CurriculumMixin` goes in front of any subclass of `GRPOTrainer`. TRL's loader reads one batch ahead, so it is fed
placeholders; the plan is made when completions are generated, from everything observed until then. Groups may have any
sizes, a step may take several rounds, the context length may change, and the curriculum's state lies in TRL's own
checkpoints. With the method `uniform`, advantages and loss are those of stock TRL.

Five methods of the trainer are extended, none is copied, and `SEAMS` is checked against the installed TRL when a
trainer is built. Refused by name: streaming data sets, images, several processes, saving inside a generation window.
"""

import inspect
import logging
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import IterableDataset
from packaging.specifiers import SpecifierSet
from trl import GRPOTrainer

from didact.advantage import AdvantageKind, group_advantages, loss_weights
from didact.curriculum import Curriculum
from didact.journal import RecordedCurriculum
from didact.methods import make
from didact.outcomes import GroupOutcome
from didact.plan import Plan
from didact.prompts import PromptPool
from didact.state import load_state, save_state

logger = logging.getLogger(__name__)

SUPPORTED = SpecifierSet(">=1.9,<1.17,!=1.15.0")
SEAMS = {
    "_get_train_sampler": ["self", "dataset"],
    "_calculate_rewards": ["self", "inputs", "prompts", "completions", "completion_ids_list"],
    "_generate_and_score_completions": ["self", "inputs"],
    "_save_checkpoint": ["self", "model", "trial"],
    "_load_optimizer_and_scheduler": ["self", "checkpoint"],
}
STATE_FILE = "curriculum.npz"


_Host: Any = object  # the trainer behind the mixin; for the type checker, anything


class CurriculumMixin(_Host):
    """Put in front of a GRPO trainer: `class Trainer(CurriculumMixin, GRPOTrainer)`.

    Args (besides those of the trainer):
        curriculum: a method's name, or a curriculum made for this data set's prompt ids.
        curriculum_options: options for a method given by name. `prompts_per_step` and `rollouts_per_step` default to
            what TRL's configuration says: generation_batch_size rollouts, num_generations for each prompt.
        prompt_id: the column with unique prompt ids; where the data set has none, row numbers are the ids. Columns
            called source, difficulty, prompt_tokens and features describe the prompts to methods that ask for them.
        verifier: name of the reward function whose value is the pass rate's evidence; None takes the weighted sum of
            all.

    Raises:
        ValueError, TypeError: what cannot be expressed, said before training starts.
    """

    num_generations: int

    def __init__(
        self,
        *args: Any,
        curriculum: str | Curriculum | RecordedCurriculum,
        curriculum_options: dict[str, Any] | None = None,
        prompt_id: str = "prompt_id",
        verifier: str | None = None,
        **kwargs: Any,
    ) -> None:
        _check_seams(type(self))
        super().__init__(*args, **kwargs)
        self._scored: list[tuple[torch.Tensor, list[list[int]]]] = []
        self._own_context = self.max_completion_length
        self._held = _Batch()  # rollouts of groups that wait for a later step
        self._warned: set[int] = set()  # context lengths that were said to be too short
        data, size = self.train_dataset, self.args.generation_batch_size
        _refuse(self, data)
        ids = data[prompt_id] if prompt_id in data.column_names else [str(row) for row in range(len(data))]
        if isinstance(curriculum, str):
            usual = {"prompts_per_step": size // self.num_generations, "rollouts_per_step": size}
            options = {**usual, "seed": self.args.seed, **(curriculum_options or {})}
            known = [
                name for name in ("source", "difficulty", "prompt_tokens", "features") if name in data.column_names
            ]
            pool = PromptPool(ids, **{name: data[name] for name in known})
            curriculum = make(curriculum, pool, **options)
        elif curriculum_options:
            raise TypeError("curriculum_options go with a method's name; this curriculum is already built")
        self._row_of = {name: row for row, name in enumerate(ids)}
        unknown = [name for name in curriculum.pool.ids if name not in self._row_of]
        if unknown:
            raise ValueError(
                f"{len(unknown)} prompts of the curriculum, for example {unknown[0]!r}, are not in the data set"
            )
        if verifier is not None and verifier not in self.reward_func_names:
            raise ValueError(f"verifier {verifier!r} is none of the reward functions {self.reward_func_names}")
        self._verifier = None if verifier is None else self.reward_func_names.index(verifier)
        longest, room = getattr(curriculum.context, "longest", None), getattr(self.args, "vllm_max_model_length", None)
        if self.use_vllm and longest and room and longest > room:
            raise ValueError(f"the curriculum's context of {longest} tokens exceeds vllm_max_model_length={room}")
        self.curriculum: Any = curriculum

    # The five seams ---------------------------------------------------------------------------------------------

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        """Placeholders: rows are bound when completions are generated, so reading ahead cannot make a plan stale."""
        window = self.args.generation_batch_size * self.args.steps_per_generation * self.num_iterations
        return [0] * max(len(super()._get_train_sampler(dataset)), window)  # a pool may be smaller than a batch

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> torch.Tensor:
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        self._scored.append((rewards, completion_ids_list))
        return rewards

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if not self.model.training:
            self._set_context(self._own_context)
            return dict(super()._generate_and_score_completions(inputs))
        for _ in range(10):  # a method may skip a step, as CurES as released does
            step, batch = self.curriculum.step + 1, self._held
            while plan := self.curriculum.plan(step):
                self._roll_out(plan, batch)
            if batch.outputs:
                output = self._training_batch(step, batch)
                self._held = batch.only(self.curriculum.held(), self._tokenizer.pad_token_id)
                return output
        raise RuntimeError(f"method {self.curriculum.name!r} planned nothing for 10 steps in a row")

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        if self.args.should_save:
            folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
            window = self._step % (self.args.steps_per_generation * self.num_iterations)
            state = {"window": window, "curriculum": self.curriculum.state_dict(), "held": self._held.state_dict()}
            save_state(folder / STATE_FILE, state)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        state = load_state(Path(checkpoint) / STATE_FILE)
        if state["window"]:
            raise ValueError(
                f"{checkpoint} was saved inside a generation window (micro-step {state['window']}): TRL would generate "
                "anew and the run would differ; resume from a checkpoint at a window's end"
            )
        self.curriculum.load_state_dict(state["curriculum"])
        self._held = _Batch.from_state(state["held"], self.accelerator.device)

    # One step ---------------------------------------------------------------------------------------------------

    def _roll_out(self, plan: Plan, batch: "_Batch") -> None:
        """Generate and score a plan in calls of at most generation_batch_size rows, and tell the curriculum."""
        self._set_context(plan.groups[0].context_length or self._own_context)
        examples = [self.train_dataset[self._row_of[group.prompt_id]] for group in plan]
        rows = [dict(example) for example, group in zip(examples, plan, strict=True) for _ in range(group.num_rollouts)]
        size, self._scored = self.args.generation_batch_size, []
        asked: list[int] = []  # prompt tokens of each row
        # With groups of one TRL neither reshapes rewards into equal groups nor, in vLLM server mode, samples every
        # num_generations-th prompt that many times; the advantages are computed below.
        num_generations, self.num_generations = self.num_generations, 1
        try:
            for start in range(0, len(rows), size):
                output = super()._generate_and_score_completions(rows[start : start + size])
                asked += output["prompt_mask"].sum(1).tolist()
                batch.outputs.append(output)
        finally:
            self.num_generations = num_generations
        rewards = np.concatenate([reward.double().cpu().numpy() for reward, _ in self._scored])
        ids = [row for _, listed in self._scored for row in listed]
        lengths, cut = [len(row) for row in ids], [bool(row) and row[-1] not in self._stop_ids for row in ids]
        if sum(cut) > len(cut) / 2 and self.max_completion_length not in self._warned:
            self._warned.add(self.max_completion_length)
            logger.warning(
                "%d of %d rollouts were cut off at %d tokens: they say little; consider a longer context",
                sum(cut), len(cut), self.max_completion_length,
            )  # fmt: skip
        evidence = self._weighted_sum(rewards) if self._verifier is None else rewards[:, self._verifier]
        outcomes, start = [], 0
        for group in plan:
            part = slice(start, start + group.num_rollouts)
            start = part.stop
            outcomes.append(
                GroupOutcome(
                    group.group_id,
                    group.prompt_id,
                    evidence[part].tolist(),
                    lengths[part],
                    cut[part],
                    policy_version=plan.step,
                    part=plan.part,
                    prompt_tokens=asked[part.start],
                )
            )
            batch.rows.setdefault(group.group_id, []).extend(range(batch.size + part.start, batch.size + part.stop))
            if group.reason == "pilot" and getattr(self.curriculum, "wants_gradients", False):
                self._tell_gradients(group.prompt_id, batch, part, evidence[part])
        self.curriculum.observe(outcomes)
        batch.rewards.append(rewards)
        batch.lengths += lengths

    def _training_batch(self, step: int, batch: "_Batch") -> dict[str, Any]:
        """The rows that train, with advantages that are right for their groups, as TRL expects them."""
        admitted = self.curriculum.admitted(step)
        rows = [batch.rows[group.group_id][rollout] for group in admitted for rollout in group.rollouts]
        ids = np.repeat([group.group_id for group in admitted], [len(group.rollouts) for group in admitted])
        baselines = np.array([group.baseline for group in admitted for _ in group.rollouts], dtype=np.float64)
        rewards = np.concatenate(batch.rewards)
        advantages = np.zeros(len(rewards))
        if rows:
            advantages[rows] = self._advantages(rewards[rows], ids, np.array(batch.lengths)[rows], baselines)
        self._log_step(batch, rewards, advantages)
        spare = -len(rows) % self.args.steps_per_generation if rows else self.args.steps_per_generation
        kept = len(rows)
        rows += [0] * spare  # TRL drops a remainder of rows: fill up with rows that weigh nothing
        scale = len(rows) / max(kept, 1) if self.loss_type in ("grpo", "sapo", "luspo", "dr_grpo") else 1.0
        if self.loss_type == "dr_grpo":
            scale *= self.max_completion_length / self._own_context  # its divisor follows the context length
        chosen = torch.tensor(rows, device=self.accelerator.device)
        names = [name for name in batch.outputs[0] if name not in ("num_items_in_batch", "advantages")]
        output = {name: batch.column(name, self._tokenizer.pad_token_id)[chosen] for name in names}
        output["advantages"] = torch.tensor(advantages[rows] * scale, dtype=torch.float32, device=chosen.device)
        output["advantages"][kept:], output["completion_mask"][kept:] = 0, 0
        output["num_items_in_batch"] = (output["completion_mask"] * output.get("tool_mask", 1)).sum()
        return output

    def _advantages(
        self, rewards: np.ndarray, ids: np.ndarray, lengths: np.ndarray, baselines: np.ndarray
    ) -> np.ndarray:
        """By the curriculum's own estimator where it makes uneven groups, else by TRL's configuration."""
        total, kind = self._weighted_sum(rewards), self.curriculum.advantage
        if self.curriculum.uneven or kind not in ("rloo", "grpo") or not np.isnan(baselines).all():
            advantages = group_advantages(total, ids, kind, lengths, singleton="zero", baselines=baselines)
        elif self.multi_objective_aggregation == "normalize_then_sum":
            each = [group_advantages(column, ids, "grpo", epsilon=1e-4, singleton="zero") for column in rewards.T]
            total = self._weighted_sum(np.where(np.isnan(rewards), np.nan, np.stack(each, axis=1)))
            advantages = np.nan_to_num((total - np.nanmean(total)) / (_std(total) + 1e-4))
        else:
            stock: AdvantageKind = "grpo" if self.scale_rewards == "group" else "dr_grpo"
            advantages = group_advantages(total, ids, stock, epsilon=1e-4, singleton="zero")
            advantages /= _std(total) + 1e-4 if self.scale_rewards == "batch" else 1.0
        if self.curriculum.loss_weighting == "prompt":
            # TRL's losses sum over rows or tokens; mean(n) / n_i makes that a mean over prompts. Equal groups: 1.
            advantages = advantages * loss_weights(ids) * len(ids)
        return advantages

    def _weighted_sum(self, rewards: np.ndarray) -> np.ndarray:
        total = np.nansum(rewards * self.reward_weights.double().cpu().numpy(), axis=1)
        return np.where(np.isnan(rewards).all(axis=1), np.nan, total)  # unscorable: no evidence, no advantage

    def _tell_gradients(self, prompt_id: str, batch: "_Batch", part: slice, evidence: np.ndarray) -> None:
        from didact.training.gradients import gradient_gram

        named = ("prompt_ids", "completion_ids", "prompt_mask", "completion_mask")
        start = batch.size + part.start
        take = torch.arange(start, start + part.stop - part.start, device=self.accelerator.device)
        prompt, completion, mask, answered = (batch.column(name, self._tokenizer.pad_token_id)[take] for name in named)
        attention, none = torch.cat([mask, answered], 1), torch.zeros_like(mask)
        model = self.accelerator.unwrap_model(self.model)
        gram = gradient_gram(model, torch.cat([prompt, completion], 1), attention, torch.cat([none, answered], 1))
        self.curriculum.observe_gradients(prompt_id, gram, self.curriculum.belief.passes(np.nan_to_num(evidence)) > 0.5)

    def _log_step(self, batch: "_Batch", rewards: np.ndarray, advantages: np.ndarray) -> None:
        metrics, total = self._metrics["train"], self._weighted_sum(rewards)
        silent = [len(rows) for rows in batch.rows.values() if not _std(total[rows]) > 1e-8]
        # TRL logged each call of this step; what had waited from an earlier step is in its logs already.
        if calls := len(batch.outputs) - (batch.waited > 0):
            metrics["frac_reward_zero_std"][-calls:] = [sum(silent) / len(total)]
        fresh = advantages[batch.waited :].tolist()
        logged = self._logs["advantages"]  # bounded: rows beyond its length have already fallen out of all columns
        for _ in range(min(len(fresh), len(logged))):
            logged.pop()
        logged.extend(fresh)
        metrics.update({f"curriculum/{name}": [value] for name, value in self.curriculum.metrics().items()})

    def _set_context(self, length: int) -> None:
        """TRL keeps the completion limit in several places."""
        self.max_completion_length = length
        if self.use_vllm:
            self.vllm_generation.max_completion_length = length
            return
        self.generation_config.max_new_tokens = length
        if "max_new_tokens" in getattr(self, "generation_kwargs", {}):
            self.generation_kwargs["max_new_tokens"] = length

    @property
    def _stop_ids(self) -> set[int]:
        stop = getattr(self.generation_config, "eos_token_id", None) if not self.use_vllm else None
        return {self._tokenizer.eos_token_id, self._tokenizer.pad_token_id, *np.atleast_1d(stop if stop else [])}


class CurriculumGRPOTrainer(CurriculumMixin, GRPOTrainer):
    """TRL's GRPOTrainer with a curriculum. See `CurriculumMixin` for the arguments it adds."""


class _Batch:
    """What a step has rolled out so far, row by row."""

    def __init__(self) -> None:
        self.outputs: list[dict[str, Any]] = []  # what TRL returned, call by call
        self.rows: dict[int, list[int]] = {}  # rows of each group, in the order observed
        self.rewards: list[np.ndarray] = []  # (rows, reward functions)
        self.lengths: list[int] = []
        self.waited = 0  # so many rows, the first, are from earlier steps

    @property
    def size(self) -> int:
        return len(self.lengths)

    def only(self, group_ids: list[int], pad: int) -> "_Batch":
        """The rows of some groups, for a later step."""
        kept, chosen = _Batch(), [row for group_id in group_ids for row in self.rows[group_id]]
        if not chosen:
            return kept
        tensors = [name for name, column in self.outputs[0].items() if torch.is_tensor(column) and column.dim()]
        kept.outputs = [{name: self.column(name, pad)[chosen] for name in tensors}]
        kept.rewards = [np.concatenate(self.rewards)[chosen]]
        kept.lengths = [self.lengths[row] for row in chosen]
        for group_id in group_ids:
            start = sum(map(len, kept.rows.values()))
            kept.rows[group_id] = list(range(start, start + len(self.rows[group_id])))
        kept.waited = len(chosen)
        return kept

    def state_dict(self) -> dict[str, Any]:
        """The rows that wait, for a checkpoint."""
        columns = self.outputs[0] if self.outputs else {}
        return {
            "columns": {name: (column.float() if column.dtype == torch.bfloat16 else column).cpu().numpy()
                        for name, column in columns.items()},
            "kinds": {name: str(column.dtype).removeprefix("torch.") for name, column in columns.items()},
            "rewards": np.concatenate(self.rewards) if self.rewards else np.zeros((0, 0)),
            "lengths": self.lengths,
            "groups": [[group_id, len(rows)] for group_id, rows in self.rows.items()],
        }  # fmt: skip

    @classmethod
    def from_state(cls, state: dict[str, Any], device: torch.device) -> "_Batch":
        batch = cls()
        if not state["lengths"]:
            return batch
        batch.outputs = [
            {
                name: torch.from_numpy(np.array(column)).to(device, getattr(torch, state["kinds"][name]))
                for name, column in state["columns"].items()
            }
        ]
        batch.rewards, batch.lengths = [np.array(state["rewards"])], [int(length) for length in state["lengths"]]
        for group_id, num in state["groups"]:
            start = sum(map(len, batch.rows.values()))
            batch.rows[int(group_id)] = list(range(start, start + num))
        batch.waited = len(batch.lengths)
        return batch

    def column(self, name: str, pad: int) -> torch.Tensor:
        """One column of all calls, padded to one width: prompts on the left, the rest on the right."""
        parts = [output[name] for output in self.outputs]
        if parts[0].dim() == 2:
            width = max(part.shape[1] for part in parts)
            value = pad if name.endswith("_ids") else float(name == "tool_mask")
            for index, part in enumerate(parts):
                room = width - part.shape[1]
                sides = (room, 0) if name.startswith("prompt_") else (0, room)
                parts[index] = torch.nn.functional.pad(part, sides, value=value)
        return torch.cat(parts)


def _std(values: np.ndarray) -> float:
    return float(np.nanstd(values, ddof=1)) if np.isfinite(values).sum() > 1 else 0.0


def _refuse(trainer: Any, data: Any) -> None:
    """Say now what would otherwise go wrong in silence."""
    if data is None or isinstance(data, IterableDataset):
        raise ValueError("a curriculum needs a train_dataset that can be indexed, not a streaming one")
    if trainer.accelerator.num_processes > 1:
        raise ValueError(f"{trainer.accelerator.num_processes} processes: this adapter plans for one process")
    if images := {"image", "images"} & set(data.column_names):
        raise ValueError(f"data set column {images.pop()!r}: prompts with images cannot be regrouped")
    args, window = trainer.args, trainer.args.steps_per_generation * trainer.num_iterations
    if args.save_strategy == "steps" and (
        args.save_steps < 1 or args.save_steps * args.gradient_accumulation_steps % window
    ):
        raise ValueError(
            f"save_steps={args.save_steps} would save inside a generation window, from which no run can be resumed "
            f"exactly; make it a multiple of {window // np.gcd(window, args.gradient_accumulation_steps)}"
        )


def _check_seams(trainer: type) -> None:
    installed = version("trl")
    if not SUPPORTED.contains(installed, prereleases=True):
        raise TypeError(f"TRL {installed} is outside the tested range; install 'trl{SUPPORTED}'")
    for name, expected in SEAMS.items():
        method = getattr(super(CurriculumMixin, trainer), name, None)
        found = None if method is None else list(inspect.signature(inspect.unwrap(method)).parameters)
        if found != expected:
            raise TypeError(f"TRL {installed}: {name} has parameters {found}, not {expected}; install 'trl{SUPPORTED}'")
