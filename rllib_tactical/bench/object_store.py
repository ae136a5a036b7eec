"""The amount of data put into a node's object store."""

from __future__ import annotations


def bytes_created() -> int:
    """Return the bytes of all objects ever created or received in this node's object store.

    Ray has no public function for it; this is the counter behind ``ray memory --stats-only``.
    """
    import ray
    from ray._private.internal_api import node_stats

    node = next(n for n in ray.nodes() if n["NodeID"] == ray.get_runtime_context().get_node_id())
    stats = node_stats(node["NodeManagerAddress"], node["NodeManagerPort"])
    return int(stats.store_stats.cumulative_created_bytes)
