"""Exclusion: prompts that passed whenever they were piloted are left out of the passes, until they come back.

A prompt is left out after so many rollouts, in pilots in a row that were solved, and comes back after so many steps if
the method says so. All come back once a whole pass over the others found none worth more than its pilot: a few dead
prompts must not end a run.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from didact.columns import Columns
from didact.ledger import OpenGroup
from didact.memory import derived, kept
from didact.method import Positions, Turn
from didact.pool import Pool


@dataclass
class Exclusions:
    """Which prompts are left out; a memory, see `didact.memory`."""

    pilots: Columns  # by prompt: "excluded", the step at which it was; "passed", rollouts of solved pilots in a row
    barren: int = kept(0, least=0)  # pilots since the last one worth more
    num_excluded: int = derived(int)

    @classmethod
    def none_of(cls, pool: Pool) -> "Exclusions":
        """Of this pool, none is left out."""
        return cls(pool.columns(excluded=np.int32(-1), passed=np.int32(0)))

    def walk(self, num: int, turn: Turn, retest_after: int | None) -> Positions:
        """Of the next `num` prompts of the passes, those that are not left out, or since `retest_after` steps."""
        if self.barren >= len(turn.pool) - self.num_excluded:
            self.pilots.clear("excluded")
            self.pilots.clear("passed")
            self.barren = self.num_excluded = 0
        positions = turn.walk(num)
        since = self.pilots.get("excluded", positions)
        back = retest_after is not None and turn.step - since >= retest_after
        return positions[(since < 0) | back]

    def note(
        self, groups: Sequence[OpenGroup], accepted: Sequence[bool], solved: Sequence[bool], after: int, step: int
    ) -> None:
        """Take in pilots: whether each is worth more, and whether it was solved; `after` so many rollouts in a row of
        solved ones its prompt is left out, at this step."""
        positions = np.unique(np.array([group.position for group in groups], dtype=np.int64))
        passed = dict(zip(positions.tolist(), self.pilots.get("passed", positions).tolist(), strict=True))
        excluded = set()
        for group, worth_more, all_passed in zip(groups, accepted, solved, strict=True):
            self.barren = 0 if worth_more else self.barren + 1
            passed[group.position] = passed[group.position] + len(group.usable) if all_passed else 0
            if passed[group.position] >= after:
                excluded.add(group.position)
        self.pilots.put("passed", positions, list(passed.values()))
        out = np.array(sorted(excluded), dtype=np.int64)
        self.num_excluded += int(np.count_nonzero(self.pilots.get("excluded", out) < 0))
        self.pilots.put("excluded", out, step)

    def resume(self, size: int, step: int) -> None:
        """After a state was loaded, of a pool of this size at this step.

        Raises:
            ValueError: columns that no run can have led to.
        """
        if self.pilots.count("excluded", step + 1) or self.pilots.count("excluded", -1) < size:
            raise ValueError(f"prompts are excluded since a step up to {step}, or not (-1)")
        if self.pilots.count("passed", 0) < size:
            raise ValueError("each prompt has passed so many rollouts in a row, and no fewer than 0")
        self.num_excluded = self.pilots.count("excluded", 0)
