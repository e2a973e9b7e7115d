"""The earlier name of `didact.adapters.trl.rows`."""

from didact.adapters.trl.rows import *  # noqa: F403
