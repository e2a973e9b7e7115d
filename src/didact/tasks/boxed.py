r"""The content of the last ``\boxed{...}`` of a text, with its braces matched.

Time is proportional to the length of the text, which regular expressions for nested braces do not promise.
"""

import re
from typing import Final

_OPENING: Final = re.compile(r"\\(?:boxed|fbox)\{")


def last_boxed(text: str) -> str | None:
    """What stands in the last complete box, or None where there is none; a box that is cut off is none."""
    end = len(text)
    for opening in reversed(list(_OPENING.finditer(text))):
        close = _closing(text, opening.end(), end)
        if close is not None:
            return text[opening.end() : close].strip()
        end = opening.start()
    return None


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
