"""The earlier name of `didact.adapters.verl.settings` and `didact.adapters.verl.data`."""

from didact.adapters.verl.data import *  # noqa: F403
from didact.adapters.verl.settings import *  # noqa: F403
