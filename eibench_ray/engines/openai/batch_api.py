"""The provider's side of a batch: its files and batches over HTTP, through outages. Nobody else calls these endpoints.

A call is repeated until it is answered, or until nothing was answered for `outage_timeout_s`. All but one may be: a
batch that is made twice is paid twice. So where the answer to that call is lost, the batch is looked for before it is
made again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import IO, Literal, TypeVar, cast

import httpx2
import openai
from openai.types import Batch, FileObject

from eibench_ray.engines.openai.batch_files import CHAT_URL, Inbox
from eibench_ray.engines.openai.batch_record import BatchRecord
from eibench_ray.engines.openai.http_client import Client, Response
from eibench_ray.engines.openai.no_response import Hope, NoResponse
from eibench_ray.engines.openai.openai_section import OpenaiSection
from eibench_ray.engines.openai.response_bounds import ResponseTooLargeError
from eibench_ray.engines.openai.silence import Silence
from eibench_ray.errors import EngineError
from eibench_ray.rows.wait import Wait

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_Named = TypeVar("_Named", Batch, FileObject)

# The key of the metadata by which a batch is found again; its value is our name of it.
NAME_KEY = "eibench_ray"
ENDED = frozenset({"completed", "expired", "cancelled"})
# A batch cannot be older than its record by more than two clocks may differ.
CLOCK_SKEW_S = 3600.0
# A batch that was made a moment before a crash may not be listed at once.
NUM_LOOKS = 2
# Of a whole file of at most 200 MB, up or down.
TRANSFER_TIMEOUT_S = 3600.0
# What a provider may take beyond the window before its batch counts as lost.
MARGIN_S = 3600.0


# A proxy's page in the provider's stead counts as no answer.
_GARBLED = httpx2.DecodingError("the answer is not what was asked for")


class NotBegunError(EngineError):
    """A batch failed its validation: nothing of it was executed, and nothing is paid."""


class NoPlaceError(NotBegunError):
    """A limit of the account does not allow another batch now; later it may."""


class BatchApi:
    """Files and batches of one endpoint."""

    def __init__(self, client: Client, config: OpenaiSection) -> None:
        self._endpoint = client
        self._client = client.openai
        self._scrub = client.secret.scrub
        self._config = config
        self._tried: set[str] = set()
        self._silence = Silence(config.outage_timeout_s)

    def hear(self, said: Response | NoResponse, sent_at: float) -> None:
        """Takes in what became of the first question to it.

        Raises:
            EngineError: no call can reach it.
        """
        now = time.monotonic()
        if not isinstance(said, NoResponse):
            self._silence.hear(now)
            return
        reason = self._scrub(said.reason)
        if said.hope is not Hope.PASSES:
            raise EngineError(f"{self._config.endpoint} at {self._config.base_url} cannot be reached: {reason}")
        self._silence.is_over(reason, sent_at, now)

    def waits(self, now: float) -> Iterator[Wait]:
        """The wait for a provider that does not answer."""
        return self._silence.waits(now)

    async def upload(self, name: str, lines: IO[bytes]) -> str:
        """The provider's name of a file that it has now. Sent twice, a file costs nothing."""

        async def send() -> str:
            lines.seek(0)
            file = (f"{name}.jsonl", lines, "application/jsonl")
            return _named(await self._client.files.create(file=file, purpose="batch")).id

        return await self._through("upload a file", send, TRANSFER_TIMEOUT_S)

    async def create(self, record: BatchRecord) -> str:
        """The provider's name of the batch over an uploaded file.

        Raises:
            NoPlaceError: a limit does not allow another batch now.
        """

        async def send() -> str:
            if record.name in self._tried and (found := await self._look(record)) is not None:
                return found
            self._tried.add(record.name)
            assert record.file_id is not None
            try:
                batch = await self._client.batches.create(
                    input_file_id=record.file_id,
                    endpoint=CHAT_URL,
                    # Other providers have other windows than OpenAI's one.
                    completion_window=cast(Literal["24h"], self._config.batch.window),
                    metadata={NAME_KEY: record.name},
                )
            except openai.RateLimitError as error:
                if _may_pass(error):
                    raise NoPlaceError(self._scrub(str(error))) from None
                raise
            return _named(batch).id

        return await self._through("create a batch", send)

    async def find(self, record: BatchRecord) -> str | None:
        """The provider's name of the batch that was made over an uploaded file; None: there is none."""
        for look in range(NUM_LOOKS):
            if look:
                await asyncio.sleep(self._config.batch.poll_s)
            if (found := await self._through("list batches", lambda: self._look(record))) is not None:
                return found
        return None

    async def _look(self, record: BatchRecord) -> str | None:
        try:
            async for batch in self._client.batches.list(limit=100):
                if batch.created_at < record.created_at - CLOCK_SKEW_S:
                    break
                is_it = (batch.metadata or {}).get(NAME_KEY) == record.name or batch.input_file_id == record.file_id
                if is_it and batch.status != "failed":
                    return batch.id
        except AttributeError:  # as openai (3.54) says that this is no list
            raise _GARBLED from None
        return None

    async def end(self, batch_id: str, note: Callable[[str], None]) -> Batch | None:
        """The batch when it has ended; None: it should have, long ago.

        Raises:
            NotBegunError: it failed its validation; a NoPlaceError where that was for a limit.
            EngineError: the provider does not know it.
        """
        status = ""
        while True:
            batch = await self._through("look at a batch", lambda: self._retrieve(batch_id))
            note(batch.status)
            if batch.status != status:
                status = batch.status
                log.info("batch %s batch=%s", status, batch_id)
            if status == "failed":
                raise self._refusal(batch)
            if status in ENDED and _is_whole(batch):
                return batch
            if time.time() > batch.created_at + self._config.batch.window_s + MARGIN_S:
                return None
            await asyncio.sleep(self._config.batch.poll_s)

    def _refusal(self, batch: Batch) -> NotBegunError:
        errors = (batch.errors.data if batch.errors else None) or []
        reasons = dict.fromkeys(f"{error.message or 'no reason was given'} ({error.code})" for error in errors)
        reason = self._scrub("; ".join(list(reasons)[:3]) or "no reason was given")
        if any((error.code or "").endswith("limit_exceeded") for error in errors):
            return NoPlaceError(reason)
        return NotBegunError(
            f"{self._config.base_url} refuses our file (batch {batch.id}): {reason}: check whether its batch endpoint "
            f"takes model {self._config.model!r} and these options, or set model.engine.mode to online"
        )

    async def _retrieve(self, batch_id: str) -> Batch:
        try:
            return _named(await self._client.batches.retrieve(batch_id))
        except openai.NotFoundError as error:
            raise EngineError(
                f"{self._config.base_url} does not know batch {batch_id}, which was sent there "
                f"({self._scrub(str(error))}): use the account that sent it; or remove its file from the store's "
                f"batches folder, and its requests are sent and paid again"
            ) from None

    async def download(self, file_id: str, inbox: Inbox) -> None:
        """Puts the lines of a file into the inbox; of one that the provider no longer has, none."""
        start = inbox.begin()

        async def fetch() -> None:
            inbox.rewind(start)
            try:
                async with self._client.files.with_streaming_response.content(file_id) as response:
                    async for chunk in response.iter_bytes():
                        inbox.write(chunk)
                if not await asyncio.to_thread(inbox.index, start):
                    raise _GARBLED
            except openai.NotFoundError:
                log.warning("the provider no longer has file=%s: its requests are sent again", file_id)

        await self._through("download a file", fetch, TRANSFER_TIMEOUT_S)

    async def _through(self, what: str, call: Callable[[], Awaitable[_T]], timeout_s: float | None = None) -> _T:
        """Repeats a call until it is answered, and returns its result.

        Args:
            what: the call in words.
            call: what is repeated.
            timeout_s: deadline of one attempt; None: that of a request.

        Raises:
            EngineError: nothing was answered for too long, the provider cannot be reached, or refuses the call.
        """
        config = self._config
        answered, pause_s = time.monotonic(), min(1.0, config.batch.poll_s)
        while True:
            sent_at = time.monotonic()
            try:
                async with asyncio.timeout(timeout_s or config.request_timeout_s):
                    result = await call()
                self._silence.hear(time.monotonic())
                return result
            except (openai.APIError, httpx2.HTTPError, json.JSONDecodeError, TimeoutError) as error:
                is_lost = isinstance(error, openai.APIConnectionError | ResponseTooLargeError)
                lost = self._endpoint.explain(error) if is_lost else None
                reason = self._scrub(lost.reason if lost else f"{type(error).__name__}: {error}")
                if lost and (
                    lost.hope is Hope.NONE or (lost.hope is Hope.UNLESS_FIRST and not self._silence.has_heard)
                ):
                    raise EngineError(f"{config.base_url} cannot be reached to {what}: {reason}") from None
                if lost and lost.is_too_large:
                    raise EngineError(
                        f"{config.base_url} sent more than can be read, asked to {what}: {reason}"
                    ) from None
                if not _may_pass(error):
                    raise EngineError(
                        f"{config.base_url} refuses to {what} ({reason}): check the model, the key and the account, or "
                        f"set engine.mode to online"
                    ) from None
                now = time.monotonic()
                if isinstance(error, openai.RateLimitError):
                    answered = now
                self._silence.is_over(f"{reason} ({what})", sent_at, now)
                if now - answered >= config.outage_timeout_s:
                    # No engine's death: no row is guilty of it.
                    raise EngineError(
                        f"{config.base_url} did not {what} within {config.outage_timeout_s:g} s ({reason}): what was "
                        f"sent stays there; run the same command again when it answers"
                    ) from None
                log.warning("could not %s (%s), trying again", what, reason)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, config.batch.poll_s)


def _may_pass(error: Exception) -> bool:
    """Whether the same call may be answered later."""
    if not isinstance(error, openai.APIStatusError):
        return True
    if error.code == "insufficient_quota":
        return False
    return error.status_code >= 500 or error.status_code in (408, 409, 429)


def _is_whole(batch: Batch) -> bool:
    """Whether the output of what was executed can be had; without it, all of that would be paid again."""
    num_executed = batch.request_counts.completed if batch.request_counts else 0
    return batch.output_file_id is not None or not num_executed


def _named(value: _Named) -> _Named:
    """Passes an object that the provider sent, if it is one."""
    name = getattr(value, "id", None)
    if not isinstance(name, str) or not name.isprintable():
        raise _GARBLED
    return value
