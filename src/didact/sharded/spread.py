"""How the prompts of a pool are spread over shards, and what is kept there for those who ask.

Position of a prompt: where its shard begins plus its position there. Prompts that join go to the last shard.
"""

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didact.arrays import Positions
from didact.sharded.shards import Call, Shards


class Spread:
    """Shards, and which positions of the pool are in which.

    Args:
        sizes: prompts of each shard.
    """

    def __init__(self, shards: Shards, sizes: Sequence[int]) -> None:
        self.shards = shards
        self.starts: Positions = np.cumsum([0, *sizes[:-1]])
        self._sizes: Positions = np.array(sizes, dtype=np.int64)
        self._total = int(self._sizes.sum())

    def __len__(self) -> int:
        return self._total

    def join(self, num: int) -> None:
        """So many prompts joined."""
        self._sizes[-1] += num
        self._total += num

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

    def new_store(self, owner: object, kind: Callable[..., Any], options: Sequence[Mapping[str, Any]]) -> int:
        """Make a store in each shard, with options of its own; see `Store`.

        Returns:
            The number it is known by, for as long as `owner` lives.
        """
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

    def _end_with(self, owner: object, key: int) -> None:
        everywhere = dict.fromkeys(range(len(self.shards)), Call(key, "drop"))
        weakref.finalize(owner, self.shards.tell, everywhere).atexit = False
