"""What is refused before training starts, and in which words."""

import logging
from typing import Any

from didact.adapters.verl.settings import setting
from didact.context import FixedContext
from didact.curriculum import Curriculum

logger = logging.getLogger(__name__)

#: Agent loops of verl and those that do the same within the context length of a row.
LOOPS = {"single_turn_agent": "didact_single_turn_agent", "tool_agent": "didact_tool_agent"}


def refuse(config: Any, curriculum: Curriculum, estimator: str, response_length: int, size: int) -> None:
    """Say now what would otherwise go wrong in silence, or hours later.

    Args:
        config: the node `data` of verl's configuration.
        estimator, response_length: verl's advantage estimator and the most response tokens.
        size: prompts of the data set.

    Raises:
        ValueError: what cannot be expressed.
    """

    def of(name: str) -> Any:
        return setting(config, name, needed=False)

    longest = getattr(curriculum.context, "longest", None)
    limited = not (isinstance(curriculum.context, FixedContext) and longest is None)
    loop = of("actor_rollout_ref.rollout.agent.default_agent_loop")
    own_baseline = curriculum.own_baseline
    refusals = {
        "trainer.use_v1=false: the old trainer has no replay buffer": of("trainer.use_v1") is False,
        f"data.dataloader_num_workers={of('data.dataloader_num_workers')}: each worker would have a curriculum of its "
        "own; set it to 0": of("data.dataloader_num_workers") != 0,
        "trainer.v1.sampler.custom_sampler is not set: nobody would tell the curriculum what came of its plans; set "
        "its path to pkg://didact.adapters.verl and its name to CurriculumReplayBuffer": not of(
            "trainer.v1.sampler.custom_sampler.name"
        ),
        "algorithm.filter_groups.enable=true: admission is the curriculum's (method dapo filters groups)": of(
            "algorithm.filter_groups.enable"
        ),
        "reward.reward_model without a resource pool of its own scores after sampling, too late for a curriculum; set "
        "reward.reward_model.enable_resource_pool=true": of("reward.reward_model.enable")
        and not of("reward.reward_model.enable_resource_pool"),
        "skip.rollout_tq.enable=true: stored rollouts are of other plans": of("skip.rollout_tq.enable"),
        "trainer.v1.sampler.max_off_policy_strategy=wait: set drop, or max_off_policy_threshold=null": of(
            "trainer.v1.trainer_mode"
        ) != "sync" and of("trainer.v1.sampler.max_off_policy_strategy") == "wait"
        and of("trainer.v1.sampler.max_off_policy_threshold") is not None,
        f"the data set has {size} prompts, fewer than data.train_batch_size={of('data.train_batch_size')}: verl would "
        "have no epoch": size < int(of("data.train_batch_size")),
        f"the curriculum's context of {longest} tokens exceeds the response length of {response_length}; raise "
        "data.max_response_length": longest is not None and longest > response_length,
        f"agent loop {loop!r} knows no context length for a row, and the curriculum sets one; those of {sorted(LOOPS)} "
        "do": limited and loop not in LOOPS,
        "gradient_norms=true needs gradients of single rollouts, which verl's workers do not give": getattr(
            curriculum, "wants_gradients", False
        ),
        f"method {curriculum.name!r} has baselines of its own: set algorithm.adv_estimator=didact": own_baseline
        and estimator != "didact",
        f"method {curriculum.name!r} weighs its groups in the loss: set algorithm.adv_estimator=didact": (
            curriculum.weighs_groups and estimator != "didact"
        ),
        f"method {curriculum.name!r} has baselines of its own, in units of its evidence: leave out "
        "data.curriculum.verifier": own_baseline and (config.get("curriculum") or {}).get("verifier") is not None,
    }  # fmt: skip
    for reason, applies in refusals.items():
        if applies:
            raise ValueError(f"a curriculum with verl: {reason}")


def warn(curriculum: Curriculum, estimator: str) -> None:
    """Say what can be done and is probably not meant."""
    if curriculum.uneven and estimator != "didact":
        logger.warning(
            "method %r makes groups of unequal sizes, and algorithm.adv_estimator=%s weighs prompts by their rollouts; "
            "didact weighs them alike", curriculum.name, estimator,
        )  # fmt: skip
