"""The rows of one task on their way through the engine: asked, committed as they come, drained at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace

from eibench_ray.ratelimit.rate_limiter import BudgetSpentError
from eibench_ray.rows.completion import Completion, RowErrorKind
from eibench_ray.worker.read_ahead import ReadSlice
from eibench_ray.worker.row_attempts import Asker
from eibench_ray.worker.task_rows import TaskRow


class RowsInFlight:
    """The rows of one task on their way through the engine.

    Workers ask row after row, as a coroutine of its own for each row costs more than all else that is done for it. One
    worker waits for a slot; when it gets it, it starts the next one. So there are as many as the engine keeps busy:
    one per slot where replies take their time, two where they come at once.

    Args:
        rows: those to ask.
        images: by sample id, the bytes of all of its pictures; each row's go as it is asked.
        waiting: is told of each row that is asked.
        asker: asks.
        drain: says when to end.
        committed: by sample id, the rows that the store has.
        commit: puts completions into the store.
        poisoned: by sample id, the rows that are not asked because they kill the engine, with the reason.
        commits_each: whether rows are committed as they come.
    """

    def __init__(
        self,
        rows: list[TaskRow],
        images: dict[str, tuple[bytes, ...]],
        waiting: ReadSlice,
        asker: Asker,
        drain: Drain,
        committed: Mapping[str, Completion],
        commit: Callable[[dict[str, Completion]], Coroutine[None, None, None]],
        poisoned: Mapping[str, str],
        *,
        commits_each: bool,
    ) -> None:
        self._rows = iter(rows)
        self._images = images
        self._waiting = waiting
        self._asker = asker
        self._drain = drain
        self._committed = committed
        self._poisoned = poisoned
        self._commits = IncrementalCommit(lambda: commit(self.completions), self._fail) if commits_each else None
        self._workers: set[asyncio.Task[None]] = set()
        self._num_waiting = 0
        self._ended = asyncio.Event()
        self._failure: BaseException | None = None
        self.completions: dict[str, Completion] = {}
        self.cost_usd = 0.0
        self.shortage: str | None = None

    async def run(self) -> BaseException | None:
        """Asks all rows, until the drain or until one fails with more than an error of its own, which is returned.

        The completions so far are in `completions`; rows in flight are given up, at a drain once its grace is over.
        Where the budget does not allow a row, `shortage` says so; rows in flight are awaited then, and no further one
        is asked.
        """
        self._start_worker()
        ends = [asyncio.create_task(event.wait()) for event in (self._ended, self._drain.is_over)]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            left = [*ends, *self._workers]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            if self._commits:
                await self._commits.settle()
        return self._failure

    def _start_worker(self) -> None:
        self._num_waiting += 1
        worker = asyncio.create_task(self._work())
        self._workers.add(worker)
        worker.add_done_callback(self._note_end)

    async def _work(self) -> None:
        for row in self._rows:
            async with self._asker.slots:
                self._num_waiting -= 1
                if self.shortage is not None or self._drain.is_ordered.is_set():
                    return
                if not self._num_waiting:
                    self._start_worker()
                try:
                    self._take(await self._ask(row))
                except BudgetSpentError as error:
                    self.shortage = str(error)
                    return
                self._num_waiting += 1

    def _take(self, row: Completion) -> None:
        """Keeps a row; what an earlier row of its sample cost, which it replaces, stays with it."""
        if row.cost_usd is not None:
            self.cost_usd += row.cost_usd
        earlier = self._committed.get(row.sample_id)
        if earlier is not None and earlier.cost_usd is not None:
            row = replace(row, cost_usd=earlier.cost_usd + (row.cost_usd or 0.0))
        self.completions[row.sample_id] = row
        if self._commits:
            self._commits.note()

    async def _ask(self, row: TaskRow) -> Completion:
        """The completion of one row; a row that cannot be asked gets its error without a request."""
        sample_id, asker = row.sample.sample_id, self._asker
        there = self._images.pop(sample_id, ())
        self._waiting.take(row, there)
        if row.is_absent:
            return asker.skip(sample_id, row.input_digest)
        if row.unmade is not None:
            return asker.refuse(sample_id, RowErrorKind.PROMPT, row.unmade, row.input_digest)
        if row.request is None:
            why = "an answer that this row reads is an error"
            return asker.refuse(sample_id, RowErrorKind.UPSTREAM, why, row.input_digest)
        if (reason := self._poisoned.get(sample_id)) is not None:
            return asker.refuse(sample_id, RowErrorKind.QUARANTINED, reason, row.input_digest, row.request.digest)
        images = [there[one.number] for one in row.request.images if one.number < len(there)]
        if len(images) < len(row.request.images) or None in images:
            why = "the dataset has no bytes for the picture"
            return asker.refuse(sample_id, RowErrorKind.IMAGE, why, row.input_digest)
        return await asker.ask(row.request, images, row.input_digest)

    def _note_end(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        if not worker.cancelled() and (error := worker.exception()) is not None:
            self._fail(error)
        if not self._workers:
            self._ended.set()

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
        self._ended.set()


class Drain:
    """First no further row is asked, then those in flight are given up."""

    def __init__(self) -> None:
        self.is_ordered = asyncio.Event()  # no further row is asked
        self.is_over = asyncio.Event()  # rows in flight are not awaited any longer

    def order(self, grace_s: float) -> None:
        """No further row is asked; those in flight have so many seconds. Ordered again, the sooner end holds."""
        self.is_ordered.set()
        asyncio.get_running_loop().call_later(grace_s, self.is_over.set)


class IncrementalCommit:
    """The writes of one slice while its rows come, one at a time; what comes during one goes with the next."""

    def __init__(
        self, commit: Callable[[], Coroutine[None, None, None]], on_failure: Callable[[BaseException], None]
    ) -> None:
        self._commit = commit
        self._on_failure = on_failure
        self._has_news = False
        self._writing: asyncio.Task[None] | None = None

    def note(self) -> None:
        """A row has come."""
        self._has_news = True
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
            self._writing.add_done_callback(self._note_end)

    async def settle(self) -> None:
        """Returns once no write is under way; a later one must not be overtaken by it."""
        self._has_news = False
        if self._writing is not None:
            await asyncio.wait({self._writing})

    async def _write(self) -> None:
        while self._has_news:
            self._has_news = False
            await self._commit()

    def _note_end(self, writing: asyncio.Task[None]) -> None:
        if not writing.cancelled() and (error := writing.exception()) is not None:
            self._on_failure(error)
