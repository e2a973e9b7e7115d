"""Independent Beta beliefs, one per prompt, with the mean and variance of the reward beside them.

    alpha <- alpha + passes,   beta <- beta + failures          (CurES, arXiv:2510.01037, eq. 23)

The posterior mean alpha / (alpha + beta) is the believed pass rate. A reward between 0 and 1 counts as a fraction of a
pass; `pass_above` turns any reward into pass or fail. Old evidence can fade (`discount` per step), drop out (`window`
of steps) or be forgotten at once (`reset`). Nothing is shared between prompts here.

Evidence is as old as the policy that made it, not as its arrival: an outcome of version v weighs discount^(t - v) at
step t, or counts while v > t - window. So the belief is a function of which outcomes came, whatever their order and
delay, up to the order in which floats are added up. Versions count steps; a version newer than the step it is read at
weighs 1, and what is older fades against it.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didact.bounds import MAX_REWARD, MAX_STEP, real, two, whole_or_none
from didact.pass_rates import PassRates
from didact.state import in_order, pieces

Floats = NDArray[np.float64]
Positions = NDArray[np.int64]

_EDGE = 0.01  # the least and (from 1) the most that another model's pass rate makes believed: no prior is certain
_NOTHING = 1e-12  # evidence that is as good as none, and the pseudo-counts that stand for it: no variance is 0 / 0
_COUNTS = ("passes", "evidence", "reward_sum", "reward_squares")
_COLUMNS = dict.fromkeys(_COUNTS, np.float64) | {
    "num_rollouts": np.int32,
    "response_tokens": np.int64,
    "last_seen": np.int32,
    "updated": np.int32,
}


class BetaBelief:
    """Beta belief about `size` prompts.

    Args:
        size: number of prompts.
        prior: pseudo-counts (passes, failures), each at most 1e9; (1, 1) is uniform on [0, 1]. With (0, 0) the counts
            speak for themselves, so that 0 of 4 is 0; a prompt without evidence is believed at 1/2.
        discount: factor on all evidence per step, in (0, 1]; 1 never forgets. It is applied when a prompt is read or
            observed, so a step costs as much as its batch and not as much as the pool.
        window: remember only the outcomes of the latest `window` policy versions, exactly.
        pass_above: a rollout passes when its reward is greater than this. None: rewards are clipped to [0, 1] and
            counted as fractions.
        prior_weight: pseudo-rollouts that a known pass rate counts for, in place of `prior`; 0 looks at none.
        known: gives the pass rates that are known of some positions, float of their shape, nan where none is. Rates
            below 0.01 count as 0.01, those above 0.99 as 0.99. It is asked when a prompt is read, and fades never.

    Raises:
        ValueError: an option out of range, or both discount and window.
    """

    def __init__(
        self,
        size: int,
        *,
        prior: tuple[float, float] = (1.0, 1.0),
        discount: float = 1.0,
        window: int | None = None,
        pass_above: float | None = None,
        prior_weight: float = 0.0,
        known: Callable[[Positions], NDArray[Any]] | None = None,
    ) -> None:
        self.discount = real("discount", discount, 0, 1)
        if self.discount == 0:
            raise ValueError("discount must be in (0, 1], got 0: that would forget what has just come in")
        self.prior = two("prior", prior, "(passes, failures), pseudo-counts", 0)
        if 0 < sum(self.prior) < 2 * _NOTHING:
            raise ValueError(f"prior must be (0, 0) or add up to {2 * _NOTHING:g} or more, got {self.prior}")
        self.prior_weight = real("prior_weight", prior_weight, 0)
        if 0 < self.prior_weight < 2 * _NOTHING:
            raise ValueError(f"prior_weight must be 0, or {2 * _NOTHING:g} or more, got {prior_weight}")
        self._known = known if self.prior_weight > 0 else None
        self.window = whole_or_none("window", window, 1, MAX_STEP)
        if self.window is not None and self.discount < 1:
            raise ValueError("give discount or window, not both: each is a way to forget")
        self.pass_above = None if pass_above is None else real("pass_above", pass_above, -MAX_REWARD, MAX_REWARD)
        self._recent: deque[tuple[int, Positions, Floats]] = deque()
        self._columns: dict[str, NDArray[Any]] = {name: np.zeros(0, dtype) for name, dtype in _COLUMNS.items()}
        self.grow(size)

    def __len__(self) -> int:
        return len(self._columns["passes"])

    def grow(self, size: int) -> None:
        """Make room for prompts that joined the pool; they start at the prior."""
        extra = size - len(self)
        if extra <= 0:
            return
        for name, column in self._columns.items():
            fill = -1 if name == "last_seen" else 0
            self._columns[name] = np.concatenate([column, np.full(extra, fill, column.dtype)])

    def passes(self, rewards: Floats) -> Floats:
        """How much of a pass each reward is, in [0, 1]."""
        if self.pass_above is None:
            return np.clip(rewards, 0.0, 1.0)
        return (rewards > self.pass_above).astype(np.float64)

    def observe(
        self,
        positions: Positions,
        sizes: Positions,
        rewards: Floats,
        *,
        step: int,
        versions: Positions | None = None,
    ) -> None:
        """Take in groups of rewards: group k is of prompt positions[k] and has sizes[k] rewards, laid end to end.

        A prompt may occur in several groups. Groups without rewards change nothing. `versions`, one for each group,
        are those of the policies that made them; None takes `step` for all.
        """
        versions = np.full(len(positions), step, dtype=np.int64) if versions is None else versions
        keep = sizes > 0
        positions, sizes, versions = positions[keep], sizes[keep], versions[keep]
        if len(positions) == 0:
            return
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        passed = np.add.reduceat(self.passes(rewards), starts)
        sums = [np.add.reduceat(rewards, starts), np.add.reduceat(rewards**2, starts)]
        increments = np.stack([passed, sizes.astype(np.float64), *sums])
        self._forget(step)
        increments = self._fade(positions, versions, increments)
        for name, increment in zip(_COUNTS, increments, strict=True):
            np.add.at(self._columns[name], positions, increment)
        if self.window is not None:
            for version in np.unique(versions):
                here = versions == version
                self._remember(int(version), positions[here], increments[:, here])

    def count(self, positions: Positions, num_rollouts: Positions, tokens: Positions, *, step: int) -> None:
        """Count what was spent on prompts, whether or not it told anything about their pass rates."""
        np.add.at(self._columns["num_rollouts"], positions, num_rollouts)
        np.add.at(self._columns["response_tokens"], positions, tokens)
        np.maximum.at(self._columns["last_seen"], positions, step)

    def reset(self, positions: Positions) -> None:
        """Forget the evidence about some prompts; what was spent on them stays counted."""
        for name in _COUNTS:
            self._columns[name][positions] = 0
        for index, (step, seen, increments) in enumerate(self._recent):
            kept = ~np.isin(seen, positions)
            self._recent[index] = (step, seen[kept], increments[:, kept])

    def mean(self, positions: Positions | slice = slice(None), *, step: int = 0) -> Floats:
        """Posterior mean pass rate, in [0, 1]."""
        alpha, beta = self._posterior(positions, step)
        return alpha / (alpha + beta)

    def spread(self, positions: Positions | slice = slice(None), *, step: int = 0) -> Floats:
        """Believed standard deviation of one rollout's reward, the prior counting as so many rewards of 1 and 0.

        For rewards that are 0 or 1 this is sqrt(p(1-p)) with p the posterior mean.
        """
        if self.pass_above is not None:
            mean = self.mean(positions, step=step)
            return np.sqrt(mean * (1 - mean))
        self._forget(step)
        scale = self._scale(positions, step)
        evidence, sums, squares = (
            self._columns[name][positions] * scale for name in ("evidence", "reward_sum", "reward_squares")
        )
        passes, failures = self.prior_at(positions)
        unknown = _unknown(evidence, passes + failures)
        passes, total = passes + unknown, evidence + (passes + failures) + 2 * unknown
        mean = (sums + passes) / total
        return np.sqrt(np.maximum((squares + passes) / total - mean**2, 0.0))

    def prior_at(self, positions: Positions | slice = slice(None)) -> tuple[Floats | float, Floats | float]:
        """Pseudo-counts of passes and failures that these prompts start from; numbers where they all start alike."""
        if self._known is None:
            return self.prior
        rates = self._known(np.arange(len(self))[positions]).astype(np.float64)
        passes = self.prior_weight * np.clip(rates, _EDGE, 1 - _EDGE)
        unknown = np.isnan(rates)
        return np.where(unknown, self.prior[0], passes), np.where(unknown, self.prior[1], self.prior_weight - passes)

    def evidence(self, positions: Positions | slice = slice(None), *, step: int = 0) -> Floats:
        """Remembered rollouts per prompt."""
        self._forget(step)
        return self._columns["evidence"][positions] * self._scale(positions, step)

    def sample(self, rng: np.random.Generator, *, step: int = 0) -> Floats:
        """One draw of every pass rate from its posterior (for Thompson sampling)."""
        alpha, beta = self._posterior(slice(None), step)
        return rng.beta(np.maximum(alpha, 1e-9), np.maximum(beta, 1e-9))

    def num_rollouts(self, positions: Positions | slice = slice(None)) -> NDArray[np.int32]:
        return self._columns["num_rollouts"][positions]

    def spent(self) -> tuple[int, int, int]:
        """What was counted, of all prompts together: rollouts, response tokens, and prompts with any rollouts."""
        rollouts, tokens = self._columns["num_rollouts"], self._columns["response_tokens"]
        return int(rollouts.sum(dtype=np.int64)), int(tokens.sum()), int(np.count_nonzero(rollouts))

    def last_seen(self, positions: Positions | slice = slice(None)) -> NDArray[np.int32]:
        return self._columns["last_seen"][positions]

    def pass_rates(self, ids: NDArray[np.object_], *, step: int = 0) -> PassRates:
        """A snapshot of the whole pool."""
        mean, std = moments(*self._posterior(slice(None), step))
        remembered = self._columns["evidence"]  # the discount cancels out of the means
        with np.errstate(invalid="ignore", divide="ignore"):
            reward_mean = self._columns["reward_sum"] / remembered
            variance = self._columns["reward_squares"] / remembered - reward_mean**2
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
        """Only prompts that were ever seen are stored, so a checkpoint grows with the run and not with the pool."""
        seen = np.flatnonzero(self._columns["last_seen"] >= 0)
        recent = list(self._recent)
        return {
            "size": len(self),
            "seen": seen,
            "columns": {name: column[seen] for name, column in self._columns.items()},
            "recent": {
                "steps": np.array([step for step, _, _ in recent], dtype=np.int64),
                "sizes": np.array([len(positions) for _, positions, _ in recent], dtype=np.int64),
                "positions": np.concatenate([np.zeros(0, np.int64), *(positions for _, positions, _ in recent)]),
                "increments": np.concatenate([np.zeros((4, 0)), *(increments for _, _, increments in recent)], axis=1),
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state; prompts that joined since it was saved come with the next `grow`.

        Raises:
            ValueError: more prompts than here, columns that do not fit, or that no observations can lead to.
        """
        size, seen, saved, recent = state["size"], state["seen"], state["columns"], state["recent"]
        if size > len(self) or not in_order(seen, size):
            raise ValueError(f"a belief about {size} of {len(self)} prompts must name those it has seen in order")
        wrong = [name for name, column in saved.items() if column.shape != seen.shape]
        wrong += [name for name, column in saved.items() if not name.startswith("reward") and not (column >= 0).all()]
        if wrong or not (saved["passes"] <= saved["evidence"]).all() or not np.isfinite(saved["evidence"]).all():
            raise ValueError(f"a belief about {len(seen)} prompts that were seen cannot have such {wrong or 'passes'}")
        columns: dict[str, NDArray[Any]] = {}
        for name, dtype in _COLUMNS.items():
            columns[name] = np.full(size, -1 if name == "last_seen" else 0, dtype)
            columns[name][seen] = saved[name]
        steps, positions = recent["steps"], recent["positions"]
        if (len(steps) and self.window is None) or (np.diff(steps) < 0).any():
            raise ValueError("what a belief remembers of each step must be in order, and only a window remembers")
        if len(positions) and not (positions.min() >= 0 and positions.max() < size):
            raise ValueError(f"a belief about {size} prompts remembers others")
        parts = zip(pieces(positions, recent["sizes"]), pieces(recent["increments"], recent["sizes"]), strict=True)
        self._recent = deque((int(step), *part) for step, part in zip(steps, parts, strict=True))
        self._columns = columns

    def _posterior(self, positions: Positions | slice, step: int) -> tuple[Floats, Floats]:
        self._forget(step)
        scale = self._scale(positions, step)
        passes, evidence = self._columns["passes"][positions], self._columns["evidence"][positions]
        alpha, beta = self.prior_at(positions)
        unknown = _unknown(evidence * scale, alpha + beta)
        return passes * scale + alpha + unknown, (evidence - passes) * scale + beta + unknown

    def _scale(self, positions: Positions | slice, step: int) -> Floats | float:
        if self.discount == 1:
            return 1.0
        age = np.maximum(step - self._columns["updated"][positions], 0)
        return np.asarray(self.discount**age, dtype=np.float64)

    def _fade(self, positions: Positions, versions: Positions, increments: Floats) -> Floats:
        """Bring what is known and what is new to the newest version that told of each prompt."""
        updated = self._columns["updated"]
        if self.discount == 1:
            np.maximum.at(updated, positions, versions)
            return increments
        unique = np.unique(positions)
        before = updated[unique]
        np.maximum.at(updated, positions, versions)
        scale = self.discount ** (updated[unique] - before)
        for name in _COUNTS:
            self._columns[name][unique] *= scale
        return np.asarray(increments * self.discount ** (updated[positions] - versions))

    def _remember(self, version: int, positions: Positions, increments: Floats) -> None:
        """Keep the window sorted by version: what comes late leaves when it would have left."""
        place = len(self._recent)
        while place and self._recent[place - 1][0] > version:
            place -= 1
        self._recent.insert(place, (version, positions, increments))

    def _forget(self, step: int) -> None:
        while self.window is not None and self._recent and self._recent[0][0] <= step - self.window:
            _, positions, increments = self._recent.popleft()
            for name, increment in zip(_COUNTS, increments, strict=True):
                np.subtract.at(self._columns[name], positions, increment)
            # Evidence is a whole number here; fractional rewards leave rounding dust, which must not outlive it.
            passes, evidence = self._columns["passes"], self._columns["evidence"]
            passes[positions] = np.clip(passes[positions], 0.0, evidence[positions])
            for name in _COUNTS:
                self._columns[name][positions[evidence[positions] == 0]] = 0.0


def moments(alpha: Floats, beta: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of Beta(alpha, beta)."""
    total = alpha + beta
    return alpha / total, np.sqrt(alpha * beta / (total**2 * (total + 1)))


def _unknown(evidence: Floats, prior: Floats | float) -> Floats | float:
    """What stands for a prompt of which nothing is known: neither evidence nor pseudo-counts."""
    none = np.equal(prior, 0)
    return np.where((evidence < _NOTHING) & none, _NOTHING, 0.0) if none.any() else 0.0
