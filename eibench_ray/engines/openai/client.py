"""One exchange with an endpoint over HTTP, whatever happens to it. Beside this, only batch_provider imports openai."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eibench_ray.config.endpoints import OpenaiEngine
from eibench_ray.engines.openai.secret import Secret, read_key

_CONNECT_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class Response:
    """What the endpoint said.

    Attributes:
        headers: names in lower case.
    """

    status: int
    headers: Mapping[str, str]
    text: str


@dataclass(frozen=True, slots=True)
class Lost:
    """Nothing that the endpoint said came through.

    Attributes:
        was_sent: whether the endpoint may have got the request, and may ask to be paid for it.
    """

    reason: str
    was_sent: bool


class Client:
    """A connection to one endpoint with its key, which is read here and goes nowhere else.

    Attributes:
        openai: for files and batches; it retries nothing.
    """

    def __init__(self, config: OpenaiEngine) -> None:
        """Reads the key.

        Raises:
            EngineError: its variable is not set, or what it holds is no key.
        """
        import httpx2
        from openai import AsyncOpenAI, Omit

        key = read_key(config.api_key_env, "model.engine.api_key_env") if config.api_key_env else None
        self.secret = Secret(key)
        self._timeout_s = config.request_timeout_s
        # Without a key of ours openai would take OPENAI_API_KEY and send it to whatever base_url names.
        self._headers: dict[str, Any] = {"Content-Type": "application/json"} | (
            {} if key else {"Authorization": Omit()}
        )
        self.openai = AsyncOpenAI(
            api_key=key or "none",
            admin_api_key="",
            base_url=config.base_url,
            max_retries=0,
            # The attempt as a whole has its deadline; who cannot be reached is told apart from who does not answer.
            timeout=httpx2.Timeout(None, connect=min(_CONNECT_TIMEOUT_S, config.request_timeout_s / 2)),
        )

    async def post(self, path: str, body: bytes) -> Response | Lost:
        """What came back within the deadline.

        It is for the whole reply: a drip of bytes, each of which comes in time, must not outlive it.
        """
        import httpx2
        from openai import APIConnectionError, APIStatusError

        try:
            async with asyncio.timeout(self._timeout_s):
                reply = await self.openai.post(
                    path, cast_to=httpx2.Response, content=body, options={"headers": self._headers}
                )
        except APIStatusError as error:
            reply = error.response
        except TimeoutError:
            return Lost(f"no reply within request_timeout_s={self._timeout_s:g}", was_sent=True)
        except APIConnectionError as error:
            cause = error.__cause__
            unsent = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
            reason = f"{type(cause).__name__}: {cause}" if cause else str(error)
            return Lost(reason, was_sent=not isinstance(cause, unsent))
        headers = {name.lower(): value for name, value in reply.headers.items()}
        return Response(reply.status_code, headers, reply.text)

    async def close(self) -> None:
        """Closes the connections."""
        await self.openai.close()
