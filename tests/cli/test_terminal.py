import io
import logging

import pytest
from rich.console import Console

from didact.cli import terminal
from didact.cli.terminal import Notes, Terminal


class _Clock:
    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


def test_where_there_is_no_terminal_a_line_comes_at_least_every_half_minute(capsys, monkeypatch):
    clock = _Clock()
    monkeypatch.setattr(terminal, "time", clock)
    with Terminal(Console(file=io.StringIO())) as display:
        for _ in range(5 * 300):  # 300 s in which nothing ends
            display.stage("preparing test beds", 0, 10)
            clock.now += 0.2
        display.stage("preparing test beds", 1, 10)
        display.stage("comparing", 0, 5)
        display.stage("comparing", 5, 5)
        display.stage("comparing", 5, 5)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "preparing test beds: 0/10 after 0 s, no estimate before the next has ended"
    assert 10 <= len(lines) <= 13
    assert lines[1] == "preparing test beds: 0/10 after 30 s, no estimate before the next has ended"
    assert lines[-2:] == [
        "comparing: 0/5 after 0 s, no estimate before the next has ended",
        "comparing: 5/5 after 0 s",
    ]
    assert lines.count(lines[-1]) == 1


def test_what_is_left_is_estimated_from_what_ended_since_the_stage_began(capsys, monkeypatch):
    clock = _Clock()
    monkeypatch.setattr(terminal, "time", clock)
    with Terminal(Console(file=io.StringIO())) as display:
        display.stage("comparing", 100, 130)  # a hundred were there already
        clock.now += 90
        display.stage("comparing", 103, 130)
        clock.now += 810
        display.stage("comparing", 129, 130)
        clock.now += 9000
        display.stage("comparing", 129, 130)
    assert capsys.readouterr().err.splitlines()[1:] == [
        "comparing: 103/130 after 90 s, about 14 min left",
        "comparing: 129/130 after 15 min, about 31 s left",
        "comparing: 129/130 after 2.8 h, about 5.7 min left",
    ]


def test_a_terminal_that_cannot_move_its_cursor_gets_lines_too(capsys):
    dumb = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb"})
    with Terminal(dumb) as display:
        display.stage("preparing test beds", 0, 10)
    assert "preparing test beds: 0/10" in capsys.readouterr().err


class _Closed(io.StringIO):
    def write(self, text):
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("forced", [True, False])
def test_a_closed_terminal_is_no_reason_to_stop(monkeypatch, forced):
    monkeypatch.setattr("sys.stderr", _Closed())
    display = Terminal(Console(file=_Closed(), force_terminal=forced))
    display.stage("comparing", 0, 5)
    display.note("a run failed")
    display.stage("comparing", 5, 5)
    display.__exit__()


METRICS = {"pass_rate": 0.5, "share_with_signal": 0.25, "rollouts": 640, "response_tokens": 6400, "context_length": 0}


def test_off_a_terminal_every_tenth_step_has_a_line_and_an_evaluation_none(capsys):
    with Terminal(Console(file=io.StringIO())) as display:
        for step in range(1, 13):
            display.step(step, 12, METRICS)
            display.stage("evaluating", 0, 8)
    figures = "pass 0.50  signal 25%  640 rollouts  6,400 tokens"
    assert capsys.readouterr().err.splitlines() == [f"step 10/12  {figures}", f"step 12/12  {figures}"]


def test_on_a_terminal_one_bar_is_seen():
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=80, _environ={"TERM": "xterm"})
    with Terminal(console) as display:
        display.stage("warm start", 1, 4)
        display.step(1, 300, METRICS)
        display.note(":cat: [bold]")
        display._progress.refresh()
    seen = console.file.getvalue()
    assert ":cat: [bold]" in seen
    last = seen[seen.rindex("training") :]
    assert "  1/300 pass 0.50  signal 25%  640 rollouts" in last
    assert "warm start" not in last


def test_what_is_logged_is_a_note(capsys):
    log = logging.Logger("any")
    log.addHandler(Notes(Terminal(Console(file=io.StringIO()))))
    log.info("step %d: selection is left", 3)
    log.warning("no cache")
    assert capsys.readouterr().err.splitlines() == ["step 3: selection is left", "WARNING: no cache"]
