"""Bad calls against every method: each is refused with one clear error and leaves no trace, and the run goes on.

    python dev/attack/calls.py --num 20000 --seed 0

An attack is a small run with one bad thing in it. It is either an option of a method that holds something odd (refused
at construction by an error that names it, or the run works), or a call with an argument that no curriculum can take
(refused with ValueError or TypeError, the state stays equal), with good calls before and after. All metrics are finite.
"""

import argparse
import copy
import json
import math
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from didact import METHODS, Curriculum, GroupOutcome, Plan, PromptPool, make
from didact.methods import method_options
from didact.sharded import ShardedPool
from didact.testing import SimulatedPolicy
from didact.testing.contract import same_state

NAN, INF = math.nan, math.inf
ODD: list[Any] = [NAN, INF, -INF, -1, 0, 1, 2, 0.5, 1.5, "x", "1", None, [], {}, True, False, 2**31, 2**63, 10**400]
ODD += [1e308, -1e308, 1e-308, np.float32(0.5), np.int64(2), np.float64(NAN), np.bool_(True), np.zeros(3), b"1", 1j]
ODD += [[1], (1, 1), (NAN, 1), ("1", "2"), (-1, 1), [1e308, 1e308], (0, 0), object, object(), range(2)]
#: Never a number of rollouts, a step or the like, whatever the run.
NO_WHOLE: list[Any] = [NAN, INF, -1, 1.5, "1", None, [], {}, True, 2**63, 10**400, 1j, np.zeros(3), object()]
NO_FLAG: list[Any] = ["no", "", 2, None, [], 0.5, object()]
FILES = {"weak", "strong", "offline_rates"}  # may be paths, and a missing one is FileNotFoundError


def pool_of(rng: np.random.Generator, *, sharded: bool) -> PromptPool:
    size = int(rng.integers(3, 20))
    column = np.arange(size)
    columns = {"source": [str(index % 2) for index in column], "difficulty": column * 5.0, "prompt_tokens": column + 1}
    ids = [f"prompt-{index}" for index in column]
    features = np.stack([column % 3, column % 5], axis=1) * 1.0
    if sharded:
        return ShardedPool.split(ids, 2, prompt_tokens=column + 1, features=features)
    return PromptPool(ids, **columns, features=features)


def built(rng: np.random.Generator) -> Curriculum:
    sharded = bool(rng.random() < 0.2)
    names = [name for name, method in METHODS.items() if method.shardable or not sharded]
    method = names[rng.integers(len(names))]
    sizes = {"prompts_per_step": int(rng.integers(1, 5)), "rollouts_per_step": int(rng.integers(4, 9)) * 4}
    return make(method, pool_of(rng, sharded=sharded), seed=int(rng.integers(9)), **sizes)


def steps(curriculum: Curriculum, num: int, rng: np.random.Generator) -> Plan | None:
    """Play good steps, a little lost; returns a plan of the last that was not answered, if any."""
    policy, plan = SimulatedPolicy(), None
    for step in range(curriculum.step + 1, curriculum.step + 1 + num):
        for _ in range(100):
            plan = curriculum.plan(step)
            outcomes = policy.roll_out(plan)
            curriculum.observe(outcome for outcome in outcomes if rng.random() < 0.9)
            if not plan:
                break
        curriculum.admitted(step)
    metrics = curriculum.metrics()
    assert all(map(math.isfinite, metrics.values())), f"metrics {metrics}"
    assert np.isfinite(curriculum.pass_rates().mean).all(), "pass rates"
    return plan


def bad_outcomes(group: Any, pick: Callable[[list[Any]], Any]) -> Iterator[Callable[[], Any]]:
    """Ways to make an outcome of a planned group that nobody can take."""
    size = group.num_rollouts
    rewards = [1.0] * size
    column = {"num_tokens": NO_WHOLE, "errored": NO_FLAG, "truncated": NO_FLAG}
    name = pick(list(column))
    number = pick(["policy_version", "prompt_tokens", "part"])
    odd = pick([each for each in NO_WHOLE if each is not None])
    reward = pick([1e308, -1e308, 10**400, "1", 1j, [], {}, b"1", object(), 1e16])
    yield lambda: GroupOutcome(group.group_id, group.prompt_id, [*rewards[1:], reward])
    yield lambda: GroupOutcome(group.group_id, group.prompt_id, rewards, **{name: [pick(column[name])] * size})
    yield lambda: GroupOutcome(group.group_id, group.prompt_id, rewards, **{name: [1] * (size + 1)})
    yield lambda: GroupOutcome(group.group_id, group.prompt_id, rewards, **{number: odd})
    yield lambda: GroupOutcome(group.group_id, group.prompt_id, pick(["12", 5, {1.0: 2}, None, b"1", {1.0}]))
    yield lambda: GroupOutcome(odd, group.prompt_id, rewards)
    yield lambda: GroupOutcome(group.group_id, pick(["nobody", 7, None, "", "\ud800", [], "a\0"]), rewards)
    yield lambda: pick([None, 7, "outcome", {}, (group.group_id, group.prompt_id, rewards)])


def grow_badly(pool: PromptPool, pick: Callable[[list[Any]], Any]) -> None:
    """Extend a pool with a bad id, or with a good one and a bad column."""
    names = ("source", "difficulty", "prompt_tokens", "features")
    columns: dict[str, Any] = {name: [getattr(pool, name)[0]] for name in names if getattr(pool, name) is not None}
    if pick([True, False]):
        pool.extend([pick(["prompt-0", "", "\ud800", 7.5, True, None, b"new"])], **columns)
    else:
        pool.extend(["new"], **{**columns, "prompt_tokens": pick([[-1], [2**31], ["1"], [True], [1, 2], 5, [[1]]])})


def attack_call(rng: np.random.Generator) -> None:
    curriculum = built(rng)
    steps(curriculum, int(rng.integers(0, 4)), rng)

    def pick(values: list[Any]) -> Any:
        return values[rng.integers(len(values))]

    plan = curriculum.plan(curriculum.step + 1)
    good = SimulatedPolicy().roll_out(plan)
    odd, bad_flag = pick(NO_WHOLE), pick(NO_FLAG)
    group = pick(list(plan)) if plan else None
    calls: list[Callable[[], Any]] = [
        lambda: curriculum.plan(pick([odd, 2**40, 2**31, curriculum.step - 1])),
        lambda: curriculum.admitted(pick([odd, curriculum.step + 1, 2**40])),
        lambda: curriculum.admitted(curriculum.step, complete=bad_flag),
        lambda: curriculum.lost(odd, 1),
        lambda: curriculum.found(odd, 1),
        lambda: curriculum.overdue(odd),
        lambda: curriculum.observe(pick([7, None, "text", [None], {"a": 1}])),
        lambda: grow_badly(curriculum.pool, pick),
    ]
    if group is not None:
        calls += [
            lambda: curriculum.lost(group.group_id, pick([odd, 0, group.num_rollouts + 1])),
            lambda: curriculum.lost(group.group_id, 1, again=bad_flag),
            lambda: curriculum.found(group.group_id, pick([odd, 0, 1])),
        ]
        calls += [lambda make=make: curriculum.observe([*good, make()]) for make in bad_outcomes(group, pick)]
    index = int(rng.integers(len(calls)))
    before = copy.deepcopy(curriculum.state_dict())
    try:
        calls[index]()
    except (ValueError, TypeError):
        pass
    else:
        raise AssertionError(f"{curriculum.name}: bad call {index} was taken")
    assert same_state(before, curriculum.state_dict()), f"{curriculum.name}: bad call {index} left a trace"
    curriculum.observe(good)
    steps(curriculum, 2, rng)


def attack_option(rng: np.random.Generator) -> None:
    method = list(METHODS)[rng.integers(len(METHODS))]
    known = [name for name in method_options(method) if name != "seed" or rng.random() < 0.5]
    name, value = known[rng.integers(len(known))], ODD[rng.integers(len(ODD))]
    options = {"prompts_per_step": int(rng.integers(1, 5)), "rollouts_per_step": 16, name: value}
    what = f"{method}({name}={type(value).__name__} {str(value)[:30]})"
    try:
        curriculum = make(method, pool_of(rng, sharded=False), **options)
    except FileNotFoundError:
        assert name in FILES, what
        return
    except (ValueError, TypeError) as error:
        # By its own name, or by what it is together with another option.
        if not any(word in str(error) for word in (name, "a screen takes", "a continuation takes")):
            raise AssertionError(f"{what} is not named: {error}") from error
        return
    try:
        json.dumps(curriculum.options)  # they go into the journal
        steps(curriculum, 5, rng)
    except Exception as error:
        raise AssertionError(f"{what} was taken and then: {type(error).__name__}: {error}") from error


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    warnings.simplefilter("error")
    failed = []
    for index in range(given.num):
        rng = np.random.default_rng([given.seed, index])
        try:
            (attack_call if rng.random() < 0.6 else attack_option)(rng)
        except Exception as error:
            failed.append(index)
            print(f"attack {index} of seed {given.seed} did not hold: {type(error).__name__}: {error}", flush=True)
        if (index + 1) % 2000 == 0:
            print(f"{index + 1} attacks, {len(failed)} did not hold", flush=True)
    print(f"calls: {given.num} attacks, {given.num - len(failed)} held")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
