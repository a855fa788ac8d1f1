"""One batch from its first line to its last outcome: gathered, sent, waited for, downloaded.

It lives in one coroutine; rows await its end. Nothing is undone when that coroutine is cancelled or its process dies:
what it had done stands in the record (batch_record.py), and a later run goes on from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from eibench_ray.engines.openai.batch_api import BatchApi, NoPlaceError, NotBegunError
from eibench_ray.engines.openai.batch_files import Inbox, Outbox
from eibench_ray.engines.openai.batch_record import BatchFolder, BatchRecord
from eibench_ray.engines.openai.http_client import Response
from eibench_ray.engines.openai.no_response import NoResponse
from eibench_ray.engines.openai.openai_section import BatchConfig
from eibench_ray.engines.openai.response_errors import Remedy, ResponseError
from eibench_ray.rows.completion import RowErrorKind
from eibench_ray.rows.wait import Wait
from eibench_ray.visible_text import in_line, shorten

# What became of a line: what the provider says of it, or what we say of the whole batch.
Said = Response | NoResponse | ResponseError

log = logging.getLogger(__name__)

LONGEST_REASON = 160
# While there is no place, it is asked for after pauses that grow up to so many polls.
LONGEST_PAUSE = 20


class BatchRooms:
    """The places that our batches take at the provider."""

    def __init__(self) -> None:
        self.num_taken = 0  # batches of ours that run, or that the provider is about to refuse
        self._freed = asyncio.Event()

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """A place is taken until the block ends; one that was refused frees none."""
        self.num_taken += 1
        try:
            yield
            self._freed.set()
            self._freed = asyncio.Event()
        finally:
            self.num_taken -= 1

    async def wait(self, pause_s: float) -> bool:
        """Whether one of ours has ended within a pause; returns as soon as it has."""
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(self._freed.wait(), pause_s)
        return False


@dataclass(frozen=True, slots=True)
class BatchEnd:
    """The end of a batch."""

    inbox: Inbox | None  # what the provider says of its lines; None: nothing
    missing: Said | None = None  # what became of a line that it says nothing of; None: it was never sent


class BatchRun:
    """One batch.

    Attributes:
        outbox: where its lines are gathered; None: an earlier process sent it.
    """

    def __init__(
        self,
        config: BatchConfig,
        folder: BatchFolder,
        provider: BatchApi,
        places: BatchRooms,
        record: BatchRecord | None = None,
    ) -> None:
        self.record = record  # what was sent of it; None: nothing yet
        self.outbox = Outbox(config, time.monotonic()) if record is None else None
        self._num_waiting = 0
        self._config = config
        self._folder = folder
        self._provider = provider
        self._places = places
        self._closed = asyncio.Event()
        self._doing, self._since = "", time.monotonic()
        self._task: asyncio.Task[BatchEnd] | None = None

    @property
    def has_ended(self) -> bool:
        """Whether its outcomes are there."""
        return self._task is not None and self._task.done()

    def take(self, line_id: str, line: bytes) -> bool:
        """Whether a line has joined. A batch that has no room for it is sent; one that is empty takes any."""
        outbox = self.outbox
        if outbox is None or self._closed.is_set():
            return False
        if has_room := outbox.has_room(line):
            outbox.add(line_id, line, time.monotonic())
        if not has_room or outbox.is_full:
            self._closed.set()
        return has_room

    async def outcome(self, line_id: str) -> Said | None:
        """The outcome of a line, once the batch has ended; None: it was not sent, or an earlier run had no luck.

        Raises:
            EngineError: the provider refuses the batch, or does not answer.
        """
        if self._task is None:
            self._task = asyncio.create_task(self._recover() if self.outbox is None else self._send(self.outbox))
        self._num_waiting += 1
        try:
            # A row that is given up leaves the batch to the others.
            end = await asyncio.shield(self._task)
        finally:
            self._num_waiting -= 1
        outcome = (end.inbox and end.inbox.find(line_id)) or end.missing
        was_answered = isinstance(outcome, Response) and outcome.status == 200
        is_of_use = self.outbox is not None or was_answered or isinstance(outcome, ResponseError)
        return outcome if is_of_use else None

    def waits(self, now: float) -> Iterator[Wait]:
        """The wait of the rows that are in it."""
        if self._num_waiting and self._doing and not self.has_ended:
            yield Wait(self._doing, now - self._since, self._config.window_s)

    def _do(self, what: str) -> None:
        what = in_line(what)  # the provider's words are in it
        if what != self._doing:
            self._doing, self._since = what, time.monotonic()

    async def stop(self) -> None:
        """Lets go of it; what was sent goes on at the provider."""
        if self.outbox is not None:
            self.outbox.file.close()
        if self._task is None:
            return
        if not self._task.done() and self.record is not None and self.record.batch_id is not None:
            log.info("batch left running batch=%s name=%s", self.record.batch_id, self.record.name)
        self._task.cancel()
        (end,) = await asyncio.gather(self._task, return_exceptions=True)
        if isinstance(end, BatchEnd) and end.inbox is not None:
            end.inbox.close()

    async def _send(self, outbox: Outbox) -> BatchEnd:
        """The end of a batch that begins here."""
        while not self._closed.is_set() and (left_s := outbox.left_s(time.monotonic())) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closed.wait(), left_s)
        self._closed.set()
        with outbox.file:
            if not self._num_waiting:
                return BatchEnd(None)
            self._do(f"the upload of a batch of {len(outbox.line_ids):,} requests")
            record = await asyncio.to_thread(self._folder.new, tuple(outbox.line_ids))
            file_id = await self._provider.upload(record.name, outbox.file)
        record = await self._note(replace(record, file_id=file_id))
        limited_at, pause_s = time.monotonic(), self._config.poll_s
        while self._num_waiting:
            try:
                return await self._follow(record)
            except NoPlaceError as error:
                log.warning("no place for another batch name=%s: %s", record.name, error)
                self._do(f"a place for another batch ({shorten(str(error), LONGEST_REASON).rstrip('.')})")
                has_room = await self._places.wait(pause_s)
                pause_s = self._config.poll_s if has_room else min(2 * pause_s, self._config.poll_s * LONGEST_PAUSE)
                if has_room or self._places.num_taken:
                    limited_at = time.monotonic()
                elif time.monotonic() - limited_at > self._config.window_s:
                    self._folder.remove(record)
                    why = f"no place for a batch within its window ({error}): lower model.engine.batch.max_requests"
                    return BatchEnd(None, ResponseError(Remedy.ROW, why))
            except NotBegunError:
                self._folder.remove(record)
                raise
        self._folder.remove(record)
        return BatchEnd(None)

    async def _recover(self) -> BatchEnd:
        """The end of a batch that an earlier process sent; one that was not begun is not sent now.

        Whoever asks for a line of it may want only that one: all that is wanted gathers anew.
        """
        record = self.record
        assert record is not None
        if record.batch_id is None:
            batch_id = await self._provider.find(record)
            if batch_id is not None:
                record = await self._note(replace(record, batch_id=batch_id))
        if record.batch_id is not None:
            with contextlib.suppress(NotBegunError):
                return await self._follow(record)
        self._folder.remove(record)
        return BatchEnd(None)

    async def _follow(self, record: BatchRecord) -> BatchEnd:
        """The end of a record's batch, which is made where it is not yet.

        Raises:
            NotBegunError: nothing of it was executed.
        """
        batch_id = record.batch_id
        if batch_id is None:
            batch_id = await self._provider.create(record)
            await self._note(replace(record, batch_id=batch_id))
            log.info("batch sent batch=%s name=%s requests=%d", batch_id, record.name, len(record.line_ids))
        with self._places.taken():
            self._do(f"batch {batch_id}")
            batch = await self._provider.end(batch_id, lambda status: self._do(f"batch {batch_id} ({status})"))
        if batch is None:
            why = f"batch {batch_id} should have ended long ago: cancel it at the provider, and run the command again"
            return BatchEnd(None, ResponseError(Remedy.ROW, why, RowErrorKind.TIMEOUT))
        inbox = Inbox()
        for file_id in (batch.error_file_id, batch.output_file_id):
            if file_id is not None:
                await self._provider.download(file_id, inbox)
        return BatchEnd(inbox, NoResponse(f"batch {batch_id} is {batch.status} without this request", was_sent=False))

    async def _note(self, record: BatchRecord) -> BatchRecord:
        """The record, committed."""
        self.record = record
        await asyncio.to_thread(self._folder.write, record)
        return record
