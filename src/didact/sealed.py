"""JSON files that carry a digest of what they hold: a changed or cut-off one is known as such.

    {"name": "main", ..., "digest": "8f14e45fceea167a5a36dedd4bea2543"}

The digest is over the values and not over the bytes, so that another indentation is no damage. It tells an accident
from what was written; it is no signature.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from didact.files import write_whole
from didact.state import digest


def write_sealed(path: str | os.PathLike[str], values: Mapping[str, Any]) -> None:
    """Write a JSON object whole, with its digest.

    Raises:
        ValueError, TypeError: the values are not what JSON can hold. OSError: the file cannot be written.
    """
    text = json.dumps({**values, "digest": digest(values)}, indent=2, ensure_ascii=False, allow_nan=False)
    write_whole(path, text + "\n")


def read_sealed(path: str | os.PathLike[str], *, by_hand: bool = False) -> dict[str, Any]:
    """What `write_sealed` wrote, without the digest.

    Args:
        by_hand: whether somebody may have changed the file on purpose, and says so by removing the line "digest".

    Raises:
        FileNotFoundError: no such file. ValueError: it is not JSON, has no digest or not its own.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}): it was cut off or is another file") from None
    if not isinstance(values, dict) or ("digest" not in values and not by_hand):
        raise ValueError(f"{path} carries no digest: it is another file, or was not written by didact")
    if "digest" in values and values.pop("digest") != digest(values):
        instead = ', or, if you changed it on purpose, remove the line "digest"' if by_hand else ""
        raise ValueError(
            f"{path} was changed after it was written (its digest is another): put the original back{instead}"
        )
    return values
