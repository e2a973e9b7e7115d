"""A journal cut off or altered anywhere is read as a prefix of the truth or refused by name; never silently wrong."""

import gc
import json
import math
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

from didact import Curriculum, GroupOutcome, PromptPool, make
from didact import journal as journals
from didact.journal import Journal, RecordedCurriculum, outcomes_of, read_journal
from didact.report.records import read_run
from didact.state import seal
from didact.testing import outcomes_of as answers
from didact.testing.contract import same_state


def curriculum(method: str = "uniform", ids: tuple[str, ...] = ("é", "b", "c", "d")) -> Curriculum:
    return make(method, PromptPool(ids), prompts_per_step=2, rollouts_per_step=4, seed=3)


def run_steps(recorded: Curriculum, steps: range) -> None:
    for step in steps:
        while plan := recorded.plan(step):
            recorded.observe(
                GroupOutcome(group.group_id, group.prompt_id, [step % 2, math.nan], [3, 4], [False, True])
                for group in plan
            )
        recorded.admitted(step)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of three steps: ten records."""
    journal = Journal(tmp_path / "journal.jsonl")
    run_steps(RecordedCurriculum(curriculum(), journal), range(3))
    journal.close()
    return journal.path


def test_it_holds_what_happened(path):
    records = read_journal(path)
    assert [record["kind"] for record in records] == ["start", *["plan", "outcomes", "admitted"] * 3]
    start, plan, outcomes, admitted = records[:4]
    assert start["method"] == "uniform"
    assert start["pool"]["size"] == 4
    assert plan["rollouts"] == [2, 2]
    (first, second) = outcomes_of(outcomes)
    assert first.prompt_id == plan["prompts"][0]
    assert second.group_id == plan["groups"][1]
    assert first.rewards[0] == 0.0
    assert math.isnan(first.rewards[1])
    assert first.errored == (False, True)
    assert first.truncated == (False, True)
    assert first.num_tokens == (3, 4)
    assert outcomes["first"] == [0, 0]
    assert admitted["rollouts"] == [[0], [0]]
    assert "weights" not in admitted
    for line in path.read_text().splitlines():
        json.loads(line)


def test_a_pool_that_grows_is_known_by_its_size(tmp_path):
    def recorded(name: str, pool: PromptPool) -> Curriculum:
        made = make("uniform", pool, prompts_per_step=2, rollouts_per_step=8)
        return RecordedCurriculum(made, Journal(tmp_path / name))

    def grown() -> PromptPool:
        return PromptPool(["a", "b", "c"])

    first, pool = recorded("one", grown()), grown()
    second = recorded("two", pool)
    run_steps(first, range(1))
    run_steps(second, range(1))
    first.pool.extend(["d", "e"])
    run_steps(first, range(1, 3))
    state = second.state_dict()
    second.listener.close()
    pool.extend(["d", "e"])
    resumed = recorded("two", pool)
    resumed.load_state_dict(state)
    run_steps(resumed, range(1, 3))
    sizes = [each.get("pool_size") for each in read_journal(tmp_path / "one") if each["kind"] == "plan"]
    assert sizes == [None, 5, 5]
    assert read_journal(tmp_path / "one")[0]["pool"]["size"] == 3
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_it_holds_what_groups_weigh_where_a_method_weighs_them(tmp_path):
    pool = PromptPool([f"p{index}" for index in range(6)])
    made = make("cures", pool, prompts_per_step=4, rollouts_per_step=16, with_replacement=True, seed=1)
    journal = Journal(tmp_path / "journal.jsonl")
    recorded = RecordedCurriculum(made, journal)
    while plan := recorded.plan(0):
        recorded.observe(answers(plan, lambda num: [1.0, 0.0] * (num // 2)))
    weights = [group.weight for group in recorded.admitted(0)]
    journal.close()
    assert max(weights) > 1
    assert read_run(tmp_path / "journal.jsonl")[-1]["weights"] == weights


def test_it_says_where_rollouts_stand_in_their_group(tmp_path):
    """Parts of two groups, one out of order, one twice, and one that comes a step late."""
    journal = Journal(tmp_path / "journal.jsonl")
    recorded = RecordedCurriculum(
        make("uniform", PromptPool(list("abcd")), prompts_per_step=2, rollouts_per_step=8), journal
    )
    first, second = recorded.plan(0)

    def part(group, label: int, num: int) -> GroupOutcome:
        return GroupOutcome(group.group_id, group.prompt_id, [1.0, 0.0, 1.0][:num], part=label)

    placed = recorded.observe([part(first, 1, 2), part(second, 0, 1), part(first, 0, 1), part(first, 1, 2)])
    recorded.admitted(0)
    recorded.plan(1)
    placed += recorded.observe([part(second, 1, 3), part(second, 0, 1)])
    journal.close()
    told = [each for each in read_journal(journal.path) if each["kind"] == "outcomes"]
    assert [each["first"] for each in told] == [[0, 0, 2, None], [1, None]]
    assert placed == [range(2), range(1), range(2, 3), range(0), range(1, 4), range(0)]


def test_record_gives_the_curriculum_itself(tmp_path):
    made = curriculum()
    assert journals.record(made, tmp_path / "new" / "run") is made
    run_steps(made, range(2))
    made.listener.close()
    assert len(read_journal(tmp_path / "new" / "run" / "journal.jsonl")) == 7
    assert [line["step"] for line in read_journal(tmp_path / "new" / "run" / "metrics.jsonl")] == [0, 1]
    other = curriculum()
    assert RecordedCurriculum(other, Journal(tmp_path / "j")) is other
    with pytest.raises(ValueError, match="a Recorder listens to this curriculum already"):
        journals.record(other, tmp_path / "new" / "run")
    Journal(tmp_path / "new" / "run" / "journal.jsonl", seconds=0).close()  # let go of


def test_the_files_go_with_the_curriculum(tmp_path):
    gc.disable()  # by themselves, and not when cycles are looked for
    try:
        made = journals.record(curriculum(), tmp_path)
        run_steps(made, range(1))
        with pytest.raises(ValueError, match="one at a time writes there"):
            Journal(tmp_path / "journal.jsonl", seconds=0)
        del made
        Journal(tmp_path / "journal.jsonl", seconds=0).close()
    finally:
        gc.enable()


def test_cut_off_at_every_byte(path):
    true, data = read_journal(path), path.read_bytes()
    for end in range(len(data)):
        path.write_bytes(data[:end])
        whole = data[:end].count(b"\n")
        assert read_journal(path) == true[:whole]
        Journal(path).close()
        assert path.read_bytes() == data[: data[:end].rfind(b"\n") + 1]


def test_a_changed_byte_is_refused_with_the_line(path):
    true, data = read_journal(path), path.read_bytes()
    for index in range(len(data)):
        changed = bytearray(data)
        changed[index] ^= 1 + index % 255
        path.write_bytes(changed)
        line = data[:index].count(b"\n") + 1
        if index == len(data) - 1:  # without its newline the last line counts as not yet written
            assert read_journal(path) == true[:-1]
            continue
        with pytest.raises(ValueError, match=rf"journal.jsonl, line {line}: damaged"):
            read_journal(path)


@pytest.mark.parametrize("tail", [b"\0\0\0\0", b'{"crc":"12', b'{"crc"\0\0\0', b"{"])
def test_what_a_crash_may_leave_is_dropped(path, tail):
    data = path.read_bytes()
    path.write_bytes(data + tail)
    assert len(read_journal(path)) == 10
    journal = Journal(path)
    assert journal.offset == len(data)
    journal.append({"kind": "next"})
    journal.close()
    assert read_journal(path)[-1] == {"kind": "next"}
    path.write_bytes(tail)
    assert read_journal(path) == []


@pytest.mark.parametrize("foreign", [b"somebody's notes, one line", b"one\ntwo\n", b'{"a": 1}\n', b"\x80\xff\n", b"\n"])
def test_another_file_is_refused_and_left_alone(tmp_path, foreign):
    path = tmp_path / "notes.txt"
    path.write_bytes(foreign)
    with pytest.raises(ValueError, match=r"notes.txt, line 1: damaged, or no journal of didact"):
        Journal(path)
    assert path.read_bytes() == foreign


def test_no_journal(tmp_path):
    with pytest.raises(FileNotFoundError, match="no journal at"):
        read_journal(tmp_path / "journal.jsonl")
    with pytest.raises(FileNotFoundError, match="no journal at"):
        read_journal(tmp_path)


def test_a_resumed_journal_equals_an_uninterrupted_one(tmp_path):
    def recorded(name: str) -> Curriculum:
        journal, metrics = Journal(tmp_path / name), Journal(tmp_path / f"{name}-metrics")
        return RecordedCurriculum(curriculum("cures"), journal, metrics)

    straight, cut = recorded("straight"), recorded("cut")
    run_steps(straight, range(6))
    run_steps(cut, range(3))
    state = cut.state_dict()
    run_steps(cut, range(3, 5))  # lost in the crash: made again below
    cut.listener.close()
    resumed = recorded("cut")
    resumed.load_state_dict(state)
    run_steps(resumed, range(3, 6))
    for suffix in ("", "-metrics"):
        assert (tmp_path / f"cut{suffix}").read_bytes() == (tmp_path / f"straight{suffix}").read_bytes()


def sealed(state: dict[str, Any], offsets: dict[str, Any]) -> dict[str, Any]:
    """The state of one that says its journals stood elsewhere."""
    return seal({"curriculum": state["curriculum"], "offsets": offsets})


def test_states_that_do_not_belong_to_it_change_nothing(tmp_path):
    recorded = RecordedCurriculum(curriculum(), Journal(tmp_path / "a"))
    run_steps(recorded, range(3))
    state = recorded.state_dict()
    recorded.listener.close()
    journal = Journal(tmp_path / "b")
    new = RecordedCurriculum(curriculum(), journal)
    offsets = state["offsets"]
    for offset, message in [
        (offsets["journal"], "it is another journal"),
        (-1, "it is another journal"),
        (1.0, "it is another journal"),
        (journal.offset - 1, "no record of .* ends at"),
    ]:
        with pytest.raises(ValueError, match=message):
            new.load_state_dict(sealed(state, {"journal": offset}))
    for bad in (state["curriculum"], [], sealed(state, {}), sealed(state, {**offsets, "metrics": 0})):
        with pytest.raises(ValueError, match=r"no state of a recorded curriculum|the state says where"):
            new.load_state_dict(bad)
    assert new.step == -1
    for other, message in {
        curriculum("dapo"): "state of method 'uniform'",
        curriculum(ids=("x", "b", "c", "d")): "state of another pool",
        make("uniform", PromptPool(list("abcd")), prompts_per_step=2, rollouts_per_step=6): "rollouts_per_step=4",
    }.items():
        journal = Journal(tmp_path / "a")
        before = journal.offset
        with pytest.raises(ValueError, match=message):
            RecordedCurriculum(other, journal).load_state_dict(state)
        assert journal.offset == before
        journal.close()


def test_a_run_is_not_recorded_into_a_journal_of_something_else(tmp_path):
    for record, message in [
        ({"kind": "start", "schema": 1}, "has schema 1, this version of didact reads schema 2"),
        ({"schema": 2, "status": "finished"}, "has no beginning of a run: its first record is None"),
    ]:
        journal = Journal(tmp_path / "journal.jsonl")
        journal.append(record)
        data = journal.path.read_bytes()
        with pytest.raises(ValueError, match=message):
            RecordedCurriculum(curriculum(), journal)
        assert journal.path.read_bytes() == data
        journal.rewind(0)
        journal.close()


def test_a_second_writer_is_refused_and_changes_nothing(path):
    journal = Journal(path)
    data = path.read_bytes()
    code = "import sys; from didact.journal import Journal; Journal(sys.argv[1], seconds=0)"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert f"ValueError: another process is working on {path}" in done.stderr
    with pytest.raises(ValueError, match="one at a time writes there"):
        Journal(path, seconds=0)
    assert path.read_bytes() == data
    journal.append({"kind": "next"})
    assert read_journal(path)[-1] == {"kind": "next"}, "readers need no lock"
    journal.close()
    Journal(path, seconds=0).close()


def test_lines_removed_doubled_or_moved_are_refused_by_number(path):
    lines = path.read_bytes().splitlines(keepends=True)
    last = len(lines) - 1
    for index in range(last + 1):
        for changed, message in [
            (lines[:index] + lines[index + 1 :], None if index == last else f"record {index + 1} is missing"),
            (lines[: index + 1] + lines[index:], f"line {index + 2}: record {index + 1} is there again"),
            ([*lines[:index], *lines[index:][::-1]], None if index == last else f"record {index + 1} is missing"),
        ]:
            path.write_bytes(b"".join(changed))
            if message is None:  # nothing after it tells that it was there
                assert len(read_journal(path)) == len(changed)
                continue
            for open_ in (read_journal, Journal):
                with pytest.raises(ValueError, match=message):
                    open_(path)
            assert path.read_bytes() == b"".join(changed), "what is refused is left alone"


def forged(body: bytes) -> bytes:
    """A line with a right checksum."""
    return b'{"crc":"%08x",%s\n' % (zlib.crc32(body), body[1:])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"line":1,"deep":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "damaged"),
        (b'{"line":1,"digits":' + b"9" * 5000 + b"}", "damaged"),
        (b'{"line":1,"reward":NaN}', "damaged"),
        (b'{"line":1,"text":"\x80"}', "damaged"),
        (b'{"line":1}{}', "damaged"),
        (b'{"kind":"start","schema":1}', "it has no number"),
        (b'{"line":"1"}', "it has no number"),
        (b'{"line":2}', "record 1 is missing"),
    ],
    ids=["deep", "digits", "nan", "no text", "two", "unnumbered", "number as text", "second"],
)
def test_a_right_checksum_does_not_make_a_record(tmp_path, body, message):
    path = tmp_path / "journal.jsonl"
    path.write_bytes(forged(body))
    for open_ in (read_journal, Journal):
        with pytest.raises(ValueError, match=f"line 1: .*{message}"):
            open_(path)
    assert path.read_bytes() == forged(body)


def test_a_file_without_line_ends_is_not_read_into_memory(path, monkeypatch):
    monkeypatch.setattr("didact.journal._LONGEST", 4096)
    for tail in (b"\0" * 5000, b'{"crc":"' + b"x" * 5000):
        whole = path.read_bytes()
        path.write_bytes(whole + tail)
        with pytest.raises(ValueError, match="line 11: damaged"):
            read_journal(path)
        path.write_bytes(whole)
    journal = Journal(path)
    with pytest.raises(ValueError, match="more than a journal takes, 4096"):
        journal.append({"text": "x" * 5000})
    assert path.read_bytes() == whole


def test_a_record_does_not_number_itself(tmp_path):
    journal = Journal(tmp_path / "j")
    with pytest.raises(ValueError, match='no field "line" of its own, got 1'):
        journal.append({"line": 1})
    assert journal.offset == 0


def test_a_state_that_was_altered_cuts_nothing(tmp_path):
    recorded = RecordedCurriculum(curriculum(), Journal(tmp_path / "a"), Journal(tmp_path / "a-metrics"))
    run_steps(recorded, range(3))
    state = recorded.state_dict()
    run_steps(recorded, range(3, 4))
    before, sizes = recorded.state_dict(), {path: path.stat().st_size for path in tmp_path.iterdir()}
    offsets, inner = state["offsets"], state["curriculum"]
    for bad in (
        {"offsets": {**offsets, "journal": offsets["journal"] - 1}},
        {"offsets": {**offsets, "metrics": float(offsets["metrics"])}},
        {"offsets": {"journal": offsets["journal"]}},
        {"curriculum": {**inner, "step": 7}},
        {"curriculum": seal({name: inner[name] for name in inner if name != "digest"} | {"round": 7})},
    ):
        with pytest.raises(ValueError, match="altered or damaged"):
            recorded.load_state_dict({**state, **bad})
        assert same_state(recorded.state_dict(), before)
        assert {path: path.stat().st_size for path in tmp_path.iterdir()} == sizes
    recorded.load_state_dict(state)
    assert same_state(recorded.state_dict(), state)


FULL_DISK = """
import resource, sys
from didact.journal import Journal, read_journal
journal = Journal(sys.argv[1])
journal.append({"text": "x" * 50})
resource.setrlimit(resource.RLIMIT_FSIZE, (journal.offset + 30, resource.RLIM_INFINITY))
try:
    journal.append({"text": "y" * 50})
    sys.exit("nothing was raised")
except OSError:
    pass
assert len(read_journal(sys.argv[1])) == 1
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.append({"text": "z"})
journal.close()
assert [record["text"][0] for record in read_journal(sys.argv[1])] == ["x", "z"]
"""


def test_a_full_disk_leaves_whole_records_and_it_can_go_on(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path / "j")], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_numbers_that_json_has_no_word_for_are_refused(tmp_path):
    journal = Journal(tmp_path / "j")
    with pytest.raises(ValueError, match="JSON"):
        journal.append({"loss": math.nan})
    assert journal.offset == 0
