"""Attacks on the command line: hostile values for every option of every command, and hostile files behind them.

    python dev/attack/commands.py --num 500 --seed 0

Each command must end with exit code 2 and one line on standard error, and leave nothing behind; or, where the value is
good after all, with exit code 0. Nothing trains: `train` is given a model that is not there.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
from pathlib import Path

import click

NUMBERS = ["-1", "0", "nan", "inf", "-inf", "1e400", "-1e-400", "2147483648", "1000000000000", "9" * 30, "9" * 5000, "",
           " ", "1.5", "0x10", "true", "--", "\N{FULLWIDTH DIGIT NINE}" * 12, "1e9", "-2147483649"]  # fmt: skip
TEXTS = ["", " ", "\n", "x" * 300, "x" * 5000, "a/" * 3000, "../" * 50, "\x1b[31m", "%s%n{0}", "\udcff", ":", ",", "-",
         "reasoning_gym:", "math:x", "os:system", "dapo,,dapo", "nul\0", "~", "*", "[" * 3000, "\N{SKULL}"]  # fmt: skip
PAIRS = ["", "=", "a", "a=", "=1", "seed=", "temperature=nan", "temperature=1e400", "x=" + "[" * 3000, "a\n=1",
         "temperature='", "steps_per_iteration=-1", "num_generations=0", "levels=[[]]", "max_steps=1", "\udcff=1",
         "prior=[]", "window=1000000000000", "discount=inf", "trust_remote_code=true", "output_dir='/'"]  # fmt: skip


def hostile_files(folder: Path) -> list[str]:
    """Paths that are bad in every way that a file system knows."""
    deep = "[" * 100_000
    contents: dict[str, str | bytes] = {
        "deep.toml": f"a = {deep}", "deep.json": deep, "deep.jsonl": deep + "\n", "bytes.toml": b"\xff\xfe\0",
        "bytes.json": b"\xff\xfe\0", "bytes.jsonl": b"\x80\n", "cut.json": '{"edges": [0, ', "empty": b"",
        "huge.json": '{"edges": [0, 1], "counts": [1e400]}', "digits.toml": "steps = " + "9" * 5000, "null.toml": "\0",
        "nan.json": '{"edges": [NaN, 1], "counts": [1]}', "types.toml": 'steps = "x"\n[trl]\nmax_steps = []',
        "types.json": '{"edges": {}, "counts": 3}', "surrogate.json": '"\\ud800"', "big.toml": "steps = 10000000000000",
        "zero.parquet": bytes(4096), "a.csv": "\0",
    }  # fmt: skip
    for name, data in contents.items():
        (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    line = b'{"crc":"00000000","kind":"start"}\n'
    journals = {"run-empty": b"", "run-crc": line, "run-bytes": b"\xff" * 99, "run-deep": deep.encode()}
    for name, journal in journals.items():
        (folder / name).mkdir()
        (folder / name / "journal.jsonl").write_bytes(journal)
        (folder / name / "config.json").write_bytes(journal)
    (folder / "run-folder" / "journal.jsonl").mkdir(parents=True)
    (folder / "run-folder" / "config.json").mkdir()
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "dangling").symlink_to(folder / "nowhere")
    (folder / "run-loop").mkdir()
    for name in ("journal.jsonl", "config.json"):
        (folder / "run-loop" / name).symlink_to(name)
    os.mkfifo(folder / "fifo")
    (folder / "locked").write_text("steps = 1")
    (folder / "locked").chmod(0)
    found = [str(path) for path in folder.iterdir()]
    return [
        *found,
        "/dev/null",
        "/dev/zero",
        "/proc/self/mem",
        "/",
        "x" * 300,
        "y/" * 3000,
        "\udcff",
        str(folder / "empty/x"),
    ]


def command_line(rng: random.Random, commands: dict[str, click.Command], files: list[str]) -> list[str]:
    """A command with one or two of its options, or an argument, that are no good."""
    name = rng.choice([*commands, "train", "train", "train"])
    line = [name] if rng.random() < 0.97 else [name, rng.choice(TEXTS)]
    options = [each for each in commands[name].params if isinstance(each, click.Option) and not each.is_flag]
    for option in rng.sample(options, min(rng.randint(1, 2), len(options))):
        value = rng.choice(rng.choice([PAIRS, TEXTS]) if option.multiple else [*TEXTS, *files])
        if isinstance(option.type, click.types.IntParamType | click.types.FloatParamType) and rng.random() < 0.9:
            value = rng.choice(NUMBERS)
        line += [rng.choice(option.opts), value]
    for argument in (each for each in commands[name].params if isinstance(each, click.Argument)):
        line += [rng.choice([*files, *TEXTS])] if argument.required or rng.random() < 0.3 else []
    if name == "train":
        line += ["--model", "./nowhere"]
    if name in ("compare", "simulate"):
        line += ["--jobs", "1", "--rollouts", "-1"]
    return line


def ended(line: list[str], place: Path) -> tuple[int, str]:
    """Exit code and standard error of a command, run in a process of its own that may take a minute."""
    errors = place.with_name("stderr")
    if not (child := os.fork()):
        signal.alarm(60)
        os.chdir(place)
        handle = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        from didact.cli.main import main

        try:
            main(line)
        except SystemExit as end:
            sys.stderr.flush()
            os._exit(end.code if isinstance(end.code, int) else 1)
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), errors.read_text(errors="replace")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1")
    import didact.compare.grid
    import didact.training.run  # noqa: F401 - loaded once, here
    from didact.cli.group import cli

    folder = Path(tempfile.mkdtemp(prefix="commands-"))
    (folder / "files").mkdir()
    files, failed = hostile_files(folder / "files"), 0
    for number in range(options.num):
        rng = random.Random(f"{options.seed}/{number}")
        place = folder / "place"
        place.mkdir()
        line = command_line(rng, dict(cli.commands), files)
        code, errors = ended(line, place)
        left = [str(path) for path in place.rglob("*")]
        lines = errors.splitlines()
        one_line = len(lines) == 1 and errors.startswith("didact: ") and "Traceback" not in errors
        if (code, one_line, left) != (2, True, []) and (code, errors, left) != (0, "", []):
            failed += 1
            print(f"exit code {code}, left {left}, said {errors[-300:]!r}: {[each[:80] for each in line]}", flush=True)
            os.rename(place, folder / f"failed-{number}")
        else:
            place.rmdir()
        if (number + 1) % 100 == 0:
            print(f"{number + 1}/{options.num}", flush=True)
    print(f"commands: {options.num} attacks, {options.num - failed} held")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
