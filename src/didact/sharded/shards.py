"""Shards: prompts, and the stores that a curriculum keeps about them, which answer calls.

Positions count from 0 within a shard; `Spread` translates. A shard is a plain object that is sent lists of calls, so it
can live in this process (`LocalShards`) or in an actor (`didact.adapters.ray.shards`).

What one prompt costs: its letters and 12 bytes for the id, 8.3 for its weight, 4 for its place in the shuffled pass and
4 for its place in the belief; 56 to 63 more once it has been rolled out.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from didact.sharded.prompts import Prompts

#: What makes a shard's prompts, where the shard lives: {"ids": ..., and the columns of a PromptPool by name}.
Source = Callable[[], Mapping[str, Any]]
#: The number under which a shard knows its own prompts; its stores have others.
PROMPTS = 0


class Call(NamedTuple):
    """A method of the prompts or of a store. `writes` says that it changes something, so that a shard which was lost
    and came back has to hear it again."""

    target: int
    method: str
    arguments: tuple[Any, ...] = ()
    options: Mapping[str, Any] = {}
    writes: bool = False


class Failure(NamedTuple):
    """The answer to a call that raised."""

    error: Exception


class Store(ABC):
    """What a shard keeps for somebody: `kind(prompts, size, **options)` makes one.

    Args:
        prompts: those of the shard.
        size: how many of them it is to be about, as far as they are known where it is asked for.
    """

    @abstractmethod
    def snapshot(self) -> dict[str, Any]:
        """What makes it anew: "size", "options", and what `restore` goes by."""

    @abstractmethod
    def restore(self, state: Mapping[str, Any]) -> None:
        """Come back to a snapshot, when it has just been made."""


class Shard:
    """Prompts, and stores by number.

    Raises:
        ValueError, TypeError: prompts that `PromptPool` would refuse.
    """

    def __init__(self, source: Source) -> None:
        self._prompts = Prompts(source())
        self._targets: dict[int, Any] = {PROMPTS: self._prompts}

    def do(self, calls: Sequence[Call]) -> list[Any]:
        """Answer one call after the other; a call that fails is answered with its error, and changes nothing."""
        return [self._answer(call) for call in calls]

    def _answer(self, call: Call) -> Any:
        try:
            return self._call(call)
        except Exception as error:  # raised where the question was asked, whatever process that is
            return Failure(error)

    def _call(self, call: Call) -> Any:
        if call.method == "make":
            kind, size, options = call.arguments
            self._targets[call.target] = kind(self._prompts, size, **options)
        elif call.method == "copy":
            self._targets[call.arguments[0]] = copy.deepcopy(self._targets[call.target])
        elif call.method == "drop":
            self._targets.pop(call.target, None)
        else:
            return getattr(self._targets[call.target], call.method)(*call.arguments, **call.options)
        return None

    def snapshot(self) -> dict[int, Any]:
        """The kind and the state of every store; see `restore`."""
        return {key: (type(store), store.snapshot()) for key, store in self._targets.items()}

    def restore(self, stores: Mapping[int, Any]) -> None:
        """Come back to a snapshot, from prompts as the source gives them."""
        for key, (kind, state) in stores.items():
            if key != PROMPTS:
                self._targets[key] = kind(self._prompts, state["size"], **state["options"])
            self._targets[key].restore(state)


class Shards(ABC):
    """All shards of a pool. What is told waits until the next question, so that a step takes few messages."""

    def __init__(self, num_shards: int) -> None:
        self._waiting: list[list[Call]] = [[] for _ in range(num_shards)]
        self._last_key = PROMPTS

    def __len__(self) -> int:
        return len(self._waiting)

    def new_key(self) -> int:
        """A number for a new store."""
        self._last_key += 1
        return self._last_key

    def tell(self, calls: Mapping[int, Call]) -> None:
        """Calls by shard whose answers do not matter; they are made before any question that comes later."""
        for shard, call in calls.items():
            self._waiting[shard].append(call._replace(writes=True))

    def ask(self, calls: Mapping[int, Call]) -> dict[int, Any]:
        """Answers by shard. All shards work at the same time where they can."""
        return {
            shard: answers[0] for shard, answers in self.ask_all({at: [call] for at, call in calls.items()}).items()
        }

    def ask_all(self, calls: Mapping[int, Sequence[Call]]) -> dict[int, list[Any]]:
        """The same with several questions for each shard."""
        waiting, self._waiting = self._waiting, [[] for _ in self._waiting]
        messages = {
            shard: [*told, *calls.get(shard, ())] for shard, told in enumerate(waiting) if told or shard in calls
        }
        answers = self._deliver(messages)
        for failed in (each for answer in answers.values() for each in answer if isinstance(each, Failure)):
            raise failed.error
        return {shard: answers[shard][len(waiting[shard]) :] for shard in calls}

    def ask_each(self, method: str, *arguments: Any, target: int = PROMPTS) -> list[Any]:
        """The same question for all shards."""
        answers = self.ask(dict.fromkeys(range(len(self)), Call(target, method, arguments)))
        return [answers[shard] for shard in range(len(self))]

    @abstractmethod
    def _deliver(self, messages: Mapping[int, Sequence[Call]]) -> dict[int, list[Any]]:
        """Answers to every call, by shard."""


class LocalShards(Shards):
    """Shards in this process, one after the other."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self._shards = [Shard(source) for source in sources]
        super().__init__(len(self._shards))

    def _deliver(self, messages: Mapping[int, Sequence[Call]]) -> dict[int, list[Any]]:
        return {shard: self._shards[shard].do(calls) for shard, calls in messages.items()}
