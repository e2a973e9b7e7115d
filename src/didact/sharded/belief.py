"""A belief over shards: what is known of a prompt is in one place, and has the values of an unsharded belief."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didact.arrays import Floats, Positions
from didact.belief.base import ALL, Belief, Where
from didact.pass_rates import PassRates
from didact.sharded.lazy_belief import LazyBelief
from didact.sharded.rows import REMEMBERED, Rows
from didact.sharded.shards import PROMPTS, Call
from didact.sharded.spread import Spread


class ShardedBelief(Belief):
    """A belief whose prompts live in shards. Reading is cheap for a batch, not for the whole pool.

    Args:
        rows: what is remembered of prompts here; they are asked for in the same question.
        states: a folder for the states of shards, or None.
        options: those of `Belief`.
    """

    def __init__(
        self,
        spread: Spread,
        rows: Rows,
        states: str | None,
        known: Callable[[Positions], NDArray[Any]],
        **options: Any,
    ) -> None:
        super().__init__(known=known, **options)
        self._spread, self._rows, self._states, self._size = spread, rows, states, len(spread)
        self._key = spread.new_store(self, LazyBelief, [options] * len(spread.shards))
        self._read: tuple[Positions, int, dict[str, NDArray[Any]]] | None = None  # the latest answer, till it changes
        self._steady = self.discount == 1 and self.window is None  # whether what is known is the same at every step

    def __len__(self) -> int:
        return self._size

    def grow(self, size: int) -> None:
        if size > self._size:
            before, after = self._spread.sizes(self._size), self._spread.sizes(size)
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
        for shard, mine, local in self._spread.parts(positions):
            inside[:] = False
            inside[mine] = True
            made = None if versions is None else versions[mine]
            self._tell(shard, "observe", local, sizes[mine], rewards[inside[whose]], step=step, versions=made)

    def count(self, positions: Positions, num_rollouts: Positions, tokens: Positions, *, step: int) -> None:
        for shard, mine, local in self._spread.parts(positions):
            self._tell(shard, "count", local, num_rollouts[mine], tokens[mine], step=step)

    def reset(self, positions: Positions) -> None:
        for shard, _, local in self._spread.parts(positions):
            self._tell(shard, "reset", local)

    def mean(self, positions: Where = ALL, *, step: int = 0) -> Floats:
        return self._look("mean", positions, step)

    def spread(self, positions: Where = ALL, *, step: int = 0) -> Floats:
        return self._look("spread", positions, step)

    def evidence(self, positions: Where = ALL, *, step: int = 0) -> Floats:
        return self._look("evidence", positions, step)

    def num_rollouts(self, positions: Where = ALL) -> NDArray[np.int32]:
        return self._look("num_rollouts", positions, None)

    def spent(self) -> tuple[int, int, int]:
        rollouts, tokens, prompts = zip(*self._spread.shards.ask_each("spent", target=self._key), strict=True)
        return sum(rollouts), sum(tokens), sum(prompts)

    def last_seen(self, positions: Where = ALL) -> NDArray[np.int32]:
        return self._look("last_seen", positions, None)

    def pass_rates(self, ids: NDArray[np.object_], *, step: int = 0) -> PassRates:
        """For reports, and for pools that fit into this process."""
        calls = {
            shard: [Call(PROMPTS, "ids"), Call(self._key, "all_rates", (), {"step": step})]
            for shard in range(len(self._spread.shards))
        }
        answers = self._spread.shards.ask_all(calls)
        names = np.empty(self._size, dtype=object)
        names[:] = [prompt_id for shard in calls for prompt_id in answers[shard][0]]
        columns = [answers[shard][1] for shard in calls]
        return PassRates(ids=names, **{name: np.concatenate([each[name] for each in columns]) for name in columns[0]})

    def state_dict(self) -> dict[str, Any]:
        """One entry for each shard, made by it: with a folder for states, the name of a file there."""
        folder = self._states
        if folder is not None:
            Path(folder).mkdir(parents=True, exist_ok=True)
        known = np.count_nonzero(self._spread.sizes(self._size))  # shards that are new follow at the end
        answers = self._spread.shards.ask(
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
        if state["size"] > self._size or len(state["shards"]) != np.count_nonzero(self._spread.sizes(state["size"])):
            raise ValueError(
                f"a belief about {state['size']} prompts in {len(state['shards'])} shards is of another pool"
            )
        self._spread.shards.ask({shard: self._load_call(each) for shard, each in enumerate(state["shards"])})
        self._size, self._read = state["size"], None

    def _load_call(self, entry: Mapping[str, Any]) -> Call:
        if set(entry) != {"file"}:
            return Call(self._key, "load_state_dict", (entry,), writes=True)
        if self._states is None:
            raise ValueError(
                f"the state names the file {entry['file']!r}: give the pool the folder, ShardedPool(states=)"
            )
        return Call(self._key, "load", (self._states, entry["file"]), writes=True)

    def _tell(self, shard: int, method: str, *arguments: Any, **options: Any) -> None:
        self._read = None
        self._spread.shards.tell({shard: Call(self._key, method, arguments, options)})

    def _look(self, name: str, positions: Where, step: int | None) -> NDArray[Any]:
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
        unknown = self._rows.unknown(positions) if len(positions) <= REMEMBERED // 8 else positions[:0]
        parts = self._spread.parts(positions) or [(0, positions, positions)]
        rows = {shard: (mine, local) for shard, mine, local in self._spread.parts(unknown)}
        calls = {shard: [Call(self._key, "table", (local, step))] for shard, _, local in parts}
        for shard, (_, local) in rows.items():
            calls[shard].append(Call(PROMPTS, "rows", (local,)))
        answers = self._spread.shards.ask_all(calls)
        for shard, (mine, _) in rows.items():
            self._rows.remember(unknown[mine], answers[shard][1])
        first = answers[parts[0][0]][0]
        table = {name: np.empty(len(positions), column.dtype) for name, column in first.items()}
        for shard, mine, _ in parts:
            for name, column in answers[shard][0].items():
                table[name][mine] = column
        self._read = (positions, step, table) if len(positions) <= REMEMBERED else None
        return table
