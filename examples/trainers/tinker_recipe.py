"""Didact in tinker-cookbook: an `RLDataset` whose batches are the curriculum's plans.

    train.Config(dataset_builder=..., remove_constant_reward_groups=True, num_epochs=1, save_every=20, ...)

where the dataset builder returns CurriculumDataset(curriculum, group_of, num_batches=..., folder=..., save_every=20)
and `group_of(prompt_id, n)` is an EnvGroupBuilder of yours with n environments, such as a ProblemGroupBuilder. Groups
may differ in size: their rewards are spread around their mean, so that the trainer's own advantage, reward less mean,
becomes the curriculum's. Written against tinker-cookbook 0.6.1.

Not expressed: several rounds in a batch (a batch is fixed before its first rollout: DAPO, SPEED, Pilot-Commit and
Reinforce-Ada need a loop of your own), policy versions in asynchronous training (a group counts as made at the step at
which it was planned), and rollouts in other processes (`rollout_executor` would tell a copy of the curriculum).
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from tinker_cookbook.rl.rollout_limits import RolloutLimits
from tinker_cookbook.rl.types import Env, EnvGroupBuilder, Metrics, RLDataset, StopReason, Trajectory

from didact import Curriculum, GroupOutcome, PlannedGroup
from didact.advantage import group_advantages
from didact.state import load_state, save_state

CUT = (StopReason.MAX_TOKENS, StopReason.MAX_SAMPLED_TOKENS, StopReason.CONTEXT_OVERFLOW, StopReason.ROLLOUT_TIMEOUT)


class CurriculumDataset(RLDataset):
    """Batch i is the plan of step i; the state is saved beside the trainer's checkpoints and found again by batch."""

    def __init__(
        self,
        curriculum: Curriculum,
        group_of: Callable[[str, int], EnvGroupBuilder],
        *,
        num_batches: int,
        folder: str | Path,
        save_every: int,
    ) -> None:
        self.curriculum, self.group_of, self.num_batches = curriculum, group_of, num_batches
        self.folder, self.save_every, self.out = Path(folder), save_every, 0

    def __len__(self) -> int:
        return self.num_batches

    def get_batch(self, index: int) -> Sequence[EnvGroupBuilder]:
        curriculum = self.curriculum
        if curriculum.step < 0 < index:  # the first batch of a resumed run
            curriculum.load_state_dict(load_state(self._path(index)))
        self._save(index)
        plan = curriculum.plan(index)
        if curriculum.next_round != "none":
            raise ValueError(
                f"method {curriculum.name!r} wants a further round at step {index}, and a batch of tinker-cookbook is "
                "fixed before its first rollout: take a method of one round (CurES: train_on_pilot=True)"
            )
        self.out = len(plan)
        return [PlannedGroupBuilder(self, group) for group in plan]

    def came_back(self, builder: "PlannedGroupBuilder") -> None:
        if builder.step == self.curriculum.step:
            self.out -= 1
            if self.out == 0:  # before the checkpoint is made that the next batch begins at
                self._save(builder.step + 1)

    def _path(self, index: int) -> Path:
        return self.folder / f"curriculum_{index:06d}.npz"

    def _save(self, index: int) -> None:
        if index > 0 and index % self.save_every == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_state(self._path(index), self.curriculum.state_dict())


class PlannedGroupBuilder(EnvGroupBuilder):
    """One planned group: rolled out by your builder, reported to the curriculum when it has been scored."""

    def __init__(self, dataset: CurriculumDataset, group: PlannedGroup) -> None:
        self.dataset, self.curriculum, self.group, self.step = (
            dataset,
            dataset.curriculum,
            group,
            dataset.curriculum.step,
        )
        self.inner = dataset.group_of(group.prompt_id, group.num_rollouts)
        self.step, self.told = self.curriculum.step, False

    async def make_envs(self) -> Sequence[Env]:
        envs: Sequence[Env] = await self.inner.make_envs()
        for env in envs:
            if self.group.context_length is not None:
                env.rollout_limits = RolloutLimits(max_sampled_tokens=self.group.context_length)  # type: ignore[attr-defined]
        return envs

    async def compute_group_rewards(
        self, trajectory_group: list[Trajectory], env_group: Sequence[Env]
    ) -> list[tuple[float, Metrics]]:
        graded: list[tuple[float, Metrics]] = await self.inner.compute_group_rewards(trajectory_group, env_group)
        steps = [sum(turn.reward for turn in rollout.transitions) for rollout in trajectory_group]
        rewards = np.array(steps) + [final for final, _ in graded]
        self._tell(trajectory_group, rewards)
        if np.ptp(rewards) == 0:  # stays exactly constant, so that the trainer can drop it
            return graded
        wanted = rewards.mean() + self._advantages(rewards)
        return [(float(total - step), metrics) for total, step, (_, metrics) in zip(wanted, steps, graded, strict=True)]

    async def cleanup(self) -> None:
        if not self.told:  # the whole group failed
            self._tell([], np.empty(0))
        self.dataset.came_back(self)
        await self.inner.cleanup()

    def logging_tags(self) -> list[str]:
        return [*self.inner.logging_tags(), self.group.reason]

    def _tell(self, rollouts: list[Trajectory], rewards: np.ndarray) -> None:
        self.told = True
        lost = self.group.num_rollouts - len(rollouts)  # failed, and not made up for by the rollout strategy
        tokens = [sum(len(turn.ac.tokens) for turn in rollout.transitions) for rollout in rollouts]
        cut = [rollout.transitions[-1].ac.stop_reason == "length" or rollout.stop_reason in CUT for rollout in rollouts]
        outcome = GroupOutcome(
            self.group.group_id,
            self.group.prompt_id,
            [*rewards, *[math.nan] * lost],  # errored, which is not the same as wrong
            num_tokens=tokens + [0] * lost,
            truncated=cut + [False] * lost,
        )
        self.curriculum.observe([outcome])

    def _advantages(self, rewards: np.ndarray) -> np.ndarray:
        """The curriculum's advantage and weight; nothing for a group that is not admitted."""
        curriculum, size = self.curriculum, len(rewards)
        weights = {group.group_id: group.weight for group in curriculum.admitted(curriculum.step)}
        if self.group.group_id not in weights:
            return np.zeros(size)
        weight = weights[self.group.group_id]
        if curriculum.loss_weighting == "prompt":  # the trainer adds up tokens: a prompt would weigh its rollouts
            weight *= curriculum.rollouts_per_step / curriculum.prompts_per_step / size
        return weight * group_advantages(rewards, [0] * size, curriculum.advantage, singleton="zero")
