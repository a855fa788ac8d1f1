"""vLLM for real, killed by one row whenever that is in its batch: the row is found, and the others are answered."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from needed import need

from eibench_ray.config.schema import RunConfig
from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.driver.driver import Driver
from eibench_ray.driver.ray_session import ray_session
from eibench_ray.driver.run_events import Ledger, Snapshot

if TYPE_CHECKING:
    from conftest import Sweeps

need("vllm", "the engine needs eibench-ray[cpu] or [gpu]")
pytestmark = pytest.mark.slow

DEADLY, NUM_ROWS = 1, 3
HERE = Path(__file__).parent
MODEL = {
    "name": "tiny",
    "sees_image": False,
    "engine": {
        "kind": "vllm",
        "source": "checkpoint:tiny_llama",
        "dtype": "float32",
        "max_model_len": 1024,
        "max_num_seqs": 8,
        "kv_cache_gib": 0.0625,
        "enforce_eager": True,
        "args": {"logits_processors": ["deadly_row:DeadlyRow"]},
        "env": {"PYTHONPATH": f"{HERE}:{HERE.parents[1]}"},
    },
}


class Silence:
    """Nobody listens."""

    def update(self, snapshot: Snapshot) -> None:
        """Nothing."""


def test_a_row_that_kills_vllm_costs_itself_alone(sweeps: Sweeps) -> None:
    from eibench_ray.weights.build import build_checkpoint

    build_checkpoint("tiny_llama")
    sweeps.write_dataset(range(NUM_ROWS), questions={DEADLY: "why " * 150})
    cluster = {"name": "local", "num_cpus": 2, "num_gpus": 0, "device": "cpu", "max_replicas_per_engine": 1}
    base = sweeps.config(cluster=cluster, slice_rows=1).model_dump()
    call = {"name": "answer", "role": "subject", "image": False, "prompt": "{{ question }}"}
    setting = {"name": "plain", "calls": [call], "sampling": {"max_tokens": 8}}
    planned = sweeps.plan(RunConfig.model_validate(base | {"model": MODEL, "setting": setting}))
    for step in planned.plan.steps:
        planned.store.fix_slice_rows(step, 1, {})
    path = sweeps.folder / "ledger.jsonl"
    with ray_session(planned.config.cluster):
        root = str(planned.store.paths.root)
        driver = Driver(planned.plan, planned.work, planned.config.cluster, root, "run", Ledger(path), Silence())
        outcome = asyncio.run(driver.run())
    assert outcome.failed_engines == {}
    ids = open_dataset(planned.plan.datasets["faces"].path).index().sample_ids
    rows = planned.store.read_rows(planned.plan.cells[0].answer, 0, ids)
    assert {name: row.error_kind for name, row in rows.items()} == {"s000": None, "s001": "quarantined", "s002": None}
    assert "vLLM died while it answered s001" in (rows["s001"].error or "")
    events = [json.loads(line) for line in path.read_text().splitlines()]
    counts = Counter(event["event"] for event in events if event.get("model", "tiny") == "tiny")
    assert counts["replica_lost"] == 4  # two with all rows, two with this one alone
    assert [event["sample"] for event in events if event["event"] == "row_quarantined"] == ["s001"]
