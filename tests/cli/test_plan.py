"""`eibench-ray plan` with estimates: the cluster that the command line names, and twice its nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Called

    Command = Callable[..., Called]

LARGE = ["-m", "model=llava_next_7b", "judge=llama3_8b", "dataset=eibench_basic", "setting=user_question"]


def test_the_nodes_of_the_command_line_are_planned_for(command: Command) -> None:
    plan = command("plan", *LARGE, "--nodes", 2, "--gpus-per-node", 4, "--gpu-memory-gb", 40, "--json").json
    [once, twice] = plan["estimates"]
    assert [(nodes["nodes"], nodes["gpus_per_node"], nodes["gpus"]) for nodes in (once, twice)] == [
        (2, 4, 8),
        (4, 4, 16),
    ]
    assert {engine["device"] for engine in plan["engines"]} == {"cuda"}
    assert {engine["memory"]["available_gb"] for engine in plan["engines"]} == {40}
    assert twice["wall_clock_s"]["expected"] < once["wall_clock_s"]["expected"]
    assert twice["gpu_hours"]["expected"] > once["gpu_hours"]["expected"]
    assert once["loads"] == sum(engine["est_replicas"] for engine in plan["engines"]) >= plan["loads"] == 2
    assert once["critical_path_s"] == pytest.approx(sum(leg["seconds"] for leg in once["critical_path"]))
    assert once["cost"] is None


def test_an_option_goes_before_the_configuration(command: Command) -> None:
    arguments = ["cluster.gpu_memory_gb=80", "cluster.expect.gpus_per_node=3", "cluster.price_per_gpu_hour=2"]
    plan = command("plan", *LARGE, *arguments, "--gpu-memory-gb", 24, "--json").json
    [estimated, _] = plan["estimates"]
    assert (estimated["gpus"], estimated["gpu_memory_gb"]) == (3, 24)
    assert estimated["cost"]["expected"] == pytest.approx(2 * estimated["gpu_hours"]["expected"])


def test_what_fits_on_no_such_node_is_said_and_the_plan_goes_on(command: Command) -> None:
    called = command("plan", *LARGE, "--gpu-memory-gb", 20)
    assert called.code == 0
    text = " ".join(called.out.split())
    assert "Does not fit engine 'llama3_8b' needs 1 GPUs of 21.2 GB" in text
    assert "1 node x 8 GPUs of 20 GB" in text


def test_a_plan_for_cores_is_of_this_machine(command: Command) -> None:
    arguments = ["model=echo", "judge=echo", "dataset=demo", "cluster.num_cpus=3"]
    [estimated] = command("plan", *arguments, "--json").json["estimates"]
    assert (estimated["nodes"], estimated["cores"]) == (1, 3)
    assert "this machine, 3 cores" in command("plan", *arguments).out


def test_no_cluster_has_no_nodes(command: Command) -> None:
    called = command("plan", *LARGE, "--nodes", 0)
    assert called.code == 2
    assert "--nodes" in called.err
