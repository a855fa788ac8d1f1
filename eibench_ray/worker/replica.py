"""A replica: one running copy of an engine, as a Ray actor that owns its GPUs."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from eibench_ray.datasets.dataset import Dataset, DatasetIndex, open_dataset
from eibench_ray.engines.engine import EngineFacts
from eibench_ray.engines.registry import adapters_of, create_engine, weights_of
from eibench_ray.plan.graph import DatasetSpec, EngineSpec, Step
from eibench_ray.plan.slices import Slice
from eibench_ray.ratelimit.admission import LocalRateLimiter
from eibench_ray.ratelimit.rate_limiter import RateLimiter
from eibench_ray.rows.completion import Retry
from eibench_ray.schedule.resources import QUEUE_FACTOR
from eibench_ray.store.slice_store import Store
from eibench_ray.worker.gpu_meter import GpuMeter
from eibench_ray.worker.last_lines import write_mark
from eibench_ray.worker.probe import PoisonProbe
from eibench_ray.worker.process_guard import guard_group
from eibench_ray.worker.row_attempts import Asker, ReplicaCounts
from eibench_ray.worker.rows_in_flight import Drain
from eibench_ray.worker.task import TaskReport, run_task


@dataclass(frozen=True, slots=True)
class ReplicaFacts:
    """Facts that a replica reports when it is ready.

    Attributes:
        node, node_id: the address and Ray's name of the node of its own process.
    """

    fingerprint: str
    capacity: int  # rows that it works on at once
    load_s: float  # seconds from its creation to its readiness
    node: str
    node_id: str
    pid: int
    gpus: tuple[str, ...]  # the GPUs that this process owns, by index or UUID


class Replica:
    """Loads one engine and runs tasks on it; several at the same time share the engine's batch."""

    def __init__(
        self,
        spec: EngineSpec,
        datasets: Mapping[str, DatasetSpec],
        store_root: str,
        run_id: str,
        row_timeout_s: float,
        working_folder: str,
        limiter: RateLimiter | None,
        retry: Retry,
        gpus: Mapping[str, tuple[str, ...]],
    ) -> None:
        # A joined cluster was started elsewhere: relative paths mean what they mean where the command was called.
        if Path(working_folder).is_dir():
            os.chdir(working_folder)
        write_mark()
        self._guard = guard_group()
        # What it imports and loads stays: collections of garbage meanwhile took 1.6 of the 7.4 CPU s of importing vLLM.
        gc.disable()
        self._store = store = Store(store_root)
        folder = store.paths.batches(spec.key)
        self._weights = weights_of(spec)
        self._adapters = adapters_of(spec)
        self._engine = create_engine(
            spec, limiter or LocalRateLimiter(), folder, store.storage, self._weights, self._adapters
        )
        self._datasets = datasets
        self._opened: dict[str, tuple[Dataset, DatasetIndex]] = {}
        self._run_id = run_id
        self._row_timeout_s = row_timeout_s
        self._retry = retry
        self._drain = Drain()
        self._paid_grace_s = 0.0
        self._counts_so_far = ReplicaCounts()
        self._asker: Asker | None = None
        self._facts: EngineFacts | None = None
        self._num_seen_waiting = 0
        self._gpus = gpus  # those that it holds, by node, as far as the driver knows
        self._meter: GpuMeter | None = None

    async def start(self) -> ReplicaFacts:
        """Facts, once the engine is loaded.

        Raises:
            EngineError: the engine cannot start.
        """
        import ray
        from ray.util import get_node_ip_address

        started = time.monotonic()
        if self._weights is not None:
            await asyncio.to_thread(self._weights.bring)
        for adapter in self._adapters:
            await asyncio.to_thread(adapter.bring)
        facts = self._facts = await self._engine.start()
        capacity = math.ceil(facts.max_num_seqs * QUEUE_FACTOR)
        slots = asyncio.Semaphore(capacity)
        self._asker = Asker(
            self._engine,
            facts.fingerprint,
            slots,
            facts.row_timeout_s or self._row_timeout_s,
            self._run_id,
            self._counts_so_far,
            facts.costs_money,
        )
        self._paid_grace_s = facts.grace_s
        where = ray.get_runtime_context()
        node, node_id = get_node_ip_address(), where.get_node_id()
        gpus = tuple(str(gpu) for gpu in where.get_accelerator_ids().get("GPU", []))
        self._meter = GpuMeter(node, self._gpus.get(node_id, gpus))
        # Without it in each collection of garbage a row costs 3-14 us less.
        gc.freeze()
        gc.enable()
        return ReplicaFacts(
            fingerprint=facts.fingerprint,
            capacity=capacity,
            load_s=time.monotonic() - started,
            node=node,
            node_id=node_id,
            pid=os.getpid(),
            gpus=gpus,
        )

    async def doing(self) -> str:
        """Waits of its start beside the engine's own load; empty where there are none."""
        brought = [self._weights, *(adapter.weights for adapter in self._adapters)]
        return next((weights.doing for weights in brought if weights is not None and weights.doing), "")

    async def run_task(self, step: Step, slice_: Slice, probe: PoisonProbe | None) -> TaskReport:
        """Asks for a slice's rows and commits them; see `cluster.task.run_task`."""
        assert self._asker is not None
        if step.dataset not in self._opened:
            self._opened[step.dataset] = await asyncio.to_thread(self._open, step.dataset)
        dataset, index = self._opened[step.dataset]
        store, asker, drain = self._store, self._asker, self._drain
        for one in self._adapters:
            if one.adapter.key == step.adapter:
                asker = replace(asker, fingerprint=f"{asker.fingerprint} + {one.weights.label}")
        return await run_task(step, slice_, dataset, index, store, asker, drain, retry=self._retry, probe=probe)

    def _open(self, name: str) -> tuple[Dataset, DatasetIndex]:
        spec = self._datasets[name]
        dataset = open_dataset(spec.path)
        return dataset, dataset.index()

    async def counts_so_far(self) -> ReplicaCounts:
        """Counts of its work so far.

        An endpoint's rows show nothing until they end, and each has a deadline: while there are some, it gets on.
        """
        assert self._facts is not None
        progress = self._counts_so_far.progress
        if self._facts.progress is not None:
            progress += self._facts.progress()
        if self._facts.is_endpoint:
            self._num_seen_waiting += self._asker is not None and self._asker.shared_time.num_rows > 0
            progress += self._num_seen_waiting
        if self._facts.waits is not None:
            self._counts_so_far.waits = tuple(self._facts.waits())  # rows that take too long say so
        gpus = self._meter.uses if self._meter is not None else ()
        return replace(self._counts_so_far, progress=progress, gpus=gpus)

    async def drain(self, grace_s: float) -> None:
        """Asks no further row; tasks commit what they have and return once rows in flight have ended.

        These are given up after `grace_s` seconds; what is paid for, not before the engine's own time of grace.
        """
        self._drain.order(max(grace_s, self._paid_grace_s))

    async def stop(self) -> None:
        """Ends the engine."""
        if self._meter is not None:
            self._meter.close()
        await self._engine.stop()
