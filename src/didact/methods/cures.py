"""CurES: sample prompts by how much there is to gain, and give each the rollouts its variance deserves.

Zeng, Sun et al., "CurES: From Gradient Analysis to Efficient Curriculum Learning for Reasoning LLMs", arXiv:2510.01037.

    distribution   rho(x) ~ exp( sqrt(p(1-p)) / temperature )                                          eq. 14
    allocation     n_i = N sigma_i / sum_j sigma_j,   sigma_i^2 = trace of the covariance of A g       eqs. 17-21
    posterior      alpha += passes, beta += failures; p = alpha / (alpha + beta)                       eq. 23

In iterations: a disjoint subset of the pool, a pilot of `pilot_rollouts` for each of its prompts, then
`steps_per_iteration` steps that draw from rho, allocate, and update the posterior; then everything is forgotten and the
next subset begins. Pilot rollouts are counted like all others, and train only if asked to.

The pilot's counts are alpha and beta themselves (eqs. 22-23): no pseudo-counts, so a prompt at 0 of 4 has sigma 0, is
drawn with the weight exp(0) against exp(0.5 / temperature) at 2 of 4, and gets no rollouts if it is drawn. `prior` adds
pseudo-counts; with (1, 1) the same prompt has sigma 0.37, and most rollouts of a hard pool go to prompts that never
pass. Where all drawn prompts have sigma 0, for which the paper gives 0 / 0, they are rolled out in equal groups: four
rollouts can be unanimous by chance, and a step that trains on nothing must not be the last word on them.

Where this departs from the paper: batches are drawn without replacement (as in the released code; `with_replacement`
gives the paper's draw, a prompt drawn k times having k shares of the allocation and k times the weight in the loss, eq.
16); integers come from largest remainders, where the paper says nothing. The paper prints no temperature. For rewards
other than 0 and 1 the standard deviation of the reward stands in for sqrt(p(1-p)), which it equals for those.

`as_released=True` does what the published repository (ZexuSun/CurES) does instead, which differs much: see `Released`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.allocation import largest_remainder
from didact.bounds import MAX_PER_STEP, MAX_STEP, flag, one_of, real, whole, whole_or_none
from didact.curriculum import Curriculum, Draft
from didact.ledger import OpenGroup
from didact.outcomes import GroupOutcome
from didact.prompts import PromptPool
from didact.selection import draw
from didact.state import in_order

Floats = NDArray[np.float64]
Positions = NDArray[np.int64]
_MAX_PRODUCT = 1e30
_VARIANTS = ("rloo", "grpo", "reinforce_pp")


def sampling_distribution(pass_rate: ArrayLike, temperature: float = 0.05) -> Floats:
    """Probabilities rho over prompts with the given pass rates, shape (n,): exp(sqrt(p(1-p)) / temperature), eq. 14.

    Raises:
        ValueError: a pass rate outside [0, 1], or a temperature that is not positive.
    """
    p = np.asarray(pass_rate, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("pass rates must be in [0, 1]")
    weights = _weights(np.sqrt(p * (1 - p)), temperature)
    return np.asarray(weights / weights.sum())


def allocation_scale(
    pass_rate: ArrayLike, gradient_moments: ArrayLike | None = None, *, spread: ArrayLike | None = None
) -> Floats:
    """sigma of eq. 21, shape (n,): the spread of advantage times gradient for one rollout of each prompt.

        sigma^2 = p q^2 E[|g|^2 | r=1] + p^2 q E[|g|^2 | r=0] - p^2 q^2 |E[g|r=1] - E[g|r=0]|^2

    Args:
        pass_rate: p, shape (n,).
        gradient_moments: the three expectations in this order, shape (n, 3), see `gradient_moments`. Without them, or
            where they are nan, gradients count as equally long and sigma = sqrt(p q).
        spread: standard deviation of the reward, shape (n,), in place of sqrt(p q) where rewards are not 0 or 1.
    """
    p = np.asarray(pass_rate, dtype=np.float64)
    plain = np.sqrt(p * (1 - p)) if spread is None else np.asarray(spread, dtype=np.float64)
    if gradient_moments is None:
        return plain
    moments = np.asarray(gradient_moments, dtype=np.float64)
    known = np.isfinite(moments).all(axis=1)
    passed, failed, apart = np.nan_to_num(moments).T
    variance = p * (1 - p) ** 2 * passed + p**2 * (1 - p) * failed - (p * (1 - p)) ** 2 * apart
    sigma = np.sqrt(np.maximum(variance, 0.0))
    # Prompts without moments take the typical gradient length of the others, so that both kinds share one scale.
    typical = np.median(sigma[known] / np.maximum(plain[known], 1e-12)) if known.any() else 1.0
    return np.where(known, sigma, plain * typical)


def gradient_moments(gram: ArrayLike, passed: ArrayLike) -> Floats:
    """The three expectations of `allocation_scale` from rollouts of one prompt, shape (3,).

    Args:
        gram: inner products of the rollouts' gradients of the sequence log-probability, shape (n, n). It holds all that
            the full gradient vectors contribute (their norms and the distance of their means).
        passed: which rollouts passed, shape (n,).

    The distance is estimated from products of different rollouts (a U-statistic), where the distance of sample means
    would count their noise as distance; of a kind with a single rollout, its own square has to do, which is too large.
    With no rollout of one kind, its squared norm is taken from the other kind and the distance is 0.
    """
    gram, passed = as_gram(gram, passed)
    if len(passed) == 0:
        return np.full(3, np.nan)
    norms = np.diag(gram)
    if passed.all() or not passed.any():
        return np.array([norms.mean(), norms.mean(), 0.0])
    apart = -2 * gram[np.ix_(passed, ~passed)].mean()
    for kind in (passed, ~passed):
        num, products = int(kind.sum()), gram[np.ix_(kind, kind)]
        apart += (products.sum() - np.trace(products)) / (num * (num - 1)) if num > 1 else products[0, 0]
    return np.array([norms[passed].mean(), norms[~passed].mean(), apart])


def as_gram(gram: ArrayLike, passed: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    """A Gram matrix, shape (n, n), and which of its rollouts passed, shape (n,).

    Raises:
        ValueError: shapes that do not fit, inner products that are not finite, or a negative one with itself.
    """
    products, marks = np.asarray(gram, dtype=np.float64), np.asarray(passed, dtype=bool)
    if marks.ndim != 1 or products.shape != (len(marks), len(marks)):
        raise ValueError(f"a Gram matrix of shape {products.shape} does not fit {marks.size} rollouts")
    if not (np.abs(products) <= _MAX_PRODUCT).all() or (np.diag(products) < 0).any():
        raise ValueError(f"a Gram matrix must hold inner products up to {_MAX_PRODUCT:g}, and no negative square")
    return products, marks


class CurES(Curriculum):
    """CurES as the paper has it.

    Args:
        temperature: tau of eq. 14.
        pilot_rollouts: N', rollouts per prompt of a subset before its first step; the paper uses 4.
        steps_per_iteration: M, steps between pilots; the paper uses 10.
        subset_size: prompts of an iteration; None gives steps_per_iteration * prompts_per_step, the paper's proportion.
        train_on_pilot: spread the pilot over steps of its own and train on it, instead of discarding it.
        reset: forget a subset's evidence when its iteration begins, as in the paper. If false, evidence stays (perhaps
            with a `discount`), and only prompts with fewer than `pilot_rollouts` remembered are piloted.
        min_rollouts, max_rollouts: bounds on the rollouts of a drawn prompt; the paper has none. One that is drawn and
            gets no rollout is no group.
        prior: pseudo-counts in rho and sigma; none, as in the paper.
        prior_weight: of the pool's pass rates, in rho and sigma; 0: the pilot alone says. None of it counts as a pilot.
        with_replacement: draw batches with replacement; a prompt drawn k times weighs k times (`AdmittedGroup.weight`).
        gradient_norms: weight the allocation by gradients; the trainer must then report them for pilot groups, see
            `observe_gradients`.
        advantage: "rloo" (default), "grpo" or "reinforce_pp", the estimator the trainer should use, with prompt-mean
            loss.
        as_released: see the module's docstring.

    Further options: those of `Curriculum`.
    """

    name = "cures"
    shardable = True
    uneven = True
    own_prior_weight = 0.0

    def __init__(
        self,
        pool: PromptPool,
        *,
        temperature: float = 0.05,
        pilot_rollouts: int = 4,
        steps_per_iteration: int = 10,
        subset_size: int | None = None,
        train_on_pilot: bool = False,
        reset: bool = True,
        min_rollouts: int = 0,
        max_rollouts: int | None = None,
        with_replacement: bool = False,
        gradient_norms: bool = False,
        advantage: str = "rloo",
        as_released: bool = False,
        prior: tuple[float, float] = (0.0, 0.0),
        **common: Any,
    ) -> None:
        temperature = _checked_temperature(temperature)
        pilot_rollouts = whole("pilot_rollouts", pilot_rollouts, 1, MAX_PER_STEP)
        steps_per_iteration = whole("steps_per_iteration", steps_per_iteration, 1, MAX_STEP)
        subset_size = whole_or_none("subset_size", subset_size, 1)
        min_rollouts = whole("min_rollouts", min_rollouts, 0, MAX_PER_STEP)
        max_rollouts = whole_or_none("max_rollouts", max_rollouts, 1, MAX_PER_STEP)
        if flag("as_released", as_released) and flag("train_on_pilot", train_on_pilot):
            raise ValueError("the released code never trains on its pilot: give as_released or train_on_pilot")
        options = {
            "temperature": temperature,
            "pilot_rollouts": pilot_rollouts,
            "steps_per_iteration": steps_per_iteration,
            "subset_size": subset_size,
            "train_on_pilot": flag("train_on_pilot", train_on_pilot),
            "reset": flag("reset", reset),
            "min_rollouts": min_rollouts,
            "max_rollouts": max_rollouts,
            "with_replacement": flag("with_replacement", with_replacement),
            "gradient_norms": flag("gradient_norms", gradient_norms),
            "advantage": one_of("advantage", advantage, _VARIANTS),
            "as_released": flag("as_released", as_released),
        }
        super().__init__(pool, options=options, prior=prior, **common)
        if pilot_rollouts > self.rollouts_per_step:
            raise ValueError(f"pilot_rollouts={pilot_rollouts} exceeds rollouts_per_step={self.rollouts_per_step}")
        if min_rollouts * min(self.prompts_per_step, len(pool)) > self.rollouts_per_step:
            raise ValueError(
                f"min_rollouts={min_rollouts} for {self.prompts_per_step} prompts does not fit "
                f"rollouts_per_step={self.rollouts_per_step}"
            )
        if max_rollouts is not None and max_rollouts * self.prompts_per_step < self.rollouts_per_step:
            raise ValueError(
                f"max_rollouts={max_rollouts} for {self.prompts_per_step} prompts cannot use up "
                f"rollouts_per_step={self.rollouts_per_step}"
            )
        if max_rollouts is not None and max_rollouts < min_rollouts:
            raise ValueError(f"max_rollouts={max_rollouts} is less than min_rollouts={min_rollouts}")
        self.advantage = advantage  # type: ignore[assignment]
        self.weighs_groups = self.options["with_replacement"] and not as_released
        self._subset_size = subset_size or steps_per_iteration * self.prompts_per_step
        self._passes = pool.passes(self.seed)
        self._tree = pool.weight_tree()
        self._moments: dict[int, list[float]] = {}
        self._subset: Positions = np.zeros(0, dtype=np.int64)
        self._pending: Positions = np.zeros(0, dtype=np.int64)  # prompts of the subset still without a pilot
        self._steps_done = 0
        self._began = False  # whether any iteration has
        self._drawn = -1  # the step that already has its training plan
        self._first = 0  # the step at which the iteration began
        self._released = Released(pilot_rollouts) if as_released else None
        if self._released:
            self.advantage, self.loss_weighting = "grpo", "token"

    @property
    def wants_gradients(self) -> bool:
        """Whether the trainer should call `observe_gradients` for groups planned with reason "pilot"."""
        return bool(self.options["gradient_norms"])

    def observe_gradients(self, prompt_id: str, gram: ArrayLike, passed: ArrayLike) -> None:
        """Tell how the gradients of a prompt's rollouts relate; arguments as in `gradient_moments`."""
        position = int(self.pool.positions([prompt_id])[0])
        self._moments[position] = [float(moment) for moment in gradient_moments(gram, passed)]

    @property
    def next_round(self) -> Literal["none", "now", "later"]:
        if self._drawn == self._step:
            return "none"
        return "now" if len(self._pending) and self._fits(self.options["pilot_rollouts"]) else "later"

    def _usual_most(self) -> int:
        """The pilot of a subset and a batch; of the released code, eight shards with 4 rollouts for each unit."""
        batch = self.rollouts_per_step
        if self._released:
            batch = Released.most(self.prompts_per_step, batch)
        return self._subset_size * int(self.options["pilot_rollouts"]) + batch

    def _draft(self, step: int, round: int, rng: np.random.Generator) -> Draft | None:
        if self._drawn == step:
            return None
        if not self._began or self._steps_done >= self.options["steps_per_iteration"]:
            self._begin_iteration(step)
        if len(self._pending):
            return self._draft_pilot(step)
        if not self._released and not self._fitting(1, self.rollouts_per_step):
            return None
        self._drawn = step
        self._steps_done += 1
        if self._released:
            return self._released.draft(self, self._subset, rng)
        return self._draft_batch(step, rng)

    def _begin_iteration(self, step: int) -> None:
        if len(self._tree) < len(self.pool):
            self._tree = self.pool.weight_tree()
        else:
            self._tree.set(np.unique(self._subset), 0.0)
        self._subset = np.sort(self._passes.take(self._subset_size, len(self.pool)))
        self._began, self._steps_done, self._first = True, 0, step
        self._pending = self._subset
        if self.options["reset"]:
            self.belief.reset(self._subset)
            self._moments = {}
        else:
            known = self.belief.evidence(self._subset, step=step) >= self.options["pilot_rollouts"]
            self._pending = self._subset[~known]
        self._weigh(self._subset, step)

    def _draft_pilot(self, step: int) -> Draft:
        """As many pilots as fit the budget; with `train_on_pilot` they are the step's batch."""
        rollouts = self.options["pilot_rollouts"]
        num = min(max(self.rollouts_per_step // rollouts, 1), len(self._pending))
        batch, self._pending = np.split(self._pending, [self._fitting(num, num * rollouts)])
        if self.options["train_on_pilot"]:
            self._drawn = step
        return Draft(batch, np.full(len(batch), rollouts, dtype=np.int64), reason="pilot")

    def _draft_batch(self, step: int, rng: np.random.Generator) -> Draft:
        low, high = self.options["min_rollouts"], self.options["max_rollouts"]
        num = min(self._batch_size(max(low, 2)), len(self._subset))
        if self._forgetful:
            self._weigh(self._subset, step)  # forgetting moves every weight, not only those observed
        if self.options["with_replacement"]:
            weights = self._tree.weights[self._subset]
            drawn = rng.choice(len(weights), size=num, p=weights / weights.sum())
            chosen, times = np.unique(drawn, return_counts=True)
            positions = self._subset[chosen]
        else:
            positions = self._tree.draw(num, rng)
            times = np.ones(len(positions), dtype=np.int64)
        moments = None
        if self.wants_gradients:
            moments = np.array([self._moments.get(int(position), [np.nan] * 3) for position in positions])
        spread = self.belief.spread(positions, step=step)
        sigma = allocation_scale(self.belief.mean(positions, step=step), moments, spread=spread)
        sizes = _split(times * sigma, self.rollouts_per_step, low, high)
        kept = sizes > 0
        return Draft(positions[kept], sizes[kept], weights=times[kept] if self.weighs_groups else None)

    @property
    def _forgetful(self) -> bool:
        return self.belief.discount < 1 or self.belief.window is not None

    def _weigh(self, positions: Positions, step: int) -> None:
        self._tree.set(positions, _weights(self.belief.spread(positions, step=step), self.options["temperature"]))

    def _observed(self, positions: Positions, fresh: Sequence[tuple[OpenGroup, GroupOutcome]]) -> None:
        if self._released:
            self._released.observe(self, fresh)
            return
        touched = np.unique(positions)
        index = np.searchsorted(self._subset, touched)
        inside = touched[self._subset[np.minimum(index, len(self._subset) - 1)] == touched]
        self._weigh(inside, self._step)

    def _forgotten(self, group: OpenGroup) -> bool:
        if not self.options["reset"] or group.step >= self._first:
            return False
        index = int(np.searchsorted(self._subset, group.position))
        return index < len(self._subset) and bool(self._subset[index] == group.position)

    def _admit(self, groups: Sequence[OpenGroup]) -> list[OpenGroup]:
        if not self.options["train_on_pilot"]:
            groups = [group for group in groups if group.reason != "pilot"]
        return super()._admit(groups)

    def _own_state(self) -> dict[str, Any]:
        return {
            "passes": self._passes.state_dict(),
            "subset": self._subset,
            "pending": self._pending,
            "moments": {str(position): list(moments) for position, moments in self._moments.items()},
            "steps_done": self._steps_done,
            "began": self._began,
            "first": self._first,
            "drawn": self._drawn,
            "released": self._released.state_dict() if self._released else None,
        }

    def _load_own_state(self, state: Mapping[str, Any]) -> None:
        self._passes.load_state_dict(state["passes"])
        self._steps_done, self._began, self._drawn = state["steps_done"], state["began"], state["drawn"]
        self._first = state["first"]
        self._subset, self._pending = state["subset"].copy(), state["pending"].copy()
        if not in_order(self._subset, len(self.pool)) or not np.isin(self._pending, self._subset).all():
            raise ValueError("the prompts of an iteration must be of the pool, and those without a pilot among them")
        if not (max(self._drawn, self._first) <= max(self._step, 0) and min(self._drawn + 1, self._first) >= 0):
            raise ValueError(f"at step {self._step}, no iteration began at {self._first} or drew at {self._drawn}")
        self._tree = self.pool.weight_tree()
        if not self._forgetful:  # they follow from the belief; one that forgets is asked again at each draw
            self._weigh(self._subset, self._step)
        self._moments = {int(position): list(moments) for position, moments in state["moments"].items()}
        if self._released:
            self._released.load_state_dict(state["released"])


class Released:
    """What the released code does (ZexuSun/CurES, commit of October 2025), with its constants.

    * The temperature is (a + 1) / 0.01 for a prompt with a passes in the pilot, so that sampling is uniform to within
      0.3%.
    * Sample sizes come once, from the raw pilot rate a / N': each of 8 shards of the subset spreads the budget of a
      whole batch over its prompts in proportion to sqrt(p(1-p)) and rounds half to even. Each unit then stands for 4
      rollouts. So a step takes several times `rollouts_per_step`.
    * A batch is drawn from all prompts of the subset, and those of size 0 (all at 0/4 and 4/4) are dropped from it
      afterwards; what is left is topped up to a multiple of 8 by adding 1 from the largest on. No batch, no step.
    * Nothing is updated between pilots; pilot rollouts never train; GRPO advantages, token-mean loss.
    """

    NUM_GPUS = 8
    ROLLOUTS_PER_COPY = 4

    def __init__(self, pilot_rollouts: int) -> None:
        self._pilot_rollouts = pilot_rollouts
        self._accepted: dict[int, int] = {}

    def observe(self, curriculum: Curriculum, fresh: Sequence[tuple[OpenGroup, GroupOutcome]]) -> None:
        for group, _ in fresh:
            if group.reason == "pilot":
                self._accepted[group.position] = sum(reward > 0.5 for reward in group.rewards)  # all parts so far

    def draft(self, curriculum: Curriculum, subset: Positions, rng: np.random.Generator) -> Draft | None:
        accepted = np.array([self._accepted.get(int(position), 0) for position in subset])
        chosen, sizes = self.batch(
            accepted, self._pilot_rollouts, curriculum.prompts_per_step, curriculum.rollouts_per_step, rng
        )
        return Draft(subset[chosen], sizes) if len(chosen) else None

    @classmethod
    def most(cls, prompts: int, budget: int) -> int:
        """No batch has more rollouts: each shard rounds the budget over its prompts, and the sum is aligned."""
        return (cls.NUM_GPUS * budget + prompts + cls.NUM_GPUS) * cls.ROLLOUTS_PER_COPY

    @classmethod
    def batch(
        cls, accepted: NDArray[np.int64], pilot_rollouts: int, prompts: int, budget: int, rng: np.random.Generator
    ) -> tuple[Positions, NDArray[np.int64]]:
        """The prompts of a step, as indices into `accepted`, and the rollouts of each."""
        copies = cls.copies(accepted, pilot_rollouts, budget)
        chosen = draw(cls.distribution(accepted, pilot_rollouts), min(prompts, len(accepted)), rng)
        chosen = chosen[copies[chosen] > 0]
        return chosen, align(copies[chosen], cls.NUM_GPUS) * cls.ROLLOUTS_PER_COPY

    @staticmethod
    def distribution(accepted: NDArray[np.int64], pilot_rollouts: int) -> Floats:
        """Sampling probabilities by pilot passes."""
        mean = (accepted + 1) / (pilot_rollouts + 2)
        weights = np.exp(np.sqrt(mean * (1 - mean)) / ((accepted + 1) / 0.01))
        return np.asarray(weights / weights.sum())

    @classmethod
    def copies(cls, accepted: NDArray[np.int64], pilot_rollouts: int, budget: int) -> NDArray[np.int64]:
        """Sample sizes in copies, shard by shard."""
        rate = accepted / pilot_rollouts
        sigma = np.sqrt(rate * (1 - rate))
        shards = np.array_split(sigma, min(cls.NUM_GPUS, len(sigma)))
        sizes = [
            np.round(shard * budget / shard.sum()) if shard.sum() > 0 else np.zeros(len(shard)) for shard in shards
        ]
        return np.concatenate(sizes).astype(np.int64)

    def state_dict(self) -> dict[str, Any]:
        return {"accepted": {str(position): count for position, count in self._accepted.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._accepted = {int(position): int(count) for position, count in state["accepted"].items()}


def _split(shares: Floats, total: int, low: int, high: int | None) -> NDArray[np.int64]:
    """Rollouts for each prompt. Without a minimum, a single one goes to the others: a group of one has no advantage."""
    sizes, kept = np.zeros(len(shares), dtype=np.int64), np.ones(len(shares), dtype=np.bool_)
    while True:
        most = None if high is None else max(high, -(-total // int(kept.sum())))  # a small pool still uses its budget
        sizes[kept] = largest_remainder(shares[kept], total, low, most)
        alone = sizes == 1
        if low > 0 or not alone.any():
            return sizes
        sizes[alone], kept[alone] = 0, False


def align(sizes: NDArray[np.int64], multiple: int) -> NDArray[np.int64]:
    """Raise the sum to a multiple by adding 1 to one size after the other, largest first."""
    missing = -int(sizes.sum()) % multiple
    order = np.argsort(-sizes, kind="stable")
    sizes = sizes.copy()
    for index in range(missing):
        sizes[order[index % len(order)]] += 1
    return sizes


def _weights(spread: Floats, temperature: float) -> Floats:
    temperature = _checked_temperature(temperature)
    # Relative to the largest value of 0/1 rewards, and never 0: tiny temperatures neither overflow nor lose prompts.
    return np.clip(np.exp(np.minimum((spread - 0.5) / temperature, 600.0)), 1e-290, None)


def _checked_temperature(temperature: float) -> float:
    checked = real("temperature", temperature)
    if not checked > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    return checked
