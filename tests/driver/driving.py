"""A driver under test: one run on the Ray that is joined, and what it left."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
from command_lines import children_named

from eibench_ray.driver.driver import Driver
from eibench_ray.driver.run_events import Ledger, Snapshot
from eibench_ray.driver.run_progress import RunResult
from eibench_ray.ratelimit.rate_limiter import RateLimiter
from eibench_ray.runs.planning import PlannedSweep

# `ray start` of a node that nobody watches: without what no test asks, which takes more than all the rest.
RAY_START = [
    sys.executable,
    "-c",
    "from ray.scripts import scripts\n"
    "from eibench_ray.driver.ray_processes import lean_node\n"
    "scripts.get_ray_client_dependency_error = lambda: 'no server for clients, which has one port for all'\n"
    "with lean_node(has_dashboard=False):\n    scripts.main()",
    *("start", "--block", "--disable-usage-stats", "--object-store-memory=100000000", "--include-log-monitor=false"),
]
RULE = {"name": "includes", "kind": "includes"}  # a judge that asks nobody: a run has the model's replicas alone
SLOW: dict[str, Any] = {"latency_s": 0.1, "max_num_seqs": 4}  # some 5 rows at once: a slice takes 0.1 s


class Recorder:
    """A listener that keeps what it was told, and lets a test act on it."""

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []
        self.hook: Callable[[Snapshot], None] = lambda _: None

    def update(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)
        self.hook(snapshot)


class HookedLedger(Ledger):
    """A ledger that lets a test act at the very moment when something has happened."""

    def __init__(self, path: Path, hook: Callable[[str, dict[str, Any]], None]) -> None:
        super().__init__(path)
        self._hook = hook

    def write(self, event: str, **fields: Any) -> None:
        super().write(event, **fields)
        self._hook(event, fields)


class Run:
    """One run of a driver, and what it left in its ledger."""

    def __init__(
        self,
        sweep: PlannedSweep,
        hook: Callable[[str, dict[str, Any]], None] | None = None,
        limiter: RateLimiter | None = None,
        left_s: float = math.inf,
    ) -> None:
        for step, left in sweep.work.items():
            if left.todo:
                sweep.store.fix_slice_rows(step, sweep.slice_rows[step], {})
        self.path = sweep.store.paths.root / f"ledger-{len(list(sweep.store.paths.root.glob('ledger-*')))}.jsonl"
        self.ledger = HookedLedger(self.path, hook or (lambda *_: None))
        self.listener = Recorder()
        self.driver = Driver(
            sweep.plan,
            sweep.work,
            sweep.config.cluster,
            str(sweep.store.paths.root),
            # Of its own: what is left of a replica is found on the whole machine by the run's id, and killed.
            secrets.token_hex(4),
            self.ledger,
            self.listener,
            limiter,
            left_s,
        )

    def finish(self) -> RunResult:
        """The run's result; it has left no replica behind."""
        with contextlib.closing(self.ledger):
            outcome = asyncio.run(self.driver.run())
        _, left = psutil.wait_procs(replica_processes(), timeout=30)
        assert not left
        return outcome

    def process(self, replica: int) -> psutil.Process:
        """The process of a replica that is ready."""
        facts = self.driver.replica_set.states[replica].handle.facts
        assert facts is not None
        return psutil.Process(facts.pid)

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The ledger's events of one kind."""
        lines = [json.loads(line) for line in self.path.read_text().splitlines()]
        return [line for line in lines if line["event"] == kind]


def replica_processes() -> list[psutil.Process]:
    """The processes of this session's replicas."""
    return children_named(psutil.Process(), "ray::Replica")


def cluster_of(**options: Any) -> dict[str, Any]:
    return {"name": "local", "num_cpus": 2, "num_gpus": 0, "stop_timeout_s": 10.0} | options


def check_whole(sweep: PlannedSweep, again: PlannedSweep) -> None:
    """Every step has one row per sample, in its files and for the planner."""
    assert again.is_complete
    for step in sweep.plan.steps.values():
        files = sorted(sweep.store.paths.step(step.id).glob("slice-*.parquet"))
        ids = [
            sample_id
            for file in files
            for sample_id in pq.ParquetFile(file).read(["sample_id"])["sample_id"].to_pylist()
        ]
        assert ids == [f"s{number:03d}" for number in range(sweep.plan.datasets[step.dataset].num_rows)]
