"""The attacks of `dev/attack`, each a short time; docs/guarantees.md says how often they were made at length."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "dev" / "attack").glob("*.py"))
#: Attacks a script makes here: what takes it ten to thirty seconds.
NUMBERS = {
    "answers": 2000,
    "calls": 300,
    "commands": 60,
    "comparisons": 3,
    "desk": 60,
    "escapes": 40,
    "journals": 200,
    "lost": 500,
    "runs": 1,
    "states": 300,
}


def test_every_attack_is_made_here_and_on_the_page() -> None:
    assert [script.stem for script in SCRIPTS] == sorted(NUMBERS)
    page = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
    assert set(re.findall(r"dev/attack/(\w+)\.py", page)) == set(NUMBERS)


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_the_guarantees_hold(script: Path, tmp_path: Path) -> None:
    number = str(NUMBERS[script.stem])
    command = [sys.executable, str(script), "--num", number, "--seed", "0"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    said = re.search(rf"{script.stem}: ([\d,]+) attacks, ([\d,]+) held", done.stdout)
    assert said, done.stdout[-3000:]
    assert said[1] == said[2]
    assert int(said[1].replace(",", "")) > 0
