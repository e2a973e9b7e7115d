"""verl's control plane on one CPU machine: only the accelerator half is replaced, by a small Llama.

verl's own: configuration, data set, dataloader, TransferQueue, agent-loop workers, LLM client and load balancer, reward
workers, replay buffer, padding, advantages, policy loss, checkpoints, metrics, logger, and the trainer's `fit`.
Replaced: the worker group (`Actor`: the same model, an Adam step on verl's own `ppo_loss`), the rollout engine
(`Server`: didact's CPU decoder in a Ray actor), and the transfer of weights between them (`Weights`).
"""

import asyncio
import copy
import hashlib
import json
import os
import time
import types
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
import transfer_queue as tq
import verl
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf, open_dict
from tensordict import TensorDict
from transformers import AutoModelForCausalLM
from verl.experimental.reward_loop import RewardLoopManager
from verl.trainer.ppo.v1 import AgentLoopManagerTQ
from verl.trainer.ppo.v1.trainer_colocate_async import PPOTrainerColocateAsync
from verl.trainer.ppo.v1.trainer_separate_async import HybridEngineMode, PPOTrainerSeparateAsync
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils import tensordict_utils as tu
from verl.utils.config import omega_conf_to_dataclass
from verl.workers.rollout.llm_server import LLMServerClient
from verl.workers.rollout.replica import TokenOutput
from verl.workers.rollout.router import GlobalRequestLoadBalancer
from verl.workers.utils.losses import ppo_loss

HERE = Path(__file__).parent
PACKAGE = "pkg://didact.adapters.verl"
ON = (
    "data.dataloader_num_workers=0",
    f"data.custom_cls.path={PACKAGE}",
    "data.custom_cls.name=CurriculumDataset",
    f"trainer.v1.sampler.custom_sampler.path={PACKAGE}",
    "trainer.v1.sampler.custom_sampler.name=CurriculumReplayBuffer",
    "+trainer.v1.sampler.sampler_kwargs.poll_interval=0.02",
    "algorithm.adv_estimator=didact",
)


def composed(*overrides: str) -> Any:
    """verl's default configuration with overrides, which its struct mode refuses where a key is unknown."""
    folder = os.path.join(os.path.dirname(verl.__file__), "trainer", "config")
    with initialize_config_dir(folder, version_base=None):
        return compose("ppo_trainer", overrides=list(overrides))


def small(folder: Path, *overrides: str) -> Any:
    """The configuration of a run on the small model: 4 prompts of 8 rollouts a step."""
    config = composed(
        f"data.train_files={folder}/train.parquet",
        f"data.val_files={folder}/val.parquet",
        "data.train_batch_size=4",
        "data.max_prompt_length=8",
        "data.max_response_length=8",
        f"actor_rollout_ref.model.path={folder}/model",
        "actor_rollout_ref.rollout.name=vllm",
        "actor_rollout_ref.rollout.n=8",
        "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=8",
        "actor_rollout_ref.rollout.agent.num_workers=1",
        "actor_rollout_ref.actor.ppo_mini_batch_size=4",
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=8",
        "actor_rollout_ref.actor.optim.lr=0.003",
        "actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-mean",
        "reward.num_workers=1",
        f"reward.custom_reward_function.path={HERE}/task.py",
        "reward.custom_reward_function.name=reward",
        "trainer.total_epochs=1000",
        "trainer.val_before_train=False",
        "trainer.test_freq=-1",
        "trainer.save_freq=-1",
        "trainer.resume_mode=disable",
        "trainer.logger=[console,file]",
        "trainer.n_gpus_per_node=1",
        f"trainer.default_local_dir={folder}/checkpoints",
        "transfer_queue.backend.SimpleStorage.num_data_storage_units=1",
        *overrides,
    )
    with open_dict(config):
        config.transfer_queue.enable = True
    OmegaConf.resolve(config)
    return config


class Server:
    """The rollout engine: collects what is asked for at the same time, and decodes it together.

    The n-th answer to a prompt by one version of the policy is always the same, whatever else is asked for.
    """

    def __init__(self, path: str) -> None:
        torch.set_num_threads(1)
        self._model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
        self._version, self._asked = 0, Counter[str]()
        self._pending: list[tuple[list[int], dict[str, Any], asyncio.Future[TokenOutput]]] = []
        self.limits: list[int] = []

    async def update(self, weights: dict[str, torch.Tensor], version: int) -> None:
        self._model.load_state_dict(weights)
        self._version, self._asked = version, Counter()

    async def used_limits(self) -> list[int]:
        """The context length of every request since the last call."""
        limits, self.limits = self.limits, []
        return limits

    async def generate(
        self, request_id: str, prompt_ids: list[int], sampling_params: dict[str, Any], **_: Any
    ) -> TokenOutput:
        future = asyncio.get_running_loop().create_future()
        self._pending.append((prompt_ids, sampling_params, future))
        if len(self._pending) == 1:
            asyncio.get_running_loop().call_later(0.01, self._decode)
        return await future

    def _decode(self) -> None:
        from didact.training.sampler import Sampler

        pending, self._pending = self._pending, []
        groups = defaultdict(list)
        for prompt, params, future in pending:
            groups[params.get("max_tokens", 8)].append((prompt, future))
        for limit, members in groups.items():
            self.limits += [limit] * len(members)
            draws = np.stack([self._draws(prompt)[:limit] for prompt, _ in members])
            sampler = Sampler(self._model, self._model.config.eos_token_id)
            answers = sampler.sample([prompt for prompt, _ in members], [1] * len(members), draws, limit)
            for answer, (prompt, future) in zip(answers, members, strict=True):
                extra = {"global_steps": self._version}
                scores = self._log_probs(prompt, answer)
                future.set_result(
                    TokenOutput(token_ids=answer, log_probs=scores, stop_reason="completed", extra_fields=extra)
                )

    def _log_probs(self, prompt: list[int], answer: list[int]) -> list[float]:
        with torch.no_grad():
            logits = self._model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
        return torch.log_softmax(logits, -1).gather(-1, torch.tensor(answer)[:, None])[:, 0].tolist()

    def _draws(self, prompt: list[int]) -> np.ndarray:
        name = f"{self._version}/{prompt}"
        self._asked[name] += 1
        digest = hashlib.blake2b(f"{name}/{self._asked[name]}".encode(), digest_size=8).digest()
        return np.random.default_rng(int.from_bytes(digest, "big")).random(64)


class Actor:
    """The worker group of the actor: log-probabilities and updates, read from and written to verl's queue."""

    def __init__(self, config: Any) -> None:
        self._config = omega_conf_to_dataclass(config.actor_rollout_ref.actor)
        # In double precision the order of rows in a batch, which is that of arrival, does not show in the weights.
        self.model = AutoModelForCausalLM.from_pretrained(config.actor_rollout_ref.model.path, dtype=torch.float64)
        self._optimizer = torch.optim.Adam(self.model.parameters(), lr=config.actor_rollout_ref.actor.optim.lr)
        self._dispatch_info = {"actor": [0]}
        self._saved: dict[int, Any] = {}
        self.batches: list[dict[str, Any]] = []  # what each update was given

    def compute_log_prob(self, batch: Any) -> Any:
        data = self._read(batch, ["input_ids"])
        with torch.no_grad():
            log_probs, entropy = self._forward(data["input_ids"])
        fields = TensorDict({"log_probs": log_probs, "entropy": entropy}, len(batch))
        return tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=fields)

    def update_actor(self, batch: Any) -> dict[str, Any]:
        names = ["input_ids", "prompts", "responses", "response_mask", "old_log_probs", "advantages"]
        data, size = self._read(batch, names), batch.extra_info["mini_batch_size"]
        known = self._read(batch, ["uid", "rm_scores", "didact_group", "didact_context"])
        self.batches.append(
            {
                "uid": [str(uid) for uid in known["uid"]],
                "group": [int(group) for group in known["didact_group"]],
                "padding": [bool(tag.get("is_padding")) for tag in batch.tags],
                "reward": [float(scores.sum()) for scores in known["rm_scores"].unbind()],
                "advantage": [float(values[0]) for values in data["advantages"].unbind()],
                "length": [len(tokens) for tokens in data["responses"].unbind()],
                "context": [int(length) for length in known["didact_context"]],
            }
        )
        losses = []
        for start in range(0, len(batch), size):
            part = self._read(batch, names, slice(start, start + size))
            num_tokens = float(part["response_mask"].values().sum())
            tu.assign_non_tensor(part, dp_size=1, batch_num_tokens=num_tokens, global_batch_size=size)
            log_probs, _ = self._forward(part["input_ids"])
            loss, _ = ppo_loss(self._config, {"log_probs": log_probs}, part)
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
            losses.append(loss.item())
        return {"metrics": {"loss": losses, "mfu": [0.0]}}

    def save_model_to_cpu(self, name: int) -> None:
        self._saved[name] = copy.deepcopy(self.model.state_dict())

    def restore_model_from_cpu(self, name: int) -> None:
        self.model.load_state_dict(self._saved[name])

    def clear_cpu_model(self, name: int) -> None:
        del self._saved[name]

    def save_checkpoint(self, path: str, *_: Any, **__: Any) -> None:
        Path(path).mkdir(parents=True, exist_ok=True)
        state = {"model": self.model.state_dict(), "optimizer": self._optimizer.state_dict()}
        torch.save(state, f"{path}/state.pt")

    def load_checkpoint(self, local_path: str, **_: Any) -> None:
        state = torch.load(f"{local_path}/state.pt")
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])

    def _read(self, batch: Any, fields: list[str], rows: slice = slice(None)) -> Any:
        return tq.kv_batch_get(keys=batch.keys[rows], partition_id=batch.partition_id, select_fields=fields)

    def _forward(self, input_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probability of the token after each position, and entropy there, as jagged nested tensors."""
        rows = input_ids.unbind()
        tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        all_log_probs = torch.log_softmax(self.model(tokens).logits, -1)
        following = torch.roll(tokens, -1, 1)
        chosen = all_log_probs.gather(-1, following[..., None])[..., 0]
        entropy = -(all_log_probs.exp() * all_log_probs).sum(-1).detach()
        pair = ([values[: len(row)] for values, row in zip(each, rows, strict=True)] for each in (chosen, entropy))
        log_probs, entropies = (torch.nested.as_nested_tensor(each, layout=torch.jagged) for each in pair)
        return log_probs, entropies


class Weights:
    """verl's checkpoint engine manager: hands the actor's weights to the server."""

    def __init__(self, actor: Actor, server: Any) -> None:
        self._actor, self._server = actor, server

    def update_weights(self, version: int = 0) -> None:
        weights = {name: value.float() for name, value in self._actor.model.state_dict().items()}
        ray.get(self._server.update.remote(weights, version))

    def sleep_replicas(self) -> None: ...
    def abort_replicas(self, **_: Any) -> None: ...
    def resume_generation_replicas(self) -> None: ...


class OnCPU:
    """In front of a trainer of verl: sets up the stand-ins instead of worker groups and servers."""

    cluster: "Cluster"

    def _setup(self) -> None:
        self._init_tokenizer()
        self._init_dataloader()
        self._init_dump_executor()
        self.ref_in_actor = False
        self.actor_rollout_wg = Actor(self.config)
        self.checkpoint_manager = Weights(self.actor_rollout_wg, self.cluster.server)
        self.reward_loop_manager = self.cluster.rewards
        self.resource_pool_manager = types.SimpleNamespace(get_n_gpus=lambda: 1)
        self.llm_server_manager = None
        self._load_checkpoint()


class Synchronous(OnCPU, PPOTrainerSync):
    pass


class Colocated(OnCPU, PPOTrainerColocateAsync):
    pass


class Separate(OnCPU, PPOTrainerSeparateAsync):
    """Two updates between transfers of weights."""

    SETTINGS = (
        "trainer.v1.trainer_mode=separate_async",
        "trainer.v1.separate_async.parameter_sync_step=2",
        "actor_rollout_ref.actor.ppo_mini_batch_size=2",
        "actor_rollout_ref.hybrid_engine=false",
        "actor_rollout_ref.rollout.nnodes=1",
        "actor_rollout_ref.rollout.n_gpus_per_node=1",
        "actor_rollout_ref.rollout.checkpoint_engine.backend=nccl",
    )

    def _setup(self) -> None:
        super()._setup()
        self.standalone_checkpoint_manager = self.checkpoint_manager
        self.current_mode = HybridEngineMode.TRAINER


class Cluster:
    """What runs share: Ray, the queue, the server and its client, agent-loop and reward workers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        environment = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "VERL_LOGGING_LEVEL": "ERROR"}
        ray.init(
            num_cpus=16,
            include_dashboard=False,
            object_store_memory=200_000_000,
            log_to_driver=False,
            logging_level="ERROR",
            runtime_env={"env_vars": environment},
        )
        # The workers import the adapter; which method is in use they do not see.
        config = small(folder, *ON, "+data.curriculum.method=uniform")
        tq.init(config.transfer_queue)
        self.server = ray.remote(Server).remote(config.actor_rollout_ref.model.path)
        balancer = ray.remote(GlobalRequestLoadBalancer).remote({"cpu": self.server})
        self.rewards = RewardLoopManager(config)
        self.agents = AgentLoopManagerTQ.create(
            config=config,
            llm_client=LLMServerClient(config, balancer),
            teacher_client=None,
            reward_loop_worker_handles=self.rewards.reward_loop_worker_handles,
        )

    def trainer(self, *overrides: str, steps: int, kind: type = Synchronous) -> Any:
        """A trainer of verl, ready to fit; what an earlier run left in the queue is gone."""
        while {"pending", "running"} & {tag.get("status") for tag in self.entries().values()}:
            time.sleep(0.1)  # an asynchronous run ends with prompts in flight
        for partition, keys in (tq.kv_list() or {}).items():
            if keys:
                tq.kv_clear(keys=list(keys), partition_id=partition)
        trainer = type(kind.__name__, (kind,), {"cluster": self})(
            small(self.folder, f"trainer.total_training_steps={steps}", *overrides)
        )
        trainer.init()
        return trainer

    def fit(self, *overrides: str, steps: int, kind: type = Synchronous, log: Path | None = None) -> Any:
        """Run `fit` of verl; the trainer after it. `log` is where verl's file logger writes, one line a step."""
        if log is not None:
            os.environ["VERL_FILE_LOGGER_PATH"] = str(log)
        trainer = self.trainer(*overrides, steps=steps, kind=kind)
        try:
            trainer.fit(self.agents)
        finally:
            os.environ.pop("VERL_FILE_LOGGER_PATH", None)
            # The process goes on, and another trainer with the run.
            trainer.train_dataset.run.session.curriculum.listener.close()
        return trainer

    def entries(self) -> dict[str, dict[str, Any]]:
        """What the queue holds of the training prompts and rollouts: tags by key."""
        return (tq.kv_list("train") or {}).get("train", {})

    def close(self) -> None:
        tq.close()
        ray.shutdown()


def logged(path: Path) -> list[dict[str, Any]]:
    """The metrics of each step, as verl's file logger wrote them."""
    return [json.loads(line)["data"] for line in path.read_text().splitlines()]
