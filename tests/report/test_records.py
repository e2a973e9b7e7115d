"""Journals with right checksums and wrong content: one line that names the file, whoever reads them."""

import copy
import json
import math
import sys
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from didact import GroupOutcome, PromptPool, make
from didact.journal import SCHEMA, Journal, RecordedCurriculum, read_journal
from didact.report import RunHistory, inspect_prompts, summarise
from didact.report.records import read_run
from didact.report.replay import replay

IDS = [f"p{number}" for number in range(6)]
EVALUATION = {"kind": "evaluation", "step": 0, "rollouts": 0, "tokens": 0, "num_prompts": 2, "passed": [1, 0]}
EVALUATION |= {"pass_rate": 0.5, "low": 0.1, "high": 0.9}
DEEP: list[Any] = []
for _ in range(sys.getrecursionlimit() // 2):
    DEEP = [DEEP]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Records: start, evaluation, then plan, outcomes, admitted of two steps, and lost."""
    curriculum = make("uniform", PromptPool(IDS), prompts_per_step=2, rollouts_per_step=8, seed=5)
    journal = Journal(tmp_path / "journal.jsonl")
    recorded = RecordedCurriculum(curriculum, journal)
    journal.append(EVALUATION)
    for step in range(2):
        plan = recorded.plan(step)
        recorded.observe(
            GroupOutcome(group.group_id, group.prompt_id, [1.0, 0.0, math.nan], [3, 4, 5], [True, False, False], part=0)
            for group in plan
        )
        recorded.admitted(step)
    recorded.lost(3, 1, again=True)
    journal.close()
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps({"prompt_id": each}) + "\n" for each in IDS))
    return tmp_path


def forge(run: Path, records: list[dict[str, Any]]) -> None:
    lines = []
    for number, record in enumerate(records, start=1):
        body = json.dumps({"line": number, **record}, separators=(",", ":")).encode()
        lines.append(b'{"crc":"%08x",%s\n' % (zlib.crc32(body), body[1:]))
    (run / "journal.jsonl").write_bytes(b"".join(lines))


def test_a_run_is_read_as_it_was_written(run: Path) -> None:
    records = read_run(run / "journal.jsonl")
    assert records == read_journal(run / "journal.jsonl")
    kinds = ["start", "evaluation", *["plan", "outcomes", "admitted"] * 2, "lost"]
    assert [record["kind"] for record in records] == kinds
    assert records[0]["schema"] == SCHEMA == 2
    assert replay(run)["first_difference"] is None


@pytest.mark.parametrize(
    ("kind", "name", "values"),
    [
        ("start", "schema", [1, 3, "2", None]),
        ("start", "method", [None, 7, "", "x" * 257, "\ud800", ["uniform"]]),
        ("start", "options", [None, [], "none", {"seed": "\ud800"}, {"\ud800": 1}]),
        ("start", "pool", [None, {}, {"size": -1, "fingerprint": "a"}, {"size": 6, "fingerprint": 7}]),
        ("plan", "step", [None, -1, 0.0, "0", True, 2**31]),
        ("plan", "groups", [None, "ab", [0], [0, 0], [0, "1"], [0, -1], [0, 2**64], [0, True], [[0], [1]]]),
        ("plan", "prompts", [None, ["p0"], [0, 1], ["p0", "\udfff"]]),
        ("plan", "rollouts", [None, [4], [4, -1], [4, 2**31], [4, 4.0], [4, "4"]]),
        ("plan", "context_length", [[1], ["a", "b"], [-1, 1]]),
        ("plan", "reasons", [["train"], [1, 2], ["train", "x" * 257], [[], []]]),
        ("plan", "predicted", [[0.5], ["a", 0.5], [1e308, 0.5], [True, 0.5]]),
        ("outcomes", "groups", [None, [0], [0, 99], [0.0, 1.0]]),
        ("outcomes", "prompts", [None, ["p0"], ["p0", "nobody"]]),
        ("outcomes", "rewards", [None, [[1.0]], [[1.0], ["1.0"]], [[1.0], "10"], [[1.0], [1e308]], [[1.0], [True]]]),
        ("outcomes", "rewards", [[[1.0], [10**400]], [[1.0] * 5, [1.0] * 3], [[1.0], DEEP]]),
        ("outcomes", "num_tokens", [[[1]], [[1, 2, 3], [1, 2]], [[1, 2, 3], [1, 2, 2**62]], [[1, 2, 3], ["a"] * 3]]),
        ("outcomes", "truncated", [[[True]], [[True], [True]], [["no"] * 3, [False] * 3]]),
        ("outcomes", "errored", [[[True]], [[True], [True]]]),
        ("outcomes", "policy_version", [[0], [0, -1], [0, 2**31], ["0", 0]]),
        ("outcomes", "parts", [[0], [0, "a"], [0, [1]], [0, 2**63]]),
        ("outcomes", "prompt_tokens", [[1], [1, 10**400], [1, -1]]),
        ("admitted", "step", [None, -1, "0"]),
        ("admitted", "groups", [None, [0], [0, 99], [0, 0]]),
        ("admitted", "rollouts", [None, [[0]], [[0], [0, 0]], [[0], [3]], [[0], [-1]], [[0], ["0"]], [0, 1]]),
        ("lost", "group", [None, -1, 99, "0"]),
        ("lost", "rollouts", [None, 0, -1, 2**31, "1"]),
        ("lost", "again", [None, 1, "no"]),
        ("evaluation", "num_prompts", [None, 0, 3, "2"]),
        ("evaluation", "pass_rate", [None, -0.1, 1.1, "half", True]),
        ("evaluation", "passed", [[1], [1, 2], "10", ["1", "0"]]),
        ("evaluation", "low", ["low", 1e300]),
    ],
)
def test_a_forged_value_is_refused(run: Path, kind: str, name: str, values: list[Any]) -> None:
    good = read_journal(run / "journal.jsonl")
    where = next(number for number, record in enumerate(good) if record["kind"] == kind)
    for value in values:
        records = copy.deepcopy(good)
        records[where][name] = value
        forge(run, records)
        with pytest.raises(ValueError, match=r"journal.jsonl(, line \d+: no | has (schema|no))"):
            RunHistory.load(run)
        with suppress(ValueError):  # or it says where the plans differ
            replay(run)
    records = copy.deepcopy(good)
    del records[where][name]
    forge(run, records)
    if name in ("context_length", "reasons", "predicted", "num_tokens", "truncated", "errored", "policy_version"):
        assert len(summarise(RunHistory.load(run))["run"]) > 0
    elif name not in ("parts", "prompt_tokens", "passed", "low"):
        with pytest.raises(ValueError, match=r"journal.jsonl(, line \d+: no | has (schema|no))"):
            RunHistory.load(run)


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.0], [1.0, -1.0], [1.0, "1"], [1.0, True], 2.0])
def test_weights_are_positive_numbers_one_a_group(run: Path, weights: Any) -> None:
    records = read_journal(run / "journal.jsonl")
    where = next(number for number, record in enumerate(records) if record["kind"] == "admitted")
    for value, good in (([2.0, 1.0], True), (weights, False)):
        records[where]["weights"] = value
        forge(run, records)
        if good:
            assert read_run(run / "journal.jsonl")[where]["weights"] == value
        else:
            with pytest.raises(ValueError, match="weights of admitted"):
                read_run(run / "journal.jsonl")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda records: records[1:], "has no beginning of a run: its first record is 'evaluation'"),
        (lambda records: [*records, records[0]], "line 10: no record of a run: kind is 'start'"),
        (lambda records: [*records, {"kind": ["plan"]}], r"kind is \['plan'\]"),
        (lambda records: [*records, {}], "kind is None"),
        (lambda records: [*records, records[4]], "group 0 was admitted before"),
        (lambda records: [records[0], records[3]], "group 0 was never planned"),
        (lambda records: [records[0], records[8]], "group 3 was never planned"),
        (lambda records: [*records, {**records[2], "prompts": ["p0", "p0"]}], "group . is of prompt"),
        (lambda records: [], "is empty: nothing was planned yet"),
    ],
)
def test_what_no_run_writes_is_refused(run: Path, change: Any, message: str) -> None:
    forge(run, change(read_journal(run / "journal.jsonl")))
    with pytest.raises(ValueError, match=message):
        RunHistory.load(run)


def test_a_journal_of_something_else_is_refused(tmp_path: Path) -> None:
    forge(tmp_path, [{"schema": 1, "status": "finished"}])
    for read in (RunHistory.load, replay):
        with pytest.raises(ValueError, match="has no beginning of a run: its first record is None"):
            read(tmp_path)


def test_kinds_that_are_not_known_may_hold_what_they_like(run: Path) -> None:
    records = read_journal(run / "journal.jsonl")
    forge(run, [*records, {"kind": "weather", "step": "sunny"}])
    assert len(RunHistory.load(run).groups) == 4
    assert replay(run)["first_difference"] is None


def test_a_start_alone_has_nothing_to_report(run: Path) -> None:
    forge(run, read_journal(run / "journal.jsonl")[:1])
    assert summarise(RunHistory.load(run))["totals"]["rollouts"] == 0, "its prompts are known"
    (run / "prompts.jsonl").unlink()
    with pytest.raises(ValueError, match="nothing was planned yet"):
        RunHistory.load(run)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("prompts.jsonl", '{"prompt_id": "p0"}\n{"prompt_id": "p0"}\n', "prompt 'p0' is there twice"),
        ("prompts.jsonl", '{"prompt_id": 7}\n', "prompt_id must be text, got 7"),
        ("prompts.jsonl", '{"prompt": "p0"}\n', "prompt_id must be text, got None"),
        ("prompts.jsonl", '{"prompt_id": "\\ud800"}\n', "prompt_id must be text"),
        ("prompts.jsonl", '{"prompt_id": "p0", "difficulty": 1e999}\n', "difficulty is inf"),
        ("prompts.jsonl", '{"prompt_id": "p0", "difficulty": 1' + "0" * 400 + "}\n", "difficulty is 1000"),
        ("timing.jsonl", '{"seconds": "long"}\n', "timing.jsonl: seconds must be a number, got 'long'"),
        ("timing.jsonl", '{"seconds": 1e999}\n', "timing.jsonl: seconds must be a number, got inf"),
        ("resumes.jsonl", '{"dropped_rollouts": [1]}\n', r"dropped_rollouts must be a number, got \[1\]"),
        ("config.json", '{"steps": "ten"}', "config.json: steps must be a whole number, got 'ten'"),
        ("config.json", '{"task": "\\ud800"}', "config.json holds text that cannot be written"),
        (
            "prompts.jsonl",
            '{"prompt_id": "p0", "source": ["\\ud800"]}\n',
            "source or difficulty holds text that cannot",
        ),
        ("config.json", "[" * 100_000, "config.json is not valid JSON"),
        ("timing.jsonl", "[" * 100_000 + "\n", "timing.jsonl line 1 is not valid JSON"),
    ],
)
def test_a_file_beside_it_that_is_wrong_is_named(run: Path, name: str, text: str, message: str) -> None:
    (run / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        RunHistory.load(run)


def test_half_a_surrogate_pair_in_a_prompt_can_be_drawn(run: Path) -> None:
    (run / "prompts.jsonl").write_text('{"prompt_id": "p0", "prompt": "1 \\ud800 1", "answer": "\\udfff"}\n')
    history = RunHistory.load(run)
    assert (history.prompts.text[0], history.prompts.answer[0]) == ("1 ? 1", "?")
    json.dumps([summarise(history), inspect_prompts(history)], ensure_ascii=False).encode()


def test_options_that_make_no_method_are_refused(run: Path) -> None:
    good = read_journal(run / "journal.jsonl")
    for name, value in {
        "prior": 7,
        "rollouts_per_step": "8",
        "prompts_per_step": None,
        "window": [],
        "seed": {},
    }.items():
        records = copy.deepcopy(good)
        records[0]["options"][name] = value
        forge(run, records)
        with pytest.raises(ValueError, match=r"."):
            replay(run)


def test_budgets_that_no_sum_can_hold_are_refused(run: Path) -> None:
    records = read_journal(run / "journal.jsonl")
    records[0]["options"]["rollouts_per_step"] = 2**63
    forge(run, records)
    for method in (None, "dapo"):
        with pytest.raises(ValueError, match=r"."):
            replay(run, method)


def test_a_step_far_away_costs_another_method_nothing(run: Path) -> None:
    records = read_journal(run / "journal.jsonl")
    for record in records[5:8]:
        record["step"] = 2**31 - 2
    forge(run, records)
    assert replay(run, "dapo")["steps"] == 2
    assert summarise(RunHistory.load(run))["run"]["steps_done"] == 2**31 - 1
