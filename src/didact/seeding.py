"""Randomness: one numpy generator per (seed, step, round, purpose), so that resuming needs no generator state.

Seeds are hashed, never added up: `seed + index` makes neighbouring seeds share almost all of their items.
"""

from hashlib import blake2b

import numpy as np


def hashed_seed(*parts: object) -> int:
    """A 128-bit seed from any sequence of printable parts; the same in every process and on every machine."""
    text = "\x1f".join(repr(part.item() if isinstance(part, np.generic) else part) for part in parts)
    return int.from_bytes(blake2b(text.encode(), digest_size=16).digest(), "little")


def generator(seed: int, *parts: object) -> np.random.Generator:
    """The generator for one purpose, for example `generator(seed, step, round, "draw")`."""
    return np.random.Generator(np.random.PCG64(hashed_seed(int(seed), *parts)))
