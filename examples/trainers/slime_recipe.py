"""A curriculum in slime: adaptive prompts, uneven groups, several rounds and a context length per plan.

    python train.py ... --rollout-batch-size 64 --n-samples-per-prompt 1 --global-batch-size 64 \
        --use-dynamic-batch-size --custom-config-path curriculum.yaml \
        --data-source-path slime_recipe.CurriculumSource --rollout-function-path slime_recipe.generate_rollout \
        --custom-reward-post-process-path slime_recipe.advantages

with this directory on PYTHONPATH, and `curriculum: cures`, `rollouts_per_step: 512`, `curriculum_options: {}` in
curriculum.yaml. slime counts distinct `Sample.rollout_id`s where it averages the loss, so a group shares one: every
prompt weighs the same whatever its size, and both batch sizes count prompts. For slime of 2026-08-21 (624b824).

Cannot be expressed: a batch that is not full (it is filled with rollouts whose loss is masked: they count in the mean
and add nothing), agents that make several samples of one rollout, partial rollouts, deterministic inference (slime has
one seed for each of n-samples-per-prompt), and the fully asynchronous rollout function, which this one replaces.
"""

import asyncio
import copy
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from didact import PlannedGroup, PromptPool, make
from didact.advantage import group_advantages
from didact.state import load_state, save_state

Generate = Callable[[list[Any], int | None], Awaitable[list[Any]]]


class CurriculumSource:
    """`--data-source-path`: prompts, curriculum, and the rollouts of groups that wait for a later step."""

    def __init__(self, args: Any) -> None:
        from slime.rollout.data_source import RolloutDataSource

        self._begin(args, RolloutDataSource(args).dataset.origin_samples)

    def _begin(self, args: Any, prompts: list[Any]) -> None:
        self.args, self.prompts, self.held = args, prompts, dict[int, list[Any]]()
        pool = PromptPool([str(row) for row in range(len(prompts))])
        sizes = {"prompts_per_step": args.rollout_batch_size, "rollouts_per_step": args.rollouts_per_step}
        self.curriculum = make(args.curriculum, pool, **sizes, seed=args.rollout_seed, **args.curriculum_options)

    def __len__(self) -> int:
        return len(self.prompts)

    def samples(self, planned: PlannedGroup, first: int) -> list[Any]:
        """Fresh samples for a planned group; slime fills them in."""
        group = [copy.deepcopy(self.prompts[int(planned.prompt_id)]) for _ in range(planned.num_rollouts)]
        for index, sample in enumerate(group):
            sample.index, sample.group_index, sample.rollout_id = first + index, planned.group_id, planned.group_id
        return group

    def save(self, rollout_id: int) -> None:
        path = Path(self.args.save, "rollout", f"curriculum_{rollout_id}.npz")
        path.parent.mkdir(parents=True, exist_ok=True)
        held = {str(group_id): [sample.to_dict() for sample in group] for group_id, group in self.held.items()}
        save_state(path, {"curriculum": self.curriculum.state_dict(), "held": held})

    def load(self, rollout_id: int | None = None) -> None:
        if self.args.load is None or rollout_id is None or rollout_id < 0:  # a run that begins
            return
        from slime.utils.types import Sample

        state = load_state(Path(self.args.load, "rollout", f"curriculum_{rollout_id}.npz"))
        self.curriculum.load_state_dict(state["curriculum"])
        self.held = {int(group): [Sample.from_dict(row) for row in rows] for group, rows in state["held"].items()}


def generate_rollout(args: Any, rollout_id: int, data_source: CurriculumSource, evaluation: bool = False) -> Any:
    """`--rollout-function-path`."""
    from slime.rollout import sglang_rollout
    from slime.rollout.base_types import RolloutFnTrainOutput
    from slime.utils.async_utils import run

    if evaluation:
        return sglang_rollout.generate_rollout(args, rollout_id, data_source, evaluation=True)
    limits = sglang_rollout.GenerateState(args).sampling_params

    async def generate(group: list[Any], context_length: int | None) -> list[Any]:
        length = limits["max_new_tokens"] if context_length is None else context_length
        done: list[Any] = await sglang_rollout.generate_and_rm_group(args, group, {**limits, "max_new_tokens": length})
        return done

    batch = run(roll_out_step(data_source, generate))
    metrics = {f"curriculum/{name}": value for name, value in data_source.curriculum.metrics().items()}
    return RolloutFnTrainOutput(samples=batch, metrics=metrics)


async def roll_out_step(source: CurriculumSource, generate: Generate) -> list[list[Any]]:
    """Ask, roll out, tell, until the step is full; the groups to train on, `rollout_batch_size` of them."""
    args, curriculum, rolled, spare = source.args, source.curriculum, source.held, None
    step = curriculum.step + 1  # not slime's rollout_id: train_async.py saves after the next one has begun
    while plan := curriculum.plan(step):
        first = int(curriculum.metrics()["rollouts_planned"]) - plan.num_rollouts
        fresh = []
        for planned in plan:
            fresh.append(source.samples(planned, first))
            first += planned.num_rollouts
        groups = await asyncio.gather(
            *(generate(group, planned.context_length) for planned, group in zip(plan, fresh, strict=True))
        )
        samples = [sample for group in groups for sample in group]
        outcomes = plan.outcomes(
            [None if bad(sample) else sample.get_reward_value(args) for sample in samples],
            num_tokens=[sample.response_length for sample in samples],
            truncated=[sample.status.name == "TRUNCATED" for sample in samples],
        )
        curriculum.observe(outcomes)
        for planned, group in zip(plan, groups, strict=True):
            rolled.setdefault(planned.group_id, []).extend(group)
        spare = next((sample for sample in samples if not bad(sample)), spare)
    batch, groups = [], curriculum.admitted(step)
    for admitted in groups:
        batch.append([rolled[admitted.group_id][row] for row in admitted.rollouts])
        weight = admitted.weight * len(groups) / sum(group.weight for group in groups)  # slime counts groups alike
        for sample in batch[-1]:
            sample.metadata["baseline"], sample.metadata["weight"] = admitted.baseline, weight
    source.held = {group_id: rolled[group_id] for group_id in curriculum.held()}
    while len(batch) < args.rollout_batch_size:
        if spare is None:
            raise RuntimeError(
                f"step {step}: every rollout failed or was aborted; see the servers' and verifier's logs"
            )
        filler = copy.deepcopy(spare)
        filler.rollout_id = filler.group_index = -1 - len(batch)
        filler.remove_sample = True
        batch.append([filler])
    return batch


def bad(sample: Any) -> bool:
    """Whether a sample has no reward that says something about the prompt."""
    return sample.status.name in ("ABORTED", "FAILED") or sample.reward is None


def advantages(args: Any, samples: list[Any]) -> tuple[list[float], list[float]]:
    """`--custom-reward-post-process-path`: without it slime normalises unequal groups over the whole batch."""
    rewards = [sample.get_reward_value(args) for sample in samples]
    baselines = [sample.metadata.get("baseline") for sample in samples]
    groups = [sample.group_index for sample in samples]
    weights = [sample.metadata.get("weight", 1.0) for sample in samples]
    return rewards, (group_advantages(rewards, groups, "rloo", baselines=baselines) * weights).tolist()
