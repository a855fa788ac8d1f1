"""vLLM's own process, stopped under a run: noticed, started again, and no answer differs for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from needed import need

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.config.schema import RunConfig
from eibench_ray.driver.driver import Driver
from eibench_ray.driver.ray_session import ray_session
from eibench_ray.driver.run_events import Ledger, Snapshot
from eibench_ray.runs.planning import plan_sweep

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Sweeps

need("vllm", "the engine needs eibench-ray[cpu] or [gpu]")
pytestmark = pytest.mark.slow

ENGINE: dict[str, Any] = {
    "kind": "vllm",
    "source": "checkpoint:tiny_llama",
    "dtype": "float32",  # so that the rounding of another batch does not tip an answer
    "max_model_len": 512,
    "max_num_seqs": 4,
    "kv_cache_gib": 0.03125,
    "enforce_eager": True,
}


class StoppingLedger(Ledger):
    """A ledger that stops vLLM's own process when the first slice is there."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.stopped: list[int] = []

    def write(self, event: str, **fields: Any) -> None:
        super().write(event, **fields)
        if event == "slice_committed" and not self.stopped:
            for process in psutil.Process().children(recursive=True):
                if "EngineCore" in " ".join(process.cmdline()):
                    process.suspend()
                    self.stopped.append(process.pid)


class Silence:
    """Nobody listens."""

    def update(self, snapshot: Snapshot) -> None:
        """Nothing."""


@pytest.fixture(scope="module", autouse=True)
def ray_here() -> Iterator[None]:
    from eibench_ray.weights.build import build_checkpoint

    build_checkpoint("tiny_llama")
    with ray_session(ClusterConfig(name="local", num_cpus=2, num_gpus=0)):
        yield


def config(sweeps: Sweeps, dataset: str, engine: dict[str, Any], **cluster: Any) -> RunConfig:
    there = {"name": "local", "num_cpus": 2, "num_gpus": 0, "device": "cpu"} | cluster
    base = sweeps.config(dataset=dataset, cluster=there, slice_rows=4).model_dump()
    call = {"name": "answer", "role": "subject", "image": False, "prompt": "{{ question }}"}
    setting = {"name": "asked", "calls": [call], "sampling": {"temperature": 0.0, "max_tokens": 48}}
    model = {"name": "tiny", "engine": engine, "sees_image": False}
    return RunConfig.model_validate(base | {"model": model, "setting": setting})


def test_an_engine_that_is_stopped_is_noticed_and_no_answer_differs_for_it(sweeps: Sweeps) -> None:
    for name in ("faces", "again"):  # the same questions twice: asked once before it happens or amid it, once after it
        sweeps.write_dataset(range(12), name=name)
    configs = [config(sweeps, name, ENGINE, progress_timeout_s=15.0) for name in ("faces", "again")]
    planned = plan_sweep(configs, must_exist=True)
    for step in planned.plan.steps:
        planned.store.fix_slice_rows(step, 4, {})
    ledger = StoppingLedger(sweeps.folder / "ledger.jsonl")
    with contextlib.closing(ledger):
        driver = Driver(
            planned.plan,
            planned.work,
            planned.config.cluster,
            str(planned.store.paths.root),
            sweeps.folder.name,
            ledger,
            Silence(),
        )
        outcome = asyncio.run(driver.run())
    assert ledger.stopped
    lines = [json.loads(line) for line in (sweeps.folder / "ledger.jsonl").read_text().splitlines()]
    (lost,) = (line for line in lines if line["event"] == "replica_lost")
    assert lost["reason"].startswith("it hangs: no token and no row for ")
    assert not outcome.failed_engines
    assert not any(psutil.pid_exists(pid) for pid in ledger.stopped)
    answers = []
    for cell in planned.plan.cells:
        ids = [f"s{number:03d}" for number in range(12)]
        rows = planned.store.read_rows(cell.answer, 0, ids)
        assert sorted(rows) == ids
        answers.append([rows[sample_id].text for sample_id in ids])
    assert answers[0] == answers[1]
    assert all(answers[0])
    assert len(set(answers[0])) > 1
