"""Places: a replica lies where it leaves the least, and nothing is given twice."""

from __future__ import annotations

import pytest

from eibench_ray.schedule.node_capacity import NodeCapacity
from eibench_ray.schedule.resources import Need, Node, Resources


def places_of(*nodes: Node) -> NodeCapacity:
    places = NodeCapacity()
    for node in nodes:
        places.add(node)
    return places


def node(name: str, gpus: float, memory_gb: float = 0.0, cpus: float = 16) -> Node:
    return Node(name, name, Resources(cpus, gpus), memory_gb)


def need(*gpus: float, memory_gb: float = 0.0) -> Need:
    return Need(tuple(Resources(1, one) for one in gpus), memory_gb)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (need(1), ("two",)),
        (need(2), ("two",)),
        (need(3), ("four",)),
        (need(5), None),
        (need(4, 2), ("four", "two")),
        (need(2, 2, 2), ("two", "four", "four")),
        (need(4, 4), None),
        (need(1, memory_gb=40), ("four",)),
        (need(1, memory_gb=100), None),
        (need(0, memory_gb=100), ("two",)),
        (need(), ()),
    ],
)
def test_each_bundle_goes_to_the_fullest_node_that_takes_it(wanted: Need, found: tuple[str, ...] | None) -> None:
    assert places_of(node("four", 4, 80), node("two", 2, 24)).find(wanted) == found


def test_of_equal_nodes_the_one_with_less_memory_is_taken_then_the_one_with_more_cores() -> None:
    assert places_of(node("a", 1, 80), node("b", 1, 24)).find(need(1)) == ("b",)
    assert places_of(node("a", 1, 24, cpus=4), node("b", 1, 24, cpus=8)).find(need(1)) == ("b",)


def test_memory_that_is_not_known_is_enough() -> None:
    assert places_of(node("box", 1)).find(need(1, memory_gb=80)) == ("box",)


def test_cores_run_out_too() -> None:
    places = places_of(node("box", 4, cpus=2))
    assert places.find(need(1, 1, 1)) is None
    assert places.fits(need(1, 1))


def test_what_is_reserved_is_not_found_again_until_it_is_released() -> None:
    places = places_of(node("box", 2))
    places.reserve(need(2), ("box",))
    assert places.find(need(1)) is None
    assert places.fits(need(1))
    places.release(need(2), ("box",))
    assert places.find(need(2)) == ("box",)


def test_a_node_that_left_takes_what_is_reserved_with_it() -> None:
    places = places_of(node("one", 1), node("two", 1))
    places.reserve(need(1, 1), ("one", "two"))
    places.remove("one")
    places.release(need(1, 1), ("one", "two"))
    assert (list(places.nodes), places.num_gpus, places.free("two")) == (["two"], 1, Resources(16, 1))


def test_a_node_that_is_known_is_not_added_anew() -> None:
    places = places_of(node("box", 2))
    places.reserve(need(2), ("box",))
    places.add(node("box", 2))
    assert places.find(need(1)) is None


def test_held_nodes_are_left_out() -> None:
    assert places_of(node("one", 1), node("two", 2)).find(need(1), {"one"}) == ("two",)


def test_the_node_that_lacks_least_is_large_enough_when_it_is_empty() -> None:
    places = places_of(node("small", 1), node("a", 4), node("b", 4))
    places.reserve(need(3), ("a",))
    places.reserve(need(1), ("b",))
    assert places.find_nearly(need(4)) == "b"
    assert places.find_nearly(need(5)) is None
    assert places.find_nearly(need(4, 4)) is None
