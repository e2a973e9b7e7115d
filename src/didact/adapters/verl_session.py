"""The earlier name of `didact.adapters.verl.session`."""

from didact.adapters.verl.session import *  # noqa: F403
