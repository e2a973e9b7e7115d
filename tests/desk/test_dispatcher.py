"""The desk: against the synchronous loop, against books kept by hand while everything goes wrong, and against kills."""

import json
import math
import re
import shutil
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from didact import METHODS, Assignment, Curriculum, Dispatcher, GroupOutcome, PlannedGroup, make
from didact.belief import BetaBelief
from didact.journal import Journal, RecordedCurriculum, read_journal
from didact.ledger import Ledger
from didact.report.replay import replay
from didact.seeding import generator
from didact.testing import pool_of
from didact.testing.contract import same_state
from didact.testing.mutations import mutated

WIDE = {"difficulty": np.linspace(0, 100, 40), "prompt_tokens": np.arange(40) + 1, "source": ["a", "b"] * 20}
WIDE["features"] = WIDE["difficulty"]


def uniform(size: int = 40, **options: Any) -> Curriculum:
    return make("uniform", pool_of(size), **{"prompts_per_step": 4, "rollouts_per_step": 16, **options})


def rewards_of(group: PlannedGroup, *key: object) -> list[float]:
    """Truth by key: what any repetition of these rollouts gives."""
    return (generator(7, group.prompt_id, *key).random(group.num_rollouts) < 0.5).astype(float).tolist()


def work_off(desk: Dispatcher, **columns: Any) -> list[Assignment]:
    """Everything that may be handed out now, asked for and reported by one worker."""
    done = []
    while work := desk.ask():
        desk.report(work.lease, rewards_of(work.group, work.lease), **columns)
        done.append(work)
    return done


@pytest.fixture
def clock() -> "Clock":
    return Clock()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


# Nothing goes wrong: the desk is the loop -----------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_without_lag_the_desk_is_the_synchronous_loop(method: str) -> None:
    def new() -> Curriculum:
        return make(method, pool_of(40, **WIDE), prompts_per_step=4, rollouts_per_step=32, discount=0.9)

    def rolled(group: PlannedGroup, made: Counter[int]) -> list[float]:
        made[group.group_id] += 1
        return rewards_of(group, group.group_id, made[group.group_id])

    loop, desk = new(), Dispatcher(new(), max_lag=0)
    made: dict[str, Counter[int]] = {"loop": Counter(), "desk": Counter()}
    for step in range(6):
        while plan := loop.plan(step):
            loop.observe([GroupOutcome(g.group_id, g.prompt_id, rolled(g, made["loop"])) for g in plan])
        while work := desk.ask():
            assert work.step == step
            desk.report(work.lease, rolled(work.group, made["desk"]))
        assert desk.admitted() == loop.admitted(step)
        assert desk.admitted() == []
        desk.advance(step + 1)
    assert np.array_equal(desk.pass_rates().mean, loop.pass_rates().mean)
    assert np.array_equal(desk.pass_rates().evidence, loop.pass_rates().evidence)
    metrics = desk.metrics()
    assert metrics["rollouts"] == metrics["rollouts_planned"] == loop.metrics()["rollouts"]
    assert (metrics["lag_max"], metrics["rollouts_in_flight"], metrics["leases_out"]) == (0, 0, 0)


def test_what_a_group_counts_in_the_loss_is_handed_over_and_saved_with_the_answer() -> None:
    def new() -> Dispatcher:
        sizes = {"prompts_per_step": 4, "rollouts_per_step": 32, "seed": 1}
        return Dispatcher(make("cures", pool_of(6), with_replacement=True, **sizes))

    desk, again = new(), new()
    while work := desk.ask():
        desk.report(work.lease, [1.0, 0.0] * (work.group.num_rollouts // 2) + [1.0] * (work.group.num_rollouts % 2))
    groups = desk.admitted(request="once")
    assert max(group.weight for group in groups) > 1
    again.load_state_dict(desk.state_dict())
    assert again.admitted(request="once") == groups


def test_plans_run_ahead_of_the_policy_by_max_lag_and_no_further() -> None:
    desk = Dispatcher(uniform(), max_lag=2)
    steps = [work.step for work in work_off(desk)]
    assert steps == [0] * 4 + [1] * 4 + [2] * 4
    assert desk.ask() is None
    desk.advance(1)
    assert {work.step for work in work_off(desk, policy_version=0)} == {3}
    desk.advance(6)  # a trainer that took several steps at once: those between are left out
    assert {work.step for work in work_off(desk)} == {6, 7, 8}
    metrics = desk.metrics()
    assert (metrics["steps_ahead"], metrics["policy_version"], metrics["lag_max"]) == (2, 6, 1)
    assert len(desk.admitted()) == 4 * 7


def test_leases_are_shares_of_a_group_and_a_group_trains_when_all_are_back() -> None:
    desk = Dispatcher(uniform(rollouts_per_step=40), max_lag=0, max_rollouts=4)
    works = desk.ask_many(100)
    assert Counter(work.group.group_id for work in works) == {0: 3, 1: 3, 2: 3, 3: 3}
    assert {work.group.num_rollouts for work in works} == {3, 4}
    for work in works[:2]:
        desk.report(work.lease, [1.0] * work.group.num_rollouts)
    assert desk.admitted() == []
    receipt = desk.report(works[2].lease, [0.0] * works[2].group.num_rollouts)
    assert receipt.positions == range(6, 10)
    assert [(group.group_id, group.rollouts) for group in desk.admitted()] == [(0, tuple(range(10)))]


def test_a_further_round_waits_for_its_quorum_and_only_where_it_needs_to() -> None:
    dapo = {"prompts_per_step": 4, "rollouts_per_step": 16}
    for quorum, enough in ((1.0, 4), (0.5, 2)):
        desk = Dispatcher(make("dapo", pool_of(40), **dapo), max_lag=3, quorum=quorum)
        works = desk.ask_many(100)
        assert len(works) == 4, "the second round depends on the first"
        for index, work in enumerate(works):
            assert (desk.ask() is None) == (index < enough)
            desk.report(work.lease, [1.0] * 4)
    desk = Dispatcher(make("cures", pool_of(40), steps_per_iteration=5, **dapo), max_lag=3)
    works = desk.ask_many(100)
    assert [work.group.reason for work in works] == ["pilot"] * 20, "pilots of several plans wait for nothing"
    desk.lost("worker")
    assert {work.lease for work in desk.ask_many(100)} == set(range(20, 40))
    for lease in range(19):
        desk.report(lease, [1.0, 0.0, 1.0, 0.0])
    assert desk.ask() is None
    desk.report(39, [1.0, 0.0, 1.0, 0.0])
    assert {work.group.reason for work in desk.ask_many(100)} == {"train"}, "later steps follow at once"


# Late, lost, partial, repeated ----------------------------------------------------------------------------------------


def test_a_lease_that_runs_out_is_handed_out_again_and_counts_if_it_comes_after_all(clock: Clock) -> None:
    desk = Dispatcher(uniform(), max_lag=0, lease_seconds=60, clock=clock)
    slow, *others = desk.ask_many(4, "a")
    for work in others:
        desk.report(work.lease, [1.0] * 4)
    assert desk.ask("b") is None
    clock.now += 60
    again = desk.ask("b")
    assert again is not None
    assert (again.group, again.lease) == (slow.group, 4)
    assert desk.metrics()["rollouts_lost"] == 4
    assert desk.metrics()["rollouts_planned"] == 20
    late = desk.report(slow.lease, [1.0, 0.0, 1.0, 0.0])
    assert late.positions == range(0, 4)
    assert len(desk.admitted()) == 4, "the group has what it was planned with"
    assert desk.report(again.lease, [0.0] * 4).positions == range(4, 8)
    metrics = desk.metrics()
    assert (metrics["rollouts"], metrics["rollouts_lost"], metrics["rollouts_discarded"]) == (20, 0, 4)
    assert (metrics["leases_expired"], metrics["reports_late"]) == (1, 1)
    where = desk.curriculum.pool.positions([slow.group.prompt_id])
    assert desk.pass_rates().mean[where] == pytest.approx((2 + 1) / (8 + 2)), "all eight are believed"


def test_rollouts_of_groups_that_are_not_open_may_be_dropped() -> None:
    desk = Dispatcher(make("dapo", pool_of(40), prompts_per_step=2, rollouts_per_step=8, max_rounds=1), max_lag=1)
    silent, mixed = desk.ask_many(2)
    assert desk.open_groups() == [0, 1]
    desk.report(silent.lease, [1.0] * 4)
    desk.report(mixed.lease, [1.0, 0.0, 1.0, 0.0])
    assert desk.ask() is not None
    assert desk.open_groups() == [1, 2, 3], "discarded, to be fetched, in flight, queued"
    assert [group.group_id for group in desk.admitted()] == [1]
    assert desk.open_groups() == [2, 3]


def test_a_partial_report_starts_the_lease_anew(clock: Clock) -> None:
    desk = Dispatcher(uniform(), max_lag=0, lease_seconds=60, clock=clock)
    works = desk.ask_many(4, "a", request="r")
    clock.now += 40
    desk.report(works[0].lease, [1.0])
    clock.now += 40
    again = desk.ask_many(4, "b")
    assert [work.group for work in again] == [work.group for work in works[1:]]
    assert [work.lease for work in desk.ask_many(4, "a", request="r")] == [works[0].lease]
    clock.now += 40
    fresh = desk.ask("a", request="r")
    assert fresh is not None
    assert fresh.lease > again[-1].lease, "a lease that ran out is not given again"


def test_what_was_given_up_does_not_count_as_back_twice() -> None:
    dapo = make("dapo", pool_of(40), prompts_per_step=2, rollouts_per_step=8)
    desk = Dispatcher(dapo, max_rollouts=2, max_attempts=1)
    dead, *works = [desk.ask("dies"), *desk.ask_many(100, "lives")]
    desk.lost("dies")
    desk.report(dead.lease, [1.0, 1.0])  # type: ignore[union-attr]
    assert len(works) == 3
    for work in works[1:]:
        desk.report(work.lease, [1.0, 1.0])
    assert desk.ask() is None, "the other half of the first group is still out"
    desk.report(works[0].lease, [1.0, 1.0])
    assert desk.ask() is not None


def test_a_group_waits_for_what_is_made_in_place_of_lost_rollouts() -> None:
    desk = Dispatcher(uniform(), max_lag=0, max_rollouts=2)
    lost, other = desk.ask("dies"), desk.ask("lives")
    desk.lost("dies")
    again = desk.ask("lives")
    desk.report(other.lease, [1.0, 0.0])  # type: ignore[union-attr]
    assert lost.group == again.group == other.group  # type: ignore[union-attr]
    assert desk.admitted() == []
    desk.report(again.lease, [1.0, 0.0])  # type: ignore[union-attr]
    assert [group.rollouts for group in desk.admitted()] == [(0, 1, 2, 3)]


def test_a_late_report_takes_its_work_out_of_the_queue(clock: Clock) -> None:
    desk = Dispatcher(uniform(), max_lag=0, lease_seconds=60, clock=clock)
    works = desk.ask_many(4, "a")
    desk.lost("a")
    desk.report(works[0].lease, [1.0] * 4)
    desk.report(works[1].lease, [1.0] * 3)
    again = desk.ask_many(9, "b")
    assert [(work.group.group_id, work.group.num_rollouts) for work in again] == [(1, 1), (2, 4), (3, 4)]
    assert desk.metrics()["rollouts_lost"] == 9


def test_work_that_kills_its_workers_is_given_up(clock: Clock) -> None:
    desk = Dispatcher(uniform(), max_lag=0, max_attempts=2)
    poison, *others = desk.ask_many(4, "a")
    for work in others:
        desk.report(work.lease, [1.0, 0.0, 1.0, 0.0])
    desk.lost("a")
    assert desk.ask("b").group == poison.group  # type: ignore[union-attr]
    assert desk.lost("b") == 4
    assert desk.ask("c") is None
    assert len(desk.admitted()) == 3
    metrics = desk.metrics()
    assert (metrics["leases_abandoned"], metrics["rollouts_lost"], metrics["rollouts_in_flight"]) == (1, 8, 0)
    desk.report(poison.lease, [1.0] * 4)
    assert [group.group_id for group in desk.admitted()] == [poison.group.group_id], "it trains after all"


def test_lost_leases_do_not_stay_for_ever() -> None:
    desk = Dispatcher(uniform(), max_lag=0, max_attempts=1)
    for version in range(300):
        desk.ask_many(2, "dies")
        desk.lost("dies")
        work_off(desk)
        desk.admitted()
        desk.advance(version + 1)
    state = desk.state_dict()
    assert len(state["leases"]) <= 2 * 102
    assert len(state["curriculum"]["ledger"]["group_id"]) <= 2 * 104
    assert desk.report(0, [1.0] * 4).duplicate
    metrics = desk.metrics()
    assert metrics["rollouts_planned"] == metrics["rollouts"] + metrics["rollouts_lost"] == 300 * 16


def test_a_lease_may_be_reported_in_parts_and_each_part_counts_once() -> None:
    desk = Dispatcher(uniform(), max_lag=0)
    work = desk.ask()
    assert work is not None
    first = desk.report(work.lease, [1.0, 1.0], part=0)
    assert desk.report(work.lease, [1.0, 1.0], part=0) == replace(first, duplicate=True)
    with pytest.raises(ValueError, match=r"part 0 of lease 0 .* 2 rewards before and has 1 now"):
        desk.report(work.lease, [0.0], part=0)
    second = desk.report(work.lease, [0.0, None], part=1)
    assert (first.positions, second.positions) == (range(0, 2), range(2, 4))
    assert desk.report(work.lease, [0.0, None], part=1) == replace(second, duplicate=True)
    metrics = desk.metrics()
    assert (metrics["rollouts"], metrics["rollouts_errored"], metrics["reports_duplicate"]) == (4, 1, 2)


def test_asking_twice_with_one_request_gives_one_lease() -> None:
    desk = Dispatcher(uniform(), max_lag=0)
    first = desk.ask("a", request="r1")
    assert desk.ask("a", request="r1") == first
    assert desk.ask("b", request="r1") != first
    assert desk.ask("a", request="r2") != first
    work_off(desk)
    for lease in range(3):
        desk.report(lease, [1.0] * 4)
    groups = desk.admitted(request="t1")
    assert len(groups) == 4
    assert desk.admitted(request="t1") == groups
    assert desk.admitted(request="t2") == []


def test_errors_name_what_was_given() -> None:
    desk = Dispatcher(uniform(), max_lag=0)
    work = desk.ask()
    assert work is not None
    before = desk.state_dict()
    for lease, rewards, words in [
        (1, [1.0], "unknown lease 1: leases so far are the whole numbers below 1"),
        ("0", [1.0], "unknown lease '0'"),
        (0, [1.0] * 5, "5 rewards, and 4 of its 4 rollouts are out"),
        (0, [], "0 rewards"),
    ]:
        with pytest.raises(ValueError, match=words):
            desk.report(lease, rewards)  # type: ignore[arg-type]
    for column in ({"truncated": [True]}, {"policy_version": -1}, {"policy_version": "new"}, {"part": -1}):
        with pytest.raises(ValueError, match=next(iter(column))):
            desk.report(0, [1.0] * 4, **column)
    assert same_state(before, desk.state_dict())
    desk.advance(3)
    with pytest.raises(ValueError, match="do not go back: 2 after 3"):
        desk.advance(2)


def test_every_figure_of_the_desk_is_explained_and_no_other() -> None:
    text = (Path(__file__).parents[2] / "docs" / "asynchronous.md").read_text(encoding="utf-8")
    own = set(Dispatcher(uniform()).metrics()) - set(uniform().metrics())
    assert set(re.findall(r"^\| `(\w+)` \| \w+ \| (?:now|run)", text, re.M)) == own


@pytest.mark.parametrize(
    "option",
    [
        {"max_lag": -1},
        {"max_lag": 0.5},
        {"quorum": 0},
        {"quorum": 1.1},
        {"max_rollouts": 0},
        {"lease_seconds": 0},
        {"max_attempts": 0},
        {"snapshot_every": 0},
    ],
)
def test_options_out_of_range(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        Dispatcher(uniform(), **option)


# Everything goes wrong at once ----------------------------------------------------------------------------------------


class Desk(RuleBasedStateMachine):
    """Workers that ask, report late, in parts, twice or never, die and are mourned too early; books kept by hand."""

    @initialize(
        method=st.sampled_from(["uniform", "dapo", "hora", "reinforce_ada", "cures", "speed", "didact"]),
        memory=st.sampled_from([{}, {"discount": 0.7}, {"window": 2}]),
        max_lag=st.integers(0, 2),
        max_rollouts=st.sampled_from([None, 3]),
        quorum=st.sampled_from([0.5, 1.0]),
    )
    def start(self, method: str, memory: dict, max_lag: int, max_rollouts: int | None, quorum: float) -> None:
        own = {"reset": False} if method == "cures" else {}  # what a reset forgets is no function of the outcomes alone
        self.build = lambda: make(method, pool_of(12), prompts_per_step=3, rollouts_per_step=18, **memory, **own)
        self.memory = memory
        self.options = {"max_lag": max_lag, "max_rollouts": max_rollouts, "quorum": quorum, "max_attempts": 3}
        self.clock = Clock()
        self.desk = self.new()
        self.leases: dict[int, Assignment] = {}  # all that was ever handed out
        self.sent: dict[int, list[list[float]]] = defaultdict(list)  # parts reported, by lease
        self.taken: list[tuple[str, int, list[float]]] = []  # prompt, version, rewards of all that was acknowledged
        self.places: dict[int, set[int]] = defaultdict(set)
        self.trained: set[int] = set()
        self.version = 0

    def new(self) -> Dispatcher:
        return Dispatcher(self.build(), lease_seconds=50, clock=self.clock, **self.options)

    @rule(worker=st.sampled_from("abc"), num=st.integers(1, 4))
    def ask(self, worker: str, num: int) -> None:
        for work in self.desk.ask_many(num, worker):
            assert work.lease not in self.leases
            assert work.step <= self.version + self.options["max_lag"]
            self.leases[work.lease] = work

    @rule(data=st.data(), share=st.integers(1, 6), lag=st.integers(0, 2))
    def report(self, data: st.DataObject, share: int, lag: int) -> None:
        open_ = [n for n, work in self.leases.items() if sum(map(len, self.sent[n])) < work.group.num_rollouts]
        if not open_:
            return
        number = data.draw(st.sampled_from(open_))
        work, parts = self.leases[number], self.sent[number]
        truth = rewards_of(work.group, number)[sum(map(len, parts)) :][: share * 2]
        version = max(self.version - lag, 0)
        receipt = self.desk.report(number, truth, part=len(parts), policy_version=version)
        assert (receipt.duplicate, len(receipt.positions)) == (False, len(truth))
        parts.append(truth)
        self.taken.append((work.group.prompt_id, version, truth))
        assert not self.places[work.group.group_id] & set(receipt.positions)
        self.places[work.group.group_id] |= set(receipt.positions)

    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        sent = [number for number, parts in self.sent.items() if parts]
        if sent:
            number = data.draw(st.sampled_from(sent))
            part = data.draw(st.integers(0, len(self.sent[number]) - 1))
            receipt = self.desk.report(number, self.sent[number][part], part=part, policy_version=self.version)
            assert receipt.duplicate
            assert set(receipt.positions) <= self.places[self.leases[number].group.group_id]

    @rule(worker=st.sampled_from("abc"))
    def bury(self, worker: str) -> None:
        self.desk.lost(worker)

    @rule(seconds=st.sampled_from([20.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def train(self) -> None:
        for group in self.desk.admitted():
            assert group.group_id not in self.trained
            assert set(group.rollouts) <= self.places[group.group_id]
            self.trained.add(group.group_id)
        self.version += 1
        self.desk.advance(self.version)

    @rule()
    def save_and_load(self) -> None:
        state = self.desk.state_dict()
        self.desk = self.new()
        self.desk.load_state_dict(state)
        assert same_state(state, self.desk.state_dict())

    @invariant()
    def the_books_are_right(self) -> None:
        if not hasattr(self, "desk"):
            return
        metrics = self.desk.metrics()
        assert metrics["rollouts"] == sum(len(rewards) for *_, rewards in self.taken)
        assert metrics["rollouts_planned"] == (
            metrics["rollouts"] + metrics["rollouts_in_flight"] + metrics["rollouts_lost"]
        )
        assert metrics["rollouts_missing"] <= metrics["rollouts_in_flight"]
        step = max(self.desk.curriculum.step, 0)
        belief = BetaBelief(12, **self.memory, prior=self.desk.curriculum.belief.prior)
        ids = self.desk.curriculum.pool.ids.tolist()
        for prompt, version, rewards in sorted(self.taken, key=lambda each: each[1]):  # as if none had been late
            belief.observe(
                np.array([ids.index(prompt)]), np.array([len(rewards)]), np.array(rewards), step=step,
                versions=np.array([version]),
            )  # fmt: skip
        assert self.desk.curriculum.belief.mean(step=step) == pytest.approx(belief.mean(step=step), abs=1e-9)
        assert self.desk.curriculum.belief.evidence(step=step) == pytest.approx(belief.evidence(step=step), abs=1e-9)


TestDesk = Desk.TestCase
TestDesk.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_many_threads_lose_nothing_and_count_nothing_twice() -> None:
    desk = Dispatcher(uniform(400, prompts_per_step=8, rollouts_per_step=32), max_lag=4, lease_seconds=None)
    taken: list[int] = []
    trained: list[int] = []
    enough = threading.Event()

    def worker(name: str) -> None:
        rng = generator(1, name)
        while not enough.is_set():
            if (work := desk.ask(name)) is None:
                continue
            if rng.random() < 0.1:
                desk.lost(name)
            rewards = rewards_of(work.group, work.lease)
            for _ in range(1 + (rng.random() < 0.3)):
                receipt = desk.report(work.lease, rewards)
                if not receipt.duplicate:
                    taken.append(len(rewards))

    threads = [threading.Thread(target=worker, args=(f"w{index}",)) for index in range(16)]
    for thread in threads:
        thread.start()
    while desk.version < 20:
        trained += [group.group_id for group in desk.admitted()]
        if len(trained) >= 8 * (desk.version + 1):
            desk.advance(desk.version + 1)
    enough.set()
    for thread in threads:
        thread.join()
    metrics = desk.metrics()
    assert metrics["rollouts"] == sum(taken)
    assert metrics["rollouts_planned"] == sum(taken) + metrics["rollouts_in_flight"] + metrics["rollouts_lost"]
    assert len(set(trained)) == len(trained)


# Kills ----------------------------------------------------------------------------------------------------------------


def busy(desk: Dispatcher, clock: Clock, calls: int, first: int = 0) -> None:
    """Calls that depend on nothing but their number and the desk."""
    for call in range(first, first + calls):
        rng = generator(3, call)
        clock.now += float(rng.integers(0, 20))
        kind = rng.choice(["ask", "ask", "report", "report", "report", "lost", "advance", "admitted"])
        if kind == "ask":
            desk.ask_many(int(rng.integers(1, 4)), f"w{rng.integers(4)}", request=f"r{call}")
        elif kind == "report":
            leases = [row for row in desk.state_dict()["leases"] if row["status"] != "abandoned"]
            if leases:
                row = leases[int(rng.integers(len(leases)))]
                num = int(rng.integers(1, row["group"][2] - row["done"] + 1))
                values = (rng.random(num) < 0.5).astype(float).tolist()
                desk.report(row["number"], [*values[:-1], math.nan], num_tokens=[5] * num, part=call % 1000)
        elif kind == "lost":
            desk.lost(f"w{rng.integers(4)}")
        elif kind == "advance":
            desk.advance(desk.version + 1)
        else:
            desk.admitted(request=f"t{call}")


def durable(folder: Path, clock: Clock, recorded: Path | None = None) -> Dispatcher:
    sizes = {"prompts_per_step": 3, "rollouts_per_step": 12, "discount": 0.9}
    if recorded is None:
        curriculum: Any = make("dapo", pool_of(30), **sizes)
    else:  # one round: something is admitted before long
        curriculum = RecordedCurriculum(make("mopps", pool_of(30), **sizes), Journal(recorded / "journal.jsonl"))
    return Dispatcher(
        curriculum, max_lag=2, max_rollouts=3, lease_seconds=30, clock=clock, folder=folder, snapshot_every=25
    )


def test_the_folder_gives_the_state_before_the_kill_after_every_call(tmp_path: Path, clock: Clock) -> None:
    desk = durable(tmp_path / "desk", clock)
    for call in range(120):
        busy(desk, clock, 1, call)
        shutil.copytree(tmp_path / "desk", tmp_path / "copy")
        again = durable(tmp_path / "copy", clock)
        assert same_state(desk.state_dict(), again.state_dict())
        again.close()
        shutil.rmtree(tmp_path / "copy")
    assert desk.metrics()["rollouts"] > 40
    assert desk.metrics()["leases_expired"] > 0


def test_a_run_that_is_killed_and_reopened_writes_the_same_journal(tmp_path: Path, clock: Clock) -> None:
    for name, kills in (("whole", ()), ("killed", (10, 33, 34, 77))):
        (tmp_path / name).mkdir()
        desk, clock.now = durable(tmp_path / name / "desk", clock, tmp_path / name), 1000.0
        for call in range(100):
            if call in kills:
                desk._log.close()  # type: ignore[union-attr]
                desk.curriculum.listener.close()
                desk = durable(tmp_path / name / "desk", clock, tmp_path / name)
            busy(desk, clock, 1, call)
        desk.close()
    journals = [(tmp_path / name / "journal.jsonl").read_bytes() for name in ("whole", "killed")]
    assert journals[0] == journals[1]
    kinds = {record["kind"] for record in read_journal(tmp_path / "whole" / "journal.jsonl")}
    assert kinds == {"start", "plan", "outcomes", "admitted", "lost", "found"}
    rows = "".join(json.dumps({"prompt_id": prompt}) + "\n" for prompt in pool_of(30).ids)
    (tmp_path / "whole" / "prompts.jsonl").write_text(rows, encoding="utf-8")
    assert replay(tmp_path / "whole")["first_difference"] is None


def test_the_calls_cut_off_at_any_byte_give_the_state_before_or_after_a_call(tmp_path: Path, clock: Clock) -> None:
    desk = durable(tmp_path / "desk", clock)
    states = [desk.state_dict()]
    for call in range(12):
        busy(desk, clock, 1, call)
        states.append(desk.state_dict())
    log = next((tmp_path / "desk").glob("calls-*.jsonl"))
    data = log.read_bytes()
    for end in range(data.index(b"\n") + 1, len(data) + 1, 41):  # a kill leaves the first record whole
        shutil.copytree(tmp_path / "desk", tmp_path / "copy")
        (tmp_path / "copy" / log.name).write_bytes(data[:end])
        again = durable(tmp_path / "copy", clock)
        assert any(same_state(state, again.state_dict()) for state in states)
        again.close()
        shutil.rmtree(tmp_path / "copy")


@pytest.mark.parametrize(("before", "after"), [(0, 1), (1, 0)])
def test_other_options_hold_from_the_reopening_on(tmp_path: Path, clock: Clock, before: int, after: int) -> None:
    def reopened(desk: Dispatcher, max_lag: int) -> Dispatcher:
        desk._log.close()  # type: ignore[union-attr]  # as a kill would
        return Dispatcher(uniform(), max_lag=max_lag, folder=tmp_path, clock=clock)

    desk = Dispatcher(uniform(), max_lag=before, folder=tmp_path, clock=clock)
    assert len(desk.ask_many(100)) == 4 * (before + 1)
    desk = reopened(desk, after)
    assert len(desk.ask_many(100)) == 4 * max(after - before, 0)
    state = desk.state_dict()
    desk = reopened(desk, after)
    assert same_state(state, desk.state_dict())
    desk.close()


def test_a_folder_of_another_curriculum_is_refused_and_a_folder_in_use_too(tmp_path: Path, clock: Clock) -> None:
    Dispatcher(uniform(), folder=tmp_path / "a", clock=clock).close()
    with pytest.raises(ValueError, match="seed"):
        Dispatcher(uniform(seed=1), folder=tmp_path / "a", clock=clock)
    Dispatcher(uniform(), folder=tmp_path / "a", clock=clock).close()
    owner = Dispatcher(uniform(), folder=tmp_path / "a", clock=clock)
    code = (
        "import sys, pathlib; from didact.desk.call_log import CallLog; CallLog(pathlib.Path(sys.argv[1]), seconds=0)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a"], capture_output=True, text=True)
    assert f"ValueError: another process is working on {tmp_path / 'a'}" in done.stderr
    owner.close()
    with pytest.raises(RuntimeError, match="it was closed"):
        owner.ask()


# A call is refused before it changes anything, or done ----------------------------------------------------------------

HUGE = 10**400
DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]

BAD: dict[str, list[dict[str, Any]]] = {
    "ask": [{"worker": value} for value in (b"w", 7, None, "", "w" * 257, "\ud800", HUGE, DEEP)]
    + [{"request": value} for value in (b"r", 7, "", "r" * 257, "\udfff", HUGE, DEEP)],
    "ask_many": [{"num": value} for value in (-1, 1.0, "1", None, True, 2**31, HUGE, 10**5000, math.nan, DEEP)],
    "lost": [{"worker": value} for value in (b"w", 7, None, "", "w" * 257, "\ud800")],
    "advance": [{"version": value} for value in (-1, 1.5, "1", None, True, 2**31, 2**31 - 1, 2**63, HUGE, 10**5000)],
    "admitted": [{"request": value} for value in (b"r", 7, "", "r" * 257, "\ud800", DEEP)],
    "report": [{"lease": value} for value in (-1, 99, 0.0, "0", None, True, 2**63, HUGE, 10**5000, DEEP)]
    + [{"rewards": value} for value in ([], [1.0] * 5, None, 1.0, ["a"] * 4, [[1.0]] * 4, DEEP)]
    + [{"part": value} for value in (-1, 65536, 0.5, "0", None, True, HUGE, DEEP)]
    + [{"num_tokens": value} for value in ([1], [-1] * 4, ["a"] * 4, 1, [math.nan] * 4, DEEP)]
    + [{"truncated": value} for value in ([True], 1)]
    + [{"errored": value} for value in ([True], 1)]
    + [{"policy_version": value} for value in (-1, 0.5, "0", True, 2**31, HUGE, DEEP)],
}


@pytest.mark.parametrize("call", BAD)
def test_a_refused_call_leaves_no_trace(tmp_path: Path, clock: Clock, call: str) -> None:
    desk = Dispatcher(uniform(), folder=tmp_path, clock=clock)
    desk.ask_many(2, "w", request="r")
    before, data = desk.state_dict(), contents(tmp_path)
    good: dict[str, Any] = {"report": {"lease": 0, "rewards": [1.0] * 4}, "ask_many": {"num": 1}}.get(call, {})
    for bad in BAD[call]:
        with pytest.raises((ValueError, TypeError)) as refused:
            getattr(desk, call)(**{**good, **bad})
        assert "half-way" not in str(refused.value)
        assert same_state(before, desk.state_dict()), bad
        assert contents(tmp_path) == data, bad
    with pytest.raises(TypeError):
        getattr(desk, call)(nonsense=1)
    assert len(desk.ask_many(9)) == 6, "it goes on, for everybody"
    desk.report(0, [1.0] * 4)
    state = desk.state_dict()
    desk.close()
    assert same_state(state, Dispatcher(uniform(), folder=tmp_path, clock=clock).state_dict())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    "columns",
    [
        {"num_tokens": [2**62] * 4},
        {"num_tokens": [HUGE] * 4},
        {"num_tokens": [math.inf] * 4},
        {"prompt_tokens": HUGE},
        {"prompt_tokens": "many"},
        {"rewards": [1e308] * 4},
        {"rewards": [HUGE] * 4},
    ],
)
def test_numbers_that_no_sum_can_hold_do_not_stop_the_desk(tmp_path: Path, clock: Clock, columns: dict) -> None:
    desk = Dispatcher(uniform(), folder=tmp_path, clock=clock)
    desk.ask_many(2)
    before, data = desk.state_dict(), contents(tmp_path)
    with pytest.raises((ValueError, TypeError)):
        desk.report(**{"lease": 0, "rewards": [1.0] * 4, **columns})
    assert same_state(before, desk.state_dict())
    assert contents(tmp_path) == data
    assert not desk.report(0, [1.0] * 4, num_tokens=[2**20] * 4, prompt_tokens=2**20).duplicate


def test_the_newest_version_there_may_be_is_planned_for(tmp_path: Path, clock: Clock) -> None:
    desk = Dispatcher(uniform(discount=0.9), max_lag=3, folder=tmp_path, clock=clock)
    last = 2**31 - 1
    with pytest.raises(ValueError, match=f"version must be a whole number from 0 to {last - 3}, got {last - 2}"):
        desk.advance(last - 2)
    desk.advance(last - 3)
    works = work_off(desk, policy_version=last - 3)
    assert {work.step for work in works} == {last - 3, last - 2, last - 1, last}
    assert len(desk.admitted()) == 16
    state = desk.state_dict()
    desk.close()
    assert same_state(state, Dispatcher(uniform(discount=0.9), max_lag=3, folder=tmp_path, clock=clock).state_dict())


def test_of_many_reports_those_before_a_bad_one_are_taken_and_may_be_sent_again() -> None:
    desk = Dispatcher(uniform())
    works = desk.ask_many(4)
    good = [{"lease": work.lease, "rewards": [1.0, 0.0, 1.0, 0.0]} for work in works]
    for bad, kind in (({"lease": 99, "rewards": [1.0]}, ValueError), ({"lease": 2}, TypeError), (7, TypeError)):
        with pytest.raises(kind, match=r"\(not report 2 of the list, and none after it, was taken\)"):
            desk.report_many([*good[:2], bad, *good[2:]])  # type: ignore[list-item]
        assert desk.metrics()["rollouts"] == 8
    assert [receipt.duplicate for receipt in desk.report_many(good)] == [True, True, False, False]
    assert desk.metrics()["rollouts"] == 16


@pytest.mark.parametrize("recorded", [False, True])
def test_a_full_disk_undoes_the_call_and_the_desk_goes_on_when_there_is_room(
    tmp_path: Path, clock: Clock, recorded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()
    desk = durable(tmp_path / "desk", clock, tmp_path / "run" if recorded else None)
    append = Journal.append
    room = 0

    def full(self: Journal, record: Any) -> None:
        nonlocal room
        room -= 1
        if room < 0:
            raise OSError("no space left")
        append(self, record)

    undone = 0
    for call in range(150):
        before, held = desk.state_dict(), contents(tmp_path / "desk")
        room = call % 3
        with monkeypatch.context() as patch:
            patch.setattr(Journal, "append", full)
            try:
                busy(desk, clock, 1, call)
            except OSError:
                undone += 1
        if room < 0:
            assert same_state(before, desk.state_dict())
            assert contents(tmp_path / "desk") == held
            busy(desk, clock, 1, call)
    assert undone > 20
    state = desk.state_dict()
    desk._log.close()  # type: ignore[union-attr]
    if recorded:
        desk.curriculum.listener.close()
    again = durable(tmp_path / "desk", clock, tmp_path / "run" if recorded else None)
    assert same_state(state, again.state_dict())


def test_a_desk_that_cannot_be_undone_says_so_until_it_can(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, bare = Dispatcher(uniform(), folder=tmp_path, clock=clock), Dispatcher(uniform())
    state = desk.state_dict()

    def fails(*_: object, **__: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "open", fails)
        for each in (desk, bare):
            with pytest.raises(OSError, match="no space"):
                each.ask()
        patch.setattr("didact.desk.call_log.read_journal", fails)
        for call in (desk.ask, desk.admitted, desk.state_dict, desk.metrics, desk.pass_rates, desk.open_groups):
            with pytest.raises(
                RuntimeError, match="ask failed half-way with OSError: no space left; that could not be"
            ):
                call()
    assert same_state(state, desk.state_dict())
    with pytest.raises(RuntimeError, match="load an earlier state, or give it a folder"):
        bare.ask()
    bare.load_state_dict(state)
    assert bare.ask() == desk.ask()
    desk.close()
    desk.close()
    with pytest.raises(RuntimeError, match="it was closed"):
        desk.load_state_dict(state)


def test_a_snapshot_that_fails_costs_nothing(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError("no space left")

    desk = durable(tmp_path / "desk", clock)
    with monkeypatch.context() as patch:
        for place in ("didact.desk.call_log.save_state", "didact.files.write_whole"):
            patch.setattr(place, fails)
            with pytest.warns(UserWarning, match=r"no snapshot in .* \(no space left\); its calls are kept"):
                busy(desk, clock, 60)
            patch.undo()
    state = desk.state_dict()
    with monkeypatch.context() as patch:
        patch.setattr("didact.desk.call_log.save_state", fails)
        with pytest.warns(UserWarning, match="no snapshot"):
            desk.close()
    assert same_state(state, durable(tmp_path / "desk", clock).state_dict())


@pytest.mark.parametrize("key", [*Dispatcher(uniform()).state_dict()])
def test_a_state_that_is_refused_changes_nothing(tmp_path: Path, clock: Clock, key: str) -> None:
    desk = Dispatcher(uniform(), folder=tmp_path, clock=clock)
    desk.ask_many(2, "lost")
    desk.lost("lost")
    desk.ask_many(1)
    before, data = desk.state_dict(), contents(tmp_path)
    lacking = {name: value for name, value in before.items() if name != key}
    wrong = [] if key == "options" else [{**before, key: value} for value in ("x", [1])]  # its own options stay
    wrong += [{**before, "queue": []}, {**before, "leases": before["leases"] * 2}, {**before, "next_lease": 2}]
    for state in [lacking, *wrong]:
        with pytest.raises((ValueError, TypeError)):
            desk.load_state_dict(state)
        assert same_state(before, desk.state_dict())
        assert contents(tmp_path) == data


def test_leases_of_a_time_that_was_undone_are_void() -> None:
    desk = Dispatcher(uniform(), max_lag=0)
    state = desk.state_dict()
    stale = desk.ask_many(4)
    desk.load_state_dict(state)
    fresh = desk.ask_many(4)
    assert {work.lease for work in fresh}.isdisjoint(work.lease for work in stale)
    assert desk.report(stale[0].lease, [1.0] * 4).duplicate
    assert desk.metrics()["rollouts"] == 0
    with pytest.raises(ValueError, match="no state of a dispatcher"):
        desk.load_state_dict(uniform().state_dict())


def test_a_mutated_state_of_a_desk_is_refused_or_says_the_same(clock: Clock) -> None:
    """Leases that are out, queued again, lost and closed."""

    def desk(steps: int) -> Dispatcher:
        desk = Dispatcher(uniform(), max_lag=2, max_rollouts=2, clock=clock)
        for number in range(steps):
            work = desk.ask_many(5, f"worker-{number % 2}", request=str(number))
            for each in work[:3]:
                desk.report(each.lease, [1.0] * each.group.num_rollouts)
            desk.admitted(request=str(number))
            if number % 3 == 2:
                desk.lost("worker-0")
        return desk

    rng, state, other = np.random.default_rng(0), desk(11).state_dict(), desk(5)
    before, refused = other.state_dict(), 0
    for _ in range(150):
        changed, what = mutated(state, rng)
        try:
            other.load_state_dict(changed)
        except ValueError:
            assert same_state(before, other.state_dict()), what
            refused += 1
        else:
            assert same_state(other.state_dict(), state), what
            other = desk(5)
    assert refused > 100


def test_a_desk_of_a_refused_curriculum_keeps_its_leases() -> None:
    desk = Dispatcher(uniform())
    work = desk.ask()
    state = Dispatcher(uniform(seed=1)).state_dict()
    with pytest.raises(ValueError, match="seed=1, this curriculum has seed=0"):
        desk.load_state_dict(state)
    assert work is not None
    assert not desk.report(work.lease, [1.0] * 4).duplicate
