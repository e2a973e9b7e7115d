"""The earlier name of `didact.adapters.ray.shards`."""

from didact.adapters.ray.shards import *  # noqa: F403
