"""Outcomes of one prompt, fed to a belief."""

import numpy as np

from didact.belief import BetaBelief

SIZE = 5
IDS = np.array([f"p{i}" for i in range(SIZE)], dtype=object)


def feed(belief: BetaBelief, position: int, values: list[float], step: int) -> None:
    where, sizes = np.array([position]), np.array([len(values)])
    belief.count(where, sizes, np.array([10 * len(values)]), step=step)
    belief.observe(where, sizes, np.array(values), step=step)
