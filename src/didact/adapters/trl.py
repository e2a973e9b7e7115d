"""TRL: GRPO on stock TRL, with the curriculum deciding what is rolled out and what trains.

    from didact.adapters.trl import CurriculumGRPOTrainer
    trainer = CurriculumGRPOTrainer(..., train_dataset=dataset, curriculum="cures")     # all else as with GRPOTrainer

`CurriculumMixin` goes in front of any subclass of `GRPOTrainer`. TRL's loader reads one batch ahead, so it is fed placeholders;
the plan is made when completions are generated, from everything observed until then. Groups may have any sizes, a step may
take several rounds, the context length may change, and the curriculum's state lies in TRL's own checkpoints. With the
method `uniform`, advantages and loss are those of stock TRL.

Five methods of the trainer are extended, none is copied, and `SEAMS` is checked against the installed TRL when the trainer is
built. Not expressible, and refused by name: streaming datasets, images, several processes, saving inside a generation window.
"""

import inspect
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import IterableDataset
from packaging.specifiers import SpecifierSet
from torch.utils.data import Sampler
from trl import GRPOTrainer

from didact.advantage import group_advantages
from didact.curriculum import Curriculum
from didact.journal import RecordedCurriculum
from didact.methods import make
from didact.outcomes import GroupOutcome
from didact.plan import Plan
from didact.prompts import PromptPool
from didact.state import load_state, save_state

SUPPORTED = SpecifierSet(">=1.9,<1.17,!=1.15.0")
SEAMS = {
    "_get_train_sampler": ["self", "dataset"],
    "_calculate_rewards": ["self", "inputs", "prompts", "completions", "completion_ids_list"],
    "_generate_and_score_completions": ["self", "inputs"],
    "_save_checkpoint": ["self", "model", "trial"],
    "_load_optimizer_and_scheduler": ["self", "checkpoint"],
}
STATE_FILE = "curriculum.npz"
_MEAN_OVER_ROWS = ("grpo", "sapo", "luspo", "dr_grpo")
_MAX_EMPTY_STEPS = 10


class CurriculumMixin:
    """Put in front of a GRPO trainer: `class Trainer(CurriculumMixin, GRPOTrainer)`.

    Args (besides those of the trainer):
        curriculum: a method's name, or a curriculum made for this data set's prompt ids.
        curriculum_options: options for a method given by name. `prompts_per_step` and `rollouts_per_step` default to what
            TRL's configuration says: generation_batch_size rollouts, num_generations for each prompt.
        prompt_id: the column with unique prompt ids; where the data set has none, row numbers are the ids.
        verifier: name of the reward function whose value is the pass rate's evidence; None takes the weighted sum of all.

    Raises:
        ValueError, TypeError: what cannot be expressed, said before training starts.
    """

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
        self._rewards_seen: list[tuple[torch.Tensor, list[list[int]]]] = []
        self._own_context = self.max_completion_length
        self._refuse()
        dataset = self.train_dataset
        ids = dataset[prompt_id] if prompt_id in dataset.column_names else [str(row) for row in range(len(dataset))]
        self._row_of = {name: row for row, name in enumerate(ids)}
        if isinstance(curriculum, str):
            size = self.args.generation_batch_size
            defaults = {"prompts_per_step": size // self.num_generations, "rollouts_per_step": size}
            options = {**defaults, "seed": self.args.seed, **(curriculum_options or {})}
            curriculum = make(curriculum, PromptPool(ids), **options)
        elif curriculum_options:
            raise TypeError("curriculum_options go with a method's name; this curriculum is already built")
        unknown = [name for name in curriculum.pool.ids if name not in self._row_of]
        if unknown:
            raise ValueError(
                f"{len(unknown)} prompts of the curriculum are not in the data set's column {prompt_id!r}, "
                f"for example {unknown[0]!r}"
            )
        if verifier is not None and verifier not in self.reward_func_names:
            raise ValueError(f"verifier {verifier!r} is none of the reward functions {self.reward_func_names}")
        self._verifier = None if verifier is None else self.reward_func_names.index(verifier)
        longest = getattr(curriculum.context, "longest", None)
        limit = getattr(self.args, "vllm_max_model_length", None)
        if self.use_vllm and longest and limit and longest > limit:
            raise ValueError(f"the curriculum's context of {longest} tokens exceeds vllm_max_model_length={limit}")
        self.curriculum = curriculum

    # The five seams ---------------------------------------------------------------------------------------------

    def _get_train_sampler(self, dataset: Any = None) -> Sampler:
        """Placeholders: real rows are bound when completions are generated, so reading ahead cannot make a plan stale."""
        return _Placeholders(len(super()._get_train_sampler(dataset)))

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> torch.Tensor:
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        if self.model.training:
            self._rewards_seen.append((rewards, completion_ids_list))
        return rewards

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if not self.model.training:
            self._set_context(self._own_context)
            return super()._generate_and_score_completions(inputs)
        for _ in range(_MAX_EMPTY_STEPS):
            step = self.curriculum.step + 1
            batch = _Batch()
            while plan := self.curriculum.plan(step):
                self._roll_out(plan, batch)
            if batch.outputs:
                return self._training_batch(step, batch)
        raise RuntimeError(f"method {self.curriculum.name!r} planned nothing for {_MAX_EMPTY_STEPS} steps in a row")

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        if self.args.should_save:
            folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
            window = self._step % (self.args.steps_per_generation * self.num_iterations)
            save_state(folder / STATE_FILE, {"window": window, "curriculum": self.curriculum.state_dict()})

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

    # One step ---------------------------------------------------------------------------------------------------

    def _roll_out(self, plan: Plan, batch: "_Batch") -> None:
        """Generate and score a plan in calls of at most generation_batch_size rows, and tell the curriculum."""
        self._set_context(plan.groups[0].context_length or self._own_context)
        rows = [group for group in plan for _ in range(group.num_rollouts)]
        examples = {group.prompt_id: self.train_dataset[self._row_of[group.prompt_id]] for group in plan}
        rewards, lengths, cut = [], [], []
        size = self.args.generation_batch_size
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            self._rewards_seen.clear()
            # With groups of one TRL neither reshapes rewards into equal groups nor, in vLLM server mode, samples every
            # num_generations-th prompt that many times; the advantages are computed below.
            num_generations, self.num_generations = self.num_generations, 1
            try:
                output = super()._generate_and_score_completions([dict(examples[group.prompt_id]) for group in part])
            finally:
                self.num_generations = num_generations
            output.pop("num_items_in_batch")
            ((per_function, ids),) = self._rewards_seen
            rewards.append(per_function.double().cpu().numpy())
            lengths += [len(row) for row in ids]
            cut += [bool(row) and row[-1] not in self._stop_ids for row in ids]
            batch.outputs.append(output)
        per_function = np.concatenate(rewards)
        total = self._weighted_sum(per_function)
        evidence = total if self._verifier is None else per_function[:, self._verifier]
        starts = np.cumsum([0] + [group.num_rollouts for group in plan])
        self.curriculum.observe(
            GroupOutcome(
                group.group_id,
                group.prompt_id,
                evidence[start:end],
                lengths[start:end],
                cut[start:end],
                policy_version=plan.step,
            )
            for group, start, end in zip(plan, starts[:-1], starts[1:], strict=True)
        )
        batch.group_ids += [group.group_id for group in rows]
        batch.rewards.append(per_function)

    def _training_batch(self, step: int, batch: "_Batch") -> dict[str, Any]:
        """The rows that train, with advantages that are right for their groups, as TRL expects them."""
        wanted = {(group.group_id, rollout) for group in self.curriculum.admitted(step) for rollout in group.rollouts}
        seen: dict[int, int] = {}
        keep = np.zeros(len(batch.group_ids), dtype=bool)
        for row, group_id in enumerate(batch.group_ids):
            keep[row] = (group_id, seen.get(group_id, 0)) in wanted
            seen[group_id] = seen.get(group_id, 0) + 1
        group_ids = np.array(batch.group_ids)
        per_function = np.concatenate(batch.rewards)
        advantages = np.zeros(len(keep))
        advantages[keep] = self._advantages(per_function[keep], group_ids[keep])
        self._log_step(batch, per_function, advantages)
        if not keep.any():
            keep[: self.args.steps_per_generation] = True  # an update of zero: TRL must get some rows
        chosen = torch.from_numpy(np.flatnonzero(keep))
        extra = -len(chosen) % self.args.steps_per_generation
        chosen = torch.cat([chosen, chosen[:1].expand(extra)])
        device = self.accelerator.device
        output = {name: self._gather(batch.outputs, name)[chosen.to(device)] for name in batch.outputs[0]}
        scale = len(chosen) / (len(chosen) - extra) if self.loss_type in _MEAN_OVER_ROWS else 1.0
        if self.loss_type == "dr_grpo":
            scale *= self.max_completion_length / self._own_context  # its divisor follows the context length
        output["advantages"] = torch.tensor(advantages[chosen] * scale, dtype=torch.float32, device=device)
        if extra:  # TRL drops a remainder of rows in silence: fill up with rows that weigh nothing
            output["completion_mask"][-extra:] = 0
            output["advantages"][-extra:] = 0
        mask = output["completion_mask"] * output.get("tool_mask", 1)
        output["num_items_in_batch"] = mask.sum()
        return output

    def _advantages(self, per_function: np.ndarray, group_ids: np.ndarray) -> np.ndarray:
        if len(group_ids) == 0:
            return np.zeros(0)
        if self.curriculum.uneven or self.curriculum.advantage not in ("rloo", "grpo"):
            lengths = None
            advantages = group_advantages(
                self._weighted_sum(per_function), group_ids, self.curriculum.advantage, lengths, singleton="zero"
            )
        else:
            advantages = self._stock_advantages(per_function, group_ids)
        if self.curriculum.loss_weighting == "prompt":
            # TRL's losses sum over rows or tokens; mean(n) / n_i makes that a mean over prompts. Equal groups: 1.
            _, index, size = np.unique(group_ids, return_inverse=True, return_counts=True)
            advantages = advantages * (size.mean() / size[index])
        return advantages

    def _stock_advantages(self, per_function: np.ndarray, group_ids: np.ndarray) -> np.ndarray:
        """What TRL computes from its own configuration, for groups of any size."""
        if self.multi_objective_aggregation == "normalize_then_sum":
            normalized = [group_advantages(r, group_ids, "grpo", epsilon=1e-4, singleton="zero") for r in per_function.T]
            total = self._weighted_sum(np.where(np.isnan(per_function), np.nan, np.stack(normalized, axis=1)))
            return np.nan_to_num((total - np.nanmean(total)) / (_std(total) + 1e-4))
        total = self._weighted_sum(per_function)
        kind = "grpo" if self.scale_rewards == "group" else "dr_grpo"
        advantages = group_advantages(total, group_ids, kind, epsilon=1e-4, singleton="zero")
        return advantages / (_std(total) + 1e-4) if self.scale_rewards == "batch" else advantages

    def _weighted_sum(self, per_function: np.ndarray) -> np.ndarray:
        total = np.nansum(per_function * self.reward_weights.double().cpu().numpy(), axis=1)
        total[np.isnan(per_function).all(axis=1)] = np.nan  # unscorable: no evidence, no advantage
        return total

    def _gather(self, outputs: Sequence[dict[str, Any]], name: str) -> torch.Tensor:
        """One column of all calls, padded to one width: prompts on the left, completions on the right."""
        columns = [output[name] for output in outputs]
        width = max(column.shape[-1] for column in columns)
        if columns[0].dim() < 2 or all(column.shape[-1] == width for column in columns):
            return torch.cat(columns)
        value = self._tokenizer.pad_token_id if name.endswith("_ids") else 1 if name == "tool_mask" else 0
        left = name.startswith("prompt_")
        padded = [
            torch.nn.functional.pad(column, (width - column.shape[-1], 0) if left else (0, width - column.shape[-1]), value=value)
            for column in columns
        ]
        return torch.cat(padded)

    def _log_step(self, batch: "_Batch", per_function: np.ndarray, advantages: np.ndarray) -> None:
        metrics, calls = self._metrics["train"], len(batch.outputs)
        total, ids = self._weighted_sum(per_function), np.array(batch.group_ids)
        silent = group_advantages(total, ids, "dr_grpo", singleton="zero")
        _, index = np.unique(ids, return_inverse=True)
        still = np.bincount(index, weights=np.abs(silent))[index] < 1e-6
        metrics["frac_reward_zero_std"][-calls:] = [float(still.mean())]
        logged = self._logs["advantages"]  # bounded: rows beyond its length have already fallen out of all columns
        for _ in range(min(len(advantages), len(logged))):
            logged.pop()
        logged.extend(advantages.tolist())
        for name, value in self.curriculum.metrics().items():
            metrics[f"curriculum/{name}"] = [value]

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
        stop = self.model.generation_config.eos_token_id if self.model.generation_config else None
        listed = stop if isinstance(stop, list | tuple) else [stop]
        return {self._tokenizer.eos_token_id, self._tokenizer.pad_token_id, *listed} - {None}

    def _refuse(self) -> None:
        """Say now what would otherwise go wrong in silence."""
        if self.train_dataset is None or isinstance(self.train_dataset, IterableDataset):
            raise ValueError("a curriculum needs a train_dataset that can be indexed, not a streaming one")
        if self.accelerator.num_processes > 1:
            raise ValueError(f"{self.accelerator.num_processes} processes: this adapter plans for one process")
        if images := {"image", "images"} & set(self.train_dataset.column_names):
            raise ValueError(f"data set column {images.pop()!r}: prompts with images cannot be regrouped")
        window = self.args.steps_per_generation * self.num_iterations
        save_steps, micro = self.args.save_steps, self.args.gradient_accumulation_steps
        if self.args.save_strategy == "steps" and (save_steps < 1 or int(save_steps) * micro % window):
            need = window // np.gcd(window, micro)
            raise ValueError(
                f"save_steps={save_steps} would save inside a generation window, from which a run cannot be resumed "
                f"exactly; make it a multiple of {need}"
            )


class CurriculumGRPOTrainer(CurriculumMixin, GRPOTrainer):
    """TRL's GRPOTrainer with a curriculum. See `CurriculumMixin` for the arguments it adds."""


class _Placeholders(Sampler):
    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[int]:
        return iter([0] * self._length)


class _Batch:
    """What a step has rolled out so far, row by row."""

    def __init__(self) -> None:
        self.outputs: list[dict[str, Any]] = []
        self.group_ids: list[int] = []
        self.rewards: list[np.ndarray] = []


def _std(values: np.ndarray) -> float:
    return float(np.nanstd(values, ddof=1)) if np.isfinite(values).sum() > 1 else 0.0


def _check_seams(trainer: type) -> None:
    installed = version("trl")
    for name, expected in SEAMS.items():
        method = getattr(super(CurriculumMixin, trainer), name, None)
        found = None if method is None else list(inspect.signature(inspect.unwrap(method)).parameters)
        if found != expected:
            raise TypeError(
                f"TRL {installed}: {name} has the parameters {found}, this adapter was written for {expected}; "
                f"install a supported version (trl{SUPPORTED})"
            )
    if not SUPPORTED.contains(installed, prereleases=True):
        raise TypeError(f"TRL {installed} is outside the tested range; install trl{SUPPORTED}")
