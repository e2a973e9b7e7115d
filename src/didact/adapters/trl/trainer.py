"""The trainer: what of TRL's is extended, and how a step is rolled out and trained. See `didact.adapters.trl`."""

import logging
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from trl import GRPOTrainer

from didact.adapters.fingerprint import difference, fingerprint, num_repeated, telling
from didact.adapters.scale import check_scale
from didact.adapters.trl.checkpoints import STATE_FILE, begin, finish, newest
from didact.adapters.trl.checks import check_estimator, check_seams, evidence_of, ids_of, refuse
from didact.adapters.trl.ends import cut_off
from didact.adapters.trl.losses import advantages, loss_scale, spread, weighted_sum
from didact.adapters.trl.processes import Elsewhere, gradient_grams, on_main
from didact.adapters.trl.rows import Rows
from didact.curriculum import Curriculum
from didact.features import WordFeatures, text_of
from didact.manifest import fault
from didact.methods import find, make
from didact.plan import Plan
from didact.pool_columns import COLUMNS
from didact.prompts import PromptPool
from didact.state import load_state, save_state

logger = logging.getLogger(__name__)

T = TypeVar("T")
_Host: Any = object  # the trainer behind the mixin; for the type checker, anything


class CurriculumMixin(_Host):
    """Put in front of a GRPO trainer: `class Trainer(CurriculumMixin, GRPOTrainer)`.

    Args (besides those of the trainer):
        curriculum: a method's name, a curriculum made for this data set's prompt ids, or a function that makes one of
            the pool; the function is called on the main process only.
        curriculum_options: options for a method given by name. `prompts_per_step` and `rollouts_per_step` default to
            what TRL's configuration says: generation_batch_size rollouts, num_generations for each prompt.
        prompt_id: the column with unique prompt ids, text or whole numbers. None: `prompt_id` where the data set has
            it, else row numbers. Columns called source, difficulty, prompt_tokens, features and pass_rate describe the
            prompts, as `PromptPool` says, to methods that ask for them.
        verifier: name of the reward function that says whether a response is right: its value is the pass rate's
            evidence. None: the one function that counts in the reward, or the weighted sum of several where
            `pass_above` says from where on that is a pass.
        accept_changed_data: resume from a checkpoint although texts or answers have changed since; the ids must be the
            same. For a correction, or where the caller looks after it.

    Raises:
        ValueError, TypeError: what cannot be expressed, said before training starts.
    """

    num_generations: int
    _scored: tuple[torch.Tensor, list[list[int]]]  # rewards of all processes, completions of this one

    def __init__(
        self,
        *args: Any,
        curriculum: str | Curriculum | Callable[[PromptPool], Curriculum],
        curriculum_options: dict[str, Any] | None = None,
        prompt_id: str | None = None,
        verifier: str | None = None,
        accept_changed_data: bool = False,
        **kwargs: Any,
    ) -> None:
        check_seams(type(self), CurriculumMixin)
        super().__init__(*args, **kwargs)
        self._own_context = self.max_completion_length
        self._held = self._rows()  # rollouts of groups that wait for a later step
        self._accept_changed_data = accept_changed_data
        self._warned: set[int] = set()  # context lengths that were said to be too short
        refuse(self, self.train_dataset, curriculum)
        self.curriculum: Any = Elsewhere()
        self._on_main(lambda: self._install(curriculum, curriculum_options, prompt_id, verifier))

    def _install(
        self, curriculum: Any, curriculum_options: dict[str, Any] | None, prompt_id: str | None, verifier: str | None
    ) -> None:
        """Build the curriculum, or check the one given; on the main process only."""
        data, size = self.train_dataset, self.args.generation_batch_size
        ids = ids_of(data, prompt_id)
        if curriculum_options and not isinstance(curriculum, str):
            raise TypeError("curriculum_options go with a method's name; this curriculum is already built")
        if isinstance(curriculum, str) or callable(curriculum):
            columns: dict[str, Any] = {name: list(data[name]) for name in COLUMNS if name in data.column_names}
            if isinstance(curriculum, str) and find(curriculum).wants_words and "features" not in columns:
                texts = list(map(text_of, data["prompt"]))
                columns["features"] = WordFeatures(texts).of(texts)
            pool = PromptPool(ids, **columns)
            if callable(curriculum):
                curriculum = curriculum(pool)
            else:
                usual = {"prompts_per_step": size // self.num_generations, "rollouts_per_step": size}
                options = {**usual, "seed": self.args.seed, **(curriculum_options or {})}
                curriculum = make(curriculum, pool, **options)
        if not isinstance(curriculum, Curriculum):
            raise TypeError(f"a curriculum is a method's name or a Curriculum, got {type(curriculum).__name__}")
        self._row_of = {name: row for row, name in enumerate(ids)}
        unknown = [name for name in curriculum.pool.ids if name not in self._row_of]
        if unknown:
            raise ValueError(
                f"{len(unknown)} prompts of the curriculum, for example {unknown[0]!r}, are not in the data set"
            )
        if len(self._row_of) < len(ids):
            twice = next(name for row, name in enumerate(ids) if self._row_of[name] != row)
            raise ValueError(f"duplicate prompt id {twice!r} in the data set: an id must name one row")
        longest, room = getattr(curriculum.context, "longest", None), getattr(self.args, "vllm_max_model_length", None)
        if self.use_vllm and longest and room and longest > room:
            raise ValueError(f"the curriculum's context of {longest} tokens exceeds vllm_max_model_length={room}")
        if curriculum.wants_gradients and (self.is_fsdp_enabled or self.is_deepspeed_enabled):
            raise ValueError(
                f"method {curriculum.name!r} with gradient_norms=True needs gradients of single rollouts, and FSDP and "
                "DeepSpeed hold the model in pieces: leave gradient_norms out, or train with plain data parallelism"
            )
        check_estimator(self, curriculum)
        self._verifier = evidence_of(self, curriculum, verifier)
        self._marks: dict[int, dict[str, Any]] = {}
        self.curriculum = curriculum
        num = len(curriculum.pool)
        if repeated := num_repeated(self._rows_in_order(num).get("prompt", ())):
            logger.warning(
                "%d of %d prompts repeat the text of another: each has a belief of its own, which its own rollouts "
                "alone inform; keep one row of each text", repeated, num,
            )  # fmt: skip

    def train(self, resume_from_checkpoint: str | Path | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """As the trainer's own, from a checkpoint that is whole.

        Raises:
            ValueError: the checkpoint named is not whole (the message says why), or with True, none is.
        """
        if resume_from_checkpoint:
            resume_from_checkpoint = self._on_main(lambda: self._whole(resume_from_checkpoint))
        return super().train(resume_from_checkpoint, *args, **kwargs)

    def _whole(self, asked: Any) -> str:
        if asked is not True:
            if why := fault(Path(asked)):
                raise ValueError(
                    f"no run can go on from {asked}: {why}; resume_from_checkpoint=True takes the newest whole one"
                )
            return str(asked)
        folder = Path(self.args.output_dir)
        found = newest(folder, lambda checkpoint, why: logger.warning("%s is passed over: %s", checkpoint, why))
        if found is None:
            raise ValueError(f"no checkpoint in {folder} is whole; leave resume_from_checkpoint out to start anew")
        return str(found)

    # The five seams ---------------------------------------------------------------------------------------------

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        """Placeholders: rows are bound when completions are generated, so reading ahead cannot make a plan stale."""
        window = self.args.generation_batch_size * self.args.steps_per_generation * self.num_iterations
        return [0] * max(len(super()._get_train_sampler(dataset)), window)  # a pool may be smaller than a batch

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> torch.Tensor:
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        self._scored = (rewards, completion_ids_list)
        return rewards

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if not self.model.training:
            self._set_context(self._own_context)
            return dict(super()._generate_and_score_completions(inputs))
        for _ in range(10):  # a method may skip a step, as CurES as released does
            batch, (plan, rows, wants_gradients) = self._held, self._plan(new_step=True)
            while plan:
                self._roll_out(plan, rows, wants_gradients, batch)
                plan, rows, wants_gradients = self._plan(new_step=False)
            if batch.outputs:
                output = self._training_batch(plan.step, batch)
                self._held = batch.only(self._on_main(lambda: self.curriculum.held()))
                return output
        name = self._on_main(lambda: self.curriculum.name)
        raise RuntimeError(f"method {name!r} planned nothing for 10 steps in a row")

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
        before = self._on_main(lambda: begin(folder))
        # TRL would drop the oldest checkpoint before this one is whole.
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self.args.save_total_limit = limit
        window = self._step % (self.args.steps_per_generation * self.num_iterations)
        state = {"window": window, "generation_batch_size": self.args.generation_batch_size}
        held = self._held.state_dict()
        self.accelerator.wait_for_everyone()  # each process writes a part of its own

        def seal() -> None:
            data = self._mark(len(self.curriculum.pool))
            save_state(
                folder / STATE_FILE,
                {**state, "curriculum": self.curriculum.state_dict(), "held": held, "data": data},
            )
            finish(folder, before, limit, self.state.best_model_checkpoint)

        self._on_main(seal)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            held = self._on_main(lambda: self._restore(checkpoint))
            self._held = self._rows()
            self._held.load_state_dict(held)

    def _restore(self, checkpoint: str) -> dict[str, Any]:
        """Restore the curriculum; gives the rows that wait. On the main process only."""
        state = load_state(Path(checkpoint) / STATE_FILE)
        if state["window"]:
            raise ValueError(
                f"{checkpoint} was saved inside a generation window (micro-step {state['window']}): TRL would generate "
                "anew and the run would differ; resume from a checkpoint at a window's end"
            )
        size, saved = self.args.generation_batch_size, state.get("generation_batch_size")
        if saved not in (None, size):
            raise ValueError(
                f"{checkpoint} was saved with generation_batch_size={saved}, this run has {size}: choose "
                "per_device_train_batch_size and steps_per_generation (by default gradient_accumulation_steps) so that "
                f"their product is {saved} / {self.accelerator.num_processes}, the number of processes"
            )
        data = None if self._accept_changed_data else state.get("data")  # older checkpoints do not know
        if data and (what := difference(data, self._mark(min(data["rows"], len(self.curriculum.pool))))):
            raise ValueError(
                f"{checkpoint} was saved with another data set: {what}, and what is believed is of those. "
                "Load the data as they were then (the same files, the same seed), start anew, or give "
                "accept_changed_data=True if it is a correction"
            )
        self.curriculum.load_state_dict(state["curriculum"])
        held: dict[str, Any] = state["held"]
        return held

    # One step ---------------------------------------------------------------------------------------------------

    def _plan(self, *, new_step: bool) -> tuple[Plan, list[int], bool]:
        """The next round, the data set's row for each of its groups, and whether pilots should report gradients."""

        def ask() -> tuple[Plan, list[int], bool]:
            plan = self.curriculum.plan(self.curriculum.step + new_step)
            rows = [self._row_of[group.prompt_id] for group in plan]
            return plan, rows, self.curriculum.wants_gradients

        return self._on_main(ask)

    def _roll_out(self, plan: Plan, rows: list[int], wants_gradients: bool, batch: Rows) -> None:
        """Generate and score a plan in calls of at most generation_batch_size rows, and tell the curriculum."""
        self._set_context(plan.groups[0].context_length or self._own_context)
        wanted = [row for row, group in zip(rows, plan, strict=True) for _ in range(group.num_rollouts)]
        size = self.args.generation_batch_size
        made: list[int] = []  # the batch's rows of this plan
        facts: list[list[int]] = []  # of each rollout of the plan: response tokens, cut off or not, prompt tokens
        # With groups of one TRL neither reshapes rewards into equal groups nor, in vLLM server mode, samples every
        # num_generations-th prompt that many times; the advantages are computed below.
        num_generations, self.num_generations = self.num_generations, 1
        try:
            for start in range(0, len(wanted), size):
                call = wanted[start : start + size]
                made += range(batch.size, batch.size + len(call))
                facts += self._call(call, batch)[: len(call)]
        finally:
            self.num_generations = num_generations
        starts = np.cumsum([0] + [group.num_rollouts for group in plan])
        parts = [slice(*ends) for ends in pairwise(starts)]
        for group, part in zip(plan, parts, strict=True):
            batch.groups.setdefault(group.group_id, []).extend(made[part])
        pilots = [index for index, group in enumerate(plan) if wants_gradients and group.reason == "pilot"]
        grams = gradient_grams(self.accelerator, self.model, [made[parts[index]] for index in pilots], batch)

        def tell() -> None:
            lengths, cut, asked = zip(*facts, strict=True)
            self._warn_of_cuts(sum(cut), len(cut))
            rewards, only = batch.rewards[made], self._verifier
            evidence = weighted_sum(rewards, self.reward_weights) if only is None else rewards[:, only]
            check_scale(evidence, self.curriculum, "pass_above=NUMBER, in curriculum_options or where it is made")
            outcomes = plan.outcomes(
                evidence, num_tokens=lengths, truncated=cut, prompt_tokens=[asked[part.start] for part in parts]
            )
            for index, gram in zip(pilots, grams, strict=True):
                passed = self.curriculum.belief.passes(np.nan_to_num(evidence[parts[index]])) > 0.5
                self.curriculum.observe_gradients(plan.groups[index].prompt_id, gram, passed)
            self.curriculum.observe(outcomes)

        self._on_main(tell)

    def _call(self, wanted: list[int], batch: Rows) -> list[list[int]]:
        """Let TRL generate and score rows of the data set, an equal share on every process, into `batch`."""
        share = -(-len(wanted) // self.accelerator.num_processes)
        start = share * self.accelerator.process_index
        # Every process generates equally many rows, or collectives would wait for ever; the last ones are in no group.
        own = [wanted[min(row, len(wanted) - 1)] for row in range(start, start + share)]
        examples = {row: self.train_dataset[row] for row in set(own)}
        output = super()._generate_and_score_completions([dict(examples[row]) for row in own])
        rewards, ids = self._scored
        if [row[: len(made)] for row, made in zip(output["completion_ids"].tolist(), ids, strict=False)] != ids:
            raise TypeError(
                f"{type(self).__name__} returns other rows than it scored, as a replay buffer does: a curriculum must "
                "know which rollouts train"
            )
        asked = output["prompt_mask"].sum(1).tolist()
        cut = cut_off(self, ids, asked)
        facts = [[len(row), *rest] for row, *rest in zip(ids, cut, asked, strict=True)]
        every: list[list[int]] = self.accelerator.gather(torch.tensor(facts, device=self.accelerator.device)).tolist()
        batch.add(output, rewards.double().cpu().numpy(), [length for length, _, _ in every])
        return every

    def _training_batch(self, step: int, batch: Rows) -> dict[str, Any]:
        """The rows that train, with advantages that are right for their groups, as TRL expects them."""
        chosen, found, metrics = self._on_main(lambda: self._decide(step, batch))
        self._log_step(batch, found, metrics)
        # Every process trains equally many rows, a multiple of its micro-batches (TRL drops a remainder): filled up
        # with rows that weigh nothing.
        num, micro = self.accelerator.num_processes, self.args.steps_per_generation
        share = micro * max(-(-len(chosen) // (num * micro)), 1)
        parts = np.array_split(np.array(chosen, dtype=np.int64), num)
        rows = np.stack([np.pad(part, (0, share - len(part))) for part in parts])
        scale = loss_scale(self, rows.size, len(chosen), self._own_context)
        output: dict[str, Any] = batch.take(rows.ravel(), np.repeat(np.arange(num), share))
        own, kept = rows[self.accelerator.process_index], len(parts[self.accelerator.process_index])
        device = self.accelerator.device
        output["advantages"] = torch.tensor(found[own] * scale, dtype=torch.float32, device=device)
        output["advantages"][kept:], output["completion_mask"][kept:] = 0, 0
        items = (output["completion_mask"] * output.get("tool_mask", 1)).sum()
        output["num_items_in_batch"] = self.accelerator.gather(items).sum()
        return output

    def _decide(self, step: int, batch: Rows) -> tuple[list[int], np.ndarray, dict[str, float]]:
        """The rows that train, the advantages of all rows, and the curriculum's figures; on the main process only."""
        admitted = self.curriculum.admitted(step)
        rows = [batch.groups[group.group_id][rollout] for group in admitted for rollout in group.rollouts]
        found = np.zeros(batch.size)
        if rows:
            found[rows] = advantages(self, admitted, batch.rewards[rows], np.array(batch.lengths)[rows])
        return rows, found, self.curriculum.metrics()

    def _log_step(self, batch: Rows, advantages: np.ndarray, figures: dict[str, float]) -> None:
        metrics, total = self._metrics["train"], weighted_sum(batch.rewards, self.reward_weights)
        silent = [len(rows) for rows in batch.groups.values() if not spread(total[rows]) > 1e-8]
        # TRL logged each call of this step; what had waited from an earlier step is in its logs already.
        if calls := len(batch.outputs) - (batch.waited > 0):
            metrics["frac_reward_zero_std"][-calls:] = [sum(silent) / sum(map(len, batch.groups.values()))]
        fresh = advantages[batch.waited :].tolist()
        logged = self._logs["advantages"]  # bounded: rows beyond its length have already fallen out of all columns
        for _ in range(min(len(fresh), len(logged))):
            logged.pop()
        logged.extend(fresh)
        metrics.update({f"curriculum/{name}": [value] for name, value in figures.items()})

    def _warn_of_cuts(self, cut: int, made: int) -> None:
        if cut > made / 2 and self.max_completion_length not in self._warned:
            self._warned.add(self.max_completion_length)
            logger.warning(
                "%d of %d rollouts were cut off at %d tokens: they say little; consider a longer context",
                cut, made, self.max_completion_length,
            )  # fmt: skip

    def _on_main(self, work: Callable[[], T]) -> T:
        return on_main(self.accelerator, work)

    def _rows(self) -> Rows:
        return Rows(self.accelerator, self._tokenizer.pad_token_id)

    def _set_context(self, length: int) -> None:
        """TRL keeps the completion limit in several places."""
        self.max_completion_length = length
        if self.use_vllm:
            self.vllm_generation.max_completion_length = length
            return
        self.generation_config.max_new_tokens = length
        if "max_new_tokens" in getattr(self, "generation_kwargs", {}):
            self.generation_kwargs["max_new_tokens"] = length

    def _mark(self, size: int) -> dict[str, Any]:
        """What the first `size` prompts of the curriculum say; on the main process only."""
        if size not in self._marks:
            self._marks = {size: fingerprint(self._rows_in_order(size), size)}
        return self._marks[size]

    def _rows_in_order(self, size: int) -> dict[str, Any]:
        """The columns that make prompts what they are, in the order of the curriculum's first `size` prompts."""
        rows = [self._row_of[name] for name in self.curriculum.pool.ids[:size]]
        data = self.train_dataset.with_format(None)  # as it is stored, before any transform
        data = data if rows == list(range(len(data))) else data.select(rows)
        return {name: data[name] for name in telling(data.column_names)}


class CurriculumGRPOTrainer(CurriculumMixin, GRPOTrainer):
    """TRL's GRPOTrainer with a curriculum. See `CurriculumMixin` for the arguments it adds."""
