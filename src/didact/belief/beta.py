"""Independent Beta beliefs, one per prompt, with the mean and variance of the reward beside them.

    alpha <- alpha + passes,   beta <- beta + failures          (CurES, arXiv:2510.01037, eq. 23)

The posterior mean alpha / (alpha + beta) is the believed pass rate. A reward between 0 and 1 counts as a fraction of a
pass; `pass_above` turns any reward into pass or fail. Old evidence can fade (`discount` per step), drop out (`window`
of steps) or be forgotten at once (`reset`), see `Evidence`. Nothing is shared between prompts here.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didact.arrays import Floats, Positions
from didact.belief.base import ALL, NOTHING, Belief, Where
from didact.belief.evidence import START, Evidence
from didact.pass_rates import PassRates
from didact.state import in_order

#: What is kept about each prompt, as it starts: the evidence, and what was spent.
_START = {**START, "num_rollouts": np.int32(0), "response_tokens": np.int64(0), "last_seen": np.int32(-1)}


class BetaBelief(Belief):
    """Beta belief about `size` prompts, in this process; the options, and what is refused, are those of `Belief`."""

    def __init__(self, size: int, **options: Any) -> None:
        super().__init__(**options)
        self._columns: dict[str, NDArray[Any]] = {name: np.full(size, start) for name, start in _START.items()}
        self._evidence = Evidence(self._columns, discount=self.discount, window=self.window)

    def __len__(self) -> int:
        return len(self._columns["last_seen"])

    def grow(self, size: int) -> None:
        extra = size - len(self)
        if extra > 0:
            for name, start in _START.items():
                self._columns[name] = np.concatenate([self._columns[name], np.full(extra, start)])

    def observe(
        self, positions: Positions, sizes: Positions, rewards: Floats, *, step: int, versions: Positions | None = None
    ) -> None:
        versions = np.full(len(positions), step, dtype=np.int64) if versions is None else versions
        keep = sizes > 0
        positions, sizes, versions = positions[keep], sizes[keep], versions[keep]
        if len(positions) == 0:
            return
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        passed = np.add.reduceat(self.passes(rewards), starts)
        sums = [np.add.reduceat(rewards, starts), np.add.reduceat(rewards**2, starts)]
        increments = np.stack([passed, sizes.astype(np.float64), *sums])
        self._evidence.add(positions, increments, versions, step=step)

    def count(self, positions: Positions, num_rollouts: Positions, tokens: Positions, *, step: int) -> None:
        np.add.at(self._columns["num_rollouts"], positions, num_rollouts)
        np.add.at(self._columns["response_tokens"], positions, tokens)
        np.maximum.at(self._columns["last_seen"], positions, step)

    def reset(self, positions: Positions) -> None:
        self._evidence.reset(positions)

    def mean(self, positions: Where = ALL, *, step: int = 0) -> Floats:
        alpha, beta = self._posterior(positions, step)
        return alpha / (alpha + beta)

    def spread(self, positions: Where = ALL, *, step: int = 0) -> Floats:
        if self.pass_above is not None:
            mean = self.mean(positions, step=step)
            return np.sqrt(mean * (1 - mean))
        faded = self._evidence.faded(positions, step)
        columns = self._evidence.sums(positions, step, "evidence", "reward_sum", "reward_squares")
        evidence, sums, squares = (column * faded for column in columns)
        passes, failures = self._start(positions, evidence)
        total = evidence + (passes + failures)
        mean = (sums + passes) / total
        return np.sqrt(np.maximum((squares + passes) / total - mean**2, 0.0))

    def evidence(self, positions: Where = ALL, *, step: int = 0) -> Floats:
        [evidence] = self._evidence.sums(positions, step, "evidence")
        return evidence * self._evidence.faded(positions, step)

    def num_rollouts(self, positions: Where = ALL) -> NDArray[np.int32]:
        return self._columns["num_rollouts"][positions]

    def last_seen(self, positions: Where = ALL) -> NDArray[np.int32]:
        return self._columns["last_seen"][positions]

    def spent(self) -> tuple[int, int, int]:
        rollouts, tokens = self._columns["num_rollouts"], self._columns["response_tokens"]
        return int(rollouts.sum(dtype=np.int64)), int(tokens.sum()), int(np.count_nonzero(rollouts))

    def pass_rates(self, ids: NDArray[np.object_], *, step: int = 0) -> PassRates:
        mean, std = moments(*self._posterior(ALL, step))
        # The discount cancels out of the means.
        evidence, sums, squares = self._evidence.sums(ALL, step, "evidence", "reward_sum", "reward_squares")
        with np.errstate(invalid="ignore", divide="ignore"):
            reward_mean = sums / evidence
            variance = squares / evidence - reward_mean**2
        return PassRates(
            ids=ids,
            mean=mean,
            std=std,
            num_rollouts=self._columns["num_rollouts"].astype(np.int64),
            evidence=self.evidence(step=step),
            reward_mean=reward_mean,
            reward_std=np.sqrt(np.maximum(variance, 0.0)),
            response_tokens=self._columns["response_tokens"].copy(),
            last_seen=self._columns["last_seen"].astype(np.int64),
        )

    def state_dict(self) -> dict[str, Any]:
        seen = np.flatnonzero(self._columns["last_seen"] >= 0)
        columns = {name: column[seen] for name, column in self._columns.items()}
        return {"size": len(self), "seen": seen, "columns": columns, "recent": self._evidence.recent()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        size, seen, saved = state["size"], state["seen"], state["columns"]
        if size > len(self) or not in_order(seen, size):
            raise ValueError(f"a belief about {size} of {len(self)} prompts must name those it has seen in order")
        wrong = [name for name, column in saved.items() if column.shape != seen.shape]
        wrong += [name for name, column in saved.items() if not name.startswith("reward") and not (column >= 0).all()]
        if wrong:
            raise ValueError(f"a belief about {len(seen)} prompts that were seen cannot have such {wrong}")
        self._evidence.load(size, saved, state["recent"])
        for name, start in _START.items():
            self._columns[name] = np.full(size, start)
            self._columns[name][seen] = saved[name]

    def _posterior(self, positions: Where, step: int) -> tuple[Floats, Floats]:
        passes, evidence = self._evidence.sums(positions, step, "passes", "evidence")
        faded = self._evidence.faded(positions, step)
        alpha, beta = self._start(positions, evidence * faded)
        return passes * faded + alpha, (evidence - passes) * faded + beta

    def _start(self, positions: Where, evidence: Floats) -> tuple[Floats | float, Floats | float]:
        """Pseudo-counts of the prior, and of `NOTHING` where neither it nor the evidence says anything."""
        passes, failures = self.prior_at(positions)
        none = np.equal(passes + failures, 0)
        unknown = np.where((evidence < NOTHING) & none, NOTHING, 0.0) if none.any() else 0.0
        return passes + unknown, failures + unknown


def moments(alpha: Floats, beta: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of Beta(alpha, beta)."""
    total = alpha + beta
    return alpha / total, np.sqrt(alpha * beta / (total**2 * (total + 1)))
