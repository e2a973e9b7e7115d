"""Responses, gold answers and a reader's verdict: the built-in verifiers of math and gsm8k against all of them.

data/verifier_pairs.jsonl has four parts. "develop" and "kept apart" are halves of one set, written before the verifiers
were mended; only the first was looked at while they were. "near misses" was written while mending; "later" are two sets
written after that, measured, and then mended too.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from didact.tasks import task

PAIRS = [json.loads(line) for line in (Path(__file__).parent / "data/verifier_pairs.jsonl").read_text().splitlines()]
SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "cases" / "verifier_pairs.jsonl"
KINDS = sorted({(pair["part"], pair["task"], pair["kind"]) for pair in PAIRS})
CASES = [pytest.param(*kind, marks=[pytest.mark.slow] if kind[1] == "math" else []) for kind in KINDS]


def judged(pairs: list[dict[str, Any]]) -> tuple[float, list[str]]:
    """The share of pairs on which verifier and reader agree, and every one that passes and should not."""
    agree, false_positives = 0, []
    for pair in pairs:
        value = task(pair["task"]).verify(pair["response"], pair["gold"])
        agree += value == pair["want"]
        if value > pair["want"]:
            false_positives.append(f"{pair['response'][-80:]} passes for {pair['gold']}")
    return agree / len(pairs), false_positives


@pytest.mark.parametrize(("part", "name", "kind"), CASES)
def test_pairs_are_judged_as_a_reader_judges_them(part: str, name: str, kind: str) -> None:
    pairs = [pair for pair in PAIRS if (pair["part"], pair["task"], pair["kind"]) == (part, name, kind)]
    assert judged(pairs) == (1.0, [])


def test_both_verdicts_are_in_every_part() -> None:
    assert min(Counter((pair["part"], pair["want"]) for pair in PAIRS).values()) > 70


@pytest.mark.slow
def test_the_shared_pairs_are_judged_as_a_reader_judges_them() -> None:
    if not SHARED.is_file():
        pytest.skip("needs shared/cases/verifier_pairs.jsonl beside the repository")
    agree, false_positives = judged([json.loads(line) for line in SHARED.read_text().splitlines()])
    assert agree >= 0.93
    assert not false_positives
