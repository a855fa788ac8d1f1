"""A server lies on one node: one with room now, and where it is bound to this machine's address on this one."""

from __future__ import annotations

import pytest

from eibench_ray.errors import ClusterError
from eibench_ray.schedule.resources import Need, Node, Resources
from eibench_ray.serve.server_keeper import choose_node

SMALL, LARGE = Node("s", "small", Resources(8, 1)), Node("l", "large", Resources(64, 8))
ALL_FREE = {node.id: node.total for node in (SMALL, LARGE)}


def need(gpus: float) -> Need:
    return Need((Resources(1, gpus),))


@pytest.mark.parametrize(
    ("gpus", "free", "home", "chosen"),
    [
        (1, ALL_FREE, None, "s"),
        (2, ALL_FREE, None, "l"),
        (1, ALL_FREE, "l", "l"),
        (1, {"s": Resources(8, 0), "l": Resources(64, 3)}, None, "l"),
        (1, {"s": Resources(8, 0), "l": Resources(64, 0)}, None, "s"),  # it waits for the smaller one
        (8, {"s": Resources(8, 1)}, None, "l"),
    ],
)
def test_the_smallest_node_with_room(gpus: float, free: dict[str, Resources], home: str | None, chosen: str) -> None:
    assert choose_node("mine", need(gpus), [SMALL, LARGE], free, home) == chosen


@pytest.mark.parametrize(
    ("wanted", "home", "words"),
    [
        (need(16), None, "engine 'mine' needs 16 GPUs and 1 cores for one replica; the cluster has 8 GPUs"),
        (need(2), "s", "take another node with --host 0.0.0.0"),
        (Need((Resources(1, 8), Resources(1, 8))), None, "a server lies on one node: lower model.engine.tensor_para"),
    ],
)
def test_one_that_fits_on_no_node_is_refused(wanted: Need, home: str | None, words: str) -> None:
    with pytest.raises(ClusterError) as refused:
        choose_node("mine", wanted, [SMALL, LARGE], ALL_FREE, home)
    assert words in str(refused.value)
    assert ("--host" in str(refused.value)) == (home is not None)
