"""Attacks on training runs: killed, damaged, out of disk, robbed of files, linked elsewhere; then resumed.

    python dev/attack/runs.py --num 24 --seed 0

Each must end byte for byte like a run that nobody touched, say in one line what was wrong, and lose nothing.
"""

import argparse
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SETTINGS = """
method = "cures"
steps = 8
num_prompts = 64
num_eval_prompts = 16
eval_every = 4
save_every = 2
prompts_per_step = 4
rollouts_per_step = 32
max_completion_length = 8
threads = 1
device = "cpu"
[method_options]
steps_per_iteration = 3
"""


def start(*arguments: object, room: int | None = None) -> subprocess.Popen[str]:
    def before() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if room is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))

    program = [sys.executable, "-c", "from didact.cli.main import main; main()", "train", "--no-report"]
    return subprocess.Popen(
        [*program, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=before
    )


def finish(process: subprocess.Popen[str], *codes: int) -> str:
    _, err = process.communicate(timeout=300)
    assert process.returncode in codes, f"exit code {process.returncode} instead of {codes}: {err[-500:]}"
    assert "Traceback" not in err, err[-2000:]
    return err


def results(run: Path) -> dict[str, bytes]:
    files = [run / "journal.jsonl", run / "metrics.jsonl", run / "prompts.jsonl", run / "config.json"]
    return {str(path.relative_to(run)): path.read_bytes() for path in [*files, *sorted((run / "model").iterdir())]}


def kill(rng: random.Random, run: Path, new: list[object]) -> None:
    """SIGKILL up to three times, at any moment or while a checkpoint or the model is being written."""
    for _ in range(rng.randint(1, 3)):
        process = start(*(["--resume", run] if (run / "config.json").exists() else [*new, "--run", run]))
        moment, began = rng.choice(["any", "checkpoint", "model"]), time.monotonic()
        begun = set(run.glob("checkpoints/checkpoint-*"))
        wait, steps = rng.uniform(0, 8), rng.randrange(4)
        while process.poll() is None:
            fresh = set(run.glob("checkpoints/checkpoint-*")) - begun
            if moment == "any" and time.monotonic() - began > wait:
                break
            if moment == "checkpoint" and len(fresh) > steps:
                break
            if moment == "model" and (run / "model.tmp").exists():
                break
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.03))
        process.kill()
        process.communicate()
    if (run / "config.json").exists():
        finish(start("--resume", run), 0)
    else:
        finish(start(*new, "--run", run), 0)


def damage(rng: random.Random, run: Path, reference: Path) -> None:
    """Flip a bit, write zeros, cut off or remove a file of the newest checkpoint, or of the two newest."""
    shutil.copytree(reference, run)
    if rng.random() < 0.5:
        shutil.rmtree(run / "model")
    newest = sorted(run.glob("checkpoints/checkpoint-*"), key=lambda path: -int(path.name[11:]))
    for checkpoint in newest[: rng.randint(1, 2)]:
        path = rng.choice(sorted(checkpoint.iterdir()))
        data = bytearray(path.read_bytes())
        at, kind = rng.randrange(len(data)), rng.choice(["flip", "zero", "truncate", "drop"])
        if kind == "flip":
            data[at] ^= 1 << rng.randrange(8)
        elif kind == "zero":
            data[at : at + 4096] = bytes(len(data[at : at + 4096])) if any(data[at : at + 4096]) else b"\1"
        else:
            del data[at:]
        path.write_bytes(data)
        if kind == "drop":
            path.unlink()
    said = finish(start("--resume", run), 0)
    wanted = "manifest.json" if path.name == "manifest.json" else path.name
    assert f"{checkpoint.name} is passed over" in said, said
    assert wanted in said or "manifest.json" in said, said


def disk(rng: random.Random, run: Path, new: list[object]) -> None:
    """No file may grow beyond a random size; later there is room."""
    code = finish(start(*new, "--run", run, room=int(10 ** rng.uniform(3.5, 5.6))), 0, 1)
    assert "didact: " in code.splitlines()[-1] or (run / "model").exists(), code
    if (run / "config.json").exists():
        finish(start("--resume", run), 0)
    else:
        finish(start(*new, "--run", run), 0)


def rob(rng: random.Random, run: Path, new: list[object]) -> None:
    """A file of the run disappears while it trains: nothing else may go with it."""
    process = start(*new, "--run", run)
    while process.poll() is None and not list(run.glob("checkpoints/checkpoint-*/manifest.json")):
        time.sleep(0.005)
    (run / "notes.txt").write_text("of somebody's")
    (run / rng.choice(["journal.jsonl", "metrics.jsonl", "config.json", "prompts.jsonl"])).unlink()
    finish(process, 0, 1)
    assert (run / "notes.txt").exists()
    assert list(run.glob("checkpoints/checkpoint-*/manifest.json")), "the checkpoints are gone"


def link(rng: random.Random, run: Path, reference: Path) -> None:
    """A part of the run folder is a link elsewhere: what is behind it stays as it is."""
    shutil.copytree(reference, run)
    name = rng.choice(["journal.jsonl", "metrics.jsonl", "model", "model.tmp", "checkpoints", "config.json", ".lock",
                       "checkpoints/checkpoint-8", "timing.jsonl", "resumes.jsonl", "config.json.tmp"])  # fmt: skip
    outside = run.with_name(run.name + "-outside")
    if (run / name).exists():
        shutil.move(run / name, outside)
    else:
        outside.mkdir()
        (outside / "precious").write_text("of somebody's")
    (run / name).symlink_to(outside)
    before = {path: path.read_bytes() for path in [outside, *outside.rglob("*")] if path.is_file()}
    finish(start("--resume", run, "--steps", rng.choice([8, 10])), 0, 2)
    assert before == {path: path.read_bytes() for path in [outside, *outside.rglob("*")] if path.is_file()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="repeat one attack")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    folder = Path(tempfile.mkdtemp(prefix="runs-"))
    from didact.tasks.arithmetic import vocabulary
    from didact.training.small_model import SmallModelConfig, build_model, build_tokenizer

    tokenizer, shape = build_tokenizer(vocabulary()), SmallModelConfig(hidden_size=32, num_layers=1, num_heads=2)
    build_model(shape, tokenizer, seed=0).save_pretrained(folder / "tiny")
    tokenizer.save_pretrained(folder / "tiny")
    (folder / "run.toml").write_text(SETTINGS)
    new: list[object] = ["--config", folder / "run.toml", "--model", folder / "tiny"]
    reference, failed = folder / "reference", []
    finish(start(*new, "--run", reference), 0)
    numbers = range(options.num) if options.only is None else [options.only]
    for number in numbers:
        rng = random.Random(f"{options.seed}/{number}")
        attack = [kill, kill, damage, damage, disk, rob, link][number % 7]
        run = folder / f"{number}-{attack.__name__}"
        try:
            attack(rng, run, reference if attack in (damage, link) else new)  # type: ignore[arg-type]
            if attack in (kill, damage, disk):
                differ = [name for name, data in results(run).items() if data != results(reference).get(name)]
                assert not differ, f"{differ} differ"
                assert len(results(run)) == len(results(reference)), f"files differ: {sorted(results(run))}"
            print(f"{number + 1}/{options.num} {attack.__name__} held", flush=True)
            shutil.rmtree(run, ignore_errors=True)
        except Exception as error:
            failed.append(number)
            print(f"{attack.__name__}: {error} (in {run}); again: --seed {options.seed} --only {number}", flush=True)
    print(f"runs: {len(numbers)} attacks, {len(numbers) - len(failed)} held")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
