"""A run of verl: the curriculum of its training data set, and what of verl's configuration and storage that needs."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transfer_queue as tq
import verl
from tensordict import NonTensorStack, TensorDict

from didact.adapters.verl.checks import LOOPS, refuse, warn
from didact.adapters.verl.data import check_mark, evidence_of, mark_of, pool_of
from didact.adapters.verl.seams import SUPPORTED, TRAIN, RLHFDataset
from didact.adapters.verl.session import Returned, Sent, Session, TrainingGroup
from didact.adapters.verl.settings import curriculum_of, record_run, rollouts_per_prompt, setting, settings_of
from didact.journal import read_journal
from didact.methods import find

logger = logging.getLogger(__name__)


class Run:
    """The curriculum of the training data set, and what of verl's configuration and storage it needs."""

    def __init__(self, dataset: RLHFDataset) -> None:
        config = dataset.config
        self._dataset = dataset
        self._mark: dict[str, Any] | None = None
        self.settings = settings_of(config)
        pool = pool_of(dataset, self.settings.prompt_id, words=find(self.settings.method).wants_words)
        self._row_of = {prompt_id: row for row, prompt_id in enumerate(pool.ids)}
        size = int(config.train_batch_size)
        usual = {
            "prompts_per_step": size,
            "rollouts_per_step": size * rollouts_per_prompt(config),
            "seed": config.get("seed") or 0,
        }
        curriculum = curriculum_of(self.settings, pool, **usual)
        self.estimator = str(setting(config, "algorithm.adv_estimator"))
        self.loss_agg_mode = str(setting(config, "actor_rollout_ref.actor.loss_agg_mode"))
        self.response_length = int(setting(config, "actor_rollout_ref.rollout.response_length"))
        self._loop = str(setting(config, "actor_rollout_ref.rollout.agent.default_agent_loop"))
        asynchronous = setting(config, "trainer.v1.trainer_mode") != "sync"
        refuse(config, curriculum, self.estimator, self.response_length, len(pool))
        warn(curriculum, self.estimator)
        self.gen_batch_size = 1 if asynchronous else int(config.get("gen_batch_size") or size)
        self.own_request = False  # whether the rows that verl draws now are for the replay buffer
        self.training: dict[str, TrainingGroup] = {}  # the groups in the trainer's batch, by uid
        self.trains = True  # False where nothing was admitted, and the batch only keeps verl going
        self._journal: Path | None = None
        if self.settings.run is not None:
            journal = record_run(curriculum, self.settings.run)
            if read_journal(journal)[1:]:  # of the run that is resumed, or of another
                self._journal = journal
        self.session = Session(curriculum, asynchronous=asynchronous)
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
        data = tq.kv_batch_get(keys=list(keys), partition_id=TRAIN, select_fields=list(fields))
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
                tq.kv_batch_put(keys=list(each), partition_id=TRAIN, fields=TensorDict({"uid": same}, [len(each)]))
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
            tq.kv_batch_put(keys=keys, partition_id=TRAIN, fields=fields)
        curriculum = self.session.curriculum
        if curriculum.own_baseline and self.estimator != "didact" and any(each.baseline is not None for each in groups):
            name = curriculum.name
            raise ValueError(f"method {name!r} has baselines of its own: set algorithm.adv_estimator=didact")
        return list(groups)

    def forget(self, groups: Sequence[TrainingGroup]) -> None:
        """Clear rollouts that will not train."""
        if keys := [key for group in groups for key in group.keys]:
            tq.kv_clear(keys=keys, partition_id=TRAIN)

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
            tags = tq.kv_list(TRAIN)[TRAIN]
            state["rows"] = {"keys": keys, "tags": [tags[key] for key in keys],
                             "fields": tq.kv_batch_get(keys=keys, partition_id=TRAIN)}  # fmt: skip
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        check_mark(state.get("data"), self._dataset)
        self.session.load_state_dict(state["session"])
        self._journal = None  # it has been cut back to the checkpoint
        if state["rows"]:
            tq.kv_batch_put(**state["rows"], partition_id=TRAIN)


#: The run of this process, by partition. verl builds data set and replay buffer apart, in the process of its trainer,
#: and hands neither to the other; nor does an advantage estimator get either. So they meet here.
running: dict[str, Run] = {}


def current_run() -> Run:
    if TRAIN not in running:
        raise RuntimeError(
            "the curriculum's replay buffer or estimator is in use without its data set: set "
            "data.custom_cls.path=pkg://didact.adapters.verl and data.custom_cls.name=CurriculumDataset"
        )
    return running[TRAIN]
