"""Random attacks on comparisons: kills and signals at any moment, damaged files, bad settings.

    python dev/attack/comparisons.py --num 1000 --seed 0
    python dev/attack/comparisons.py --num 1 --seed 0 --first 41        one attack again

What has to hold: no process outlives its parent by 2 s; the same command goes on and ends with the records and the
summary of an undisturbed run (but for clock times; in the same order where one process works); a damaged file is
refused in one line, rebuilt or of no effect; settings are refused in one line or good, and no folder is made.
"""

import argparse
import copy
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from didact.compare.bed import bed_of
from didact.compare.config import Cell, compare_config
from didact.compare.grid import check, compare
from didact.compare.records import read_records
from didact.compare.summary import summarise
from didact.training.small_model import SmallModelConfig
from didact.training.warm_start import WarmStartConfig

SETTINGS = """
name = "attacked"
seeds = [1, 2]
variants = ["dapo", { name = "hot", method = "cures", options = { temperature = 1.0 } }]
tuning = { learning_rates = [0.02, 0.2], seeds = [101] }
[[cells]]
name = "small"
learner = "skills"
pool_size = 256
held_out = 64
prompts_per_step = 8
rollouts_per_step = 64
rollouts = 2560
evaluations = 4
learner_options = { num_skills = 16 }
"""
PROGRAM = "from didact.cli.main import main; main()"
ODD: list[Any] = [
    None, True, -1, 0, 3, 10**10, 2**63, 10**400, -0.5, 1e300, float("nan"), float("inf"), "", "x", "../../x", "nul\0",
    "uniform", "oracle", "policy", "a\nb", "x" * 300, "\udcff", [], [1], ["x"], [[[[]]]], [1e9], {}, {"name": "x"},
]  # fmt: skip
TINY = WarmStartConfig(num_steps=3, batch_size=12, model=SmallModelConfig(hidden_size=32, intermediate_size=64))


def settings(rng: random.Random, room: Path, folder: Path) -> None:
    """An entry anywhere replaced, removed or doubled, once or twice."""
    values = tomllib.loads(SETTINGS)
    for _ in range(rng.choice([1, 1, 2])):
        place: Any = values
        while True:
            key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
            if not isinstance(place[key], dict | list) or not place[key] or rng.random() < 0.2:
                break
            place = place[key]
        change = rng.choice(["replace", "replace", "remove", "double"])
        if change == "double" and isinstance(place, list):
            place.append(copy.deepcopy(place[key]))
        elif change == "remove" and len(place) > 1:
            del place[key]
        else:
            place[key] = rng.choice(ODD)
    if refusal(lambda: check(compare_config(values))):
        assert refusal(lambda: compare(compare_config(values), folder, jobs=1, progress=Quiet()))
        assert not folder.exists(), "a refused comparison made a folder"


def damage(rng: random.Random, room: Path, folder: Path) -> None:
    """A file of a finished comparison."""
    shutil.copytree(room / "undisturbed", folder)
    path = folder / rng.choice(["config.json", "runs.jsonl", "tuning.jsonl", "tuning.json"])
    spoilt = spoil(path, rng)
    if refusal(lambda: compare(compare_config(tomllib.loads(SETTINGS)), folder, jobs=1, progress=Quiet())):
        assert path.read_bytes() == spoilt, "a refused file was written to"
        assert path.name == "tuning.jsonl" or refusal(lambda: summarise(folder)), f"the report took {path.name}"
    else:
        assert left_by(folder) == left_by(room / "undisturbed"), f"{path.name} was taken and changed the result"


def cache(rng: random.Random, room: Path, folder: Path) -> None:
    """A test bed, the pass rates it was made from, or a file of its model."""
    cell = Cell(name="real", pool="sources", pool_size=40, held_out=20, max_completion_length=6)
    bed = bed_of(cell, 1)
    bed_file, *_ = room.glob("cache/bed-*.json")
    for path in {bed_file, rng.choice([*room.glob("cache/rates-*.json"), *Path(bed.model).iterdir()])}:
        spoil(path, rng)
    assert bed_of(cell, 1) == bed, "another bed"
    assert not list(room.glob("cache/*.partial")), "half a model"


def kill(rng: random.Random, room: Path, folder: Path) -> None:
    """The parent gets random signals at random moments, three times over; then the command runs to its end."""
    jobs = rng.choice([1, 2])
    for _ in range(3):
        process = start(room, folder, jobs)
        time.sleep(rng.uniform(0, 6))
        for _ in range(rng.choice([1, 1, 2, 5])):
            process.send_signal(rng.choice([signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGKILL]))
            time.sleep(rng.uniform(0, 0.2))
        process.wait(120)
        end = time.monotonic() + 2
        while (alive := living(process.pid)) and time.monotonic() < end:
            time.sleep(0.05)
        assert not alive, f"{alive} processes outlived their parent"
    assert start(room, folder, jobs).wait() == 0, "the same command did not go on"
    assert left_by(folder, jobs == 1) == left_by(room / "undisturbed", jobs == 1), "it goes on to another result"


def start(room: Path, folder: Path, jobs: int) -> subprocess.Popen[bytes]:
    command = ["compare", str(room / "c.toml"), "--folder", str(folder), "--jobs", str(jobs)]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def spoil(path: Path, rng: random.Random) -> bytes:
    """One byte changed, or the end cut off."""
    text = bytearray(path.read_bytes())
    at = rng.randrange(len(text))
    text[at:] = rng.choice([b"", bytes([rng.randrange(256)]) + text[at + 1 :]])
    path.write_bytes(text)
    return bytes(text)


def living(group: int) -> int:
    stats = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            stats.append(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[:3])
        except OSError:  # it has just ended
            continue
    return sum(int(of) == group and state not in "ZX" for state, _, of in stats)


def left_by(folder: Path, ordered: bool = False) -> list[Any]:
    """Records and summary of a comparison, without clock times."""
    found = []
    for name in ("tuning.jsonl", "runs.jsonl"):
        texts = [json.dumps(timeless(record)) for record in read_records(folder / name)]
        found.append(texts if ordered else sorted(texts))
    return [*found, timeless(summarise(folder))]


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: timeless(each) for name, each in value.items() if name not in ("seconds", "crc")}
    return [timeless(each) for each in value] if isinstance(value, list) else value


def refusal(call: Any) -> str:
    """What a call was refused with; empty if it went through."""
    try:
        call()
        return ""
    except (ValueError, FileNotFoundError) as error:
        said = str(error)
    assert len(said.splitlines()) == 1, f"not one line: {said}"
    return said


class Quiet:
    def stage(self, name: str, done: int, total: int) -> None: ...

    def note(self, text: str) -> None: ...


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for flag, default in (("--num", 200), ("--seed", 0), ("--first", 0)):
        parser.add_argument(flag, type=int, default=default)
    asked = parser.parse_args()
    held: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        room = Path(scratch)
        os.environ["DIDACT_CACHE"] = str(room / "cache")
        WarmStartConfig.for_task = classmethod(lambda cls, task, seed=0: replace(TINY, seed=seed))
        (room / "c.toml").write_text(SETTINGS)
        compare(compare_config(tomllib.loads(SETTINGS)), room / "undisturbed", jobs=1, progress=Quiet())
        for number in range(asked.first, asked.first + asked.num):
            rng, folder = random.Random(f"{asked.seed} {number}"), room / f"attack-{number}"
            (attack,) = rng.choices([settings, damage, cache, kill], [0.75, 0.15, 0.04, 0.06])
            try:
                attack(rng, room, folder)
                held[attack.__name__] += 1
            except Exception as error:  # what did not hold is told
                print(f"{attack.__name__} did not hold: --num 1 --seed {asked.seed} --first {number}: {error!r:.300}")
            shutil.rmtree(folder, ignore_errors=True)
            if number % 50 == 49:
                print(f"{number + 1 - asked.first} of {asked.num}: {dict(held)} held", flush=True)
    print(f"comparisons: {asked.num} attacks, {held.total()} held")
    sys.exit(0 if held.total() == asked.num else 1)


if __name__ == "__main__":
    main()
