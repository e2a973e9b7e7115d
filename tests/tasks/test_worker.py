import json
import math

from hypothesis import given
from hypothesis import strategies as st

from didact.tasks.worker import describe, judge, one_line, read_answer, write_answer

ASKED, OTHER = "0" * 32, "1" * 32


@given(st.one_of(st.none(), st.floats(0, 1)), st.text(st.characters(), max_size=600))
def test_an_answer_is_read_as_it_was_written_and_only_for_its_question(value: float | None, detail: str) -> None:
    line = write_answer(ASKED, value, detail)
    assert read_answer(line, ASKED) == (value, one_line(detail))
    assert read_answer(line, OTHER) is None
    assert read_answer(line * 2, ASKED) is None
    assert read_answer(line[:-1], ASKED) is None
    assert read_answer(b"[]\n" + line, ASKED) is None


@given(st.binary() | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(lambda x: json.dumps(x).encode()))
def test_nothing_else_is_an_answer(line: bytes) -> None:
    assert read_answer(line + b"\n", ASKED) is None


def test_only_a_float_from_0_to_1_is_a_value() -> None:
    for value in (2.0, -0.1, math.nan, math.inf, 1, True, "1.0", [1.0], 10**400):
        assert read_answer(json.dumps([ASKED, value, ""]).encode() + b"\n", ASKED) is None
    assert read_answer(b"[" * 100_000 + b"\n", ASKED) is None
    assert read_answer(b"9" * 10_000 + b"\n", ASKED) is None


def test_details_are_one_line_that_a_terminal_shows() -> None:
    assert one_line("a\nb\x1b[31m\ud800" + "x" * 600) == "a b [31m " + "x" * 491
    assert describe(ValueError("two\nlines")) == "ValueError: two lines"


def test_an_interrupt_in_the_calling_process_is_the_user_s() -> None:
    def interrupted(response: str, answer: str) -> float:
        raise KeyboardInterrupt

    try:
        judge(interrupted, "", "")
    except KeyboardInterrupt:
        return
    raise AssertionError
