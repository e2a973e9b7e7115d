"""Progress of a command on standard error: one live line on a terminal, elsewhere plain lines now and then.

A terminal that cannot move its cursor (TERM=dumb) counts as none: it would show nothing until the end. A display that
cannot be written to, because its terminal was closed, is no reason to stop.
"""

import logging
import time
from contextlib import suppress
from typing import Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_TOLD_AFTERWARDS: Final = "evaluating"  # a stage that ends with a line about what came of it


class Terminal:
    """A display for `didact.training` and for `didact.compare`."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._live = self._console.is_interactive
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=10),  # with the figures of training, 80 columns
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self._console,
            transient=True,
            disable=not self._live,
        )
        self._stage, self._began, self._told = "", 0.0, 0.0
        self._done = self._done_before = 0

    def __enter__(self) -> "Terminal":
        with suppress(OSError):
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._progress.stop()

    def stage(self, name: str, done: int, total: int) -> None:
        """How far a stage is; off a terminal a line when there is news, at least every half minute it is called in."""
        now = time.monotonic()
        if fresh := name != self._stage:
            self._stage, self._began, self._done_before = name, now, done
        news, took = fresh or done != self._done, now - self._began
        self._done = done
        self._show(name, done, total, _said_time(took))
        due = fresh or now - self._told > (10 if news else 30) or (news and done == total)
        if due and not self._live and name != _TOLD_AFTERWARDS:
            self._told = now
            self.note(f"{name}: {done}/{total} after {_said_time(took)}{self._left(done, total, took)}")

    def step(self, step: int, total: int, metrics: dict[str, float]) -> None:
        """A training step is over; off a terminal every tenth has a line."""
        figures = (
            f"pass {metrics['pass_rate']:.2f}  signal {metrics['share_with_signal']:.0%}  "
            f"{metrics['rollouts']:,.0f} rollouts"
        )
        if not self._live or self._console.width >= 110:
            figures += f"  {metrics['response_tokens']:,.0f} tokens"
            if metrics["context_length"]:
                figures += f"  context {metrics['context_length']:.0f}"
        self._stage = "training"
        self._show("training", step, total, figures)
        if not self._live and (step % 10 == 0 or step == total):
            self.note(f"step {step}/{total}  {figures}")

    def note(self, text: str) -> None:
        """One line worth keeping."""
        with suppress(OSError):
            if self._live:
                self._console.print(text, highlight=False, markup=False, emoji=False, soft_wrap=True)
            else:
                click.echo(text, err=True)

    def _show(self, name: str, done: int, total: int, figures: str) -> None:
        """A bar for each name, of which one is seen: what is left is estimated from its own pace."""
        if not self._live:
            return
        with suppress(OSError):
            bars = {bar.description: bar.id for bar in self._progress.tasks}
            if name not in bars:
                bars[name] = self._progress.add_task(name, total=total, figures=figures)
            for each, bar in bars.items():
                self._progress.update(bar, visible=each == name)
            self._progress.update(bars[name], completed=done, total=total, figures=figures)

    def _left(self, done: int, total: int, took: float) -> str:
        """At the pace of this stage. What was done before it began says nothing about that."""
        if done == total:
            return ""
        if done == self._done_before:
            return ", no estimate before the next has ended"
        return f", about {_said_time(took / (done - self._done_before) * (total - done))} left"


def _said_time(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}" if seconds >= 10 * size else f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


class Notes(logging.Handler):
    """What is logged, as notes of a terminal."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__()
        self._terminal = terminal

    def emit(self, record: logging.LogRecord) -> None:
        grave = record.levelno >= logging.WARNING
        self._terminal.note(f"{record.levelname}: {record.getMessage()}" if grave else record.getMessage())
