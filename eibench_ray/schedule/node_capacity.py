"""Places replicas: nodes for their bundles, the fullest that still take them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from eibench_ray.schedule.resources import Need, Node, Resources, Unit, units_of


class NodeCapacity:
    """The nodes of a cluster and what is free on each."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._free: dict[str, Resources] = {}
        self._free_ram_gb: dict[str, float] = {}  # of the nodes of which that is known; replicas may have overdrawn it

    @property
    def nodes(self) -> Mapping[str, Node]:
        """The nodes by id."""
        return self._nodes

    @property
    def num_gpus(self) -> float:
        """GPUs of all nodes."""
        return self.num_units("gpu")

    def num_units(self, unit: Unit) -> float:
        """GPUs, or cores, of all nodes."""
        return sum(units_of(node.total, unit) for node in self._nodes.values())

    def free(self, node: str) -> Resources:
        """The free resources of a node."""
        return self._free[node]

    def add(self, node: Node) -> None:
        """A node joins, all of it free."""
        if node.id not in self._nodes:
            self._nodes[node.id] = node
            self._free[node.id] = node.total
            if node.ram_gb:
                self._free_ram_gb[node.id] = node.ram_gb

    def remove(self, node: str) -> None:
        """A node leaves with all that is on it."""
        self._nodes.pop(node, None)
        self._free.pop(node, None)
        self._free_ram_gb.pop(node, None)

    def find(self, need: Need, without: Collection[str] = ()) -> tuple[str, ...] | None:
        """Nodes with room for a replica now, one per bundle, none of them of `without`; None where there is none.

        A bundle goes to the node with the least GPUs left over, so that large replicas find whole nodes; of equals to
        the one with the least GPU memory, then to the one with the most cores.
        """
        free = {name: room for name, room in self._free.items() if name not in without} if without else self._free
        return _find(need, free, self._nodes)

    def find_nearly(self, need: Need) -> str | None:
        """The node that lacks least for a replica of one bundle; None where none is large enough."""
        if len(need.bundles) != 1:
            return None
        fitting = [name for name, node in self._nodes.items() if _find(need, {name: node.total}, self._nodes)]
        return max(fitting, key=lambda name: (self._free[name].gpus, name), default=None)

    def fits(self, need: Need) -> bool:
        """Whether a replica would have room if the cluster were empty."""
        return _find(need, {node.id: node.total for node in self._nodes.values()}, self._nodes) is not None

    def lacking_ram(self, need: Need) -> set[str]:
        """The nodes that are known to have too little RAM left for a replica."""
        return {node for node, free_gb in self._free_ram_gb.items() if free_gb < need.ram_gb}

    def reserve(self, need: Need, nodes: tuple[str, ...]) -> None:
        """Takes the room of a replica."""
        for node, bundle in zip(nodes, need.bundles, strict=True):
            self._free[node] -= bundle
            if node in self._free_ram_gb:
                self._free_ram_gb[node] -= need.ram_gb

    def release(self, need: Need, nodes: tuple[str, ...]) -> None:
        """Gives the room of a replica back; what was on a node that has left is gone with it."""
        for node, bundle in zip(nodes, need.bundles, strict=True):
            if node in self._free:
                self._free[node] += bundle
            if node in self._free_ram_gb:
                self._free_ram_gb[node] += need.ram_gb


def _find(need: Need, free: Mapping[str, Resources], nodes: Mapping[str, Node]) -> tuple[str, ...] | None:
    left: dict[str, Resources] = {}
    chosen = []
    for bundle in need.bundles:
        best: tuple[float, float, float, str] | None = None
        for name, resources in free.items():
            room = left.get(name, resources)
            if room.gpus < bundle.gpus or room.cpus < bundle.cpus:
                continue
            if bundle.gpus and 0 < nodes[name].gpu_memory_gb < need.gpu_memory_gb:
                continue
            rank = (room.gpus, nodes[name].gpu_memory_gb, -room.cpus, name)
            if best is None or rank < best:
                best = rank
        if best is None:
            return None
        chosen.append(best[-1])
        left[best[-1]] = left.get(best[-1], free[best[-1]]) - bundle
    return tuple(chosen)
