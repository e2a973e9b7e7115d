"""Names that somebody mistyped: the end of the error message that says so."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: object, known: Iterable[str]) -> str:
    """`"; did you mean 'cures'?"`, or nothing where no known name is near. Upper and lower case are the same."""
    folded = {each.lower(): each for each in known}
    near = get_close_matches(str(name).lower(), folded, n=1)
    return f"; did you mean {folded[near[0]]!r}?" if near else ""


def nearest_or_all(name: object, known: Iterable[str]) -> str:
    """As `nearest`; where none is near, `"; choose from cures, uniform"`, for names that are not too many to list."""
    known = sorted(known)
    return nearest(name, known) or f"; choose from {', '.join(known)}"
