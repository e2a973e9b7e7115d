"""Arms: the prompts of a pool by a label that each has, its source or level, for methods that choose among labels.

They follow from the pool alone, and are no part of a state. Arms come in the order of their first prompts, so that one
that joins with new prompts is the last.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.arrays import Positions
from didact.seeding import generator


class Arms:
    """The arms of a pool, none of which is empty.

    Args:
        seed: of the order of the prompts of each arm, which is theirs however the pool grew.

    Attributes:
        labels: of the arms, in their order, as text; prompts of an unknown one (None) are an arm too.
        of: the arm of each prompt, shape (num_prompts,).
        members: the prompts of each arm, shuffled.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._index: dict[str, int] = {}
        self.of: Positions = np.zeros(0, dtype=np.int64)
        self.members: list[Positions] = []

    @property
    def labels(self) -> list[str]:
        return list(self._index)

    @property
    def sizes(self) -> Positions:
        """Prompts of each arm."""
        return np.array([len(each) for each in self.members], dtype=np.int64)

    def grow(self, labels: Sequence[object] | NDArray[np.generic]) -> None:
        """Take in the prompts beyond those that are known, given the labels of the whole pool."""
        first = len(self.of)
        if len(labels) == first:
            return
        index = self._index
        joined = np.array([index.setdefault(label, len(index)) for label in map(str, labels[first:])], dtype=np.int64)
        self.of = np.concatenate([self.of, joined])
        place = generator(self._seed, "arms").random(len(self.of))  # the first ones stay what they were
        order = np.lexsort((place, self.of))
        self.members = np.split(order, np.bincount(self.of).cumsum()[:-1])

    def places(self, chance: ArrayLike, num: int, rng: np.random.Generator) -> Positions:
        """How many of `num` places each arm gets when each place draws an arm by these chances, which need no sum of 1.

        An arm with fewer prompts leaves its places to the others, by their chances, or to all if these have none.
        """
        chance, sizes = np.asarray(chance, dtype=np.float64), self.sizes
        got = np.zeros(len(sizes), dtype=np.int64)
        while (missing := min(num, len(self.of)) - int(got.sum())) > 0:
            left = np.where(got < sizes, chance, 0.0)
            left = left if left.sum() > 0 else (got < sizes).astype(np.float64)
            got = np.minimum(got + rng.multinomial(missing, left / left.sum()), sizes)
        return got

    def draw(self, places: Positions, rng: np.random.Generator) -> Positions:
        """So many distinct prompts of each arm, at random."""
        drawn = [rng.choice(each, num, replace=False) for each, num in zip(self.members, places.tolist(), strict=True)]
        return np.concatenate(drawn)

    def next_ones(self, places: Positions, cursors: Positions, busy: ArrayLike = ()) -> Positions:
        """So many prompts of each arm from a cursor on, which goes round in the arm's order and is moved on.

        Args:
            busy: prompts that are passed over; of an arm that has too few others, all of these are taken.
        """
        passed_over, taken = np.asarray(busy, dtype=np.int64), []
        for arm, num in enumerate(places.tolist()):
            mine = self.members[arm]
            reach = min(num + len(passed_over), len(mine)) if num else 0
            ahead = mine[(cursors[arm] + np.arange(reach)) % len(mine)]
            free = np.flatnonzero(~np.isin(ahead, passed_over))[:num]
            taken.append(ahead[free])
            cursors[arm] = (cursors[arm] + (free[-1] + 1 if len(free) else 0)) % len(mine)
        return np.concatenate(taken)
