"""Placement on a real Ray of several nodes: replicas lie where they should, nodes come and go, nothing is left."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from driving import RULE, SLOW, Run, check_whole

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.config.schema import RunConfig
from eibench_ray.driver import failure_policy, node_monitor
from eibench_ray.driver.placement_group import NotPlacedError, Placement, free_resources
from eibench_ray.driver.ray_processes import lean_node
from eibench_ray.driver.ray_session import ray_session
from eibench_ray.errors import ClusterError
from eibench_ray.runs.ledger_file import read_ledger
from eibench_ray.schedule.gpu_accounting import account
from eibench_ray.schedule.gpu_usage import step_roles
from eibench_ray.schedule.replica_meter import TimeKind
from eibench_ray.schedule.resources import Need, Node, Resources

if TYPE_CHECKING:
    from conftest import Sweeps

SLOTS = "slot"  # stands in for GPUs


class Nodes:
    """A Ray cluster on this machine, of a head without slots and of nodes that tests add and remove."""

    def __init__(self, folder: str) -> None:
        from ray.cluster_utils import Cluster

        with lean_node(has_dashboard=False):
            self._cluster: Any = Cluster(
                initialize_head=True,
                head_node_args={
                    "num_cpus": 2,
                    "include_dashboard": False,
                    "object_store_memory": 100 << 20,
                    "temp_dir": folder,
                    "_system_config": {"health_check_period_ms": 500, "health_check_failure_threshold": 4},
                },
            )
        self.address: str = self._cluster.address
        self._nodes: dict[str, Any] = {}

    def add(self, num_slots: int) -> str:
        """A node with so many slots; its id."""
        with lean_node(has_dashboard=False):
            node = self._cluster.add_node(num_cpus=4, resources={SLOTS: num_slots}, object_store_memory=100 << 20)
        self._nodes[node.node_id] = node
        return str(node.node_id)

    def remove(self, node: str) -> None:
        """Ends a node at once, with everything that runs on it."""
        self._cluster.remove_node(self._nodes.pop(node), allow_graceful=False)

    def shut_down(self) -> None:
        """Ends all nodes."""
        self._cluster.shutdown()


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the driver look at the nodes four times a second instead of every two seconds."""
    monkeypatch.setattr(node_monitor, "LOOK_EVERY_S", 0.25)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    # Ray's sockets lie below this folder, and a socket's path has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp", ignore_cleanup_errors=True) as folder:
        cluster = Nodes(folder)
        try:
            with ray_session(ClusterConfig(name="ray", address=cluster.address)):
                yield cluster
        finally:
            cluster.shut_down()


@pytest.fixture(scope="module")
def two(nodes: Nodes) -> tuple[str, str]:
    """Nodes with two slots and with four."""
    return nodes.add(2), nodes.add(4)


def groups_left() -> list[str]:
    """The placement groups that have not been removed."""
    from ray.util import placement_group_table

    return [group["name"] for group in placement_group_table().values() if group["state"] != "REMOVED"]


def wait_until(is_true: Callable[[], bool], timeout_s: float = 60) -> None:
    """Looks again and again until something holds that Ray brings about."""
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def cluster_of(**options: Any) -> dict[str, Any]:
    return {"name": "ray", "gpu_resource": SLOTS, "stop_timeout_s": 10.0} | options


def engine_of(
    sweeps: Sweeps,
    name: str,
    num_slots: int,
    cluster: dict[str, Any],
    judge_engine: dict[str, Any] | None = None,
    **engine: Any,
) -> RunConfig:
    """A cell whose model is an engine of its own with so many slots; a rule scores it, or a judge that needs none."""
    return sweeps.config(
        judge=RULE if judge_engine is None else "strict",
        engine={"num_gpus": num_slots, "fails_on": f"never {name}"} | engine,
        model={"name": name, "expect": {"load_s": 0.1, "tokens_per_s": 100.0}},
        judge_engine={"fails_on": "never a judge"} | (judge_engine or {}),
        cluster=cluster,
    )


def test_replicas_of_several_engines_lie_on_the_nodes_that_were_chosen(sweeps: Sweeps, two: tuple[str, str]) -> None:
    sweeps.write_dataset(range(24))
    cluster = cluster_of(max_replicas_per_engine=2)
    wide = engine_of(sweeps, "wide", 3, cluster, **SLOW)
    narrow = engine_of(sweeps, "narrow", 1, cluster, **SLOW)
    where: dict[int, str] = {}

    def note(event: str, fields: dict[str, Any]) -> None:
        if event == "replica_ready":
            facts = run.driver.replica_set.states[fields["replica"]].handle.facts
            assert facts is not None
            where[fields["replica"]] = facts.node_id

    sweep = sweeps.plan(wide, narrow)
    run = Run(sweep, note)
    outcome = run.finish()
    assert outcome.num_new == 48
    chosen = {event["replica"]: event for event in run.events("replica_starting") if event["nodes"]}
    assert {number: (where[number],) for number in chosen if number in where} == {
        number: tuple(event["nodes"]) for number, event in chosen.items() if number in where
    }
    assert {(event["model"], event["gpus"]) for event in chosen.values()} == {("wide", 3), ("narrow", 1)}
    assert {node for event in chosen.values() if event["model"] == "wide" for node in event["nodes"]} == {two[1]}
    assert {event["replica"] for event in run.events("replica_stopped")} == {
        event["replica"] for event in run.events("replica_starting")
    }
    assert groups_left() == []
    check_whole(sweep, sweeps.plan(wide, narrow))


@pytest.mark.usefixtures("two")
def test_an_engine_that_fits_on_no_node_is_one_paragraph(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    run = Run(sweeps.plan(engine_of(sweeps, "large", 5, cluster_of())))
    with pytest.raises(ClusterError) as caught:
        run.finish()
    message = str(caught.value)
    assert "\n" not in message
    assert "engine 'large' needs 5 GPUs and 1 cores for one replica; the cluster has 4 GPUs and 4 cores on" in message
    assert groups_left() == []


@pytest.mark.usefixtures("two")
def test_an_engine_for_which_no_node_joins_is_given_up_and_the_others_finish(
    sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeps.write_dataset()
    cluster = cluster_of(expect={"nodes": 9}, start_timeout_s=60.0, max_replicas_per_engine=1)
    large, sound = engine_of(sweeps, "large", 5, cluster), engine_of(sweeps, "sound", 0, cluster)
    ahead = [0.0]
    monkeypatch.setattr(node_monitor, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + ahead[0]))

    def let_a_minute_pass(event: str, _: dict[str, Any]) -> None:
        if event == "slice_committed":
            ahead[0] = 60.0

    outcome = Run(sweeps.plan(large, sound), let_a_minute_pass).finish()
    (reason,) = outcome.failed_engines.values()
    assert reason.startswith("engine 'large' needs 5 GPUs")
    assert "none joined in 60 s" in reason
    assert outcome.num_new == 10


def test_what_somebody_else_holds_is_named_and_not_waited_for(two: tuple[str, str]) -> None:
    small, _ = two
    first = Placement(Need((Resources(1, 2),)), (small,), SLOTS, "first")
    second = Placement(Need((Resources(1, 1),)), (small,), SLOTS, "second")
    known = [Node(small, "box", Resources(4, 2))]
    asyncio.run(first.wait(10, known))
    with pytest.raises(NotPlacedError) as caught:
        asyncio.run(second.wait(0.5, known))
    second.remove()
    assert str(caught.value) == (
        "no place for a replica within 0.5 s: it needs 1 GPUs and 1 cores on node box, where 0 GPUs and 3 cores are "
        "free now; another job on the cluster holds the rest"
    )
    first.remove()
    assert groups_left() == []


def test_pipeline_stages_get_a_bundle_per_gpu_on_their_nodes(two: tuple[str, str]) -> None:
    from ray.util import placement_group_table

    small, large = two
    stages = Placement(Need((Resources(1, 2), Resources(1, 2))), (large, small), SLOTS, "stages")
    asyncio.run(stages.wait(10, []))
    table = placement_group_table(stages.group)
    stages.remove()
    assert list(table["bundles_to_node_id"].values()) == [large, large, small, small]
    assert [bundle[SLOTS] for bundle in table["bundles"].values()] == [1, 1, 1, 1]
    assert stages.options()["num_cpus"] == 1  # the engine's own process; its workers take the GPUs


def test_a_driver_that_is_killed_leaves_no_placement_behind(nodes: Nodes, two: tuple[str, str]) -> None:
    script = (
        "import asyncio, os, signal\n"
        "from eibench_ray.driver import ray_session as session\n"
        "from eibench_ray.driver.placement_group import Placement\n"
        "from eibench_ray.config.cluster import ClusterConfig\n"
        "from eibench_ray.schedule.resources import Need, Resources\n"
        "session.check_healthy = lambda _: None\n"
        f"with session.ray_session(ClusterConfig(name='ray', address='{nodes.address}')):\n"
        f"    placed = Placement(Need((Resources(1, 4),)), ('{two[1]}',), '{SLOTS}', 'orphan')\n"
        "    asyncio.run(placed.wait(20, []))\n"
        "    print('placed', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = os.environ | {"RAY_AUTH_MODE": os.environ.get("RAY_AUTH_MODE", "disabled")}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environment)
    assert (done.stdout, done.returncode) == ("placed\n", -signal.SIGKILL), done.stderr
    wait_until(lambda: groups_left() == [])


@pytest.mark.usefixtures("two")
def test_a_node_that_joins_later_is_used(sweeps: Sweeps, nodes: Nodes) -> None:
    sweeps.write_dataset()
    cluster = cluster_of(expect={"nodes": 4}, max_replicas_per_engine=1)
    wide, narrow = engine_of(sweeps, "wide", 6, cluster), engine_of(sweeps, "narrow", 1, cluster)
    added: list[str] = []

    def add_node(event: str, _: dict[str, Any]) -> None:
        if event == "slice_committed" and not added:
            added.append(nodes.add(6))

    sweep = sweeps.plan(wide, narrow)
    run = Run(sweep, add_node)
    outcome = run.finish()
    nodes.remove(added[0])
    assert not outcome.failed_engines
    assert len(run.events("node_joined")) == 4
    assert [event["nodes"] for event in run.events("replica_starting") if event["model"] == "wide"] == [added]
    assert groups_left() == []
    check_whole(sweep, sweeps.plan(wide, narrow))


@pytest.mark.usefixtures("two")
def test_a_node_that_leaves_takes_its_replicas_along_and_no_row(
    sweeps: Sweeps, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeps.write_dataset(range(40))
    monkeypatch.setattr(failure_policy, "MAX_DEATHS", most := 2)
    monkeypatch.setattr(failure_policy, "MAX_DEATHS_WITH_ROWS", most)
    spot = nodes.add(4 * most)  # so many replicas fit there, and one elsewhere
    config = engine_of(sweeps, "echo", 4, cluster_of(), latency_s=0.2, max_num_seqs=1)
    config = config.model_copy(update={"store": config.store.model_copy(update={"slice_rows": 1})})
    removed: list[str] = []
    held: list[psutil.Process] = []
    has_left = False

    def remove_node(event: str, fields: dict[str, Any]) -> None:
        nonlocal has_left
        if event == "replica_ready" and not has_left:
            states = run.driver.replica_set.states.values()
            there = [state.handle.id for state in states if spot in state.handle.nodes]
            if fields["replica"] not in there:
                held.append(run.process(fields["replica"]))  # or it soon has all rows, and those that load are stopped
                held[-1].suspend()
            elif len(there) >= most and not removed:
                removed.append(spot)
                nodes.remove(spot)
        elif event == "node_left" and fields["node"] == spot:  # Ray may take longer to see it than the rows take
            has_left = True
            for process in held:
                process.resume()

    sweep = sweeps.plan(config)
    run = Run(sweep, remove_node)
    outcome = run.finish()
    assert removed
    assert spot in [event["node"] for event in run.events("node_left")]
    assert len(run.events("replica_lost")) >= most
    returned = Counter((event["step"], event["slice"]) for event in run.events("slice_returned"))
    assert max(returned.values(), default=0) <= 1
    assert not outcome.failed_engines
    assert outcome.num_new == 40
    assert groups_left() == []
    check_whole(sweep, sweeps.plan(config))


@pytest.mark.parametrize("hand_over_s", [None, 0.0])
def test_gpus_are_free_in_ray_while_an_endpoint_is_still_asked(
    sweeps: Sweeps, nodes: Nodes, two: tuple[str, str], hand_over_s: float | None
) -> None:
    import ray

    sweeps.write_dataset(range(24))
    spot = nodes.add(2) if hand_over_s is None else ""
    cluster = cluster_of(hand_over_s=hand_over_s, grace_s=0.0, max_replicas_per_engine=1)
    # Its judge takes longer than any replica takes to be gone, and is told to stop when that has been seen.
    config = engine_of(sweeps, "owner", 2, cluster, load_s=0.5, judge_engine={"latency_s": 4.0, "max_num_seqs": 1})
    slots = {two[0]: 2, two[1]: 4} | ({spot: 2} if spot else {})
    seen: dict[str, Any] = {}

    def look(event: str, fields: dict[str, Any]) -> None:
        if event == "replica_ready" and fields["model"] != "owner":
            facts = run.driver.replica_set.states[fields["replica"]].handle.facts
            assert facts is not None
            seen["judge"] = facts.node_id
        elif event == "gpus_released":
            wait_until(lambda: all(free_resources(SLOTS)[node].gpus == num for node, num in slots.items()))
            seen["groups"] = groups_left()
            if spot:
                nodes.remove(spot)
        elif event == "node_left":
            seen["left"] = fields["node"]
        if {"judge", "left"} <= seen.keys():
            run.driver.request_stop()

    sweep = sweeps.plan(config)
    run = Run(sweep, look)
    outcome = run.finish()
    assert seen["groups"] == []
    if spot:
        assert (seen["left"], seen["judge"]) == (spot, ray.get_runtime_context().get_node_id())
    assert run.events("replica_lost") == []  # also where a node left that was given back
    assert outcome.was_handed_over is (hand_over_s is not None)
    assert 24 <= outcome.num_new < 48
    usage = account(read_ledger(Path(run.path)), step_roles(sweep.plan))
    assert usage.given_back_s > 0
    assert TimeKind.UNASSIGNED not in usage.seconds()
    rest = sweeps.plan(engine_of(sweeps, "owner", 2, cluster_of(without_gpus=True), judge_engine={}))
    assert outcome.num_new + Run(rest).finish().num_new == 48
    check_whole(rest, sweeps.plan(config))
