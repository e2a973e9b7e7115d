"""A curriculum in SkyRL: adaptive prompts, uneven groups, several rounds, a context length per plan, admission.

    python -m skyrl_recipe data.train_data=... trainer.algorithm.loss_reduction=prompt_mean ...

instead of `-m skyrl.train.entrypoints.main_base`, with this directory on PYTHONPATH, here and on the workers.
`train_batch_size` is the number of prompts of a step, and that times `generator.n_samples_per_prompt` its rollouts;
SkyRL's own loader still counts steps and epochs, and the prompts it draws are replaced. Written against SkyRL 0.3.0.

Cannot be expressed: step-wise trajectories, images, SkyRL's own dynamic sampling, checkpoints on a remote file system,
and the fully asynchronous trainer, whose loop is another. A step with nothing to train on trains one rollout with its
loss masked. A batch that is not full makes as many updates as divide it.
"""

import copy
import os
import sys
from itertools import islice
from typing import Any

import numpy as np
import ray
import torch
from skyrl.train.config import SkyRLTrainConfig
from skyrl.train.entrypoints.main_base import BasePPOExp
from skyrl.train.generators.utils import prepare_generator_input
from skyrl.train.trainer import RayPPOTrainer
from skyrl.train.utils.utils import initialize_ray, validate_cfg

from didact import Curriculum, Plan, PromptPool, make
from didact.advantage import group_advantages
from didact.state import load_state, save_state

METHOD, OPTIONS = "cures", dict[str, Any]()
COLUMNS = ("prompt_token_ids", "response_ids", "rewards", "loss_masks", "stop_reasons", "rollout_logprobs")


class CurriculumTrainer(RayPPOTrainer):
    """SkyRL's trainer with its prompts chosen, and its batch filled, by a curriculum."""

    cfg: Any
    curriculum: Curriculum

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        algorithm, size = self.cfg.trainer.algorithm, self.cfg.trainer.train_batch_size
        if self.cfg.generator.step_wise_trajectories or algorithm.dynamic_sampling.type is not None:
            raise ValueError("turn off generator.step_wise_trajectories and trainer.algorithm.dynamic_sampling.type")
        if self.cfg.trainer.policy_mini_batch_size < size and self.cfg.trainer.recompute_old_logprobs_per_minibatch:
            # SkyRL 0.3.0 pads each mini-batch to the workers and strings the outputs together, padding and all.
            raise ValueError("several mini-batches: set trainer.recompute_old_logprobs_per_minibatch=false")
        pool = PromptPool([str(row) for row in range(len(self.train_dataset))])
        rollouts = size * self.cfg.generator.n_samples_per_prompt
        seed = self.cfg.trainer.seed
        self.curriculum = make(METHOD, pool, prompts_per_step=size, rollouts_per_step=rollouts, seed=seed, **OPTIONS)
        if self.curriculum.uneven and algorithm.loss_reduction != "prompt_mean":
            raise ValueError(
                f"{METHOD} makes groups of unequal sizes: set trainer.algorithm.loss_reduction=prompt_mean"
            )
        self.rolled: dict[int, list[dict[str, Any]]] = {}  # rollouts of open groups, in the order observed

    async def generate(self, input_batch: Any) -> Any:
        """Ask, roll out, tell, until the step is full; the placeholders in `input_batch` become what trains."""
        while plan := self.curriculum.plan(self.global_step):
            await self._roll_out(plan, input_batch)
        admitted = self.curriculum.admitted(self.global_step)
        rows = [self.rolled[group.group_id][row] for group in admitted for row in group.rollouts]
        self._uids = [str(group.group_id) for group in admitted for _ in group.rollouts]
        self._baselines = [group.baseline for group in admitted for _ in group.rollouts]
        mean = np.mean([group.weight for group in admitted]) if admitted else 1.0  # prompt_mean counts groups alike
        self._weights = [group.weight / mean for group in admitted for _ in group.rollouts]
        prompts = [group.prompt_id for group in admitted for _ in group.rollouts]
        if not rows:  # nothing had signal: a step needs a row
            rows = [row for group in self.rolled.values() for row in group][:1]
            rows = [{**row, "loss_masks": [0] * len(row["loss_masks"])} for row in rows]
            self._uids, self._baselines, self._weights, prompts = ["none"], [None], [1.0], ["0"]
        self.rolled = {group_id: self.rolled[group_id] for group_id in self.curriculum.held()}
        input_batch["prompts"] = [self.train_dataset[int(prompt_id)][0] for prompt_id in prompts]
        self.all_metrics.update({f"curriculum/{name}": value for name, value in self.curriculum.metrics().items()})
        return {name: [row[name] for row in rows] if rows[0][name] is not None else None for name in COLUMNS}

    async def _roll_out(self, plan: Plan, placeholders: Any) -> None:
        prompts = self.train_dataset.collate_fn([self.train_dataset[int(group.prompt_id)] for group in plan])
        limits, where = placeholders["sampling_params"], placeholders["batch_metadata"]
        if plan.groups[0].context_length is not None:
            limits = {**limits, "max_tokens": plan.groups[0].context_length}  # one length for all of a plan
        kind = self.cfg.environment.env_class
        parts = [
            prepare_generator_input([prompt], group.num_rollouts, limits, kind, "train", where.global_step)[0]
            for prompt, group in zip(prompts, plan, strict=True)
        ]
        columns = ("prompts", "env_classes", "env_extras", "trajectory_ids")
        asked = {name: [item for part in parts for item in part[name]] for name in columns}
        output = await super().generate({**asked, "sampling_params": limits, "batch_metadata": where})
        kept = [output.get(name) or [None] * plan.num_rollouts for name in COLUMNS]
        rows = [dict(zip(COLUMNS, values, strict=True)) for values in zip(*kept, strict=True)]
        rewards = [sum(row["rewards"]) if isinstance(row["rewards"], list) else row["rewards"] for row in rows]
        tokens, cut = [len(row["response_ids"]) for row in rows], [row["stop_reasons"] == "length" for row in rows]
        self.curriculum.observe(plan.outcomes(rewards, num_tokens=tokens, truncated=cut))
        rest = iter(rows)
        for group in plan:
            self.rolled.setdefault(group.group_id, []).extend(islice(rest, group.num_rollouts))

    def postprocess_generator_output(self, generator_output: Any, uids: list[str], *rest: Any) -> Any:
        return super().postprocess_generator_output(generator_output, self._uids, *rest)

    def convert_to_training_input(self, generator_output: Any, uids: list[str]) -> Any:
        """SkyRL cuts mini-batches out of unequal groups only for step-wise training, and only out of full batches."""
        cfg, groups = self.cfg, len(set(uids))
        updates = cfg.trainer.train_batch_size // cfg.trainer.policy_mini_batch_size
        updates = max(number for number in range(1, updates + 1) if groups % number == 0)
        self.cfg = copy.deepcopy(cfg)
        self.cfg.generator.step_wise_trajectories = True
        self.cfg.trainer.train_batch_size = groups
        self.cfg.trainer.policy_mini_batch_size = self.cfg.trainer.critic_mini_batch_size = groups // updates
        try:
            return super().convert_to_training_input(generator_output, uids)
        finally:
            self.cfg = cfg

    def compute_advantages_and_returns(self, data: Any) -> Any:
        uids, rewards = data.metadata["uids"], data["rewards"].sum(dim=-1)
        padding = len(uids) - len(self._baselines)  # SkyRL pads the batch
        baselines, weights = self._baselines + [None] * padding, np.array(self._weights + [1.0] * padding)
        data = super().compute_advantages_and_returns(data)
        values = group_advantages(rewards, uids, self.curriculum.advantage, baselines=baselines) * weights
        data["advantages"] = torch.tensor(values, dtype=torch.float32)[:, None] * data["response_mask"]
        return data

    def save_checkpoints(self) -> str:
        folder: str = super().save_checkpoints()
        held = {str(group_id): rows for group_id, rows in self.rolled.items()}
        save_state(os.path.join(folder, "curriculum.npz"), {"curriculum": self.curriculum.state_dict(), "held": held})
        return folder

    def load_checkpoints(self) -> Any:
        step, folder = super().load_checkpoints()
        if folder is not None:
            state = load_state(os.path.join(folder, "curriculum.npz"))
            self.curriculum.load_state_dict(state["curriculum"])
            self.rolled = {int(group_id): rows for group_id, rows in state["held"].items()}
        return step, folder


class CurriculumExp(BasePPOExp):
    def get_trainer(self, *args: Any, **kwargs: Any) -> RayPPOTrainer:
        return CurriculumTrainer(*args, **kwargs)


@ray.remote(num_cpus=1)
def run(cfg: SkyRLTrainConfig) -> None:
    CurriculumExp(cfg).run()


if __name__ == "__main__":
    cfg = SkyRLTrainConfig.from_cli_overrides(sys.argv[1:])
    validate_cfg(cfg)
    initialize_ray(cfg)
    ray.get(run.remote(cfg))
