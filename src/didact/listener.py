"""What hears all that a curriculum does: see `Curriculum.listen`. The journal is one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from didact.outcomes import GroupOutcome
from didact.plan import AdmittedGroup, Plan

if TYPE_CHECKING:
    from didact.curriculum import Curriculum


class Listener:
    """Told of everything after it was done, and before the caller hears of it. This one does nothing with it.

    What a listener raises, the caller gets; the curriculum has changed by then. It is handed the curriculum each time
    and should not keep it: then both, and the files it holds open, go when the curriculum goes.
    """

    def begins(self, curriculum: Curriculum) -> None:
        """`curriculum` is listened to from now on; an error leaves it without a listener."""

    def planned(self, curriculum: Curriculum, plan: Plan) -> None:
        """A plan that is not empty."""

    def observed(self, curriculum: Curriculum, outcomes: Sequence[GroupOutcome], placed: Sequence[range]) -> None:
        """Outcomes, and for each the positions of its rollouts in the group: an empty range is a repetition."""

    def lost(self, curriculum: Curriculum, group_id: int, num_rollouts: int, again: bool) -> None:
        """As `Curriculum.lost` was told."""

    def found(self, curriculum: Curriculum, group_id: int, num_rollouts: int) -> None:
        """As `Curriculum.found` was told."""

    def admitted(self, curriculum: Curriculum, groups: Sequence[AdmittedGroup], before: int, complete: bool) -> None:
        """The groups of the step so far, of which the first `before` are known from earlier calls."""

    def saved(self, state: dict[str, Any]) -> dict[str, Any]:
        """The curriculum's state, with whatever the listener has to add."""
        return state

    @contextmanager
    def loading(self, state: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """Takes what `saved` gave and yields the curriculum's own part, which is loaded inside. It raises before it
        yields or not at all, so that whatever is refused has changed nothing."""
        yield state

    def close(self) -> None:
        """Let go of what it holds; the curriculum's owner says when."""
