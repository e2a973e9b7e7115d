"""Pools in shards, and how far counts are from a law."""

from collections import Counter

from didact.sharded import ShardedPool
from didact.testing import pool_of

SIZES = {"prompts_per_step": 4, "rollouts_per_step": 32}


def sharded(size: int, num_shards: int) -> ShardedPool:
    return ShardedPool.split(pool_of(size).ids.tolist(), num_shards)


def part(names: list[str]) -> dict:
    return {"ids": names}


def chi_square(seen: Counter, law: dict) -> float:
    """Pearson's statistic over its number of degrees of freedom, in standard deviations above what chance gives."""
    runs = sum(seen.values())
    assert set(seen) <= set(law)
    statistic = sum((seen[each] - runs * share) ** 2 / (runs * share) for each, share in law.items())
    free = len(law) - 1
    return (statistic - free) / (2 * free) ** 0.5
