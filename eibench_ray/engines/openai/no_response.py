"""Explains why a request brought no response: who refused it, whether it can pass, what to do. No HTTP in here.

What httpx2 raises hides its reason ("All connection attempts failed"): that stands in what it was raised from.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from eibench_ray.engines.openai.endpoint_route import Route

_MAX_CAUSES = 12
# What OpenSSL says where the other side does not speak TLS at all.
_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG"})
_NO_ROUTE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.ENETDOWN, errno.EHOSTDOWN})
_UNKNOWN_HOST = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})
# Of httpx2: nothing of the request was sent.
_UNSENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol"})


class Hope(StrEnum):
    """Whether the same request may be answered later."""

    PASSES = "passes"
    UNLESS_FIRST = "unless_first"  # only where the endpoint has answered before: else its address is wrong
    NONE = "none"  # somebody has to correct something


@dataclass(frozen=True, slots=True)
class NoResponse:
    """Nothing that the endpoint said came through."""

    reason: str  # what happened, so that "waiting: REASON for 3 s" can be read, and where a person has to fix it, how
    was_sent: bool  # whether the endpoint may have got the request, and may ask to be paid for it
    hope: Hope = Hope.PASSES  # whether another attempt may bring a response
    is_too_large: bool = False  # what came is larger than any reply, and will be so again


def explain_loss(error: BaseException, route: Route, connect_timeout_s: float) -> NoResponse:
    """Explains an error of httpx2 as a request that brought no response."""
    kind, peer = type(error).__name__, route.peer
    was_sent = kind not in _UNSENT
    for cause in _causes(error):
        match cause:
            case ssl.SSLCertVerificationError():
                return NoResponse(_untrusted(cause, route), was_sent, Hope.NONE)
            case ssl.SSLError() if cause.reason in _NO_TLS:
                remedy = "write http:// in model.engine.base_url, or a port where it speaks https"
                return NoResponse(
                    f"{route.address} speaks no TLS, and base_url begins with https://: {remedy}", was_sent, Hope.NONE
                )
            case socket.gaierror():
                return _unresolved(cause, route, was_sent=was_sent)
            case ConnectionRefusedError():
                return NoResponse(f"connection refused by {peer}", was_sent)
            case OSError() if cause.errno in _NO_ROUTE:
                return NoResponse(f"no route to {peer}", was_sent)
            case ConnectionResetError() | BrokenPipeError():
                return NoResponse(f"connection reset by {peer}", was_sent)
    said = " ".join(str(error).split())
    match kind:
        case "UnsupportedProtocol" | "InvalidURL" | "LocalProtocolError":
            return NoResponse(f"no address that can be asked ({said}): correct model.engine.base_url", False, Hope.NONE)
        case "TooManyRedirects":
            remedy = "correct model.engine.base_url"
            return NoResponse(f"redirections without end from {peer}: {remedy}", was_sent, Hope.NONE)
        case "ResponseTooLargeError":
            return NoResponse(f"a reply of {peer} with {said}", was_sent, is_too_large=True)
        case "ConnectTimeout":
            return NoResponse(f"no connection to {peer} within {connect_timeout_s:g} s", was_sent)
        case "ProxyError":
            remedy = f"give {route.proxy_variable} another proxy, or put {route.host} into NO_PROXY"
            # A gateway that fails to reach the endpoint may reach it later; one that says no will say no.
            passes = said[:1] == "5"
            return NoResponse(f"{said!r} from {peer}: {remedy}", was_sent, Hope.PASSES if passes else Hope.NONE)
        case "RemoteProtocolError" if "incomplete" in said or "without sending complete" in said:
            return NoResponse(f"a reply of {peer} that was cut off", was_sent)
        case "RemoteProtocolError" if "disconnected" in said:
            return NoResponse(f"connection closed without a reply by {peer}", was_sent)
    return NoResponse(f"{kind} from {peer}: {said}" if said else f"{kind} from {peer}", was_sent)


def _untrusted(error: ssl.SSLCertVerificationError, route: Route) -> str:
    why = error.verify_message or error.reason or "it cannot be verified"
    remedy = "give the file with the authority's certificate in SSL_CERT_FILE where the cluster is started"
    if "mismatch" in why.lower() or "not valid for" in why.lower():
        remedy = "write the name that it is for in model.engine.base_url"
    elif "expired" in why or "not yet valid" in why:
        remedy = "the server needs a new one, or this machine's clock is wrong"
    return f"the certificate of {route.address} is not trusted ({why}): {remedy}"


def _unresolved(error: socket.gaierror, route: Route, *, was_sent: bool) -> NoResponse:
    host = route.proxy.rpartition(":")[0] if route.proxy else route.host
    whose = f"in {route.proxy_variable}" if route.proxy else "in model.engine.base_url"
    if error.errno in _UNKNOWN_HOST:
        return NoResponse(f"unknown host {host}: correct it {whose}", was_sent, Hope.UNLESS_FIRST)
    return NoResponse(f"no answer of the name service for {host} ({error.strerror})", was_sent)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from, the outermost first; of a group of them its first."""
    found: BaseException | None = error
    for _ in range(_MAX_CAUSES):
        if found is None:
            return
        yield found
        inner = found.exceptions[0] if isinstance(found, BaseExceptionGroup) else None
        found = inner or found.__cause__ or found.__context__
