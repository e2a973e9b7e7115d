"""A curriculum in OpenRLHF: adaptive prompts, uneven groups, several rounds, a context length per plan, admission.

In a copy of openrlhf/cli/train_ppo_ray.py write `from openrlhf_recipe import PPOTrainer` for the import of the
synchronous PPOTrainer: OpenRLHF names its trainer in that script and nowhere else. Then, with this directory on
PYTHONPATH and a reward function or agent (`--reward.remote_url` or `--train.agent_func_path`):

    python train_ppo_ray.py --algo.advantage.estimator flash_reinforce --actor.loss_agg_mode seq-mean-token-mean ...

`--rollout.batch_size` is the number of prompts of a step, and that times `--rollout.n_samples_per_prompt` its rollouts.
OpenRLHF's own estimators cut the batch into groups of one size, so rewards are replaced by the advantages of each
group; flash_reinforce subtracts their mean over the batch, which is 0, and nothing more. Written against 0.11.2.

Cannot be expressed: Reinforce-Ada (the advantages of its groups do not add up to 0), length penalties, a reward model,
a batch that is not full (it is filled with rollouts whose tokens are masked), and OpenRLHF's asynchronous mode.
In the logs `reward` and `return` are advantages, `raw_reward` and `score` what they say, `group_reward_std` nothing.
"""

import copy
from typing import Any

import ray
import torch
from openrlhf.trainer import ppo_trainer
from openrlhf.trainer.ppo_utils.samples_generator import SamplesGenerator
from openrlhf.trainer.ray.vllm_engine import batch_vllm_engine_call

from didact import AdmittedGroup, GroupOutcome, Plan, PromptPool, make
from didact.advantage import group_advantages, offered_baselines, weighted_advantages

METHOD, OPTIONS = "cures", dict[str, Any]()


class CurriculumSamples(SamplesGenerator):
    """OpenRLHF's generator of samples, told by a curriculum what to roll out; its state stands for the loader's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        options, reward = self.args, self.args.reward
        if options.algo.advantage.estimator != "flash_reinforce" or options.algo.dynamic_filtering_enable:
            raise ValueError("set --algo.advantage.estimator flash_reinforce, without --algo.dynamic_filtering_enable")
        if reward.overlong_buffer_len is not None or reward.stop_properly_penalty_coef is not None:
            raise ValueError("length penalties would be added to advantages: put them into the reward function")
        self.rows = self.prompts_dataloader.dataset
        self.size, n = options.rollout.batch_size, options.rollout.n_samples_per_prompt
        pool = PromptPool([str(row) for row in range(len(self.rows))])
        sizes = {"prompts_per_step": self.size, "rollouts_per_step": self.size * n}
        self.curriculum = make(METHOD, pool, **sizes, seed=options.train.seed, **OPTIONS)
        self.rolled: dict[int, list[Any]] = {}  # samples of open groups, in the order observed

    def __len__(self) -> int:
        return len(self.rows)

    def state_dict(self) -> dict[str, Any]:
        return {"curriculum": self.curriculum.state_dict(), "held": self.rolled}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.curriculum.load_state_dict(state["curriculum"])
        self.rolled = state["held"]

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def generate_samples(self, **settings: Any) -> tuple[list[Any], None, int, bool]:
        """Ask, roll out, tell, until the step is full: its samples, and whether an episode is over."""
        step, consumed = self.curriculum.step + 1, 0
        if self.args.vllm.enable_sleep:
            batch_vllm_engine_call(self.vllm_engines, "wake_up")
        while plan := self.curriculum.plan(step):
            self._roll_out(plan, settings)
            consumed += len(plan)
        if self.args.vllm.enable_sleep:
            batch_vllm_engine_call(self.vllm_engines, "sleep")
        admitted = self.curriculum.admitted(step)
        if self.curriculum.own_baseline and any(group.baseline is not None for group in admitted):
            raise ValueError(f"{METHOD} trains some rollouts of a group against all of them, which cannot be expressed")
        batch = [self.rolled[group.group_id][row] for group in admitted for row in group.rollouts]
        self._set_advantages(batch, [group for group in admitted for _ in group.rollouts])
        self.rolled = {group_id: self.rolled[group_id] for group_id in self.curriculum.held()}
        while batch and len(batch) < self.curriculum.rollouts_per_step:
            filler = copy.deepcopy(batch[0])
            filler.action_mask, filler.rewards = torch.zeros_like(filler.action_mask), torch.zeros(1)
            batch.append(filler)
        return batch, None, consumed, (step + 1) % max(len(self) // self.size, 1) == 0

    def _roll_out(self, plan: Plan, settings: dict[str, Any]) -> None:
        asked: dict[int, list[Any]] = {}
        for group in plan:
            asked.setdefault(group.num_rollouts, []).append(group)
        for number, groups in asked.items():
            _, prompts, labels, images = zip(*(self.rows[int(group.prompt_id)] for group in groups), strict=True)
            limits = {**settings, "n_samples_per_prompt": number}
            if groups[0].context_length is not None:
                limits["max_new_tokens"] = groups[0].context_length  # one length for all of a plan
            answers = self._dispatch_prompts_to_vllm(prompts, labels, images=images, **limits)
            asked[number] = list(zip(groups, answers, strict=True))
        for group, answers in (pair for pairs in asked.values() for pair in pairs):
            fresh = [self._process_response_into_experience(answer, **settings) for answer in ray.get(answers)]
            self.rolled.setdefault(group.group_id, []).extend(fresh)
            outcome = GroupOutcome(
                group.group_id,
                group.prompt_id,
                [None if sample.scores is None else sample.scores.item() for sample in fresh],  # type: ignore[misc]
                num_tokens=[int(sample.response_length) for sample in fresh],
                truncated=[bool(sample.truncated) for sample in fresh],
                policy_version=plan.step,
            )
            self.curriculum.observe([outcome])

    def _set_advantages(self, batch: list[Any], groups: list[AdmittedGroup]) -> None:
        """Advantages for rewards; each prompt counts once, whatever its size, where the loss is a mean of sequences."""
        if not batch:
            return
        group_ids, weights = [group.group_id for group in groups], [group.weight for group in groups]
        rewards = [sample.rewards.item() for sample in batch]
        baselines = offered_baselines([group.baseline for group in groups], rewards)
        advantages = group_advantages(
            rewards, group_ids, self.curriculum.advantage, singleton="zero", baselines=baselines
        )
        advantages = weighted_advantages(advantages, group_ids, weights, self.curriculum.loss_weighting)
        for sample, advantage in zip(batch, advantages.tolist(), strict=True):
            sample.info["raw_reward"], sample.rewards = sample.rewards, torch.tensor([advantage])


_Stock: Any = ppo_trainer.PPOTrainer.__ray_metadata__.modified_class.__ray_actor_class__  # what @ray.remote wrapped


class CurriculumPPOTrainer(_Stock):  # type: ignore[misc]
    """OpenRLHF's trainer; its loop asks `prompts_dataloader` for its length and its state only."""

    samples_generator: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        stock = self.samples_generator
        parts = (stock.strategy, stock.prompts_dataloader, stock.eval_dataloader, stock.tokenizer, stock.vllm_engines)
        self.samples_generator = self.prompts_dataloader = CurriculumSamples(*parts)


PPOTrainer = ray.remote(CurriculumPPOTrainer)
