"""Attacks on the desk and its folder: what is wrong is refused by name or undone, and nothing paid for is lost.

    python dev/attack/desk.py --num 10000 --seed 0          # --only K repeats attack K

In turn: calls that are no calls, processes killed at work, disks that fill up, and folders with files or lines flipped,
cut off, dropped, doubled or swapped. POSIX only.
"""

import argparse
import os
import random
import resource
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from didact import Dispatcher, PromptPool, make
from didact.testing.contract import same_state

NASTY: list[Any] = [None, True, -1, 0, 1, 3, 0.5, 1e308, float("nan"), float("inf"), 2**31 - 1, 2**31, 2**62, 2**64]
NASTY += [10**400, 10**5000, "", "w", "p1", "0.5", "\ud800", "x" * 300, b"w", [], {}, [[]], [1], ["x"], [None] * 4]
NASTY += [[1.0] * 4, [1e308] * 4, [2**62] * 4, [10**400] * 4, object(), {"a": 1}, {1}, range(4)]
REPORT = "lease rewards num_tokens truncated errored policy_version prompt_tokens part colour"
CALLS = {"ask": "worker request", "ask_many": "num worker request", "lost": "worker", "advance": "version"}
CALLS |= {"admitted": "request", "report": REPORT, "report_many": "reports", "load_state_dict": "state"}
GOOD: dict[str, dict[str, Any]] = {"ask_many": {"num": 1}, "report": {"lease": 0, "rewards": [1.0]}}


def desk_of(folder: Path | None) -> Dispatcher:
    curriculum = make("dapo", PromptPool([f"p{number}" for number in range(12)]), prompts_per_step=3,
                      rollouts_per_step=12, discount=0.9)  # fmt: skip
    return Dispatcher(curriculum, max_lag=2, max_rollouts=3, lease_seconds=30, folder=folder, snapshot_every=12,
                      clock=lambda: now)  # fmt: skip


now = 1000.0


def good_call(desk: Dispatcher, number: int) -> None:
    """A call that depends on its number and the desk alone."""
    global now
    rng, now = random.Random(number), 1000.0 + 7 * number
    kind = rng.choice(["ask", "ask", "report", "report", "report", "lost", "advance", "admitted"])
    leases = [row for row in desk.state_dict()["leases"] if row["status"] != "abandoned"]
    if kind == "report" and leases:
        row = rng.choice(leases)
        rewards = [float(rng.random() < 0.5) for _ in range(rng.randint(1, row["group"][2] - row["done"]))]
        desk.report(row["number"], rewards, num_tokens=[5] * len(rewards), part=number % 1000)
    elif kind == "lost":
        desk.lost(f"w{rng.randrange(4)}")
    elif kind == "advance":
        desk.advance(desk.version + 1)
    elif kind == "admitted":
        desk.admitted(request=f"t{number}")
    else:
        desk.ask_many(rng.randint(1, 4), f"w{rng.randrange(4)}", request=f"r{number}")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def expect(held: bool, what: str) -> None:
    if not held:
        raise AssertionError(what)


def killed(desk: Dispatcher) -> dict[str, Any]:
    """The state of a desk that lets go of its folder without another word."""
    state = desk.state_dict()
    desk._log.close()  # type: ignore[union-attr]
    return state


def bad_calls(rng: random.Random, folder: Path) -> None:
    desk, number = desk_of(folder), rng.randrange(10**6)
    for _ in range(rng.randrange(25)):
        good_call(desk, number := number + 1)
    for _ in range(5):
        before, files = desk.state_dict(), contents(folder)
        name = rng.choice(list(CALLS))
        given = GOOD.get(name, {}) | {rng.choice(CALLS[name].split()): rng.choice(NASTY) for _ in range(2)}
        if name == "load_state_dict" and rng.random() < 0.8:
            given = {"state": before | {rng.choice(list(before)): rng.choice(NASTY)}}
        if name == "report_many" and rng.random() < 0.5:
            given = {"reports": [{"lease": rng.choice(NASTY), "rewards": rng.choice(NASTY)}, rng.choice(NASTY)]}
        try:
            getattr(desk, name)(**given)
        except (ValueError, TypeError) as error:
            expect("half-way" not in str(error), f"{name} was not refused, it failed: {error}")
            if "(not report 1 of the list" not in str(error):  # before that one, one was taken
                expect(same_state(before, desk.state_dict()), f"{name} was refused and changed the desk")
                expect(files == contents(folder), f"{name} was refused and changed the folder")
        if name == "load_state_dict":  # a forged state may look right: a right one mends everything
            desk.load_state_dict(before)
            expect(same_state(before | {"next_lease": 0}, desk.state_dict() | {"next_lease": 0}), "it was not restored")
        good_call(desk, number := number + 1)
    expect(same_state(killed(desk), killed(desk_of(folder))), "the folder opened anew gives another desk")


def in_child(work: Callable[[int], None], killed_after: float | None) -> tuple[int, bytes]:
    """Run work(pipe) in a process of its own; its exit status, and what it wrote."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work(writes)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writes)
    if killed_after is not None:
        time.sleep(killed_after)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reads, "rb") as pipe:
        said = pipe.read()
    return os.waitpid(child, 0)[1], said


def kills(rng: random.Random, folder: Path) -> None:
    reference, number = desk_of(None), rng.randrange(10**6)
    for _ in range(3):  # killed, opened anew, killed again

        def serve(pipe: int, first: int = number) -> None:
            desk = desk_of(folder)
            for each in range(first, first + 2000):
                good_call(desk, each)
                os.write(pipe, b".")

        for _ in in_child(serve, rng.random() * 0.15)[1]:
            good_call(reference, number)
            number += 1
        state = killed(desk_of(folder))
        if not same_state(state, reference.state_dict()):  # the call under way was on file and not yet answered
            good_call(reference, number)
            number += 1
        expect(same_state(state, reference.state_dict()), "after a kill it is another desk")


def full_disks(rng: random.Random, folder: Path) -> None:
    def serve(pipe: int) -> None:
        desk, reference, first = desk_of(folder), desk_of(None), rng.randrange(10**6)
        for number in range(first, first + 60):
            before, largest = desk.state_dict(), max(map(len, contents(folder).values()))
            room = rng.randrange(largest + 200) if rng.random() < 0.4 else resource.RLIM_INFINITY
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
            try:
                good_call(desk, number)
                room = resource.RLIM_INFINITY
            except (OSError, RuntimeError):
                expect(room != resource.RLIM_INFINITY, "it failed with room left")
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            if room != resource.RLIM_INFINITY:
                expect(same_state(before, desk.state_dict()), "a full disk changed the desk")
                good_call(desk, number)
            good_call(reference, number)
        expect(same_state(killed(desk), reference.state_dict()), "full disks made another desk")
        expect(same_state(killed(desk_of(folder)), reference.state_dict()), "full disks left another folder")

    expect(in_child(serve, None)[0] == 0, "see above")


def damaged(rng: random.Random, folder: Path) -> None:
    desks, number = [desk_of(folder / "desk"), desk_of(folder / "other")], rng.randrange(10**6)
    states, copies = [desks[0].state_dict()], []
    for _ in range(rng.randint(1, 40)):
        number += 1
        for desk in desks:
            good_call(desk, number + 5 * (desk is desks[1]))
        states.append(desks[0].state_dict())
        copies += [contents(folder / "desk"), contents(folder / "other")]
    files, strange = dict(copies[-2]), rng.choice(copies)
    name = rng.choice([name for name in files if name != ".lock"])
    data, lines = files[name], files[name].splitlines(keepends=True)
    at, line = rng.randrange(len(data)), rng.randrange(len(lines))
    like = next((each for each in strange if each.split("-")[0] == name.split("-")[0]), name)
    changes: list[bytes | None] = [
        None, data[:at], data + data, strange[like], data[:at] + rng.randbytes(9) + data[at:],
        data[:at] + bytes([data[at] ^ rng.randint(1, 255)]) + data[at + 1 :], b"".join(lines[:-1]),
        b"".join(lines[:line] + lines[line + 1 :]), b"".join(lines[: line + 1] + lines[line:]),
        b"".join(rng.sample(lines, len(lines))),
    ]  # fmt: skip
    which = rng.randrange(len(changes))
    files = {each: each_data for each, each_data in (files | {name: changes[which]}).items() if each_data is not None}
    (folder / "damaged").mkdir()
    for each, each_data in files.items():
        (folder / "damaged" / each).write_bytes(each_data)
    try:
        found = killed(desk_of(folder / "damaged"))
    except ValueError as error:
        expect(str(folder / "damaged") in str(error) and "\n" not in str(error), f"change {which}: refused as {error}")
        expect(files == contents(folder / "damaged"), f"change {which} of {name}: refused and changed")
        return
    left = files[name][: files[name].rfind(b"\n") + 1]  # calls that end early are what an earlier kill would have left
    early = name.startswith("calls") and data.startswith(left)
    expect(any(same_state(found, each) for each in states[0 if early else -1 :]), f"change {which} of {name}: accepted")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="make this attack alone")
    given = parser.parse_args()
    attacks = [bad_calls, damaged, bad_calls, damaged, kills, bad_calls, damaged, bad_calls, damaged, full_disks]
    numbers = range(given.num) if given.only is None else [given.only]
    failed = 0
    for number in numbers:
        attack, folder = attacks[number % len(attacks)], Path(tempfile.mkdtemp(prefix="didact-attack-"))
        try:
            attack(random.Random(f"{given.seed}-{number}"), folder)
        except Exception as error:
            failed += 1
            print(
                f"--seed {given.seed} --only {number}: {attack.__name__}: {type(error).__name__}: {error}", flush=True
            )
        shutil.rmtree(folder)
        if number % 500 == 499:
            print(f"{number + 1} of {given.num}", flush=True)
    print(f"desk: {len(numbers)} attacks, {len(numbers) - failed} held")
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
