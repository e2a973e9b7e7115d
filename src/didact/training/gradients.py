"""The earlier name of `didact.adapters.gradients`."""

from didact.adapters.gradients import *  # noqa: F403
