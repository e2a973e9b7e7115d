"""Where the progress of a run goes."""

from typing import Protocol


class Display(Protocol):
    """Where progress goes. The command line draws it; `Silent` does not."""

    def stage(self, name: str, done: int, total: int) -> None:
        """Preparation: warm start, evaluation."""

    def step(self, step: int, total: int, metrics: dict[str, float]) -> None:
        """A training step is over."""

    def note(self, text: str) -> None:
        """One line worth keeping."""


class Silent:
    """No progress."""

    def stage(self, name: str, done: int, total: int) -> None:
        pass

    def step(self, step: int, total: int, metrics: dict[str, float]) -> None:
        pass

    def note(self, text: str) -> None:
        pass
