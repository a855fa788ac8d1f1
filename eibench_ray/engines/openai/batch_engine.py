"""An endpoint's batch mode behind the engines' protocol: half the price, for answers within hours.

Each request joins a file and awaits its own line of what comes back. What was sent is never sent again while it may
still be answered: not after a crash (batch_record.py), not after a stop, which leaves the batches running.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import PurePath

from eibench_ray.engines.decoding_slots import decode_in_thread
from eibench_ray.engines.engine import EngineFacts, RowError
from eibench_ray.engines.openai.batch_api import MARGIN_S, BatchApi
from eibench_ray.engines.openai.batch_assignment import BatchAssignment
from eibench_ray.engines.openai.batch_files import to_line
from eibench_ray.engines.openai.batch_record import BatchFolder
from eibench_ray.engines.openai.exchange import judge, reservation_of
from eibench_ray.engines.openai.http_client import Client
from eibench_ray.engines.openai.openai_section import OpenaiSection
from eibench_ray.engines.openai.picture_encoding import to_data_uri
from eibench_ray.engines.openai.request_body import build_body, encode_body
from eibench_ray.engines.openai.response_errors import Remedy, ResponseError
from eibench_ray.errors import EngineError
from eibench_ray.ratelimit.rate_limiter import BudgetSpentError, RateLimiter, Reservation, Spend
from eibench_ray.ratelimit.request_queue import RequestQueue
from eibench_ray.rows.completion import RowErrorKind
from eibench_ray.rows.digests import digest
from eibench_ray.rows.request import Reply, Request
from eibench_ray.rows.wait import Wait
from eibench_ray.storage.interface import Storage
from eibench_ray.storage.local import LOCAL


class OpenaiBatchEngine:
    """Asks an OpenAI-compatible endpoint through its batches."""

    def __init__(self, config: OpenaiSection, limiter: RateLimiter, folder: PurePath, storage: Storage = LOCAL) -> None:
        """An engine that has not started.

        Args:
            config: the endpoint.
            limiter: keeps the budget. Requests enter it before they join a file, and leave it with their replies.
            folder: where the records of what was sent lie.
            storage: where that folder lies.
        """
        self._config = config
        self._folder = BatchFolder(folder, storage)
        # As many at once as a file holds: what an endpoint bears is its own affair here.
        most = config.batch.max_requests
        self._line = RequestQueue(limiter, most, first=most)
        self._client: Client | None = None
        self._provider: BatchApi | None = None
        self._batches: BatchAssignment | None = None

    async def start(self) -> EngineFacts:
        """Reads the key, and what earlier runs have sent; looks whether the endpoint is there.

        Raises:
            EngineError: there is no key where the configuration says that one is, or no request can reach the endpoint.
            StoreError: a record cannot be read.
        """
        config = self._config
        self._client = client = await asyncio.to_thread(Client, config)  # to import openai takes a second
        self._provider = BatchApi(client, config)
        began = time.monotonic()
        try:
            self._provider.hear(await client.probe(), began)
        except EngineError:
            await self.stop()
            raise
        self._batches = BatchAssignment(config.batch, self._folder, self._provider)
        await self._batches.start()
        return EngineFacts(
            f"openai batch {config.who}",
            config.max_num_seqs,
            costs_money=config.is_paid,
            # Each attempt is a batch, which ends by itself within its window or is given up.
            row_timeout_s=config.attempts * self._attempt_s,
            is_endpoint=True,
            waits=self._waits,
        )

    async def generate(self, request: Request, images: Sequence[bytes]) -> Reply:
        """The reply to one request, after as many batches as it takes and the configuration allows.

        Raises:
            RowError: the picture or the prompt cannot be used, or no attempt is left.
            EngineError: the endpoint has been silent for `outage_timeout_s`, or no request can succeed: it refuses our
                files, the key, the model or the account.
            BudgetSpentError: the budget does not allow it, and nothing was sent for it before.
        """
        assert self._batches is not None
        # The seed tells a judge's further attempts apart, which share a digest. Not a digest of the body: it would take
        # the picture to find out that a request was sent before.
        line_id = digest([request.digest, request.seed])
        paid_usd, num_sent = 0.0, 0
        while True:
            try:
                result, cost_usd = await self._attempt(line_id, request, images)
            except BudgetSpentError as error:
                if not paid_usd:
                    raise
                message = f"after {num_sent} failed attempts: {error}"
                raise RowError(RowErrorKind.ENGINE, message, paid_usd) from None
            if isinstance(result, Reply):
                return result if result.cost_usd is None else replace(result, cost_usd=result.cost_usd + paid_usd)
            self._batches.forget(line_id)
            if result is None:
                continue
            paid_usd, num_sent = paid_usd + cost_usd, num_sent + 1
            if result.fate is Remedy.ENGINE:
                raise EngineError(result.message)
            message = result.message
            if result.fate is Remedy.AGAIN:
                if num_sent < self._config.attempts:
                    continue
                message = f"{message} (the last of {num_sent} attempts)"
            raise RowError(result.row_kind, message, paid_usd if self._config.price else None)

    async def stop(self) -> None:
        """Lets go of the batches; those that were sent go on at the provider, and the next run attaches to them."""
        if self._batches is not None:
            await self._batches.stop()
        await self._line.close()
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _waits(self) -> Iterator[Wait]:
        """The waits for a silent provider, and for the batches there."""
        now = time.monotonic()
        assert self._provider is not None
        assert self._batches is not None
        batches = list(self._batches.waits(now))
        if batches:
            yield from self._provider.waits(now)
        yield from batches
        yield from self._line.waits(now)

    @property
    def _attempt_s(self) -> float:
        """Seconds that one batch takes at most."""
        return self._config.batch.window_s + 2 * MARGIN_S

    async def _attempt(
        self, line_id: str, request: Request, images: Sequence[bytes]
    ) -> tuple[Reply | ResponseError | None, float]:
        """One batch's result for a request, and its cost; None: an earlier run's batch has no answer to it."""
        assert self._batches is not None
        reservation = replace(reservation_of(request, self._config), lifetime_s=self._attempt_s)
        try:
            return await self._ask(line_id, request, images, reservation)
        except BudgetSpentError:
            if not self._batches.was_sent(line_id):
                raise
        # It is spent already: nothing is saved by not fetching the answer.
        return await self._ask(line_id, request, images, replace(reservation, cost_usd=0.0))

    async def _ask(
        self, line_id: str, request: Request, images: Sequence[bytes], reservation: Reservation
    ) -> tuple[Reply | ResponseError | None, float]:
        batches, client, config = self._batches, self._client, self._config
        assert batches is not None
        assert client is not None

        async with self._line.trip(reservation) as trip:
            try:
                said = await batches.ask(line_id, lambda: self._compose(line_id, request, images))
            except RowError:
                trip.spend = Spend()
                raise
            if said is None or isinstance(said, ResponseError):
                trip.spend = Spend()
                return said, 0.0
            outcome = judge(said, request, config, client.secret, time.time())
            # Without what it says of limits: batches are under others.
            trip.spend = Spend(outcome.spend.tokens, outcome.spend.cost_usd)
            return outcome.result, outcome.spend.cost_usd

    async def _compose(self, line_id: str, request: Request, images: Sequence[bytes]) -> bytes:
        """The request's line."""
        config = self._config
        pictures = [await decode_in_thread(to_data_uri, image, config.picture) for image in images]
        line = to_line(line_id, encode_body(build_body(request, pictures, config)))
        if len(line) > config.batch.max_bytes:
            most = config.batch.max_bytes
            raise RowError(RowErrorKind.PROMPT, f"the request has {len(line)} bytes, batch.max_bytes allows {most}")
        return line
