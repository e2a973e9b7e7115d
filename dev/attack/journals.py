"""Attacks on the journal of a run: damage is refused by line or a prefix is read, and forged records are bad input.

    python dev/attack/journals.py --num 10000 --seed 0      # --only K repeats attack K

In turn: bytes and lines flipped, cut off, dropped, doubled and moved; records with right checksums and wrong content,
read by `didact report`, `inspect` and `replay`.
"""

import argparse
import json
import random
import shutil
import tempfile
import traceback
import zlib
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

from didact import Dispatcher, PromptPool, make
from didact.journal import Journal, RecordedCurriculum, read_journal
from didact.report import RunHistory, inspect_prompts, summarise
from didact.report.replay import replay

IDS = [f"p{number}" for number in range(12)]
METHODS = ["uniform", "dapo", "cures", "speed", "reinforce_ada"]
DEEP: list[Any] = []
for _ in range(300):
    DEEP = [DEEP]
NASTY: list[Any] = [None, True, False, -1, 0, 1, 3, 0.5, 1e308, -1e308, float("nan"), float("inf"), 2**31 - 1, 2**31]
NASTY += [
    2**53,
    2**63,
    2**64,
    10**400,
    "",
    "p1",
    "nobody",
    "0.5",
    "\ud800",
    "x" * 5000,
    "train",
    "lost",
    "plan",
    "\x00",
]
NASTY += [[], {}, [[]], [1], ["x"], [None], [0, 0, 0], [[1.0]] * 3, [[1e308] * 4], [2**62] * 3, {"a": 1}, DEEP]
HELD_OUT = {"kind": "evaluation", "step": 1, "rollouts": 3, "tokens": 4, "num_prompts": 2, "passed": [1, 0]}
BESIDE: dict[str, Any] = {
    "prompts.jsonl": [{"prompt_id": each, "prompt": "x", "source": "s", "difficulty": 1.5} for each in IDS],
    "timing.jsonl": [{"step": 0, "seconds": 0.5}],
    "resumes.jsonl": [{"step": 0, "dropped_rollouts": 5}],
    "config.json": [{"method": "uniform", "steps": 4, "task": "arithmetic", "seed": 0}],
}


def expect(held: bool, what: str) -> None:
    if not held:
        raise AssertionError(what)


def run_of(folder: Path, rng: random.Random) -> Path:
    """The journal of a few steps at a desk, with lost, late and repeated work."""
    journal = Journal(folder / "journal.jsonl")
    curriculum = make(rng.choice(METHODS), PromptPool(IDS), prompts_per_step=3, rollouts_per_step=12, seed=1)
    desk = Dispatcher(RecordedCurriculum(curriculum, journal), max_rollouts=3)
    for version in range(1, 4):
        while works := desk.ask_many(4, "w"):
            if rng.random() < 0.2:
                desk.lost("w")
            for work in works:
                rewards = [rng.choice([0.0, 1.0, float("nan")]) for _ in range(work.group.num_rollouts)]
                desk.report(work.lease, rewards, num_tokens=[5] * len(rewards), prompt_tokens=3)
        desk.admitted()
        desk.advance(version)
    journal.append({**HELD_OUT, "pass_rate": 0.5, "low": 0.1, "high": 0.9})
    journal.close()
    return journal.path


def damaged(rng: random.Random, folder: Path) -> None:
    path = run_of(folder, rng)
    true, data = read_journal(path), path.read_bytes()
    lines, at = data.splitlines(keepends=True), rng.randrange(len(data))
    line, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    moved = lines[:line] + lines[line + 1 :]
    moved.insert(other, lines[line])
    path.write_bytes(
        rng.choice(
            [
                data[:at],
                data[:at] + bytes([data[at] ^ rng.randint(1, 255)]) + data[at + 1 :],
                data[:at] + rng.randbytes(rng.randint(1, 9)) + data[at:],
                data[:at] + b"\0" * (len(data) - at),
                b"".join(lines[:line] + lines[line + 1 :]),
                b"".join(lines[: line + 1] + lines[rng.randint(0, line) :]),
                b"".join(moved),
                data + data,
            ]
        )
    )
    changed = path.read_bytes()
    try:
        records = read_journal(path)
    except ValueError as error:
        expect(str(path) in str(error) and "line" in str(error), f"refused as {error}")
        try:
            Journal(path)
        except ValueError:
            expect(path.read_bytes() == changed, "refused and changed")
            return
        raise AssertionError("refused to a reader and not to a writer") from None
    expect(records == true[: len(records)], "read as another journal")


def forged(rng: random.Random, folder: Path) -> None:
    path = run_of(folder, rng)
    records, beside = read_journal(path), deepcopy(BESIDE)
    for _ in range(rng.randint(1, 3)):
        change(rng, beside[rng.choice(list(beside))] if rng.random() < 0.2 else records)
    bodies = [text_of({"line": number, **each}) for number, each in enumerate(records, 1) if isinstance(each, dict)]
    path.write_bytes(b"".join(b'{"crc":"%08x",%s\n' % (zlib.crc32(body), body[1:]) for body in bodies))
    for name, rows in beside.items():
        (folder / name).write_bytes(b"".join(text_of(row) + b"\n" for row in rows))
    readers: list[Callable[[], Any]] = [
        lambda: replay(folder),
        lambda: replay(folder, "uniform"),
        lambda: (summarise(RunHistory.load(folder)), inspect_prompts(RunHistory.load(folder))),
    ]
    for read in readers:
        try:
            figures = read()
        except (ValueError, FileNotFoundError) as error:
            expect(not isinstance(error, UnicodeError), f"refused as {error!r}")
            continue
        json.dumps(figures, allow_nan=False, ensure_ascii=False).encode()


def text_of(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def change(rng: random.Random, value: Any) -> None:
    """Put something nasty somewhere, or take something out."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    while keys and rng.random() < 0.8:
        below = value[rng.choice(keys)]
        if not isinstance(below, dict | list) or not below:
            break
        value, keys = below, list(below) if isinstance(below, dict) else list(range(len(below)))
    if keys and rng.random() < 0.8:
        value[rng.choice(keys)] = deepcopy(rng.choice(NASTY))
    elif keys:
        del value[rng.choice(keys)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="make this attack alone")
    given = parser.parse_args()
    numbers = range(given.num) if given.only is None else [given.only]
    failed = 0
    for number in numbers:
        attack, folder = (damaged, forged)[number % 2], Path(tempfile.mkdtemp(prefix="didact-attack-"))
        try:
            attack(random.Random(f"{given.seed}-{number}"), folder)
        except Exception as error:
            failed += 1
            where = traceback.extract_tb(error.__traceback__)[-1]
            print(f"--seed {given.seed} --only {number}: {attack.__name__}: {error!r:.300} ({where.name})", flush=True)
        shutil.rmtree(folder)
        if number % 1000 == 999:
            print(f"{number + 1} of {given.num}", flush=True)
    print(f"journals: {len(numbers)} attacks, {len(numbers) - failed} held")
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
