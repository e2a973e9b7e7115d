"""Golden traces: what every method plans and trains on, frozen, to show that a rebuild of the engine changes nothing.

`golden.json` holds two runs of each build, a line for each call: the groups of a plan (`7=3x8:pilot@512` is group 7,
prompt-3, 8 rollouts for the reason "pilot" with 512 tokens of context; "train" and no context are left out), the groups
that train (`7=0-4,6/0.25*2` is group 7 with its rollouts, a baseline of its own and a weight), and the counters. What
was believed is not in it. "orderly" answers each plan at once. In "troubled" outcomes come in parts, late, twice or
never, are lost, and found again; some rollouts are errored or truncated; the pool grows, and in every step the state
goes over to a new curriculum.

A build that is not in the file yet is added to it; a change that is meant to change plans freezes the builds concerned
anew, and says so where it is committed:

    python -m tests.methods.test_golden                  # those that are missing
    python -m tests.methods.test_golden "cures" "vip"    # these anew

Draws follow numpy's generators, and sums the machine's arithmetic: the file says what it was frozen with.
"""

import hashlib
import itertools
import json
import math
import platform
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from didact import METHODS, AdmittedGroup, Curriculum, GroupOutcome, Plan, PromptPool, make
from didact.seeding import generator
from didact.testing import SimulatedPolicy

GOLDEN = Path(__file__).with_name("golden.json")
#: Two passes through the pool, at the least.
SIZE, PROMPTS, ROLLOUTS, STEPS = 28, 4, 32, 10
#: Counters of rollouts and groups; what depends on the belief (calibration, ages) is not frozen.
COUNTERS = (
    *("rollouts", "rollouts_planned", "rollouts_trained", "rollouts_discarded", "rollouts_pilot", "rollouts_errored"),
    *("rollouts_truncated", "rollouts_lost", "rollouts_missing", "rollouts_held", "response_tokens", "prompt_tokens"),
    *("groups", "groups_trained", "groups_with_signal", "groups_all_pass", "groups_all_fail", "prompts_seen"),
    *("outcomes", "outcomes_late", "outcomes_partial", "outcomes_duplicate", "effective_prompts", "context_length"),
    *("steps_without_signal", "capped_steps", "pool_size", "rounds"),
)

#: More rows than any pool here has: for prompts that join.
_ROWS = np.arange(200)


def _one_stage() -> list[Any]:
    from didact.methods.fastcurl import FOUR_STAGES

    return [replace(FOUR_STAGES[-1], split="all")]


#: What the contract tests build, and some options that all methods share. `_shards` and `_pass_rate` say what pool.
BUILDS: dict[str, tuple[str, dict[str, Any]]] = {
    "uniform": ("uniform", {}),
    "uniform, a band, stages of context, truncated ones observed": (
        "uniform",
        {"admission": [0.2, 0.8], "context": [[3, 512], [4, 1024]], "truncated": "observe", "discount": 0.9},
    ),
    "uniform, a budget that does not divide": ("uniform", {"prompts_per_step": 5, "rollouts_per_step": 23}),
    "didact": ("didact", {}),
    "didact, groups as the budget says, never uniform": (
        "didact",
        {"group_size": None, "leave_below": 0.0, "candidates": 3, "price": 1.0, "_pass_rate": True},
    ),
    "didact, in shards": ("didact", {"_shards": 3}),
    "dapo": ("dapo", {}),
    "dapo, large rounds": ("dapo", {"prompts_per_round": 12, "max_rounds": 3}),
    "dapo, a cap": ("dapo", {"max_rollouts_per_step": 48, "window": 3}),
    "cures": ("cures", {"steps_per_iteration": 3}),
    "cures, whole pool": ("cures", {}),
    "cures, training on pilots": ("cures", {"steps_per_iteration": 2, "train_on_pilot": True}),
    "cures, that fades": ("cures", {"steps_per_iteration": 3, "reset": False, "discount": 0.8}),
    "cures, window": ("cures", {"steps_per_iteration": 3, "reset": False, "window": 2}),
    "cures, with replacement": ("cures", {"steps_per_iteration": 3, "with_replacement": True, "max_rollouts": 20}),
    "cures, as released": ("cures", {"steps_per_iteration": 3, "as_released": True}),
    "cures, known pass rates": (
        "cures",
        {"steps_per_iteration": 3, "reset": False, "prior_weight": 4.0, "_pass_rate": True},
    ),
    "speed": ("speed", {}),
    "speed, without screening rollouts": (
        "speed",
        {"num_continue": 4, "train_on_screening": False, "max_staleness": None},
    ),
    "fastcurl": ("fastcurl", {"total_steps": 8, "max_context": 24}),
    "fastcurl, by truncation": ("fastcurl", {"stages": "v3", "advance": "truncation", "truncation_window": 2}),
    "fastcurl, one stage": ("fastcurl", {"stages": _one_stage()}),
    "gvm": ("gvm", {"steps_per_iteration": 3, "pilot_rollouts": 4}),
    "gvm, whole pool": ("gvm", {"pilot_rollouts": 3, "max_pass_rate": 0.9, "prior": (0.5, 0.5)}),
    "reinforce_ada": ("reinforce_ada", {}),
    "reinforce_ada, positive": ("reinforce_ada", {"mode": "positive", "keep": 4, "max_rounds": 3}),
    "pilot_commit": ("pilot_commit", {}),
    "pilot_commit, that retests": (
        "pilot_commit",
        {"retest_after": 2, "max_staleness": None, "num_pilot": 4, "num_commit": 4},
    ),
    "mopps": ("mopps", {}),
    "mopps, all options": (
        "mopps",
        {
            "candidate_ratio": 2,
            "mode": "band",
            "lam": 0.5,
            "offline_rates": np.where(_ROWS < 30, np.linspace(0, 1, len(_ROWS)), np.nan),
        },
    ),
    "mopps, known pass rates": ("mopps", {"prior_weight": 4.0, "_pass_rate": True}),
    "greso": ("greso", {}),
    "greso, large rounds": ("greso", {"prompts_per_round": 6, "max_rounds": 3}),
    "greso, as released": ("greso", {"as_released": True}),
    "vip": ("vip", {}),
    "vip, for Dr. GRPO": ("vip", {"estimator": "dr_grpo", "history": 8, "max_rollouts": 20}),
    "knapsack": ("knapsack", {}),
    "knapsack, small pool": ("knapsack", {"_size": 12}),
    "hora": ("hora", {}),
    "hora, a cap": ("hora", {"probe_rollouts": 2, "max_rollouts": 9}),
    "bots": (
        "bots",
        {
            "weak": np.where(_ROWS % 7 == 3, np.nan, np.linspace(0, 0.6, len(_ROWS))),
            "strong": np.linspace(0.4, 1.0, len(_ROWS)),
        },
    ),
    "bots, without references": ("bots", {}),
    "bots, soft max": ("bots", {"tau": 0.1, "thompson": False}),
    "adarft": ("adarft", {}),
    "adarft, as released": ("adarft", {"as_released": True, "scale": "range", "difficulty_range": (1.0, 5.0)}),
    "sec": ("sec", {}),
    "dump": ("dump", {}),
    "e2h": ("e2h", {"total_steps": 10}),
    "cdas": ("cdas", {}),
    "pcl": ("pcl", {}),
    "dapo, a share of uniform": ("dapo", {"uniform_share": 0.25}),
    "cures, quotas and a price": (
        "cures",
        {"steps_per_iteration": 3, "quotas": {"source-0": 0.5, "source-1": [0.0, 0.4]}, "token_price": 0.5},
    ),
    "oracle": ("oracle", {}),
    "oracle, variance": ("oracle", {"power": 2.0, "allocation": "variance", "refresh_rollouts": 64}),
    "uniform, in shards": ("uniform", {"_shards": 3}),
    "dapo, in shards": ("dapo", {"_shards": 3}),
    "speed, in shards": ("speed", {"_shards": 3}),
    "cures, in shards": ("cures", {"steps_per_iteration": 3, "_shards": 3}),
    "cures, window, in shards": ("cures", {"steps_per_iteration": 3, "reset": False, "window": 2, "_shards": 3}),
    "cures, that fades, in shards": (
        "cures",
        {"steps_per_iteration": 3, "reset": False, "discount": 0.5, "with_replacement": True, "_shards": 3},
    ),
    "reinforce_ada, in shards": ("reinforce_ada", {"_shards": 3}),
    "hora, in shards": ("hora", {"_shards": 3}),
}


def _pool(size: int, shards: int, pass_rate: bool) -> PromptPool:
    ids, columns = [f"prompt-{index}" for index in range(size)], _columns(range(size), pass_rate)
    if shards:
        from didact.sharded.pool import ShardedPool

        return ShardedPool.split(ids, shards, **columns)
    return PromptPool(ids, **columns)


def _columns(rows: Iterable[int], pass_rate: bool) -> dict[str, Any]:
    index = np.array(list(rows))
    columns: dict[str, Any] = {
        "source": [f"source-{row % 3}" for row in index],
        "difficulty": index * 7 % 5 * 25,
        "prompt_tokens": 100 + index * 37 % 53,
        "features": np.stack([np.cos(index), np.sin(index)], axis=1),
    }
    return {**columns, "pass_rate": index * 11 % 10 / 10} if pass_rate else columns


def _builder(label: str) -> tuple[PromptPool, Callable[[], Curriculum], bool]:
    method, options = BUILDS[label]
    sizes = {"prompts_per_step": PROMPTS, "rollouts_per_step": ROLLOUTS, "seed": 3}
    known = bool(options.get("_pass_rate"))
    pool = _pool(options.get("_size", SIZE), options.get("_shards", 0), known)
    given = {**sizes, **{name: value for name, value in options.items() if not name.startswith("_")}}
    if method == "oracle":  # of the comparison, and told the truth: no method by name
        from didact.compare.oracle import Oracle

        return pool, lambda: make(Oracle, pool, truth=lambda: np.linspace(0, 1, len(pool)), **given), known
    return pool, lambda: make(method, pool, **given), known


def _policy() -> SimulatedPolicy:
    """A quarter of the prompts never passes, a quarter always does, and those between learn."""
    rates = np.clip(np.linspace(-0.5, 1.5, SIZE), 0, 1)[np.random.default_rng(0).permutation(SIZE)]
    return SimulatedPolicy({f"prompt-{index}": float(rate) for index, rate in enumerate(rates)}, learning_rate=0.05)


# The runs -------------------------------------------------------------------------------------------------------


def orderly(label: str) -> list[str]:
    """Every plan is answered at once."""
    _, build, _ = _builder(label)
    curriculum, policy, lines = build(), _policy(), []
    for step in range(STEPS):
        while plan := curriculum.plan(step):
            lines.append(_said_plan(plan))
            curriculum.observe(policy.roll_out(plan))
        admitted = curriculum.admitted(step)
        policy.train_on(admitted)
        lines += [_said_plan(plan), _said_admitted(step, admitted), _said_counters(step, curriculum)]
    return [*lines, _said_totals(curriculum)]


def troubled(label: str) -> list[str]:
    """Whatever can happen to an outcome happens to some, by group and plan and not by what a method does."""
    pool, build, known = _builder(label)
    curriculum, policy, post, lines = build(), _policy(), _Post(), []

    def reloaded(now: Curriculum) -> Curriculum:
        fresh = build()
        fresh.load_state_dict(now.state_dict())
        return fresh

    for step in range(STEPS):
        if step in (3, 6):
            rows = range(len(pool), len(pool) + 3)
            pool.extend([f"prompt-{row}" for row in rows], **_columns(rows, known))
        while True:
            if step % 3 == 0:
                curriculum = reloaded(curriculum)
            plan = curriculum.plan(step)
            lines.append(_said_plan(plan))
            if step % 3 == 1:
                curriculum = reloaded(curriculum)
            for outcome in policy.roll_out(plan):
                post.send(outcome, plan, curriculum)
            post.deliver(curriculum)
            if not plan:
                break
        if step % 3 == 2:
            curriculum = reloaded(curriculum)
        complete = curriculum.admitted(step, complete=True) if step % 4 == 3 else []
        admitted = curriculum.admitted(step)
        assert admitted[: len(complete)] == complete
        policy.train_on(admitted)
        lines += [_said_admitted(step, admitted), f"held {step}: {' '.join(map(str, curriculum.held()))}"]
        lines.append(_said_counters(step, curriculum))
    return [*lines, _said_totals(curriculum)]


class _Post:
    """Outcomes on their way: one delivery after each plan, the empty ones too."""

    def __init__(self) -> None:
        self._now = 0
        self._waiting: dict[int, list[tuple[GroupOutcome, bool]]] = defaultdict(list)

    def deliver(self, curriculum: Curriculum) -> None:
        """Hand over what is due, one outcome at a time."""
        for outcome, was_lost in self._waiting.pop(self._now, []):
            if was_lost:
                curriculum.found(outcome.group_id, len(outcome.rewards))
            curriculum.observe([outcome])
        self._now += 1

    def send(self, outcome: GroupOutcome, plan: Plan, curriculum: Curriculum) -> None:
        """Decide what becomes of an outcome: it comes with the next delivery, with one of the four after, or never."""
        size, group = len(outcome.rewards), outcome.group_id
        rng = generator(0, "trouble", plan.step, plan.round, group)
        fate, mark = rng.random(), int(rng.integers(size))
        outcome = replace(outcome, part=plan.part)
        if rng.random() < 0.2:
            outcome = replace(outcome, errored=[index == mark for index in range(size)])
        if rng.random() < 0.2:
            outcome = replace(outcome, truncated=[index >= mark for index in range(size)])
        soon, later = self._waiting[self._now], self._waiting[self._now + int(rng.integers(1, 5))]
        if fate < 0.4:
            soon.append((outcome, False))
        elif fate < 0.55:  # in two parts, the end first
            soon.append((_part(outcome, slice(size // 2, None), 1), False))
            later.append((_part(outcome, slice(size // 2), 2), False))
        elif fate < 0.7:
            later.append((outcome, False))
        elif fate < 0.8:  # twice, and once more
            soon += [(outcome, False), (outcome, False)]
            later.append((outcome, False))
        elif fate < 0.85:
            curriculum.lost(group, size)
        elif fate < 0.9:  # lost, and it comes after all
            curriculum.lost(group, size)
            later.append((outcome, True))
        elif fate < 0.95:  # half of it is lost and made once more
            curriculum.lost(group, math.ceil(size / 2), again=True)
            soon.append((outcome, False))


def _part(outcome: GroupOutcome, rows: slice, number: int) -> GroupOutcome:
    columns = {
        name: None if (column := getattr(outcome, name)) is None else column[rows]
        for name in ("rewards", "num_tokens", "truncated", "errored")
    }
    return replace(outcome, **columns, part=(outcome.part or 0) | number << 24)


# How they are written down --------------------------------------------------------------------------------------


def _said_plan(plan: Plan) -> str:
    groups = []
    for group in plan:
        reason = "" if group.reason == "train" else f":{group.reason}"
        context = "" if group.context_length is None else f"@{group.context_length}"
        prompt = group.prompt_id.removeprefix("prompt-")
        groups.append(f"{group.group_id}={prompt}x{group.num_rollouts}{reason}{context}")
    return f"plan {plan.step}.{plan.round}: {' '.join(groups)}"


def _said_admitted(step: int, admitted: list[AdmittedGroup]) -> str:
    groups = []
    for group in admitted:
        baseline = "" if group.baseline is None else f"/{group.baseline:.9g}"
        weight = "" if group.weight == 1 else f"*{group.weight:.9g}"
        groups.append(f"{group.group_id}={_spans(group.rollouts)}{baseline}{weight}")
    return f"train {step}: {' '.join(groups)}"


def _spans(rollouts: Sequence[int]) -> str:
    """Ascending numbers without gaps as first-last; whatever else as it is."""
    spans: list[list[int]] = []
    for rollout in rollouts:
        if spans and rollout == spans[-1][-1] + 1:
            spans[-1][1:] = [rollout]
        else:
            spans.append([rollout])
    return ",".join("-".join(map(str, span)) for span in spans)


def _counters(curriculum: Curriculum) -> list[str]:
    metrics = curriculum.metrics()
    return [f"{name}={metrics[name]:.9g}" for name in COUNTERS if metrics[name]]


def _said_counters(step: int, curriculum: Curriculum) -> str:
    return f"counters {step}: {hashlib.blake2b(' '.join(_counters(curriculum)).encode(), digest_size=4).hexdigest()}"


def _said_totals(curriculum: Curriculum) -> str:
    return f"in the end: {' '.join(_counters(curriculum))}"


# The test -------------------------------------------------------------------------------------------------------


def departure(frozen: list[str], now: list[str]) -> str | None:
    """Where a run leaves the frozen one: the first call, and of it the first group or counter; None if nowhere."""
    for before, after in itertools.zip_longest(frozen, now, fillvalue="nothing more:"):
        if before != after:
            (call, _, was), (other, _, new) = before.partition(":"), after.partition(":")
            if call != other:
                return f"{call!r} was next, now {other!r} is"
            pairs = itertools.zip_longest(was.split(), new.split(), fillvalue="nothing")
            was, new = next(pair for pair in pairs if pair[0] != pair[1])
            return f"{call!r} had {was}, now it has {new}"
    return None


def _frozen() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(GOLDEN.read_text())
    return content


def test_all_methods_and_no_others_are_frozen() -> None:
    assert {method for method, _ in BUILDS.values()} == {*METHODS, "oracle"}
    assert list(_frozen()["traces"]) == list(BUILDS)


@pytest.mark.filterwarnings("ignore::didact.silence.NothingLearnt")
@pytest.mark.parametrize("run", [orderly, troubled])
@pytest.mark.parametrize("label", BUILDS)
def test_what_was_frozen_is_still_planned_and_trained_on(label: str, run: Callable[[str], list[str]]) -> None:
    content = _frozen()
    where = departure(content["traces"][label][run.__name__], run(label))
    assert where is None, f"{label}, {run.__name__} (frozen with {content['with']}, here {_versions()}): {where}"


def test_a_departure_is_named() -> None:
    frozen = ["plan 0.0: 0=3x8 1=5x8:pilot@512", "train 0: 0=0,1"]
    assert departure(frozen, frozen) is None
    assert departure(frozen, [frozen[0].replace("5x8", "5x7"), frozen[1]]) == (
        "'plan 0.0' had 1=5x8:pilot@512, now it has 1=5x7:pilot@512"
    )
    assert departure(frozen, frozen[:1]) == "'train 0' was next, now 'nothing more' is"
    assert departure(frozen, [frozen[0], "train 0: 0=0,1 1=0"]) == "'train 0' had nothing, now it has 1=0"


def _versions() -> str:
    return f"numpy {np.__version__}, {platform.machine()}"


def freeze(anew: Sequence[str]) -> None:
    """Add to the file what is missing, and write some builds anew."""
    frozen = _frozen()["traces"]
    kept = {label: lines for label, lines in frozen.items() if label in BUILDS and label not in anew}
    traces = {label: kept.get(label) or {run.__name__: run(label) for run in (orderly, troubled)} for label in BUILDS}
    GOLDEN.write_text(json.dumps({"with": _versions(), "traces": traces}, indent=0) + "\n")


if __name__ == "__main__":
    freeze(sys.argv[1:])
