"""`tensor_parallel: auto` by the GPUs that a run has: chosen anew, with the same engines and steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.driver.gpu_devices import Device
from eibench_ray.runs.planning import known_gpus, plan_sweep
from eibench_ray.schedule.resources import Node, Resources

if TYPE_CHECKING:
    from conftest import Sweeps

    from eibench_ray.runs.planning import PlannedSweep

ENGINE = {"kind": "vllm", "source": "me/eye", "max_model_len": 64, "tensor_parallel": "auto"}


@pytest.fixture
def sweep(sweeps: Sweeps) -> PlannedSweep:
    """A sweep whose model has 60 GB of weights, planned for GPUs of 80 GB."""
    sweeps.write_dataset(range(3))
    model = {"name": "eye", "engine": ENGINE, "expect": {"memory_gb": 60.0}}
    return plan_sweep([sweeps.config(model=model)], must_exist=True, device="cuda")


def tensor_parallel(sweep: PlannedSweep) -> Any:
    [spec] = [spec for spec in sweep.plan.engines.values() if spec.chosen]
    return spec.chosen["tensor_parallel"]


@pytest.mark.parametrize(("gpu_memory_gb", "chosen"), [(141.0, 1), (80.0, 1), (48.0, 2), (24.0, 4)])
def test_the_clusters_nodes_decide_and_nothing_changes_its_name(
    sweep: PlannedSweep, gpu_memory_gb: float, chosen: int
) -> None:
    fitted, [said] = sweep.with_nodes([Node("a", "a", Resources(8, 4), gpu_memory_gb), Node("b", "b", Resources(8, 0))])
    assert tensor_parallel(fitted) == chosen
    assert [spec.num_gpus for spec in fitted.plan.engines.values() if spec.chosen] == [chosen]
    assert list(fitted.plan.engines) == list(sweep.plan.engines)
    assert fitted.plan.steps == sweep.plan.steps
    assert (
        f"eye: tensor_parallel=auto is {chosen}, by the cluster's nodes (1 with GPUs of {gpu_memory_gb:g} GB)" == said
    )


def test_nodes_that_are_too_small_leave_the_plan_and_say_so(sweep: PlannedSweep) -> None:
    fitted, [said] = sweep.with_nodes([Node("a", "a", Resources(8, 1), 16.0)])
    assert tensor_parallel(fitted) == tensor_parallel(sweep)
    assert "a node has 1 GPUs of 16 GB (the cluster's nodes)" in said


def test_a_cluster_without_gpus_changes_nothing(sweep: PlannedSweep) -> None:
    assert sweep.with_nodes([Node("a", "a", Resources(8, 0))]) == (sweep, [])


@pytest.mark.parametrize(
    ("changes", "environ", "expected"),
    [
        ({}, {}, (2, 24.0)),
        ({"num_gpus": 1}, {}, (1, 24.0)),
        ({"gpu_memory_gb": 20.0}, {}, (2, 20.0)),
        ({}, {"CUDA_VISIBLE_DEVICES": "1"}, (1, 48.0)),
        ({"address": "auto"}, {}, None),
        ({"gpu_resource": "slot"}, {}, None),
        ({"slurm": {}}, {}, None),  # a login node
        ({"slurm": {}}, {"SLURM_JOB_ID": "7"}, (2, 24.0)),
    ],
)
def test_a_plan_for_this_machine_takes_its_own_gpus(
    changes: dict[str, Any],
    environ: dict[str, str],
    expected: tuple[int, float] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    devices = [Device((str(at),), 0, gb * 1e9 / (1 << 20)) for at, gb in enumerate((24.0, 48.0))]
    monkeypatch.setattr("eibench_ray.runs.planning.list_devices", lambda: devices)
    known = known_gpus(ClusterConfig.model_validate({"name": "x"} | changes), environ)
    assert (known and (known.nodes[0].total.gpus, pytest.approx(known.nodes[0].gpu_memory_gb))) == expected
