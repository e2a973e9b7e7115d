"""verl 0.9.1 and later: a curriculum for its V1 trainer, switched on by configuration keys alone.

    data.custom_cls.path=pkg://didact.adapters.verl                    data.custom_cls.name=CurriculumDataset
    trainer.v1.sampler.custom_sampler.path=pkg://didact.adapters.verl  ...custom_sampler.name=CurriculumReplayBuffer
    data.dataloader_num_workers=0        +data.curriculum.method=cures       algorithm.adv_estimator=didact

The data set binds late: the row is chosen when verl asks for it, whatever index its sampler drew, and says how often
it is rolled out (`__rollout_n__`; 0 for a row that stands for nothing). The replay buffer, from which verl draws its
batch, waits for a round, tells the curriculum, has verl roll out the next one, and returns what trains. Rows carry a
context length to an agent loop that keeps to it, and `didact` is an advantage estimator for groups of unequal sizes.

verl keeps rollouts in its TransferQueue by key and groups them by the stored field `uid`; rollouts that continue a
group are given the uid of its first ones. What is not admitted is cleared there; groups that wait for a later step stay
there and, as a checkpoint of a synchronous run does not hold the queue, are saved with the curriculum, in `data.pt`.

`SEAMS` and the strings in `MENTIONS` are what this rests on without being verl's documented interface; they are checked
when this module is imported. Refused by name: see `_refuse`. Use `pkg://` paths: by a file's path verl would load this
twice, and the data set would not find the replay buffer's curriculum.
"""

import inspect
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transfer_queue as tq
import verl
from omegaconf import OmegaConf
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from tensordict import NonTensorStack, TensorDict

from didact.adapters.verl.session import PATIENCE, Returned, Sent, Session, TrainingGroup
from didact.adapters.verl.settings import (
    check_mark,
    curriculum_of,
    evidence_of,
    mark_of,
    pool_of,
    recorded,
    rollouts_per_prompt,
    settings_of,
)
from didact.advantage import group_advantages, loss_weights
from didact.context import FixedContext
from didact.curriculum import Curriculum
from didact.journal import read_journal


def _check_version(installed: str) -> None:
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
_check_version(verl.__version__)

# Not there in the versions refused above.
from verl.experimental.agent_loop.agent_loop import AgentLoopWorker, register  # noqa: E402
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop  # noqa: E402
from verl.experimental.agent_loop.tool_agent_loop import ToolAgentLoop  # noqa: E402
from verl.trainer.ppo.core_algos import register_adv_est  # noqa: E402
from verl.trainer.ppo.ray_trainer import compute_advantage  # noqa: E402
from verl.trainer.ppo.v1 import agent_loop_tq, trainer_base  # noqa: E402
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer  # noqa: E402
from verl.utils.dataset.rl_dataset import RLHFDataset  # noqa: E402

logger = logging.getLogger(__name__)

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
#: Agent loops of verl and those that do the same within the context length of a row.
LOOPS = {"single_turn_agent": "didact_single_turn_agent", "tool_agent": "didact_tool_agent"}
_TRAIN = "train"  # verl's name for the partition of the queue that holds training rollouts


class CurriculumDataset(RLHFDataset):
    """What `data.custom_cls.name` names: verl's own data set, whose rows the curriculum chooses.

    verl builds it twice, for training and for validation, with the same configuration. The one whose files are not
    `data.train_files` behaves as RLHFDataset does.

    Raises:
        ValueError, TypeError: what cannot be expressed, said before training starts.
    """

    def __init__(
        self, data_files: Any, tokenizer: Any, config: Any, processor: Any = None, max_samples: int = -1
    ) -> None:
        super().__init__(data_files, tokenizer, config, processor, max_samples)
        self.run: _Run | None = None
        if _listed(data_files) == _listed(config.get("train_files")):
            if _listed(data_files) == _listed(config.get("val_files")):
                raise ValueError(
                    "data.train_files and data.val_files are the same: verl does not tell a data set which of the two "
                    "it is; validate on other files (a copy will do)"
                )
            self.run = _running[_TRAIN] = _Run(self)

    def __getitem__(self, item: Any) -> dict[str, Any]:
        if self.run is None:
            return dict(super().__getitem__(item))
        bound = self.run.bind()
        row = dict(super().__getitem__(self.run.row_of(bound)))
        return row | self.run.columns_of(bound, row)

    # StatefulDataLoader keeps this in verl's data.pt, and loads it before the first row is drawn.

    def state_dict(self) -> dict[str, Any]:
        return self.run.state_dict() if self.run else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if self.run and state:
            self.run.load_state_dict(state)


class CurriculumReplayBuffer(ReplayBuffer):
    """What `trainer.v1.sampler.custom_sampler.name` names: tells outcomes, asks for further rounds, admits groups.

    `+trainer.v1.sampler.sampler_kwargs.poll_interval=0.5` is how long it waits, in seconds, before it looks again.
    """

    def __init__(self, **options: Any) -> None:
        given = dict(options.get("sampler_kwargs") or {})
        options.setdefault("poll_interval", float(given.pop("poll_interval", 0.5)))
        if given:
            raise ValueError(f"trainer.v1.sampler.sampler_kwargs: unknown {sorted(given)[0]!r}; known: poll_interval")
        super().__init__(**options)

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> tuple[Any, dict[str, Any]]:
        """The batch of a step and the curriculum's metrics; for validation, as verl has it."""
        if partition_id != _TRAIN:
            return super().sample(global_steps, partition_id, batch_size)  # type: ignore[no-any-return]
        run = _current_run()
        self._sync_metadata_from_transfer_queue()
        if run.session.asynchronous:
            groups = self._next_groups(run, global_steps, batch_size)
        else:
            groups = self._whole_step(run, global_steps)
        keys = [key for group in groups for key in group.keys]
        batch = tq.KVBatchMeta(partition_id=_TRAIN, keys=keys, tags=[self.partitions[_TRAIN][key] for key in keys])
        metrics = {f"curriculum/{name}": value for name, value in run.session.curriculum.metrics().items()}
        return batch, {**metrics, "curriculum/batch_groups": len(groups), "curriculum/batch_rollouts": len(keys)}

    def _whole_step(self, run: "_Run", version: int) -> list[TrainingGroup]:
        session = run.session
        for _ in range(PATIENCE):  # a method may skip a step, as CurES as released does
            while session.queue or session.sent:
                self._dispatch(run, len(session.queue))
                while self.pending_keys[_TRAIN] or self.running_keys[_TRAIN]:
                    self._wait()
                self._take_in(run, version)
                session.draw()
            dropped = session.admit()
            if session.ready or session.rolled_out:
                groups = session.take(None)
                return run.hand_over(groups or [_silent(dropped, version)], dropped, trains=bool(groups))
            session.next_step()
        raise RuntimeError(f"method {session.curriculum.name!r} planned nothing for {PATIENCE} steps in a row")

    def _next_groups(self, run: "_Run", version: int, num: int) -> list[TrainingGroup]:
        session, spare, fruitless = run.session, list[TrainingGroup](), 0
        while True:
            self._take_in(run, version)
            dropped = session.admit()
            session.ready, old = self._fresh_enough(session.ready, version)
            forget = [*spare, *old] if dropped else old
            spare = dropped or spare  # in case nothing is ever admitted
            run.forget(forget)
            if len(session.ready) >= num or fruitless > PATIENCE:
                groups = session.take(num)
                return run.hand_over(groups or [_silent(spare, version)], spare, trains=bool(groups))
            if session.queue or session.wanted > 0:
                session.draw()
            if session.queue:  # no more than verl asked for, but a step of several rounds is not left half done
                most = max(session.wanted, 0) if session.curriculum.one_round else len(session.queue)
                self._dispatch(run, min(len(session.queue), most))
            if session.sent:
                self._wait()
            elif session.idle:
                fruitless += 1
                session.next_step()

    def _dispatch(self, run: "_Run", num: int) -> None:
        """Have verl roll out so many groups. It draws whole batches of its loader: spare rows stand for nothing."""
        if num > 0:
            run.own_request = True
            self.refill_fn(-(-num // run.gen_batch_size) * run.gen_batch_size)
            run.own_request = False
            self._sync_metadata_from_transfer_queue()

    def _wait(self) -> None:
        time.sleep(self.poll_interval)
        self._sync_metadata_from_transfer_queue()

    def _take_in(self, run: "_Run", version: int) -> None:
        """Report every group that is done. Its prompt's entry is cleared, its rollouts stay till their fate is known.

        verl keeps nothing of a prompt whose rollouts all failed. In a synchronous step everything that was sent is
        done by now, so what has no rollouts failed; an asynchronous run stores the prompts, with their marks.
        """
        session = run.session
        done = self.finished_keys[_TRAIN] | self.failure_keys[_TRAIN]
        if not done and (session.asynchronous or not session.sent):
            return
        rows: dict[str, list[str]] = {uid: [] for uid in done}
        for key in self.partitions[_TRAIN]:
            if (uid := key.split("_")[0]) in rows:
                rows[uid].append(key)
        returned: dict[tuple[int, int], Returned | None] = {}
        if not session.asynchronous:
            returned = dict.fromkeys(session.sent)
        elif empty := [uid for uid, keys in rows.items() if not keys]:
            marks = run.read(empty, ["didact_group", "didact_part"])
            returned = dict.fromkeys(zip(map(int, marks["didact_group"]), map(int, marks["didact_part"]), strict=True))
        returned |= run.results({uid: sorted(keys, key=_session_of) for uid, keys in rows.items() if keys},
                                self.partitions[_TRAIN])  # fmt: skip
        session.observe(returned, version - 1)  # verl counts steps from 1: step s is rolled out by version s - 1
        if done:
            tq.kv_clear(keys=list(done), partition_id=_TRAIN)
        self._sync_metadata_from_transfer_queue()

    def _fresh_enough(
        self, ready: Sequence[TrainingGroup], version: int
    ) -> tuple[list[TrainingGroup], list[TrainingGroup]]:
        """By verl's own rule for groups that are too far off policy (max_off_policy_threshold, strategy drop)."""
        most, tags = self.max_off_policy_threshold, self.partitions[_TRAIN]
        old = [
            most is not None and any(version - tags[key]["global_steps"] + 1 > most for key in group.keys)
            for group in ready
        ]
        split: tuple[list[TrainingGroup], list[TrainingGroup]] = ([], [])
        for group, late in zip(ready, old, strict=True):
            split[late].append(group)
        if split[1]:
            logger.warning("%d admitted groups are more than %s steps off policy and are dropped", len(split[1]), most)
        return split


class _ContextLimit:
    """In front of an agent loop of verl: keeps a response within the context length that the curriculum set for it."""

    response_length: int

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> Any:
        self.response_length = min(self.response_length, int(row.get("didact_context") or self.response_length))
        limited = {**sampling_params, "max_tokens": self.response_length}
        return await super().run(limited, **row)  # type: ignore[misc]


# Every agent-loop worker imports the module of the data set, and so knows these.


@register(LOOPS["single_turn_agent"])
class CurriculumSingleTurnAgentLoop(_ContextLimit, SingleTurnAgentLoop):
    """verl's single-turn agent loop within the context length of its row."""


@register(LOOPS["tool_agent"])
class CurriculumToolAgentLoop(_ContextLimit, ToolAgentLoop):
    """verl's tool agent loop within the context length of its row, over all of its turns."""


@register_adv_est("didact")  # type: ignore[untyped-decorator]
def curriculum_advantages(
    token_level_rewards: torch.Tensor, response_mask: torch.Tensor, index: np.ndarray, **_: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """`algorithm.adv_estimator=didact`: the estimator and the weighting that the method is meant for.

    Args:
        token_level_rewards, response_mask: shape (rows, response tokens); a row's reward is its sum.
        index: the uid of each row, shape (rows,). Rows of other uids are verl's padding.

    Returns:
        Advantages and returns, the same, shape (rows, response tokens). Rows that fill up a mini-batch get 0; where the
        loss is a mean over sequences they are counted all the same, so the others weigh more in proportion.
    """
    run = _current_run()
    curriculum, uids = run.session.curriculum, np.array([str(uid) for uid in index])
    real = np.array([uid in run.training for uid in uids])
    rewards = token_level_rewards.sum(-1).double().cpu().numpy()[real]
    lengths = response_mask.sum(-1).cpu().numpy()[real]
    advantages = np.zeros(len(uids))
    if run.trains:
        groups = [run.training[uid] for uid in uids[real]]
        baselines, weights = [group.baseline for group in groups], np.array([group.weight for group in groups])
        each = group_advantages(
            rewards, uids[real], curriculum.advantage, lengths, singleton="zero", baselines=_floats(baselines)
        )
        if curriculum.loss_weighting == "prompt":
            # verl's losses sum over rows or tokens; mean(n) / n_i makes that a mean over prompts. Equal groups: 1.
            each = each * loss_weights(uids[real], weights=weights) * len(each)
        else:
            each = each * (weights / weights.mean())
        advantages[real] = each * (len(uids) / len(each) if run.loss_agg_mode.startswith("seq-mean") else 1.0)
    spread = torch.tensor(advantages, dtype=torch.float32, device=response_mask.device)[:, None] * response_mask
    return spread, spread


class _Run:
    """The curriculum of the training data set, and what of verl's configuration and storage it needs."""

    def __init__(self, dataset: RLHFDataset) -> None:
        config = dataset.config
        self._dataset = dataset
        self._mark: dict[str, Any] | None = None
        self.settings = settings_of(config)
        pool = pool_of(dataset, self.settings.prompt_id)
        self._row_of = {prompt_id: row for row, prompt_id in enumerate(pool.ids)}
        size = int(config.train_batch_size)
        usual = {
            "prompts_per_step": size,
            "rollouts_per_step": size * rollouts_per_prompt(config),
            "seed": config.get("seed") or 0,
        }
        curriculum = curriculum_of(self.settings, pool, **usual)
        self.estimator = str(_setting(config, "algorithm.adv_estimator"))
        self.loss_agg_mode = str(_setting(config, "actor_rollout_ref.actor.loss_agg_mode"))
        self.response_length = int(_setting(config, "actor_rollout_ref.rollout.response_length"))
        self._loop = str(_setting(config, "actor_rollout_ref.rollout.agent.default_agent_loop"))
        asynchronous = _setting(config, "trainer.v1.trainer_mode") != "sync"
        _refuse(config, curriculum, self.estimator, self.response_length, len(pool))
        _warn(curriculum, self.estimator)
        self.gen_batch_size = 1 if asynchronous else int(config.get("gen_batch_size") or size)
        self.own_request = False  # whether the rows that verl draws now are for the replay buffer
        self.training: dict[str, TrainingGroup] = {}  # the groups in the trainer's batch, by uid
        self.trains = True  # False where nothing was admitted, and the batch only keeps verl going
        self._journal: Path | None = None
        recording: Any = curriculum
        if self.settings.run is not None:
            recording = recorded(curriculum, self.settings.run)
            if read_journal(recording.journal.path)[1:]:  # of the run that is resumed, or of another
                self._journal = recording.journal.path
        self.session = Session(recording, asynchronous=asynchronous)
        tokenizer = dataset.tokenizer
        self._stop = {tokenizer.eos_token_id, tokenizer.pad_token_id}

    # Rows -------------------------------------------------------------------------------------------------------

    def bind(self) -> Sent | None:
        """The planned group that verl's next row stands for."""
        if self._journal is not None:
            raise ValueError(f"{self._journal} is another run's, and verl loaded no checkpoint: name another folder")
        return self.session.bind(asked=not self.own_request)

    def row_of(self, bound: Sent | None) -> int:
        return self._row_of[bound.group.prompt_id] if bound else 0

    def columns_of(self, bound: Sent | None, row: Mapping[str, Any]) -> dict[str, Any]:
        """What tells verl and this adapter, later, which group a row stands for."""
        loop = row.get("agent_name") or self._loop
        if bound is None:  # verl draws so many rows and no fewer; with no rollouts it costs nothing
            return {"__rollout_n__": 0, "agent_name": loop, "didact_group": -1, "didact_part": 0, "didact_context": 0}
        group, context = bound.group, bound.group.context_length or 0
        if context and loop not in LOOPS:
            raise ValueError(f"agent loop {loop!r} knows no context length for a row; those of {sorted(LOOPS)} do")
        return {
            "__rollout_n__": group.num_rollouts,
            "agent_name": LOOPS[loop] if context else loop,
            "didact_group": group.group_id,
            "didact_part": bound.part,
            "didact_context": context,
        }

    # Rollouts ---------------------------------------------------------------------------------------------------

    def read(self, keys: Sequence[str], fields: Sequence[str]) -> Any:
        """Fields of stored rows, in order. Raises TypeError where verl does not store them."""
        data = tq.kv_batch_get(keys=list(keys), partition_id=_TRAIN, select_fields=list(fields))
        if missing := [name for name in fields if name not in data]:
            raise TypeError(
                f"verl {verl.__version__} stores no {missing[0]!r} with its rollouts (it has {sorted(data.keys())}); "
                f"tested: verl{SUPPORTED}"
            )
        return data

    def results(
        self, rows: Mapping[str, Sequence[str]], tags: Mapping[str, Mapping[str, Any]]
    ) -> dict[tuple[int, int], Returned]:
        """What came back, by the mark of what was sent. `rows` are the keys of each uid."""
        keys = [key for each in rows.values() for key in each]
        if not keys:
            return {}
        if len({key.rpartition("_")[0] for key in keys}) < len(keys):
            raise ValueError("an agent loop returned several sequences for one rollout: this adapter takes one")
        data = self.read(keys, ["didact_group", "didact_part", "didact_context", *self._evidence_fields()])
        marks = list(zip(map(int, data["didact_group"]), map(int, data["didact_part"]), strict=True))
        limits = [int(context) or self.response_length for context in data["didact_context"]]
        rewards = dict(zip(keys, self._evidence(data), strict=True))
        full = [key for key, limit in zip(keys, limits, strict=True) if tags[key]["response_len"] >= limit]
        cut = dict.fromkeys(keys, False)
        if full:
            ends = [int(tokens[-1]) for tokens in self.read(full, ["responses"])["responses"].unbind()]
            cut |= {key: end not in self._stop for key, end in zip(full, ends, strict=True)}
        found, start = {}, 0
        for uid, each in rows.items():
            mark, start = marks[start], start + len(each)
            versions = [tags[key].get("min_global_steps") for key in each]
            if (first := self.session.uid_of(mark[0])) not in (None, uid):
                same = NonTensorStack(*[first] * len(each))
                tq.kv_batch_put(keys=list(each), partition_id=_TRAIN, fields=TensorDict({"uid": same}, [len(each)]))
            found[mark] = Returned(
                uid,
                each,
                [rewards[key] for key in each],
                [int(tags[key]["response_len"]) for key in each],
                [cut[key] for key in each],
                int(tags[each[0]]["prompt_len"]),
                None if None in versions else min(map(int, versions)),  # type: ignore[arg-type]
            )
        return found

    def hand_over(
        self, groups: Sequence[TrainingGroup], dropped: Sequence[TrainingGroup], *, trains: bool
    ) -> list[TrainingGroup]:
        """The batch of a step. Where nothing was admitted it is a group whose rewards are made equal: verl cannot go
        through a step without rows, and equal rewards have no advantage."""
        self.training, self.trains = {group.uid: group for group in groups}, trains
        kept = {key for group in groups for key in group.keys}
        self.forget([group for group in dropped if not kept.intersection(group.keys)])
        if not trains:
            logger.warning("no group was admitted at step %d: it trains on nothing", self.session.curriculum.step)
            keys = list(groups[0].keys)
            scores = self.read(keys, ["rm_scores"])["rm_scores"].unbind()
            mean = sum(float(score.sum()) for score in scores) / len(keys)
            level = [torch.cat([torch.zeros_like(score[1:]), score.new_full((1,), mean)]) for score in scores]
            fields = TensorDict({"rm_scores": torch.nested.as_nested_tensor(level, layout=torch.jagged)}, [len(keys)])
            tq.kv_batch_put(keys=keys, partition_id=_TRAIN, fields=fields)
        if any(group.baseline is not None for group in groups) and self.estimator != "didact":
            name = self.session.curriculum.name
            raise ValueError(f"method {name!r} has baselines of its own: set algorithm.adv_estimator=didact")
        return list(groups)

    def forget(self, groups: Sequence[TrainingGroup]) -> None:
        """Clear rollouts that will not train."""
        if keys := [key for group in groups for key in group.keys]:
            tq.kv_clear(keys=keys, partition_id=_TRAIN)

    def _evidence_fields(self) -> list[str]:
        # A method with baselines of its own has them in units of the evidence, which must be what trains.
        return ["rm_scores"] if self.session.curriculum.own_baseline else ["rm_scores", "extra_fields"]

    def _evidence(self, data: Any) -> list[float]:
        totals = [float(scores.sum()) for scores in data["rm_scores"].unbind()]
        if self.session.curriculum.own_baseline:
            return totals
        infos = [getattr(fields, "data", fields).get("reward_extra_info", {}) for fields in data["extra_fields"]]
        return [evidence_of(*each, self.settings.verifier) for each in zip(infos, totals, strict=True)]

    # State ------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The session and, since the queue of a synchronous run is lost with it, the rollouts that wait in it."""
        if self._mark is None:  # one pass through the data, at the first checkpoint
            self._mark = mark_of(self._dataset)
        state = {"session": self.session.state_dict(), "rows": None, "data": self._mark}
        if (keys := self.session.keys()) and not self.session.asynchronous:
            tags = tq.kv_list(_TRAIN)[_TRAIN]
            state["rows"] = {"keys": keys, "tags": [tags[key] for key in keys],
                             "fields": tq.kv_batch_get(keys=keys, partition_id=_TRAIN)}  # fmt: skip
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        check_mark(state.get("data"), self._dataset)
        self.session.load_state_dict(state["session"])
        self._journal = None  # it has been cut back to the checkpoint
        if state["rows"]:
            tq.kv_batch_put(**state["rows"], partition_id=_TRAIN)


#: The run of this process, by partition. verl builds data set and replay buffer apart, in the process of its trainer,
#: and hands neither to the other; nor does an advantage estimator get either. So they meet here.
_running: dict[str, _Run] = {}


def _current_run() -> _Run:
    if _TRAIN not in _running:
        raise RuntimeError(
            "the curriculum's replay buffer or estimator is in use without its data set: set "
            "data.custom_cls.path=pkg://didact.adapters.verl and data.custom_cls.name=CurriculumDataset"
        )
    return _running[_TRAIN]


def _refuse(config: Any, curriculum: Curriculum, estimator: str, response_length: int, size: int) -> None:
    """Say now what would otherwise go wrong in silence, or hours later."""

    def of(name: str) -> Any:
        return _setting(config, name, None)

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


def _warn(curriculum: Curriculum, estimator: str) -> None:
    if curriculum.uneven and estimator != "didact":
        logger.warning(
            "method %r makes groups of unequal sizes, and algorithm.adv_estimator=%s weighs prompts by their rollouts; "
            "didact weighs them alike", curriculum.name, estimator,
        )  # fmt: skip


def _check_seams() -> None:
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


def _setting(config: Any, name: str, *default: Any) -> Any:
    """A setting of the whole configuration that `config` (its node data) is a part of."""
    value = OmegaConf.select(config, f"..{name}")
    if value is None and not default:
        raise ValueError(f"{name} is not to be found from config.data: hand over a node of verl's whole configuration")
    return value


def _silent(dropped: Sequence[TrainingGroup], step: int) -> TrainingGroup:
    for group in dropped:
        if len(group.keys) > 1:
            return group
    raise RuntimeError(f"step {step}: all rollouts failed; see the logs of the agent-loop workers")


def _session_of(key: str) -> int:
    return int(key.split("_")[1])


def _listed(files: Any) -> list[str]:
    return [files] if isinstance(files, str) else [str(name) for name in files or []]


def _floats(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


_check_seams()
