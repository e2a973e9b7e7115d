"""Ray: the desk of an asynchronous trainer, and the shards of a large pool, as actors. See `desk` and `shards`."""

from didact.adapters.ray.desk import RemoteDesk, curriculum_actor
from didact.adapters.ray.shards import RayShards

__all__ = ["RayShards", "RemoteDesk", "curriculum_actor"]
