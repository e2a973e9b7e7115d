"""What large pools cost, whole and in shards: memory, building, and a step.

    python benchmarks/scale.py --json benchmarks/results/scale.json --page benchmarks/scale.md
    python benchmarks/scale.py --prompts 100_000_000 --layouts shards:16 --bytes --json ... --page ...

Each combination of pool size and layout runs in a process of its own: `pool` is a PromptPool, `shards:4` a ShardedPool
in one process, `ray:4` the same over four actors. In each process, in this order:

build    the pool out of a generator of ids ("prompt-000000000", 16 letters), with the search for repeated ones; with
         `--bytes` out of numpy arrays of fixed-width bytes, made by each shard itself.
memory   private memory (private pages of /proc/self/smaps_rollup) after two steps of CurES, so with belief, weights and
         shuffled order, less what the process had before the pool: of this process, and of all actors.
steps    `plan` + `observe` of a step over all its rounds, 1,024 groups of 8 rollouts, every option at its default,
         median of `--steps` steps after the first; in brackets how often all shards were asked.
draw     1,024 prompts drawn from weights on ALL prompts of the pool (spread over three orders of magnitude).
state    `state_dict` after these steps: seconds, and bytes when saved. The fingerprint of all ids: seconds.

Seconds are of processor time in one process, and of the clock on the wall over Ray. Everything is run `--repeats`
times, and the fastest of each figure counts, because the machine has other users. Rows already in the file are kept
unless measured again. `--page` writes the tables and the fitted formula between the marks of the page; with
`--prompts ""` nothing is measured, and the page is written from the file.
"""

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from overhead import GROUPS, SIZE, simulated

from didact import Curriculum, PromptPool, make
from didact.pool import Pool
from didact.sharded import ShardedPool
from didact.sharded.shards import LocalShards, Shards
from didact.state import save_state

METHODS = ("cures", "uniform", "dapo")
#: Other work on the machine does not count, except where several processes work on one thing.
CLOCK = [time.process_time]
MARKS = ("<!-- measured -->\n", "<!-- end of measured -->\n")


# One process ----------------------------------------------------------------------------------------------------------


def numbered(start: int, stop: int, as_bytes: bool) -> dict[str, Any]:
    """Ids prompt-<nine digits>."""
    if not as_bytes:
        return {"ids": (f"prompt-{index:09}" for index in range(start, stop))}
    letters = np.empty((stop - start, 16), dtype=np.uint8)
    letters[:, :7] = np.frombuffer(b"prompt-", dtype=np.uint8)
    left = np.arange(start, stop)
    for column in range(15, 6, -1):
        letters[:, column] = left % 10 + ord("0")
        left //= 10
    return {"ids": letters.reshape(-1).view("S16")}


def measure(prompts: int, layout: str, steps: int, as_bytes: bool) -> dict[str, Any]:
    kind, _, number = layout.partition(":")
    CLOCK[0] = time.perf_counter if kind == "ray" else time.process_time
    edges = np.linspace(0, prompts, int(number or 1) + 1).astype(int).tolist()
    sources = [partial(numbered, start, stop, as_bytes) for start, stop in pairwise(edges)]
    others = len(sources) * _empty_actor() if kind == "ray" else 0
    before = private_bytes()
    build, pool = timed(lambda: _pool(kind, sources))
    row: dict[str, Any] = {"prompts": prompts, "layout": layout, "build": build}
    row["bytes_empty_actor"] = others / len(sources)
    gc.collect()
    row["bytes_ids"] = (private_bytes() - before + _actors_bytes(pool_shards(pool)) - others) / prompts
    messages = _counted(pool)
    for name in METHODS:
        curriculum = make(name, pool, prompts_per_step=GROUPS, rollouts_per_step=GROUPS * SIZE)
        row[name] = _steps(curriculum, steps, messages)
        if name == "cures":
            gc.collect()
            row["bytes_here"] = (private_bytes() - before) / prompts
            row["bytes_actors"] = (_actors_bytes(pool_shards(pool)) - others) / prompts
            row["bytes"] = row["bytes_here"] + row["bytes_actors"]
            row["state"], state = timed(curriculum.state_dict)
            row["state_bytes"] = _saved_bytes(state)
            row["prompts_seen"] = curriculum.metrics()["prompts_seen"]
            del state
        del curriculum
        gc.collect()
    row["draw"] = _draw(pool, prompts)
    pool._fingerprints = {}
    row["fingerprint"], _ = timed(pool.fingerprint)
    row["peak_here"] = _status("VmHWM")
    return row


def _pool(kind: str, sources: list[Any]) -> Pool:
    if kind == "pool":
        return PromptPool(sources[0]()["ids"])
    return ShardedPool(_ray_shards(sources) if kind == "ray" else LocalShards(sources))


def _ray_shards(sources: list[Any]) -> Shards:
    from didact.adapters.ray.shards import RayShards

    return RayShards(sources)


def _empty_actor() -> int:
    """Bytes of an actor with a pool of one prompt."""
    import ray

    ray.init(num_cpus=64, include_dashboard=False, object_store_memory=200_000_000, log_to_driver=False)
    return _actors_bytes(pool_shards(ShardedPool(_ray_shards([partial(numbered, 0, 1, False)]))))


def pool_shards(pool: Pool) -> Shards | None:
    return pool.shards if isinstance(pool, ShardedPool) else None


def _steps(curriculum: Curriculum, steps: int, messages: list[int]) -> dict[str, float]:
    rng = np.random.default_rng(5)
    done = []
    for step in range(steps + 1):
        planning = observing = 0.0
        rounds, before = 0, messages[0]
        while True:
            seconds, plan = timed(partial(curriculum.plan, step))
            planning += seconds
            if not plan:
                break
            outcomes = simulated(plan, rng)
            observing += timed(partial(curriculum.observe, outcomes))[0]
            rounds += 1
        curriculum.admitted(step)
        done.append((planning, observing, rounds, messages[0] - before))
    plan_s, observe_s, rounds_n, asked = np.array(done[1:]).T
    return {
        "first_step": sum(done[0][:2]),
        "plan": median(plan_s),
        "observe": median(observe_s),
        "step": median(plan_s + observe_s),
        "fastest": min(plan_s + observe_s),
        "rounds": float(rounds_n.mean()),
        "questions": float(asked.mean()),
    }


def _counted(pool: Pool) -> list[int]:
    """A counter of the messages that go to all shards at once."""
    counter, shards = [0], pool_shards(pool)
    if shards is not None:
        deliver = shards._deliver

        def counting(messages: Mapping[int, Any]) -> dict[int, list[Any]]:
            counter[0] += 1
            return deliver(messages)

        shards._deliver = counting  # type: ignore[method-assign]
    return counter


def _draw(pool: Pool, prompts: int) -> float:
    tree, rng = pool.weight_tree(), np.random.default_rng(0)
    for start in range(0, prompts, 1_000_000):
        some = np.arange(start, min(start + 1_000_000, prompts))
        tree.set(some, 10.0 ** rng.uniform(-3, 0, len(some)))
    tree.draw(GROUPS, rng)
    return median(timed(lambda: tree.draw(GROUPS, rng))[0] for _ in range(15))


def _saved_bytes(state: Mapping[str, Any]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        save_state(Path(folder) / "state", state)
        return (Path(folder) / "state").stat().st_size


def private_bytes(*_: Any) -> int:
    """Pages that no other process shares."""
    with open("/proc/self/smaps_rollup") as file:
        return 1024 * sum(int(line.split()[1]) for line in file if line.startswith("Private_"))


def _status(name: str) -> int:
    with open("/proc/self/status") as file:
        return 1024 * next(int(line.split()[1]) for line in file if line.startswith(name))


def _actors_bytes(shards: Shards | None) -> int:
    if shards is None or isinstance(shards, LocalShards):
        return 0
    import ray

    return sum(ray.get([actor.__ray_call__.remote(private_bytes) for actor in shards.actors]))  # type: ignore[attr-defined]


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = CLOCK[0]()
    result = call()
    return CLOCK[0]() - start, result


# All of them ----------------------------------------------------------------------------------------------------------


def in_a_process(prompts: int, layout: str, given: argparse.Namespace) -> dict[str, Any]:
    """A row, measured by a fresh interpreter."""
    command = [sys.executable, __file__, "--child", json.dumps([prompts, layout, given.steps, given.bytes])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def fastest(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each time the smallest; of the rest the first."""
    best = dict(rows[0])
    for name in ("build", "draw", "state", "fingerprint"):
        best[name] = min(row[name] for row in rows)
    for name in METHODS:
        best[name] = min((row[name] for row in rows), key=lambda figures: figures["step"])
    return best


def fitted(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """bytes = a + b * prompts, and so on, by least squares over the sharded rows of one process; see the page."""
    chosen = [row for row in rows if row["layout"].startswith("shards") and row["prompts"] <= 10**7]
    size = np.array([row["prompts"] for row in chosen], dtype=float)
    number = np.array([int(row["layout"].partition(":")[2]) for row in chosen], dtype=float)
    plain = np.stack([np.ones_like(size), size], axis=1)
    deep = np.stack([np.ones_like(size), np.log(size / number) / np.log(32), number], axis=1)
    figures = [_figures(row) for row in chosen]
    at_plain, at_deep = [1, 10**8], [1, np.log(10**8 / 16) / np.log(32), 16]
    found = {}
    for name in figures[0]:
        columns, at = (deep, at_deep) if name in ("draw", *METHODS) else (plain, at_plain)
        target = np.array([figure[name] for figure in figures])
        factors, *_ = np.linalg.lstsq(columns, target, rcond=None)
        error = columns @ factors - target
        found[name] = {
            "factors": factors.tolist(),
            "worst_relative_residual": float(np.max(np.abs(error) / target)),
            "at_100_million_in_16": float(np.dot(at, factors)),
        }
    return found


def tables(rows: list[dict[str, Any]], fits: Mapping[str, Any]) -> str:
    head = ["prompts", "layout", "build, s", "bytes a prompt", "of it here", "peak here, MB"]
    head += [*(f"{name}, ms" for name in METHODS), "draw from all, ms", "state, MB", "fingerprint, s"]
    lines = [head, ["---"] * len(head)]
    for row in sorted(rows, key=lambda row: (row["prompts"], _rank(row["layout"]))):
        cells = [f"{row['prompts']:,}", row["layout"] + (" (bytes)" if row.get("from_bytes") else "")]
        cells += [f"{row['build']:.1f}", f"{row['bytes']:.0f}", f"{row['bytes_here']:.0f}"]
        cells += [f"{row['peak_here'] / 1e6:,.0f}"]
        cells += [f"{1000 * row[name]['step']:.0f} ({row[name]['questions']:.0f})" for name in METHODS]
        cells += [f"{1000 * row['draw']:.1f}", f"{row['state_bytes'] / 1e6:.1f}", f"{row['fingerprint']:.2f}"]
        lines.append(cells)
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    text += "\n| figure | fit to the six rows of `shards` | worst residual | at 10^8 in 16 shards | measured there |\n"
    text += "| --- | --- | --- | --- | --- |\n"
    there = {
        name: value
        for row in rows
        if (row["prompts"], row["layout"]) == (10**8, "shards:16")
        for name, value in _figures(row).items()
    }
    for name, fit in fits.items():
        a, b, *c = fit["factors"]
        if c:
            formula = f"{1000 * a:.2f} + {1000 * b:.2f} log32(N/S) + {1000 * c[0]:.2f} S ms"
            at, seen = (f"{1000 * value:.0f} ms" for value in (fit["at_100_million_in_16"], there.get(name, np.nan)))
        else:
            unit = "MB" if name == "bytes" else "s"
            scale = 1e6 if name == "bytes" else 1.0
            formula = f"{a / scale:.2f} {unit} + {b:.3g} {'bytes' if name == 'bytes' else 's'} N"
            values = (fit["at_100_million_in_16"] / scale, there.get(name, np.nan) / scale)
            at, seen = (f"{value:,.1f} {unit}" for value in values)
        text += f"| {name} | {formula} | {100 * fit['worst_relative_residual']:.0f}% | {at} | {seen} |\n"
    return text


def _figures(row: Mapping[str, Any]) -> dict[str, float]:
    """What is fitted, by name."""
    whole = {"bytes": row["bytes"] * row["prompts"], "first step": row["uniform"]["first_step"]}
    return {**whole, **{name: row[name] for name in ("build", "fingerprint", "draw")}} | {
        name: row[name]["step"] for name in METHODS
    }


def _rank(layout: str) -> tuple[int, int]:
    kind, _, number = layout.partition(":")
    return ["pool", "shards", "ray"].index(kind), int(number or 1)


def write_page(page: Path, text: str) -> None:
    before, begin, rest = page.read_text(encoding="utf-8").partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not (begin and end):
        raise ValueError(f"{page} has no lines {MARKS[0].strip()} and {MARKS[1].strip()} to write between")
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def rows_of(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for prompts in (int(part.replace("_", "")) for part in given.prompts.split(",") if part):
        for layout in given.layouts.split(","):
            sys.stderr.write(f"{prompts:,} prompts, {layout}\n")
            row = fastest([in_a_process(prompts, layout, given) for _ in range(given.repeats)])
            yield {**row, "from_bytes": given.bytes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", default="1_000_000,10_000_000")
    parser.add_argument("--layouts", default="pool,shards:1,shards:4,shards:16,ray:1,ray:4,ray:16")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--bytes", action="store_true", help="ids out of numpy arrays of bytes")
    parser.add_argument("--json", type=Path, required="--child" not in sys.argv)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--child")
    given = parser.parse_args()
    if given.child:
        print(json.dumps(measure(*json.loads(given.child))))
        return
    rows = json.loads(given.json.read_text())["rows"] if given.json.is_file() else []
    fits = fitted(rows) if len(rows) >= 6 else {}
    for row in rows_of(given):
        same = ("prompts", "layout", "from_bytes")
        rows = [each for each in rows if any(each[name] != row[name] for name in same)] + [row]
        fits = fitted(rows) if len(rows) >= 6 else {}
        given.json.write_text(json.dumps({"rows": rows, "fits": fits}, indent=1) + "\n")
    if given.page:
        write_page(given.page, tables(rows, fits))


if __name__ == "__main__":
    main()
