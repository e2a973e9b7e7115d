"""What verl's configuration names: data set, replay buffer, agent loops, estimator. See `didact.adapters.verl`."""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import transfer_queue as tq

from didact.adapters.verl.checks import LOOPS
from didact.adapters.verl.run import Run, current_run, running
from didact.adapters.verl.seams import (
    TRAIN,
    ReplayBuffer,
    RLHFDataset,
    SingleTurnAgentLoop,
    ToolAgentLoop,
    register,
    register_adv_est,
)
from didact.adapters.verl.session import PATIENCE, Returned, TrainingGroup
from didact.advantage import group_advantages, offered_baselines, weighted_advantages

logger = logging.getLogger(__name__)


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
        self.run: Run | None = None
        if _listed(data_files) == _listed(config.get("train_files")):
            if _listed(data_files) == _listed(config.get("val_files")):
                raise ValueError(
                    "data.train_files and data.val_files are the same: verl does not tell a data set which of the two "
                    "it is; validate on other files (a copy will do)"
                )
            self.run = running[TRAIN] = Run(self)

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
        if partition_id != TRAIN:
            return super().sample(global_steps, partition_id, batch_size)  # type: ignore[no-any-return]
        run = current_run()
        self._sync_metadata_from_transfer_queue()
        if run.session.asynchronous:
            groups = self._next_groups(run, global_steps, batch_size)
        else:
            groups = self._whole_step(run, global_steps)
        keys = [key for group in groups for key in group.keys]
        batch = tq.KVBatchMeta(partition_id=TRAIN, keys=keys, tags=[self.partitions[TRAIN][key] for key in keys])
        metrics = {f"curriculum/{name}": value for name, value in run.session.curriculum.metrics().items()}
        return batch, {**metrics, "curriculum/batch_groups": len(groups), "curriculum/batch_rollouts": len(keys)}

    def _whole_step(self, run: "Run", version: int) -> list[TrainingGroup]:
        session = run.session
        for _ in range(PATIENCE):  # a method may skip a step, as CurES as released does
            while session.queue or session.sent:
                self._dispatch(run, len(session.queue))
                while self.pending_keys[TRAIN] or self.running_keys[TRAIN]:
                    self._wait()
                self._take_in(run, version)
                session.draw()
            dropped = session.admit()
            if session.ready or session.rolled_out:
                groups = session.take(None)
                return run.hand_over(groups or [_silent(dropped, version)], dropped, trains=bool(groups))
            session.next_step()
        raise RuntimeError(f"method {session.curriculum.name!r} planned nothing for {PATIENCE} steps in a row")

    def _next_groups(self, run: "Run", version: int, num: int) -> list[TrainingGroup]:
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

    def _dispatch(self, run: "Run", num: int) -> None:
        """Have verl roll out so many groups. It draws whole batches of its loader: spare rows stand for nothing."""
        if num > 0:
            run.own_request = True
            self.refill_fn(-(-num // run.gen_batch_size) * run.gen_batch_size)
            run.own_request = False
            self._sync_metadata_from_transfer_queue()

    def _wait(self) -> None:
        time.sleep(self.poll_interval)
        self._sync_metadata_from_transfer_queue()

    def _take_in(self, run: "Run", version: int) -> None:
        """Report every group that is done. Its prompt's entry is cleared, its rollouts stay till their fate is known.

        verl keeps nothing of a prompt whose rollouts all failed. In a synchronous step everything that was sent is
        done by now, so what has no rollouts failed; an asynchronous run stores the prompts, with their marks.
        """
        session = run.session
        done = self.finished_keys[TRAIN] | self.failure_keys[TRAIN]
        if not done and (session.asynchronous or not session.sent):
            return
        rows: dict[str, list[str]] = {uid: [] for uid in done}
        for key in self.partitions[TRAIN]:
            if (uid := key.split("_")[0]) in rows:
                rows[uid].append(key)
        returned: dict[tuple[int, int], Returned | None] = {}
        if not session.asynchronous:
            returned = dict.fromkeys(session.sent)
        elif empty := [uid for uid, keys in rows.items() if not keys]:
            marks = run.read(empty, ["didact_group", "didact_part"])
            returned = dict.fromkeys(zip(map(int, marks["didact_group"]), map(int, marks["didact_part"]), strict=True))
        returned |= run.results({uid: sorted(keys, key=_session_of) for uid, keys in rows.items() if keys},
                                self.partitions[TRAIN])  # fmt: skip
        session.observe(returned, version - 1)  # verl counts steps from 1: step s is rolled out by version s - 1
        if done:
            tq.kv_clear(keys=list(done), partition_id=TRAIN)
        self._sync_metadata_from_transfer_queue()

    def _fresh_enough(
        self, ready: Sequence[TrainingGroup], version: int
    ) -> tuple[list[TrainingGroup], list[TrainingGroup]]:
        """By verl's own rule for groups that are too far off policy (max_off_policy_threshold, strategy drop)."""
        most, tags = self.max_off_policy_threshold, self.partitions[TRAIN]
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
    run = current_run()
    curriculum, uids = run.session.curriculum, np.array([str(uid) for uid in index])
    real = np.array([uid in run.training for uid in uids])
    rewards = token_level_rewards.sum(-1).double().cpu().numpy()[real]
    lengths = response_mask.sum(-1).cpu().numpy()[real]
    advantages = np.zeros(len(uids))
    if run.trains:
        groups = [run.training[uid] for uid in uids[real]]
        baselines = np.array([group.baseline for group in groups], dtype=np.float64)  # None is nan
        if not curriculum.own_baseline:
            baselines = offered_baselines(baselines, rewards)
        each = group_advantages(
            rewards, uids[real], curriculum.advantage, lengths, singleton="zero", baselines=baselines
        )
        # verl's losses sum over rows or tokens.
        each = weighted_advantages(each, uids[real], [group.weight for group in groups], curriculum.loss_weighting)
        advantages[real] = each * (len(uids) / len(each) if run.loss_agg_mode.startswith("seq-mean") else 1.0)
    spread = torch.tensor(advantages, dtype=torch.float32, device=response_mask.device)[:, None] * response_mask
    return spread, spread


def _silent(dropped: Sequence[TrainingGroup], step: int) -> TrainingGroup:
    for group in dropped:
        if len(group.keys) > 1:
            return group
    raise RuntimeError(f"step {step}: all rollouts failed; see the logs of the agent-loop workers")


def _session_of(key: str) -> int:
    return int(key.split("_")[1])


def _listed(files: Any) -> list[str]:
    return [files] if isinstance(files, str) else [str(name) for name in files or []]
