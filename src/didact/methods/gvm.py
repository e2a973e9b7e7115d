"""GVM: rollouts for each prompt of an iteration by how hard it is to reach an accepted response.

Yao et al., "Optimizing Chain-of-Thought Reasoners via Gradient Variance Minimization in Rejection Sampling and RL",
arXiv:2505.02391; code RLHFlow/GVM.

    minimise   sum_i G_i^2 / (p_i n_i) / (1 + alpha / p_i^beta)      subject to   sum_i n_i = N
    n_i = N w_i / sum_j w_j,    w_i = G_i / sqrt(p_i + alpha / p_i^(beta - 1)),    w_i = 0 where p_i = 0 or G_i = 0

In iterations: a subset of the pool, a pilot of `pilot_rollouts` for each of its prompts, the split of the whole
iteration's budget over them, then steps that go through the subset once, in order. p is the raw rate of the pilot and G
the mean gradient length of its accepted responses; both stay as they are until the next iteration. The pilot trains
nobody and is counted.

Where this departs from the paper: its steps hold so many prompts and about so many rollouts; here a step holds exactly
`rollouts_per_step`, so a prompt whose rollouts lie across the border of two steps trains in both. Gradients are off
unless asked for (G = 1). Integers come from largest remainders, as in the code; the paper gives what is left over to
the lowest rates. Each prompt that is not dropped gets at least 2 rollouts.

`cures` has a pilot too, but draws from its subset with a belief that moves at each step: the two share no more than the
three lines that cut a pilot into plans, and these stay where they are.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.allocation import largest_remainder
from didact.bounds import MAX_PER_STEP, MAX_STEP, flag, real, whole
from didact.curriculum import Curriculum, Draft
from didact.ledger import OpenGroup
from didact.methods.cures import as_gram
from didact.methods.latest import LatestVisit
from didact.outcomes import GroupOutcome
from didact.prompts import PromptPool
from didact.selection import ShuffledPasses
from didact.state import in_order

Floats = NDArray[np.float64]
Positions = NDArray[np.int64]
_NONE: Positions = np.zeros(0, dtype=np.int64)
_MIN_ROLLOUTS = 2
_MAX_BETA = 100.0  # the smallest rate of a pilot, to this power, is still a number


def allocation_weights(
    pass_rate: ArrayLike, gradient_norm: ArrayLike | None = None, alpha: float = 1e-3, beta: float = 2.0
) -> Floats:
    """w of the paper's split, shape (n,), not normalised.

    Args:
        pass_rate: p, shape (n,).
        gradient_norm: G, shape (n,); None takes all gradients as equally long.
        alpha, beta: the penalty on very hard prompts; w is largest at p = sqrt(alpha) for beta = 2.

    Raises:
        ValueError: a pass rate outside [0, 1], a negative norm, or alpha or beta negative.
    """
    p = np.asarray(pass_rate, dtype=np.float64)
    norm = np.ones(p.shape) if gradient_norm is None else np.asarray(gradient_norm, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("pass rates must be in [0, 1]")
    if not (norm >= 0).all():
        raise ValueError("gradient norms must not be negative")
    if not (alpha >= 0 and beta >= 0):
        raise ValueError(f"alpha and beta must not be negative, got {alpha} and {beta}")
    safe = np.where(p > 0, p, 1.0)
    return np.where(p > 0, norm / np.sqrt(safe + alpha * safe ** (1 - beta)), 0.0)


class GVM(Curriculum):
    """Gradient variance minimisation.

    Args:
        pilot_rollouts: N', rollouts per prompt of a subset before its first step; the paper tries 8, 16 and 32.
        steps_per_iteration: steps between pilots, and so the size of a subset (so many batches); 10 as in the paper.
            A smaller pool makes shorter iterations.
        alpha, beta: of the penalty on very hard prompts.
        max_pass_rate: prompts above this rate in the pilot are dropped; 1 drops none.
        gradient_norms: weigh by gradient lengths; the trainer must then report them for pilot groups, see
            `observe_gradients`.

    Further options: those of `Curriculum`.
    """

    name = "gvm"
    uneven = True
    advantage = "grpo"

    def __init__(
        self,
        pool: PromptPool,
        *,
        pilot_rollouts: int = 8,
        steps_per_iteration: int = 10,
        alpha: float = 1e-3,
        beta: float = 2.0,
        max_pass_rate: float = 1.0,
        gradient_norms: bool = False,
        **common: Any,
    ) -> None:
        pilot_rollouts = whole("pilot_rollouts", pilot_rollouts, 1, MAX_PER_STEP)
        max_pass_rate = real("max_pass_rate", max_pass_rate, 0, 1)
        if max_pass_rate == 0:
            raise ValueError("max_pass_rate must be in (0, 1], got 0: that would drop every prompt")
        options = {
            "pilot_rollouts": pilot_rollouts,
            "steps_per_iteration": whole("steps_per_iteration", steps_per_iteration, 1, MAX_STEP),
            "alpha": real("alpha", alpha, 0),
            "beta": real("beta", beta, 0, _MAX_BETA),
            "max_pass_rate": max_pass_rate,
            "gradient_norms": flag("gradient_norms", gradient_norms),
        }
        super().__init__(pool, options=options, **common)
        if pilot_rollouts > self.rollouts_per_step:
            raise ValueError(f"pilot_rollouts={pilot_rollouts} exceeds rollouts_per_step={self.rollouts_per_step}")
        self._passes = ShuffledPasses(self.seed)
        self._pilots = LatestVisit(len(pool), self._truncated)
        self._norms: dict[int, float] = {}
        self._subset = _NONE
        self._pending = _NONE  # prompts of the subset still without a pilot
        self._queue = _NONE  # prompts still to train in this iteration, and the rollouts left for each
        self._left = _NONE
        self._split = True  # whether the iteration's budget is split: nothing is left to split before the first
        self._drawn = -1  # the step that already has its training plan

    @property
    def wants_gradients(self) -> bool:
        """Whether the trainer should call `observe_gradients` for groups planned with reason "pilot"."""
        return bool(self.options["gradient_norms"])

    def observe_gradients(self, prompt_id: str, gram: ArrayLike, passed: ArrayLike) -> None:
        """Tell the gradients of a prompt's pilot by their inner products, shape (n, n), and which rollouts passed."""
        gram, passed = as_gram(gram, passed)
        position = int(self.pool.positions([prompt_id])[0])
        if passed.any():
            self._norms[position] = float(np.sqrt(np.diag(gram)[passed]).mean())

    @property
    def next_round(self) -> Literal["none", "now", "later"]:
        if self._drawn == self._step:
            return "none"
        return "now" if len(self._pending) and self._fits(self.options["pilot_rollouts"]) else "later"

    def _usual_most(self) -> int:
        """The pilot of a subset and a batch."""
        pilots = self.options["steps_per_iteration"] * self.prompts_per_step * self.options["pilot_rollouts"]
        return int(pilots) + self.rollouts_per_step

    def _draft(self, step: int, round: int, rng: np.random.Generator) -> Draft | None:
        if self._drawn == step:
            return None
        if self._split and not len(self._queue):
            self._begin_iteration()
        if len(self._pending):
            rollouts = self.options["pilot_rollouts"]
            num = min(self.rollouts_per_step // rollouts, len(self._pending))
            batch, self._pending = np.split(self._pending, [self._fitting(num, num * rollouts)])
            return Draft(batch, np.full(len(batch), rollouts, dtype=np.int64), reason="pilot")
        if not self._fitting(1, self.rollouts_per_step):
            return None
        if not self._split:
            self._split_budget()
        self._drawn = step
        return self._draft_batch()

    def _begin_iteration(self) -> None:
        self._pilots.grow(len(self.pool))
        self._subset = self._passes.take(self.options["steps_per_iteration"] * self._batch_size(), len(self.pool))
        self._pending, self._split, self._norms = self._subset, False, {}

    def _split_budget(self) -> None:
        """Rollouts of the whole iteration for each prompt of the subset; those without a share leave the queue."""
        rate = np.nan_to_num(self._pilots.rate(self._subset))  # a pilot that never came back accepted nothing
        rate[rate > self.options["max_pass_rate"]] = 0.0
        weights = allocation_weights(rate, self._gradient_norms(), self.options["alpha"], self.options["beta"])
        if not weights.any():
            weights = np.ones(len(weights))  # the paper leaves this open; equal shares are the way to find out
        total = max(len(self._subset) // self._batch_size(), 1) * self.rollouts_per_step
        kept = weights > 0
        self._queue = self._subset[kept]
        self._left = largest_remainder(weights[kept], total, _MIN_ROLLOUTS)
        self._split = True

    def _gradient_norms(self) -> Floats | None:
        if not self._norms:
            return None
        typical = float(np.median(list(self._norms.values())))
        return np.array([self._norms.get(int(position), typical) for position in self._subset])

    def _draft_batch(self) -> Draft:
        """The head of the queue, cut where the budget of a step ends; no piece of a group is a single rollout."""
        budget, ends = self.rollouts_per_step, np.cumsum(self._left)
        if ends[-1] < 1.5 * budget:  # the last step takes what there is, whole
            positions, left = self._queue[: budget // _MIN_ROLLOUTS], self._left[: budget // _MIN_ROLLOUTS]
            self._queue = self._left = _NONE
            return Draft(positions, largest_remainder(left, budget, _MIN_ROLLOUTS))
        num = int(np.searchsorted(ends, budget)) + 1
        positions, sizes = self._queue[:num], self._left[:num].copy()
        rest = int(ends[num - 1]) - budget
        sizes[-1] -= rest
        if sizes[-1] < _MIN_ROLLOUTS:  # one rollout of the next prompt: the one before takes it
            rest = max(rest, _MIN_ROLLOUTS)
            sizes[-2] += sizes[-1]
            positions, sizes = positions[:-1], sizes[:-1]
        # What is left of the prompt at the border opens the next step.
        first = num - 1 if rest >= _MIN_ROLLOUTS else num
        self._queue, self._left = self._queue[first:], self._left[first:].copy()
        if first < num:
            self._left[0] = rest
        return Draft(positions, sizes)

    def _observed(self, positions: Positions, fresh: Sequence[tuple[OpenGroup, GroupOutcome]]) -> None:
        self._pilots.observe([(group, outcome) for group, outcome in fresh if group.reason == "pilot"], self.belief)

    def _admit(self, groups: Sequence[OpenGroup]) -> list[OpenGroup]:
        return super()._admit([group for group in groups if group.reason != "pilot"])

    def _own_state(self) -> dict[str, Any]:
        return {
            "passes": self._passes.state_dict(),
            "pilots": self._pilots.state_dict(),
            "norms": {str(position): norm for position, norm in self._norms.items()},
            "subset": self._subset,
            "pending": self._pending,
            "queue": self._queue,
            "left": self._left,
            "split": self._split,
            "drawn": self._drawn,
        }

    def _load_own_state(self, state: Mapping[str, Any]) -> None:
        self._passes.load_state_dict(state["passes"])
        self._pilots.grow(len(self.pool))
        self._pilots.load_state_dict(state["pilots"])
        self._norms = {int(position): float(norm) for position, norm in state["norms"].items()}
        self._subset, self._pending, self._queue, self._left = (
            state[name].copy() for name in ("subset", "pending", "queue", "left")
        )
        if not in_order(np.sort(self._subset), len(self.pool)) or len(self._queue) != len(self._left):
            raise ValueError("the prompts of an iteration must be of the pool, those in the queue with rollouts left")
        if not np.isin([*self._pending, *self._queue], self._subset).all() or not (self._left > 0).all():
            raise ValueError("a prompt without a pilot, or in the queue, is one of the iteration's")
        self._split, self._drawn = state["split"], state["drawn"]
        if not -1 <= self._drawn <= self._step:
            raise ValueError(f"at step {self._step}, no batch can have been drawn at {self._drawn}")
