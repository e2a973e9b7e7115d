"""The earlier name of `didact.adapters.trl.checks`."""

from didact.adapters.trl.checks import *  # noqa: F403
