"""verl 0.5 to 0.7.1: the curriculum chooses the prompts of each batch, by configuration keys alone.

    data.sampler.class_path=pkg://didact.adapters.verl.sampler data.sampler.class_name=CurriculumSampler
    data.dataloader_num_workers=0 +data.curriculum.method=mopps        further keys: see didact.adapters.verl.settings

These versions roll every prompt of a batch out `rollout.n` times, once, at one length, and train on all of it. A method
that needs anything else is refused by name when verl builds the sampler. verl 0.8 has no such hook; from 0.9.1 on
`didact.adapters.verl` does all of it.
"""

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import verl
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from didact.adapters.scale import check_scale
from didact.adapters.verl.data import check_mark, mark_of, pool_of, prompt_id_of, scores_of
from didact.adapters.verl.settings import PASS_ABOVE, curriculum_of, record_run, rollouts_per_prompt, settings_of
from didact.context import FixedContext
from didact.curriculum import Curriculum
from didact.journal import outcomes_of, read_journal
from didact.methods import find
from didact.outcomes import GroupOutcome
from didact.plan import Plan
from didact.state import check_seal, seal


def _check_version(installed: str) -> None:
    release = Version(Version(installed).base_version)
    if release in SUPPORTED:
        return
    if release < Version("0.5"):
        advice = "upgrade to verl 0.9.1 and use didact.adapters.verl, or take 0.7.1"
    elif release < Version("0.9"):
        advice = "it has no hook for a curriculum; upgrade to 0.9.1 and use didact.adapters.verl, or stay on 0.7.1"
    else:
        advice = "use didact.adapters.verl, which is for verl 0.9.1 and later"
    raise ImportError(f"verl {installed}: didact.adapters.verl.sampler is for verl{SUPPORTED}; {advice}")


SUPPORTED = SpecifierSet(">=0.5,<0.8")
_check_version(verl.__version__)

from verl.experimental.dataset.sampler import AbstractCurriculumSampler  # noqa: E402 - not there in other versions

logger = logging.getLogger(__name__)

_STATE = ("curriculum", "drawn", "open", "data")


class CurriculumSampler(AbstractCurriculumSampler):
    """What `data.sampler.class_name` names. verl builds it, draws batches from it and calls `update` after each step.

    An epoch is as long as without a curriculum: so many batches as the data set has, whichever prompts are in them.

    Raises:
        ValueError, TypeError: what cannot be expressed, said before training starts.
    """

    def __init__(self, data_source: Any, data_config: Any) -> None:
        settings = settings_of(data_config)
        pool = pool_of(data_source, settings.prompt_id, words=find(settings.method).wants_words)
        self._batch = int(data_config.get("gen_batch_size", data_config.get("train_batch_size")))
        self._num_rollouts = rollouts_per_prompt(data_config)
        usual = {
            "prompts_per_step": self._batch,
            "rollouts_per_step": self._batch * self._num_rollouts,
            "seed": data_config.get("seed") or 0,
        }
        self._check_data(data_source, data_config, settings.prompt_id)
        if len(pool) < self._batch:
            raise ValueError(f"the data set has {len(pool)} prompts, fewer than a batch of {self._batch}")
        curriculum = curriculum_of(settings, pool, **usual)
        self._refuse(curriculum, data_config.get("max_response_length"))
        self.curriculum = curriculum
        self._journal, self._begun = None, False
        if settings.run is not None:
            self._journal = record_run(curriculum, settings.run)
            self._begun = bool(read_journal(self._journal)[1:])  # by a run that is resumed, or by another
        self._data = data_source
        self._mark: dict[str, Any] | None = None
        self._prompt_id, self._verifier = settings.prompt_id, settings.verifier
        self._eos = getattr(getattr(data_source, "tokenizer", None), "eos_token_id", None)
        self._open: Plan | None = None  # the batch whose outcome is still to come
        self._drawn = 0  # rows of this epoch

    # What verl calls --------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.curriculum.pool) // self._batch * self._batch

    def __iter__(self) -> Iterator[int]:
        # A checkpoint at the end of an epoch goes on with the next one, as verl's own count of epochs does.
        self._drawn %= len(self)
        while self._drawn < len(self):
            yield from self._next_batch()

    def update(self, batch: Any) -> None:
        """Tell the curriculum what came of the latest batch.

        Reads of verl's DataProto: `token_level_scores`, `response_mask`, `attention_mask`, `responses`; of its columns
        `data_source` and `extra_info`, by which rows are matched with prompts, since verl may have reordered them.

        Raises:
            ValueError: other prompts or another number of rollouts than the curriculum planned.
        """
        step = self.curriculum.step
        outcomes = self._outcomes(batch, self._open or Plan(step, 0))
        self._open = None
        self.curriculum.observe(outcomes)
        if self.curriculum.plan(step):
            raise RuntimeError(f"method {self.curriculum.name!r} planned a second round at step {step}: verl has one")
        scored = sum(np.isfinite(outcome.rewards).sum() for outcome in outcomes)
        trained = sum(len(group.rollouts) for group in self.curriculum.admitted(step))
        if trained < scored:
            raise RuntimeError(
                f"step {step}: method {self.curriculum.name!r} admits {trained} of {scored} rollouts, verl took all"
            )

    def state_dict(self) -> dict[str, Any]:
        """For verl's `data.pt`, through its StatefulDataLoader."""
        waiting = [group.group_id for group in self._open or ()]
        if self._mark is None:  # one pass through the data, at the first checkpoint
            self._mark = mark_of(self._data)
        state = {"curriculum": self.curriculum.state_dict(), "drawn": self._drawn, "open": waiting}
        return seal({**state, "data": self._mark})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint. verl writes it before it calls `update`, so it lacks the outcome of its own step.

        With `data.curriculum.run` that outcome is read from the journal, and the run goes on exactly. Without, or where
        the process died in between, it is written off (`rollouts_lost`), and a warning says so.

        Raises:
            ValueError: no state of a sampler, one that was altered, of another curriculum or of other data; nothing has
                changed then.
        """
        old = isinstance(state, Mapping) and "data" not in state  # from before it was kept
        check_seal(state, "verl sampler", _STATE[:-1] if old else _STATE)
        check_mark(state.get("data"), self._data)
        told: list[GroupOutcome] = []
        if self._journal is not None:
            step = state["curriculum"].get("curriculum", {}).get("step")
            records = [each for each in read_journal(self._journal) if each["kind"] == "outcomes"]
            told = [outcome for each in records if each["step"] == step for outcome in outcomes_of(each)]
        self.curriculum.load_state_dict(state["curriculum"])
        self._drawn, self._open, self._begun = state["drawn"], None, False
        if state["open"] and told:
            self.curriculum.observe(told)
            self.curriculum.admitted(self.curriculum.step)
        elif state["open"]:
            for group_id in state["open"]:
                self.curriculum.lost(group_id, self._num_rollouts)
            logger.warning(
                "step %d: verl wrote the checkpoint before its outcome was known; the curriculum goes on without these "
                "%d groups (give data.curriculum.run to keep such outcomes)", self.curriculum.step, len(state["open"]),
            )  # fmt: skip

    # One step ---------------------------------------------------------------------------------------------------

    def _next_batch(self) -> list[int]:
        if self._begun:
            raise ValueError(f"{self._journal} is another run's, and verl loaded no checkpoint: name another folder")
        if self._open:
            raise RuntimeError(
                f"verl asked for a batch before it told the outcome of step {self.curriculum.step}: a trainer that "
                "reads ahead (one-step-off or fully asynchronous) cannot use this sampler"
            )
        plan = self.curriculum.plan(self.curriculum.step + 1)
        if len(plan) != self._batch or any(group.num_rollouts != self._num_rollouts for group in plan):
            raise RuntimeError(
                f"method {self.curriculum.name!r} planned {len(plan)} groups with {plan.num_rollouts} rollouts at step "
                f"{plan.step}; verl rolls out {self._batch} prompts {self._num_rollouts} times each"
            )
        self._open = plan
        self._drawn += self._batch
        return [int(position) for position in self.curriculum.pool.positions([group.prompt_id for group in plan])]

    def _outcomes(self, batch: Any, plan: Plan) -> list[GroupOutcome]:
        tensors, columns = batch.batch, batch.non_tensor_batch
        rows = defaultdict(list)
        for row in range(len(batch)):
            entry = {name: columns[name][row] for name in ("data_source", "extra_info") if name in columns}
            rows[prompt_id_of(entry, self._prompt_id)].append(row)
        planned = [group.prompt_id for group in plan]
        if {name: len(found) for name, found in rows.items()} != dict.fromkeys(planned, self._num_rollouts):
            raise ValueError(
                f"step {plan.step}: verl trained on {len(rows)} prompts and {len(batch)} rollouts, not on the "
                f"{len(planned)} prompts with {self._num_rollouts} rollouts each that the curriculum planned"
            )
        width = tensors["responses"].shape[1]
        attention, last = tensors["attention_mask"], tensors["responses"][:, -1]
        scores = scores_of(columns, tensors["token_level_scores"].sum(-1).tolist(), self._verifier)
        check_scale(scores, self.curriculum, PASS_ABOVE)
        cut = attention[:, -width:].all(-1) & (last != (-1 if self._eos is None else self._eos))
        asked = attention[:, :-width].sum(-1).long()
        order = [row for name in planned for row in rows[name]]
        return plan.outcomes(
            scores[order],
            num_tokens=tensors["response_mask"].sum(-1).long()[order],
            truncated=cut[order],
            prompt_tokens=asked[[rows[name][0] for name in planned]],
        )

    # Refusals ---------------------------------------------------------------------------------------------------

    def _check_data(self, data_source: Any, data_config: Any, prompt_id: str) -> None:
        if (data_config.get("datagen") or {}).get("path"):
            raise ValueError("data.datagen.path: a data set that makes its prompts during training has no fixed pool")
        info = data_source.dataframe[0].get("extra_info") or {}
        if prompt_id not in info:
            raise ValueError(
                f"data.curriculum.prompt_id={prompt_id}: verl drops all columns but data_source, reward_model and "
                f"extra_info before `update`, so the id must be a key of extra_info, which holds {', '.join(info)}"
            )

    def _refuse(self, curriculum: Curriculum, max_response_length: int | None) -> None:
        reasons = []
        if curriculum.wants_gradients:
            reasons.append("gradients of single rollouts")
        if curriculum.uneven:
            reasons.append("groups of unequal sizes")
        if curriculum.weighs_groups:
            reasons.append("weights in the loss")
        context = curriculum.context
        if not isinstance(context, FixedContext) or context.length not in (None, max_response_length):
            reasons.append(f"a context length other than data.max_response_length={max_response_length}")
        sizes = curriculum.prompts_per_step, curriculum.rollouts_per_step
        if sizes != (self._batch, self._batch * self._num_rollouts):
            reasons.append("other groups than rollout.n for each prompt of the batch")
        if not curriculum.one_round:
            reasons.append("several rounds in a step")
        if curriculum.chooses:
            reasons.append("a choice of which rollouts train")
        if curriculum.own_baseline:
            reasons.append("baselines of its own")
        if reasons:
            raise ValueError(
                f"method {curriculum.name!r} needs {', '.join(reasons)}. verl {verl.__version__} rolls every prompt of "
                "a batch out rollout.n times, in one round, at one length, and trains on all of it; with verl 0.9.1 "
                "didact.adapters.verl does the rest"
            )
