"""Random numbers by address: the variate of (stream, prompt, count) is the same whenever and wherever it is asked for.

    variate(key_1, ..., key_m) = mix(... mix(mix(stream, key_1), key_2) ..., key_m)        mix: SplitMix64 (Steele 2014)

So the seventh rollout of a prompt meets the same luck under every method, as long as its pass rate is the same: paired
seeds share all the randomness that their plans let them share. A numpy generator for each rollout would do the same at
a hundred times the cost. It is no generator for anything but simulation.
"""

import numpy as np
from numpy.typing import NDArray

from didact.arrays import Floats, Positions
from didact.seeding import hashed_seed

_STEP, _FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


class Stream:
    """One purpose's random numbers, for example `Stream(seed, "rewards").uniform(position, visit)`."""

    def __init__(self, *parts: object) -> None:
        self._root = np.uint64(hashed_seed(*parts) % 2**64)

    def uniform(self, *keys: Positions) -> Floats:
        """Uniform in (0, 1), one for each row of the keys, which are whole numbers of one shape."""
        state = np.full(keys[0].shape, self._root)
        for key in keys:
            state = _mix((state ^ key.astype(np.uint64)) + _STEP)
        return ((state >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53

    def normal(self, *keys: Positions) -> Floats:
        """Standard normal, by the method of Box and Muller."""
        low = np.zeros_like(keys[0])
        radius = np.sqrt(-2 * np.log(self.uniform(*keys, low)))
        return np.asarray(radius * np.cos(2 * np.pi * self.uniform(*keys, low + 1)))


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    return np.asarray(state ^ (state >> np.uint64(31)))
