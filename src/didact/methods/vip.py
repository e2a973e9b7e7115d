"""VIP: predict pass rates from what prompts look like, and give each prompt the rollouts its variance deserves.

Nguyen et al., "Adaptive Rollout Allocation for Online Reinforcement Learning with Verifiable Rewards",
arXiv:2602.01601; code HieuNT91/VIP.

    prediction   logit p ~ Gaussian process over the prompts' features, RBF kernel exp(-d^2 / 2 w^2), w the median
                 distance; conditioned on the logit of each prompt's latest rate
    variance     v = 4 p (1-p);   RLOO  v / (n-1),   Dr.GRPO  v (n-1) / n^2
    allocation   minimise the sum of variances   subject to   sum n = budget,   low <= n <= high

RLOO has n = 1 + sqrt(v / lambda); Dr.GRPO the larger root of v (n-2) / n^3 = lambda. lambda comes from bisection,
floors are taken, and what remains goes one rollout at a time to the largest decrease. VIP chooses no prompts: they come
in shuffled passes.

Where this departs from paper and code: observed logits are smoothed by half a pass and half a failure and have a
variance of 4 / n (the code clips at 1e-6, so that 0 of 8 reads as -13.8, and takes it as exact); the process is
conditioned on the batch's own latest visits and on the `history` prompts visited last, not on the whole pool, so
that a step costs as much as these. A prompt's later visit replaces its earlier one; nothing else fades.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.allocation import greedy, largest_remainder
from didact.bounds import MAX_PER_STEP, one_of, real, whole, whole_or_none
from didact.curriculum import Curriculum, Draft
from didact.ledger import OpenGroup
from didact.methods.latest import LatestVisit
from didact.outcomes import GroupOutcome
from didact.prompts import PromptPool
from didact.selection import ShuffledPasses
from didact.state import in_order

Floats = NDArray[np.float64]
Positions = NDArray[np.int64]
_ESTIMATORS = ("rloo", "dr_grpo")
_WIDTH_SAMPLE = 256
_MAX_LOGIT = 100.0  # of the prior: a pass rate of 1e-44


def gradient_variance(pass_rate: ArrayLike, num_rollouts: ArrayLike, estimator: str = "rloo") -> Floats:
    """Variance of a prompt's gradient estimate, up to the square of the gradient's length: n >= 2 rollouts."""
    p, num = np.asarray(pass_rate, dtype=np.float64), np.asarray(num_rollouts, dtype=np.float64)
    return np.asarray(4 * p * (1 - p) * (1 / (num - 1) if estimator == "rloo" else (num - 1) / num**2))


def allocate_by_variance(
    pass_rate: ArrayLike, total: int, minimum: int, maximum: int, estimator: str = "rloo"
) -> NDArray[np.int64]:
    """Rollouts by prompt, shape (n,), that minimise the sum of variances and add up to `total`.

    Raises:
        ValueError: bounds that cannot add up to `total`, or a minimum below 2.
    """
    p = np.asarray(pass_rate, dtype=np.float64)
    if minimum < 2 or not minimum * len(p) <= total <= maximum * len(p):
        raise ValueError(f"cannot split {total} over {len(p)} prompts with {minimum} to {maximum} rollouts each")
    variance = 4 * p * (1 - p)
    if not variance.any():
        return largest_remainder(np.ones(len(p)), total)

    def sizes(multiplier: float) -> Floats:
        ratio = variance / multiplier
        wanted = 1 + np.sqrt(ratio) if estimator == "rloo" else _cubic_root(ratio)
        return np.clip(wanted, minimum, maximum)

    low, high = 1e-12, float(variance.max())  # between all at the maximum and all at the minimum
    for _ in range(80):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if sizes(middle).sum() > total else (low, middle)
    parts = np.floor(sizes(high) + 1e-9).astype(np.int64)
    scale: list[float] = variance.tolist()

    def gain(index: int, have: int) -> float:
        now, then = (1 / (num - 1) if estimator == "rloo" else (num - 1) / num**2 for num in (have, have + 1))
        return scale[index] * now - scale[index] * then

    return greedy(gain, total, parts, np.full(len(p), maximum, dtype=np.int64))


class VIP(Curriculum):
    """Variance-informed predictive allocation.

    The pool needs `features` (the paper takes sentence embeddings), or else any of source, difficulty and
    prompt_tokens, which then make do: source as one-hot columns, the numbers standardised.

    Args:
        estimator: "rloo" or "dr_grpo": the advantage to train with, and whose variance to minimise.
        min_rollouts: least rollouts of a prompt; a wrong and confident prediction starves nobody altogether.
        max_rollouts: most rollouts of a prompt. None takes four times the equal share, as the code's 32 for 8.
        history: prompts visited last that predictions rest on, besides those of the batch.
        prior_mean, prior_std: of the logit of a pass rate where nothing is known.

    Further options: those of `Curriculum`.
    """

    name = "vip"
    one_round = True
    uneven = True

    def __init__(
        self,
        pool: PromptPool,
        *,
        estimator: str = "rloo",
        min_rollouts: int = 2,
        max_rollouts: int | None = None,
        history: int = 512,
        prior_mean: float = 0.0,
        prior_std: float = 2.0,
        **common: Any,
    ) -> None:
        min_rollouts = whole("min_rollouts", min_rollouts, 2, MAX_PER_STEP)  # a group of one has no advantage
        max_rollouts = whole_or_none("max_rollouts", max_rollouts, 2, MAX_PER_STEP)
        prior_std = real("prior_std", prior_std, 0, _MAX_LOGIT)
        if prior_std == 0:
            raise ValueError("prior_std must be positive, got 0: no outcome would change a prediction")
        options = {
            "estimator": one_of("estimator", estimator, _ESTIMATORS),
            "min_rollouts": min_rollouts,
            "max_rollouts": max_rollouts,
            "history": whole("history", history, 1),
            "prior_mean": real("prior_mean", prior_mean, -_MAX_LOGIT, _MAX_LOGIT),
            "prior_std": prior_std,
        }
        super().__init__(pool, options=options, **common)
        if self._column("features") is None and all(
            self._column(name) is None for name in ("source", "difficulty", "prompt_tokens")
        ):
            raise ValueError(
                "vip predicts pass rates from what prompts look like, and this pool has nothing but ids: give "
                "PromptPool features= (embeddings), or source=, difficulty= or prompt_tokens="
            )
        if min_rollouts * min(self.prompts_per_step, len(pool)) > self.rollouts_per_step:
            raise ValueError(
                f"min_rollouts={min_rollouts} for {self.prompts_per_step} prompts exceeds "
                f"rollouts_per_step={self.rollouts_per_step}"
            )
        if max_rollouts is not None and max_rollouts * self.prompts_per_step < self.rollouts_per_step:
            raise ValueError(
                f"max_rollouts={max_rollouts} for {self.prompts_per_step} prompts cannot use up "
                f"rollouts_per_step={self.rollouts_per_step}"
            )
        self.advantage = estimator  # type: ignore[assignment]
        self._passes = ShuffledPasses(self.seed)
        self._visits = LatestVisit(len(pool), self._truncated)
        self._recent: Positions = np.zeros(0, dtype=np.int64)  # prompts visited last, sorted

    def predict(self, positions: Positions) -> Floats:
        """Predicted pass rates of the prompts at `positions`, shape (n,)."""
        known = np.union1d(self._recent, positions[self._visits.steps(positions) >= 0])
        if len(known) == 0:
            return _sigmoid(np.full(len(positions), self.options["prior_mean"]))
        passes, rollouts = self._visits.counts(known)
        logits = np.log((passes + 0.5) / (np.maximum(rollouts - passes, 0.0) + 0.5))
        # The variance of a logit at p = 1/2. That at the observed rate would discount 0 of 8 against 1 of 8, and so
        # predict hard prompts as easier than they are.
        noise = 4 / rollouts
        features = _described(self.pool, np.concatenate([known, positions]))
        kernel = self.options["prior_std"] ** 2 * _rbf(features, features[: len(known)])
        mean = self.options["prior_mean"]
        coefficients = np.linalg.solve(kernel[: len(known)] + np.diag(noise), logits - mean)
        return _sigmoid(mean + kernel[len(known) :] @ coefficients)

    def _draft(self, step: int, round: int, rng: np.random.Generator) -> Draft | None:
        if round > 0:
            return None
        self._visits.grow(len(self.pool))
        self._forget()
        positions = self._passes.take(self._batch_size(self.options["min_rollouts"]), len(self.pool))
        high = self.options["max_rollouts"] or 4 * (self.rollouts_per_step // self.prompts_per_step)
        high = max(high, -(-self.rollouts_per_step // len(positions)))  # a small pool still uses its budget
        low, estimator = self.options["min_rollouts"], self.options["estimator"]
        rates = self.predict(positions)
        return Draft(positions, allocate_by_variance(rates, self.rollouts_per_step, low, high, estimator))

    def _forget(self) -> None:
        """Keep the `history` prompts visited last."""
        # Ties go by a hash of the position: a pool sorted by source must not leave one source out of the history.
        mixed = (self._recent * 2654435761) % 2**32
        order = np.lexsort((mixed, -self._visits.steps(self._recent).astype(np.int64)))
        self._recent = np.sort(self._recent[order[: self.options["history"]]])

    def _observed(self, positions: Positions, fresh: Sequence[tuple[OpenGroup, GroupOutcome]]) -> None:
        self._recent = np.union1d(self._recent, self._visits.observe(fresh, self.belief))

    def _own_state(self) -> dict[str, Any]:
        return {"passes": self._passes.state_dict(), "visits": self._visits.state_dict(), "recent": self._recent}

    def _load_own_state(self, state: Mapping[str, Any]) -> None:
        self._passes.load_state_dict(state["passes"])
        self._visits.grow(len(self.pool))
        self._visits.load_state_dict(state["visits"])
        self._recent = state["recent"].copy()
        if not in_order(self._recent, len(self.pool)) or not (self._visits.steps(self._recent) >= 0).all():
            raise ValueError("prompts visited last must be of the pool, in order, and visited")


def _cubic_root(ratio: Floats) -> Floats:
    """The largest n with ratio (n - 2) = n^3, that is v (n-2) / n^3 = lambda; 0 where there is none (ratio < 27)."""
    safe = np.maximum(ratio, 27.0)
    angle = np.arccos(np.clip(-3 * np.sqrt(3 / safe), -1.0, 1.0)) / 3
    return np.where(ratio < 27, 0.0, 2 * np.sqrt(safe / 3) * np.cos(angle))


def _described(pool: PromptPool, positions: Positions) -> Floats:
    """Features of some prompts, shape (n, d); without any, their other columns."""
    if pool.features is not None:
        return np.asarray(pool.features[positions], dtype=np.float64).reshape(len(positions), -1)
    columns: list[Floats] = []
    for values in (pool.difficulty, pool.prompt_tokens):
        if values is not None:
            taken = values[positions].astype(np.float64)
            known = taken[np.isfinite(taken)]
            if len(known):  # a prompt without a number is an average one
                columns.append(np.nan_to_num((taken - known.mean()) / (known.std() or 1.0)))
    if pool.source is not None:
        taken = pool.source[positions].astype(str)
        columns += list((taken[None] == np.unique(taken)[:, None]).astype(np.float64))
    return np.stack(columns, axis=1) if columns else np.zeros((len(positions), 1))


def _rbf(left: Floats, right: Floats) -> Floats:
    sample = left[:: max(len(left) // _WIDTH_SAMPLE, 1)]
    apart = _squared_distances(sample, sample)
    apart = apart[apart > 1e-9]
    width = float(np.median(apart)) if len(apart) else 1.0  # of squared distances: the square of the median distance
    return np.asarray(np.exp(-_squared_distances(left, right) / (2 * width)))


def _squared_distances(left: Floats, right: Floats) -> Floats:
    squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)[None] - 2 * left @ right.T
    return np.asarray(np.maximum(squares, 0.0))


def _sigmoid(logit: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-logit)))
