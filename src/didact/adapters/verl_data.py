"""The earlier name of `didact.adapters.verl.settings`."""

from didact.adapters.verl.settings import *  # noqa: F403
