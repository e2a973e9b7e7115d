"""Pools that are too large for one process: prompts and all that is kept about them, in shards."""

from didact.sharded.pool import ShardedPool

__all__ = ["ShardedPool"]
