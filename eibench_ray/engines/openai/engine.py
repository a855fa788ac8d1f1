"""An endpoint behind the engines' protocol: attempts, and when to give a row or the whole engine up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NoReturn

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from eibench_ray.config.endpoints import OpenaiEngine
from eibench_ray.endpoints.line import Line
from eibench_ray.endpoints.turnstile import Passage, Turnstile
from eibench_ray.engines.base import PAID_GRACE_S, BudgetSpentError, EngineDeadError, EngineFacts, RowError
from eibench_ray.engines.openai.body import build_body, encode_body
from eibench_ray.engines.openai.client import Client, Lost, Response
from eibench_ray.engines.openai.failures import Failure, Fate
from eibench_ray.engines.openai.outcome import judge, toll_of
from eibench_ray.engines.openai.picture import to_data_uri
from eibench_ray.engines.openai.silence import Silence
from eibench_ray.errors import EngineError
from eibench_ray.records import Reply, Request, RowErrorKind

PATH = "/chat/completions"
# Seconds before the second attempt: between 0 and 1, then 2, 4, ... at most 30.
_BACKOFF = wait_random_exponential(multiplier=1.0, max=30.0)


@dataclass(slots=True)
class _Errand:
    """One request on its way through its attempts.

    Attributes:
        num_sent: attempts that the endpoint may have got.
        paid_usd: what those without a reply may have cost.
    """

    request: Request
    body: bytes
    num_sent: int = 0
    paid_usd: float = 0.0


class _AgainError(Exception):
    """An attempt failed, and another may succeed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Openai:
    """Asks an OpenAI-compatible endpoint, one HTTP request per attempt.

    A request that the endpoint cannot have got (nobody listens) is no attempt: it is sent until the endpoint is back,
    or has been silent for `outage_timeout_s`.
    """

    def __init__(
        self, config: OpenaiEngine, turnstile: Turnstile, backoff: Callable[[RetryCallState], float] = _BACKOFF
    ) -> None:
        """An engine that has not started.

        Args:
            config: the endpoint.
            turnstile: lets its requests through.
            backoff: seconds to wait before another attempt, where the endpoint does not ask for more.
        """
        self._config = config
        self._backoff = backoff
        self._line = Line(turnstile, config.limits.max_concurrency)
        self._silence = Silence(config.outage_timeout_s)
        self._client: Client | None = None
        self._end: EngineError | None = None

    async def start(self) -> EngineFacts:
        """Reads the key, and asks for nothing: an endpoint that is away may come back.

        Raises:
            EngineError: there is no key where the configuration says that one is.
        """
        config = self._config
        self._client = await asyncio.to_thread(Client, config)  # to import openai takes a second
        grace_s = PAID_GRACE_S if config.is_paid else 0.0
        return EngineFacts(f"openai {config.who}", config.max_num_seqs, config.is_paid, grace_s, is_endpoint=True)

    async def generate(self, request: Request, image: bytes | None) -> Reply:
        """The reply to one request, after as many attempts as it takes and the configuration allows.

        Its cost is that of all attempts; one that may have been paid for counts as paid.

        Raises:
            RowError: the picture or the prompt cannot be used, or no attempt is left.
            EngineDeadError: the endpoint has been silent for `outage_timeout_s`.
            EngineError: no request can succeed: the key, the model, the account or the configuration is wrong.
            BudgetSpentError: the budget does not allow it.
        """
        picture = await asyncio.to_thread(to_data_uri, image, self._config.picture) if image is not None else None
        errand = _Errand(request, encode_body(build_body(request, picture, self._config)))
        attempts = AsyncRetrying(
            retry=retry_if_exception_type(_AgainError),
            wait=self._wait_s,
            stop=lambda _: errand.num_sent >= self._config.attempts,
            reraise=True,
        )
        try:
            return await attempts(self._attempt, errand)
        except _AgainError as error:
            last = error.failure
            failed = RowError(last.row_kind, f"{last.message} (the last of {errand.num_sent} attempts)")
        except RowError as error:
            failed = error
        except BudgetSpentError as error:
            if not errand.paid_usd:
                raise
            failed = RowError(RowErrorKind.ENGINE, f"after {errand.num_sent} attempts in vain: {error}")
        failed.cost_usd = errand.paid_usd if self._config.price else None
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
        return max(self._backoff(state), error.failure.retry_after_s or 0.0)

    async def _attempt(self, errand: _Errand) -> Reply:
        client, config = self._client, self._config
        assert client is not None
        async with self._line.trip(toll_of(errand.request, config)) as trip:
            if self._end is not None:
                trip.passage = Passage()
                raise type(self._end)(str(self._end))
            sent_at = time.monotonic()
            said = await client.post(PATH, errand.body)
            outcome = judge(said, errand.request, config, client.secret, time.time())
            trip.passage, trip.ending = outcome.passage, outcome.ending
        self._listen(said, sent_at)
        if isinstance(outcome.result, Failure):
            errand.num_sent += isinstance(said, Response) or said.was_sent
            errand.paid_usd += outcome.passage.cost_usd
            self._fail(outcome.result)
        cost = outcome.result.cost_usd
        return replace(outcome.result, cost_usd=None if cost is None else cost + errand.paid_usd)

    def _listen(self, said: Response | Lost, sent_at: float) -> None:
        """Gives the endpoint up when it has been silent for too long."""
        now = time.monotonic()
        if isinstance(said, Response):
            self._silence.hear(now)
        elif self._silence.is_over(sent_at, now):
            config = self._config
            self._end = EngineDeadError(
                f"{config.endpoint} at {config.base_url} has given no answer of any kind for "
                f"outage_timeout_s={config.outage_timeout_s:g}"
            )

    def _fail(self, failure: Failure) -> NoReturn:
        if failure.fate is Fate.ENGINE:
            self._end = EngineError(failure.message)
        if self._end is not None:
            raise self._end
        if failure.fate is Fate.ROW:
            raise RowError(failure.row_kind, failure.message)
        raise _AgainError(failure)
