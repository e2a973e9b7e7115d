r"""The content of the ``\boxed{...}`` of a text, with their braces matched.

Time is proportional to the length of the text, which regular expressions for nested braces do not promise.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

_GAP: Final = 60
_JOINED: Final = re.compile(
    r"(?:[\s$,;]|\\[()\[\],;: ]|\\q?quad|\\text\{\s*(?:and|or)\s*\}|\b(?:and|or)\b|\b[A-Za-z](?:_?\w|_\{\w\})?\s*=)*"
)
_OPENING: Final = re.compile(r"\\(?:boxed|fbox)\{")


@dataclass(frozen=True, slots=True)
class Box:
    """A complete box: its content, and where in the text it begins and ends."""

    content: str
    start: int
    end: int


def last_boxed(text: str) -> str | None:
    """What stands in the last complete box, or None where there is none; a box that is cut off is none."""
    last = next(boxes_backwards(text), None)
    return None if last is None else last.content


def boxes_backwards(text: str) -> Iterator[Box]:
    """The complete boxes of a text from its end to its beginning; of boxes within boxes the innermost."""
    end = len(text)
    for opening in reversed(list(_OPENING.finditer(text))):
        close = _closing(text, opening.end(), end)
        if close is not None:
            yield Box(text[opening.end() : close].strip(), opening.start(), close + 1)
        end = opening.start()


def last_boxes(text: str, most: int = 20) -> tuple[list[Box], int]:
    """The boxes at the end that are one answer in parts, in order, and how many boxes there are, counted to `most`.

    They are one answer if there is nothing between them but a comma, an "and" or an "or", or the name of a variable.
    """
    boxes = list(islice(boxes_backwards(text), most))
    last = boxes[:1]
    for box in boxes[1:]:
        gap = text[box.end : last[-1].start]
        if len(gap) > _GAP or not _JOINED.fullmatch(gap):
            break
        last.append(box)
    return last[::-1], len(boxes)


def _closing(text: str, begin: int, end: int) -> int | None:
    """Position of the brace that closes the one before `begin`."""
    depth, position = 1, begin
    while position < end:
        character = text[position]
        if character == "\\":
            position += 1  # an escaped brace is no brace
        elif character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                return position
        position += 1
    return None
