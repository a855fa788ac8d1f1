"""An endpoint behind the engines' protocol: attempts, and when to give a row or the whole engine up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from eibench_ray.engines.decoding_slots import decode_in_thread
from eibench_ray.engines.engine import PAID_GRACE_S, EngineFacts, RowError
from eibench_ray.engines.openai.exchange import judge, reservation_of
from eibench_ray.engines.openai.http_client import Client, Response
from eibench_ray.engines.openai.no_response import Hope, NoResponse
from eibench_ray.engines.openai.openai_section import OpenaiSection
from eibench_ray.engines.openai.picture_encoding import to_data_uri
from eibench_ray.engines.openai.request_body import build_body, encode_body
from eibench_ray.engines.openai.response_errors import Remedy, ResponseError
from eibench_ray.engines.openai.silence import Silence
from eibench_ray.errors import EngineError
from eibench_ray.ratelimit.rate_limiter import BudgetSpentError, RateLimiter, Spend
from eibench_ray.ratelimit.request_queue import RequestQueue
from eibench_ray.rows.completion import RowErrorKind
from eibench_ray.rows.request import Reply, Request
from eibench_ray.rows.wait import Wait
from eibench_ray.visible_text import shorten

PATH = "/chat/completions"
# Seconds before the second attempt: between 0 and 1, then 2, 4, ... at most 30.
_BACKOFF = wait_random_exponential(multiplier=1.0, max=30.0)
SHORTEST_PAUSE_S = 0.05
# So many requests that used up their attempts, before any was answered, are enough to know the endpoint.
MAX_UNANSWERED = 3
# A reply that takes longer is worth a word where nothing else came meanwhile.
LONG_S = 10.0
LONGEST_REASON = 200


@dataclass(slots=True)
class _Sending:
    """One request on its way through its attempts."""

    request: Request
    body: bytes
    num_sent: int = 0  # attempts that the endpoint may have got
    paid_usd: float = 0.0  # what those without a reply may have cost


class _AgainError(Exception):
    """An attempt failed, and another may succeed."""

    def __init__(self, failure: ResponseError) -> None:
        super().__init__(failure.message)
        self.failure = failure


class OpenaiEngine:
    """Asks an OpenAI-compatible endpoint, one HTTP request per attempt.

    A request that the endpoint cannot have got (nobody listens) is no attempt: it is sent until the endpoint is back,
    or has been silent for `outage_timeout_s`.
    """

    def __init__(
        self, config: OpenaiSection, limiter: RateLimiter, backoff: Callable[[RetryCallState], float] = _BACKOFF
    ) -> None:
        """An engine that has not started.

        Args:
            config: the endpoint.
            limiter: lets its requests through.
            backoff: seconds to wait before another attempt, where the endpoint does not ask for more.
        """
        self._config = config
        self._backoff = backoff
        self._line = RequestQueue(limiter, config.limits.max_concurrency)
        self._silence = Silence(config.outage_timeout_s)
        self._client: Client | None = None
        self._end: EngineError | None = None
        self._num_asked = 0
        self._num_unanswered = 0
        self._has_replied = False
        # When each request was sent that is under way, the oldest first.
        self._sent: list[float] = []
        # What the last attempt failed of, and since when none has succeeded.
        self._trouble: tuple[str, float] | None = None

    async def start(self) -> EngineFacts:
        """Reads the key, and looks whether the endpoint is there; one that is away may come back.

        Raises:
            EngineError: there is no key where the configuration says that one is, or no request can reach the endpoint.
        """
        config = self._config
        self._client = client = await asyncio.to_thread(Client, config)  # to import openai takes a second
        began = time.monotonic()
        self._listen(await client.probe(), began)
        self._silence.rest(time.monotonic())
        if self._end is not None:
            await self.stop()
            raise self._end
        grace_s = PAID_GRACE_S if config.is_paid else 0.0
        return EngineFacts(
            f"openai {config.who}", config.max_num_seqs, config.is_paid, grace_s, is_endpoint=True, waits=self._waits
        )

    async def generate(self, request: Request, images: Sequence[bytes]) -> Reply:
        """The reply to one request, after as many attempts as it takes and the configuration allows.

        Its cost is that of all attempts; one that may have been paid for counts as paid.

        Raises:
            RowError: the picture or the prompt cannot be used, or no attempt is left.
            EngineError: the endpoint has been silent for `outage_timeout_s`, or no request can succeed: the address,
                the key, the model, the account or the configuration is wrong.
            BudgetSpentError: the budget does not allow it.
        """
        self._num_asked += 1
        if self._num_asked == 1:
            self._silence.resume(time.monotonic())
        try:
            return await self._generate(request, images)
        finally:
            self._num_asked -= 1
            if not self._num_asked:
                self._silence.rest(time.monotonic())

    async def _generate(self, request: Request, images: Sequence[bytes]) -> Reply:
        pictures = [await decode_in_thread(to_data_uri, image, self._config.picture) for image in images]
        sending = _Sending(request, encode_body(build_body(request, pictures, self._config)))
        attempts = AsyncRetrying(
            retry=retry_if_exception_type(_AgainError),
            wait=self._wait_s,
            stop=lambda _: sending.num_sent >= self._config.attempts,
            reraise=True,
        )
        try:
            return await attempts(self._attempt, sending)
        except _AgainError as error:
            last = error.failure
            self._note_unanswered(last)
            failed = RowError(last.row_kind, f"{last.message} (the last of {sending.num_sent} attempts)")
        except RowError as error:
            failed = error
        except BudgetSpentError as error:
            if not sending.paid_usd:
                raise
            failed = RowError(RowErrorKind.ENGINE, f"after {sending.num_sent} failed attempts: {error}")
        failed.cost_usd = sending.paid_usd if self._config.price else None
        raise failed

    async def stop(self) -> None:
        """Closes the connections."""
        await self._line.close()
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _wait_s(self, state: RetryCallState) -> float:
        assert state.outcome is not None
        error = state.outcome.exception()
        assert isinstance(error, _AgainError)
        pause_s = max(self._backoff(state), error.failure.retry_after_s or 0.0)
        # Not past the end of an outage: what it came to is known then.
        return min(pause_s, max(self._silence.left_s(time.monotonic()), SHORTEST_PAUSE_S))

    async def _attempt(self, sending: _Sending) -> Reply:
        client, config = self._client, self._config
        assert client is not None
        async with self._line.trip(reservation_of(sending.request, config)) as trip:
            if self._end is not None:
                trip.spend = Spend()
                raise type(self._end)(str(self._end))
            sent_at = time.monotonic()
            self._sent.append(sent_at)
            try:
                said = await client.post(PATH, sending.body)
            finally:
                self._sent.remove(sent_at)
            outcome = judge(said, sending.request, config, client.secret, time.time())
            trip.spend, trip.ending = outcome.spend, outcome.ending
        self._listen(said, sent_at)
        if isinstance(outcome.result, ResponseError):
            sending.num_sent += isinstance(said, Response) or said.was_sent
            sending.paid_usd += outcome.spend.cost_usd
            self._fail(outcome.result)
        self._has_replied, self._trouble = True, None
        cost = outcome.result.cost_usd
        return replace(outcome.result, cost_usd=None if cost is None else cost + sending.paid_usd)

    def _listen(self, said: Response | NoResponse, sent_at: float) -> None:
        """Gives the endpoint up where no request can reach it, and when it has been silent for too long."""
        now, config, silence = time.monotonic(), self._config, self._silence
        assert self._client is not None
        if isinstance(said, Response):
            silence.hear(now)
            return
        reason = self._client.secret.scrub(said.reason)
        at = f"{config.endpoint} at {config.base_url}"
        if said.hope is Hope.NONE or (said.hope is Hope.UNLESS_FIRST and not silence.has_heard):
            self._end = EngineError(f"{at} cannot be reached: {reason}")
        elif silence.is_over(reason, sent_at, now):
            self._end = EngineError(
                f"{at} has given no answer of any kind for outage_timeout_s={config.outage_timeout_s:g}; the last "
                f"time: {reason}. Start it, or correct model.engine.base_url; then the same command goes on"
            )

    def _fail(self, failure: ResponseError) -> NoReturn:
        assert self._client is not None
        if note := self._client.route.proxy_note:
            failure = replace(failure, message=f"{failure.message.rstrip('.')} ({note})")
        if failure.fate is Remedy.ENGINE and self._end is None:
            self._end = EngineError(failure.message)
        if self._end is not None:
            raise type(self._end)(str(self._end))
        if failure.fate is Remedy.ROW:
            raise RowError(failure.row_kind, failure.message)
        self._trouble = (failure.message, self._trouble[1] if self._trouble else time.monotonic())
        raise _AgainError(failure)

    def _note_unanswered(self, last: ResponseError) -> None:
        """A request has used up its attempts. An endpoint that has answered none of several is none of this kind."""
        if last.was_limited:  # who keeps limits is one
            return
        self._num_unanswered += 1
        if not self._has_replied and self._num_unanswered >= MAX_UNANSWERED:
            config = self._config
            self._end = EngineError(
                f"{self._num_unanswered} requests to {config.endpoint} at {config.base_url} have used up their "
                f"{config.attempts} attempts, and none was ever answered; the last time: {last.message.rstrip('.')}. "
                f"See whether it is an OpenAI-compatible endpoint that is well, or correct model.engine.base_url"
            )

    def _waits(self) -> Iterator[Wait]:
        """The waits, beside replies that take their time."""
        now = time.monotonic()
        if not self._num_asked:
            return
        if silent := list(self._silence.waits(now)):
            yield from silent
        elif self._trouble is not None:
            message, since = self._trouble
            yield Wait(f"{shorten(message, LONGEST_REASON)} (asked again)", now - since, about="another attempt")
        elif self._sent and (waited_s := min(now - self._sent[0], self._silence.heard_s(now))) >= LONG_S:
            assert self._client is not None
            yield Wait(f"a reply of {self._client.route.address}", waited_s, self._config.request_timeout_s)
        yield from self._line.waits(now)
