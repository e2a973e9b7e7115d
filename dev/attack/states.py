"""Mutated states against every method, desk and session: refused with nothing changed, or they say what they said.

    python dev/attack/states.py --num 100000 --seed 0

Each attack changes a real state in one place (keys dropped, added, renamed; types, dtypes, shapes, signs, nan; entries
swapped; numbers off by one) and loads it into an object that is in the middle of another run. It holds if the state is
refused with ValueError and the object saves what it saved before, or if the object then saves the state as it was
before the change. A third of the curricula's states is sealed anew after the change, as by a forger; such a state may
also be loaded for what it is: then it has to come back as it was given. `--only INDEX` repeats one attack.
"""

import argparse
import contextlib
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from didact import METHODS, Dispatcher, PromptPool, make
from didact.adapters.verl.session import Session
from didact.seeding import generator
from didact.sharded.pool import ShardedPool
from didact.state import load_state, save_state, seal
from didact.testing import SimulatedPolicy, play
from didact.testing.contract import same_state
from didact.testing.mutations import mutated

_SIZE = 24
_OPTIONS: dict[str, list[dict[str, Any]]] = {
    "cures": [{}, {"reset": False, "window": 3}, {"discount": 0.9}, {"as_released": True}, {"train_on_pilot": True}],
    "bots": [{"weak": np.linspace(0, 0.5, _SIZE), "strong": np.linspace(0.2, 1, _SIZE)}, {}],
    "fastcurl": [{"total_steps": 8}, {"total_steps": 8, "advance": "truncation", "truncation_window": 1}],
    "uniform": [{}, {"window": 2}, {"pass_above": 0.5}],
}


def pool(shards: int = 0) -> PromptPool:
    column = np.arange(_SIZE)
    ids = [f"prompt-{index}" for index in column]
    columns: dict[str, Any] = {"difficulty": column / _SIZE * 100, "prompt_tokens": column + 1}
    columns["features"] = np.stack([column % 7, column % 5], 1)
    if shards:
        return ShardedPool.split(ids, shards, **columns)
    return PromptPool(ids, source=["a", "b"] * (_SIZE // 2), **columns)


def curriculum(name: str, rng: np.random.Generator, shards: int, options: dict[str, Any]) -> Any:
    """A curriculum after a random part of a run, some outcomes of which came late, in part or never."""

    def deliver(curriculum: Any, outcomes: list[Any]) -> None:
        curriculum.observe(outcome for outcome in outcomes if rng.random() < 0.85)
        for group_id in [group_id for group_id in curriculum.open_groups() if rng.random() < 0.05]:
            with contextlib.suppress(ValueError):
                curriculum.lost(group_id, 1, again=bool(rng.random() < 0.5))

    built = make(name, pool(shards), prompts_per_step=4, rollouts_per_step=32, **options)
    built, _ = play(built, SimulatedPolicy(seed=int(rng.integers(9))), range(int(rng.integers(0, 8))), deliver=deliver)
    if rng.random() < 0.5 and (plan := built.plan(built.step + 1)):  # in the middle of a step
        built.observe(SimulatedPolicy().roll_out(plan)[: int(rng.integers(len(plan) + 1))])
    return built


def desk(rng: np.random.Generator, name: str) -> Dispatcher:
    made = Dispatcher(make(name, pool(), prompts_per_step=4, rollouts_per_step=32), max_lag=2, max_rollouts=3)
    for number in range(int(rng.integers(12))):
        for work in made.ask_many(3, f"worker-{number % 3}"):
            if rng.random() < 0.7:
                made.report(work.lease, (rng.random(work.group.num_rollouts) < 0.5).astype(float).tolist())
        made.lost("worker-1") if rng.random() < 0.2 else made.admitted(request=str(number))
    return made


def session(rng: np.random.Generator, name: str) -> Session:
    made = Session(make(name, pool(), prompts_per_step=4, rollouts_per_step=32))
    for _ in range(int(rng.integers(4))):
        while made.bind() is not None:
            pass
        made.observe(dict.fromkeys([mark for mark in made.sent if rng.random() < 0.8]), 0)
    return made


def kinds() -> list[tuple[str, Callable[[np.random.Generator], Any]]]:
    """What is attacked: a name, and how to build one in a random state."""
    found: list[tuple[str, Callable[[np.random.Generator], Any]]] = []
    for name in METHODS:
        for options in _OPTIONS.get(name, [{}]):
            found.append((f"{name} {[*options]}", partial(curriculum, name, shards=0, options=options)))
        if METHODS[name].shardable:
            found.append((f"{name} in 3 shards", partial(curriculum, name, shards=3, options={})))
    found += [(f"desk of {name}", partial(desk, name=name)) for name in ("uniform", "cures", "speed")]
    return found + [(f"session of {name}", partial(session, name=name)) for name in ("uniform", "speed")]


def plain(state: dict[str, Any]) -> dict[str, Any]:
    """What has to come back: a desk keeps its own options, and gives no number of a lease out twice."""
    mine = ("digest", "next_lease", "options") if "next_lease" in state else ("digest",)
    return {name: state[name] for name in state if name not in mine}


def attack(target: Any, state: dict[str, Any], rng: np.random.Generator, *, again: bool) -> tuple[str, str]:
    """One attack: "refused", "equivalent" or "as given" if it holds; and what was changed."""
    before, forged = target.state_dict(), "own" in state and bool(rng.random() < 1 / 3)
    changed, what = mutated({name: state[name] for name in state if name != "digest" or not forged}, rng)
    if forged:
        with contextlib.suppress(TypeError):  # not even a state can hold it
            changed = seal(changed)
    try:
        target.load_state_dict(changed)
    except ValueError as error:
        what = f"{what} ({error})" if again else what
        return ("refused" if same_state(before, target.state_dict()) else "REFUSED AND CHANGED"), what
    except Exception as error:
        return f"RAISED {type(error).__name__}", what
    after = plain(target.state_dict())
    if same_state(after, plain(state)):
        return "equivalent", what
    return ("as given" if forged and same_state(after, plain(changed)) else "LOADED AS ANOTHER"), what


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    counts: Counter[str] = Counter()
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        targets = kinds()
        for index in range(given.num) if given.only is None else [given.only]:
            rng = generator(given.seed, "attack", index // 16)  # two states make sixteen attacks
            name, build = targets[rng.integers(len(targets))]
            if index % 16 == 0 or given.only is not None:
                state, target = build(rng).state_dict(), build(rng)
                if rng.random() < 0.3:  # by way of a file
                    save_state(Path(folder) / "state.npz", state)
                    state = load_state(Path(folder) / "state.npz")
                before = target.state_dict()
            verdict, what = attack(target, state, generator(given.seed, "change", index), again=given.only is not None)
            counts[verdict] += 1
            if verdict != "refused":
                target.load_state_dict(before)
            if verdict.isupper() or verdict.startswith(("RAISED", "REFUSED", "LOADED")):
                failed.append(f"{name}: {what}: {verdict}; --seed {given.seed} --only {index}")
            if given.only is not None:
                print(name, what, verdict)
            if index % 10000 == 9999:
                print(f"{index + 1}: {dict(counts)}", flush=True)
    print("\n".join([*failed, f"{dict(counts)}"]))
    print(f"states: {sum(counts.values())} attacks, {sum(counts.values()) - len(failed)} held")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
