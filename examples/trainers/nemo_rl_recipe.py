"""A curriculum in NeMo-RL's synchronous GRPO: adaptive prompts and uneven groups, for methods of one round.

In a copy of examples/run_grpo.py, after `setup(...)` and before the trainer is called:

    dataloader, task_to_env = with_curriculum(dataset, task_to_env, checkpointer, master_config, "mopps", prompts=64)

and in the configuration: `grpo.num_generations_per_prompt: 1`, `grpo.num_prompts_per_step` and
`policy.train_global_batch_size` the number of ROLLOUTS of a step, `grpo.use_leave_one_out_baseline: true` and
`grpo.adv_estimator: {name: grpo, use_leave_one_out_baseline: true, normalize_rewards: false}` (RLOO), and
`loss_fn.token_level_loss: false`. NeMo-RL groups rollouts by the tokens of their prompt, so groups may differ in size;
`loss_multiplier` lets each prompt count once. Written against NeMo-RL of 2026-08-22 (7ea279a).

Cannot be expressed: several rounds (left are uniform, bots, mopps, adarft, knapsack and vip), admission, weights of
groups, a context length, truncation and response lengths (environments do not see them), two prompts with the same
tokens in one step, asynchronous GRPO. Verdicts reach the curriculum when the next batch is asked for, or a checkpoint
is written.
"""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import ray
import torch
from nemo_rl.data.collate_fn import rl_collate_fn
from nemo_rl.environments.interfaces import EnvironmentInterface

from didact import Plan, PromptPool, make

KEY = "didact"  # in extra_env_info: the group of a rollout, and its place in the group


class TappedEnvironment(EnvironmentInterface):  # type: ignore[misc]
    """An environment that passes everything on to another one and remembers the rewards."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.rewards = inner, dict[tuple[int, int], float]()

    async def step(self, message_log_batch: list[Any], metadata: list[Any], *rest: Any) -> Any:
        keys = [row[KEY] for row in metadata]
        said = await self.inner.step.remote(message_log_batch, metadata, *rest)
        if isinstance(said.rewards, dict):
            raise TypeError("an environment with several rewards has no one pass rate: use one with a single reward")
        for key, reward, ahead in zip(keys, said.rewards.tolist(), said.metadata, strict=True):
            self.rewards[tuple(key)] = (
                self.rewards.get(tuple(key), 0.0) + reward
            )  # over the turns, as NeMo-RL adds them
            if isinstance(ahead, dict):
                ahead.setdefault(KEY, key)
        return said

    async def take_rewards(self) -> dict[tuple[int, int], float]:
        taken, self.rewards = self.rewards, {}
        return taken

    async def global_post_process_and_metrics(self, batch: Any) -> Any:
        return await self.inner.global_post_process_and_metrics.remote(batch)

    async def shutdown(self) -> None:
        await self.inner.shutdown.remote()


class CurriculumLoader:
    """Stands for the training data loader: a batch is a plan, each prompt as often as it is to be rolled out."""

    def __init__(self, dataset: Any, curriculum: Any, environments: list[Any]) -> None:
        self.dataset, self.curriculum, self.environments = dataset, curriculum, environments
        self.plan: Plan | None = None  # what is being rolled out

    def __len__(self) -> int:
        return max(len(self.dataset) // int(self.curriculum.prompts_per_step), 1)

    def __iter__(self) -> Iterator[Any]:
        for _ in range(len(self)):
            self._observe()
            self.plan = self.curriculum.plan(self.curriculum.step + 1)
            total = self.plan.num_rollouts
            if self.plan.groups[0].context_length is not None:
                raise ValueError("NeMo-RL's generation length is fixed when it starts: leave out the context option")
            if total != self.curriculum.rollouts_per_step:
                raise ValueError(f"a batch has {self.curriculum.rollouts_per_step} rollouts, this plan has {total}")
            yield rl_collate_fn([row for group in self.plan for row in self._rows(group, total / len(self.plan))])

    def _rows(self, group: Any, mean_size: float) -> Iterator[Any]:
        for place in range(group.num_rollouts):
            row = dict(self.dataset[int(group.prompt_id)])
            row["extra_env_info"] = {**(row["extra_env_info"] or {}), KEY: (group.group_id, place)}
            row["loss_multiplier"] = row["loss_multiplier"] * mean_size / group.num_rollouts
            yield row

    def _observe(self) -> None:
        """Tell the curriculum what the environments saw of the latest plan."""
        if self.plan is None:
            return
        rewards: dict[tuple[int, int], float] = {}
        for environment in self.environments:
            rewards |= ray.get(environment.take_rewards.remote())
        told = [rewards.get((group.group_id, place)) for group in self.plan for place in range(group.num_rollouts)]
        self.curriculum.observe(self.plan.outcomes(told))
        if self.curriculum.plan(self.plan.step):
            raise ValueError(f"{self.curriculum.name} rolls out in several rounds, and NeMo-RL trains on each batch")
        self.curriculum.admitted(self.plan.step)
        self.plan = None

    def state_dict(self) -> dict[str, Any]:
        """For train_dataloader.pt, which NeMo-RL loads without pickle: arrays as tensors."""
        self._observe()
        plain: dict[str, Any] = _convert(self.curriculum.state_dict(), np.ndarray, torch.from_numpy)
        return plain

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.curriculum.load_state_dict(_convert(state, torch.Tensor, torch.Tensor.numpy))


def _convert(value: Any, kind: type, change: Any) -> Any:
    if isinstance(value, dict):
        return {key: _convert(item, kind, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_convert(item, kind, change) for item in value]
    return change(value) if isinstance(value, kind) else value


def with_curriculum(
    dataset: Any,
    task_to_env: dict[str, Any],
    checkpointer: Any,
    config: Any,
    method: str,
    *,
    prompts: int,
    **options: Any,
) -> tuple[CurriculumLoader, dict[str, Any]]:
    """The loader and the environments to train with, where a run left off if it did."""
    pool = PromptPool([str(row) for row in range(len(dataset))])
    rollouts, seed = config.grpo.num_prompts_per_step, config.grpo.seed
    curriculum = make(method, pool, prompts_per_step=prompts, rollouts_per_step=rollouts, seed=seed, **options)
    if curriculum.weighs_groups:
        raise ValueError(f"{method} weighs its groups in the loss, and the plan that a batch is made of has no weights")
    remote = ray.remote(num_cpus=0)(TappedEnvironment)
    once = {id(environment): remote.remote(environment) for environment in task_to_env.values()}
    loader = CurriculumLoader(dataset, curriculum, list(once.values()))
    folder = checkpointer.get_latest_checkpoint_path()
    if folder is not None:
        loader.load_state_dict(torch.load(os.path.join(folder, "train_dataloader.pt"), weights_only=True))
    return loader, {name: once[id(environment)] for name, environment in task_to_env.items()}
