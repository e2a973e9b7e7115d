"""What the desk costs: leases and reports per second of the plain object and of the Ray actor, beside a bare Ray actor.

    python benchmarks/actor.py --page benchmarks/actor.md --json benchmarks/results/actor.json

One lease is one `ask` and one `report` of a group of 8 rollouts, uniform over 100,000 prompts, 256 groups a step. The
bare actor takes the same arguments and gives back what it was given, two calls a lease. Clients are threads in four
processes of their own; "batched" asks for 16 leases in a call and reports them in another. All run on one local
cluster, in turn, `--rounds` times, and a figure is the median of its rounds; the ratio is that of medians of the same
run, since a busy machine slows both. "Kept" means a folder: every call on file before its answer.
"""

import argparse
import json
import platform
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import ray

from didact import Curriculum, Dispatcher, make
from didact.adapters.ray import RemoteDesk, curriculum_actor
from didact.testing import pool_of

PROCESSES, BATCH, REWARDS = 4, 16, [1.0, 0.0] * 4
TOKENS = [500] * len(REWARDS)
#: Steps may run ahead without end: nothing trains here, and what was admitted is fetched and dropped.
OPTIONS: dict[str, Any] = {"max_lag": 10**9, "lease_seconds": None}
_BEGIN, _END = "<!-- table -->\n", "<!-- end of table -->\n"


def build() -> Curriculum:
    return make("uniform", pool_of(100_000), prompts_per_step=256, rollouts_per_step=256 * len(REWARDS))


class Bare:
    """Gives back what it was given."""

    def call(self, method: str, given: dict[str, Any]) -> dict[str, Any]:
        return given


class Client:
    """`leases()` of a desk or of the bare actor, from several threads, for some seconds."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def run(self, threads: int, seconds: float, batch: int) -> int:
        done = [0] * threads
        call = _bare(self._target) if not isinstance(self._target, RemoteDesk) else _desk(self._target, batch)
        end = time.perf_counter() + seconds

        def work(index: int) -> None:
            while time.perf_counter() < end:
                done[index] += call(f"w{index}")

        workers = [threading.Thread(target=work, args=(index,)) for index in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return sum(done)


def _bare(actor: Any) -> Callable[[str], int]:
    def call(worker: str) -> int:
        ray.get(actor.call.remote("ask_many", {"num": 1, "worker": worker, "request": "r"}))
        ray.get(actor.call.remote("report", {"lease": 1, "rewards": REWARDS, "num_tokens": TOKENS}))
        return 1

    return call


def _desk(desk: RemoteDesk, batch: int) -> Callable[[str], int]:
    def call(worker: str) -> int:
        if batch == 1:
            work = desk.ask(worker)
            assert work is not None
            desk.report(work.lease, REWARDS, num_tokens=TOKENS)
            return 1
        works = desk.ask_many(batch, worker)
        desk.report_many([{"lease": work.lease, "rewards": REWARDS, "num_tokens": TOKENS} for work in works])
        return len(works)

    return call


def plain(folder: str | None, seconds: float) -> float:
    """Leases a second of the object in this process."""
    desk, done = Dispatcher(build(), folder=folder, **OPTIONS), 0
    start = time.perf_counter()
    while time.perf_counter() < start + seconds:
        work = desk.ask()
        assert work is not None
        desk.report(work.lease, REWARDS, num_tokens=TOKENS)
        done += 1
        if done % 1000 == 0:
            desk.admitted()
    rate = done / (time.perf_counter() - start)
    desk.close()
    return rate


def measure(rounds: int, seconds: float) -> dict[str, float]:
    """Leases a second by what was measured, medians over the rounds."""
    ray.init(num_cpus=16, include_dashboard=False, object_store_memory=200_000_000, log_to_driver=False)
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        desks = {
            "desk": curriculum_actor("desk", build, **OPTIONS),
            "desk, kept": curriculum_actor("kept", build, folder=f"{folder}/actor", **OPTIONS),
        }
        bare = ray.remote(num_cpus=0)(Bare).remote()
        targets = {"bare": bare, **desks}
        kind = ray.remote(num_cpus=0)(Client)
        clients = {name: [kind.remote(target) for _ in range(PROCESSES)] for name, target in targets.items()}
        for each in clients.values():
            ray.get([client.run.remote(1, 0.2, 1) for client in each])  # processes have started
        for index in range(rounds):
            for kept in (False, True):
                path = f"{folder}/plain-{index}" if kept else None
                found.setdefault("plain object, kept" if kept else "plain object", []).append(plain(path, seconds))
            for name, each in clients.items():
                for threads, who in ((1, each[:1]), (16 // PROCESSES, each)):
                    for batch in (1, BATCH) if name != "bare" else (1,):
                        label = f"{name}, {threads * len(who)} client{'s' * (len(who) > 1)}{', batched' * (batch > 1)}"
                        done = sum(ray.get([client.run.remote(threads, seconds, batch) for client in who]))
                        found.setdefault(label, []).append(done / seconds)
                        for desk in desks.values():
                            desk.admitted()
    ray.shutdown()
    return {label: median(rates) for label, rates in found.items()}


def table(rates: dict[str, float]) -> str:
    lines = ["| | leases/s | calls/s | rollouts/s | beside the bare actor |", "|---|---|---|---|---|"]
    for label, rate in sorted(rates.items(), key=lambda item: ("client" in item[0], "16" in item[0])):
        clients = "16 clients" if "16 clients" in label else "1 client"
        beside = rate / rates[f"bare, {clients}"]
        calls = 2 * rate / (BATCH if "batched" in label else 1)
        ratio = "1" if label.startswith("bare") else f"{beside:.2f}" if "client" in label else "-"
        lines.append(f"| {label} | {rate:,.0f} | {calls:,.0f} | {rate * len(REWARDS):,.0f} | {ratio} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="rounds to take the median of  [default: 7]")
    parser.add_argument("--seconds", type=float, default=1.5, help="seconds of each measurement  [default: 1.5]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the table into this page")
    given = parser.parse_args()
    rates = measure(given.rounds, given.seconds)
    print(table(rates))
    if given.json:
        versions = {"python": platform.python_version(), "ray": ray.__version__}
        record = {"rounds": given.rounds, "seconds": given.seconds, "versions": versions, "leases_per_second": rates}
        given.json.write_text(json.dumps(record, indent=2) + "\n")
    if given.page:
        before, _, rest = given.page.read_text(encoding="utf-8").partition(_BEGIN)
        _, _, after = rest.partition(_END)
        given.page.write_text(before + _BEGIN + "\n" + table(rates) + "\n\n" + _END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
