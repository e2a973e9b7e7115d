"""The two kinds of arrays that the engine hands about: numbers, and positions of prompts or other whole numbers."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Positions = NDArray[np.int64]
