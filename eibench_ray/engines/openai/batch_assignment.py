"""The batches of an engine: which one a request belongs to, and what became of it there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

from eibench_ray.engines.openai.batch_api import BatchApi
from eibench_ray.engines.openai.batch_record import BatchFolder, BatchRecord
from eibench_ray.engines.openai.batch_run import BatchRooms, BatchRun, Said
from eibench_ray.engines.openai.openai_section import BatchConfig
from eibench_ray.rows.wait import Wait

# Pictures are encoded in threads; more at once would only fill the memory.
NUM_COMPOSERS = 4


class BatchAssignment:
    """Requests by their line ids, in the batches of this run and of earlier ones."""

    def __init__(self, config: BatchConfig, folder: BatchFolder, provider: BatchApi) -> None:
        self._config = config
        self._folder = folder
        self._provider = provider
        self._places = BatchRooms()
        self._composers = asyncio.Semaphore(NUM_COMPOSERS)
        self._runs: list[BatchRun] = []
        self._newest: dict[str, BatchRun] = {}  # by line
        self._open: BatchRun | None = None

    async def start(self) -> None:
        """Reads what earlier runs have sent; nothing is asked of the provider before a row is."""
        for record in await asyncio.to_thread(self._folder.load, time.time()):
            self._newest |= dict.fromkeys(record.line_ids, self._new_run(record))

    def was_sent(self, line_id: str) -> bool:
        """Whether a request stands in a batch that has been sent, as far as is known."""
        return line_id in self._newest

    async def ask(self, line_id: str, compose: Callable[[], Awaitable[bytes]]) -> Said | None:
        """Sends a request unless it was sent before, and returns its outcome; None: it was, and is to be sent again.

        Raises:
            EngineError: the provider refuses the batch, or does not answer.
        """
        run = self._newest.get(line_id) or await self._join(line_id, compose)
        return await run.outcome(line_id)

    def forget(self, line_id: str) -> None:
        """Sends a request anew when it is asked for again: what became of it was no use."""
        if line_id in self._newest and self._newest[line_id].has_ended:
            del self._newest[line_id]

    def waits(self, now: float) -> Iterator[Wait]:
        """The batches that rows wait for."""
        for run in self._runs:
            yield from run.waits(now)

    async def stop(self) -> None:
        """Lets go of all batches; those that were sent go on at the provider, and the next run attaches to them."""
        await asyncio.gather(*(run.stop() for run in self._runs))

    async def _join(self, line_id: str, compose: Callable[[], Awaitable[bytes]]) -> BatchRun:
        async with self._composers:
            line = await compose()
        if line_id in self._newest:  # it came twice at the same time
            return self._newest[line_id]
        if self._open is None or not self._open.take(line_id, line):
            self._open = self._new_run()
            self._open.take(line_id, line)
        self._newest[line_id] = self._open
        return self._open

    def _new_run(self, record: BatchRecord | None = None) -> BatchRun:
        run = BatchRun(self._config, self._folder, self._provider, self._places, record)
        self._runs.append(run)
        return run
