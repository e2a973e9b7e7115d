"""The earlier name of `didact.adapters.verl.sampler`."""

from didact.adapters.verl.sampler import *  # noqa: F403
