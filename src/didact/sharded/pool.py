"""A prompt pool in shards, for pools of 10^7 to 10^8 prompts: what grows with the pool is spread, the rest stays.

    pool = ShardedPool.split(ids, 16)                               # in this process: fewer bytes a prompt
    pool = ShardedPool([partial(read_part, path) for path in paths])  # each shard makes its own prompts
    pool = ShardedPool(RayShards([...]))                            # each in an actor, see didact.adapters.ray.shards
    curriculum = make("cures", pool, prompts_per_step=1024, rollouts_per_step=8192)

Three things grow with a pool: its ids and columns, the belief, and what a draw walks through (the weight tree and the
order of the shuffled pass). A shard holds its part of all three. Here are their counterparts for the whole pool, with
the interfaces that a curriculum knows, and the same laws:

* a weighted draw picks a shard in proportion to the weight left in it, and a prompt within it the same way, which is
  the same as picking among all prompts: successive sampling, one level on top of `WeightTree`;
* a shuffled pass gives each place to a shard in proportion to the prompts left in it, and the shard fills it with the
  next of its own shuffled order: a uniformly random order of the whole pool;
* a belief about a prompt is in one place, and its values are those of an unsharded belief, bit for bit.

The numbers drawn differ from those of an unsharded pool and of another number of shards; those of a pool over Ray are
those of the same shards in one process. Position of a prompt: where its shard begins plus its position there. Prompts
that join go to the last shard.
"""

import copy
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from functools import partial
from hashlib import blake2b
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.belief import BetaBelief
from didact.columns import Columns
from didact.pass_rates import PassRates
from didact.pool_columns import as_length
from didact.prompts import PromptPool, as_id
from didact.seeding import generator
from didact.selection import ShuffledPasses
from didact.sharded.columns import ShardedColumns
from didact.sharded.shards import PROMPTS, Call, LocalShards, Shards, Source
from didact.weight_tree import WeightTree

Floats = NDArray[np.float64]
Positions = NDArray[np.int64]

_REMEMBERED = 1 << 17  # ids of latest prompts that are kept here, so that outcomes cost no question
_HASHES = 1 << 20  # about so many hashes are compared at a time


class ShardedPool(PromptPool):
    """A PromptPool whose prompts live in shards.

    Args:
        shards: `Shards`, or for each shard a function without arguments that gives its prompts:
            {"ids": ..., "prompt_tokens": ...}, the columns those of `PromptPool`, the same for all shards. Ids may be
            a numpy array of bytes (dtype "S").
        states: a folder that every shard can write to and read from. With it a curriculum's state holds the names of
            files, one for each shard, instead of all that is known about the prompts; keep them with the checkpoint.
        check_unique: look for ids that two shards hold: 8 bytes of hash a prompt pass through this process, about a
            million at a time. Within a shard ids are always checked.

    Raises:
        ValueError: no shards, shards with different columns, or an id in two shards.
    """

    sharded = True

    def __init__(
        self,
        shards: Shards | Iterable[Source],
        *,
        states: str | os.PathLike[str] | None = None,
        check_unique: bool = True,
    ) -> None:
        self.shards = shards if isinstance(shards, Shards) else LocalShards(shards)
        self.states = None if states is None else str(Path(states).resolve())
        if len(self.shards) == 0:
            raise ValueError("a sharded pool needs at least one shard")
        about = self.shards.ask_each("about")
        if len({frozenset(columns) for _, columns in about}) > 1:
            listed = "; ".join(f"shard {index}: {', '.join(columns)}" for index, (_, columns) in enumerate(about))
            raise ValueError(f"all shards need the same columns, got {listed}")
        self._names: tuple[str, ...] = tuple(about[0][1])
        self._faults = {
            name: f"shard {shard}: {fault}"
            for shard, (_, columns) in enumerate(about)
            for name, fault in columns.items()
            if fault
        }
        self._sizes = np.array([size for size, _ in about], dtype=np.int64)
        self._total = int(self._sizes.sum())
        self.starts: Positions = np.concatenate([[0], np.cumsum(self._sizes)[:-1]]).astype(np.int64)
        self._rows: dict[int, tuple[str, int | None]] = {}
        self._prints: dict[int, str] = {}
        self._ids_view = _view(_View(self, self._ids_at, self._id_at, self._all_ids))
        if check_unique and len(self.shards) > 1:
            self._refuse_repeated()

    @classmethod
    def split(
        cls, ids: Sequence[str], num_shards: int, *, states: str | os.PathLike[str] | None = None, **columns: Any
    ) -> "ShardedPool":
        """A pool in this process out of lists that are at hand; no more shards than prompts."""
        if isinstance(ids, str):
            raise TypeError(f"ids must be a sequence of strings, not the single string {ids!r}")
        if num_shards < 1:
            raise ValueError(f"num_shards must be at least 1, got {num_shards}")
        for name, column in columns.items():
            if column is not None and len(column) != len(ids):
                raise ValueError(f"column {name!r} has {len(column)} rows for {len(ids)} prompts")
        given = {"ids": ids, **{name: column for name, column in columns.items() if column is not None}}
        edges = np.linspace(0, len(ids), max(min(num_shards, len(ids)), 1) + 1).astype(int).tolist()
        sources = [partial(_slice, given, start, stop) for start, stop in pairwise(edges)]
        return cls(sources, states=states)

    def __len__(self) -> int:
        return self._total

    def __contains__(self, prompt_id: object) -> bool:
        return isinstance(prompt_id, str) and bool(self._look_up([prompt_id])[0] >= 0)

    def __repr__(self) -> str:
        columns = ", ".join(self._names) or "none"
        return f"ShardedPool({len(self)} prompts in {len(self.shards)} shards, columns: {columns})"

    @property
    def ids(self) -> NDArray[np.object_]:
        """All ids by position. A view: `ids[positions]` asks the shards for those, a loop for one shard at a time."""
        return self._ids_view

    def given(self, name: str) -> NDArray[Any] | None:
        def read(positions: Positions) -> NDArray[Any]:
            return self.gather(positions, lambda local: Call(PROMPTS, "column", (name, local)))

        return _view(_View(self, read)) if name in self._names else None

    def prompt_length(self, position: int) -> int | None:
        if "prompt_tokens" not in self._names:
            return None
        row = self._rows.get(position)
        return as_length((row or self._rows_at(np.array([position]))[0])[1])

    def extend(self, ids: Iterable[str], **columns: ArrayLike) -> None:
        """Add prompts during a run: they go to the last shard."""
        if isinstance(ids, str):
            raise TypeError(f"ids must be a sequence of strings, not the single string {ids!r}")
        listed = [as_id(prompt_id) for prompt_id in ids]
        if set(columns) != set(self._names):
            raise ValueError(f"extend was given columns {sorted(columns)}, the pool has {sorted(self._names)}")
        if not listed:
            return
        known = self._look_up(listed)
        if (known >= 0).any():
            raise ValueError(f"duplicate prompt id {listed[int(np.argmax(known >= 0))]!r}: ids must be unique")
        last = len(self.shards) - 1
        self.shards.ask({last: Call(PROMPTS, "extend", (listed, columns), writes=True)})
        self._sizes[last] += len(listed)
        self._total += len(listed)

    def positions(self, ids: Sequence[str]) -> Positions:
        """Positions of the given ids, shape (len(ids),). Raises ValueError for an id that is not in the pool."""
        found = self._look_up(list(ids))
        if (found < 0).any():
            unknown = ids[int(np.argmax(found < 0))]
            raise ValueError(f"unknown prompt id {unknown!r}: it is not among the {len(self)} prompts of the pool")
        return found

    def fingerprint(self, size: int | None = None) -> str:
        """A hash of the first `size` ids in order and of how they are spread over shards."""
        size = len(self) if size is None else size
        if size not in self._prints:
            sizes = self.sizes(size)
            calls = {shard: Call(PROMPTS, "fingerprint", (num,)) for shard, num in enumerate(sizes.tolist()) if num > 0}
            text = "/".join(f"{sizes[shard]}:{each}" for shard, each in sorted(self.shards.ask(calls).items()))
            self._prints[size] = blake2b(text.encode(), digest_size=16).hexdigest()
        return self._prints[size]

    def belief(self, **options: Any) -> BetaBelief:
        return ShardedBelief(self, **options)

    def weight_tree(self) -> WeightTree:
        return ShardedTree(self)

    def columns(self, **start: Any) -> Columns:
        return ShardedColumns(self, start)

    def passes(self, seed: int) -> ShuffledPasses:
        return ShardedPasses(self, seed)

    # For the stores ---------------------------------------------------------------------------------------------

    def sizes(self, size: int) -> Positions:
        """Prompts of each shard among the first `size` of the pool."""
        return np.clip(size - self.starts, 0, self._sizes)

    def parts(self, positions: Positions) -> list[tuple[int, Positions, Positions]]:
        """For each shard concerned: its number, which of `positions` are its own, and these as it knows them."""
        shard = np.searchsorted(self.starts, positions, side="right") - 1
        order = np.argsort(shard, kind="stable")
        edges = np.searchsorted(shard[order], np.arange(len(self.shards) + 1))
        which = [(index, order[edges[index] : edges[index + 1]]) for index in range(len(self.shards))]
        return [(index, mine, positions[mine] - self.starts[index]) for index, mine in which if len(mine)]

    def gather(self, positions: Positions, call: Callable[[Positions], Call]) -> NDArray[Any]:
        """What the shards answer about positions, in their order; `call` makes the question from those of a shard."""
        parts = self.parts(positions) or [(0, positions, positions)]
        answers = self.shards.ask({shard: call(local) for shard, _, local in parts})
        first = np.asarray(answers[parts[0][0]])
        kind = np.result_type(*(each.dtype for each in answers.values()))  # lengths are whole where all are known
        gathered = np.empty((len(positions), *first.shape[1:]), dtype=kind)
        for shard, mine, _ in parts:
            gathered[mine] = answers[shard]
        return gathered

    def new_store(self, owner: object, kind: str, options: Sequence[Mapping[str, Any]]) -> int:
        """Make a store in each shard, which lives as long as `owner`; the number it is known by."""
        key = self.shards.new_key()
        for shard, (size, each) in enumerate(zip(self._sizes.tolist(), options, strict=True)):
            self.shards.tell({shard: Call(key, "make", (kind, size, dict(each)))})
        self._end_with(owner, key)
        return key

    def copy_store(self, owner: object, key: int) -> int:
        """Copy a store in each shard, as one that lives as long as `owner`; the number of the copy."""
        copied = self.shards.new_key()
        self.shards.tell(dict.fromkeys(range(len(self.shards)), Call(key, "copy", (copied,))))
        self._end_with(owner, copied)
        return copied

    def unknown_rows(self, positions: Positions) -> Positions:
        """Those of `positions` whose ids would have to be asked for."""
        if len(self._rows) > _REMEMBERED:
            for oldest in list(islice(self._rows, _REMEMBERED // 2)):
                del self._rows[oldest]
        return np.array([each for each in np.unique(positions).tolist() if each not in self._rows], dtype=np.int64)

    def remember(self, positions: Positions, rows: tuple[list[str], Any]) -> None:
        """Keep ids and prompt lengths that a shard gave."""
        ids, tokens = rows
        lengths = [None] * len(ids) if tokens is None else tokens.tolist()
        self._rows.update(zip(positions.tolist(), zip(ids, lengths, strict=True), strict=True))

    # ------------------------------------------------------------------------------------------------------------

    def _end_with(self, owner: object, key: int) -> None:
        everywhere = dict.fromkeys(range(len(self.shards)), Call(key, "drop"))
        weakref.finalize(owner, self.shards.tell, everywhere).atexit = False

    def _look_up(self, ids: list[str]) -> Positions:
        found = np.full(len(ids), -1, dtype=np.int64)
        for start, local in zip(self.starts, self.shards.ask_each("find", ids), strict=True):
            found = np.where(local >= 0, local + start, found)
        return found

    def _rows_at(self, positions: Positions) -> list[tuple[str, int | None]]:
        unknown = self.unknown_rows(positions)
        parts = self.parts(unknown)
        answers = (
            self.shards.ask({shard: Call(PROMPTS, "rows", (local,)) for shard, _, local in parts}) if parts else {}
        )
        for shard, mine, _ in parts:
            self.remember(unknown[mine], answers[shard])
        return [self._rows[position] for position in positions.tolist()]

    def _id_at(self, position: int) -> str:
        row = self._rows.get(position)
        return row[0] if row else self._rows_at(np.array([position]))[0][0]

    def _ids_at(self, positions: Positions) -> NDArray[np.object_]:
        ids = np.empty(len(positions), dtype=object)
        for start in range(0, len(positions), _REMEMBERED // 4):  # no more at once than are remembered
            some = slice(start, start + _REMEMBERED // 4)
            ids[some] = [prompt_id for prompt_id, _ in self._rows_at(positions[some])]
        return ids

    def _all_ids(self) -> Iterator[str]:
        for shard in range(len(self.shards)):
            yield from self.shards.ask({shard: Call(PROMPTS, "ids")})[shard]

    def _column(self, name: str) -> NDArray[Any] | None:
        if name in self._faults:
            raise ValueError(self._faults[name])
        return self.given(name)

    def _refuse_repeated(self) -> None:
        num_parts = max(len(self) // _HASHES, 1)
        for part in range(num_parts):
            hashes = np.sort(np.concatenate(self.shards.ask_each("hashes", part, num_parts)))
            same = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
            if len(same) == 0:
                continue
            ids = sorted(prompt_id for listed in self.shards.ask_each("with_hashes", same) for prompt_id in listed)
            for one, other in pairwise(ids):
                if one == other:
                    raise ValueError(f"duplicate prompt id {one!r}: two shards hold it, and ids must be unique")


class ShardedBelief(BetaBelief):
    """A BetaBelief whose prompts live in shards. Reading is cheap for a batch, not for the whole pool."""

    def __init__(self, pool: ShardedPool, **options: Any) -> None:
        self._pool, self._size = pool, len(pool)
        super().__init__(0, known=pool.known_rates, **options)
        self._key = pool.new_store(self, "LazyBelief", [options] * len(pool.shards))
        self._read: tuple[Positions, int, dict[str, NDArray[Any]]] | None = None  # the latest answer, till it changes
        self._steady = self.discount == 1 and self.window is None  # whether what is known is the same at every step

    def __len__(self) -> int:
        return self._size

    def grow(self, size: int) -> None:
        if size > self._size:
            before, after = self._pool.sizes(self._size), self._pool.sizes(size)
            for shard in np.flatnonzero(after > before).tolist():
                self._tell(shard, "grow", int(after[shard]))
            self._size = size

    def observe(
        self,
        positions: Positions,
        sizes: Positions,
        rewards: Floats,
        *,
        step: int,
        versions: Positions | None = None,
    ) -> None:
        whose = np.repeat(np.arange(len(positions)), sizes)
        inside = np.zeros(len(positions), dtype=np.bool_)
        for shard, mine, local in self._pool.parts(positions):
            inside[:] = False
            inside[mine] = True
            made = None if versions is None else versions[mine]
            self._tell(shard, "observe", local, sizes[mine], rewards[inside[whose]], step=step, versions=made)

    def count(self, positions: Positions, num_rollouts: Positions, tokens: Positions, *, step: int) -> None:
        for shard, mine, local in self._pool.parts(positions):
            self._tell(shard, "count", local, num_rollouts[mine], tokens[mine], step=step)

    def reset(self, positions: Positions) -> None:
        for shard, _, local in self._pool.parts(positions):
            self._tell(shard, "reset", local)

    def mean(self, positions: Positions | slice = slice(None), *, step: int = 0) -> Floats:
        return self._look("mean", positions, step)

    def spread(self, positions: Positions | slice = slice(None), *, step: int = 0) -> Floats:
        return self._look("spread", positions, step)

    def evidence(self, positions: Positions | slice = slice(None), *, step: int = 0) -> Floats:
        return self._look("evidence", positions, step)

    def num_rollouts(self, positions: Positions | slice = slice(None)) -> NDArray[np.int32]:
        return self._look("num_rollouts", positions, None)

    def spent(self) -> tuple[int, int, int]:
        rollouts, tokens, prompts = zip(*self._pool.shards.ask_each("spent", target=self._key), strict=True)
        return sum(rollouts), sum(tokens), sum(prompts)

    def last_seen(self, positions: Positions | slice = slice(None)) -> NDArray[np.int32]:
        return self._look("last_seen", positions, None)

    def sample(self, rng: np.random.Generator, *, step: int = 0) -> Floats:
        raise NotImplementedError(
            "a draw of every pass rate is a pass over the pool, which a sharded one does not offer"
        )

    def pass_rates(self, ids: NDArray[np.object_], *, step: int = 0) -> PassRates:
        """A snapshot of the whole pool, in this process: for reports, and for pools that fit."""
        calls = {
            shard: [Call(PROMPTS, "ids"), Call(self._key, "all_rates", (), {"step": step})]
            for shard in range(len(self._pool.shards))
        }
        answers = self._pool.shards.ask_all(calls)
        names = np.empty(self._size, dtype=object)
        names[:] = [prompt_id for shard in calls for prompt_id in answers[shard][0]]
        columns = [answers[shard][1] for shard in calls]
        return PassRates(ids=names, **{name: np.concatenate([each[name] for each in columns]) for name in columns[0]})

    def state_dict(self) -> dict[str, Any]:
        """One entry for each shard, made by it; only prompts that were ever seen are stored."""
        folder = self._pool.states
        if folder is not None:
            Path(folder).mkdir(parents=True, exist_ok=True)
        known = np.count_nonzero(self._pool.sizes(self._size))  # shards that are new follow at the end
        answers = self._pool.shards.ask(
            {
                shard: Call(self._key, "state_dict")
                if folder is None
                else Call(self._key, "save", (folder, f"shard-{shard:04}"))
                for shard in range(known)
            }
        )
        return {"size": self._size, "shards": [answers[shard] for shard in range(known)]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state. Each shard takes its part or refuses it: load into a new belief, as `Curriculum` does.

        Raises:
            ValueError: a part that cannot be, or more parts than shards.
        """
        if state["size"] > self._size or len(state["shards"]) != np.count_nonzero(self._pool.sizes(state["size"])):
            raise ValueError(
                f"a belief about {state['size']} prompts in {len(state['shards'])} shards is of another pool"
            )
        self._pool.shards.ask({shard: self._load_call(each) for shard, each in enumerate(state["shards"])})
        self._size, self._read = state["size"], None

    def _load_call(self, entry: Mapping[str, Any]) -> Call:
        if set(entry) != {"file"}:
            return Call(self._key, "load_state_dict", (entry,), writes=True)
        if self._pool.states is None:
            raise ValueError(
                f"the state names the file {entry['file']!r}: give the pool the folder, ShardedPool(states=)"
            )
        return Call(self._key, "load", (self._pool.states, entry["file"]), writes=True)

    def _tell(self, shard: int, method: str, *arguments: Any, **options: Any) -> None:
        self._read = None
        self._pool.shards.tell({shard: Call(self._key, method, arguments, options)})

    def _look(self, name: str, positions: Positions | slice, step: int | None) -> NDArray[Any]:
        if isinstance(positions, slice):
            positions = np.arange(self._size)[positions]
        known, read_at, table = self._read or (positions[:0], step, {})
        index = np.searchsorted(known, positions)
        if not (
            len(known)
            and (self._steady or step in (None, read_at))
            and np.array_equal(known[np.minimum(index, len(known) - 1)], positions)
        ):
            known = np.unique(positions)
            table = self._table(known, read_at if step is None and read_at is not None else step or 0)
            index = np.searchsorted(known, positions)
        return table[name][index]

    def _table(self, positions: Positions, step: int) -> dict[str, NDArray[Any]]:
        """All that a step asks about these prompts, their ids too, in one question."""
        pool = self._pool
        unknown = pool.unknown_rows(positions) if len(positions) <= _REMEMBERED // 8 else positions[:0]
        parts = pool.parts(positions) or [(0, positions, positions)]
        rows = {shard: (mine, local) for shard, mine, local in pool.parts(unknown)}
        calls = {shard: [Call(self._key, "table", (local, step))] for shard, _, local in parts}
        for shard, (_, local) in rows.items():
            calls[shard].append(Call(PROMPTS, "rows", (local,)))
        answers = pool.shards.ask_all(calls)
        for shard, (mine, _) in rows.items():
            pool.remember(unknown[mine], answers[shard][1])
        first = answers[parts[0][0]][0]
        table = {name: np.empty(len(positions), column.dtype) for name, column in first.items()}
        for shard, mine, _ in parts:
            for name, column in answers[shard][0].items():
                table[name][mine] = column
        self._read = (positions, step, table) if len(positions) <= _REMEMBERED else None
        return table


class ShardedTree(WeightTree):
    """A WeightTree whose lower levels live in shards."""

    def __init__(self, pool: ShardedPool) -> None:
        self._pool, self._size = pool, len(pool)
        self._key = pool.new_store(self, "ShardTree", [{}] * len(pool.shards))

    @property
    def total(self) -> float:
        return float(self._totals().sum())

    @property
    def weights(self) -> Floats:
        """The weight of every position. A view: `weights[positions]` asks the shards for those."""

        def read(positions: Positions) -> Floats:
            return self._pool.gather(positions, lambda local: Call(self._key, "weights", (local,)))

        return _view(_View(self, read))

    def set(self, positions: Positions, weights: Floats | float) -> None:
        values = np.broadcast_to(np.asarray(weights, dtype=np.float64), np.shape(positions))
        for shard, mine, local in self._pool.parts(np.asarray(positions)):
            self._pool.shards.tell({shard: Call(self._key, "set", (local, values[mine]))})

    def draw(self, num: int, rng: np.random.Generator) -> Positions:
        drawn: list[Positions] = []
        totals, asked, missing = self._totals(), set[int](), num
        while missing > 0 and totals.sum() > 0:
            shard, rest = pick(totals, rng.random(missing))
            calls = {
                index: Call(self._key, "take", (rest[shard == index],), writes=True)
                for index in np.unique(shard).tolist()
            }
            fresh = np.full(missing, -1, dtype=np.int64)
            for index, (local, first, total) in self._pool.shards.ask(calls).items():
                fresh[np.flatnonzero(shard == index)[first]] = local + self._pool.starts[index]
                totals[index] = total
            asked |= set(calls)
            fresh = fresh[fresh >= 0]
            drawn.append(fresh)
            missing -= len(fresh)
        self._pool.shards.tell(dict.fromkeys(asked, Call(self._key, "put_back")))
        return np.concatenate([np.zeros(0, np.int64), *drawn])

    def descend(self, uniform: Floats) -> Positions:
        raise NotImplementedError("a sharded tree draws with draw()")

    def _totals(self) -> Floats:
        return np.array(self._pool.shards.ask_each("total", target=self._key))


class ShardedPasses(ShuffledPasses):
    """Shuffled passes through all shards: which shard comes next is drawn here, the rest is its own."""

    def __init__(self, pool: ShardedPool, seed: int) -> None:
        super().__init__(seed)
        self._pool = pool
        options = [{"seed": seed, "index": index} for index in range(len(pool.shards))]
        self._key = pool.new_store(self, "ShardPasses", options)
        self._taken = np.zeros(len(pool.shards), dtype=np.int64)  # prompts of this pass so far, by shard
        self._left: list[Positions] = []  # still to come, by shard: most, then those postponed, then those who joined

    def state_dict(self) -> dict[str, Any]:
        known = np.count_nonzero(self._pool.sizes(sum(self._sizes[-1:])))  # shards that are new follow at the end
        return {**super().state_dict(), "taken": self._taken[:known].copy()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._taken = np.zeros(len(self._pool.shards), dtype=np.int64)
        self._taken[: len(state["taken"])] = state["taken"]
        most = self._pool.sizes(sum(state["sizes"][-1:]))
        if not ((self._taken >= 0) & (self._taken <= most)).all() or self._taken.sum() != state["cursor"]:
            raise ValueError(f"shards that gave {self._taken.tolist()} prompts cannot have given {state['cursor']}")
        super().load_state_dict(state)

    def __deepcopy__(self, memo: dict[int, Any]) -> "ShardedPasses":
        """The shards copy their orders too."""
        twin = copy.copy(self)
        twin._sizes, twin._taken = list(self._sizes), self._taken.copy()
        twin._left = [left.copy() for left in self._left]
        twin._key = self._pool.copy_store(twin, self._key)
        return twin

    def _advance(self, num: int) -> Positions:
        batches = [np.zeros(0, dtype=np.int64)]
        for left in self._left:
            batches.append(self._advance_among(left, min(num - sum(map(len, batches)), int(left.sum()))))
        return np.concatenate(batches)

    def _advance_among(self, left: Positions, num: int) -> Positions:
        if num == 0:
            return np.zeros(0, dtype=np.int64)
        rng = generator(self._seed, "pass", self._pass, "shards", self._cursor)
        counts = rng.multivariate_hypergeometric(left, num)
        shard = rng.permutation(np.repeat(np.arange(len(left)), counts))
        calls = {
            index: Call(self._key, "take", (int(counts[index]),), writes=True)
            for index in np.flatnonzero(counts).tolist()
        }
        batch = np.empty(num, dtype=np.int64)
        for index, local in self._pool.shards.ask(calls).items():
            batch[shard == index] = local + self._pool.starts[index]
        left -= counts
        self._taken += counts
        self._cursor += num
        return batch

    def _grow(self, size: int) -> None:
        if self._sizes and size > self._sizes[-1]:
            before, after = self._pool.sizes(self._sizes[-1]), self._pool.sizes(size)
            self._sizes.append(size)
            self._left.append(after - before)
            for shard, each in enumerate(after.tolist()):
                self._pool.shards.tell({shard: Call(self._key, "join", (each,))})

    def _shuffle(self) -> Positions:
        """Let every shard shuffle its part; the order stays there."""
        if self._cursor == 0:
            self._taken = np.zeros(len(self._pool.shards), dtype=np.int64)
        sizes = [self._pool.sizes(size) for size in self._sizes]
        late = {shard: local for shard, _, local in self._pool.parts(self._postponed)}
        postponed = np.array([len(late.get(shard, ())) for shard in range(len(self._pool.shards))], dtype=np.int64)
        self._left = [sizes[0] - postponed, postponed, *np.diff(np.array(sizes), axis=0)]
        gone = self._taken.copy()
        for left in self._left:
            part = np.minimum(gone, left)
            left -= part
            gone -= part
        for shard in range(len(self._pool.shards)):
            known = [int(each[shard]) for each in sizes]
            begin = (self._pass, late.get(shard, self._postponed[:0]), known, int(self._taken[shard]))
            self._pool.shards.tell({shard: Call(self._key, "begin", begin)})
        return np.zeros(0, dtype=np.int64)


def pick(totals: Floats, uniform: Floats) -> tuple[Positions, Floats]:
    """Draw a shard for each number in [0, 1), in proportion to the totals, and what is left of the number.

    Given the shard, the rest is again uniform on [0, 1), so that one number draws the shard and the prompt in it.
    """
    cumulative = totals.cumsum()
    target = uniform * cumulative[-1]
    shard = np.searchsorted(cumulative, target, side="right")
    # Rounding can push a target onto the total: step back to the last shard that has weight.
    shard = np.minimum(shard, np.flatnonzero(totals > 0)[-1])
    below = np.where(shard > 0, cumulative[shard - 1], 0.0)
    return shard, np.clip((target - below) / totals[shard], 0.0, np.nextafter(1.0, 0.0))


class _View:
    """Reads like an array over `whole`, and asks for what is read; `one` is a faster way to a single position."""

    def __init__(
        self,
        whole: Sized,
        read: Callable[[Positions], NDArray[Any]],
        one: Callable[[int], Any] | None = None,
        all_of: Callable[[], Iterator[Any]] | None = None,
    ) -> None:
        self._whole, self._read, self._one, self._all = whole, read, one, all_of

    def __len__(self) -> int:
        return len(self._whole)

    def __getitem__(self, index: Any) -> Any:
        if self._one is not None and type(index) is int and 0 <= index < len(self):
            return self._one(index)
        if isinstance(index, slice):
            return self._read(np.arange(len(self))[index])
        positions = np.asarray(index)
        if positions.dtype == np.bool_:
            positions = np.flatnonzero(positions)
        if ((positions < -len(self)) | (positions >= len(self))).any():
            raise IndexError(f"position out of range for {len(self)} prompts")
        found = self._read(np.atleast_1d(positions).astype(np.int64) % len(self))
        return found if positions.ndim else found[0]

    def __iter__(self) -> Iterator[Any]:
        return iter(self[:]) if self._all is None else self._all()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)

    def tolist(self) -> list[Any]:
        return list(self)


def _view(view: _View) -> NDArray[Any]:
    """For those who only read: what a curriculum does with an array over the pool, a view does too."""
    return cast("NDArray[Any]", view)


def _slice(columns: Mapping[str, Any], start: int, stop: int) -> dict[str, Any]:
    return {name: column[start:stop] for name, column in columns.items()}
