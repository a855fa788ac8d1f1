"""One exchange with an endpoint over HTTP, whatever happens to it. Beside this, only batch_provider imports openai."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eibench_ray.engines.api_key import Secret, read_key
from eibench_ray.engines.openai.endpoint_route import Route
from eibench_ray.engines.openai.no_response import Hope, NoResponse, explain_loss
from eibench_ray.engines.openai.openai_section import OpenaiSection
from eibench_ray.errors import EngineError

if TYPE_CHECKING:
    import httpx2

_CONNECT_TIMEOUT_S = 15.0
# A server that is there says within it that it is; one that computes may take longer, and is there all the same.
PROBE_TIMEOUT_S = 5.0
_HANDSHAKE_TIMEOUT_S = 5.0
_MAX_REDIRECTIONS = 4


@dataclass(frozen=True, slots=True)
class Response:
    """A response of the endpoint."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    text: str


class Client:
    """A connection to one endpoint with its key, which is read here and goes nowhere else.

    Attributes:
        openai: for files and batches; it retries nothing.
        route: the way to the endpoint. This machine is reached without a proxy, whatever the environment says.
    """

    def __init__(self, config: OpenaiSection) -> None:
        """Reads the key.

        Raises:
            EngineError: its variable is not set, or what it holds is no key; the environment names a proxy or a file of
                certificates that cannot be used.
        """
        from openai import AsyncOpenAI, Omit

        key = read_key(config.api_key_env, "model.engine.api_key_env") if config.api_key_env else None
        self.secret = Secret(key)
        self.route = Route.of(config.base_url)
        self._timeout_s = config.request_timeout_s
        self._connect_timeout_s = min(_CONNECT_TIMEOUT_S, config.request_timeout_s / 2)
        # Without a key of ours openai would take OPENAI_API_KEY and send it to whatever base_url names.
        self._headers: dict[str, Any] = {"Content-Type": "application/json"} | (
            {} if key else {"Authorization": Omit()}
        )
        http = _open_http(self.route, self._connect_timeout_s)
        self.openai = AsyncOpenAI(
            api_key=key or "none",
            admin_api_key="",
            base_url=config.base_url,
            max_retries=0,
            timeout=http.timeout,
            http_client=http,
        )

    async def post(self, path: str, body: bytes) -> Response | NoResponse:
        """Posts a request and returns the response within the deadline.

        It is for the whole reply: a drip of bytes, each of which comes in time, must not outlive it.
        """
        late = f"no reply within request_timeout_s={self._timeout_s:g}"
        return await self._exchange(lambda: self._post(path, body), self._timeout_s, late)

    async def _post(self, url: str, body: bytes) -> httpx2.Response:
        """The response, after redirections that keep the request as it is and stay with the same server.

        Others get neither the request nor the key: they are the response.
        """
        import httpx2
        from openai import APIStatusError

        for _ in range(_MAX_REDIRECTIONS):
            try:
                return await self.openai.post(
                    url,
                    cast_to=httpx2.Response,
                    content=body,
                    options={"headers": self._headers, "follow_redirects": False},
                )
            except APIStatusError as error:
                here = error.response.request.url
                target = here.join(error.response.headers.get("location", ""))
                if error.status_code not in (307, 308) or Route.of(str(target)).origin != self.route.origin:
                    return error.response
                url = str(target)
        raise httpx2.TooManyRedirects("more than any server needs")

    async def probe(self) -> Response | NoResponse:
        """Whether the endpoint is there, asked by what nobody pays for: any answer to `GET models` says that it is."""
        import httpx2

        return await self._exchange(
            lambda: self.openai.get("/models", cast_to=httpx2.Response, options={"headers": self._headers}),
            PROBE_TIMEOUT_S,
            f"no sign of {self.route.peer}",
        )

    def explain(self, error: BaseException) -> NoResponse:
        """Explains that openai could not connect, or lost the connection."""
        return explain_loss(error.__cause__ or error, self.route, self._connect_timeout_s)

    async def close(self) -> None:
        """Closes the connections."""
        await self.openai.close()

    async def _exchange(
        self, call: Callable[[], Awaitable[httpx2.Response]], timeout_s: float, late: str
    ) -> Response | NoResponse:
        import httpx2
        from openai import APIConnectionError, APIStatusError

        try:
            async with asyncio.timeout(timeout_s):
                reply = await call()
        except APIStatusError as error:
            reply = error.response
        except TimeoutError:
            return NoResponse(late, was_sent=True)
        except (APIConnectionError, httpx2.RequestError, httpx2.InvalidURL) as error:
            return await self._without_tls(self.explain(error))
        headers = {name.lower(): value for name, value in reply.headers.items()}
        return Response(reply.status_code, headers, _decode(reply))

    async def _without_tls(self, lost: NoResponse) -> NoResponse:
        """The loss, or that the endpoint wants what the request had not: many servers say so by closing it."""
        route = self.route
        is_odd = lost.was_sent and lost.hope is Hope.PASSES and not lost.is_too_large
        if route.scheme != "http" or route.proxy is not None or not is_odd or not await _speaks_tls(route):
            return lost
        remedy = "write https:// in model.engine.base_url"
        return NoResponse(f"{route.address} speaks https, and base_url begins with http://: {remedy}", False, Hope.NONE)


def _open_http(route: Route, connect_timeout_s: float) -> httpx2.AsyncClient:
    """The client under openai's, with bounds for what comes.

    Raises:
        EngineError: the environment names what cannot be used.
    """
    import httpx2
    from openai import DefaultAsyncHttpxClient

    from eibench_ray.engines.openai.response_bounds import ENCODINGS, bound

    try:
        return DefaultAsyncHttpxClient(
            # The attempt as a whole has its deadline; who cannot be reached is told apart from who does not answer.
            timeout=httpx2.Timeout(None, connect=connect_timeout_s),
            headers={"Accept-Encoding": ENCODINGS},
            event_hooks={"response": [bound]},
            # Of the environment it would take the proxies, too.
            trust_env=not route.is_loopback,
            verify=httpx2.create_ssl_context(),
        )
    except (ImportError, ValueError, TypeError, OSError, httpx2.InvalidURL) as error:
        what = "SSL_CERT_FILE or SSL_CERT_DIR" if isinstance(error, OSError) else "HTTP_PROXY, HTTPS_PROXY or ALL_PROXY"
        # Not the value: a proxy's address may hold a password.
        why = (
            f"{type(error).__name__}: {error}" if isinstance(error, ImportError | OSError) else "no address of a proxy"
        )
        raise EngineError(
            f"what the variable {what} names cannot be used ({why}): correct it where the cluster is started"
        ) from None


async def _speaks_tls(route: Route) -> bool:
    """Whether a TLS handshake succeeds, whoever the other side says that it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_HANDSHAKE_TIMEOUT_S):
            _, writer = await asyncio.open_connection(route.host, route.port, ssl=context)
        writer.close()
        return True
    return False


def _decode(reply: httpx2.Response) -> str:
    """The text: JSON is UTF-8, whatever the headers of the response say of it."""
    try:
        return reply.content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return reply.text
