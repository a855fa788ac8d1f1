"""vLLM's own processes, stopped and killed under a run: noticed, started again, and no answer differs for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from eibench_ray.cluster.driver import Driver
from eibench_ray.cluster.events import Ledger, Snapshot
from eibench_ray.cluster.session import ray_session
from eibench_ray.config.schema import ClusterConfig, RunConfig
from eibench_ray.sweep.planning import plan_sweep

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Sweeps

pytest.importorskip("vllm", reason="the engine needs eibench-ray[cpu] or [gpu]")
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


class Meddler(Ledger):
    """A ledger that does something to one of vLLM's own processes when the first slice is there."""

    def __init__(self, path: Path, title: str, act: Callable[[psutil.Process], object]) -> None:
        super().__init__(path)
        self._title, self._act = title, act
        self.victims: list[int] = []

    def write(self, event: str, **fields: Any) -> None:
        super().write(event, **fields)
        if event == "slice_committed" and not self.victims:
            for process in psutil.Process().children(recursive=True):
                if self._title in " ".join(process.cmdline()) and not self.victims:
                    self._act(process)
                    self.victims.append(process.pid)


class Silence:
    """Nobody listens."""

    def update(self, snapshot: Snapshot) -> None:
        """Nothing."""


@pytest.fixture(scope="module", autouse=True)
def ray_here() -> Iterator[None]:
    from eibench_ray.checkpoints.build import build_checkpoint

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


@pytest.mark.parametrize(
    ("title", "act", "patience_s", "more", "reason"),
    [
        ("EngineCore", psutil.Process.suspend, 8.0, {}, "it hangs: no token and no row for "),
        (
            "Worker_TP1",
            psutil.Process.kill,
            600.0,
            {
                "args": {"tensor_parallel_size": 2, "distributed_executor_backend": "mp"},
                "env": {"VLLM_CPU_OMP_THREADS_BIND": "nobind"},  # else a worker wants a NUMA node for itself
            },
            "vLLM died while it answered s0",
        ),
    ],
    ids=["the engine's process is stopped", "a worker is killed"],
)
def test_it_is_noticed_and_every_answer_is_what_it_would_be(
    sweeps: Sweeps,
    title: str,
    act: Callable[[psutil.Process], object],
    patience_s: float,
    more: dict[str, Any],
    reason: str,
) -> None:
    for name in ("faces", "again"):  # the same questions twice: asked once before it happens or amid it, once after it
        sweeps.write_dataset(range(12), name=name)
    configs = [config(sweeps, name, ENGINE | more, progress_timeout_s=patience_s) for name in ("faces", "again")]
    planned = plan_sweep(configs, must_exist=True)
    for step in planned.plan.steps:
        planned.store.fix_slice_rows(step, 4, {})
    ledger = Meddler(sweeps.folder / "ledger.jsonl", title, act)
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
    assert ledger.victims
    lines = [json.loads(line) for line in (sweeps.folder / "ledger.jsonl").read_text().splitlines()]
    (lost,) = (line for line in lines if line["event"] == "replica_lost")
    assert reason in lost["reason"]
    assert not outcome.failed_engines
    assert not any(psutil.pid_exists(pid) for pid in ledger.victims)
    answers = []
    for cell in planned.plan.cells:
        ids = [f"s{number:03d}" for number in range(12)]
        rows = planned.store.read_rows(cell.answer, 0, ids)
        assert sorted(rows) == ids
        answers.append([rows[sample_id].text for sample_id in ids])
    assert answers[0] == answers[1]
    assert all(answers[0])
    assert len(set(answers[0])) > 1
