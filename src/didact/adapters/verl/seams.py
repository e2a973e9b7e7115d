"""All that the adapter takes of verl without being its documented interface, checked when this is imported."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import transfer_queue as tq
import verl
from packaging.specifiers import SpecifierSet
from packaging.version import Version


def check_version(installed: str) -> None:
    """Raises ImportError, with what to do instead, where this is no verl that was tried."""
    release = Version(Version(installed).base_version)
    if release in SUPPORTED:
        return
    if release < Version("0.8"):
        advice = "use didact.adapters.verl.sampler, which is for verl 0.5 to 0.7.1"
    elif release < Version("0.9.1"):
        advice = "it has no hook for a curriculum; upgrade to 0.9.1, or stay on 0.7.1 with didact.adapters.verl.sampler"
    else:
        advice = f"that has not been tried; install 'verl{SUPPORTED}'"
    raise ImportError(f"verl {installed}: didact.adapters.verl is for verl{SUPPORTED}; {advice}")


SUPPORTED = SpecifierSet(">=0.9.1,<0.10")
check_version(verl.__version__)

# Not there in the versions refused above.
from verl.experimental.agent_loop.agent_loop import AgentLoopWorker, register  # noqa: E402
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop  # noqa: E402
from verl.experimental.agent_loop.tool_agent_loop import ToolAgentLoop  # noqa: E402
from verl.trainer.ppo.core_algos import register_adv_est  # noqa: E402
from verl.trainer.ppo.ray_trainer import compute_advantage  # noqa: E402
from verl.trainer.ppo.v1 import agent_loop_tq, trainer_base  # noqa: E402
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer  # noqa: E402
from verl.utils.dataset.rl_dataset import RLHFDataset  # noqa: E402

__all__ = [
    "SUPPORTED",
    "RLHFDataset",
    "ReplayBuffer",
    "SingleTurnAgentLoop",
    "ToolAgentLoop",
    "register",
    "register_adv_est",
]

#: What verl passes to a replay buffer of one's own, and `poll_interval`, which this one passes on.
OPTIONS = {"trainer_mode", "trainer_config", "max_off_policy_threshold", "max_off_policy_strategy"}
OPTIONS |= {"sampler_kwargs", "refill_fn", "poll_interval"}
SEAMS: list[tuple[Any, str, list[str]]] = [
    (RLHFDataset, "__init__", ["self", "data_files", "tokenizer", "config", "processor", "max_samples"]),
    (RLHFDataset, "__getitem__", ["self", "item"]),
    (ReplayBuffer, "sample", ["self", "global_steps", "partition_id", "batch_size"]),
    (ReplayBuffer, "_sync_metadata_from_transfer_queue", ["self"]),
    (SingleTurnAgentLoop, "run", ["self", "sampling_params", "priority", "kwargs"]),
    (ToolAgentLoop, "run", ["self", "sampling_params", "priority", "kwargs"]),
    (tq, "kv_batch_get", ["keys", "partition_id", "select_fields"]),
    (tq, "kv_batch_put", ["keys", "partition_id", "fields", "tags", "data_parser"]),
    (tq, "kv_clear", ["keys", "partition_id"]),
]
#: What the source of verl must contain: undocumented names that rows and trainer go by.
MENTIONS: list[tuple[Any, Sequence[str]]] = [
    (agent_loop_tq, ['pop("__rollout_n__"', 'f"{uid}_{session_id}_{i}"', '"response_len"', '"min_global_steps"']),
    (AgentLoopWorker, ["get_dataset_class(", "_agent_loop_registry[agent_name]", "agent_loop.run(sampling_params"]),
    (trainer_base, ["refill_fn=self._add_prompts_to_generate", '"uid", "response_mask", "rm_scores"']),
    (compute_advantage, ["get_adv_estimator_fn(adv_estimator)", '"token_level_rewards"', '["index"]']),
]  # fmt: skip
TRAIN = "train"  # verl's name for the partition of the queue that holds training rollouts


def check_seams() -> None:
    """Raises TypeError where the installed verl is not as it was when this was written."""
    problems = []
    for owner, name, expected in SEAMS:
        method = getattr(owner, name, None)
        found = None if method is None else list(inspect.signature(inspect.unwrap(method)).parameters)
        if found != expected:
            problems.append(f"{owner.__name__}.{name} has parameters {found}, not {expected}")
    gone = OPTIONS - set(inspect.signature(ReplayBuffer.__init__).parameters)
    problems += [f"ReplayBuffer takes no {name}" for name in sorted(gone)]
    for source, texts in MENTIONS:
        text = inspect.getsource(inspect.unwrap(source))
        problems += [f"{source.__name__} does not contain {each}" for each in texts if each not in text]
    if "didact" not in str(trainer_base.StatefulDataLoader(_Probe(), num_workers=0).state_dict()):
        problems.append("torchdata's StatefulDataLoader does not save the state of its data set")
    if problems:
        raise TypeError(f"verl {verl.__version__}: {problems[0]}; tested: verl{SUPPORTED}")


class _Probe(torch.utils.data.Dataset[int]):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, item: int) -> int:
        return item

    def state_dict(self) -> dict[str, str]:
        return {"probe": "didact"}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


check_seams()
