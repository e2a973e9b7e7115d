"""Fakes that behave: a policy with known pass rates, a belief that is what you say, and the loop that joins them.

Nothing here is a mock: outcomes are real `GroupOutcome` objects, drawn from pass rates that are known exactly. It
models no language model.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from didact.curriculum import Curriculum
from didact.outcomes import GroupOutcome
from didact.pass_rates import PassRates
from didact.plan import AdmittedGroup, Plan
from didact.prompts import PromptPool
from didact.seeding import generator

Trace = list[tuple[Any, ...]]
_MAX_ROUNDS = 1000


class SimulatedPolicy:
    """Rolls plans out with known pass rates; the same plan gives the same outcomes, in any process.

    Args:
        pass_rates: true pass rate by prompt id.
        default: pass rate of prompts that are not in `pass_rates`.
        learning_rate: how much `train_on` adds to the log-odds of a prompt that trained; 0 never learns.
        response_tokens: length of every response.
        seed: root of all randomness.
    """

    def __init__(
        self,
        pass_rates: Mapping[str, float] | None = None,
        *,
        default: float = 0.5,
        learning_rate: float = 0.0,
        response_tokens: int = 100,
        seed: int = 0,
    ) -> None:
        self.pass_rates = dict(pass_rates or {})
        self.default = default
        self.learning_rate = learning_rate
        self.response_tokens = response_tokens
        self.seed = seed

    def pass_rate(self, prompt_id: str) -> float:
        """The true pass rate of a prompt now."""
        return self.pass_rates.get(prompt_id, self.default)

    def roll_out(self, plan: Plan) -> list[GroupOutcome]:
        """One outcome per planned group, with rewards 0 or 1."""
        outcomes = []
        for group in plan:
            uniform = generator(self.seed, "rewards", plan.step, plan.round, group.group_id).random(group.num_rollouts)
            rewards = (uniform < self.pass_rate(group.prompt_id)).astype(float).tolist()
            tokens = [self.response_tokens] * len(rewards)
            outcomes.append(
                GroupOutcome(group.group_id, group.prompt_id, rewards, num_tokens=tokens, policy_version=plan.step)
            )
        return outcomes

    def train_on(self, admitted: Iterable[AdmittedGroup]) -> None:
        """Get better at the prompts that trained; prompts at exactly 0 or 1 stay there."""
        for group in admitted:
            rate = self.pass_rate(group.prompt_id)
            if self.learning_rate and 0 < rate < 1:
                log_odds = math.log(rate / (1 - rate)) + self.learning_rate
                self.pass_rates[group.prompt_id] = 1 / (1 + math.exp(-log_odds))


def play(
    curriculum: Curriculum,
    policy: SimulatedPolicy,
    steps: Iterable[int],
    *,
    between: Callable[[Curriculum], Curriculum] = lambda curriculum: curriculum,
    deliver: Callable[[Curriculum, list[GroupOutcome]], object] = lambda curriculum, outcomes: curriculum.observe(
        outcomes
    ),
) -> tuple[Curriculum, Trace]:
    """Run the loop and write down all that can be seen of it: plans, admitted groups, metrics, pass rates.

    Args:
        between: called before every call to the curriculum; what it returns takes the curriculum's place.
        deliver: hands the outcomes of a plan over, perhaps badly.
    """
    trace: Trace = []
    for step in steps:
        for _ in range(_MAX_ROUNDS):
            curriculum = between(curriculum)
            plan = curriculum.plan(step)
            trace.append(("plan", step, plan.round, *(astuple(group) for group in plan)))
            if not plan:
                break
            curriculum = between(curriculum)
            deliver(curriculum, policy.roll_out(plan))
        else:
            raise AssertionError(
                f"step {step} asked for more rollouts {_MAX_ROUNDS} times: its plan never became empty"
            )
        curriculum = between(curriculum)
        admitted = curriculum.admitted(step)
        policy.train_on(admitted)
        trace.append(("admitted", step, *map(astuple, admitted)))
        trace.append(("metrics", step, *sorted(curriculum.metrics().items())))
        trace.append(("pass rates", step, _digest(curriculum.pass_rates())))
    return curriculum, trace


def pool_of(size: int, **columns: Any) -> PromptPool:
    """A pool of `size` prompts called prompt-0, prompt-1, ..."""
    return PromptPool([f"prompt-{index}" for index in range(size)], **columns)


def outcomes_of(plan: Plan, rewards: Callable[[int], Iterable[float]]) -> list[GroupOutcome]:
    """An outcome for every group of a plan, with the rewards that `rewards(num_rollouts)` gives."""
    return [GroupOutcome(group.group_id, group.prompt_id, list(rewards(group.num_rollouts))) for group in plan]


def fixed_pass_rates(
    mean: ArrayLike, *, std: ArrayLike = 0.1, evidence: ArrayLike = 8, ids: Iterable[str] | None = None
) -> PassRates:
    """A belief that is what you say, for testing a selection or an allocation without any outcomes."""
    mean = np.array(mean, dtype=np.float64)
    count = np.broadcast_to(np.asarray(evidence, dtype=np.float64), mean.shape).copy()
    names = np.empty(len(mean), dtype=object)
    names[:] = [f"prompt-{index}" for index in range(len(mean))] if ids is None else list(ids)
    known = count > 0
    return PassRates(
        ids=names,
        mean=mean,
        std=np.broadcast_to(np.asarray(std, dtype=np.float64), mean.shape).copy(),
        num_rollouts=np.ceil(count).astype(np.int64),
        evidence=count,
        reward_mean=np.where(known, mean, np.nan),
        reward_std=np.where(known, np.sqrt(mean * (1 - mean)), np.nan),
        response_tokens=np.ceil(count).astype(np.int64) * 100,
        last_seen=np.where(known, 0, -1).astype(np.int64),
    )


def _digest(pass_rates: PassRates) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, column in vars(pass_rates).items():
        digest.update(name.encode())
        digest.update(
            "\x00".join(column).encode() if column.dtype == object else np.ascontiguousarray(column).tobytes()
        )
    return digest.hexdigest()
