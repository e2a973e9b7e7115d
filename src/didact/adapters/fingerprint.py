"""What a data set said when a run began, so that going on with another one is found out.

Prompt ids alone do not tell: where row numbers are the ids, a reshuffled data set has the same ones, and an answer that
was corrected has the id of the wrong one. So the text and what looks like an answer are hashed, column by column, and
once more without regard to the order of the rows. A checkpoint keeps the hashes and not the rows.
"""

import json
import re
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

#: Columns that decide which responses are right, whatever the data set calls them.
_ANSWERS = re.compile("answer|solution|truth|gold|target|label|expect|reference|reward_model|test", re.IGNORECASE)


def telling(names: Iterable[str]) -> list[str]:
    """Those of a data set's columns whose values make a prompt what it is: its text and its answers."""
    return [name for name in names if name == "prompt" or _ANSWERS.search(name)]


def fingerprint(columns: Mapping[str, Iterable[Any]], size: int) -> dict[str, Any]:
    """Hashes of `size` rows: of each column, and of all rows in whatever order. One pass, microseconds a value."""
    whole = {name: blake2b(digest_size=16) for name in columns}
    unordered = 0
    for values in zip(*columns.values(), strict=True):
        row = blake2b(digest_size=8)
        for name, value in zip(columns, values, strict=True):
            hashed = _hash(value)
            whole[name].update(hashed)
            row.update(hashed)
        unordered += int.from_bytes(row.digest())  # a sum knows no order
    hashes = {name: each.hexdigest() for name, each in whole.items()}
    return {"rows": size, "columns": hashes, "unordered": f"{unordered % 2**64:016x}"}


def difference(saved: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """What differs between two fingerprints, in words; None where all columns that both have are the same.

    A column that one of them lacks is no difference: what a reward function needs, it misses by itself.
    """
    if saved["rows"] != now["rows"]:
        return f"it had {saved['rows']} rows, this one has {now['rows']}"
    before, after = saved["columns"], now["columns"]
    changed = [name for name in before if before[name] != after.get(name, before[name])]
    if not changed:
        return None
    if before.keys() == after.keys() and saved["unordered"] == now["unordered"]:
        return "its rows are the same in another order"
    return f"its {' and '.join(f'column {name!r}' for name in changed)} held something else"


def num_repeated(prompts: Iterable[Any]) -> int:
    """How many prompts say what an earlier one said."""
    hashes = [_hash(prompt) for prompt in prompts]
    return len(hashes) - len(set(hashes))


def _hash(value: Any) -> bytes:
    """Of any value that a data set holds: text, numbers, lists and dicts (in whatever order), dates by their text."""
    return blake2b(json.dumps(value, sort_keys=True, default=str).encode(), digest_size=8).digest()
