"""The desk as a Ray actor: 64 rollout workers, and kills of workers and of the actor itself.

What every worker sends is noted in a file before it is sent, so that the truth survives the worker.
"""

import json
import os
import pickle
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ray = pytest.importorskip("ray")

from ray.exceptions import RaySystemError  # noqa: E402

from didact import Curriculum, Dispatcher, GroupOutcome, PlannedGroup, make  # noqa: E402
from didact.adapters.ray import RemoteDesk, curriculum_actor  # noqa: E402
from didact.seeding import generator  # noqa: E402
from didact.testing import pool_of  # noqa: E402
from didact.testing.contract import same_state  # noqa: E402

pytestmark = pytest.mark.slow

PROMPTS = 200
PER_STEP = 32
STEPS = 9
PROCESSES, THREADS = 8, 8


def build(discount: float = 0.9) -> Curriculum:
    return make(
        "uniform", pool_of(PROMPTS), prompts_per_step=PER_STEP, rollouts_per_step=4 * PER_STEP, discount=discount
    )


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.init(
        num_cpus=16, include_dashboard=False, object_store_memory=200_000_000, log_to_driver=False,
        runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}},
    )  # fmt: skip
    yield
    ray.shutdown()


def rewards_of(group: PlannedGroup, lease: int) -> list[float]:
    """Truth by prompt, lease and index."""
    return (generator(7, group.prompt_id, lease).random(group.num_rollouts) < 0.5).astype(float).tolist()


class Workers:
    """A process of several rollout workers, each a thread, that takes leases and is careless about its reports."""

    def __init__(self, desk: RemoteDesk, name: str, folder: str) -> None:
        self._desk, self._name = desk, name
        self._notes = open(Path(folder) / f"{name}.jsonl", "a", encoding="utf-8")  # noqa: SIM115 - closed by a kill
        self._lock = threading.Lock()
        self._stopped = False
        self._threads: list[threading.Thread] = []

    def start(self) -> int:
        names = [f"{self._name}.{index}" for index in range(THREADS)]
        self._threads = [threading.Thread(target=self._work, args=(name,), daemon=True) for name in names]
        for thread in self._threads:
            thread.start()
        return THREADS

    def stop(self) -> None:
        """Ends when all that was sent is answered."""
        self._stopped = True
        for thread in self._threads:
            thread.join()

    def _work(self, name: str) -> None:
        rng = generator(11, name)
        while not self._stopped:
            work = self._desk.ask(name)
            if work is None:
                time.sleep(0.4)
                continue
            version = max(work.step - int(rng.integers(0, 4)), 0)
            time.sleep(float(rng.exponential(0.05)))
            fate = rng.random()
            if fate < 0.05:
                continue  # never reports
            if fate < 0.1:
                time.sleep(2.5)  # long after its lease ran out
            rewards = rewards_of(work.group, work.lease)
            parts = [rewards] if fate < 0.7 else [rewards[:1], rewards[1:]]
            for part, piece in enumerate(parts):
                report = {"lease": work.lease, "rewards": piece, "part": part, "policy_version": version}
                for _ in range(1 + (fate > 0.9)):  # some repeat themselves
                    with self._lock:
                        self._notes.write(
                            json.dumps({**report, "group": work.group.group_id, "prompt": work.group.prompt_id}) + "\n"
                        )
                        self._notes.flush()
                    self._desk.report(**report)


def test_64_workers_and_kills_lose_nothing_and_count_nothing_twice(tmp_path: Path) -> None:
    folder = str(tmp_path / "desk")
    options: dict[str, Any] = {"max_lag": 2, "max_rollouts": 2, "lease_seconds": 2.0, "snapshot_every": 200}
    desk = curriculum_actor("curriculum", build, folder=folder, **options)
    (tmp_path / "notes").mkdir()
    kind = ray.remote(num_cpus=0.1, max_concurrency=2)(Workers)
    new = partial(kind.remote, RemoteDesk("curriculum"), folder=str(tmp_path / "notes"))
    workers = {f"w{index}": new(name=f"w{index}") for index in range(PROCESSES)}
    assert sum(ray.get([worker.start.remote() for worker in workers.values()])) == 64
    rng = np.random.default_rng(0)
    kills = {"desk": 0, "workers": 0}
    trained: dict[int, tuple[int, ...]] = {}
    version = 0
    while version < STEPS:
        for group in desk.admitted():
            assert group.group_id not in trained
            trained[group.group_id] = group.rollouts
        if len(trained) < PER_STEP * (version + 1) * 0.9:
            time.sleep(0.05)
            continue
        version += 1
        desk.advance(version)
        if version % 4 == 1:
            ray.kill(desk._actor, no_restart=False)
            kills["desk"] += 1
        if version % 3 == 2:
            name = str(rng.choice(sorted(workers)))
            ray.kill(workers.pop(name))
            kills["workers"] += 1
            if kills["workers"] % 2:  # of the others the leases run out
                for index in range(THREADS):
                    desk.lost(f"{name}.{index}")
            workers[name + "x"] = new(name=name + "x")
            ray.get(workers[name + "x"].start.remote())
    ray.get([worker.stop.remote() for worker in workers.values()])
    for worker in workers.values():
        ray.kill(worker)
    assert kills["desk"] >= 3
    assert kills["workers"] >= 3

    notes: dict[tuple[int, int], dict[str, Any]] = {}
    lines = 0
    for path in (tmp_path / "notes").iterdir():
        for line in path.read_text(encoding="utf-8").split("\n")[:-1]:  # what a kill cut off was never sent
            note = json.loads(line)
            notes[note["lease"], note["part"]] = note
            lines += 1
    places: dict[int, list[int]] = defaultdict(list)
    fresh = 0
    for note in notes.values():  # also what a killed worker may or may not have got through
        receipt = desk.report(**{name: note[name] for name in ("lease", "rewards", "part", "policy_version")})
        fresh += not receipt.duplicate
        assert len(receipt.positions) == len(note["rewards"])
        places[note["group"]] += receipt.positions
    metrics = desk.metrics()
    sent = sum(len(note["rewards"]) for note in notes.values())
    assert metrics["rollouts"] == sent
    assert fresh <= THREADS * kills["workers"]
    assert metrics["rollouts_planned"] == sent + metrics["rollouts_in_flight"] + metrics["rollouts_lost"]
    assert all(sorted(where) == list(range(len(where))) for where in places.values())
    assert all(set(rollouts) <= set(places[group]) for group, rollouts in trained.items())
    for what in ("leases_expired", "leases_lost", "reports_late", "reports_duplicate", "lag_max", "outcomes_late"):
        assert metrics[what] > 0, f"{what}: the test did not try it"
    assert lines > len(notes)

    rates = desk.pass_rates()
    loop, outcomes = build(), []
    step = int(max(metrics["policy_version"] + metrics["steps_ahead"], 0))
    planned = {group.group_id: group.num_rollouts for each in range(step + 1) for group in loop.plan(each)}
    for (lease, part), note in notes.items():
        columns = {"part": lease << 8 | part, "policy_version": note["policy_version"]}
        outcomes.append(GroupOutcome(note["group"], note["prompt"], note["rewards"], **columns))
    for group, where in places.items():
        for start in range(planned[group], len(where), planned[group]):  # each time handed out anew, all or a part
            loop.lost(group, min(planned[group], len(where) - start), again=True)
    loop.observe(outcomes)
    assert rates.mean == pytest.approx(loop.pass_rates().mean, abs=1e-12)
    assert rates.evidence == pytest.approx(loop.pass_rates().evidence, abs=1e-9)

    ray.kill(desk._actor)
    again = Dispatcher(build(), folder=folder, **options)
    assert again.metrics() == metrics
    assert np.array_equal(again.pass_rates().mean, rates.mean)


class Unreadable:
    """Arrives where its class can be imported and nothing else of it works."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")

    def __reduce__(self) -> tuple[Any, ...]:
        return _raise, ()


def _raise() -> None:
    raise RuntimeError("not to be read")


def test_a_bad_message_is_its_sender_s_error_and_the_actor_serves_the_others(tmp_path: Path) -> None:
    spec = {"method": "uniform", "ids": list("abcdef"), "prompts_per_step": 2, "rollouts_per_step": 8}
    desk = curriculum_actor("hardened", spec, folder=str(tmp_path), max_lag=0)
    bad, pid = RemoteDesk("hardened"), ray.get(desk._handle().__ray_call__.remote(lambda _: os.getpid()))
    work = desk.ask("w")
    assert work is not None
    before, files = desk.state_dict(), {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    rewards = [1.0] * 4
    calls: list[tuple[str, dict[str, Any]]] = [
        ("report", {"lease": work.lease, "rewards": rewards, "num_tokens": [2**62] * 4}),
        ("report", {"lease": work.lease, "rewards": rewards, "prompt_tokens": 10**400}),
        ("report", {"lease": work.lease, "rewards": [1e308] * 4}),
        ("report", {"lease": work.lease, "rewards": rewards, "part": 2**70}),
        ("report", {"lease": work.lease, "rewards": "1111"}),
        ("report", {"lease": work.lease}),
        ("report", {"lease": work.lease, "rewards": rewards, "colour": "red"}),
        ("report_many", {"reports": [7]}),
        ("ask_many", {"num": 1, "worker": "w", "request": b"bytes"}),
        ("ask_many", {"num": 10**400, "worker": "w"}),
        ("lost", {"worker": "\ud800"}),
        ("advance", {"version": 2**31}),
        ("admitted", {"request": ["r"]}),
        ("load_state_dict", {"state": {}}),
        ("load_state_dict", {"state": {**before, "queue": 7}}),
        ("shutdown", {}),
        ("report", {"lease": Unreadable(), "rewards": rewards}),
        ("report", None),
    ]  # fmt: skip
    for method, given in calls:
        with pytest.raises((ValueError, TypeError, RaySystemError)):
            bad._call(method, **given) if given is not None else ray.get(bad._handle().call.remote(method, given))
        assert same_state(desk.state_dict(), before), method
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files
    assert not desk.report(work.lease, rewards, num_tokens=[5] * 4).duplicate
    assert desk.ask("other") is not None
    assert ray.get(desk._handle().__ray_call__.remote(lambda _: os.getpid())) == pid, "it was never started again"


def test_a_desk_is_found_by_its_name_and_its_copies_do_not_share_requests() -> None:
    spec = {"method": "dapo", "ids": list("abcdef"), "prompts_per_step": 2, "rollouts_per_step": 8}
    desk = curriculum_actor("by-name", spec, max_lag=0)
    other = pickle.loads(pickle.dumps(desk))
    works = [desk.ask("w"), other.ask("w")]
    assert [work.lease for work in works if work] == [0, 1]
    for lease in (0, 1):
        desk.report(lease, [1.0, 0.0, 1.0, 0.0], num_tokens=[3] * 4, policy_version=0)
    assert RemoteDesk("by-name").ask("w") is None
    assert len(other.admitted()) == 2
    state = other.state_dict()
    other.advance(1)
    assert other.ask() is not None
    other.load_state_dict(state)
    assert other.metrics()["leases_out"] == 0
    with pytest.raises(ValueError, match="unknown lease 99"):
        desk.report(99, [1.0])
    with pytest.raises(ValueError, match="has no call 'close'"):
        desk._call("close")


def test_what_cannot_be_built_is_said_in_one_line() -> None:
    sizes = {"prompts_per_step": 2, "rollouts_per_step": 8}
    with pytest.raises(ValueError, match="no 'ids'"):
        curriculum_actor("bad", {"method": "uniform", **sizes})
    with pytest.raises(TypeError, match="max_lug"):
        curriculum_actor("bad", build, max_lug=3)


def test_an_actor_that_keeps_nothing_ends_loudly() -> None:
    desk = curriculum_actor("mortal", build, patience=0.5)

    def go_on() -> None:
        for _ in range(100):  # the kill takes a moment
            assert desk.ask() is not None
            time.sleep(0.1)

    ray.kill(desk._actor, no_restart=False)
    with pytest.raises(ConnectionError, match="'mortal' was not there"):
        go_on()
