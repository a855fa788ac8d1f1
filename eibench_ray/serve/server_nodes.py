"""Which nodes a server lies on. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from eibench_ray.errors import ClusterError
from eibench_ray.estimate.engine_profiles import describe_misfit, fits
from eibench_ray.schedule.node_capacity import NodeCapacity
from eibench_ray.schedule.resources import Need, Node, Resources


def choose_node(name: str, need: Need, nodes: Sequence[Node], free: Mapping[str, Resources], home: str | None) -> str:
    """The node for a server: one with room now, else one that is large enough.

    Args:
        name: the engine's, for the error.
        need: of its engine.
        nodes: of the cluster.
        free: what nobody has reserved, by node.
        home: the only node that will do; None: any.

    Raises:
        ClusterError: it fits on none.
    """
    allowed = [node for node in nodes if home in (None, node.id)]
    if len(need.bundles) > 1 or not fits(need, allowed):
        elsewhere = "take another node with --host 0.0.0.0, " if home and fits(need, nodes) else ""
        raise ClusterError(
            f"{describe_misfit(name, need, allowed)}; a server lies on one node: {elsewhere}"
            f"lower model.engine.tensor_parallel, or join a larger node"
        )
    now = NodeCapacity()
    for node in allowed:
        now.add(replace(node, total=free.get(node.id, Resources(0, 0))))
    larger = NodeCapacity()
    for node in allowed:
        larger.add(node)
    found = now.find(need) or larger.find(need)
    assert found is not None
    return found[0]
