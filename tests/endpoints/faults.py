"""Faults of the fault server, how it is told to make them, and what it remembers of each request."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fault_limits import Limit
from pydantic import BaseModel, ConfigDict


class Fault(StrEnum):
    """Fault of one request."""

    STORM = "storm"  # 429, without a word on when to come back
    STORM_WAIT = "storm_wait"  # 429 with Retry-After: 1
    QUOTA = "quota"  # 429 that no waiting fixes (insufficient_quota)
    SERVER_ERROR = "server_error"  # 500
    OVERLOADED = "overloaded"  # 503
    UNAUTHORIZED = "unauthorized"  # 401 that repeats the Authorization header
    ECHO_KEY = "echo_key"  # 400 that repeats the Authorization header
    HANG = "hang"  # never answers
    RESET = "reset"  # the connection is reset in the middle of the body
    DRIP = "drip"  # white space trickles for ever
    TRUNCATED = "truncated"  # the JSON is cut; its length is right
    MALFORMED = "malformed"  # 200 with an HTML page
    NO_CHOICES = "no_choices"  # 200 with a completion that holds none
    FINISH_ERROR = "finish_error"  # 200 with half an answer and finish_reason: error
    ABORT = "abort"  # the same with abort, as a server that is told to end
    NO_REASON = "no_reason"  # 200 without text and finish_reason
    CHOICE_ERROR = "choice_error"  # 200 with an error in its choice, as gateways write it
    ERROR_IN_200 = "error_in_200"  # 200 with an error of code 502
    LIMIT_IN_200 = "limit_in_200"  # 200 with an error of code 429
    UNPAID_IN_200 = "unpaid_in_200"  # 200 with an error of code 402, which no waiting fixes
    UNKNOWN_MODEL = "unknown_model"  # 404
    MOVED = "moved"  # 307 to another path of the same server, which answers
    ELSEWHERE = "elsewhere"  # 307 to another server
    LOGIN = "login"  # 302 to a page where one logs in
    BOMB = "bomb"  # 200 with 64 kB of gzip that are 64 MiB of white space
    BOMB_ERROR = "bomb_error"  # the same with 500
    ODD_PACKING = "odd_packing"  # 200, packed as nobody asked for
    PACKED = "packed"  # an answer in gzip, called Latin-1, which it is not
    STREAM = "stream"  # an answer as a stream of events
    PARTS = "parts"  # an answer as a list of parts
    THOUGHT = "thought"  # an answer beside what the model thought, in a field of its own
    THOUGHT_IN_TEXT = "thought_in_text"  # the same between tags in the text
    THOUGHT_HALF_IN_TEXT = "thought_half_in_text"  # the same with the last tag only: the prompt had the first
    THOUGHT_TOO_LONG = "thought_too_long"  # thinking in the text that its limit cut off
    NO_USAGE = "no_usage"
    WRONG_USAGE = "wrong_usage"
    REFUSAL = "refusal"
    CONTENT_FILTER = "content_filter"  # finish_reason
    CONTENT_FILTER_ERROR = "content_filter_error"  # 400


# A request that met one of these has its answer: it must not be asked again.
ANSWERS = {
    Fault.MOVED,
    Fault.PACKED,
    Fault.STREAM,
    Fault.PARTS,
    Fault.THOUGHT,
    Fault.THOUGHT_IN_TEXT,
    Fault.THOUGHT_HALF_IN_TEXT,
    Fault.THOUGHT_TOO_LONG,
    Fault.NO_USAGE,
    Fault.WRONG_USAGE,
    Fault.REFUSAL,
    Fault.CONTENT_FILTER,
    Fault.CONTENT_FILTER_ERROR,
}
# What a run can get over; the others end a row or an engine.
PASSING = {
    Fault.ODD_PACKING,
    Fault.FINISH_ERROR,
    Fault.ABORT,
    Fault.NO_REASON,
    Fault.CHOICE_ERROR,
    Fault.ERROR_IN_200,
    Fault.LIMIT_IN_200,
    Fault.STORM,
    Fault.STORM_WAIT,
    Fault.SERVER_ERROR,
    Fault.OVERLOADED,
    Fault.HANG,
    Fault.RESET,
    Fault.DRIP,
    Fault.TRUNCATED,
    Fault.MALFORMED,
    Fault.NO_CHOICES,
}


def all_mixed(share: float) -> dict[Fault, float]:
    """All faults that are answers or pass, `share` of the requests together."""
    mixed = sorted(ANSWERS | PASSING)
    return dict.fromkeys(mixed, share / len(mixed))


class Behaviour(BaseModel):
    """The server's treatment of requests.

    Attributes:
        faults: the share of requests that meets each, by its name.
        latency_s: seconds before a reply, right or wrong; a refusal because of a limit comes at once.
        has_models: whether GET models is answered with a list; else with 404.
        reply_chars: length of an answer's text that no schema decides; None: short.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    faults: dict[Fault, float] = {}
    seed: int = 0
    limit: Limit = Limit()
    latency_s: float = 0.0
    reply_chars: int | None = None
    has_models: bool = True


@dataclass(frozen=True, slots=True)
class Event:
    """End of one request.

    Attributes:
        at: seconds, on the server's monotonic clock, when it came.
        digest: of the request's body.
        text: the words of its messages.
        outcome: `answered`, `limited`, `gone` (the client left before the answer), or the fault's name.
        is_answered: whether an answer was sent, which a provider would bill.
    """

    at: float
    digest: str
    text: str
    outcome: str
    is_answered: bool


@dataclass(frozen=True, slots=True)
class Count:
    """Times that one request was asked, refused because of a limit, and answered (paid for)."""

    text: str
    asked: int
    limited: int
    answered: int
