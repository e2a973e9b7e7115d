"""The shards of a `ShardedPool` in Ray actors, one each, which work at the same time.

    pool = ShardedPool(RayShards([partial(read_part, path) for path in paths]))
    curriculum = make("cures", pool, prompts_per_step=1024, rollouts_per_step=8192)

The curriculum stays where it was made; a question to the shards is one message to each actor and one answer. With the
same sources a run is the one that `LocalShards` gives, plan for plan.

A shard that dies is started again by Ray and makes its prompts anew; its stores come back from a snapshot that this
process holds and from what it was told since. Nothing is lost as long as this process lives; when it dies, the run goes
on from its checkpoint, as any other. Sources must give the same prompts each time, on whatever machine.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayActorError

from didact.sharded.shards import Call, Failure, Shard, Shards, Source

_ATTEMPTS = 20
_PAUSE = 0.5  # seconds, longer each time, while Ray starts an actor again


class RayShards(Shards):
    """One actor for each source; `ray.init` comes first.

    Args:
        sources: as in `ShardedPool`; they are sent to the actors and called there.
        actor_options: what `ray.remote` takes, for example {"num_cpus": 1} or a scheduling strategy.
        snapshot_every: numbers told to a shard after which its state is fetched anew, so that what has to be told
            again to one that was lost stays bounded. More where the state itself is larger.

    Raises:
        RuntimeError: Ray is not running, or a shard was lost again and again.
        ValueError, TypeError: what a source gives is refused, see `ShardedPool`.
    """

    def __init__(
        self,
        sources: Iterable[Source],
        *,
        actor_options: Mapping[str, Any] | None = None,
        snapshot_every: int = 2_000_000,
    ) -> None:
        if not ray.is_initialized():
            raise RuntimeError("Ray is not running here: call ray.init() before RayShards()")
        host = ray.remote(**{"num_cpus": 1, **(actor_options or {}), "max_restarts": -1, "max_task_retries": 0})(_Host)
        self._actors = [host.remote(source) for source in sources]
        super().__init__(len(self._actors))
        self._snapshot_every = snapshot_every
        self._kept = [_Kept() for _ in self._actors]
        self._failed: BaseException | None = None
        for actor in self._actors:
            actor.build.remote()  # all at the same time; what goes wrong is told by the first question

    @property
    def actors(self) -> list[Any]:
        """The handles of the actors, by shard."""
        return list(self._actors)

    def _deliver(self, messages: Mapping[int, Sequence[Call]]) -> dict[int, list[Any]]:
        if self._failed is not None:
            raise RuntimeError(
                "the shards stopped in the middle of a question: go on from the latest checkpoint"
            ) from self._failed
        try:
            sent = {
                shard: self._actors[shard].hear.remote(self._kept[shard].heard + 1, list(calls))
                for shard, calls in messages.items()
            }
            return {shard: self._answers(shard, reference, messages[shard]) for shard, reference in sent.items()}
        except BaseException as error:  # an interrupt too leaves answers behind that nobody took note of
            self._failed = error
            raise

    def _answers(self, shard: int, reference: Any, calls: Sequence[Call]) -> list[Any]:
        kept = self._kept[shard]
        try:
            answers = ray.get(reference)
        except RayActorError:
            answers = None
        if answers is None:  # it died, or came back without its stores
            answers = self._bring_back(shard, calls)
        kept.heard += 1
        kept.note([call for call, answer in zip(calls, answers, strict=True) if not isinstance(answer, Failure)])
        if kept.size > max(self._snapshot_every, kept.snapshot_size):
            self._take_snapshot(shard)
        return [_owned(answer) for answer in answers]

    def _bring_back(self, shard: int, calls: Sequence[Call]) -> list[Any]:
        kept = self._kept[shard]
        for attempt in range(_ATTEMPTS):
            try:
                come_back = self._actors[shard].come_back
                return list(ray.get(come_back.remote(kept.heard + 1, kept.snapshot, kept.told, list(calls))))
            except RayActorError as error:
                last = error
                time.sleep(_PAUSE * min(attempt + 1, 10))
        raise RuntimeError(f"shard {shard} was lost {_ATTEMPTS} times while it was brought back: {last}") from last

    def _take_snapshot(self, shard: int) -> None:
        try:
            snapshot = ray.get(self._actors[shard].snapshot.remote(self._kept[shard].heard))
        except RayActorError:
            return  # what it was told is still here
        if snapshot is not None:
            self._kept[shard].keep(_owned(snapshot))


class _Kept:
    """What brings a shard back."""

    def __init__(self) -> None:
        self.heard = 0  # messages
        self.snapshot: dict[int, Any] = {}
        self.snapshot_size = 0
        self.told: list[Call] = []
        self.size = 0

    def note(self, calls: Iterable[Call]) -> None:
        for call in calls:
            if call.writes:
                self.told.append(call)
                self.size += _num_values((call.arguments, dict(call.options)))

    def keep(self, snapshot: dict[int, Any]) -> None:
        self.snapshot, self.snapshot_size = snapshot, _num_values(snapshot)
        self.told, self.size = [], 0


class _Host:
    """The actor. It counts the messages, so that one that came back empty is noticed before it answers anything."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._shard: Shard | None = None
        self._heard = 0

    def build(self) -> None:
        self._shard = Shard(self._source)

    def hear(self, number: int, calls: Sequence[Call]) -> list[Any] | None:
        if number != self._heard + 1:
            return None
        if self._shard is None:
            self.build()
        return self._do(number, calls)

    def come_back(
        self, number: int, snapshot: Mapping[int, Any], told: Sequence[Call], calls: Sequence[Call]
    ) -> list[Any]:
        self.build()
        assert self._shard is not None
        self._shard.restore(snapshot)
        self._shard.do(told)
        return self._do(number, calls)

    def snapshot(self, number: int) -> dict[int, Any] | None:
        return self._shard.snapshot() if self._shard is not None and number == self._heard else None

    def _do(self, number: int, calls: Sequence[Call]) -> list[Any]:
        assert self._shard is not None
        self._heard = number
        return self._shard.do(calls)


def _num_values(value: Any) -> int:
    """Roughly how many numbers or words something holds."""
    if isinstance(value, np.ndarray):
        return int(value.size)
    if isinstance(value, Mapping):
        return sum(map(_num_values, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(_num_values, value))
    return 1


def _owned(value: Any) -> Any:
    """A copy outside Ray's object store, which answers that are kept would fill up."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, dict):
        return {key: _owned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_owned(item) for item in value]
    if type(value) is tuple:
        return tuple(_owned(item) for item in value)
    return value
