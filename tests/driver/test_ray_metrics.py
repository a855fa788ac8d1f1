"""Metrics for Prometheus: what Ray's agent exports of a real run, and that the dashboard asks for nothing else."""

from __future__ import annotations

import json
import re
import socket
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.driver.engine_series import STATES
from eibench_ray.driver.ray_metrics import METRICS, RayMetricsListener, _to_ascii
from eibench_ray.driver.ray_session import ray_session
from eibench_ray.driver.run_events import EngineProgress, Snapshot, StepSpend
from eibench_ray.worker.gpu_meter import GpuUse

if TYPE_CHECKING:
    from conftest import Sweeps

LAUNCH = Path(__file__).parents[2] / "launch"
SWEPT = "eibench_ray_queue"  # a gauge, so that it is there from the beginning
LINE = re.compile(r"^(ray_eibench_ray_\w+)\{(.*)\} (\S+)$")


def test_the_dashboard_asks_for_what_a_run_tells() -> None:
    dashboard = json.loads((LAUNCH / "grafana_dashboard.json").read_text())
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"ray_[a-z_]+", target["expr"])
    }
    assert asked == {f"ray_{metric.name}" for metric in METRICS}
    (sweep,) = (one for one in dashboard["templating"]["list"] if one["name"] == "sweep")
    assert sweep["query"] == f"label_values(ray_{SWEPT}, sweep)"


def test_the_readme_names_every_metric_and_state() -> None:
    text = (LAUNCH / "README.md").read_text()
    words = [metric.name.removeprefix("eibench_ray") for metric in METRICS]
    assert [word for word in [*words, *STATES] if word not in text] == []


@pytest.mark.parametrize(
    ("name", "told"),
    [("llava", "llava"), ("\u5343\u95ee", r"\u5343\u95ee"), ("a\u2028b", r"a\u2028b"), ("\udcff", r"\udcff")],
)
def test_names_are_told_in_ascii_as_ray_takes_no_other_tags(name: str, told: str) -> None:
    assert _to_ascii(name) == told


def read_agent(address: str, kinds: dict[str, str]) -> dict[tuple[str, str, str], float]:
    """Name, engine and state or GPU -> value, as a node's agent exports it."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    found = [LINE.match(line) for line in lines]
    kinds.update(line.split()[2:4] for line in lines if line.startswith("# TYPE ray_eibench_ray_"))
    values = {}
    for one in filter(None, found):
        tags = dict(re.findall(r'(\w+)="([^"]*)"', one[2]))
        if tags["run"] != "run-1":  # of a test that ran in this process before
            continue
        assert tags["sweep"] == "test"
        values[one[1], tags["engine"], tags.get("state", tags.get("gpu", ""))] = float(one[3])
    return values


@pytest.mark.slow
def test_rays_agent_exports_counters_and_gauges_of_every_engine(
    sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_metrics_report_interval_ms", "500")  # instead of ten seconds
    sweeps.write_dataset(range(8))
    plan = sweeps.plan().plan
    done = dict.fromkeys(plan.steps, 6)
    engines = {key: EngineProgress(loading=1, judging=2, lost=3, tokens=70, tokens_per_s=3.5) for key in plan.engines}
    spent = dict.fromkeys(plan.steps, StepSpend(35, 0.25, 2))
    gpus = {key: (GpuUse("n1:0", 87.5, 20.25), GpuUse("n1:1", None, 1.5)) for key in plan.engines}
    early = Snapshot(done, {}, engines, 0, 70, 0.5, errors=dict.fromkeys(plan.steps, 1), spent=spent, gpus=gpus)
    spent = dict.fromkeys(plan.steps, StepSpend(35, 0.25, 3))
    late = replace(early, spent=spent, gpus={key: held[:1] for key, held in gpus.items()})
    figures = {"rows_total": 6, "errors_total": 2, "tokens_total": 70, "cost_usd_total": 0.5, "queue": 4, "gpus": 0}
    expected = {(f"ray_eibench_ray_{name}", "echo", ""): float(value) for name, value in figures.items()}
    expected |= {
        ("ray_eibench_ray_replicas", "echo", state): float({"loading": 1, "judging": 2, "lost": 3}.get(state, 0))
        for state in STATES
    }
    expected |= {
        ("ray_eibench_ray_gpu_use_percent", "echo", "n1:0"): 87.5,
        ("ray_eibench_ray_gpu_memory_gb", "echo", "n1:0"): 20.25,
        ("ray_eibench_ray_gpu_memory_gb", "echo", "n1:1"): 0.0,  # it was given back
    }
    listener = RayMetricsListener(plan, "run-1")
    with socket.create_server(("127.0.0.1", 0)) as free:
        dashboard = free.getsockname()[1]
    with ray_session(ClusterConfig(name="local", num_cpus=1, dashboard_port=dashboard)):  # whose node has an agent
        import ray

        (node,) = ray.nodes()
        address = f"{node['NodeManagerAddress']}:{node['MetricsExportPort']}"
        deadline = time.monotonic() + 90
        values: dict[tuple[str, str, str], float] = {}
        kinds: dict[str, str] = {}
        listener.update(early)
        while values != expected and time.monotonic() < deadline:
            listener.update(late)
            time.sleep(0.25)
            try:
                values = read_agent(address, kinds)
            except OSError:  # it is not up yet
                continue
    assert values == expected
    told = {f"ray_{metric.name}": "counter" if metric.is_counter else "gauge" for metric in METRICS}
    assert kinds == told
