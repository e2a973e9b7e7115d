"""The earlier name of `didact.adapters.trl.checkpoints`."""

from didact.adapters.trl.checkpoints import *  # noqa: F403
