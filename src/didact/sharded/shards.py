"""One part of a sharded pool: its ids and columns, and the stores that a curriculum keeps about them.

Positions here count from 0 within the shard; `didact.sharded` translates. A shard is a plain object that is sent lists
of calls, so it can live in this process (`LocalShards`) or in an actor (`didact.adapters.ray.shards`).

What one prompt costs: its letters and 12 bytes for the id, 8.3 for its weight, 4 for its place in the shuffled pass and
4 for its place in the belief; 56 to 63 more once it has been rolled out.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.belief import BetaBelief
from didact.columns import Columns
from didact.pool_columns import COLUMNS, Column, as_column
from didact.seeding import generator
from didact.sharded.compact_ids import CompactIds
from didact.state import digest, in_order, load_state, save_state
from didact.weight_tree import WeightTree

Floats = NDArray[np.float64]
Positions = NDArray[np.int64]

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


class Shard:
    """Prompts, and stores by number.

    Raises:
        ValueError, TypeError: prompts that `PromptPool` would refuse.
    """

    def __init__(self, source: Source) -> None:
        self._targets: dict[int, Any] = {PROMPTS: Prompts(source())}

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
            self._targets[call.target] = self._new(*call.arguments)
        elif call.method == "copy":
            self._targets[call.arguments[0]] = copy.deepcopy(self._targets[call.target])
        elif call.method == "drop":
            self._targets.pop(call.target, None)
        else:
            return getattr(self._targets[call.target], call.method)(*call.arguments, **call.options)
        return None

    def snapshot(self) -> dict[int, Any]:
        """The state of every store; see `restore`."""
        return {key: (type(store).__name__, store.snapshot()) for key, store in self._targets.items()}

    def restore(self, stores: Mapping[int, Any]) -> None:
        """Come back to a snapshot, from prompts as the source gives them."""
        for key, (kind, state) in stores.items():
            if key != PROMPTS:
                self._targets[key] = self._new(kind, state["size"], state["options"])
            self._targets[key].restore(state)

    def _new(self, kind: str, size: int, options: Mapping[str, Any]) -> Any:
        known = {"known": self._targets[PROMPTS].known_rates} if kind == LazyBelief.__name__ else {}
        return _KINDS[kind](size, **options, **known)


class Prompts:
    """Ids and columns of a shard. They are not part of a snapshot, but for what joined later."""

    def __init__(self, columns: Mapping[str, Any]) -> None:
        if unknown := set(columns) - {"ids", *COLUMNS}:
            raise ValueError(f"a shard's source gave {sorted(unknown)}; it can give ids, {', '.join(COLUMNS)}")
        self._ids = CompactIds(columns["ids"])
        if len(self._ids) == 0:
            raise ValueError("an empty shard: each needs at least one prompt id")
        self._columns: dict[str, Column] = {
            name: as_column(name, column, len(self._ids))
            for name, column in columns.items()
            if name != "ids" and column is not None
        }
        self._joined: list[tuple[list[str], dict[str, Any]]] = []

    def __len__(self) -> int:
        return len(self._ids)

    def about(self) -> tuple[int, dict[str, str | None]]:
        """Prompts, and columns by name, each with what is wrong with it."""
        return len(self), {name: column.fault for name, column in self._columns.items()}

    def rows(self, positions: Positions) -> tuple[list[str], Any]:
        """Ids and prompt lengths, the two columns that a step asks for."""
        tokens = self._columns.get("prompt_tokens")
        return self._ids.take(positions), None if tokens is None else tokens.values[positions]

    def ids(self) -> list[str]:
        return self._ids.take()

    def column(self, name: str, positions: Positions) -> Any:
        return self._columns[name].values[positions]

    def known_rates(self, positions: Positions) -> NDArray[np.float32]:
        return self._columns["pass_rate"].values[positions]

    def find(self, ids: Sequence[str]) -> Positions:
        return self._ids.find(ids)

    def hashes(self, part: int, num_parts: int) -> NDArray[np.uint64]:
        return self._ids.hashes(part, num_parts)

    def with_hashes(self, hashes: NDArray[np.uint64]) -> list[str]:
        return self._ids.with_hashes(hashes)

    def fingerprint(self, size: int) -> str:
        printed = self._ids.fingerprint(size)
        if (rates := self._columns.get("pass_rate")) is not None:
            digest = blake2b(printed.encode(), digest_size=16)
            rates.hash_into(digest, size)
            printed = digest.hexdigest()
        return printed

    def extend(self, ids: list[str], columns: Mapping[str, Any]) -> None:
        added = {name: as_column(name, column, len(ids)) for name, column in columns.items()}
        merged = {name: self._columns[name].joined(column) for name, column in added.items()}
        self._ids.extend(ids)
        self._columns = merged
        self._joined.append((ids, dict(columns)))

    def snapshot(self) -> dict[str, Any]:
        return {"joined": list(self._joined)}

    def restore(self, state: Mapping[str, Any]) -> None:
        for ids, columns in state["joined"]:
            self.extend(ids, columns)


class LazyBelief:
    """A BetaBelief that gives a row only to prompts which were rolled out; all others are one row at the prior.

    The values are those of a BetaBelief over all prompts, bit for bit: its prompts are independent.
    """

    _BLOCK = 256

    def __init__(self, size: int, *, known: Callable[[Positions], NDArray[Any]], **options: Any) -> None:
        self._options, self._known = options, known
        self._belief = self._new(self._BLOCK)
        self._row = np.zeros(size, dtype=np.int32)  # 0: never rolled out
        self._positions = np.full(self._BLOCK, -1, dtype=np.int32)  # by row
        self._used = 1

    def grow(self, size: int) -> None:
        extra = max(size - len(self._row), 0)
        self._row = np.concatenate([self._row, np.zeros(extra, np.int32)]) if extra else self._row

    def observe(
        self, positions: Positions, sizes: Positions, rewards: Floats, *, step: int, versions: Positions | None = None
    ) -> None:
        self._belief.observe(self._rows(positions), sizes, rewards, step=step, versions=versions)

    def count(self, positions: Positions, num_rollouts: Positions, tokens: Positions, *, step: int) -> None:
        self._belief.count(self._rows(positions), num_rollouts, tokens, step=step)

    def reset(self, positions: Positions) -> None:
        rows = self._row[positions]
        self._belief.reset(rows[rows > 0].astype(np.int64))

    def table(self, positions: Positions, step: int) -> dict[str, NDArray[Any]]:
        """All that a step reads of prompts, by the name of the method of `BetaBelief`."""
        rows = self._row[positions].astype(np.int64)
        belief = self._belief
        table: dict[str, NDArray[Any]] = {
            "mean": belief.mean(rows, step=step),
            "spread": belief.spread(rows, step=step),
            "evidence": belief.evidence(rows, step=step),
            "num_rollouts": belief.num_rollouts(rows),
            "last_seen": belief.last_seen(rows),
        }
        if self._belief.prior_weight > 0 and (rows == 0).any():
            unseen = self._unseen(positions[rows == 0])
            table["mean"][rows == 0], table["spread"][rows == 0] = unseen.mean(), unseen.spread()
        return table

    def spent(self) -> tuple[int, int, int]:
        return self._belief.spent()

    def all_rates(self, *, step: int) -> dict[str, NDArray[Any]]:
        """The columns of `PassRates` for all of the shard's prompts, but for their ids."""
        inner = self._belief.pass_rates(np.empty(len(self._belief), dtype=object), step=step)
        columns = {name: column[self._row] for name, column in vars(inner).items() if name != "ids"}
        if self._belief.prior_weight > 0:
            rest = np.flatnonzero(self._row == 0)
            unseen = self._unseen(rest).pass_rates(np.empty(len(rest), dtype=object))
            for name in ("mean", "std"):
                columns[name][rest] = getattr(unseen, name)
        return columns

    def state_dict(self) -> dict[str, Any]:
        """Only prompts that were ever rolled out are stored."""
        positions = self._positions[1 : self._used].astype(np.int64)
        return {"size": len(self._row), "positions": positions, "rows": self._belief.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        size, positions, rows = state["size"], state["positions"], state["rows"]["size"]
        used = len(positions) + 1
        if size > len(self._row) or not in_order(np.sort(positions), size):
            raise ValueError(f"rolled-out prompts must be among the {len(self._row)} of the shard, each once")
        if not used <= rows <= used * 9 // 8 + self._BLOCK:
            raise ValueError(f"a belief about {len(positions)} prompts does not have {rows} rows")
        belief = self._new(rows)
        belief.load_state_dict(state["rows"])
        self._belief, self._used = belief, used
        self._row = np.zeros(size, dtype=np.int32)
        self._row[positions] = np.arange(1, self._used)
        self._positions = np.full(rows, -1, dtype=np.int32)
        self._positions[1 : self._used] = positions

    def save(self, folder: str, name: str) -> dict[str, str]:
        """Write the state into a file of its own, named after what it holds: no state is ever overwritten."""
        state = self.state_dict()
        file = f"{name}-{digest(state)}.npz"
        if not (Path(folder) / file).exists():
            save_state(Path(folder) / file, state)
        return {"file": file}

    def load(self, folder: str, file: str) -> None:
        """Read what `save` wrote. Raises as `load_state`, and ValueError for a file under another's name."""
        state = load_state(Path(folder) / Path(file).name)
        if not file.endswith(f"-{digest(state)}.npz"):
            raise ValueError(f"{Path(folder) / file} does not hold what its name says")
        self.load_state_dict(state)

    def snapshot(self) -> dict[str, Any]:
        return {"size": len(self._row), "options": self._options, "state": self.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.load_state_dict(state["state"])

    def _new(self, size: int) -> BetaBelief:
        """A belief about rows, which starts each at what is known about its prompt."""
        return BetaBelief(size, known=lambda rows: self._known(self._positions[rows].astype(np.int64)), **self._options)

    def _unseen(self, positions: Positions) -> BetaBelief:
        """What is believed about prompts that were never rolled out."""
        return BetaBelief(len(positions), known=lambda rows: self._known(positions[rows]), **self._options)

    def _rows(self, positions: Positions) -> Positions:
        new = np.unique(positions[self._row[positions] == 0])
        if len(new):
            end = self._used + len(new)
            if end > len(self._positions):
                # By an eighth more each time, so that growing costs little and holds little that is empty.
                size = max(end, len(self._positions) * 9 // 8 + self._BLOCK)
                self._belief.grow(size)
                self._positions = np.concatenate(
                    [self._positions, np.full(size - len(self._positions), -1, dtype=np.int32)]
                )
            self._row[new] = np.arange(self._used, end)
            self._positions[self._used : end] = new
            self._used = end
        return self._row[positions].astype(np.int64)


class ShardTree:
    """The shard's part of a weight tree; a draw takes prompts out round by round, and puts them back at its end."""

    def __init__(self, size: int) -> None:
        self._tree = WeightTree(size)
        self._taken: list[Positions] = []
        self._weights: list[Floats] = []

    def set(self, positions: Positions, weights: Floats) -> None:
        self._tree.set(positions, weights)

    def weights(self, positions: Positions) -> Floats:
        return self._tree.weights[positions]

    def total(self) -> float:
        return self._tree.total

    def take(self, uniform: Floats) -> tuple[Positions, Positions, float]:
        """Draw with these uniform numbers and take out what came up.

        Returns:
            Distinct positions; which number drew each first; the total of the weights left.
        """
        found = self._tree.descend(uniform)
        _, first = np.unique(found, return_index=True)
        first = np.sort(first)
        fresh = found[first]
        self._taken.append(fresh)
        self._weights.append(self._tree.weights[fresh])
        self._tree.set(fresh, 0.0)
        return fresh, first, self._tree.total

    def put_back(self) -> None:
        if self._taken:
            self._tree.set(np.concatenate(self._taken), np.concatenate(self._weights))
        self._taken, self._weights = [], []

    def snapshot(self) -> dict[str, Any]:
        positions = np.flatnonzero(self._tree.weights)
        state = {
            "size": len(self._tree),
            "options": {},
            "positions": positions,
            "weights": self._tree.weights[positions],
        }
        return {**state, "taken": list(self._taken), "taken_weights": list(self._weights)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._tree.set(state["positions"], state["weights"])
        self._taken, self._weights = list(state["taken"]), list(state["taken_weights"])


class ShardPasses:
    """The shard's order in the current pass, and how far it has been walked through."""

    def __init__(self, size: int, *, seed: int, index: int) -> None:
        self._options = {"seed": seed, "index": index}
        self._order: NDArray[np.int32] = np.zeros(0, dtype=np.int32)
        self._pass, self._sizes, self._cursor = -1, [0], 0
        self._late: Positions = np.zeros(0, dtype=np.int64)

    def begin(self, number: int, late: Positions, sizes: Sequence[int], cursor: int) -> None:
        """Shuffle anew: those in `late` come last, then, for each time the shard grew, those that joined."""
        self._order = np.zeros(0, dtype=np.int32)
        self._pass, self._sizes, self._cursor, self._late = number, list(sizes), cursor, late
        order = self._generator().permutation(np.arange(sizes[0], dtype=np.int32))
        if len(late):
            last = np.isin(order, late)
            order = np.concatenate([order[~last], order[last]])
        self._order = np.concatenate([order, *(self._tail(index) for index in range(1, len(sizes)))])

    def join(self, size: int) -> None:
        """Prompts joined: they are shuffled into a tail of this pass."""
        self._sizes.append(size)
        self._order = np.concatenate([self._order, self._tail(len(self._sizes) - 1)])

    def take(self, num: int) -> Positions:
        self._cursor += num
        return self._order[self._cursor - num : self._cursor].astype(np.int64)

    def snapshot(self) -> dict[str, Any]:
        began = (self._pass, self._late, list(self._sizes), self._cursor)
        return {"size": 0, "options": self._options, "begin": began}

    def restore(self, state: Mapping[str, Any]) -> None:
        if state["begin"][0] >= 0:
            self.begin(*state["begin"])

    def _tail(self, index: int) -> NDArray[np.int32]:
        joined = np.arange(self._sizes[index - 1], self._sizes[index], dtype=np.int32)
        return self._generator("joined", index).permutation(joined)

    def _generator(self, *parts: object) -> np.random.Generator:
        seed, index = self._options["seed"], self._options["index"]
        return generator(seed, "pass", self._pass, "shard", index, *parts)


class ShardColumns(Columns):
    """The shard's rows of some columns. It learns of prompts that joined when they are named."""

    def __init__(self, size: int, *, start: Mapping[str, Any]) -> None:
        self._options, self._rows = {"start": dict(start)}, size
        super().__init__(lambda: self._rows, start)

    def get(self, name: str, positions: Positions | slice) -> NDArray[Any]:
        self._reach(positions)
        return super().get(name, positions)

    def put(self, name: str, positions: Positions | slice, values: ArrayLike) -> None:
        self._reach(positions)
        super().put(name, positions, values)

    def count(self, name: str, least: float, size: int | None = None) -> int:
        self._rows = max(self._rows, size or 0)
        return super().count(name, least)

    def load(self, state: Mapping[str, Any], size: int) -> None:
        self._rows = max(self._rows, size)
        self.load_state_dict(state)

    def snapshot(self) -> dict[str, Any]:
        return {"size": self._rows, "options": self._options, "state": self.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.load_state_dict(state["state"])

    def _reach(self, positions: Positions | slice) -> None:
        if not isinstance(positions, slice):
            self._rows = max(self._rows, int(positions.max(initial=-1)) + 1)


_STORES = (LazyBelief, ShardTree, ShardPasses, ShardColumns)
_KINDS: dict[str, Callable[..., Any]] = {each.__name__: each for each in _STORES}


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
